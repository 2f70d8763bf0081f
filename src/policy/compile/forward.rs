//! `forward`: from what is written to effects.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};

use crate::diagnostic::{Place, Source};
use crate::document::{Entry, Mapping, Node, Value};
use crate::policy::assertion::Asserting;
use crate::policy::decision::AuthorizationHeader;
use crate::policy::forward::{Effects, HeaderEntry, Part, PrincipalValue, Setting};
use crate::policy::surroundings::Surroundings;
use crate::principal::{ASSERTION_SUFFIX, ClaimPath, IdentityField, Permissions};
use crate::target::PathRules;
use crate::target::fold::{fold_header, folds_to, starts_folded};

use super::names::{Names, Use};
use super::report::{Report, at};

/// Headers that belong to the connection, to framing or to the body, folded: no policy sets them.
const RESERVED: [&str; 14] = [
    "connection",
    "cookie",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What `forward` of one route is compiled with.
pub(super) struct Forwarding<'c> {
    /// The document.
    pub(super) source: &'c Arc<Source>,
    /// `forward` of the document.
    pub(super) defaults: Option<&'c Mapping>,
    /// `forward` of the route.
    pub(super) own: Option<&'c Mapping>,
    /// Position of the upstream.
    pub(super) upstream: usize,
    /// Whether the route reads a token.
    pub(super) token: bool,
    /// Whether `Authorization` is passed on because the route only observes.
    pub(super) observes: bool,
    /// Whether the route asks for permissions.
    pub(super) asks_permissions: bool,
    /// Parameters that `narrow` keeps to values of the principal.
    pub(super) narrowed: Vec<&'c str>,
    /// How paths are canonicalised.
    pub(super) rules: PathRules,
    /// The rest of the configuration.
    pub(super) surroundings: &'c Surroundings<'c>,
    /// What templates can name.
    pub(super) names: &'c mut Names,
    /// What is wrong.
    pub(super) report: &'c mut Report,
}

impl Forwarding<'_> {
    /// The effects. What could not be compiled is left out and was reported.
    pub(super) fn effects(mut self) -> Effects {
        let mut removes: Vec<Box<str>> = Vec::new();
        let mut fixed = Vec::new();
        let mut headers = Vec::new();
        let identity = self.identity();
        let assertion = self.assertion();
        for entry in self.entries("headers") {
            if let Some(name) = self.header_name(&entry, (&identity, assertion.as_ref()), &mut removes) {
                self.header(&entry, name, &mut fixed, &mut headers);
            }
        }
        if let Some(value) = self.basic_auth() {
            removes.push("authorization".into());
            fixed.push(HeaderEntry { name: header::AUTHORIZATION, value });
        }
        let query = self.query();
        Effects {
            identity,
            assertion,
            fixed: fixed.into(),
            headers: headers.into(),
            query,
            removes: removes.into(),
            authorization: self.authorization(),
            timeout: self.get("timeout").and_then(Node::duration),
            max_body: self.get("max_body").and_then(Node::size),
            strip_prefix: self.prefix("strip_prefix"),
            add_prefix: self.prefix("add_prefix"),
            longest_target: self.surroundings.target_bytes,
            rules: self.rules,
        }
    }

    /// The node of a key: the route's own, else the document's.
    fn get(&self, key: &str) -> Option<&'_ Node> {
        let own = self.own.and_then(|map| map.get(key));
        own.or_else(|| self.defaults.and_then(|map| map.get(key)))
    }

    /// The entries of a map.
    fn entries(&self, key: &str) -> Vec<Entry> {
        self.get(key).and_then(Node::map).into_iter().flat_map(Mapping::entries).cloned().collect()
    }

    fn authorization(&mut self) -> AuthorizationHeader {
        let keep = self.get("authorization").filter(|node| node.text() == Some("keep"));
        if let Some(place) = keep.map(|node| at(self.source, node.span))
            && (self.get("basic_auth").is_some() || self.sets_authorization())
        {
            let help = "keep the client's own `Authorization`, or set another one";
            self.report.wrong(place, "`authorization: keep` beside another value for `Authorization`", help);
        }
        match (self.observes || self.get("authorization").and_then(Node::text) == Some("keep"), self.token) {
            (true, _) => AuthorizationHeader::Keep,
            (false, true) => AuthorizationHeader::Strip,
            (false, false) => AuthorizationHeader::StripTokens,
        }
    }

    fn sets_authorization(&self) -> bool {
        let headers = self.get("headers").and_then(Node::map);
        headers.is_some_and(|map| map.entries().any(|entry| folds_to(&entry.key.text, "authorization")))
    }

    /// Whether an identity header of this word is sent.
    fn tells(&self, word: &str) -> bool {
        match self.get("identity_headers").map(|node| (node.text(), node)) {
            // Where permissions come from userinfo they are known only if asked for; those of a token are told alike.
            None | Some((Some("all"), _)) => word != "permissions" || self.asks_permissions,
            Some((Some(_), _)) => false,
            Some((None, node)) => node.list().iter().any(|item| item.text() == Some(word)),
        }
    }

    fn identity(&self) -> Box<[(IdentityField, HeaderName)]> {
        let prefix = &self.surroundings.identity.prefix;
        IdentityField::ALL
            .into_iter()
            .filter(|(_, word, _)| self.tells(word))
            .filter_map(|(field, _, name)| {
                let name = HeaderName::from_bytes(format!("{prefix}{name}").as_bytes()).ok()?;
                Some((field, name))
            })
            .collect()
    }

    /// The signed assertion, where one is wanted and there is somebody to speak of.
    fn assertion(&mut self) -> Option<Asserting> {
        let place =
            self.get("assertion").filter(|node| node.bool() == Some(true)).map(|node| at(self.source, node.span))?;
        if !self.token {
            if self.own.is_some_and(|own| own.get("assertion").is_some()) {
                let help = "remove it, or let the route read a token";
                self.report.wrong(place, "`assertion` speaks of the token, but this route reads none", help);
            }
            return None;
        }
        let identity = &self.surroundings.identity;
        let Some(issuer) = &identity.assertion else {
            let help = "add `assertion: {issuer: https://gateway.example.com}` to `torwart.yaml`";
            self.report.wrong(place, "`assertion` is to be signed, but nobody is said to sign", help);
            return None;
        };
        let told = self.asks_permissions || self.tells("permissions");
        Some(Asserting {
            name: HeaderName::from_bytes(format!("{}{ASSERTION_SUFFIX}", identity.prefix).as_bytes()).ok()?,
            issuer: Arc::clone(issuer),
            audience: Arc::clone(&self.surroundings.upstreams.get(self.upstream)?.name),
            permissions: if told { Permissions::Told } else { Permissions::Withheld },
        })
    }

    /// The name of a header, if policies may set it.
    fn header_name(
        &mut self,
        entry: &Entry,
        (identity, assertion): (&[(IdentityField, HeaderName)], Option<&Asserting>),
        removes: &mut Vec<Box<str>>,
    ) -> Option<HeaderName> {
        let written = entry.key.text.as_str();
        let name = HeaderName::from_bytes(written.as_bytes()).ok()?;
        let place = at(self.source, entry.key.span);
        let folded = fold_header(written);
        if RESERVED.contains(&folded.as_str()) || folded.starts_with("content-") || folded.starts_with("proxy-") {
            let message = format!("`{written}` belongs to the connection, to framing or to the body");
            self.report.wrong(place, message, "choose a header of your own");
            return None;
        }
        let mut taken = identity.iter().map(|(_, name)| name).chain(assertion.map(|assertion| &assertion.name));
        if taken.any(|taken| folds_to(taken.as_str(), &folded)) {
            let message = format!("`{written}` is an identity header, which the gateway sets itself");
            self.report.wrong(place, message, "remove it, or leave it out of `identity_headers`");
            return None;
        }
        if starts_folded(written, "x-forwarded-") || ["forwarded", "via", "x-request-id"].contains(&folded.as_str()) {
            let message = format!("`{written}` is set by the gateway itself");
            self.report.wrong(place, message, "choose a header of your own");
            return None;
        }
        if removes.iter().any(|known| **known == *folded) {
            let message = format!("another header of this map is `{written}` to servers that read `_` and `-` as one");
            self.report.wrong(place, message, "keep one of them");
            return None;
        }
        removes.push(folded.into());
        Some(name)
    }

    fn header(
        &mut self,
        entry: &Entry,
        name: HeaderName,
        fixed: &mut Vec<HeaderEntry>,
        headers: &mut Vec<Setting<HeaderName>>,
    ) {
        let place = at(self.source, entry.key.span);
        let Some((parts, shown)) = self.setting(&entry.value) else { return };
        let secret = entry.value.map().is_some();
        for part in &parts {
            if let Part::Text(text) = part
                && !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
            {
                let help = "write visible ASCII characters and spaces";
                self.report.wrong(shown.clone(), "a header value with characters that headers do not carry", help);
                return;
            }
        }
        match <[Part; 1]>::try_from(parts) {
            Ok([Part::Text(text)]) => {
                if let Ok(mut value) = HeaderValue::from_str(&text) {
                    value.set_sensitive(secret);
                    fixed.push(HeaderEntry { name, value });
                }
            }
            Ok(only) => headers.push(Setting { name, parts: Box::new(only), place }),
            Err(parts) if parts.is_empty() => self.report.wrong(shown, "an empty header value", "write a value"),
            Err(parts) => headers.push(Setting { name, parts: parts.into(), place }),
        }
    }

    /// The text of a setting and where it is written: with templates, or the content of a file.
    fn setting(&mut self, node: &Node) -> Option<(Vec<Part>, Place)> {
        let place = at(self.source, node.span);
        match &node.value {
            Value::Text(text) => self.parts(text, &place).map(|parts| (parts, place)),
            Value::Map(map) => {
                let path = map.get("file")?;
                let content = self.file(path)?;
                Some((vec![Part::Text(content.into())], at(self.source, path.span)))
            }
            _ => None,
        }
    }

    /// The content of a file that the document names.
    fn file(&mut self, node: &Node) -> Option<String> {
        let written = node.text()?;
        let directory = self.source.path.parent().unwrap_or_else(|| Path::new(""));
        match (self.surroundings.files)(&directory.join(written)) {
            Ok(content) if !content.is_empty() => Some(content),
            Ok(_) => {
                self.report.wrong(
                    at(self.source, node.span),
                    format!("`{written}` is empty"),
                    "write the secret into it",
                );
                None
            }
            Err(reason) => {
                let help = "paths are relative to this document";
                self.report.wrong(at(self.source, node.span), format!("cannot read `{written}`: {reason}"), help);
                None
            }
        }
    }

    /// Text with templates in it.
    fn parts(&mut self, text: &str, place: &Place) -> Option<Vec<Part>> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, behind) =
                rest.split_once('{').map_or((rest, None), |(literal, behind)| (literal, Some(behind)));
            if literal.contains('}') {
                self.report.wrong(place.clone(), "a `}` without `{`", "templates are written `{name}`");
                return None;
            }
            if !literal.is_empty() {
                parts.push(Part::Text(literal.into()));
            }
            let Some(behind) = behind else { break };
            let Some((inner, after)) = behind.split_once('}') else {
                self.report.wrong(place.clone(), "a `{` without `}`", "templates are written `{name}`");
                return None;
            };
            parts.push(self.part(inner, place)?);
            rest = after;
        }
        Some(parts)
    }

    fn part(&mut self, inner: &str, place: &Place) -> Option<Part> {
        let Some(value) = principal_value(inner) else {
            return self.names.template(inner, Use::Effect, place, self.report).map(Part::Request);
        };
        if !self.token && self.own.is_some_and(|own| own.get("headers").is_some() || own.get("query").is_some()) {
            let message = format!("`{{{inner}}}` is a value of the token, but this route reads none");
            self.report.wrong(place.clone(), message, "remove it, or let the route read a token");
            return None;
        }
        if self.names.captures.iter().chain(&self.names.host).any(|capture| capture == inner) {
            let message = format!("`{{{inner}}}` means the principal's value here, not the capture of that name");
            self.report.warning(place.clone(), message, "give the capture another name");
        }
        Some(Part::Principal(value))
    }

    fn basic_auth(&mut self) -> Option<HeaderValue> {
        let map = self.get("basic_auth").and_then(Node::map)?;
        let (username, file) = (map.get("username")?, map.get("password_file")?);
        let place = at(self.source, username.span);
        let (username, file) = (username.text()?.to_owned(), file.clone());
        if username.contains(':') {
            let help = "RFC 7617 section 2 allows none";
            self.report.wrong(place, "a user name with a colon", help);
            return None;
        }
        if self.sets_authorization() {
            self.report.wrong(place, "`basic_auth` beside `Authorization` under `headers`", "keep one of them");
            return None;
        }
        let password = self.file(&file)?;
        let mut value =
            HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn query(&mut self) -> Box<[Setting<Box<str>>]> {
        let mut settings = Vec::new();
        for entry in self.entries("query") {
            let name: Box<str> = entry.key.text.as_str().into();
            let place = at(self.source, entry.key.span);
            self.names.bind(&name);
            if self.narrowed.contains(&&*name) {
                let message = format!("`forward` sets the parameter `{name}`, which `narrow` keeps to what was sent");
                self.report.wrong(place, message, "remove one of them");
                continue;
            }
            if let Some((parts, _)) = self.setting(&entry.value) {
                settings.push(Setting { name, parts: parts.into(), place });
            }
        }
        settings.into()
    }

    /// A prefix: whole segments, canonical as requests are.
    fn prefix(&mut self, key: &str) -> Option<Box<str>> {
        let node = self.get(key)?;
        let (written, place) = (node.text()?.to_owned(), at(self.source, node.span));
        let canonical = crate::target::Target::parse(&written, self.rules).map(|target| target.path().to_owned());
        match canonical {
            Ok(path) if path == written && !path.ends_with('/') => Some(path.into()),
            Ok(path) if path.len() > 1 && !written.contains('?') => {
                let help = format!("write `{}`", path.trim_end_matches('/'));
                self.report.wrong(place, format!("`{written}` is not a canonical path prefix"), help);
                None
            }
            Ok(_) | Err(_) => {
                let help = "write whole segments such as `/v2`";
                self.report.wrong(place, format!("`{written}` is not a path prefix"), help);
                None
            }
        }
    }
}

fn principal_value(inner: &str) -> Option<PrincipalValue> {
    Some(match inner {
        "subject" => PrincipalValue::Subject,
        "client" => PrincipalValue::Client,
        "scopes" => PrincipalValue::Scopes,
        "organizations" => PrincipalValue::Organizations,
        "permissions" => PrincipalValue::Permissions,
        "issuer" => PrincipalValue::Issuer,
        "flow" => PrincipalValue::Flow,
        "global" => PrincipalValue::Global,
        _ => {
            let name = inner.strip_prefix("claim.").filter(|name| !name.is_empty())?;
            PrincipalValue::Claim(match name.strip_prefix('/') {
                // RFC 6901 section 4: `~1` is `/`, `~0` is `~`.
                Some(pointer) => {
                    ClaimPath(pointer.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect())
                }
                None => ClaimPath::top(name),
            })
        }
    })
}
