//! An issuer as it would be written: every key of `torwart.yaml` that makes it what it is, those of its preset and all
//! defaults included. What is read back from it is the same issuer.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Audiences, FlowRule, Introspection, Issuer, KeySource, Preset, Userinfo};
use crate::principal::ClaimPath;

impl Issuer {
    /// The issuer with everything spelled out. Secrets stay in their files. What only a preset can say stands under keys
    /// of the author's own (`x-`), beside the preset that says it.
    pub fn written(&self) -> Map<String, Value> {
        let mut map = Map::new();
        let mut put = |name: &str, value: Value| {
            map.insert(name.to_owned(), value);
        };
        put("name", json!(self.name));
        put("preset", json!(self.preset.map(Preset::as_str)));
        put("issuer", text(&self.issuer));
        put("audiences", audiences(&self.audiences));
        put("leeway", json!(format!("{}s", self.leeway)));
        put("environment", json!(if self.integration { "integration" } else { "production" }));
        put("algorithms", self.algorithms.iter().map(|algorithm| json!(algorithm.name())).collect());
        put("strict", json!(if self.strict_rfc9068 { "rfc9068" } else { "none" }));
        match &self.keys {
            KeySource::Discovery => {}
            KeySource::Url(url) => put("jwks_uri", text(url)),
            KeySource::File(path) => put("jwks_file", text(&path.to_string_lossy())),
            KeySource::Secret(path) => put("secret_file", text(&path.to_string_lossy())),
        }
        put("keys", json!({"max_stale": duration(self.keys_max_stale)}));
        put("claims", self.sources());
        put("claims_case", json!({"insensitive": paths(&self.case_insensitive)}));
        put("client_credentials_when", self.client_credentials_when.as_ref().map_or(Value::Null, rule));
        put("user_when", self.user_when.as_ref().map_or(Value::Null, rule));
        put("introspection", self.introspection.as_ref().map_or(Value::Null, introspection));
        put("userinfo", self.userinfo.as_ref().map_or(Value::Null, userinfo));
        put("sender_constraint", json!(if self.sender_constraint_required { "required" } else { "optional" }));
        put("tls", self.tls_ca.as_ref().map_or(Value::Null, |path| json!({"ca": text(&path.to_string_lossy())})));
        put("x-subject", if self.subject_optional { json!("may be absent") } else { Value::Null });
        put("x-permission-scope", self.permission_scope.as_deref().map_or(Value::Null, text));
        map.retain(|_, value| !value.is_null());
        map
    }

    fn sources(&self) -> Value {
        let sources = &self.claims;
        let fields = [
            ("subject", &sources.subject),
            ("client", &sources.client),
            ("scopes", &sources.scopes),
            ("permissions", &sources.permissions),
            ("organizations", &sources.organizations),
            ("global", &sources.global),
        ];
        let named = fields.iter().filter_map(|(field, sources)| {
            let value = match sources.as_slice() {
                [] => return None,
                [one] => path(one),
                several => json!({"first_of": paths(several)}),
            };
            Some(((*field).to_owned(), value))
        });
        Value::Object(named.collect())
    }
}

/// A text as a value of `torwart.yaml`, where `${` begins a variable.
fn text(text: &str) -> Value {
    json!(text.replace("${", "$${"))
}

fn audiences(audiences: &Audiences) -> Value {
    match audiences {
        Audiences::Any => json!("any"),
        Audiences::OneOf(list) => list.iter().map(|audience| text(audience)).collect(),
    }
}

/// A literal name, or a list of keys to descend.
fn path(path: &ClaimPath) -> Value {
    match path.0.as_ref() {
        [one] => text(one),
        several => several.iter().map(|key| text(key)).collect(),
    }
}

fn paths(paths: &[ClaimPath]) -> Value {
    paths.iter().map(path).collect()
}

fn rule(rule: &FlowRule) -> Value {
    let all = |rules: &[FlowRule]| rules.iter().map(self::rule).collect::<Value>();
    match rule {
        FlowRule::ClientEqualsSubject => json!("client_equals_subject"),
        FlowRule::ClaimEquals(claim, Value::String(value)) => json!({"claim": path(claim), "equals": text(value)}),
        FlowRule::ClaimEquals(claim, value) => json!({"claim": path(claim), "equals": value}),
        FlowRule::ClaimExists(claim, wanted) => json!({"claim": path(claim), "exists": wanted}),
        FlowRule::SubjectIs(template) => json!({"subject_is": text(template)}),
        FlowRule::AnyOf(rules) => json!({"any_of": all(rules)}),
        FlowRule::AllOf(rules) => json!({"all_of": all(rules)}),
        FlowRule::Never => json!("never"),
    }
}

fn introspection(introspection: &Introspection) -> Value {
    let mut map = json!({
        "client_id": text(&introspection.client_id),
        "client_secret_file": text(&introspection.client_secret_file.to_string_lossy()),
        "cache": duration(introspection.cache),
        "always": introspection.always,
    });
    endpoint(&mut map, introspection.endpoint.as_deref());
    map
}

fn userinfo(userinfo: &Userinfo) -> Value {
    let claims: Value = userinfo.claims.iter().map(|claim| text(claim)).collect();
    let mut map = json!({"claims": claims, "cache": duration(userinfo.cache)});
    endpoint(&mut map, userinfo.endpoint.as_deref());
    map
}

/// Nothing where discovery tells it.
fn endpoint(map: &mut Value, url: Option<&str>) {
    if let (Some(map), Some(url)) = (map.as_object_mut(), url) {
        map.insert("endpoint".to_owned(), text(url));
    }
}

fn duration(duration: Duration) -> String {
    if duration.subsec_nanos() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::config::{Config, read};
    use crate::diagnostic::Source;

    fn load(issuers: &str) -> Config {
        let text = format!("version: 1\n{issuers}");
        let source = Arc::new(Source { path: "torwart.yaml".into(), text });
        let (config, problems) = read(&source, Path::new("/base"), &|_: &str| None);
        config.unwrap_or_else(|| panic!("{}{issuers}", problems.render()))
    }

    fn read_back(issuer: &Issuer) -> Issuer {
        load(&format!("issuers: {}", json!([issuer.written()]))).issuers.remove(0)
    }

    #[test]
    fn what_is_written_is_read_back_for_every_preset() {
        for preset in Preset::ALL.iter().map(|(_, preset)| Some(*preset)).chain([None]) {
            let mut issuer = Issuer::new("one", "https://x.example/", preset);
            issuer.audiences = Audiences::OneOf(vec!["api".to_owned()]);
            assert_eq!(read_back(&issuer), issuer);
        }
    }

    #[test]
    fn what_the_file_says_is_read_back_too() {
        let config = load(
            r#"issuers:
  - name: a
    preset: keycloak
    issuer: "https://a.example/$${literal}"
    audiences: ["$${x}", y]
    leeway: 5s
    algorithms: [ES256]
    strict: rfc9068
    jwks_uri: https://a.example/keys
    keys: {max_stale: 90m}
    claims: {subject: [user, id], client: {first_of: [azp, [app, id]]}, scopes: scp, global: "https://x.example/global"}
    claims_case: {insensitive: [sub, [user, id]]}
    client_credentials_when: {any_of: [{claim: n, equals: 3}, {claim: b, equals: true}, {claim: [a, b], exists: false}, {all_of: [{subject_is: "{client:lower}"}, client_equals_subject]}]}
    introspection: {endpoint: "https://a.example/introspect", client_id: gateway, client_secret_file: secret, cache: 1500ms, always: true}
    userinfo: {endpoint: "https://a.example/userinfo", claims: [broker]}
    sender_constraint: required
    tls: {ca: ca.pem}
  - {name: b, preset: ameise, issuer: "http://localhost:1", environment: integration, audiences: any, secret_file: key, client_credentials_when: never, user_when: {claim: sid, exists: true}}
  - {name: c, preset: rfc9068, issuer: "https://c.example", audiences: [x], strict: none, jwks_file: keys.json, userinfo: {claims: [a], cache: 1m}}
"#,
        );
        for issuer in &config.issuers {
            assert_eq!(read_back(issuer), *issuer);
        }
        assert_eq!(config.issuers[0].user_when, None, "the preset's second rule goes with its first");
    }

    #[test]
    fn what_a_preset_alone_can_say_is_shown() {
        let of = |preset| Issuer::new("one", "https://x.example/", Some(preset)).written();
        assert_eq!(of(Preset::Duende)["x-subject"], json!("may be absent"));
        assert_eq!(of(Preset::Ameise)["x-permission-scope"], json!("ameise/permissions"));
        assert!(!of(Preset::Kusy).contains_key("x-subject"));
        assert!(!of(Preset::Kusy).contains_key("user_when"));
    }
}
