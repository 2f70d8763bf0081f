//! policy.md, "Bodies" and "Bound query parameters": which bodies are read, and which are refused.

use std::cell::Cell;

use super::super::FormParameters;
use super::super::values::{ambiguous_headers, ambiguous_query, decoded, pieces, reads_as};
use super::super::world::Request;
use super::super::{MethodOverride, Quirks, Reading};
use super::json::{Json, has_second_key, parse, segments};
use super::soap;

/// What templates find in a request's body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    /// It was not read so far.
    Unread,
    /// There is none, or none with values.
    Nothing,
    Json(Json),
    Form(String),
    Operation(String),
}

/// What a route's templates make of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Form,
    Soap,
}

/// What a route asks of bodies.
pub(crate) struct Wanted<'w> {
    /// Every template of the route.
    pub(crate) names: &'w [String],
    /// Query parameters that are bound.
    pub(crate) parameters: &'w [String],
    pub(crate) quirks: Quirks,
    /// The method that is asked about.
    pub(crate) method: &'w str,
    /// `limits.inspected_body`.
    pub(crate) longest: usize,
}

/// Why a body is refused.
pub(crate) type Fault = (u16, &'static str);

const UNREADABLE: Fault = (415, "unreadable-body");
const MALFORMED: Fault = (400, "body");
const AMBIGUOUS: Fault = (400, "ambiguous-parameter");

pub(crate) fn is_of_body(name: &str) -> bool {
    name.starts_with("body.") || name.starts_with("form.") || name == "soap.operation"
}

impl Wanted<'_> {
    fn kind(&self) -> Option<Kind> {
        self.names.iter().find_map(|name| match name.split(['.', '/']).next() {
            Some("body") => Some(Kind::Json),
            Some("form") => Some(Kind::Form),
            Some("soap") => Some(Kind::Soap),
            _ => None,
        })
    }

    /// "`quirks.form_parameters: separate` switches that off, for servers that never mix them"
    fn mixes(&self) -> bool {
        self.quirks.form_parameters == FormParameters::Mixed
    }

    /// Names in forms that are bound.
    fn form(&self) -> Vec<String> {
        self.names.iter().filter_map(|name| name.strip_prefix("form.")).map(str::to_owned).collect()
    }

    /// Headers that say what a body is are bound where one is read.
    fn headers(&self) -> Vec<String> {
        let mut names = Vec::new();
        if self.kind().is_some() || self.mixes() && !self.parameters.is_empty() {
            names.extend(["Content-Type".to_owned(), "Content-Encoding".to_owned()]);
        }
        if self.kind() == Some(Kind::Soap) {
            names.push("SOAPAction".to_owned());
        }
        names
    }

    /// Where a server begins the query at a `;` in the path, it reads other parameters, or none.
    pub(crate) fn is_ambiguous_path(&self, path: &str, pattern: &str) -> bool {
        let binds = !self.parameters.is_empty() || self.mixes() && !self.form().is_empty();
        binds && self.quirks.path_parameters == Reading::Unknown && path.contains(';') && !pattern.contains(';')
    }

    /// What a server that mixes query and form would take for a form parameter must not stand in the query.
    pub(crate) fn is_ambiguous_query(&self, query: Option<&str>) -> bool {
        let form = self.form();
        self.mixes()
            && !form.is_empty()
            && (ambiguous_query(query, &form)
                || pieces(query)
                    .any(|piece| form.iter().any(|name| reads_as(piece.name, name) && !self.parameters.contains(name))))
    }

    /// The body, where the route reads it, which is noted.
    pub(crate) fn read(&self, request: &Request, reads: &Cell<bool>) -> Result<Body, Fault> {
        let Some(body) = request.body.as_deref() else { return Ok(Body::Nothing) };
        if ambiguous_headers(&request.headers, &self.headers()) {
            return Err((400, "ambiguous-header"));
        }
        let media = MediaType::of(request);
        let kind = match self.kind() {
            Some(kind) => kind,
            None if !self.mixes() || self.parameters.is_empty() => return Ok(Body::Nothing),
            // "`multipart/form-data` or a body without type is 415 on such a route"
            None => match media.as_ref().map(|media| media.name.as_str()) {
                Some("application/x-www-form-urlencoded") => Kind::Form,
                None => return Err(UNREADABLE),
                Some(name) if name.starts_with("multipart/") => return Err(UNREADABLE),
                Some(_) => return Ok(Body::Nothing),
            },
        };
        let media = media.ok_or(UNREADABLE)?;
        if !media.is(kind) || request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-encoding")) {
            return Err(UNREADABLE);
        }
        reads.set(true);
        if body.len() > self.longest {
            return Err((413, "body-too-large"));
        }
        if request.crowded {
            return Err((503, "overloaded"));
        }
        // That it is empty, who reads it knows.
        if body.is_empty() {
            return Ok(Body::Nothing);
        }
        // "UTF-8 without byte order mark"
        let text = std::str::from_utf8(body).ok().filter(|text| !text.starts_with('\u{feff}')).ok_or(UNREADABLE)?;
        match kind {
            Kind::Json => self.json(text),
            Kind::Form => self.urlencoded(text),
            Kind::Soap => {
                let operation = soap::operation(text, &actions(request, &media)).ok_or(MALFORMED)?;
                Ok(Body::Operation(operation))
            }
        }
    }

    fn json(&self, text: &str) -> Result<Body, Fault> {
        let json = parse(text).ok_or(MALFORMED)?;
        let mut pointers = self.names.iter().filter_map(|name| name.strip_prefix("body."));
        if pointers.any(|pointer| has_second_key(&json, &segments(pointer))) {
            return Err(MALFORMED);
        }
        Ok(Body::Json(json))
    }

    /// "In a urlencoded body the same holds, and a bound query parameter's own name is 400 there too unless `{form.NAME}`
    /// binds it".
    fn urlencoded(&self, text: &str) -> Result<Body, Fault> {
        let form = self.form();
        let mut bound = form.clone();
        if self.mixes() {
            bound.extend(self.parameters.iter().cloned());
        }
        let own = |name: &str| self.mixes() && self.parameters.iter().any(|one| reads_as(name, one));
        let exact = |name: &str| form.iter().any(|one| decoded(name) == one.as_bytes());
        // "an invalid percent-encoding or NUL": what no query could hold stands there as it is, too.
        if text.contains('\0')
            || ambiguous_query(Some(text), &bound)
            || pieces(Some(text)).any(|one| own(one.name) && !exact(one.name))
        {
            return Err(AMBIGUOUS);
        }
        // http.md: a second method stands in forms, too.
        let other = |value: &str| decoded(value) != self.method.as_bytes();
        let overrides = self.quirks.method_override != MethodOverride::Ignore
            && pieces(Some(text)).any(|piece| reads_as(piece.name, "_method") && other(piece.value));
        if overrides { Err(MALFORMED) } else { Ok(Body::Form(text.to_owned())) }
    }
}

/// `Content-Type`.
struct MediaType {
    /// In lower case.
    name: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    fn of(request: &Request) -> Option<Self> {
        let mut lines = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let (_, only) = lines.next()?;
        let text = std::str::from_utf8(only).ok().filter(|text| lines.next().is_none() && !text.contains(','))?;
        let mut parts = text.split(';');
        let name = parts.next()?.trim().to_ascii_lowercase();
        let parameter = |part: &str| {
            let (name, value) = part.split_once('=')?;
            Some((name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned()))
        };
        let parameters = parts.filter_map(parameter).collect();
        name.contains('/').then_some(Self { name, parameters })
    }

    fn is(&self, kind: Kind) -> bool {
        let name = self.name.as_str();
        let fits = match kind {
            Kind::Json => name == "application/json" || name.ends_with("+json"),
            Kind::Form => name == "application/x-www-form-urlencoded",
            Kind::Soap => ["text/xml", "application/xml"].contains(&name) || name.ends_with("+xml"),
        };
        fits && self.parameter("charset").is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"))
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// What a request says beside the message that its operation is.
fn actions(request: &Request, media: &MediaType) -> Vec<String> {
    let lines = request.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("soapaction"));
    let lines: Vec<String> = lines.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect();
    // Nobody knows which of several a server takes.
    if lines.len() > 1 {
        return vec!["\u{0}".to_owned()];
    }
    lines.into_iter().chain(media.parameter("action").map(str::to_owned)).collect()
}
