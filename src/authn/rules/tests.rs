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
    let some = |scopes: &[&str]| Ok(scopes.iter().collect::<Texts>());
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
    assert_eq!(of(json!({"sub": "s", "realm_access": {"roles": ["a"]}})), Some(["a"].into()));
    assert_eq!(of(json!({"sub": "s", "realm_access": {"roles": []}})), Some(Texts::default()));
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
    assert_eq!(of(json!(["a"]), json!(false)), Ok((Some(["a"].into()), Some(false))));
    assert_eq!(of(json!(null), json!(null)), Ok((None, None)));
    assert_eq!(of(json!([]), json!(null)), Ok((Some(Texts::default()), None)));
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
    assert_eq!(principal.scopes, ["persons.name#read"].into());
    assert_eq!(principal.organizations, Some(["u"].into()));
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
    assert_eq!(principal.permissions, Some(["ameise", "verwaltung"].into()));
    assert_eq!(principal.flow, Flow::User);
    assert!(principal.issuer.subject_folds);
    assert!(!principal.issuer.client_folds);
    let tenant_only = json!({"sub": "a", "client_id": "a"});
    assert_eq!(read(&preset(Preset::Ameise), &tenant_only).unwrap().client, None);
}

/// Flow and client under a preset.
fn told(which: Preset, claims: &Value) -> (Flow, String) {
    let principal = read(&preset(which), claims).unwrap();
    (principal.flow, principal.client.unwrap_or_default())
}

#[test]
fn the_other_presets_tell_clients_from_users() {
    let cases = [
        (Preset::Cognito, json!({"sub": "crm", "client_id": "crm", "token_use": "access"}), Flow::ClientCredentials),
        (Preset::Cognito, json!({"sub": "ada", "client_id": "crm", "token_use": "access"}), Flow::User),
        (Preset::Hydra, json!({"sub": "crm", "client_id": "crm", "scp": ["a"]}), Flow::ClientCredentials),
        (Preset::Hydra, json!({"sub": "ada", "client_id": "crm", "scp": ["a"]}), Flow::User),
        (Preset::Rfc9068, json!({"sub": "crm", "client_id": "crm"}), Flow::ClientCredentials),
        (Preset::Rfc9068, json!({"sub": "ada", "client_id": "crm"}), Flow::User),
    ];
    for (which, claims, flow) in cases {
        assert_eq!(told(which, &claims), (flow, "crm".to_owned()), "{which:?} {claims}");
    }
}

#[test]
fn a_service_account_of_keycloak_shows_its_name_and_its_client() {
    let of = |claims: Value| told(Preset::Keycloak, &claims).0;
    let named =
        |name: &str, client: Value| json!({"sub": "u", "azp": "CRM", "preferred_username": name, "client_id": client});
    assert_eq!(of(named("service-account-crm", json!("CRM"))), Flow::ClientCredentials);
    let before_20 = json!({"sub": "u", "azp": "crm", "preferred_username": "service-account-crm", "clientId": "crm"});
    assert_eq!(of(before_20), Flow::ClientCredentials);
    assert_eq!(of(json!({"sub": "u", "azp": "crm", "preferred_username": "ada", "sid": "s"})), Flow::User);
    // Somebody who has registered under that name.
    let registered = json!({"sub": "u", "azp": "crm", "preferred_username": "service-account-crm", "sid": "s"});
    assert_eq!(of(registered), Flow::User);
    // A token that was exchanged by another client.
    assert_eq!(of(named("service-account-other", json!("other"))), Flow::Unknown);
    assert_eq!(of(named("service-account-crm", json!("crm"))), Flow::Unknown);
    assert_eq!(of(named("service-account-crm", json!(null))), Flow::Unknown);
    assert_eq!(of(named("service-account-CRM", json!("CRM"))), Flow::Unknown);
    // Lightweight, and a service account with a session.
    assert_eq!(of(json!({"sub": "u", "azp": "crm"})), Flow::Unknown);
    let mut with_session = named("service-account-crm", json!("CRM"));
    with_session["sid"] = json!("s");
    assert_eq!(of(with_session), Flow::Unknown);
}

#[test]
fn an_application_of_entra_shows_by_its_kind_or_as_its_own_object() {
    let of = |claims: Value| told(Preset::Entra, &claims);
    let is = |flow: Flow| (flow, "crm".to_owned());
    assert_eq!(of(json!({"sub": "o", "oid": "o", "appid": "crm", "roles": ["r"]})), is(Flow::ClientCredentials));
    assert_eq!(of(json!({"sub": "o", "azp": "crm", "idtyp": "app"})), is(Flow::ClientCredentials));
    assert_eq!(of(json!({"sub": "p", "oid": "o", "azp": "crm", "scp": "a b"})), is(Flow::User));
    assert_eq!(of(json!({"sub": "p", "oid": "o", "azp": "crm", "idtyp": "user"})), is(Flow::User));
    // An ID token, or a user's token with roles only.
    assert_eq!(of(json!({"sub": "p", "oid": "o", "azp": "crm", "roles": ["r"]})), is(Flow::Unknown));
    assert_eq!(of(json!({"sub": "p", "azp": "crm"})), is(Flow::Unknown));
    // Both at once.
    assert_eq!(of(json!({"sub": "o", "oid": "o", "azp": "crm", "idtyp": "app", "scp": "a"})), is(Flow::Unknown));
    assert_eq!(of(json!({"sub": "o", "oid": "o", "azp": "crm", "idtyp": "user"})), is(Flow::Unknown));
    assert_eq!(of(json!({"sub": "o", "oid": "o", "azp": "crm", "idtyp": ["app"]})), is(Flow::Unknown));
}

#[test]
fn a_client_of_okta_is_its_own_subject_and_has_no_user() {
    let of = |claims: Value| told(Preset::Okta, &claims).0;
    assert_eq!(of(json!({"sub": "crm", "cid": "crm", "scp": ["a"]})), Flow::ClientCredentials);
    assert_eq!(of(json!({"sub": "ada", "cid": "crm", "uid": "00u", "scp": ["a"]})), Flow::User);
    assert_eq!(of(json!({"sub": "crm", "cid": "crm", "uid": "00u"})), Flow::User);
    assert_eq!(of(json!({"sub": "ada", "cid": "crm"})), Flow::Unknown);
    assert_eq!(of(json!({"sub": "ada"})), Flow::Unknown);
    assert_eq!(of(json!({"sub": "crm", "cid": 5})), Flow::Unknown);
}

#[test]
fn a_client_of_duende_has_no_subject_and_a_user_an_identity_provider() {
    let of = |claims: Value| told(Preset::Duende, &claims).0;
    assert_eq!(of(json!({"client_id": "crm"})), Flow::ClientCredentials);
    assert_eq!(of(json!({"sub": null, "client_id": "crm"})), Flow::ClientCredentials);
    assert_eq!(of(json!({"sub": "ada", "client_id": "crm", "idp": "local"})), Flow::User);
    // A static claim of the client, sent without prefix.
    assert_eq!(of(json!({"sub": "crm", "client_id": "crm"})), Flow::Unknown);
    assert_eq!(of(json!({})), Flow::Unknown);
    assert_eq!(of(json!({"client_id": "crm", "idp": "local"})), Flow::Unknown);
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

#[test]
fn of_a_persona_nothing_is_pending() {
    let mut issuer = full();
    let userinfo = crate::config::Userinfo {
        endpoint: None,
        claims: vec!["realm_access".to_owned(), "tenant".to_owned()],
        cache: std::time::Duration::ZERO,
    };
    issuer.userinfo = Some(userinfo);
    let claims = json!({"iss": "https://i", "exp": NOW.0, "sub": "s"});
    issuer.audiences = crate::config::Audiences::Any;
    let token = Rules::new(&issuer, IssuerId(0)).verified_claims(claims.as_object().unwrap().clone(), [0; 32]);
    assert!(token.unwrap().pending.permissions, "a token's is");
    assert_eq!(read(&issuer, &claims).unwrap().pending, Pending::default());
}
