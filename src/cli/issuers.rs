//! `torwart issuers`: the issuers with presets spelled out, their key ids, and how old the keys are.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Common, Exit, Format};
use crate::authn::jose::algorithm_name;
use crate::authn::{IssuerState, Issuers};
use crate::clock::Timestamp;
use crate::config::{Audiences, FlowRule, Issuer, KeySource};
use crate::principal::ClaimPath;

/// Arguments of `torwart issuers`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Fetch the keys of every issuer; otherwise those of files and of the last run are shown.
    #[arg(long)]
    online: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args, common: &Common) -> Exit {
    let Some(config) = common.load_config() else { return Exit::NoAnswer };
    let issuers = match Issuers::load(&config, None) {
        Ok(issuers) => issuers,
        Err(problems) => {
            common.report(&problems);
            return Exit::NoAnswer;
        }
    };
    if args.online {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(issuers.refresh()),
            Err(error) => {
                common.note(&error.to_string());
                return Exit::NoAnswer;
            }
        }
    }
    let now = Timestamp::now();
    let states = issuers.states(now);
    let listed = config.issuers.iter().zip(&states);
    let listed: Vec<Value> = listed.map(|(issuer, state)| Value::Object(described(issuer, state, now))).collect();
    match args.format {
        Format::Json => common.print_json(&Value::Array(listed)),
        Format::Text => common.print(&listed.iter().map(text).collect::<String>()),
    }
    if args.online && states.iter().any(|state| state.last_error.is_some()) { Exit::No } else { Exit::Yes }
}

/// An issuer as it would be written without its preset, and its keys.
fn described(issuer: &Issuer, state: &IssuerState, now: Timestamp) -> Map<String, Value> {
    let mut map = spelled_out(issuer);
    map.insert("key_ids".to_owned(), json!(state.key_ids));
    map.insert("keys_age_seconds".to_owned(), json!(state.fetched_at.map(|moment| now.0.saturating_sub(moment.0))));
    if let Some(error) = &state.last_error {
        map.insert("error".to_owned(), json!(error));
    }
    map
}

/// Every key of `torwart.yaml` that makes the issuer what it is.
fn spelled_out(issuer: &Issuer) -> Map<String, Value> {
    let mut map = Map::new();
    let mut put = |name: &str, value: Value| {
        map.insert(name.to_owned(), value);
    };
    put("name", json!(issuer.name));
    put("issuer", json!(issuer.issuer));
    if let Some(preset) = issuer.preset {
        put("preset", json!(preset.as_str()));
    }
    put("audiences", audiences(&issuer.audiences));
    put("leeway", json!(format!("{}s", issuer.leeway)));
    put("environment", json!(if issuer.integration { "integration" } else { "production" }));
    put("algorithms", issuer.algorithms.iter().map(|algorithm| algorithm_name(*algorithm)).collect());
    if issuer.strict_rfc9068 {
        put("strict", json!("rfc9068"));
    }
    match &issuer.keys {
        KeySource::Discovery => {}
        KeySource::Url(url) => put("jwks_uri", json!(url)),
        KeySource::File(path) => put("jwks_file", json!(path)),
        KeySource::Secret(path) => put("secret_file", json!(path)),
    }
    put("keys", json!({"max_stale": format!("{}s", issuer.keys_max_stale.as_secs())}));
    put("claims", claims(issuer));
    if !issuer.case_insensitive.is_empty() {
        put("claims_case", json!({"insensitive": issuer.case_insensitive.iter().map(path).collect::<Vec<_>>()}));
    }
    if let Some(rule) = &issuer.client_credentials_when {
        put("client_credentials_when", flow(rule));
    }
    if let Some(rule) = &issuer.user_when {
        put("user_when", flow(rule));
    }
    if let Some(userinfo) = &issuer.userinfo {
        put("userinfo", json!({"claims": userinfo.claims, "cache": format!("{}s", userinfo.cache.as_secs())}));
    }
    if issuer.subject_optional {
        put("x-subject", json!("may be absent"));
    }
    map
}

fn audiences(audiences: &Audiences) -> Value {
    match audiences {
        Audiences::Any => json!("any"),
        Audiences::OneOf(list) => json!(list),
    }
}

fn claims(issuer: &Issuer) -> Value {
    let sources = &issuer.claims;
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
            several => json!({"first_of": several.iter().map(path).collect::<Vec<_>>()}),
        };
        Some(((*field).to_owned(), value))
    });
    Value::Object(named.collect())
}

/// A literal name, or a list of keys to descend.
fn path(path: &ClaimPath) -> Value {
    match path.0.as_ref() {
        [one] => json!(one),
        several => json!(several),
    }
}

fn flow(rule: &FlowRule) -> Value {
    match rule {
        FlowRule::ClientEqualsSubject => json!("client_equals_subject"),
        FlowRule::ClaimEquals(claim, value) => json!({"claim": path(claim), "equals": value}),
        FlowRule::ClaimExists(claim, wanted) => json!({"claim": path(claim), "exists": wanted}),
        FlowRule::SubjectIs(template) => json!({"subject_is": template}),
        FlowRule::AnyOf(rules) => json!({"any_of": rules.iter().map(flow).collect::<Vec<_>>()}),
        FlowRule::AllOf(rules) => json!({"all_of": rules.iter().map(flow).collect::<Vec<_>>()}),
        FlowRule::Never => json!("never"),
    }
}

/// YAML in flow style, the name first.
fn text(issuer: &Value) -> String {
    let mut text = format!("- name: {}\n", issuer.get("name").unwrap_or(&Value::Null));
    for (name, value) in issuer.as_object().into_iter().flatten().filter(|(name, _)| *name != "name") {
        let _ = writeln!(text, "  {name}: {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;

    #[test]
    fn presets_are_spelled_out() {
        let issuer = Issuer::new("shop", "https://x.example/", Some(Preset::Auth0Organizations));
        let map = spelled_out(&issuer);
        assert_eq!(map["claims"]["client"], json!({"first_of": ["azp", "client_id"]}));
        assert_eq!(map["claims"]["organizations"], json!("org_uids"));
        let rule = json!({"any_of": [
            {"claim": "gty", "equals": "client-credentials"},
            {"subject_is": "{client}@clients"},
        ]});
        assert_eq!(map["client_credentials_when"], rule);
        let keycloak = spelled_out(&Issuer::new("k", "https://x.example/", Some(Preset::Keycloak)));
        assert_eq!(keycloak["claims"]["permissions"], json!(["realm_access", "roles"]));
        let ameise = spelled_out(&Issuer::new("a", "https://x.example/", Some(Preset::Ameise)));
        assert_eq!(ameise["claims_case"]["insensitive"][1], json!(["broker", "id"]));
        assert_eq!(ameise["client_credentials_when"], json!("never"));
    }

    #[test]
    fn text_begins_with_the_name() {
        let issuer = Issuer::new("shop", "https://x.example/", None);
        let text = text(&Value::Object(spelled_out(&issuer)));
        assert!(text.starts_with("- name: \"shop\"\n  "), "{text}");
    }
}
