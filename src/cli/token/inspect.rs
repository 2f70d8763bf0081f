//! `torwart token inspect`: what a token says, and which check it fails.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::authn::inspect::decode;
use crate::authn::{Failure, Fault, Wanted};
use crate::cli::{Common, Exit, Format, ProcessEnvironment};
use crate::clock::Timestamp;
use crate::config::{Config, is_dev_issuer};
use crate::dev::workspace::{CERTS, Workspace};
use crate::principal::Principal;

/// The longest input that is read.
const LONGEST: u64 = 1024 * 1024;

/// Arguments of `torwart token inspect`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The token, with or without `Bearer` in front [default: standard input].
    token: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(in crate::cli) fn run(args: &Args, common: &Common) -> Exit {
    let Some(text) = args.token.clone().or_else(standard_input) else {
        common.note("standard input is no text");
        return Exit::NoAnswer;
    };
    let token = bare(&text);
    if token.is_empty() {
        common.note("there is no token");
        return Exit::NoAnswer;
    }
    let config = match known_issuers(token, common) {
        Known::Configured(config) => Some(config),
        Known::Nothing => None,
        Known::Unusable => return Exit::NoAnswer,
    };
    let verdict = match config.map(|config| verified(token, &config, common)) {
        Some(Some(verdict)) => verdict,
        Some(None) => return Exit::NoAnswer,
        None => {
            let message = "it was not verified: there is no configuration file that names its issuer".to_owned();
            Verdict::without_principal(Exit::Undecided, "configuration", message)
        }
    };
    let report = report(token, &verdict);
    match args.format {
        Format::Json => common.print_json(&report),
        Format::Text => common.print(&text_of(&report)),
    }
    verdict.exit
}

/// What says which issuers there are.
enum Known {
    /// `torwart.yaml`, or dev mode for one of its tokens.
    Configured(Box<Config>),
    /// Nothing does.
    Nothing,
    /// Something does and cannot be used; what is wrong has been said.
    Unusable,
}

fn known_issuers(token: &str, common: &Common) -> Known {
    let claims = decode(token).claims;
    let issuer = claims.as_ref().and_then(|claims| claims.get("iss")).and_then(Value::as_str);
    if issuer.is_some_and(is_dev_issuer) {
        return development(common);
    }
    if common.config_path().is_none() {
        return Known::Nothing;
    }
    common.load_config().map_or(Known::Unusable, |config| Known::Configured(Box::new(config)))
}

/// The issuers of dev mode, as they are where this command is called.
fn development(common: &Common) -> Known {
    let (environment, certs) = (&ProcessEnvironment, Path::new(CERTS));
    let workspace = match Workspace::open(None, common.config_path(), certs, environment) {
        Ok(workspace) => workspace,
        Err(error) => return unusable(common, &error.to_string()),
    };
    let origin = match workspace.origin() {
        Ok(origin) => origin,
        Err(error) => return unusable(common, &error.to_string()),
    };
    match workspace.ground(environment) {
        Ok(ground) => {
            let mut config = Config::empty(workspace.written.clone().unwrap_or_default());
            config.dev = true;
            config.issuers = ground.issuers(&origin, &workspace.key_set());
            Known::Configured(Box::new(config))
        }
        Err(problems) => {
            common.report(&problems);
            Known::Unusable
        }
    }
}

fn unusable(common: &Common, error: &str) -> Known {
    common.note(error);
    Known::Unusable
}

fn standard_input() -> Option<String> {
    let mut text = String::new();
    std::io::stdin().lock().take(LONGEST).read_to_string(&mut text).ok().map(|_| text)
}

/// The token without what people paste along with it.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let scheme = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    scheme.map_or(text, |(_, token)| token.trim())
}

/// What became of a token.
struct Verdict {
    exit: Exit,
    check: &'static str,
    message: String,
    principal: Option<Value>,
    /// What the issuer says of it, or what it says itself.
    claims: Option<Value>,
}

impl Verdict {
    fn without_principal(exit: Exit, check: &'static str, message: String) -> Self {
        Self { exit, check, message, principal: None, claims: None }
    }
}

fn verified(token: &str, config: &Config, common: &Common) -> Option<Verdict> {
    let (issuers, now) = (common.load_issuers(config)?, Timestamp::now());
    let mut verdict = verdict(common.wait(issuers.inspect(token, now))?);
    if verdict.check == Wanted::Introspection.as_str() {
        let errors = issuers.states(now).into_iter().filter_map(|state| state.introspection?.last_error);
        verdict.message.extend(errors.map(|error| format!(": {error}")));
    }
    let asked: Vec<_> = config.issuers.iter().filter(|issuer| issuer.introspection.is_some()).collect();
    if verdict.check == Fault::Opaque.as_str() && asked.len() > 1 {
        let names = asked.iter().map(|issuer| format!("`{}`", issuer.name)).collect::<Vec<_>>().join(" and ");
        let message = format!("it is no JWT; of the issuers {names} nobody knows which to ask, so none was");
        return Some(Verdict::without_principal(Exit::Undecided, Wanted::Introspection.as_str(), message));
    }
    Some(verdict)
}

fn verdict(outcome: Result<std::sync::Arc<Principal>, Failure>) -> Verdict {
    match outcome {
        Ok(principal) => {
            let message = format!("it is a token of issuer `{}`", principal.issuer.name);
            let claims = Some(Value::Object(principal.claims.to_map()));
            Verdict { exit: Exit::Yes, check: "none", message, principal: Some(described(&principal)), claims }
        }
        Err(failure) => {
            let (exit, check) = match &failure {
                Failure::Invalid(invalid) => (Exit::No, invalid.fault.as_str()),
                Failure::Unavailable { wanted, .. } => (Exit::Undecided, wanted.as_str()),
                Failure::ManyHeaders | Failure::Missing => (Exit::NoAnswer, "credentials"),
            };
            Verdict::without_principal(exit, check, failure.to_string())
        }
    }
}

fn described(principal: &Principal) -> Value {
    json!({
        "issuer": principal.issuer.name,
        "subject": principal.subject,
        "client": principal.client,
        "flow": principal.flow.as_str(),
        "scopes": principal.scopes,
        "permissions": principal.permissions,
        "organizations": principal.organizations,
        "global": principal.global,
    })
}

/// Everything that is printed. The signature is not.
fn report(token: &str, verdict: &Verdict) -> Value {
    let decoded = decode(token);
    let claims = decoded.claims.as_ref().or(verdict.claims.as_ref());
    let times = ["iat", "nbf", "exp", "auth_time"].iter().filter_map(|name| {
        let seconds = claims?.get(*name)?.as_i64()?;
        let moment = OffsetDateTime::from_unix_timestamp(seconds).ok()?.format(&Rfc3339).ok()?;
        Some(((*name).to_owned(), Value::String(moment)))
    });
    let valid = match verdict.exit {
        Exit::Yes => Value::Bool(true),
        Exit::No => Value::Bool(false),
        Exit::NoAnswer | Exit::Undecided | Exit::Configuration => Value::Null,
    };
    json!({
        "valid": valid,
        "check": verdict.check,
        "message": verdict.message,
        "times": times.collect::<serde_json::Map<_, _>>(),
        "header": decoded.header,
        "claims": claims,
        "principal": verdict.principal,
    })
}

fn text_of(report: &Value) -> String {
    let word = |name: &str| report.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut text = match report.get("valid").and_then(Value::as_bool) {
        Some(true) => format!("valid: {}\n", word("message")),
        Some(false) => format!("not valid: {} (check `{}`)\n", word("message"), word("check")),
        None => format!("undecided: {} (check `{}`)\n", word("message"), word("check")),
    };
    for section in ["principal", "times", "header", "claims"] {
        let members = report.get(section).and_then(Value::as_object);
        if let Some(members) = members.filter(|members| !members.is_empty()) {
            text.extend(["\n", section, "\n"]);
            for (name, value) in members {
                let _ = writeln!(text, "  {name}: {value}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_paste_is_taken_as_the_token() {
        for text in ["a.b.c", " a.b.c\n", "Bearer a.b.c", "bearer  a.b.c\r\n"] {
            assert_eq!(bare(text), "a.b.c", "{text}");
        }
        assert_eq!(bare("Basic x"), "Basic x");
    }

    #[test]
    fn the_failing_check_is_named_and_the_signature_never_shown() {
        let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIiwiZXhwIjoxODAwMDAwMDAwfQ.c2VjcmV0";
        let refused = verdict(Err(Fault::Algorithm.into()));
        assert_eq!((refused.exit, refused.check), (Exit::No, "algorithm"));
        let report = report(token, &refused);
        for text in [text_of(&report), report.to_string()] {
            assert!(text.contains("algorithm") && text.contains("2027-01-15T08:00:00Z"), "{text}");
            assert!(!text.contains("c2VjcmV0") && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn what_the_issuer_says_of_an_opaque_token_is_shown() {
        let claims = json!({"active": true, "sub": "17", "exp": 1_800_000_000});
        let verdict = Verdict {
            exit: Exit::Yes,
            check: "none",
            message: "it is a token of issuer `shoen`".to_owned(),
            principal: None,
            claims: Some(claims),
        };
        let text = text_of(&report("2YotnFZFEjr1zCsicMWpAA", &verdict));
        assert!(text.contains("sub: \"17\"") && text.contains("2027-01-15T08:00:00Z"), "{text}");
        let silent = Failure::Unavailable { issuer: "shoen".into(), wanted: Wanted::Introspection, retry_after: 1 };
        let silent = super::verdict(Err(silent));
        assert_eq!((silent.exit, silent.check), (Exit::Undecided, "introspection"));
    }

    #[test]
    fn without_keys_nothing_is_decided() {
        let unavailable =
            verdict(Err(Failure::Unavailable { issuer: "shoen".into(), wanted: Wanted::Keys, retry_after: 1 }));
        assert_eq!(unavailable.exit, Exit::Undecided);
        assert!(text_of(&report("a.b.c", &unavailable)).starts_with("undecided: no keys of issuer `shoen`"));
    }
}
