//! `torwart reload`: makes the running gateway load its configuration again.

use http::Method;
use serde_json::Value;

use super::{Common, Exit, Format};
use crate::admin;

/// Arguments of `torwart reload`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print the outcome.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args, common: &Common) -> Exit {
    let Some(config) = common.load_config() else { return Exit::NoAnswer };
    let body = match admin::ask(&config.admin, &Method::POST, "/api/v1/reload", None) {
        Ok((_, body)) => body,
        Err(error) => {
            common.note(&error.to_string());
            return Exit::NoAnswer;
        }
    };
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(reloaded) = answer.get("reloaded").and_then(Value::as_bool) else {
        common.note(answer.get("detail").and_then(Value::as_str).unwrap_or("the admin listener refused to reload"));
        return Exit::NoAnswer;
    };
    match args.format {
        Format::Json => common.print_json(&answer),
        Format::Text if reloaded => common.print("the configuration was loaded\n"),
        Format::Text => {
            common.print("the configuration was not loaded, the old one stays in force\n");
            common.print(answer.get("error").and_then(Value::as_str).unwrap_or_default());
        }
    }
    if reloaded { Exit::Yes } else { Exit::No }
}
