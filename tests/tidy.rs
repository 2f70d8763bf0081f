//! The habits of the house that no compiler checks: who may import whom, sizes of files, what texts may not say.

#![expect(
    clippy::unwrap_used,
    clippy::string_slice,
    clippy::indexing_slicing,
    reason = "what helps a test fails like a test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Which rooms a room may import beside itself. The further down the list, the closer to the outside.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("diagnostic", &[]),
    ("target", &[]),
    ("panics", &[]),
    ("json", &["target"]),
    ("soap", &[]),
    ("state", &[]),
    ("principal", &["clock", "target"]),
    ("document", &["diagnostic"]),
    ("policy", &["clock", "diagnostic", "document", "json", "principal", "soap", "target"]),
    ("config", &["clock", "diagnostic", "document", "principal", "target"]),
    ("telemetry", &["clock", "config", "diagnostic", "panics", "principal"]),
    ("assertion", &["clock", "config", "diagnostic", "panics", "principal", "state"]),
    ("authn", &["clock", "config", "diagnostic", "json", "panics", "principal", "state", "target", "telemetry"]),
    (
        "upstream",
        &["assertion", "clock", "config", "diagnostic", "panics", "policy", "principal", "target", "telemetry"],
    ),
    ("rate", &["clock", "policy", "principal", "target"]),
    ("admin", &["clock", "config", "panics", "telemetry"]),
    ("routes", &["config", "diagnostic", "policy", "principal", "target"]),
];

/// Rooms that everything of the gateway but the command line and dev mode is free to import.
const OUTSIDE: [&str; 2] = ["cli", "dev"];

/// Rooms that serve the command line, and may therefore import dev mode.
const BEFORE_THE_GATEWAY: [&str; 7] = ["check", "cli", "dev", "diff", "lib", "suite", "trial"];

/// Rooms that decide: nothing in them may depend on anything but the question.
const PURE: [&str; 4] = ["json", "policy", "soap", "target"];

/// What the pure rooms may not name: input, output, threads, clocks, logs.
const IMPURE: &str = r"\b(hyper|hyper_util|tokio|tokio_util|tokio_rustls|rustls|tracing|notify|socket2|arc_swap)::|\bstd::(fs|env|process|thread|io)\b|\b(File|TcpStream|UdpSocket|SystemTime|Instant|OffsetDateTime)\b|\bTimestamp::now\b|\bnow_utc\b";

/// Lines of a file without its tests beyond which it does not fit in a head.
const LONGEST: usize = 450;

/// Files that may be longer, each with the reason.
const LONGER: &[(&str, usize, &str)] = &[
    ("src/config.rs", 620, "the typed configuration is one list of fields, read from top to bottom like its document"),
    ("src/config/shape.rs", 560, "the declaration of the configuration file, which is a table and no logic"),
    ("src/policy/compile/require.rs", 540, "one function for each condition of the language, side by side"),
    ("src/response.rs", 560, "every refusal with its status, challenge and body is one table that is read as a whole"),
    ("src/upstream/request_headers.rs", 520, "what is removed and what is set instead has to be read side by side"),
];

#[test]
fn every_room_imports_only_what_it_may() {
    let mut faults = Vec::new();
    for file in sources() {
        let room = file.room();
        for imported in file.imports() {
            let allowed = match MAY_IMPORT.iter().find(|(name, _)| *name == room) {
                Some((_, allowed)) => imported == room || allowed.contains(&imported.as_str()),
                None => BEFORE_THE_GATEWAY.contains(&room.as_str()) || !OUTSIDE.contains(&imported.as_str()),
            };
            if !allowed {
                faults.push(format!("{}: `{room}` may not import `{imported}`", file.path.display()));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn authn_and_upstream_do_not_know_each_other() {
    for (room, other) in [("authn", "upstream"), ("upstream", "authn")] {
        let allowed = MAY_IMPORT.iter().find(|(name, _)| *name == room).unwrap().1;
        assert!(!allowed.contains(&other));
    }
}

#[test]
fn what_decides_depends_on_nothing_but_the_question() {
    let impure = Regex::new(IMPURE).unwrap();
    let mut faults = Vec::new();
    for file in sources().into_iter().filter(|file| PURE.contains(&file.room().as_str())) {
        for found in impure.find_iter(&file.code) {
            faults.push(format!("{}: names `{}`", file.path.display(), found.as_str()));
        }
    }
    assert_none(&faults);
}

#[test]
fn libraries_that_may_be_exchanged_are_named_in_one_file_each() {
    let naming = |library: &str| -> Vec<String> {
        let word = Regex::new(&format!(r"\b{library}\b")).unwrap();
        let named = sources().into_iter().filter(|file| word.is_match(&file.code));
        named.map(|file| file.path.display().to_string()).collect()
    };
    assert_eq!(naming("serde_yaml"), ["src/document/tree.rs"]);
    assert_eq!(naming("jsonwebtoken").len(), 1, "{:?}", naming("jsonwebtoken"));
    assert_eq!(naming("prometheus_client"), ["src/telemetry/metrics/encode.rs"]);
}

#[test]
fn no_permit_is_made_outside_policy() {
    let made = Regex::new(r"\bPermit\s*\{").unwrap();
    let faults: Vec<_> = sources()
        .into_iter()
        .filter(|file| file.room() != "policy" && made.is_match(&file.code))
        .map(|file| file.path.display().to_string())
        .collect();
    assert_none(&faults);
    let permit = sources().into_iter().find(|file| Regex::new(r"pub struct Permit\b").unwrap().is_match(&file.code));
    let code = permit.expect("there is a permit").code;
    let (before, body) = code.split_once("pub struct Permit").unwrap();
    assert!(!before.lines().rev().take(3).any(|line| line.contains("Clone")), "a permit is used once");
    assert!(!body.split_once('}').unwrap().0.contains("pub "), "a permit's fields are private");
}

#[test]
fn no_file_outgrows_a_head() {
    let mut faults = Vec::new();
    for file in sources() {
        let path = file.path.display().to_string();
        let limit = LONGER.iter().find(|(name, ..)| *name == path).map_or(LONGEST, |(_, limit, _)| *limit);
        if file.lines > limit {
            faults.push(format!("{path}: {} lines without tests, {limit} are enough", file.lines));
        }
    }
    for (path, _, reason) in LONGER {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{path} is gone");
        assert!(reason.len() > 20, "{path} needs a reason");
    }
    assert_none(&faults);
}

#[test]
fn every_file_is_part_of_the_program_and_none_is_called_mod() {
    let mut faults = Vec::new();
    for file in all_rust("src") {
        let stem = file.file_stem().unwrap().to_str().unwrap();
        if stem == "mod" {
            faults.push(format!("{}: modules are `foo.rs` beside `foo/`", file.display()));
        }
        if file == Path::new("src/lib.rs") || file == Path::new("src/main.rs") {
            continue;
        }
        let folder = file.parent().unwrap();
        let parent = if folder == Path::new("src") { PathBuf::from("src/lib.rs") } else { folder.with_extension("rs") };
        let text = fs::read_to_string(root().join(&parent)).unwrap_or_default();
        if !Regex::new(&format!(r"\bmod {stem}\b")).unwrap().is_match(&text) {
            faults.push(format!("{}: `{}` does not declare it", file.display(), parent.display()));
        }
    }
    assert_none(&faults);
}

#[test]
fn no_text_tells_about_the_machine_it_was_written_on() {
    // Written in two parts, so that this file does not say it either.
    let machine = [["/wo", "rk/"], ["/ro", "ot/"], ["/home/", "runner"]].map(|parts| parts.concat());
    let mut faults = Vec::new();
    for path in texts() {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            for word in &machine {
                if line.contains(word) {
                    faults.push(format!("{}:{}: says `{word}`", path.display(), number + 1));
                }
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn no_private_key_is_committed() {
    let marker = ["PRIVATE ", "KEY-----"].concat();
    let mut faults = Vec::new();
    for path in texts() {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        let quoted = path.extension().is_some_and(|kind| kind == "rs" || kind == "md");
        if text.contains(&marker) && !quoted {
            faults.push(path.display().to_string());
        }
    }
    assert_none(&faults);
}

#[test]
fn exceptions_carry_a_reason_and_nothing_is_left_to_do() {
    let exception = Regex::new(r"#!?\[(allow|expect)\(").unwrap();
    let mark = ["TO", "DO"].concat();
    let mut faults = Vec::new();
    for path in all_rust("src").into_iter().chain(all_rust("tests")) {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        for found in exception.find_iter(&text) {
            let attribute = text.get(found.start()..).unwrap().split_once(']').unwrap().0;
            if !attribute.contains("reason =") || attribute.contains("allow(") {
                faults.push(format!("{}: {attribute}", path.display()));
            }
        }
        if text.contains(&mark) || text.contains(&["FIX", "ME"].concat()) || text.contains(&["X", "XX"].concat()) {
            faults.push(format!("{}: something is left to do", path.display()));
        }
    }
    assert_none(&faults);
}

/// What a reader can paste works: the program knows every verb and option, every script and every linked file is there.
#[test]
fn what_the_readme_says_can_be_done() {
    let readme = fs::read_to_string(root().join("README.md")).expect("there is a README.md");
    let mut faults = Vec::new();
    let commands = commands(&readme);
    assert!(commands.len() > 1, "a README shows how to begin");
    for words in &commands {
        faults.extend(verb_and_options(words).filter_map(|(verb, options)| unknown(&verb, &options)));
        let script = words.first().filter(|word| word.starts_with("./"));
        faults.extend(
            script.filter(|script| !root().join(script).exists()).map(|script| format!("{script} is not there")),
        );
    }
    for link in Regex::new(r"\]\(([^)#:]+)(#[^)]*)?\)").unwrap().captures_iter(&readme) {
        if !root().join(&link[1]).exists() {
            faults.push(format!("{} is linked and not there", &link[1]));
        }
    }
    assert_none(&faults);
}

/// The words of every command in a block of shell text.
fn commands(markdown: &str) -> Vec<Vec<String>> {
    let block = Regex::new(r"(?s)```(?:sh|bash|shell|console)\n(.*?)```").unwrap();
    let text: String = block.captures_iter(markdown).map(|found| found[1].replace("\\\n", " ")).collect();
    let lines = text.lines().map(|line| line.trim().trim_start_matches("$ ")).filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .filter(|words: &Vec<_>| !words.is_empty())
        .collect()
}

/// The verb of `torwart` and the options behind it, wherever in the command the program is called.
fn verb_and_options(words: &[String]) -> impl Iterator<Item = (Vec<&str>, Vec<&str>)> {
    let call = words.iter().position(|word| {
        word == "torwart" || word.ends_with("/torwart") || (word == "--" && words[0] == "cargo" && words[1] == "run")
    });
    call.into_iter().filter_map(|at| {
        let own: Vec<&str> =
            words[at + 1..].iter().map(String::as_str).take_while(|word| !"|;&#".contains(*word)).collect();
        let at = own.iter().position(|word| !word.starts_with('-'))?;
        // `token mint` is a verb of two words.
        let verb = own[at..].iter().take(2).copied().take_while(|word| !word.starts_with('-')).collect();
        let options = own.iter().take_while(|word| **word != "--").filter(|word| word.starts_with("--"));
        Some((verb, options.map(|option| option.split('=').next().unwrap()).collect()))
    })
}

fn unknown(verb: &[&str], options: &[&str]) -> Option<String> {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_torwart")).args(verb).arg("--help").output().unwrap();
    let verb = verb.join(" ");
    if !help.status.success() {
        return Some(format!("`torwart {verb}` does not exist"));
    }
    let text = String::from_utf8(help.stdout).unwrap();
    let missing = options.iter().find(|option| !text.contains(**option));
    missing.map(|option| format!("`torwart {verb}` does not know `{option}`"))
}

/// A source file of the program.
struct File {
    path: PathBuf,
    /// Its text without comments, the contents of strings, and test modules.
    code: String,
    /// Lines without test modules.
    lines: usize,
}

impl File {
    /// The top-level module it belongs to.
    fn room(&self) -> String {
        let inside = self.path.strip_prefix("src").unwrap();
        inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
    }

    /// The top-level modules that its paths name.
    fn imports(&self) -> Vec<String> {
        let depth = self.path.with_extension("").iter().count() - 1;
        let absolute = Regex::new(r"\bcrate::([a-z_]+)").unwrap();
        let relative = Regex::new(r"\b((?:super::)+)([a-z_]+)").unwrap();
        let named = absolute.captures_iter(&self.code).map(|found| found[1].to_owned());
        let climbed = relative.captures_iter(&self.code).filter(|found| found[1].matches("super").count() == depth);
        // `macro_rules` and functions at the root do not exist; what is named there is a module.
        let grouped =
            self.code.match_indices("crate::{").flat_map(|(at, _)| group(&self.code[at + "crate::{".len()..]));
        named.chain(climbed.map(|found| found[2].to_owned())).chain(grouped).collect()
    }
}

/// The first names of each path in a group of imports, whose opening brace has been read.
fn group(text: &str) -> Vec<String> {
    let (mut depth, mut names, mut expected) = (1, Vec::new(), true);
    for token in Regex::new(r"[a-zA-Z_]+|[{},]").unwrap().find_iter(text) {
        match token.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," => expected |= depth == 1,
            name if expected && depth == 1 => {
                names.push(name.to_owned());
                expected = false;
            }
            _ => {}
        }
    }
    names
}

/// The program's files but its test modules.
fn sources() -> Vec<File> {
    let mut files = Vec::new();
    for path in all_rust("src") {
        if is_test(&path) || path == Path::new("src/main.rs") {
            continue;
        }
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let text = without_tests(&text);
        files.push(File { code: code_of(text), lines: text.lines().count(), path });
    }
    assert!(files.len() > 50, "the program is somewhere else");
    files
}

/// Whether the file, or a folder it is in, is a module that its parent declares for tests only.
fn is_test(path: &Path) -> bool {
    let mut module = path.with_extension("");
    while let (Some(stem), Some(folder)) = (module.file_stem(), module.parent()) {
        if folder == Path::new("src") {
            return false;
        }
        let parent = fs::read_to_string(root().join(folder.with_extension("rs"))).unwrap_or_default();
        let stem = stem.to_str().unwrap();
        if Regex::new(&format!(r"#\[cfg\(test\)\]\n(pub(\([a-z: ]+\))? )?mod {stem};")).unwrap().is_match(&parent) {
            return true;
        }
        module = folder.to_owned();
    }
    false
}

/// The text up to its test module, which is last in every file.
fn without_tests(text: &str) -> &str {
    let tests = Regex::new(r"(?m)^#\[cfg\(test\)\]\n(pub(\([a-z: ]+\))? )?mod ").unwrap();
    tests.find(text).map_or(text, |found| text.get(..found.start()).unwrap())
}

/// The text without comments and with empty strings.
fn code_of(text: &str) -> String {
    let token = Regex::new(concat!(
        r#"(?s)//[^\n]*|/\*.*?\*/"#,
        r##"|b?r#".*?"#|b?r".*?"|b?"(?:[^"\\]|\\.)*""##,
        r"|b?'(?:[^'\\\n]|\\[^\n]{1,9}?)'",
    ));
    token.unwrap().replace_all(text, " ").into_owned()
}

/// Every file of the repository that is no build product.
fn texts() -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(Path::new(""), &mut found);
    // Keys that `torwart dev` makes are there and ignored by Git; one that Git would take is found.
    let dev_mode_made = |path: &Path| path.starts_with("certs") && ignored(path);
    found.retain(|path| path != Path::new("Cargo.lock") && !dev_mode_made(path));
    found
}

fn ignored(path: &Path) -> bool {
    let asked = std::process::Command::new("git").args(["check-ignore", "-q"]).arg(path).current_dir(root()).status();
    asked.is_ok_and(|status| status.success())
}

fn all_rust(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(Path::new(folder), &mut found);
    found.retain(|path| path.extension().is_some_and(|kind| kind == "rs"));
    found
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    const SKIPPED: [&str; 6] = ["target", ".git", "node_modules", ".venv", "artifacts", "__pycache__"];
    let mut entries: Vec<_> = fs::read_dir(root().join(folder)).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let path = folder.join(&name);
        if SKIPPED.iter().any(|skipped| name == *skipped) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The checks above are worth what the reading of code is worth.
mod reading {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        let text = "// use crate::a;\nuse crate::b; /* crate::c */ let s = \"crate::d \\\" crate::e\"; let r = r#\"crate::f\"#; 'x' '\\'' '\"' crate::g 'l: loop {}";
        let code = code_of(text);
        let named: Vec<_> =
            Regex::new(r"crate::([a-z])").unwrap().captures_iter(&code).map(|f| f[1].to_owned()).collect();
        assert_eq!(named, ["b", "g"]);
        assert!(code.contains("'l: loop"));
    }

    #[test]
    fn climbing_to_the_root_counts_as_importing() {
        let file = |path: &str, code: &str| File { path: path.into(), code: code.into(), lines: 1 };
        assert_eq!(file("src/policy/a.rs", "use super::super::config::X;").imports(), ["config"]);
        assert_eq!(file("src/policy.rs", "use super::config::X;").imports(), ["config"]);
        assert!(file("src/policy/a.rs", "use super::b::X;").imports().is_empty());
        assert_eq!(file("src/a.rs", "use crate::{b::{c, d}, e, f::g};").imports(), ["b", "e", "f"]);
        assert_eq!(file("src/policy/a.rs", "crate::config::X").room(), "policy");
    }

    #[test]
    fn commands_are_found_in_shell_blocks_only() {
        let text = "torwart no\n```sh\n$ cargo run --release -- dev --port 1 \\\n  -- python x.py --flag\n# torwart no\n```\n```yaml\ntorwart no\n```\n";
        let found = commands(text);
        assert_eq!(found.len(), 1);
        assert_eq!(verb_and_options(&found[0]).collect::<Vec<_>>(), [(vec!["dev"], vec!["--port"])]);
        assert!(unknown(&["no-such-verb"], &[]).is_some());
        assert!(unknown(&["check"], &["--format"]).is_none());
        assert!(unknown(&["check"], &["--no-such-option"]).is_some());
        assert!(unknown(&["token", "mint"], &["--as"]).is_none());
    }

    #[test]
    fn the_list_of_rooms_has_no_circle() {
        let rank: BTreeMap<_, _> = MAY_IMPORT.iter().enumerate().map(|(rank, (room, _))| (*room, rank)).collect();
        for (room, allowed) in MAY_IMPORT {
            for other in *allowed {
                assert!(rank[other] < rank[room], "{room} imports {other}");
            }
        }
    }
}
