//! What `torwart.yaml` may hold (config.md): declared once for checking, hints and JSON Schema.

use std::time::Duration;

use super::forms;
use crate::document::{BOOL, CIDR, Field, Fields, LITERAL, NONEMPTY, Names, Rule, Shape};

const MILLISECOND: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_hours(24);
/// A duration that must not be zero: a timeout that always strikes helps nobody.
static TIMEOUT: Shape = Shape::Duration(MILLISECOND, DAY);
static LIFETIME: Shape = Shape::Duration(Duration::ZERO, Duration::from_hours(366 * 24));
static COUNT: Shape = Shape::Int(1, 1_000_000_000);
static PATH: &Shape = &NONEMPTY;
static URL: Shape = Shape::Format(&forms::URL);
static NETWORKS: Shape = Shape::List(&CIDR);

/// The whole file.
pub(super) static CONFIGURATION: Shape = Shape::Map(&Fields {
    title: "configuration",
    doc: "Torwart's configuration.",
    fields: &[
        Field::required("version", &Shape::Int(1, 1), "Version of this format: 1."),
        Field::optional("listeners", &Shape::List(&LISTENER), "Where connections are accepted."),
        Field::optional(
            "trusted_proxies",
            &NETWORKS,
            "Networks whose X-Forwarded-* and PROXY headers count. A listener may have its own list.",
        ),
        Field::optional(
            "client_address_from",
            &Shape::Keyword(&["x-forwarded-for", "forwarded"]),
            "Which header a trusted proxy names the client in; the other one is removed. Default x-forwarded-for.",
        ),
        Field::optional("issuers", &Shape::List(&ISSUER), "Authorization servers whose tokens count."),
        Field::optional(
            "upstreams",
            &Shape::Names(&Names { title: "upstreams", key: &forms::NAME, value: &UPSTREAM }),
            "Protected APIs by the names that policies use.",
        ),
        Field::optional("policies", PATH, "Directory of policy documents. Default policies."),
        Field::optional("assertion", &ASSERTION, "Who signs the assertions of forward.assertion."),
        Field::optional("identity", &IDENTITY, "Names and encoding of the identity headers."),
        Field::optional("admin", &ADMIN, "The admin listener."),
        Field::optional("logging", &LOGGING, "The program's own log."),
        Field::optional("audit", &AUDIT, "One record for every decision."),
        Field::optional("telemetry", &TELEMETRY, "Traces."),
        Field::optional("state", &STATE, "What survives a restart."),
        Field::optional("limits", &LIMITS, "Bounds on everything that can be made large, slow or many."),
        Field::optional(
            "workers",
            &Shape::Union(&[&Shape::Keyword(&["auto"]), &Shape::Int(1, 1024)]),
            "Worker threads. Default auto: one per core.",
        ),
    ],
    rules: &[],
});

static LISTENER: Shape = Shape::Map(&Fields {
    title: "listener",
    doc: "One address that accepts connections.",
    fields: &[
        Field::required("address", &Shape::Format(&forms::ADDRESS), "Address and port, such as [::]:8443."),
        Field::optional(
            "protocols",
            &Shape::NonEmptyList(&Shape::Keyword(&["h2", "http/1.1"])),
            "HTTP versions in order of preference. Default h2, http/1.1.",
        ),
        Field::optional("tls", &LISTENER_TLS, "TLS. Without it: only loopback, redirects, or insecure: true."),
        Field::optional(
            "proxy_protocol",
            &BOOL,
            "Expect a PROXY protocol header (version 1 or 2) from trusted proxies; connections of others are closed.",
        ),
        Field::optional("redirect", &Shape::Keyword(&["https"]), "Answer with a redirect to the same URL under https."),
        Field::optional("insecure", &BOOL, "Accept plain HTTP on an address that is not loopback."),
        Field::optional("trusted_proxies", &NETWORKS, "Replaces the list of the same name for this listener."),
    ],
    rules: &[Rule::AtMostOne(&["tls", "redirect"])],
});

static LISTENER_TLS: Shape = Shape::Map(&Fields {
    title: "listener TLS",
    doc: "TLS towards clients.",
    fields: &[
        Field::required(
            "certificates",
            &Shape::OneOrMany(&CERTIFICATE),
            "Chosen by SNI from the certificates' names; the first is the default.",
        ),
        Field::optional("min_version", &Shape::Keyword(&["1.2", "1.3"]), "Oldest TLS version. Default \"1.2\"."),
        Field::optional("client_certificates", &CLIENT_CERTIFICATES, "Whether clients show certificates."),
    ],
    rules: &[],
});

static CERTIFICATE: Shape = Shape::Map(&Fields {
    title: "certificate",
    doc: "A certificate chain and its key, both PEM, or a directory with tls.crt and tls.key as Kubernetes mounts them.",
    fields: &[
        Field::optional("certificate", PATH, "Chain, leaf first."),
        Field::optional("key", PATH, "Private key."),
        Field::optional("directory", PATH, "Directory with tls.crt and tls.key."),
    ],
    rules: &[Rule::ExactlyOne(&["certificate", "directory"]), Rule::AtMostOne(&["key", "directory"])],
});

static CLIENT_CERTIFICATES: Shape = Shape::Map(&Fields {
    title: "client certificates",
    doc: "Whether clients show certificates, and who may have issued them.",
    fields: &[
        Field::required(
            "mode",
            &Shape::Keyword(&["none", "optional", "required"]),
            "none: not asked for. optional: verified when shown. required: no connection without one.",
        ),
        Field::optional("ca", PATH, "CA bundle that they are verified against."),
    ],
    rules: &[],
});

static ISSUER: Shape = Shape::Map(&Fields {
    title: "issuer",
    doc: "An authorization server whose tokens count.",
    fields: &[
        Field::required("name", &Shape::Format(&forms::NAME), "Name used in policies, headers and records."),
        Field::optional("preset", &Shape::Keyword(&forms::PRESETS), "Defaults for a known provider or profile."),
        Field::required("issuer", &URL, "The iss of its tokens, exactly; a trailing slash matters."),
        Field::required(
            "audiences",
            &Shape::Union(&[&Shape::NonEmptyList(&NONEMPTY), &Shape::Format(&forms::ANY_AUDIENCE)]),
            "A token's aud must contain one of these exact strings. The word any does without: tokens meant for others count.",
        ),
        Field::optional(
            "leeway",
            &Shape::Duration(Duration::ZERO, Duration::from_mins(5)),
            "How far clocks may differ. Default 30s.",
        ),
        Field::optional(
            "environment",
            &Shape::Keyword(&["production", "integration"]),
            "integration allows http for localhost, 127.0.0.1 and [::1]. Default production.",
        ),
        Field::optional(
            "algorithms",
            &Shape::NonEmptyList(&Shape::Keyword(&forms::ALGORITHMS)),
            "Accepted signature algorithms. Default all asymmetric ones; with secret_file all of HMAC.",
        ),
        Field::optional(
            "strict",
            &Shape::Keyword(&["rfc9068", "none"]),
            "rfc9068 takes only tokens as RFC 9068 has them.",
        ),
        Field::optional("jwks_uri", &URL, "Where the keys are, instead of discovery."),
        Field::optional("jwks_file", PATH, "File that holds the keys, instead of discovery."),
        Field::optional("secret_file", PATH, "File that holds an HMAC secret: only HMAC counts then."),
        Field::optional("keys", &KEYS, "How keys are kept."),
        Field::optional("claims", &CLAIMS, "Which claims the principal's fields come from."),
        Field::optional("claims_case", &CLAIMS_CASE, "How claims are compared."),
        Field::optional("client_credentials_when", &FLOW_RULE, "How tokens of the client-credentials grant show."),
        Field::optional(
            "user_when",
            &FLOW_RULE,
            "How users' tokens show; what neither rule tells is unknown. Default: whatever is not client credentials.",
        ),
        Field::optional("introspection", &INTROSPECTION, "RFC 7662 introspection of tokens that are no JWT."),
        Field::optional("userinfo", &USERINFO, "Claims that the issuer gives only in userinfo."),
        Field::optional(
            "sender_constraint",
            &Shape::Keyword(&["optional", "required"]),
            "required refuses tokens that are not bound to the client's certificate (RFC 8705). Default optional: bound ones are checked.",
        ),
        Field::optional("tls", &ISSUER_TLS, "TLS towards the issuer's own endpoints."),
    ],
    rules: &[Rule::AtMostOne(&["jwks_uri", "jwks_file", "secret_file"])],
});

static ISSUER_TLS: Shape = Shape::Map(&Fields {
    title: "issuer TLS",
    doc: "TLS towards the issuer's own endpoints.",
    fields: &[Field::required("ca", PATH, "CA bundle instead of the public roots.")],
    rules: &[],
});

static KEYS: Shape = Shape::Map(&Fields {
    title: "keys",
    doc: "How an issuer's keys are kept.",
    fields: &[Field::optional(
        "max_stale",
        &LIFETIME,
        "How long the last good key set outlives an outage. Default 24h.",
    )],
    rules: &[],
});

static CLAIM_PATH: Shape = Shape::Union(&[&NONEMPTY, &Shape::NonEmptyList(&NONEMPTY)]);
static CLAIM_SOURCE: Shape = Shape::Union(&[
    &NONEMPTY,
    &Shape::NonEmptyList(&NONEMPTY),
    &Shape::Map(&Fields {
        title: "claim choice",
        doc: "The first of these claims that is there.",
        fields: &[Field::required("first_of", &Shape::NonEmptyList(&CLAIM_PATH), "Claims in order of preference.")],
        rules: &[],
    }),
]);

static CLAIMS: Shape = Shape::Map(&Fields {
    title: "claims",
    doc: "Where the principal's fields come from: a literal claim name, a list of keys to descend, or first_of.",
    fields: &[
        Field::optional("subject", &CLAIM_SOURCE, "Default sub."),
        Field::optional("client", &CLAIM_SOURCE, "The OAuth client id. Default client_id."),
        Field::optional("scopes", &CLAIM_SOURCE, "Default scope, else scp."),
        Field::optional("permissions", &CLAIM_SOURCE, "A list of texts. Default none."),
        Field::optional("organizations", &CLAIM_SOURCE, "A list of texts. Default none."),
        Field::optional("global", &CLAIM_SOURCE, "Whether the principal sees every organisation. Default none."),
    ],
    rules: &[],
});

static CLAIMS_CASE: Shape = Shape::Map(&Fields {
    title: "claims case",
    doc: "How claims are compared.",
    fields: &[Field::required("insensitive", &Shape::List(&CLAIM_PATH), "Claims whose letters' case means nothing.")],
    rules: &[],
});

static FLOW_RULE: Shape = Shape::Union(&[
    &Shape::Keyword(&["client_equals_subject", "never"]),
    &Shape::Map(&Fields {
        title: "claim rule",
        doc: "A claim with a value, or a claim that is there or is not.",
        fields: &[
            Field::required("claim", &CLAIM_PATH, "A literal claim name, or a list of keys to descend."),
            Field::optional(
                "equals",
                &LITERAL,
                "Its value; {client}, {client:lower} and {subject} stand for what they name.",
            ),
            Field::optional("exists", &BOOL, "Whether it is there."),
        ],
        rules: &[Rule::ExactlyOne(&["equals", "exists"])],
    }),
    &Shape::Map(&Fields {
        title: "subject rule",
        doc: "What the subject is.",
        fields: &[Field::required("subject_is", &NONEMPTY, "The subject, {client} standing for the client.")],
        rules: &[],
    }),
    &Shape::Map(&Fields {
        title: "rule choice",
        doc: "At least one rule holds.",
        fields: &[Field::required("any_of", &Shape::NonEmptyList(&FLOW_RULE), "Rules.")],
        rules: &[],
    }),
    &Shape::Map(&Fields {
        title: "rule sum",
        doc: "All rules hold.",
        fields: &[Field::required("all_of", &Shape::NonEmptyList(&FLOW_RULE), "Rules.")],
        rules: &[],
    }),
]);

static INTROSPECTION: Shape = Shape::Map(&Fields {
    title: "introspection",
    doc: "RFC 7662 introspection.",
    fields: &[
        Field::optional("endpoint", &URL, "Default: from discovery."),
        Field::required("client_id", &NONEMPTY, "The gateway's own client id at the issuer."),
        Field::required("client_secret_file", PATH, "File that holds its secret."),
        Field::optional("cache", &LIFETIME, "How long an answer is kept at most. Default 60s."),
        Field::optional("always", &BOOL, "Introspect JWTs too."),
    ],
    rules: &[],
});

static USERINFO: Shape = Shape::Map(&Fields {
    title: "userinfo",
    doc: "Claims that the issuer gives only in userinfo.",
    fields: &[
        Field::optional("endpoint", &URL, "Default: from discovery."),
        Field::optional("claims", &Shape::NonEmptyList(&NONEMPTY), "The claims fetched there. Default: the preset's."),
        Field::optional("cache", &LIFETIME, "How long an answer is kept at most. Default 5m."),
    ],
    rules: &[],
});

static UPSTREAM: Shape = Shape::Map(&Fields {
    title: "upstream",
    doc: "A protected API.",
    fields: &[
        Field::required(
            "endpoints",
            &Shape::NonEmptyList(&Shape::Format(&forms::ENDPOINT)),
            "Where it listens: http://host:port, https://host:port or unix:/path.",
        ),
        Field::optional(
            "protocol",
            &Shape::Keyword(&["http1", "h2"]),
            "The HTTP version spoken with it. Default http1.",
        ),
        Field::optional(
            "balance",
            &Shape::Keyword(&["random_two_least_requests", "round_robin"]),
            "How an endpoint is chosen. Default random_two_least_requests.",
        ),
        Field::optional("timeouts", &TIMEOUTS, "How long it may take."),
        Field::optional("health", &HEALTH, "Active health checks."),
        Field::optional("tls", &UPSTREAM_TLS, "TLS for https endpoints."),
        Field::optional("quirks", &QUIRKS, "How its server reads requests."),
        Field::optional(
            "host",
            &Shape::Format(&forms::HOST),
            "What it gets as Host: original (default), endpoint, or a name.",
        ),
        Field::optional("rewrite_location", &BOOL, "Map its own origin back in Location and its kin."),
        Field::optional("max_connections", &COUNT, "Connections at most. Default 1024."),
    ],
    rules: &[],
});

static TIMEOUTS: Shape = Shape::Map(&Fields {
    title: "timeouts",
    doc: "How long an upstream may take.",
    fields: &[
        Field::optional("connect", &TIMEOUT, "To connect, TLS included. Default 2s."),
        Field::optional("response", &TIMEOUT, "To the response head. Default 30s."),
        Field::optional("idle", &TIMEOUT, "How long an idle connection is kept. Default 60s."),
    ],
    rules: &[],
});

static HEALTH: Shape = Shape::Map(&Fields {
    title: "health",
    doc: "Active health checks.",
    fields: &[
        Field::required("path", &Shape::Format(&forms::REQUEST_PATH), "The path asked for."),
        Field::optional(
            "interval",
            &Shape::Duration(Duration::from_millis(100), DAY),
            "Time between two. Default 10s.",
        ),
    ],
    rules: &[],
});

static UPSTREAM_TLS: Shape = Shape::Map(&Fields {
    title: "upstream TLS",
    doc: "TLS for https endpoints.",
    fields: &[
        Field::optional("ca", PATH, "CA bundle instead of the public roots."),
        Field::optional("server_name", &NONEMPTY, "Name expected in its certificate instead of the endpoint's host."),
        Field::optional("certificate", PATH, "The gateway's own certificate."),
        Field::optional("key", PATH, "The key of the gateway's own certificate."),
    ],
    rules: &[Rule::Together(&["certificate", "key"])],
});

static READING: Shape = Shape::Keyword(&["unknown", "never", "always"]);

static QUIRKS: Shape = Shape::Map(&Fields {
    title: "quirks",
    doc: "How the upstream's server reads requests. Of each reading: unknown (default) checks it, never does not, always matches on it.",
    fields: &[
        Field::optional("server", &Shape::Keyword(&forms::SERVERS), "Presets the other keys for a known server."),
        Field::optional("case", &READING, "Letters of the path are folded."),
        Field::optional("path_parameters", &READING, "A semicolon and the rest of its segment are dropped."),
        Field::optional("trailing_dot", &READING, "Trailing dots and spaces of a segment are dropped."),
        Field::optional("trailing_slash", &READING, "One trailing slash is ignored."),
        Field::optional("encoded_slash", &READING, "%2F and %5C are slashes."),
        Field::optional("double_decoding", &READING, "The path is percent-decoded once more."),
        Field::optional(
            "empty_segments",
            &Shape::Keyword(&["merge", "keep", "refuse"]),
            "Runs of slashes. Default merge.",
        ),
        Field::optional("charset", &Shape::Keyword(&["utf8", "latin1"]), "Bytes of decoded paths. Default utf8."),
        Field::optional(
            "method_override",
            &Shape::Keyword(&["unknown", "ignore", "honour"]),
            "X-HTTP-Method-Override and its kin. Default unknown: another value than the method is refused.",
        ),
        Field::optional(
            "form_parameters",
            &Shape::Keyword(&["mixed", "separate"]),
            "separate: the server never mixes query and form parameters. Default mixed.",
        ),
    ],
    rules: &[],
});

static ASSERTION: Shape = Shape::Map(&Fields {
    title: "assertion",
    doc: "Signed assertions of who is asking.",
    fields: &[Field::required("issuer", &URL, "The iss of the assertions.")],
    rules: &[],
});

static IDENTITY: Shape = Shape::Map(&Fields {
    title: "identity",
    doc: "The headers that tell an upstream who is asking.",
    fields: &[
        Field::optional("prefix", &Shape::Format(&forms::PREFIX), "Prefix of their names. Default X-Auth-."),
        Field::optional(
            "pass",
            &Shape::List(&Shape::Format(&forms::HEADER)),
            "Names under the prefix that clients may send, because the gateway never sets them.",
        ),
        Field::optional(
            "encoding",
            &Shape::Keyword(&["percent", "latin1", "base64"]),
            "How bytes that a header cannot carry are written. Default percent.",
        ),
        Field::optional("max_bytes", &Shape::Size(64, 64 * 1024), "Longest value. Default 4KiB."),
    ],
    rules: &[],
});

static ADMIN: Shape = Shape::Map(&Fields {
    title: "admin",
    doc: "The admin listener: health, metrics, status.",
    fields: &[
        Field::optional(
            "address",
            &Shape::Format(&forms::ADMIN_ADDRESS),
            "Address and port, or unix:/path. Default 127.0.0.1:9901.",
        ),
        Field::optional("token_file", PATH, "File with the token that everything but health and metrics needs then."),
        Field::optional("tls", &LISTENER_TLS, "TLS, for an address that is not loopback."),
    ],
    rules: &[],
});

static LOGGING: Shape = Shape::Map(&Fields {
    title: "logging",
    doc: "The program's own log.",
    fields: &[
        Field::optional("format", &Shape::Keyword(&["json", "pretty"]), "Default json."),
        Field::optional("level", &Shape::Keyword(&["error", "warn", "info", "debug", "trace"]), "Default info."),
    ],
    rules: &[],
});

static AUDIT: Shape = Shape::Map(&Fields {
    title: "audit",
    doc: "One record for every decision.",
    fields: &[
        Field::optional("path", PATH, "A file that is appended to, or \"-\" for stdout. Default \"-\"."),
        Field::optional("include", &Shape::List(&Shape::Keyword(&["allow", "deny"])), "Which decisions. Default both."),
        Field::optional("required", &BOOL, "Refuse a request that cannot be recorded. Default false."),
    ],
    rules: &[],
});

static TELEMETRY: Shape = Shape::Map(&Fields {
    title: "telemetry",
    doc: "Traces.",
    fields: &[Field::optional("otlp", &URL, "OTLP endpoint, http.")],
    rules: &[],
});

static STATE: Shape = Shape::Map(&Fields {
    title: "state",
    doc: "What survives a restart.",
    fields: &[Field::optional(
        "directory",
        &Shape::Nullable(&NONEMPTY),
        "Directory for last good key sets and revocations. Default null: none.",
    )],
    rules: &[],
});

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

static LIMITS: Shape = Shape::Map(&Fields {
    title: "limits",
    doc: "Bounds on everything that can be made large, slow or many.",
    fields: &[
        Field::optional("connections", &COUNT, "Open client connections. Default 10000."),
        Field::optional("connections_per_address", &COUNT, "Open client connections of one address. Default 1000."),
        Field::optional("requests_per_connection", &COUNT, "Requests before a connection is closed. Default 100000."),
        Field::optional("concurrent_streams", &COUNT, "HTTP/2 streams open at once on a connection. Default 128."),
        Field::optional(
            "header_bytes",
            &Shape::Size(1024, 16 * MIB),
            "All request header fields together. Default 32KiB.",
        ),
        Field::optional("headers", &Shape::Int(1, 10_000), "Number of request header fields. Default 100."),
        Field::optional("target_bytes", &Shape::Size(64, 64 * 1024 - 1), "The request target. Default 8KiB."),
        Field::optional("token", &Shape::Size(256, 16 * MIB), "A token. Default 16KiB."),
        Field::optional("token_memory", &Shape::Size(0, TIB), "All remembered tokens together. Default 150MiB."),
        Field::optional("body", &Shape::Size(0, 1024 * TIB), "A request body. Default 100MiB."),
        Field::optional("inspected_body", &Shape::Size(0, TIB), "A body that policy reads. Default 1MiB."),
        Field::optional(
            "inspected_total",
            &Shape::Size(0, TIB),
            "All bodies that policy reads at once. Default 64MiB.",
        ),
        Field::optional("stream_follows_token", &BOOL, "Streams and tunnels end when their token does. Default true."),
        Field::optional("header_timeout", &TIMEOUT, "Time for a request head to arrive. Default 10s."),
        Field::optional("body_idle_timeout", &TIMEOUT, "Longest silence inside of a body. Default 30s."),
        Field::optional("idle_timeout", &TIMEOUT, "Longest silence between requests. Default 75s."),
        Field::optional("tls_handshake_timeout", &TIMEOUT, "Time for a TLS handshake. Default 10s."),
        Field::optional(
            "drain",
            &Shape::Duration(Duration::ZERO, DAY),
            "Time that running requests get at the end. Default 30s.",
        ),
    ],
    rules: &[],
});
