//! `torwart issuers`: the issuers with presets spelled out, their key ids, and how old the keys are.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Common, Exit, Format};
use crate::authn::IssuerState;
use crate::clock::Timestamp;
use crate::config::Issuer;

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
    let Some(issuers) = common.load_issuers(&config) else { return Exit::NoAnswer };
    if args.online && common.wait(issuers.refresh()).is_none() {
        return Exit::NoAnswer;
    }
    let now = Timestamp::now();
    let states = issuers.states(now);
    let listed = config.issuers.iter().zip(&states);
    match args.format {
        Format::Json => {
            let listed = listed.map(|(issuer, state)| {
                let mut map = issuer.written();
                map.extend(keys(state, now));
                Value::Object(map)
            });
            common.print_json(&listed.collect());
        }
        Format::Text => {
            let listed = listed.map(|(issuer, state)| text(issuer, &keys(state, now)));
            common.print(&format!("issuers:\n{}", listed.collect::<String>()));
        }
    }
    if args.online && states.iter().any(|state| state.last_error.is_some()) { Exit::No } else { Exit::Yes }
}

/// An issuer's keys and how they came.
fn keys(state: &IssuerState, now: Timestamp) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("key_ids".to_owned(), json!(state.key_ids));
    map.insert("keys_age_seconds".to_owned(), json!(state.fetched_at.map(|moment| now.0.saturating_sub(moment.0))));
    if let Some(error) = &state.last_error {
        map.insert("error".to_owned(), json!(error));
    }
    map
}

/// YAML that can stand in `torwart.yaml`: the name first, then what the issuer is, each key on a line of its own; what
/// nobody writes, such as key ids, as comments.
fn text(issuer: &Issuer, keys: &Map<String, Value>) -> String {
    let mut text = format!("  - name: {}\n", issuer.name);
    for (name, value) in issuer.written().iter().filter(|(name, _)| *name != "name") {
        let _ = writeln!(text, "    {name}: {value}");
    }
    for (name, value) in keys {
        let _ = writeln!(text, "    # {name}: {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::config::{self, Audiences, Preset};
    use crate::diagnostic::Source;

    #[test]
    fn what_is_printed_loads_to_the_same_issuers() {
        let issuers: Vec<Issuer> = Preset::ALL
            .iter()
            .map(|(name, preset)| {
                let mut issuer = Issuer::new(name, &format!("https://{name}.example/"), Some(*preset));
                issuer.audiences = Audiences::OneOf(vec!["api".to_owned()]);
                issuer
            })
            .collect();
        let state = json!({"key_ids": ["a\nb: c"], "keys_age_seconds": null});
        let printed: String = issuers.iter().map(|issuer| text(issuer, state.as_object().unwrap())).collect();
        let source = Arc::new(Source { path: "torwart.yaml".into(), text: format!("version: 1\nissuers:\n{printed}") });
        let (config, problems) = config::read(&source, Path::new("/"), &|_: &str| None);
        assert!(problems.is_empty(), "{}", problems.render());
        assert_eq!(config.unwrap().issuers, issuers);
    }

    #[test]
    fn presets_are_spelled_out() {
        let printed = text(&Issuer::new("shop", "https://x.example/", Some(Preset::Auth0Organizations)), &Map::new());
        assert!(printed.starts_with("  - name: shop\n    "), "{printed}");
        let rule = r#"    client_credentials_when: {"any_of":[{"claim":"gty","equals":"client-credentials"},{"subject_is":"{client}@clients"}]}"#;
        for line in [rule, "    sender_constraint: \"optional\"", "    leeway: \"30s\""] {
            assert!(printed.lines().any(|found| found == line), "{line} is not in\n{printed}");
        }
    }
}
