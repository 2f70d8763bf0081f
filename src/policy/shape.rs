//! What a policy document may hold, declared once: for checking, hints and the JSON Schema (policy.md).

use std::time::Duration;

use crate::document::{BOOL, CIDR, DURATION, Field, Fields, Format, LITERAL, NONEMPTY, Names, Rule, SIZE, Shape, TEXT};

/// A whole document.
pub(in crate::policy) static DOCUMENT: Shape = Shape::Map(&Fields {
    title: "policy document",
    doc: "Who may do what on which routes of one upstream. Everything that is not allowed is denied.",
    fields: &[
        Field::required("version", &Shape::Int(1, 1), "The version of the policy language: 1."),
        Field::required("policy", &POLICY_NAME, "The policy's name, unique among all documents."),
        Field::optional("description", &TEXT, "What it is about, for people."),
        Field::required(
            "hosts",
            &Shape::NonEmptyList(&HOST),
            "Hosts it answers for: exact, `{tenant}.example.com` (captures one label), `*.example.com`, or `*`.",
        ),
        Field::optional("base_path", &BASE_PATH, "Joined with exactly one slash before every route's path."),
        Field::required("upstream", &NONEMPTY, "Where allowed requests go: a name under `upstreams` in torwart.yaml."),
        Field::optional(
            "issuers",
            &Shape::NonEmptyList(&NONEMPTY),
            "Whose tokens count: names under `issuers` in torwart.yaml. Required once more than one is configured.",
        ),
        Field::optional("mode", &MODE, "`enforce`, or `observe`: decide and record, but forward all the same."),
        Field::optional("require", &REQUIRE, "And-ed to the conditions of every route that needs a token."),
        Field::optional("client_credentials", &CLIENT_CREDENTIALS, "Default for the routes."),
        Field::optional("forward", &FORWARD, "Default for the routes, which replace it key by key."),
        Field::optional("limit", &LIMIT, "One rate limit for all its routes."),
        Field::optional("cors", &CORS, "Default for the routes."),
        Field::optional("metadata", &BOOL, "Serve RFC 9728 metadata for these hosts."),
        Field::required("routes", &Shape::List(&ROUTE), "What may be asked for, and by whom."),
    ],
    rules: &[],
});

static ROUTE: Shape = Shape::Map(&Fields {
    title: "route",
    doc: "One path, its methods, and what they ask for.",
    fields: &[
        Field::optional("name", &NONEMPTY, "For logs and explanations; unique within the policy."),
        Field::required(
            "path",
            &NONEMPTY,
            "Segments: literal, `{name}`, a literal with one capture inside, last `{*rest}`.",
        ),
        Field::required(
            "methods",
            &Shape::Union(&[&Shape::Keyword(&["*"]), &Shape::NonEmptyList(&METHOD)]),
            "Methods, case-sensitive; `GET` implies `HEAD`. `\"*\"` is the seven usual ones.",
        ),
        Field::optional("params", &PARAMS, "Types of captures and request values."),
        Field::required("require", &REQUIRE, "Who may. Leaving it out is an error: access is never a default."),
        Field::optional("narrow", &NARROW, "Keeps list calls to what the principal owns."),
        Field::optional("client_credentials", &CLIENT_CREDENTIALS, "Replaces the document's."),
        Field::optional("mode", &MODE, "Replaces the document's."),
        Field::optional("cors", &CORS, "Replaces the document's."),
        Field::optional("issuers", &Shape::NonEmptyList(&NONEMPTY), "Replaces the document's."),
        Field::optional("forward", &FORWARD, "Replaces the document's key by key."),
        Field::optional("limit", &LIMIT, "Replaces the document's key by key."),
        Field::optional(
            "unbound",
            &Shape::NonEmptyList(&NONEMPTY),
            "Captures that deliberately take part in no condition.",
        ),
    ],
    rules: &[],
});

static MODE: Shape = Shape::Keyword(&["enforce", "observe"]);

static POLICY_NAME: Shape = Shape::Format(&Format {
    what: "a policy name",
    pattern: Some("^[a-z0-9-]{1,63}$"),
    check: |text| {
        let valid = (1..=63).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if valid { Ok(()) } else { Err("write 1 to 63 lower-case letters, digits and hyphens".to_owned()) }
    },
});

static HOST: Shape = Shape::Format(&Format {
    what: "a host pattern",
    pattern: Some("."),
    check: |text| super::host::HostPattern::parse(text).map(drop),
});

static BASE_PATH: Shape = Shape::Format(&Format {
    what: "a base path",
    pattern: Some("^/"),
    check: |text| {
        if text.starts_with('/') { Ok(()) } else { Err(format!("begin it with a slash: `/{text}`")) }
    },
});

static METHOD: Shape = Shape::Format(&Format {
    what: "a method that can be allowed",
    pattern: Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"),
    check: |text| {
        if text == "*" {
            return Err("write `methods: \"*\"`, without a list".to_owned());
        }
        let upper = text.to_ascii_uppercase();
        let usual = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        if text != upper && usual.contains(&upper.as_str()) {
            return Err(format!("methods are case-sensitive: did you mean `{upper}`?"));
        }
        Ok(())
    },
});

static PARAMS: Shape = Shape::Names(&Names {
    title: "params",
    key: &Format { what: "a capture or request value", pattern: Some("."), check: |_| Ok(()) },
    value: &VALUE_TYPE,
});

static VALUE_TYPE: Shape = Shape::Union(&[&TYPE_WORD, &TYPE_REGEX, &TYPE_LIST]);
static ITEM_TYPE: Shape = Shape::Union(&[&TYPE_WORD, &TYPE_REGEX]);
static TYPE_WORD: Shape = Shape::Keyword(&["uuid", "int", "alnum", "slug"]);
static TYPE_REGEX: Shape = Shape::Map(&Fields {
    title: "regex type",
    doc: "A regular expression that the whole value must match.",
    fields: &[Field::required("regex", &NONEMPTY, "The expression, anchored at both ends.")],
    rules: &[],
});
static TYPE_LIST: Shape = Shape::Map(&Fields {
    title: "list type",
    doc: "One value that is a list.",
    fields: &[
        Field::required("list", &NONEMPTY, "What stands between two items."),
        Field::required("of", &ITEM_TYPE, "The type of every item."),
    ],
    rules: &[],
});

static REQUIRE: Shape = Shape::Union(&[&Shape::Keyword(&["public", "authenticated"]), &CONDITIONS]);

static CONDITIONS: Shape = Shape::Map(&Fields {
    title: "condition",
    doc: "Every entry must hold.",
    fields: &[
        Field::optional("scope", &WORD_SET, "The granted scopes satisfy it."),
        Field::optional("permission", &WORD_SET, "The principal's permissions satisfy it."),
        Field::optional(
            "organization",
            &ORGANIZATION,
            "Global, or every value is one of the principal's organisations.",
        ),
        Field::optional("subject", &Shape::OneOrMany(&NONEMPTY), "The subject equals it (a list: one of these)."),
        Field::optional(
            "client",
            &Shape::OneOrMany(&NONEMPTY),
            "The OAuth client id equals it (a list: one of these).",
        ),
        Field::optional("flow", &Shape::Keyword(&["user", "client_credentials"]), "How the token came to be."),
        Field::optional("global", &BOOL, "The principal's `global` equals it."),
        Field::optional(
            "issuer",
            &Shape::OneOrMany(&NONEMPTY),
            "The token's issuer has this name (a list: one of these).",
        ),
        Field::optional("claim", &CLAIM, "Every test of a claim holds."),
        Field::optional("authentication", &AUTHENTICATION, "How and when the user logged in (RFC 9470)."),
        Field::optional("network", &Shape::NonEmptyList(&CIDR), "The client address is inside one of these."),
        Field::optional("certificate", &CERTIFICATE, "The verified TLS client certificate has these names."),
        Field::optional("request", &REQUEST, "Values of the request are these."),
        Field::optional("token", &Shape::Keyword(&["none"]), "No token is read and no identity sent."),
        Field::optional("any_of", &Shape::NonEmptyList(&CONDITIONS), "One of these holds."),
        Field::optional("all_of", &Shape::NonEmptyList(&CONDITIONS), "All of these hold."),
        Field::optional("not", &CONDITIONS, "Its one entry is false."),
    ],
    rules: &[],
});

/// A bare list is let through here, so that the compiler can say what to write instead.
static WORD_SET: Shape = Shape::Union(&[&NONEMPTY, &WORDS, &Shape::List(&NONEMPTY)]);
static WORDS: Shape = Shape::Map(&Fields {
    title: "set expression",
    doc: "Every one of these, or at least one.",
    fields: &[
        Field::optional("all_of", &Shape::NonEmptyList(&NONEMPTY), "Every one of these."),
        Field::optional("any_of", &Shape::NonEmptyList(&NONEMPTY), "At least one of these."),
    ],
    rules: &[Rule::ExactlyOne(&["all_of", "any_of"])],
});

static ORGANIZATION: Shape = Shape::Union(&[&NONEMPTY, &ORGANIZATIONS, &Shape::List(&NONEMPTY)]);
static ORGANIZATIONS: Shape = Shape::Map(&Fields {
    title: "organization condition",
    doc: "The values of all these templates are organisations of the principal.",
    fields: &[Field::required("all_of", &Shape::NonEmptyList(&NONEMPTY), "Templates.")],
    rules: &[],
});

static CLAIM: Shape = Shape::Union(&[&CLAIM_MAP, &Shape::NonEmptyList(&NAMED_CLAIM)]);
static CLAIM_MAP: Shape = Shape::Names(&Names {
    title: "claim conditions",
    key: &Format { what: "a claim name", pattern: Some("."), check: |_| Ok(()) },
    value: &CLAIM_TEST,
});

static CLAIM_TEST: Shape = Shape::Map(&Fields {
    title: "claim test",
    doc: "Exactly one test.",
    fields: &[
        Field::optional("equals", &LITERAL, "The claim equals this value or template."),
        Field::optional("one_of", &Shape::NonEmptyList(&LITERAL), "The claim equals one of these."),
        Field::optional("contains", &CONTAINS, "The claim is a list that contains this."),
        Field::optional("exists", &BOOL, "The claim is there, or is not."),
    ],
    rules: &[Rule::ExactlyOne(&["equals", "one_of", "contains", "exists"])],
});

static NAMED_CLAIM: Shape = Shape::Map(&Fields {
    title: "claim condition",
    doc: "A claim and exactly one test.",
    fields: &[
        Field::required("name", &Shape::OneOrMany(&NONEMPTY), "A literal top-level name, or object keys to descend."),
        Field::optional("equals", &LITERAL, "The claim equals this value or template."),
        Field::optional("one_of", &Shape::NonEmptyList(&LITERAL), "The claim equals one of these."),
        Field::optional("contains", &CONTAINS, "The claim is a list that contains this."),
        Field::optional("exists", &BOOL, "The claim is there, or is not."),
    ],
    rules: &[Rule::ExactlyOne(&["equals", "one_of", "contains", "exists"])],
});

/// A bare list is let through here, so that the compiler can say what to write instead.
static CONTAINS: Shape = Shape::Union(&[&LITERAL, &LITERALS, &Shape::List(&LITERAL)]);
static LITERALS: Shape = Shape::Map(&Fields {
    title: "contains expression",
    doc: "Every one of these, or at least one.",
    fields: &[
        Field::optional("all_of", &Shape::NonEmptyList(&LITERAL), "Every one of these."),
        Field::optional("any_of", &Shape::NonEmptyList(&LITERAL), "At least one of these."),
    ],
    rules: &[Rule::ExactlyOne(&["all_of", "any_of"])],
});

static AUTHENTICATION: Shape = Shape::Map(&Fields {
    title: "authentication condition",
    doc: "How and when the user logged in (RFC 9470).",
    fields: &[
        Field::optional("acr", &Shape::NonEmptyList(&NONEMPTY), "The token's `acr` is one of these."),
        Field::optional(
            "max_age",
            &Shape::Duration(Duration::from_secs(1), Duration::from_secs(1 << 32)),
            "`auth_time` is not older.",
        ),
    ],
    rules: &[Rule::AtLeastOne(&["acr", "max_age"])],
});

static CERTIFICATE: Shape = Shape::Map(&Fields {
    title: "certificate condition",
    doc: "Of every kind named the client certificate has one, exactly.",
    fields: &[
        Field::optional("dns", &Shape::NonEmptyList(&NONEMPTY), "DNS subject alternative names."),
        Field::optional("uri", &Shape::NonEmptyList(&NONEMPTY), "URI subject alternative names."),
        Field::optional("email", &Shape::NonEmptyList(&NONEMPTY), "Mail address subject alternative names."),
        Field::optional("subject", &NONEMPTY, "The whole subject name as RFC 4514 text."),
    ],
    rules: &[Rule::AtLeastOne(&["dns", "uri", "email", "subject"])],
});

static REQUEST: Shape = Shape::Names(&Names {
    title: "request conditions",
    key: &Format { what: "a request value", pattern: Some("."), check: |_| Ok(()) },
    value: &Shape::OneOrMany(&TEXT),
});

static NARROW: Shape = Shape::Names(&Names {
    title: "narrow",
    key: &Format { what: "a query parameter", pattern: Some("^query\\.[^#]+$"), check: |_| Ok(()) },
    value: &Shape::Union(&[&NARROW_TO, &NARROW_MAP]),
});
static NARROW_TO: Shape = Shape::Keyword(&["organizations", "subject", "client", "permissions"]);
static NARROW_MAP: Shape = Shape::Map(&Fields {
    title: "narrow target",
    doc: "What a parameter is kept to, and how several values are written.",
    fields: &[
        Field::required("to", &NARROW_TO, "Whose values it may have."),
        Field::optional("style", &Shape::Keyword(&["repeat", "comma", "json"]), "How several values are written."),
    ],
    rules: &[],
});

static CLIENT_CREDENTIALS: Shape = Shape::Union(&[&Shape::Keyword(&["enforce", "deny", "bypass"]), &BYPASS]);
static BYPASS: Shape = Shape::Map(&Fields {
    title: "bypass",
    doc: "Conditions that are not asked of client-credentials tokens of these clients.",
    fields: &[
        Field::required("bypass", &Shape::NonEmptyList(&NONEMPTY), "Client ids."),
        Field::optional(
            "lift",
            &Shape::NonEmptyList(&Shape::Keyword(&["subject", "claim", "permission", "organization"])),
            "The kinds of conditions that are lifted, every test of each.",
        ),
    ],
    rules: &[],
});

static FORWARD: Shape = Shape::Map(&Fields {
    title: "forward",
    doc: "What is done to a request on its way to the upstream.",
    fields: &[
        Field::optional("strip_prefix", &NONEMPTY, "Removed from the path's beginning, whole segments."),
        Field::optional("add_prefix", &NONEMPTY, "Added to the path's beginning, whole segments."),
        Field::optional("authorization", &Shape::Keyword(&["strip", "keep"]), "What happens to `Authorization`."),
        Field::optional("headers", &FORWARD_HEADERS, "Headers to set."),
        Field::optional("query", &FORWARD_QUERY, "Query parameters to set."),
        Field::optional("basic_auth", &BASIC_AUTH, "Basic authentication towards the upstream."),
        Field::optional("identity_headers", &IDENTITY_HEADERS, "Which identity headers are sent; all by default."),
        Field::optional("assertion", &BOOL, "A signed JWT of the principal."),
        Field::optional(
            "timeout",
            &Shape::Duration(Duration::from_millis(1), Duration::from_hours(24)),
            "Time to the response head.",
        ),
        Field::optional("max_body", &SIZE, "Bytes that a request body may have."),
    ],
    rules: &[],
});

static FORWARD_HEADERS: Shape = Shape::Names(&Names {
    title: "forward headers",
    key: &Format {
        what: "a header name",
        pattern: Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"),
        check: |text| {
            http::HeaderName::from_bytes(text.as_bytes())
                .map(drop)
                .map_err(|_| "write a name such as `X-Tenant`".to_owned())
        },
    },
    value: &SETTING,
});

static FORWARD_QUERY: Shape = Shape::Names(&Names {
    title: "forward query",
    key: &Format {
        what: "a parameter name",
        pattern: Some("."),
        check: |text| if text.is_empty() { Err("write a name such as `tenant`".to_owned()) } else { Ok(()) },
    },
    value: &SETTING,
});

static SETTING: Shape = Shape::Union(&[&TEXT, &FILE]);
static FILE: Shape = Shape::Map(&Fields {
    title: "file",
    doc: "The content of a file, without one line break at its end.",
    fields: &[Field::required("file", &NONEMPTY, "Its path, relative to this document.")],
    rules: &[],
});

static BASIC_AUTH: Shape = Shape::Map(&Fields {
    title: "basic_auth",
    doc: "Basic authentication towards the upstream (RFC 7617).",
    fields: &[
        Field::required("username", &NONEMPTY, "The user name."),
        Field::required("password_file", &NONEMPTY, "The file that holds the password, relative to this document."),
    ],
    rules: &[],
});

static IDENTITY_HEADERS: Shape = Shape::Union(&[
    &Shape::Keyword(&["none", "all"]),
    &Shape::NonEmptyList(&Shape::Keyword(&[
        "subject",
        "client",
        "issuer",
        "flow",
        "scopes",
        "permissions",
        "global",
        "organizations",
        "policy",
        "route",
    ])),
]);

static LIMIT: Shape = Shape::Map(&Fields {
    title: "limit",
    doc: "A rate limit.",
    fields: &[
        Field::optional("rate", &RATE, "Requests per second, minute or hour: `100/s`, `60/m`, `5/h`."),
        Field::optional("burst", &Shape::Int(1, 1_000_000), "Requests at once. Default: those of one period."),
        Field::optional(
            "per",
            &Shape::Keyword(&["client", "subject", "issuer", "address"]),
            "Whose requests are counted together. Default client; who has none is counted by address.",
        ),
    ],
    rules: &[],
});

static RATE: Shape = Shape::Format(&Format {
    what: "a rate",
    pattern: Some("^[1-9][0-9]*/[smh]$"),
    check: |text| super::limit::Rate::parse(text).map(drop),
});

static CORS: Shape = Shape::Union(&[&Shape::Keyword(&["upstream"]), &CORS_MAP]);
static CORS_MAP: Shape = Shape::Map(&Fields {
    title: "cors",
    doc: "Which origins' pages may call.",
    fields: &[
        Field::required("origins", &Shape::NonEmptyList(&ORIGIN), "Origins as browsers write them, or `*`."),
        Field::optional(
            "methods",
            &Shape::NonEmptyList(&CORS_METHOD),
            "Methods that pages may use. Default: those of the path.",
        ),
        Field::optional("headers", &Shape::NonEmptyList(&CORS_HEADER), "Headers that pages may send, or `*`."),
        Field::optional("credentials", &BOOL, "Whether cookies and the like may be sent. Default false."),
        Field::optional("max_age", &DURATION, "How long a preflight's answer is kept. Default: as browsers do."),
    ],
    rules: &[],
});

static ORIGIN: Shape = Shape::Format(&Format {
    what: "an origin",
    pattern: Some(r"^(\*|[a-z][a-z0-9+.-]*://.+)$"),
    check: super::cors::check_origin,
});

static CORS_METHOD: Shape = Shape::Format(&Format {
    what: "a method that pages can use",
    pattern: Some("^[!#$%&'+.^_`|~0-9A-Za-z-]+$"),
    check: |text| {
        if text == "*" {
            return Err("leave `methods` out: every method of the path".to_owned());
        }
        let method = http::Method::from_bytes(text.as_bytes());
        method.map(drop).map_err(|_| "write a method such as `PUT`".to_owned())
    },
});

static CORS_HEADER: Shape = Shape::Format(&Format {
    what: "a header name",
    pattern: Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"),
    check: |text| {
        let name = http::HeaderName::from_bytes(text.as_bytes());
        name.map(drop).map_err(|_| "write a name such as `Authorization`".to_owned())
    },
});
