//! The bodies of the fuzz targets over their seeds and a bounded number of inputs made from them (fuzz/README.md).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a body panics when something does not hold"
)]
#![expect(unreachable_pub, reason = "the bodies are public for the fuzzing crate")]

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/bodies.rs"]
mod bodies;

/// Runs a body over its seeds, then over inputs made from them. `FUZZ_INPUTS` multiplies their number.
fn run(name: &str, body: fn(&[u8]), inputs: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(seeds.len() > 5, "`{name}` has lost its seeds");
    for seed in &seeds {
        body(seed);
    }
    let times = std::env::var("FUZZ_INPUTS").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    for _ in 0..inputs * times {
        body(&mutated(&seeds, &mut numbers));
    }
}

/// Pieces that mean something to some reader.
const PIECES: [&str; 64] = [
    "/",
    "//",
    ".",
    "..",
    "%2e",
    "%2F",
    "%5C",
    "%3B",
    "%25",
    "%252F",
    "%253b",
    "%2561",
    "%00",
    "%u0041",
    ";",
    "&",
    "=",
    "?",
    "#",
    "[",
    "]",
    "+",
    " ",
    "admin",
    "ADMIN",
    "action",
    "list",
    "delete",
    "\"",
    "{",
    "}",
    ":",
    ",",
    "\n",
    "null",
    "-1",
    "1e999",
    "\u{e4}",
    "Bearer ",
    "\\",
    "\"org\":",
    "\"ORG\":1",
    "\"o\\u0072g\":",
    "[{}]",
    "*",
    "\\u0000",
    "\u{feff}",
    "action=",
    "%41ction",
    "Action[]=x",
    "<",
    ">",
    "</",
    "/>",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<!DOCTYPE a>",
    "<Body>",
    "PROXY TCP4 ",
    " UNKNOWN",
    "::ffff:1.2.3.4 ",
    "\r\n",
];

fn mutated(seeds: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut input = seeds[numbers.below(seeds.len())].clone();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(input.len() + 1);
        match numbers.below(6) {
            0 | 1 => {
                let piece = PIECES[numbers.below(PIECES.len())].bytes();
                input.splice(at..at, piece);
            }
            2 => {
                let end = (at + 1 + numbers.below(8)).min(input.len());
                input.drain(at..end);
            }
            3 => {
                let byte = u8::try_from(numbers.below(256)).unwrap();
                input.splice(at..(at + 1).min(input.len()), [byte]);
            }
            4 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= if numbers.below(2) == 0 { 0x20 } else { 1 << numbers.below(8) };
                }
            }
            _ => {
                let other = &seeds[numbers.below(seeds.len())];
                let from = numbers.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
    input
}

/// The same numbers every time: splitmix64.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap() % bound.max(1)
    }
}

#[test]
fn targets_are_canonical_and_never_mistaken() {
    run("target", bodies::target, 5000);
}

#[test]
fn queries_are_read_as_every_server_reads_them() {
    run("query", bodies::query, 5000);
}

#[test]
fn authorization_headers_yield_at_most_one_token() {
    run("authorization", bodies::authorization, 10_000);
}

#[test]
fn tokens_are_read_strictly() {
    run("token", bodies::token, 10_000);
}

#[test]
fn json_has_one_value_where_a_pointer_leads() {
    run("json_pointer", bodies::json_pointer, 20_000);
}

#[test]
fn forms_are_read_as_every_server_reads_them() {
    run("form", bodies::form, 10_000);
}

#[test]
fn messages_have_one_operation() {
    run("xml", bodies::xml, 10_000);
}

#[test]
fn headers_of_proxies_are_read_one_way() {
    run("proxy_header", bodies::proxy_header, 20_000);
}

#[test]
fn policy_documents_compile_or_say_why() {
    run("policy_document", bodies::policy_document, 1000);
}
