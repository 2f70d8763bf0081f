//! `client_credentials_when` and `user_when`: how a token came to be (tokens.md, "Flow"). Pure. Doubt never grants anything.

use serde_json::Value;

use crate::config::{FlowRule, Issuer};
use crate::principal::{ClaimPath, Claims, Flow};

/// The parts of a principal that a rule may speak of besides the raw claims.
#[derive(Debug, Clone, Copy)]
pub struct Named<'p> {
    /// The OAuth client.
    pub client: Option<&'p str>,
    /// The subject.
    pub subject: Option<&'p str>,
}

/// The flow of a token with these claims. Without a rule it is unknown, and so it is when the rules for clients and for
/// users both hold or neither does.
pub fn flow(issuer: &Issuer, claims: &Claims, named: Named<'_>) -> Flow {
    let ask = |rule: &FlowRule| holds(rule, claims, named);
    let Some(client) = issuer.client_credentials_when.as_ref().map(ask) else { return Flow::Unknown };
    let user = issuer.user_when.as_ref().map_or_else(|| client.map(|holds| !holds), ask);
    match (client, user) {
        (Some(true), Some(false)) => Flow::ClientCredentials,
        (Some(false), Some(true)) => Flow::User,
        (Some(true), Some(true)) | (Some(false), Some(false)) | (None, _) | (_, None) => Flow::Unknown,
    }
}

/// Whether the rule holds; `None` is unknown.
fn holds(rule: &FlowRule, claims: &Claims, named: Named<'_>) -> Option<bool> {
    let all =
        |rules: &[FlowRule], decisive: bool| decided(decisive, rules.iter().map(|rule| holds(rule, claims, named)));
    match rule {
        FlowRule::ClientEqualsSubject => client_equals_subject(claims),
        FlowRule::ClaimEquals(path, wanted) => claim_equals(path, wanted, claims, named),
        FlowRule::ClaimExists(path, wanted) => match look_up(path, claims) {
            Found::Value(_) => Some(*wanted),
            Found::Absent => Some(!*wanted),
            Found::Obstructed => None,
        },
        FlowRule::SubjectIs(template) => {
            let wanted = filled(template, named)?;
            Some(named.subject == Some(wanted.as_str()))
        }
        FlowRule::AnyOf(rules) => all(rules, true),
        FlowRule::AllOf(rules) => all(rules, false),
        FlowRule::Never => Some(false),
    }
}

/// The decisive truth if one outcome is that, else unknown if one is unknown, else the other: for `any_of` true is
/// decisive, for `all_of` false.
fn decided(decisive: bool, outcomes: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut unknown = false;
    for outcome in outcomes {
        match outcome {
            Some(truth) if truth == decisive => return Some(decisive),
            Some(_) => {}
            None => unknown = true,
        }
    }
    (!unknown).then_some(!decisive)
}

/// Compares the raw claims byte for byte, whatever the principal's own sources are.
fn client_equals_subject(claims: &Claims) -> Option<bool> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    Some(text("client_id")? == text("sub")?)
}

/// An absent claim is false, one of another type than the literal unknown.
fn claim_equals(path: &ClaimPath, wanted: &Value, claims: &Claims, named: Named<'_>) -> Option<bool> {
    let found = match look_up(path, claims) {
        Found::Value(found) => found,
        Found::Absent => return Some(false),
        Found::Obstructed => return None,
    };
    match (found, wanted) {
        (Value::String(found), Value::String(wanted)) => Some(*found == filled(wanted, named)?),
        (Value::Number(_), Value::Number(_)) | (Value::Bool(_), Value::Bool(_)) => Some(found == wanted),
        _ => None,
    }
}

/// The template with what it names in its place; `None` when it names something that is not there. What is put in is
/// not read again: a client may be named `{subject}`.
pub fn filled(template: &str, named: Named<'_>) -> Option<String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, behind) = behind.split_once('}')?;
        text.push_str(before);
        match name {
            "client" => text.push_str(named.client?),
            "client:lower" => text.push_str(&named.client?.to_lowercase()),
            "subject" => text.push_str(named.subject?),
            _ => return None,
        }
        rest = behind;
    }
    text.push_str(rest);
    Some(text)
}

/// What is at a path.
enum Found<'c> {
    Value(&'c Value),
    Absent,
    /// Something on the way is no object, so nobody can tell.
    Obstructed,
}

fn look_up<'c>(path: &ClaimPath, claims: &'c Claims) -> Found<'c> {
    let Some((first, rest)) = path.0.split_first() else { return Found::Absent };
    let mut value = claims.get(first.as_str());
    for key in rest {
        value = match value {
            None | Some(Value::Null) => return Found::Absent,
            Some(Value::Object(object)) => object.get(key.as_str()),
            Some(_) => return Found::Obstructed,
        };
    }
    match value {
        None | Some(Value::Null) => Found::Absent,
        Some(value) => Found::Value(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decide(rule: &FlowRule, claims: &Value, client: Option<&str>) -> Flow {
        decide_both((Some(rule), None), claims, client)
    }

    fn decide_both(
        (client_rule, user_rule): (Option<&FlowRule>, Option<&FlowRule>),
        claims: &Value,
        client: Option<&str>,
    ) -> Flow {
        let mut issuer = Issuer::new("shoen", "https://i", None);
        (issuer.client_credentials_when, issuer.user_when) = (client_rule.cloned(), user_rule.cloned());
        let claims = claims.as_object().unwrap();
        let subject = claims.get("sub").and_then(Value::as_str);
        flow(&issuer, claims, Named { client, subject })
    }

    #[test]
    fn without_a_rule_every_flow_is_unknown() {
        let claims = json!({"client_id": "a", "sub": "a"});
        assert_eq!(decide_both((None, None), &claims, Some("a")), Flow::Unknown);
        let user = FlowRule::ClaimExists(ClaimPath::top("sub"), true);
        assert_eq!(decide_both((None, Some(&user)), &claims, Some("a")), Flow::Unknown);
    }

    #[test]
    fn never_makes_every_token_a_users() {
        assert_eq!(decide(&FlowRule::Never, &json!({"client_id": "a", "sub": "a"}), Some("a")), Flow::User);
    }

    #[test]
    fn client_equals_subject_compares_raw_claims_byte_for_byte() {
        let rule = FlowRule::ClientEqualsSubject;
        let cases = [
            (json!({"client_id": "kusy", "sub": "kusy"}), Flow::ClientCredentials),
            (json!({"client_id": "kusy", "sub": "Kusy"}), Flow::User),
            (json!({"client_id": "kusy", "sub": "kusy "}), Flow::User),
            (json!({"client_id": "kusy", "sub": "17"}), Flow::User),
            (json!({"sub": "kusy"}), Flow::Unknown),
            (json!({"client_id": null, "sub": "kusy"}), Flow::Unknown),
            (json!({"client_id": "", "sub": ""}), Flow::Unknown),
            (json!({"client_id": "", "sub": "x"}), Flow::Unknown),
            (json!({"client_id": 17, "sub": "17"}), Flow::Unknown),
            (json!({"client_id": ["kusy"], "sub": "kusy"}), Flow::Unknown),
            (json!({"client_id": "kusy"}), Flow::Unknown),
        ];
        for (claims, wanted) in cases {
            assert_eq!(decide(&rule, &claims, Some("kusy")), wanted, "{claims}");
        }
    }

    #[test]
    fn a_claim_test_is_false_when_absent_and_unknown_when_of_another_type() {
        let rule = FlowRule::ClaimEquals(ClaimPath::top("gty"), json!("client-credentials"));
        assert_eq!(decide(&rule, &json!({"gty": "client-credentials"}), None), Flow::ClientCredentials);
        assert_eq!(decide(&rule, &json!({"gty": "Client-Credentials"}), None), Flow::User);
        assert_eq!(decide(&rule, &json!({"gty": null}), None), Flow::User);
        assert_eq!(decide(&rule, &json!({}), None), Flow::User);
        assert_eq!(decide(&rule, &json!({"gty": ["client-credentials"]}), None), Flow::Unknown);
        assert_eq!(decide(&rule, &json!({"gty": true}), None), Flow::Unknown);
    }

    #[test]
    fn a_claim_may_be_a_number_or_a_literal() {
        for (wanted, other) in [(json!(3), json!(4)), (json!(true), json!(false))] {
            let rule = FlowRule::ClaimEquals(ClaimPath::top("machine"), wanted.clone());
            assert_eq!(decide(&rule, &json!({"machine": wanted}), None), Flow::ClientCredentials, "{wanted}");
            assert_eq!(decide(&rule, &json!({"machine": other}), None), Flow::User, "{other}");
            assert_eq!(decide(&rule, &json!({"machine": wanted.to_string()}), None), Flow::Unknown, "{wanted} as text");
        }
    }

    #[test]
    fn existence_is_never_unknown_unless_the_way_is_obstructed() {
        let rule = FlowRule::ClaimExists(ClaimPath(["a".to_owned(), "b".to_owned()].into()), false);
        assert_eq!(decide(&rule, &json!({}), None), Flow::ClientCredentials);
        assert_eq!(decide(&rule, &json!({"a": {}}), None), Flow::ClientCredentials);
        assert_eq!(decide(&rule, &json!({"a": {"b": null}}), None), Flow::ClientCredentials);
        assert_eq!(decide(&rule, &json!({"a": {"b": false}}), None), Flow::User);
        assert_eq!(decide(&rule, &json!({"a": "text"}), None), Flow::Unknown);
    }

    #[test]
    fn subject_is_needs_a_client() {
        let rule = FlowRule::SubjectIs("{client}@clients".to_owned());
        assert_eq!(decide(&rule, &json!({"sub": "c1@clients"}), Some("c1")), Flow::ClientCredentials);
        assert_eq!(decide(&rule, &json!({"sub": "c2@clients"}), Some("c1")), Flow::User);
        assert_eq!(decide(&rule, &json!({"sub": "@clients"}), None), Flow::Unknown);
        assert_eq!(decide(&rule, &json!({}), Some("c1")), Flow::User);
        let literal = FlowRule::SubjectIs("batch".to_owned());
        assert_eq!(decide(&literal, &json!({"sub": "batch"}), None), Flow::ClientCredentials);
    }

    #[test]
    fn any_of_is_true_before_unknown_before_false() {
        let rule = FlowRule::AnyOf(vec![
            FlowRule::ClaimEquals(ClaimPath::top("gty"), json!("client-credentials")),
            FlowRule::SubjectIs("{client}@clients".to_owned()),
        ]);
        assert_eq!(decide(&rule, &json!({"gty": 5, "sub": "c@clients"}), Some("c")), Flow::ClientCredentials);
        assert_eq!(decide(&rule, &json!({"gty": 5, "sub": "x"}), Some("c")), Flow::Unknown);
        assert_eq!(decide(&rule, &json!({"gty": "password", "sub": "x"}), None), Flow::Unknown);
        assert_eq!(decide(&rule, &json!({"gty": "password", "sub": "x"}), Some("c")), Flow::User);
        assert_eq!(decide(&FlowRule::AnyOf(Vec::new()), &json!({}), None), Flow::User);
    }

    #[test]
    fn a_literal_may_name_the_client() {
        let rule = FlowRule::ClaimEquals(ClaimPath::top("preferred_username"), json!("service-account-{client}"));
        assert_eq!(
            decide(&rule, &json!({"preferred_username": "service-account-crm"}), Some("crm")),
            Flow::ClientCredentials
        );
        assert_eq!(decide(&rule, &json!({"preferred_username": "ada"}), Some("crm")), Flow::User);
        assert_eq!(decide(&rule, &json!({"preferred_username": "service-account-"}), None), Flow::Unknown);
    }

    #[test]
    fn all_of_is_false_before_unknown_before_true() {
        let rule = FlowRule::AllOf(vec![
            FlowRule::ClaimExists(ClaimPath::top("uid"), false),
            FlowRule::SubjectIs("{client}".to_owned()),
        ]);
        assert_eq!(decide(&rule, &json!({"sub": "c"}), Some("c")), Flow::ClientCredentials);
        assert_eq!(decide(&rule, &json!({"sub": "x"}), Some("c")), Flow::User);
        assert_eq!(decide(&rule, &json!({"sub": "c", "uid": "u"}), Some("c")), Flow::User);
        assert_eq!(decide(&rule, &json!({"sub": "c"}), None), Flow::Unknown);
        assert_eq!(decide(&rule, &json!({"sub": "c", "uid": "u"}), None), Flow::User);
        assert_eq!(decide(&FlowRule::AllOf(Vec::new()), &json!({}), None), Flow::ClientCredentials);
    }

    #[test]
    fn with_a_rule_for_users_what_neither_tells_and_what_both_claim_is_unknown() {
        let client = FlowRule::ClaimEquals(ClaimPath::top("kind"), json!("machine"));
        let user = FlowRule::ClaimExists(ClaimPath::top("sid"), true);
        let of = |claims: Value| decide_both((Some(&client), Some(&user)), &claims, None);
        assert_eq!(of(json!({"kind": "machine"})), Flow::ClientCredentials);
        assert_eq!(of(json!({"sid": "s"})), Flow::User);
        assert_eq!(of(json!({})), Flow::Unknown);
        assert_eq!(of(json!({"kind": "machine", "sid": "s"})), Flow::Unknown);
        assert_eq!(of(json!({"kind": 1, "sid": "s"})), Flow::Unknown);
        assert_eq!(of(json!({"kind": 1})), Flow::Unknown);
    }

    #[test]
    fn what_is_put_into_a_text_is_not_read_again() {
        let named = |client, subject| Named { client: Some(client), subject: Some(subject) };
        assert_eq!(filled("a-{client}-{subject}", named("{subject}", "s")).as_deref(), Some("a-{subject}-s"));
        assert_eq!(filled("{client:lower}", named("ÄB", "s")).as_deref(), Some("äb"));
        for broken in ["{client", "{other}", "{client}{"] {
            assert_eq!(filled(broken, named("c", "s")), None, "{broken}");
        }
        assert_eq!(filled("{client}", Named { client: None, subject: Some("s") }), None);
    }
}
