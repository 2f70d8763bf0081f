//! `client_credentials_when`: how a token came to be (tokens.md, "Flow"). Pure. Doubt never grants anything.

use serde_json::Value;

use crate::config::FlowRule;
use crate::principal::{ClaimPath, Claims, Flow};

/// The parts of a principal that a rule may speak of besides the raw claims.
#[derive(Debug, Clone, Copy)]
pub struct Named<'p> {
    /// The OAuth client.
    pub client: Option<&'p str>,
    /// The subject.
    pub subject: Option<&'p str>,
}

/// The flow of a token with these claims. Without a rule it is unknown.
pub fn flow(rule: Option<&FlowRule>, claims: &Claims, named: Named<'_>) -> Flow {
    match rule.and_then(|rule| holds(rule, claims, named)) {
        Some(true) => Flow::ClientCredentials,
        Some(false) => Flow::User,
        None => Flow::Unknown,
    }
}

/// Whether the rule holds; `None` is unknown.
fn holds(rule: &FlowRule, claims: &Claims, named: Named<'_>) -> Option<bool> {
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
        FlowRule::AnyOf(rules) => any_of(rules.iter().map(|rule| holds(rule, claims, named))),
        FlowRule::Never => Some(false),
    }
}

/// True if one is true, else unknown if one is unknown, else false.
fn any_of(outcomes: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut unknown = false;
    for outcome in outcomes {
        match outcome {
            Some(true) => return Some(true),
            Some(false) => {}
            None => unknown = true,
        }
    }
    (!unknown).then_some(false)
}

/// Compares the raw claims byte for byte, whatever the principal's own sources are.
fn client_equals_subject(claims: &Claims) -> Option<bool> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    Some(text("client_id")? == text("sub")?)
}

/// An absent claim is false, one of another type than the literal unknown. `{client}` in a literal stands for the
/// client, as in `subject_is` (Keycloak's service accounts are named after their client).
fn claim_equals(path: &ClaimPath, wanted: &Value, claims: &Claims, named: Named<'_>) -> Option<bool> {
    let found = match look_up(path, claims) {
        Found::Value(found) => found,
        Found::Absent => return Some(false),
        Found::Obstructed => return None,
    };
    match (found, wanted) {
        (Value::String(found), Value::String(wanted)) if wanted.contains(CLIENT) => {
            Some(*found == filled(wanted, named)?)
        }
        (Value::String(_), Value::String(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Bool(_), Value::Bool(_)) => Some(found == wanted),
        _ => None,
    }
}

/// The placeholder of templates.
const CLIENT: &str = "{client}";

/// The template with the client in its place; `None` when it needs a client and there is none.
fn filled(template: &str, named: Named<'_>) -> Option<String> {
    if !template.contains(CLIENT) {
        return Some(template.to_owned());
    }
    named.client.map(|client| template.replace(CLIENT, client))
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
        let claims = claims.as_object().unwrap();
        let subject = claims.get("sub").and_then(Value::as_str);
        flow(Some(rule), claims, Named { client, subject })
    }

    #[test]
    fn without_a_rule_every_flow_is_unknown() {
        let claims = json!({"client_id": "a", "sub": "a"});
        let named = Named { client: Some("a"), subject: Some("a") };
        assert_eq!(flow(None, claims.as_object().unwrap(), named), Flow::Unknown);
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
}
