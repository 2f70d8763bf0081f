//! The command line (cli.md): one file per verb under `cli/`, no logic of its own.
//!
//! A verb is a module with `Args` (clap) and `run(&Args, &Common) -> Exit`, a variant of `Verb` and an arm in
//! [`main`]. Results go to stdout through `Common::print`, everything else to stderr through `Common::note` and
//! `Common::report`; nothing else writes to either.

mod check;
mod completions;
mod dev;
mod diff;
mod explain;
mod health;
mod issuers;
mod reload;
mod replay;
mod revoke;
mod routes;
mod run;
mod schema;
mod status;
mod test;
mod token;
mod version;

use std::io::{IsTerminal as _, Stderr, Stdout, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::authn::Issuers;
use crate::config::{self, Config};
use crate::diagnostic::{Diagnostics, Style};
use crate::document::Environment;
use crate::trial::{Loaded, Verdict};

/// An authorization gateway: validates bearer tokens, decides every request by YAML route policies, forwards what is
/// allowed.
#[derive(Debug, Parser)]
#[command(name = "torwart", version, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    /// Configuration file. Default: `TORWART_CONFIG`, `./torwart.yaml`, `/etc/torwart/torwart.yaml`.
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Be the gateway.
    Run(run::Args),
    /// Run the gateway for a laptop: no configuration file, no network, nothing to install.
    Dev(dev::Args),
    /// Load everything and print errors and warnings.
    Check(check::Args),
    /// Run the policy tests.
    Test(test::Args),
    /// Compare two configurations: what they decide differently, each with a request that shows it.
    Diff(diff::Args),
    /// Say why a request is decided as it is, and which smallest change of it would be allowed.
    Explain(Box<explain::Args>),
    /// Decide recorded requests again, or those of another server's access log.
    Replay(replay::Args),
    /// Print the compiled route table and how each upstream reads requests.
    Routes(routes::Args),
    /// Print the issuers with presets spelled out, their key ids and ages.
    Issuers(issuers::Args),
    /// Ask whether the running gateway is ready; what a container's health check calls.
    Health(health::Args),
    /// Print the state of the running gateway.
    Status(status::Args),
    /// Make the running gateway load its configuration again.
    Reload(reload::Args),
    /// Make the running gateway refuse tokens that are otherwise good.
    Revoke(Box<revoke::Args>),
    /// Make dev tokens.
    Token(token::Args),
    /// Print the JSON Schema of a file format, for editors.
    Schema(schema::Args),
    /// Print a completion script for a shell.
    Completions(completions::Args),
    /// Print the version.
    Version(version::Args),
}

/// How the process ends (cli.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: yes, done, no difference.
    Yes,
    /// 1: no: failed tests, invalid policy, differences.
    No,
    /// 2: could not answer: usage, unreadable input.
    NoAnswer,
    /// 3: undecided.
    Undecided,
    /// 78: `run` with a configuration error (`EX_CONFIG` of sysexits.h).
    Configuration,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Yes => 0,
            Exit::No => 1,
            Exit::NoAnswer => 2,
            Exit::Undecided => 3,
            Exit::Configuration => 78,
        })
    }
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// What every verb has at hand.
#[derive(Debug)]
pub(crate) struct Common {
    /// `--config`.
    config: Option<PathBuf>,
    stdout: Stdout,
    stderr: Stderr,
}

/// What is said where there is no configuration file.
const NO_CONFIGURATION: &str = "there is no configuration file: neither `--config FILE` nor `TORWART_CONFIG` nor \
    `./torwart.yaml` nor `/etc/torwart/torwart.yaml`";

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(fault) => {
            let _ = fault.print();
            return if fault.use_stderr() { Exit::NoAnswer } else { Exit::Yes }.into();
        }
    };
    let common = Common { config: arguments.config, stdout: std::io::stdout(), stderr: std::io::stderr() };
    match arguments.verb {
        Verb::Run(args) => run::run(&args, &common),
        Verb::Dev(args) => dev::run(&args, &common),
        Verb::Check(args) => check::run(&args, &common),
        Verb::Test(args) => test::run(&args, &common),
        Verb::Diff(args) => diff::run(&args, &common),
        Verb::Explain(args) => explain::run(&args, &common),
        Verb::Replay(args) => replay::run(&args, &common),
        Verb::Routes(args) => routes::run(&args, &common),
        Verb::Issuers(args) => issuers::run(&args, &common),
        Verb::Health(args) => health::run(&args, &common),
        Verb::Status(args) => status::run(&args, &common),
        Verb::Reload(args) => reload::run(&args, &common),
        Verb::Revoke(args) => revoke::run(&args, &common),
        Verb::Token(args) => token::run(&args, &common),
        Verb::Schema(args) => schema::run(&args, &common),
        Verb::Completions(args) => completions::run(&args, &mut Arguments::command()),
        Verb::Version(args) => version::run(&args, &common),
    }
    .into()
}

impl Common {
    /// The configuration file, if there is one.
    pub(crate) fn config_path(&self) -> Option<PathBuf> {
        config::locate(self.config.as_deref(), &ProcessEnvironment)
    }

    /// Reads the configuration file, for verbs that need one. What is wrong has been printed when there is none;
    /// the verb then ends with [`Exit::NoAnswer`], or [`Exit::Configuration`] if it is `run`.
    pub(crate) fn load_config(&self) -> Option<Config> {
        let Some(path) = self.config_path() else {
            self.note(NO_CONFIGURATION);
            return None;
        };
        let (config, problems) = config::load(&path, &ProcessEnvironment);
        self.report(&problems);
        config
    }

    /// The issuers of a configuration, with the keys of files and of the last run. What is wrong has been printed when
    /// there are none.
    pub(crate) fn load_issuers(&self, config: &Config) -> Option<Issuers> {
        Issuers::load(config, None).map_err(|problems| self.report(&problems)).ok()
    }

    /// Waits for something that asks the network. Why that cannot be done has been printed when nothing comes of it.
    pub(crate) fn wait<T>(&self, asked: impl Future<Output = T>) -> Option<T> {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => Some(runtime.block_on(asked)),
            Err(error) => {
                self.note(&error.to_string());
                None
            }
        }
    }

    /// Loads everything that decides, without the network: the configuration with its policies, or `./policies` alone
    /// where there is no configuration file. What is wrong has been printed when there is none; the verb then ends with
    /// [`Exit::NoAnswer`].
    pub(crate) fn load_policies(&self) -> Option<Loaded> {
        self.load_other_policies(None)
    }

    /// The same with the policies of another directory.
    pub(crate) fn load_other_policies(&self, directory: Option<&Path>) -> Option<Loaded> {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let here = Path::new("policies");
        let verdict = match (self.config_path(), directory) {
            (Some(path), None) => Loaded::configuration(&path, &ProcessEnvironment),
            (Some(path), Some(other)) => Loaded::with_policies(&path, &absolute(other), &ProcessEnvironment),
            (None, other) if other.unwrap_or(here).is_dir() => {
                self.note("no configuration file: issuers and upstreams are what the policies name, as in dev mode");
                Loaded::directory(&absolute(other.unwrap_or(here)))
            }
            (None, _) => {
                self.note(NO_CONFIGURATION);
                return None;
            }
        };
        self.loaded(verdict)
    }

    /// What was loaded, after its findings were printed. Warnings are `check`'s to tell.
    pub(crate) fn loaded(&self, verdict: Verdict) -> Option<Loaded> {
        verdict.map(|(loaded, _)| loaded).map_err(|problems| self.report(&problems)).ok()
    }

    /// Prints a result, as it is. A reader that went away is no fault.
    pub(crate) fn print(&self, text: &str) {
        let mut out = self.stdout.lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Prints a result as JSON.
    pub(crate) fn print_json(&self, value: &serde_json::Value) {
        self.print(&format!("{value:#}\n"));
    }

    /// Says something that is no result, with a line break.
    pub(crate) fn note(&self, text: &str) {
        let mut out = self.stderr.lock();
        let _ = writeln!(out, "torwart: {text}");
    }

    /// Prints findings beside a result.
    pub(crate) fn report(&self, problems: &Diagnostics) {
        let mut out = self.stderr.lock();
        let style = style(out.is_terminal());
        let _ = out.write_all(rendered(problems, style).as_bytes());
    }

    /// Prints findings that are the result.
    pub(crate) fn print_findings(&self, problems: &Diagnostics) {
        self.print(&rendered(problems, style(self.stdout.is_terminal())));
    }
}

fn rendered(problems: &Diagnostics, style: Style) -> String {
    problems.render_in(style, std::env::current_dir().ok().as_deref())
}

/// Colour only on a terminal, and only where nobody asked for none (<https://no-color.org>).
fn style(terminal: bool) -> Style {
    let refused = ProcessEnvironment.variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = ProcessEnvironment.variable("TERM").is_some_and(|value| value == "dumb");
    if terminal && !refused && !dumb { Style::Coloured } else { Style::Plain }
}

/// The variables of this process. One that is not UTF-8 counts as unset.
pub(crate) struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn names(&self) -> Vec<String> {
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn exit_codes_are_those_of_the_specification() {
        let codes = [Exit::Yes, Exit::No, Exit::NoAnswer, Exit::Undecided, Exit::Configuration];
        let expected = [0, 1, 2, 3, 78].map(ExitCode::from);
        for (exit, code) in codes.into_iter().zip(expected) {
            assert_eq!(format!("{:?}", ExitCode::from(exit)), format!("{code:?}"));
        }
    }
}
