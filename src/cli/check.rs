//! `torwart check`: loads everything and prints what is wrong.

use std::path::Path;

use super::{Common, Exit, Format, NO_CONFIGURATION, ProcessEnvironment};
use crate::check::{self, Findings, Reach};
use crate::diagnostic::Severity;

/// Arguments of `torwart check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Ask the network too: discovery and keys of every issuer, a connection to every upstream.
    #[arg(long)]
    online: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args, common: &Common) -> Exit {
    let policies = Path::new("policies");
    let reach = if args.online { Reach::Online } else { Reach::Offline };
    let findings = match common.config_path() {
        Some(path) => {
            if let Err(fault) = std::fs::File::open(&path) {
                common.note(&format!("cannot read `{}`: {fault}", path.display()));
                return Exit::NoAnswer;
            }
            check::configuration(&path, &ProcessEnvironment, reach)
        }
        None if policies.is_dir() => {
            common.note("no configuration file: issuers and upstreams are what the policies name, as in dev mode");
            check::directory(std::path::absolute(policies).unwrap_or_else(|_| policies.to_owned()))
        }
        None => {
            common.note(NO_CONFIGURATION);
            return Exit::NoAnswer;
        }
    };
    print(args.format, common, &findings);
    if findings.problems.has_errors() { Exit::No } else { Exit::Yes }
}

fn print(format: Format, common: &Common, findings: &Findings) {
    let count = |severity| findings.problems.iter().filter(|found| found.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let Findings { documents, routes, issuers, upstreams, .. } = findings;
    match format {
        Format::Text => {
            common.print_findings(&findings.problems);
            let verdict = if errors == 0 { "valid" } else { "not valid" };
            let parts = [
                counted(*documents, "policy", "policies"),
                counted(*routes, "route", "routes"),
                counted(*issuers, "issuer", "issuers"),
                counted(*upstreams, "upstream", "upstreams"),
            ];
            let found = [counted(errors, "error", "errors"), counted(warnings, "warning", "warnings")];
            let summary = if errors == 0 { format!(": {}", parts.join(", ")) } else { String::new() };
            common.print(&format!("{verdict}{summary}; {}\n", found.join(", ")));
        }
        Format::Json => common.print_json(&serde_json::json!({
            "valid": errors == 0,
            "errors": errors,
            "warnings": warnings,
            "policies": documents,
            "routes": routes,
            "issuers": issuers,
            "upstreams": upstreams,
            "diagnostics": findings.problems.to_json(),
        })),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}
