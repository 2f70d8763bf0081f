//! `torwart dev`: the gateway for a laptop.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Common, Exit};
use crate::dev::workspace::CERTS;
use crate::dev::{Dev, DevError, End, Options, PORT};
use crate::panics;

/// Arguments of `torwart dev`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where allowed requests go [default: an echo that answers with what it received].
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Directory of policies and their tests [default: what torwart.yaml says, else policies, else built-in examples].
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// The gateway's port; the provider has the next one. 0: any.
    #[arg(long, default_value_t = PORT)]
    port: u16,
    /// Directory of keys and certificates, made if need be.
    #[arg(long, value_name = "DIR", default_value = CERTS)]
    certs: PathBuf,
    /// Your own upstream, run beside the gateway and ended with it. It finds the port to listen on in `PORT`.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn run(args: &Args, common: &Common) -> Exit {
    let options = Options {
        policies: args.policies.clone(),
        written: common.config_path(),
        certs: args.certs.clone(),
        upstream: args.upstream.clone(),
        port: args.port,
        command: args.command.clone(),
    };
    let dev = match Dev::start(&options) {
        Ok((dev, warnings)) => {
            common.report(&warnings);
            dev
        }
        Err(DevError::Problems(problems)) => {
            common.report(&problems);
            return Exit::NoAnswer;
        }
        Err(error) => {
            common.note(&error.to_string());
            return Exit::NoAnswer;
        }
    };
    panics::install();
    common.print(&dev.announcement());
    let end = dev.wait();
    dev.shutdown();
    match end {
        End::Signal => Exit::Yes,
        End::Command(Ok(status)) if status.success() => Exit::Yes,
        End::Command(Ok(status)) => {
            common.note(&format!("the command ended with {status}"));
            Exit::No
        }
        End::Command(Err(error)) => {
            common.note(&format!("nothing is known of the command's end: {error}"));
            Exit::NoAnswer
        }
    }
}
