//! Policy test files (policy.md, "Policy tests"): `*.test.yaml` beside the policies.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::diagnostic::{Diagnostics, Place, Source};
use crate::document::{
    CIDR, Field, Fields, Format, Mapping, NONEMPTY, Names, Rule, Shape, TEXT, Variables, check, json_schema, network,
    parse,
};
use crate::policy::Reason;

/// Reasons of a denial: those of conditions in the order of policy.md, then the others.
pub static REASONS: [&str; Reason::ALL.len()] = words();

const fn words() -> [&'static str; Reason::ALL.len()] {
    let mut words = [""; Reason::ALL.len()];
    let (mut to, mut from) = (words.as_mut_slice(), Reason::ALL.as_slice());
    while let ([word, behind @ ..], [reason, rest @ ..]) = (to, from) {
        *word = reason.as_str();
        (to, from) = (behind, rest);
    }
    words
}

/// A whole test file.
pub static TESTS: Shape = Shape::Map(&Fields {
    title: "policy tests",
    doc: "What policies must allow and deny.",
    fields: &[
        Field::required("version", &Shape::Int(1, 1), "Version of this format: 1."),
        Field::optional(
            "personas",
            &Shape::Names(&Names { title: "personas", key: &PERSONA_NAME, value: &CLAIMS }),
            "Who asks, by name: `issuer` and the claims of the token. Shared by all test files.",
        ),
        Field::optional("tests", &Shape::List(&TEST), "Requests and what must become of them."),
    ],
    rules: &[],
});

static PERSONA_NAME: Format = Format {
    what: "a persona's name",
    pattern: Some("^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"),
    check: |text| {
        let fits = text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.len() <= 63
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if fits { Ok(()) } else { Err("names are up to 63 letters, digits, `.`, `_` and `-`".to_owned()) }
    },
};

static CLAIMS: Shape = Shape::Names(&Names {
    title: "claims",
    key: &Format { what: "a claim's name", pattern: None, check: |_| Ok(()) },
    value: &Shape::Any,
});

static TEST: Shape = Shape::Map(&Fields {
    title: "test",
    doc: "One request and what must become of it.",
    fields: &[
        Field::required("name", &NONEMPTY, "A sentence that is true when the test passes."),
        Field::optional("as", &Shape::Union(&[&NONEMPTY, &CLAIMS]), "A persona, or claims. Default: no token."),
        Field::required("request", &Shape::Union(&[&Shape::Format(&REQUEST_LINE), &REQUEST]), "The request."),
        Field::required("expect", &EXPECT, "What must become of it."),
    ],
    rules: &[],
});

static REQUEST_LINE: Format = Format {
    what: "a request",
    pattern: Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+ https?://"),
    check: |text| {
        let fits = text
            .split_once(' ')
            .is_some_and(|(method, url)| http::Method::from_bytes(method.as_bytes()).is_ok() && is_absolute(url));
        if fits { Ok(()) } else { Err("write a method and a URL, such as `GET https://api.example.com/a`".to_owned()) }
    },
};

static URL: Format = Format {
    what: "a URL",
    pattern: Some("^https?://"),
    check: |text| if is_absolute(text) { Ok(()) } else { Err("begin it with `https://`".to_owned()) },
};

fn is_absolute(url: &str) -> bool {
    url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).is_some_and(|rest| !rest.is_empty())
}

static REQUEST: Shape = Shape::Map(&Fields {
    title: "request",
    doc: "A request in its parts.",
    fields: &[
        Field::optional("method", &NONEMPTY, "Default GET."),
        Field::required("url", &Shape::Format(&URL), "Absolute URL."),
        Field::optional(
            "headers",
            &Shape::Names(&Names {
                title: "request headers",
                key: &Format { what: "a header name", pattern: None, check: |_| Ok(()) },
                value: &Shape::OneOrMany(&TEXT),
            }),
            "Header fields.",
        ),
        Field::optional("body", &TEXT, "The body."),
        Field::optional("address", &CIDR, "The client's address. Default: unknown."),
        Field::optional("certificate", &CERTIFICATE, "What the verified client certificate has."),
        Field::optional("time", &NONEMPTY, "The moment, RFC 3339."),
    ],
    rules: &[],
});

static CERTIFICATE: Shape = Shape::Map(&Fields {
    title: "certificate",
    doc: "Names of a verified client certificate.",
    fields: &[
        Field::optional("dns", &Shape::List(&NONEMPTY), "DNS names."),
        Field::optional("uri", &Shape::List(&NONEMPTY), "URIs."),
        Field::optional("email", &Shape::List(&NONEMPTY), "Mail addresses."),
        Field::optional("subject", &NONEMPTY, "The whole subject as RFC 4514 text."),
        Field::optional(
            "thumbprint",
            &THUMBPRINT,
            "SHA-256 of it in base64url, which `cnf.x5t#S256` of a token names.",
        ),
    ],
    rules: &[],
});

static THUMBPRINT: Shape = Shape::Format(&Format {
    what: "a thumbprint",
    pattern: Some("^[A-Za-z0-9_-]{43}$"),
    check: |text| thumbprint(text).map(drop).ok_or_else(|| "write 32 bytes in base64url, 43 characters".to_owned()),
});

/// The SHA-256 of a certificate, as `cnf.x5t#S256` writes it (RFC 8705 section 3.1).
pub fn thumbprint(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

static EXPECT: Shape = Shape::Union(&[
    &Shape::Keyword(&["allow", "deny"]),
    &Shape::Map(&Fields {
        title: "expectation",
        doc: "A denial with its reason, a status, or what an allowed request becomes.",
        fields: &[
            Field::optional("deny", &Shape::Keyword(&REASONS), "The reason."),
            Field::optional("status", &Shape::Int(400, 599), "The status."),
            Field::optional("allow", &EFFECT, "What reaches the upstream."),
            Field::optional(
                "would",
                &Shape::Keyword(&REASONS),
                "Forwarded, because only observed; else denied for it.",
            ),
        ],
        rules: &[Rule::ExactlyOne(&["deny", "status", "allow", "would"])],
    }),
]);

static EFFECT: Shape = Shape::Map(&Fields {
    title: "effect",
    doc: "What reaches the upstream. Only what is written is compared.",
    fields: &[
        Field::optional("upstream", &NONEMPTY, "The upstream's name."),
        Field::optional("path", &NONEMPTY, "The path sent."),
        Field::optional("query", &TEXT, "The query sent."),
        Field::optional(
            "headers",
            &Shape::Names(&Names {
                title: "effect headers",
                key: &Format { what: "a header name", pattern: None, check: |_| Ok(()) },
                value: &Shape::Nullable(&TEXT),
            }),
            "Header fields sent; null: not sent.",
        ),
    ],
    rules: &[],
});

/// The JSON Schema of test files.
pub fn schema() -> serde_json::Value {
    json_schema(&TESTS, "Torwart policy tests", Variables::Literal)
}

/// What is wrong with test files as such: their form, personas of one name, tests of nobody known. Whether tests pass is not asked.
pub fn inspect(sources: &[Arc<Source>]) -> Diagnostics {
    let mut problems = Diagnostics::new();
    let mut personas: HashMap<String, Place> = HashMap::new();
    let mut roots = Vec::new();
    for source in sources {
        let Some(node) = parse(source, &mut problems) else { continue };
        check(&node, &TESTS, source, &mut problems);
        for entry in node.map().and_then(|map| map.map("personas")).into_iter().flat_map(Mapping::entries) {
            let place = entry.key.place(source);
            if let Some(first) = personas.get(&entry.key.text) {
                problems
                    .error(place, format!("two personas have the name `{}`", entry.key.text))
                    .help("all test files share their personas: give each its own name")
                    .related(first.clone(), "the first is here");
            } else {
                personas.insert(entry.key.text.clone(), place);
            }
        }
        roots.push((source, node));
    }
    for (source, node) in &roots {
        for test in node.map().map_or(&[][..], |map| map.list("tests")).iter().filter_map(|test| test.map()) {
            if let Some(node) = test.get("as")
                && let Some(name) = node.text()
                && !personas.contains_key(name)
            {
                let near = crate::diagnostic::nearest(name, personas.keys().map(String::as_str));
                let help = near
                    .map_or_else(|| "write it under `personas`".to_owned(), |near| format!("did you mean `{near}`?"));
                problems.error(node.place(source), format!("there is no persona `{name}`")).help(help);
            }
            let address = test.map("request").and_then(|request| request.get("address"));
            if let Some(node) = address
                && node
                    .text()
                    .and_then(|text| network(text).ok())
                    .is_some_and(|net| net.prefix_len() != net.max_prefix_len())
            {
                problems.error(node.place(source), "a request comes from one address").help("remove the prefix length");
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        let source = Arc::new(Source { path: "crm.test.yaml".into(), text: text.to_owned() });
        let problems = inspect(&[source]);
        problems.iter().map(|found| found.message.clone()).collect()
    }

    #[test]
    fn the_example_of_the_specification_is_well_formed() {
        let text = r#"
version: 1
personas:
  alice: {issuer: shoen, sub: 5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111, client_id: app, scope: "crm contracts:read"}
  kusy:  {issuer: shoen, sub: kusy, client_id: kusy, scope: "crm contracts:read"}
tests:
  - name: a customer reads her own contracts
    as: alice
    request: GET https://api.example.com/crm/customers/5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111/contracts
    expect: allow
  - name: but nobody else's
    as: alice
    request: GET https://api.example.com/crm/customers/0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02/contracts
    expect: {deny: subject}          # the reason
  - name: nobody gets in without a token
    request: GET https://api.example.com/crm/customers/0b3e7d64-21c5-4f7a-9c1e-6a2d8f4b9e02/contracts
    expect: {status: 401}
  - name: in parts
    as: {issuer: shoen, sub: x, org: {ids: [1]}}
    request: {method: POST, url: "https://api.example.com/", headers: {X-A: [a, b]}, address: 10.0.0.1, certificate: {dns: [a]}, time: "2026-11-21T00:00:00Z"}
    expect: {allow: {upstream: crm, path: /x, headers: {X-Auth-Subject: x, X-B: null}}}
"#;
        assert_eq!(said(text), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_with_a_test_file_is_said() {
        let text = r#"
version: 1
personas: {alice: {issuer: shoen}}
tests:
  - {name: a, as: alcie, request: GET /a, expect: {deny: subjekt}}
  - {name: b, request: {url: "https://a", address: 10.0.0.0/8}, expect: {deny: scope, status: 403}}
"#;
        assert_eq!(
            said(text),
            [
                "`GET /a` is not a request",
                "unknown value `subjekt`",
                "`deny` and `status` exclude each other",
                "there is no persona `alcie`",
                "a request comes from one address"
            ]
        );
    }
}
