//! `torwart health`: whether the gateway that this configuration describes runs and is ready; what the image's
//! `HEALTHCHECK` calls.

use http::Method;
use serde_json::Value;

use super::{Common, Exit, Format};
use crate::admin;

/// Arguments of `torwart health`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Ask only whether the process answers, not whether it is ready for requests.
    #[arg(long)]
    live: bool,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args, common: &Common) -> Exit {
    let Some(config) = common.load_config() else { return Exit::NoAnswer };
    let path = if args.live { "/livez" } else { "/readyz" };
    let (healthy, answer) = match admin::ask(&config.admin, &Method::GET, path, None) {
        Ok((status, body)) => (status.is_success(), serde_json::from_slice(&body).unwrap_or_default()),
        // A gateway that does not answer is not healthy: that is an answer.
        Err(error) => (false, serde_json::json!({"reasons": [error.to_string()]})),
    };
    match args.format {
        Format::Json => common.print_json(&answer),
        Format::Text => common.print(&text(healthy, &answer)),
    }
    if healthy { Exit::Yes } else { Exit::No }
}

fn text(healthy: bool, answer: &Value) -> String {
    let mut text = String::from(if healthy { "healthy\n" } else { "not healthy\n" });
    for reason in answer.get("reasons").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        text.extend(["  ", reason, "\n"]);
    }
    for policy in answer.get("observing").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        text.extend(["  policy `", policy, "` is only observed\n"]);
    }
    text
}
