//! `torwart replay`: recorded requests decided again.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::ValueEnum;

use super::{Common, Exit, Format};
use crate::replay::{Tally, access, audit};
use crate::trial::Loaded;

/// Arguments of `torwart replay`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Audit files, or access logs.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Decide with the policies of this directory instead of those of the configuration.
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// What the files are, or how to print the result: `audit`, `combined`, `iis`; `text`, `json`.
    #[arg(long, value_enum, value_delimiter = ',')]
    format: Vec<Word>,
    /// Whom requests of an access log were sent to, where its lines do not say.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
}

/// The words that `--format` takes: forms of input and of output do not overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Word {
    /// The default: files are audit files of Torwart.
    Audit,
    /// Files are access logs of Apache or nginx.
    Combined,
    /// Files are W3C extended logs of IIS.
    Iis,
    /// The default: print for people.
    Text,
    /// Print for programs.
    Json,
}

pub(super) fn run(args: &Args, common: &Common) -> Exit {
    let output = if args.format.contains(&Word::Json) { Format::Json } else { Format::Text };
    let inputs = args.format.iter().filter_map(|word| match word {
        Word::Combined => Some(access::Format::Combined),
        Word::Iis => Some(access::Format::Iis),
        Word::Audit | Word::Text | Word::Json => None,
    });
    let inputs: Vec<_> = inputs.collect();
    let Some(loaded) = common.load_other_policies(args.policies.as_deref()) else { return Exit::NoAnswer };
    match inputs.as_slice() {
        [] => replay(args, &loaded, output, common),
        [format] => survey(args, &loaded, (*format, output), common),
        _ => {
            common.note("all files are of one format");
            Exit::NoAnswer
        }
    }
}

fn replay(args: &Args, loaded: &Loaded, output: Format, common: &Common) -> Exit {
    let mut tally = Tally::default();
    for file in &args.files {
        match audit::replay(loaded, file) {
            Ok(found) => tally.append(found),
            Err(error) => {
                common.note(&error.to_string());
                return Exit::NoAnswer;
            }
        }
    }
    match output {
        Format::Json => common.print_json(&tally.to_json()),
        Format::Text => common.print(&changes(&tally)),
    }
    if tally.changes.is_empty() { Exit::Yes } else { Exit::No }
}

fn changes(tally: &Tally) -> String {
    let mut text = String::new();
    let mut route = None;
    let mut list = tally.most();
    // Groups of one route stand together, the route with the largest group first.
    let rank = |policy: &str, name: &str| {
        tally.most().iter().position(|(one, _)| *one.policy == *policy && *one.route == *name)
    };
    list.sort_by_key(|(change, _)| rank(&change.policy, &change.route));
    for (change, group) in list {
        if route != Some((&change.policy, &change.route)) {
            let _ = writeln!(text, "{}", named(&change.policy, &change.route));
            route = Some((&change.policy, &change.route));
        }
        let client = if change.client.is_empty() { "no client" } else { &change.client };
        let _ = writeln!(text, "  {:>9}  {client}: {} -> {}", group.count, change.then, change.now);
        let _ = writeln!(text, "             such as {}", group.example);
    }
    for (why, group) in tally.most_lacking() {
        let _ = writeln!(text, "unknown\n  {:>9}  {why}\n             such as {}", group.count, group.example);
    }
    malformed(tally, &mut text);
    let _ = writeln!(
        text,
        "{} records: {} the same, {} changed, {} unknown",
        tally.records,
        tally.same,
        tally.changed_requests(),
        tally.unknown_requests()
    );
    text
}

fn named(policy: &str, route: &str) -> String {
    match (policy, route) {
        ("", _) => "no policy".to_owned(),
        (policy, "") => format!("{policy}, no route"),
        (policy, route) => format!("{policy} / {route}"),
    }
}

fn malformed(tally: &Tally, text: &mut String) {
    if tally.malformed > 0 {
        let _ = writeln!(text, "{} malformed lines, such as", tally.malformed);
        for line in &tally.shown {
            let _ = writeln!(text, "  {line}");
        }
    }
}

fn survey(args: &Args, loaded: &Loaded, (input, output): (access::Format, Format), common: &Common) -> Exit {
    let mut whole = access::Survey::default();
    for file in &args.files {
        match access::survey(loaded, file, input, args.host.as_deref()) {
            Ok(found) => whole.append(found),
            Err(error) => {
                common.note(&error.to_string());
                return Exit::NoAnswer;
            }
        }
    }
    match output {
        Format::Json => common.print_json(&whole.to_json()),
        Format::Text => common.print(&fates(&whole)),
    }
    if whole.lost() == 0 { Exit::Yes } else { Exit::No }
}

fn fates(survey: &access::Survey) -> String {
    let mut text = String::new();
    let mut kind = None;
    for (fate, group) in survey.most() {
        if kind != Some(fate.kind) {
            let _ = writeln!(text, "{}", fate.kind.as_str());
            kind = Some(fate.kind);
        }
        let route = if fate.route.is_empty() { "no policy" } else { &fate.route };
        let why = match fate.status {
            Some(status) => format!(": {} ({status})", fate.reason),
            None => String::new(),
        };
        let served = if fate.served { "" } else { "; the API answered with an error then, too" };
        let _ = writeln!(text, "  {:>9}  {route}{why}{served}\n             such as {}", group.count, group.example);
    }
    malformed(&survey.lines, &mut text);
    let _ = writeln!(
        text,
        "{} requests: {} that the API served would be refused whatever token they came with",
        survey.requests,
        survey.lost()
    );
    text
}
