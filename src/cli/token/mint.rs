//! `torwart token mint`: a persona's token, made without a server.

use std::path::PathBuf;

use crate::cli::{Common, Exit, ProcessEnvironment};
use crate::clock::Timestamp;
use crate::dev::persona::TOKEN_SECONDS;
use crate::dev::workspace::{CERTS, Workspace};
use crate::document::duration;

/// Arguments of `torwart token mint`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Whose token: a persona of the policy tests, or of the built-in examples.
    #[arg(long = "as", value_name = "PERSONA")]
    persona: String,
    /// How long it is valid, such as `90s` or `15m`; a negative one (`-1h`) has expired [default: 1h].
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = seconds)]
    ttl: Option<i64>,
    /// Directory of policies and their tests [default: what torwart.yaml says, else policies].
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Directory of keys and certificates.
    #[arg(long, value_name = "DIR", default_value = CERTS)]
    certs: PathBuf,
}

pub(in crate::cli) fn run(args: &Args, common: &Common) -> Exit {
    let opened = Workspace::open(args.policies.as_deref(), common.config_path(), &args.certs, &ProcessEnvironment);
    let workspace = match opened {
        Ok(workspace) => workspace,
        Err(error) => {
            common.note(&error.to_string());
            return Exit::NoAnswer;
        }
    };
    let seconds = args.ttl.unwrap_or(TOKEN_SECONDS);
    match workspace.mint(&args.persona, seconds, Timestamp::now(), &ProcessEnvironment) {
        Ok(token) => {
            common.print(&format!("{token}\n"));
            Exit::Yes
        }
        Err(error) => {
            common.note(error.to_string().trim_end());
            Exit::NoAnswer
        }
    }
}

/// A duration as configuration files write it, with a sign for tokens that have expired.
fn seconds(text: &str) -> Result<i64, String> {
    let (sign, length) = text.strip_prefix('-').map_or((1, text), |length| (-1, length));
    let length = duration(length)?.as_secs();
    i64::try_from(length).map(|length| sign * length).map_err(|_| "too long".to_owned())
}
