//! Request bodies that a route reads (policy.md, "Templates and request values"): of which kind they must be, what is
//! read out of them, and what is refused.

mod media_type;

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header};
use serde_json::Value;

use crate::json::{self, Pointer};
use crate::policy::Head;
use crate::policy::bound::{BoundError, BoundHeaders, BoundQuery};
use crate::policy::decision::Cause;
use crate::policy::template::ValueSource;
use crate::soap;
use crate::target::method::{Override, overriding};
use crate::target::query::Query;
use crate::target::quirks::{FormParameters, MethodOverride, Quirks};

use media_type::MediaType;

/// How many values of one name a record keeps, and how many bytes of them.
const RECORDED: usize = 1000;
const RECORDED_BYTES: usize = 64 * 1024;

/// What a route reads of bodies.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::policy) struct BodyRules {
    kind: Kind,
    /// Headers that say what a body is, and must not be spelt otherwise beside one.
    headers: BoundHeaders,
    /// What the server makes of parameters that name another method.
    method_override: MethodOverride,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// Values in JSON.
    Json(Box<[Pointer]>),
    /// Parameters of a urlencoded body, and names that must not be among them.
    Form(BoundQuery),
    /// The operation of a SOAP message.
    Soap,
    /// Nothing: the route binds query parameters, which must not stand in a urlencoded body. Others are not read.
    Separate(BoundQuery),
}

/// What templates of a route name in bodies, which is of one kind.
#[derive(Debug, Default)]
pub(in crate::policy) struct BodyNames {
    /// `{body./pointer}`.
    pub(in crate::policy) json: Vec<Pointer>,
    /// `{form.NAME}`.
    pub(in crate::policy) form: BoundQuery,
    /// `{soap.operation}`.
    pub(in crate::policy) soap: bool,
}

/// Whether a request's body has to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Expected {
    /// There is none, or it is of a kind that nobody asks about.
    Nothing,
    /// All of it.
    Whole,
}

/// What a body says, as far as templates name it.
#[derive(Debug)]
pub(in crate::policy) enum BodyValues<'b> {
    /// Nobody has read it.
    Unread,
    /// There is none, or nothing in it is named.
    Nothing,
    /// JSON.
    Json(json::Values<'b>),
    /// Urlencoded parameters: the number, the value, and whether some server reads another value.
    Form(Vec<(usize, Cow<'b, str>, bool)>),
    /// The operation of a SOAP message.
    Soap(&'b str),
}

/// Why a body, or the head before it, is refused.
#[derive(Debug, thiserror::Error)]
pub(in crate::policy) enum BodyError {
    /// Headers or parameters that servers read differently.
    #[error(transparent)]
    Bound(#[from] BoundError),
    /// 415: no type, several, or one that is none.
    #[error("the body has no type, or `Content-Type` is not exactly one media type")]
    NoType,
    /// 415: another type than the one that is read.
    #[error("the body's type is not {0}")]
    OtherType(&'static str),
    /// 415: a type that servers read parameters from in ways of their own.
    #[error("servers may read parameters from a body of this type")]
    Multipart,
    /// 415: compressed.
    #[error("the body has a `Content-Encoding`")]
    Encoded,
    /// 415: another character set.
    #[error("the body is not UTF-8 without a byte order mark")]
    NotUtf8,
    /// 400: no JSON with one meaning.
    #[error("the body is refused: {0}")]
    Json(json::Fault),
    /// 400: no SOAP message with one meaning.
    #[error("the body is refused: {0}")]
    Soap(soap::Fault),
    /// 400: a parameter of the body asks the server for another method.
    #[error("the body names a second method")]
    MethodOverride,
    /// 400: an action beside the message asks for another operation than the message.
    #[error("the operation `{0}` is not the one of `SOAPAction` or `action`")]
    OtherAction(Box<str>),
}

impl BodyError {
    /// What is answered.
    pub(in crate::policy) fn cause(&self) -> Cause {
        match self {
            Self::Bound(error) => error.cause(),
            Self::NoType | Self::OtherType(_) | Self::Multipart | Self::Encoded | Self::NotUtf8 => {
                Cause::UnreadableBody
            }
            Self::Json(_) | Self::Soap(_) | Self::MethodOverride | Self::OtherAction(_) => Cause::Body,
        }
    }
}

impl BodyNames {
    /// What the route reads. `query` are the query parameters that it binds; where servers may mix those with the
    /// parameters of a form, neither may stand where the other belongs.
    pub(in crate::policy) fn rules(self, query: &mut BoundQuery, quirks: &Quirks) -> Option<BodyRules> {
        let mixed = quirks.form_parameters == FormParameters::Mixed;
        let mut headers = BoundHeaders::default();
        headers.bind(&header::CONTENT_TYPE);
        headers.bind(&header::CONTENT_ENCODING);
        let kind = if !self.json.is_empty() {
            Kind::Json(self.json.into())
        } else if self.soap {
            headers.bind(&soap_action());
            Kind::Soap
        } else if !self.form.is_empty() {
            let mut form = self.form;
            if mixed {
                form.exclude(query);
                query.exclude(&form);
            }
            Kind::Form(form)
        } else if mixed && !query.is_empty() {
            let mut form = BoundQuery::default();
            form.exclude(query);
            Kind::Separate(form)
        } else {
            return None;
        };
        Some(BodyRules { kind, headers, method_override: quirks.method_override })
    }
}

impl BodyRules {
    /// Whether types or conditions of the route ask about values in bodies.
    pub(in crate::policy) fn are_asked_about(&self) -> bool {
        !matches!(self.kind, Kind::Separate(_))
    }

    /// What is read of bodies, in words.
    pub(in crate::policy) fn reads(&self) -> &'static str {
        match self.kind {
            Kind::Json(_) => "JSON, read before deciding",
            Kind::Form(_) => "a urlencoded form, read before deciding",
            Kind::Soap => "SOAP, read before deciding",
            Kind::Separate(_) => {
                "streamed; urlencoded forms are read, for bound query parameters must not stand in them"
            }
        }
    }

    /// A type that the bodies may have which are read.
    pub(in crate::policy) fn media_type(&self) -> &'static str {
        match self.kind {
            Kind::Json(_) => "application/json",
            Kind::Soap => "text/xml",
            Kind::Form(_) | Kind::Separate(_) => "application/x-www-form-urlencoded",
        }
    }

    /// Two parameters that servers may read as one, if there are any.
    pub(in crate::policy) fn indistinguishable(&self) -> Option<(&str, &str)> {
        match &self.kind {
            Kind::Form(form) => form.indistinguishable(),
            Kind::Json(_) | Kind::Soap | Kind::Separate(_) => None,
        }
    }

    /// Judges by the head alone whether a body has to be read.
    ///
    /// # Errors
    /// Bodies of a kind that cannot be read, or that servers read differently.
    pub(in crate::policy) fn expect(&self, head: &Head<'_>) -> Result<Expected, BodyError> {
        self.headers.check(head.headers)?;
        let media_type = MediaType::of(head.headers)?;
        let readable = match &self.kind {
            Kind::Json(_) => media_type.is_json().then_some(()).ok_or(BodyError::OtherType("JSON")),
            Kind::Form(_) => media_type.is_form().then_some(()).ok_or(BodyError::OtherType("urlencoded")),
            Kind::Soap => media_type.is_soap().then_some(()).ok_or(BodyError::OtherType("XML of SOAP")),
            Kind::Separate(_) if media_type.is_form() => Ok(()),
            Kind::Separate(_) if media_type.may_hold_parameters() => Err(BodyError::Multipart),
            Kind::Separate(_) => return Ok(Expected::Nothing),
        };
        readable?;
        if head.headers.contains_key(header::CONTENT_ENCODING) {
            return Err(BodyError::Encoded);
        }
        if media_type.is_utf8() { Ok(Expected::Whole) } else { Err(BodyError::NotUtf8) }
    }

    /// Reads a body that was expected.
    ///
    /// # Errors
    /// What is malformed, or has another meaning to some server.
    pub(in crate::policy) fn read<'b>(&self, head: &Head<'_>, body: &'b [u8]) -> Result<BodyValues<'b>, BodyError> {
        if body.is_empty() {
            return Ok(BodyValues::Nothing);
        }
        match &self.kind {
            Kind::Json(pointers) => json::scan(body, pointers).map(BodyValues::Json).map_err(|fault| match fault {
                json::Fault::NotUtf8 => BodyError::NotUtf8,
                fault => BodyError::Json(fault),
            }),
            Kind::Form(names) | Kind::Separate(names) => {
                let text = std::str::from_utf8(body).map_err(|_| BodyError::NotUtf8)?;
                if text.starts_with('\u{feff}') {
                    return Err(BodyError::NotUtf8);
                }
                let found = names.read(Some(Query::of(text)))?;
                if self.method_override != MethodOverride::Ignore && overrides(head.method, text) {
                    return Err(BodyError::MethodOverride);
                }
                let wavering = found.wavering;
                let values = found.values.into_iter().map(|(number, text)| (number, text, wavering.contains(&number)));
                Ok(BodyValues::Form(values.collect()))
            }
            Kind::Soap => operation(head, body).map(BodyValues::Soap),
        }
    }

    /// What records keep of a body that was read: every value that a template of the route names.
    pub(in crate::policy) fn recorded(&self, values: &BodyValues<'_>) -> Vec<(String, Value)> {
        let sources: Vec<ValueSource> = match &self.kind {
            Kind::Json(pointers) => {
                let source =
                    |(index, pointer): (usize, &Pointer)| ValueSource::Body { index, pointer: pointer.clone() };
                pointers.iter().enumerate().map(source).collect()
            }
            Kind::Form(form) => {
                let source = |(index, name): (usize, &str)| ValueSource::Form { index, name: name.into() };
                form.names().enumerate().map(source).collect()
            }
            Kind::Soap => vec![ValueSource::Operation],
            Kind::Separate(_) => Vec::new(),
        };
        sources.iter().filter_map(|source| Some((source.to_string(), recorded(values.texts(source))?))).collect()
    }
}

/// One value as text, several as a list, none not at all; more than anybody reads are only counted.
pub(in crate::policy) fn recorded<'v>(texts: impl Iterator<Item = Option<&'v str>>) -> Option<Value> {
    let mut kept = Vec::new();
    let (mut count, mut bytes) = (0_usize, 0_usize);
    for text in texts {
        (count, bytes) = (count + 1, bytes.saturating_add(text.map_or(0, str::len)));
        if count <= RECORDED && bytes <= RECORDED_BYTES {
            kept.push(text.map_or(Value::Null, Value::from));
        }
    }
    if count > kept.len() {
        return Some(serde_json::json!({ "count": count }));
    }
    if count == 1 { kept.pop() } else { Some(Value::Array(kept)).filter(|_| count > 0) }
}

/// The operation of a message, which nothing beside it contradicts.
fn operation<'b>(head: &Head<'_>, body: &'b [u8]) -> Result<&'b str, BodyError> {
    let message = soap::read(body).map_err(|fault| match fault {
        soap::Fault::NotUtf8 => BodyError::NotUtf8,
        fault => BodyError::Soap(fault),
    })?;
    let media_type = MediaType::of(head.headers)?;
    let mut beside: Vec<Cow<'_, str>> = media_type.action().map(Cow::Borrowed).into_iter().collect();
    beside.extend(head.headers.get_all(soap_action()).iter().map(|value| String::from_utf8_lossy(value.as_bytes())));
    let agrees = beside.iter().all(|action| message.agrees_with(action)) && message.agrees_with_itself();
    // Of several fields a server reads one, or a list of all.
    let several = head.headers.get_all(soap_action()).iter().nth(1).is_some();
    if agrees && !several { Ok(message.operation) } else { Err(BodyError::OtherAction(message.operation.into())) }
}

/// Whether a form names another method than the request's, as those do that browsers cannot send otherwise.
fn overrides(method: &str, form: &str) -> bool {
    !matches!(overriding(method, &HeaderMap::new(), Some(form)), Override::Absent | Override::Same)
}

/// What says beside a SOAP 1.1 message which operation it is for.
pub(in crate::policy) fn soap_action() -> HeaderName {
    HeaderName::from_static("soapaction")
}

impl BodyValues<'_> {
    /// Every value of a source; none of one that is not in bodies.
    pub(in crate::policy) fn texts<'a>(&'a self, source: &'a ValueSource) -> impl Iterator<Item = Option<&'a str>> {
        let json = match (self, source) {
            (Self::Json(values), ValueSource::Body { index, .. }) => Some(values.of(*index)),
            _ => None,
        };
        let form = match (self, source) {
            (Self::Form(values), ValueSource::Form { index, .. }) => {
                let named = values.iter().filter(move |(number, ..)| number == index);
                Some(named.map(|(_, text, _)| Some(&**text)))
            }
            _ => None,
        };
        let operation = match (self, source) {
            (Self::Soap(operation), ValueSource::Operation) => Some(Some(*operation)),
            _ => None,
        };
        json.into_iter().flatten().chain(form.into_iter().flatten()).chain(operation)
    }

    /// Whether some server reads another value.
    pub(in crate::policy) fn wavers(&self, source: &ValueSource) -> bool {
        match (self, source) {
            (Self::Form(values), ValueSource::Form { index, .. }) => {
                values.iter().any(|(number, _, differs)| number == index && *differs)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_values_as_far_as_somebody_may_read_them() {
        let of = |text: &str, count: usize| recorded(std::iter::repeat_n(Some(text), count));
        assert_eq!(of("a", 0), None);
        assert_eq!(of("a", 1), Some("a".into()));
        assert_eq!(of("a", 2), Some(serde_json::json!(["a", "a"])));
        assert_eq!(recorded([None, Some("a")].into_iter()), Some(serde_json::json!([null, "a"])));
        assert_eq!(of("a", RECORDED).and_then(|kept| Some(kept.as_array()?.len())), Some(RECORDED));
        assert_eq!(of("a", RECORDED + 1), Some(serde_json::json!({"count": RECORDED + 1})));
        let long = "a".repeat(RECORDED_BYTES);
        assert_eq!(of(&long, 1), Some(long.clone().into()));
        assert_eq!(of(&long, 2), Some(serde_json::json!({"count": 2})));
        assert_eq!(of(&format!("{long}a"), 1), Some(serde_json::json!({"count": 1})));
    }
}
