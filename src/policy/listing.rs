//! The compiled route table in words: what a route asks and what forwarding changes, as a policy would say it.

use std::fmt;

use crate::diagnostic::Place;
use crate::policy::condition::{Condition, Test};
use crate::policy::decision::AuthorizationHeader;
use crate::policy::forward::{Part, PrincipalValue, Setting};
use crate::policy::metadata::WELL_KNOWN;
use crate::policy::route::{Document, Route};
use crate::policy::value_type::ValueType;
use crate::principal::IdentityField;

/// A condition of a route.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What it asks, with everything that it consists of.
    pub text: String,
    /// The alternative of those whom it is not asked of.
    pub lifted: Option<String>,
    /// Where it stands.
    pub place: Place,
}

/// What a route says, under its keys; of `forward`, what is not there stays as the client sent it.
pub type Forwarded = Vec<(&'static str, String)>;

impl Document {
    /// The document's host patterns, as written.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|host| &**host)
    }
}

impl Route {
    /// Its path as written, base path included.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its methods, those that others bring included.
    pub fn methods(&self) -> impl Iterator<Item = &str> {
        self.methods.names()
    }

    /// Everything that must hold, in the order in which it names the reason.
    pub fn asks(&self) -> impl Iterator<Item = Asked> {
        self.conditions.iter().map(|condition| Asked {
            text: condition.in_full(),
            lifted: condition.lift.as_ref().map(ToString::to_string),
            place: condition.place.clone(),
        })
    }

    /// Types of captures and request values.
    pub fn types(&self) -> impl Iterator<Item = (String, String)> {
        self.typed.iter().map(|typed| (typed.source.to_string(), typed.kind.to_string()))
    }

    /// What the route says beside its conditions: `limit`, `cors`, what `body` it reads, and where its `metadata` are published. What is not there streams, is not
    /// counted, and is no matter of the gateway's.
    pub fn beside(&self) -> Forwarded {
        let limit = self.limit().map(ToString::to_string);
        let cors = self.cors.as_ref().map(ToString::to_string);
        let body = self.body.as_ref().map(|body| body.reads().to_owned());
        let metadata = self.document.metadata.as_ref().map(|path| format!("{WELL_KNOWN}{path}"));
        let all = [("limit", limit), ("cors", cors), ("body", body), ("metadata", metadata)];
        all.into_iter().filter_map(|(key, text)| Some((key, text?))).collect()
    }

    /// What forwarding changes. Values of headers that are always the same are not told: they may come from a file of
    /// secrets.
    pub fn forwarded(&self) -> Forwarded {
        let effects = &self.effects;
        let mut found = Forwarded::new();
        let mut put = |key, text: Option<String>| found.extend(text.map(|text| (key, text)));
        put("strip_prefix", effects.strip_prefix.as_deref().map(str::to_owned));
        put("add_prefix", effects.add_prefix.as_deref().map(str::to_owned));
        put("authorization", (effects.authorization == AuthorizationHeader::Keep).then(|| "keep".to_owned()));
        let fixed = effects.fixed.iter().map(|entry| format!("{} (a fixed value)", entry.name));
        put("headers", listed(fixed.chain(effects.headers.iter().map(ToString::to_string))));
        put("query", listed(effects.query.iter().map(ToString::to_string)));
        let words =
            IdentityField::ALL.iter().filter(|(field, ..)| effects.identity.iter().any(|(own, _)| own == field));
        let words = listed(words.map(|(_, word, _)| (*word).to_owned())).unwrap_or_else(|| "none".to_owned());
        put("identity_headers", self.needs_token.then_some(words));
        put("assertion", effects.assertion.as_ref().map(|assertion| assertion.name.to_string()));
        put("timeout", effects.timeout.map(|timeout| format!("{timeout:?}")));
        put("max_body", effects.max_body.map(|bytes| format!("{bytes} bytes")));
        found
    }
}

fn listed(items: impl Iterator<Item = String>) -> Option<String> {
    let items: Vec<_> = items.collect();
    (!items.is_empty()).then(|| items.join(", "))
}

impl Condition {
    /// What it asks, parts included.
    pub(in crate::policy) fn in_full(&self) -> String {
        let parts = |parts: &[Self]| parts.iter().map(Self::in_full).collect::<Vec<_>>().join("}, {");
        match &self.test {
            Test::AllOf(all) => format!("all_of: [{{{}}}]", parts(all)),
            Test::AnyOf(any) => format!("any_of: [{{{}}}]", parts(any)),
            Test::Not(part) => format!("not: {{{}}}", part.in_full()),
            plain => plain.to_string(),
        }
    }
}

impl<N: fmt::Display> fmt::Display for Setting<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Principal(value) => write!(f, "{{{value}}}"),
            Part::Request(template) => template.fmt(f),
        })
    }
}

impl fmt::Display for PrincipalValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subject => "subject",
            Self::Client => "client",
            Self::Scopes => "scopes",
            Self::Organizations => "organizations",
            Self::Permissions => "permissions",
            Self::Issuer => "issuer",
            Self::Flow => "flow",
            Self::Global => "global",
            Self::Claim(path) => return write!(f, "claim.{path}"),
        })
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid => f.write_str("uuid"),
            Self::Int => f.write_str("int"),
            Self::Alnum(_) => f.write_str("alnum"),
            Self::Slug => f.write_str("slug"),
            Self::Regex { written, .. } => write!(f, "{{regex: {written:?}}}"),
            Self::List { separator, of } => write!(f, "{{list: {separator:?}, of: {of}}}"),
        }
    }
}
