use serde_json::{Value, json};

use super::*;
use crate::config::{Issuer, Preset};
use crate::principal::Flow;

const NOW: Timestamp = Timestamp(1_800_000_000);

fn preset(preset: Preset) -> Issuer {
    Issuer::new("shoen", "https://i", Some(preset))
}

fn read(issuer: &Issuer, claims: &Value) -> Result<Principal, Fault> {
    Rules::new(issuer, IssuerId(0)).claims_to_principal(claims.as_object().unwrap().clone())
}

/// An issuer with a source for everything.
fn full() -> Issuer {
    let mut issuer = Issuer::new("shoen", "https://i", None);
    issuer.claims.permissions = vec![ClaimPath(["realm_access".to_owned(), "roles".to_owned()].into())];
    issuer.claims.organizations = vec![ClaimPath::top("https://example.com/org_uids")];
    issuer.claims.global = vec![ClaimPath::top("global")];
    issuer
}

#[test]
fn scopes_are_text_or_a_list_and_scope_goes_before_scp() {
    let of = |claims: Value| {
        let mut claims = claims;
        claims["sub"] = json!("s");
        read(&full(), &claims).map(|principal| principal.scopes)
    };
    let some = |scopes: &[&str]| Ok(scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>());
    assert_eq!(of(json!({})), some(&[]));
    assert_eq!(of(json!({"scope": "a  b "})), some(&["a", "b"]));
    assert_eq!(of(json!({"scope": ["a", "b c"]})), some(&["a", "b c"]));
    assert_eq!(of(json!({"scp": ["a"]})), some(&["a"]));
    assert_eq!(of(json!({"scope": "a", "scp": "b"})), some(&["a"]));
    assert_eq!(of(json!({"scope": null, "scp": "b"})), some(&["b"]));
    assert_eq!(of(json!({"scope": ""})), some(&[]));
    assert_eq!(of(json!({"scope": "a\tb"})), some(&["a\tb"]));
    for wrong in [json!(5), json!({}), json!(true), json!(["a", 1]), json!([["a"]])] {
        assert_eq!(of(json!({"scope": wrong})), Err(Fault::Source), "{wrong}");
    }
}

#[test]
fn permissions_of_another_type_are_unknown() {
    let of = |claims: Value| read(&full(), &claims).unwrap().permissions;
    assert_eq!(of(json!({"sub": "s", "realm_access": {"roles": ["a"]}})), Some(vec!["a".to_owned()]));
    assert_eq!(of(json!({"sub": "s", "realm_access": {"roles": []}})), Some(vec![]));
    assert_eq!(of(json!({"sub": "s"})), None);
    for wrong in [json!("a"), json!({"roles": "a"}), json!({"roles": ["a", 1]}), json!({"roles": null}), json!([])] {
        assert_eq!(of(json!({"sub": "s", "realm_access": wrong})), None, "{wrong}");
    }
}

#[test]
fn organizations_are_a_list_and_not_looked_at_when_global() {
    let of = |organizations: Value, global: Value| {
        let claims = json!({"sub": "s", "https://example.com/org_uids": organizations, "global": global});
        read(&full(), &claims).map(|principal| (principal.organizations, principal.global))
    };
    assert_eq!(of(json!(["a"]), json!(false)), Ok((Some(vec!["a".to_owned()]), Some(false))));
    assert_eq!(of(json!(null), json!(null)), Ok((None, None)));
    assert_eq!(of(json!([]), json!(null)), Ok((Some(vec![]), None)));
    assert_eq!(of(json!("a"), json!(false)), Err(Fault::Source));
    assert_eq!(of(json!(["a", null]), json!(null)), Err(Fault::Source));
    assert_eq!(of(json!(5), json!(true)), Ok((None, Some(true))));
    assert_eq!(of(json!(["a"]), json!(true)), Ok((None, Some(true))));
}

#[test]
fn global_is_json_true_only() {
    for wrong in [json!("true"), json!(1), json!([true]), json!({})] {
        assert_eq!(read(&full(), &json!({"sub": "s", "global": wrong})).unwrap_err(), Fault::Source, "{wrong}");
    }
    assert!(read(&full(), &json!({"sub": "s", "global": true})).unwrap().is_global());
    assert!(!read(&full(), &json!({"sub": "s"})).unwrap().is_global());
}

#[test]
fn a_claim_without_source_says_nothing() {
    let plain = Issuer::new("shoen", "https://i", None);
    let claims = json!({"sub": "s", "global": true, "organizations": 5, "permissions": ["a"], "org_uids": ["x"]});
    let principal = read(&plain, &claims).unwrap();
    assert_eq!((principal.global, principal.organizations, principal.permissions), (None, None, None));
}

#[test]
fn a_client_that_is_no_text_is_absent() {
    let of = |claims: Value| read(&preset(Preset::Auth0Organizations), &claims).unwrap().client;
    assert_eq!(of(json!({"sub": "s", "azp": "a", "client_id": "b"})).as_deref(), Some("a"));
    assert_eq!(of(json!({"sub": "s", "client_id": "b"})).as_deref(), Some("b"));
    assert_eq!(of(json!({"sub": "s", "azp": null, "client_id": "b"})).as_deref(), Some("b"));
    assert_eq!(of(json!({"sub": "s", "azp": ["a"], "client_id": "b"})), None);
    assert_eq!(of(json!({"sub": "s", "azp": ""})), None);
}

#[test]
fn kusy_tells_the_client_from_its_customers() {
    let of = |claims: Value| read(&preset(Preset::Kusy), &claims).unwrap().flow;
    assert_eq!(of(json!({"sub": "kusy", "client_id": "kusy"})), Flow::ClientCredentials);
    assert_eq!(of(json!({"sub": "0d9c3b5e-8f9b-4f6e-a8f5-3a1d6a0b7c11", "client_id": "kusy"})), Flow::User);
    assert_eq!(of(json!({"sub": "kusy"})), Flow::Unknown);
}

#[test]
fn auth0_organizations_reads_both_profiles_of_auth0() {
    let issuer = preset(Preset::Auth0Organizations);
    let claims = json!({
        "sub": "c1@clients", "azp": "c1", "gty": "client-credentials", "scope": "persons.name#read", "org_uids": ["u"],
    });
    let principal = read(&issuer, &claims).unwrap();
    assert_eq!(principal.flow, Flow::ClientCredentials);
    assert_eq!(principal.scopes, ["persons.name#read"]);
    assert_eq!(principal.organizations, Some(vec!["u".to_owned()]));
    let rfc9068 = read(&issuer, &json!({"sub": "c1@clients", "client_id": "c1", "global": true})).unwrap();
    assert_eq!((rfc9068.flow, rfc9068.global, rfc9068.organizations), (Flow::ClientCredentials, Some(true), None));
    assert_eq!(read(&issuer, &json!({"sub": "auth0|17", "azp": "c1"})).unwrap().flow, Flow::User);
}

#[test]
fn ameise_takes_the_client_from_azp_and_never_from_the_tenant() {
    let claims = json!({
        "sub": "Müller1", "azp": "app", "client_id": "tenant", "client": {"id": "T1"},
        "ameise/permissions": ["ameise", "verwaltung"], "broker": {"id": "B1"},
    });
    let principal = read(&preset(Preset::Ameise), &claims).unwrap();
    assert_eq!(principal.client.as_deref(), Some("app"));
    assert_eq!(principal.permissions.as_deref(), Some(["ameise".to_owned(), "verwaltung".to_owned()].as_slice()));
    assert_eq!(principal.flow, Flow::User);
    assert!(principal.issuer.subject_folds);
    assert!(!principal.issuer.client_folds);
    let tenant_only = json!({"sub": "a", "client_id": "a"});
    assert_eq!(read(&preset(Preset::Ameise), &tenant_only).unwrap().client, None);
}

#[test]
fn the_other_presets_tell_clients_from_users() {
    let of = |which: Preset, claims: Value| {
        let principal = read(&preset(which), &claims).unwrap();
        (principal.flow, principal.client.unwrap_or_default())
    };
    let client = |name: &str| (Flow::ClientCredentials, name.to_owned());
    let user = |name: &str| (Flow::User, name.to_owned());
    let service = json!({"sub": "u", "azp": "crm", "preferred_username": "service-account-crm"});
    assert_eq!(of(Preset::Keycloak, service), client("crm"));
    assert_eq!(of(Preset::Keycloak, json!({"sub": "u", "azp": "crm", "preferred_username": "ada"})), user("crm"));
    assert_eq!(of(Preset::Entra, json!({"sub": "u", "appid": "crm", "roles": ["r"]})), client("crm"));
    assert_eq!(of(Preset::Entra, json!({"sub": "u", "azp": "crm", "scp": "a b"})), user("crm"));
    assert_eq!(of(Preset::Entra, json!({"sub": "u", "azp": "crm", "idtyp": "app", "scp": "a"})), client("crm"));
    assert_eq!(of(Preset::Okta, json!({"sub": "crm", "cid": "crm", "scp": ["a"]})), client("crm"));
    assert_eq!(of(Preset::Okta, json!({"sub": "ada", "cid": "crm", "uid": "00u", "scp": ["a"]})), user("crm"));
    assert_eq!(of(Preset::Cognito, json!({"sub": "crm", "client_id": "crm", "token_use": "access"})), client("crm"));
    assert_eq!(of(Preset::Hydra, json!({"sub": "ada", "client_id": "crm", "scp": ["a"]})), user("crm"));
    assert_eq!(of(Preset::Duende, json!({"client_id": "crm"})), client("crm"));
    assert_eq!(of(Preset::Duende, json!({"sub": "ada", "client_id": "crm"})), user("crm"));
    assert_eq!(of(Preset::Rfc9068, json!({"sub": "crm", "client_id": "crm"})), client("crm"));
}

#[test]
fn auth_time_and_acr_of_another_type_count_as_absent() {
    let of = |claims: Value| {
        let principal = read(&full(), &claims).unwrap();
        (principal.authenticated_at, principal.acr)
    };
    assert_eq!(
        of(json!({"sub": "s", "auth_time": 17.9, "acr": "high"})),
        (Some(Timestamp(17)), Some("high".to_owned()))
    );
    assert_eq!(of(json!({"sub": "s", "auth_time": "17", "acr": 5})), (None, None));
    assert_eq!(of(json!({"sub": "s", "auth_time": -1})), (None, None));
}

#[test]
fn a_persona_needs_neither_iss_nor_exp_but_wrong_types_are_refused_all_the_same() {
    assert!(read(&full(), &json!({"sub": "s"})).is_ok());
    assert_eq!(read(&full(), &json!({"sub": 5})).unwrap_err(), Fault::ClaimType);
    assert_eq!(read(&full(), &json!({})).unwrap_err(), Fault::Subject);
    assert_eq!(read(&full(), &json!({"sub": "s", "exp": "x"})).unwrap_err(), Fault::ClaimType);
    assert_eq!(read(&full(), &json!({"sub": "s", "jti": 5})).unwrap_err(), Fault::ClaimType);
}

#[test]
fn an_empty_jti_names_nothing() {
    assert_eq!(read(&full(), &json!({"sub": "s", "jti": ""})).unwrap().token_id, None);
}

#[test]
fn leeway_applies_to_exp_nbf_and_iat_alike() {
    let mut issuer = full();
    issuer.leeway = 10;
    let at = |claims: Value, now: i64| check_in_force(&read(&issuer, &claims).unwrap(), None, NOW.plus(now));
    let exp = json!({"sub": "s", "exp": NOW.0});
    assert_eq!((at(exp.clone(), 9), at(exp, 10)), (Ok(()), Err(Fault::Expired)));
    for name in ["nbf", "iat"] {
        let claims = json!({"sub": "s", "exp": NOW.0 + 100, name: NOW.0});
        assert_eq!((at(claims.clone(), -10), at(claims, -11)), (Ok(()), Err(Fault::NotYet)), "{name}");
    }
}
