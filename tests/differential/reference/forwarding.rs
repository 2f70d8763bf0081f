//! policy.md, "Forwarding", and http.md, "Towards the upstream": what is sent of a request and its principal.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use torwart::policy::Encoding;

use super::super::conditions::{find, list};
use super::super::narrow::narrowings;
use super::super::values::{Values, decoded, fold_header, spelt_plainly};
use super::super::world::{Fields, ISSUERS, Person, World};
use super::{name_of, text};

/// Headers, each with its value, nothing, or why the request is denied.
pub(crate) type Settings = Vec<(String, Result<Option<String>, &'static str>)>;

/// A request that is about to be sent.
pub(crate) struct Forwarding<'w> {
    pub(crate) world: &'w World,
    /// Of the route, and of the document where the route does not say.
    pub(crate) forward: Map<String, Value>,
    /// Canonical path and query.
    pub(crate) path: &'w str,
    pub(crate) query: Option<&'w str>,
    /// Who asks, where that is known.
    pub(crate) person: Option<&'w Person>,
}

impl Forwarding<'_> {
    /// Path and query as they are sent, with what `narrow` adds. Bound names are spelt so that every server finds them.
    pub(crate) fn target(&self, bound: &[String], narrowed: &[String], values: &Values<'_>) -> Option<String> {
        let path = self.path_sent()?;
        let mut query = self.query.map(|query| spelt_plainly(query, bound));
        let empty = Map::new();
        let set = self.forward.get("query").and_then(Value::as_object).unwrap_or(&empty);
        if !set.is_empty() || !narrowed.is_empty() {
            // "all other bytes of the query stay"
            let others =
                query.as_deref().into_iter().filter(|query| !query.is_empty()).flat_map(|query| query.split('&'));
            let is_set =
                |piece: &str| set.keys().any(|name| decoded(piece.split('=').next().unwrap()) == name.as_bytes());
            let mut kept: Vec<String> = others.filter(|piece| !is_set(piece)).map(str::to_owned).collect();
            for (name, template) in set {
                // "exactly one value or the request is denied"
                let value = self.single(template.as_str().unwrap(), values)?;
                kept.push(format!("{}={}", component(name), component(&value)));
            }
            kept.extend(narrowed.iter().cloned());
            query = Some(kept.join("&"));
        }
        Some(query.map_or(path.clone(), |query| format!("{path}?{query}")))
    }

    /// Path and query without what is set: as they are where the prefix does not fit.
    pub(crate) fn plain_target(&self) -> Option<String> {
        let path = self.path_sent()?;
        Some(self.query.map_or(path.clone(), |query| format!("{path}?{query}")))
    }

    /// "`strip_prefix`, `add_prefix`: on whole canonical segments".
    fn path_sent(&self) -> Option<String> {
        let mut path = self.path.to_owned();
        if let Some(prefix) = self.forward.get("strip_prefix").and_then(Value::as_str) {
            let rest = self.path.strip_prefix(prefix)?;
            if !rest.is_empty() && !rest.starts_with('/') {
                return None;
            }
            path = String::from(rest);
        }
        if let Some(prefix) = self.forward.get("add_prefix").and_then(Value::as_str) {
            path = format!("{prefix}{path}");
        }
        if path.is_empty() {
            path.push('/');
        }
        Some(path)
    }

    /// `forward.headers` and `basic_auth`.
    pub(crate) fn headers(&self, values: &Values<'_>) -> Settings {
        let entries = self.forward.get("headers").and_then(Value::as_object).into_iter().flatten();
        let of = |(name, written): (&String, &Value)| {
            let value = match written.as_str() {
                // The one file there is.
                None => Ok(Some("s3cret".to_owned())),
                Some(written) => self.header(written, values),
            };
            (name.to_ascii_lowercase(), value)
        };
        let mut set: Settings = entries.map(of).collect();
        if let Some(basic) = self.forward.get("basic_auth") {
            // RFC 7617 section 2.
            let credentials = STANDARD.encode(format!("{}:s3cret", text(&basic["username"])));
            set.push(("authorization".to_owned(), Ok(Some(format!("Basic {credentials}")))));
        }
        set
    }

    fn header(&self, written: &str, values: &Values<'_>) -> Result<Option<String>, &'static str> {
        let mut text = String::new();
        let mut missing = false;
        let parts = parts(written);
        for part in &parts {
            match part {
                Part::Text(own) => text += own,
                Part::Template(name) => match value_of(name, values, self.person)? {
                    Written::Nothing => missing = true,
                    Written::One(value) => text += &self.encoded(&value, false),
                    Written::Many(items, separator) if items.is_empty() && separator == "organizations" => {
                        text += "none";
                    }
                    Written::Many(items, separator) => {
                        let separator = if separator == "organizations" { "," } else { separator };
                        text += &self.joined(&items, separator);
                    }
                },
            }
        }
        let constant = parts.iter().all(|part| matches!(part, Part::Text(_)));
        match (missing, !constant && text.chars().count() > self.world.max_bytes) {
            // "no value: not sent"
            (true, _) => Ok(None),
            (false, true) => Err("identity-too-large"),
            (false, false) => Ok(Some(text)),
        }
    }

    /// Text with templates that have one value each.
    fn single(&self, written: &str, values: &Values<'_>) -> Option<String> {
        let of = |part| match part {
            Part::Text(text) => Some(text),
            Part::Template(name) => match value_of(&name, values, self.person).ok()? {
                Written::Nothing => None,
                Written::One(text) => Some(text),
                Written::Many(texts, _) => <[String; 1]>::try_from(texts).ok().map(|[only]| only),
            },
        };
        parts(written).into_iter().map(of).collect()
    }

    /// The table of http.md, "Towards the upstream": of the principal, and apart from that what allowed it.
    pub(crate) fn identity(
        &self,
        (document, route): (&Value, Option<&Value>),
        requires: &[&Value],
    ) -> (Fields, Fields) {
        let Some(person) = self.person else { return Default::default() };
        let narrowed = route.is_some_and(|route| narrowings(route).iter().any(|one| one.to == "permissions"));
        let asked = narrowed || requires.iter().any(|require| asks_permissions(require));
        let global = person.global == Some(true);
        let organizations = person.organizations.clone().unwrap_or_default();
        let one = |value: &Option<String>| value.as_ref().map(|value| self.encoded(value, false));
        let none = || if organizations.is_empty() { "none".to_owned() } else { self.joined(&organizations, ",") };
        let of_principal = [
            ("subject", one(&person.subject).filter(|_| person.flow != "client_credentials")),
            ("client", one(&person.client)),
            ("issuer", one(&Some(ISSUERS[person.issuer].name.to_owned()))),
            // Words of the gateway's own: "`true` or `false`, always".
            ("flow", Some(person.flow.to_owned())),
            ("scopes", Some(self.joined(&person.scopes, " ")).filter(|_| !person.scopes.is_empty())),
            ("permissions", person.permissions.as_ref().map(|held| self.joined(held, ","))),
            ("global", Some(global.to_string())),
            ("organizations", (!global).then(none)),
        ];
        let provenance = [("policy", one(&Some(text(&document["policy"])))), ("route", one(&route.map(name_of)))];
        let wanted = |word: &str| match self.forward.get("identity_headers") {
            None => word != "permissions" || asked,
            Some(Value::String(_)) => false,
            Some(words) => list(words).iter().any(|one| one == word),
        };
        let sent = |all: Vec<(&str, Option<String>)>| -> Fields {
            all.into_iter()
                .filter(|(word, _)| wanted(word))
                .filter_map(|(word, value)| Some((header_of(word), value?)))
                .collect()
        };
        (sent(of_principal.into()), sent(provenance.into()))
    }

    /// "Anything outside visible ASCII (a space too), and `%`, and `,` inside a list item, is percent-encoded (UTF-8)"; under
    /// `latin1` but for its own letters, which are a byte each; `base64`: all of the text.
    fn encoded(&self, text: &str, item: bool) -> String {
        if self.world.encoding == Encoding::Base64 {
            return STANDARD.encode(text);
        }
        let one = |letter: char| {
            let plain = letter.is_ascii_graphic() && letter != '%' && !(item && letter == ',');
            let own = self.world.encoding == Encoding::Latin1 && ('\u{a1}'..='\u{ff}').contains(&letter);
            if plain || own {
                letter.to_string()
            } else {
                letter.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect()
            }
        };
        text.chars().map(one).collect()
    }

    fn joined(&self, items: &[String], separator: &str) -> String {
        let items: Vec<_> = items.iter().map(|item| self.encoded(item, true)).collect();
        items.join(separator)
    }

    /// Folded names that are removed: of everything that is set.
    pub(crate) fn removes(&self) -> Vec<String> {
        let set = self.forward.get("headers").and_then(Value::as_object).into_iter().flat_map(Map::keys);
        let mut names: Vec<_> = set.map(|name| fold_header(name)).collect();
        names.extend(self.forward.get("basic_auth").map(|_| "authorization".to_owned()));
        names.sort();
        names
    }

    /// "`Authorization` with scheme Bearer or `DPoP`, and any scheme on routes that need a token (unless `authorization:
    /// keep`)"; under `observe` it is kept.
    pub(crate) fn authorization(&self, token: bool, observed: bool) -> &'static str {
        if observed || self.forward.get("authorization").is_some_and(|word| word == "keep") {
            "keep"
        } else if token {
            "strip"
        } else {
            "strip tokens"
        }
    }
}

/// Every template in what `forward` sets.
pub(crate) fn templates(forward: &Map<String, Value>) -> Vec<String> {
    let maps = ["headers", "query"].into_iter().filter_map(|key| forward.get(key)?.as_object());
    let texts = maps.flat_map(Map::values).filter_map(Value::as_str);
    let template = |part| if let Part::Template(name) = part { Some(name) } else { None };
    texts.flat_map(parts).filter_map(template).collect()
}

fn asks_permissions(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(asks_permissions),
        Value::Object(map) => map.iter().any(|(key, value)| key == "permission" || asks_permissions(value)),
        _ => false,
    }
}

/// What a header or parameter is made of.
enum Part {
    Text(String),
    Template(String),
}

fn parts(written: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for piece in written.split_inclusive('}') {
        let (before, template) = piece.split_once('{').map_or((piece, None), |(before, rest)| (before, Some(rest)));
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        parts.extend(template.map(|name| Part::Template(name.trim_end_matches('}').to_owned())));
    }
    parts
}

/// The value of a template.
enum Written {
    Nothing,
    One(String),
    /// With what stands between the items.
    Many(Vec<String>, &'static str),
}

/// "A principal's name wins over a capture of that name". "A claim that a header needs and that has the wrong type denies."
fn value_of(name: &str, values: &Values<'_>, person: Option<&Person>) -> Result<Written, &'static str> {
    let one = |text: Option<String>| text.map_or(Written::Nothing, Written::One);
    let many = |items: Vec<String>, separator| {
        if items.is_empty() { Written::Nothing } else { Written::Many(items, separator) }
    };
    let of_person = ["subject", "client", "scopes", "organizations", "permissions", "issuer", "flow", "global"];
    if !of_person.contains(&name) && !name.starts_with("claim.") {
        let texts: Option<Vec<String>> = values.of(name).texts.into_iter().collect();
        let texts = texts.ok_or("forward")?;
        return Ok(if texts.len() == 1 { Written::One(texts[0].clone()) } else { many(texts, ",") });
    }
    let Some(person) = person else { return Ok(Written::Nothing) };
    Ok(match name {
        "subject" => one(person.subject.clone().filter(|_| person.flow != "client_credentials")),
        "client" => one(person.client.clone()),
        "scopes" => many(person.scopes.clone(), " "),
        "permissions" => many(person.permissions.clone().unwrap_or_default(), ","),
        "organizations" if person.global == Some(true) => Written::Nothing,
        "organizations" => Written::Many(person.organizations.clone().unwrap_or_default(), "organizations"),
        "issuer" => one(Some(ISSUERS[person.issuer].name.to_owned())),
        "flow" => one(Some(person.flow.to_owned())),
        "global" => one(Some((person.global == Some(true)).to_string())),
        claim => {
            let claim = claim.strip_prefix("claim.").unwrap();
            let path: Vec<String> = match claim.strip_prefix('/') {
                Some(keys) => keys.split('/').map(str::to_owned).collect(),
                None => vec![claim.to_owned()],
            };
            match find(&path, &person.claims) {
                None => Written::Nothing,
                Some(Value::Array(items)) => {
                    let items: Option<Vec<_>> = items.iter().map(scalar).collect();
                    many(items.ok_or("forward")?, ",")
                }
                Some(value) => Written::One(scalar(value).ok_or("forward")?),
            }
        }
    })
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

/// A name or value in a query.
pub(crate) fn component(text: &str) -> String {
    let one = |byte: u8| {
        let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if unreserved { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(one).collect()
}

/// The header of a word under `identity_headers`.
fn header_of(word: &str) -> String {
    match word {
        "client" => "x-auth-client-id".to_owned(),
        "organizations" => "x-auth-org-uids".to_owned(),
        word => format!("x-auth-{word}"),
    }
}

pub(crate) fn sorted(set: Settings) -> Fields {
    let mut headers: Vec<_> = set.into_iter().filter_map(|(name, value)| Some((name, value.ok()??))).collect();
    headers.sort();
    headers
}
