//! What templates of a route can name: captures, query parameters, headers, and their types.

use http::HeaderName;

use crate::diagnostic::Place;
use crate::json::Pointer;
use crate::policy::body::BodyNames;
use crate::policy::bound::{BoundHeaders, BoundQuery};
use crate::policy::host::is_capture_name;
use crate::policy::template::{Template, ValueSource};
use crate::policy::value_type::ValueType;
use crate::target::fold::starts_folded;

use super::report::Report;

/// The names of one route, and what was asked of them so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Names of headers that begin so are removed from requests, folded; and those among them that are not.
    pub(super) removed: (String, Vec<String>),
    /// The capture that every host pattern of the document has.
    pub(super) host: Option<String>,
    /// Captures that only some of its host patterns have.
    pub(super) partial_hosts: Vec<String>,
    /// Captures of the path, in order.
    pub(super) captures: Vec<String>,
    /// The path cannot be read, which was reported: whatever is looked for may be in it.
    pub(super) unreadable: bool,
    /// Types under `params`, by what they are written for.
    pub(super) types: Vec<(String, ValueType)>,
    /// Query parameters that are read.
    pub(super) query: Vec<ReadParameter>,
    /// Those of them that are bound.
    pub(super) bound_query: BoundQuery,
    /// Headers that conditions read: bound.
    pub(super) bound_headers: BoundHeaders,
    /// Captures that take part in a condition.
    pub(super) used: Vec<String>,
    /// Values of the body.
    pub(super) body: BodyNames,
    /// The value of the body that was named first, and where.
    pub(super) body_first: Option<(String, Place)>,
}

/// A query parameter that a route reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct ReadParameter {
    /// Its name, decoded.
    pub(in crate::policy) name: Box<str>,
    /// Its number among the route's bound parameters: `require` names it, or `forward.query` sets it.
    pub(in crate::policy) bound: Option<usize>,
    /// Where in the parameter's JSON the value stands; the whole text without.
    pub(in crate::policy) pointer: Option<Pointer>,
}

/// What a value is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// A condition asks about it: it is bound.
    Condition,
    /// It is written into a header or parameter, or has a type.
    Effect,
}

/// Text of a policy that may hold a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written<'t> {
    /// Plain text.
    Literal(&'t str),
    /// `{name}`, and nothing around it.
    Template(&'t str),
    /// Braces that are no template, or one with text around it.
    Mixed,
}

/// Tells a template from a literal.
pub(super) fn written(text: &str) -> Written<'_> {
    if !text.contains(['{', '}']) {
        return Written::Literal(text);
    }
    match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(inner) if !inner.contains(['{', '}']) && !inner.is_empty() => Written::Template(inner),
        _ => Written::Mixed,
    }
}

impl Names {
    /// The value that a template names, without its braces. Reports what is wrong and answers nothing then.
    pub(super) fn template(&mut self, inner: &str, used: Use, place: &Place, report: &mut Report) -> Option<Template> {
        let source = self.source(inner, used, place, report)?;
        let separator = self.type_of(inner).and_then(ValueType::separator).map(Into::into);
        Some(Template { source, separator })
    }

    /// The type that `params` gives to a value.
    pub(super) fn type_of(&self, written: &str) -> Option<&ValueType> {
        self.types.iter().find(|(name, _)| same_value(name, written)).map(|(_, kind)| kind)
    }

    /// Where a value is found.
    pub(super) fn source(&mut self, inner: &str, used: Use, place: &Place, report: &mut Report) -> Option<ValueSource> {
        if let Some(name) = inner.strip_prefix("query.") {
            return self.parameter(name, used, place, report);
        }
        if let Some(name) = inner.strip_prefix("header.") {
            return self.header(name, used, place, report);
        }
        if let Some(name) = inner.strip_prefix("form.") {
            return self.form(name, place, report);
        }
        if let Some(pointer) = inner.strip_prefix("body.") {
            return self.body(pointer, place, report);
        }
        if let Some(name) = inner.strip_prefix("soap.") {
            return self.soap(name, place, report);
        }
        if inner.starts_with("claim.") {
            let message = format!("`{{{inner}}}` is no value of the request");
            report.wrong(place.clone(), message, "tests of claims are written under `claim:`");
            return None;
        }
        self.capture(inner, used, place, report)
    }

    fn parameter(&mut self, name: &str, used: Use, place: &Place, report: &mut Report) -> Option<ValueSource> {
        let (name, pointer) = match name.split_once('#') {
            None => (name, None),
            Some((name, pointer)) => (name, Some(pointer_of(pointer, place, report)?)),
        };
        if name.is_empty() {
            report.wrong(place.clone(), "a query parameter without a name", "write `query.NAME`");
            return None;
        }
        if let Some(pointer) = pointer {
            let name_and_pointer = format!("{name}#{pointer}").into();
            let index = self.read(name, Some(&pointer));
            self.bind(name);
            return Some(ValueSource::Query { index, name: name_and_pointer });
        }
        let index = self.read(name, None);
        if used == Use::Condition {
            self.bind(name);
        }
        Some(ValueSource::Query { index, name: name.into() })
    }

    /// The position of a parameter that is read.
    fn read(&mut self, name: &str, pointer: Option<&Pointer>) -> usize {
        let known = |known: &ReadParameter| *known.name == *name && known.pointer.as_ref() == pointer;
        self.query.iter().position(known).unwrap_or_else(|| {
            let bound = self.query.iter().find(|known| *known.name == *name).and_then(|known| known.bound);
            self.query.push(ReadParameter { name: name.into(), bound, pointer: pointer.cloned() });
            self.query.len() - 1
        })
    }

    /// Binds a parameter: what servers may read as it must be spelt exactly so.
    pub(super) fn bind(&mut self, name: &str) {
        let number = self.bound_query.bind(name);
        if !self.query.iter().any(|known| *known.name == *name) {
            self.read(name, None);
        }
        for known in self.query.iter_mut().filter(|known| *known.name == *name) {
            known.bound = Some(number);
        }
    }

    /// `{form.NAME}`. Whatever it is used for, it is bound: what servers may read as it must be spelt exactly so.
    fn form(&mut self, name: &str, place: &Place, report: &mut Report) -> Option<ValueSource> {
        if name.is_empty() {
            report.wrong(place.clone(), "a form parameter without a name", "write `form.NAME`");
            return None;
        }
        self.one_kind(&format!("form.{name}"), place, report)?;
        Some(ValueSource::Form { index: self.body.form.bind(name), name: name.into() })
    }

    /// `{body./pointer}`.
    fn body(&mut self, written: &str, place: &Place, report: &mut Report) -> Option<ValueSource> {
        let pointer = pointer_of(written, place, report)?;
        self.one_kind(&format!("body.{written}"), place, report)?;
        let known = self.body.json.iter().position(|known| *known == pointer);
        let index = known.unwrap_or_else(|| {
            self.body.json.push(pointer.clone());
            self.body.json.len() - 1
        });
        Some(ValueSource::Body { index, pointer })
    }

    /// `{soap.operation}`.
    fn soap(&mut self, name: &str, place: &Place, report: &mut Report) -> Option<ValueSource> {
        if name != "operation" {
            report.unknown(place.clone(), "request value", &format!("soap.{name}"), ["soap.operation"]);
            return None;
        }
        self.one_kind("soap.operation", place, report)?;
        self.body.soap = true;
        Some(ValueSource::Operation)
    }

    /// A body is urlencoded, JSON or XML: one route reads one of them.
    fn one_kind(&mut self, named: &str, place: &Place, report: &mut Report) -> Option<()> {
        let kind = |named: &str| named.split_once('.').map(|(kind, _)| kind.to_owned());
        let (first, other) = self.body_first.get_or_insert_with(|| (named.to_owned(), place.clone()));
        if kind(first) == kind(named) {
            return Some(());
        }
        let message = format!("`{{{named}}}` and `{{{first}}}` cannot both have a value: a body is of one kind");
        if let Some(found) = report.error(place.clone(), message) {
            let help =
                "name values of one kind of body in a route: urlencoded (`form.`), JSON (`body.`) or XML (`soap.`)";
            found.help(help).related(other.clone(), "the other one");
        }
        None
    }

    fn header(&mut self, written: &str, used: Use, place: &Place, report: &mut Report) -> Option<ValueSource> {
        let Ok(name) = HeaderName::from_bytes(written.as_bytes()) else {
            report.wrong(
                place.clone(),
                format!("`{written}` is not a header name"),
                "write a name such as `X-Api-Version`",
            );
            return None;
        };
        let (prefix, passed) = &self.removed;
        let removed = !prefix.is_empty()
            && starts_folded(written, prefix)
            && !passed.iter().any(|passed| passed.eq_ignore_ascii_case(written));
        if removed {
            let message = format!("`{written}` has the prefix of identity headers, which are removed from requests");
            let help = "ask about another header, or name this one under `identity.pass` in torwart.yaml";
            report.wrong(place.clone(), message, help);
            return None;
        }
        if used == Use::Condition {
            self.bound_headers.bind(&name);
        }
        Some(ValueSource::Header { name, written: written.into() })
    }

    fn capture(&mut self, name: &str, used: Use, place: &Place, report: &mut Report) -> Option<ValueSource> {
        if let Some(index) = self.captures.iter().position(|known| known == name) {
            self.note(name, used);
            return Some(ValueSource::Capture { index, name: name.into() });
        }
        if self.host.as_deref() == Some(name) {
            self.note(name, used);
            return Some(ValueSource::Host { name: name.into() });
        }
        if self.partial_hosts.iter().any(|known| known == name) {
            let message = format!("not every host of this policy has the capture `{name}`");
            report.wrong(place.clone(), message, "give every entry of `hosts` the same capture, or move the route");
            return None;
        }
        if self.unreadable {
            return None;
        }
        if !is_capture_name(name) {
            let help = "write a capture such as `{customer}`, `{query.NAME}` or `{header.NAME}`";
            report.wrong(place.clone(), format!("`{{{name}}}` is not a template"), help);
            return None;
        }
        let known: Vec<_> = self.captures.iter().chain(&self.host).map(String::as_str).collect();
        report.unknown(place.clone(), "capture", name, known);
        None
    }

    fn note(&mut self, name: &str, used: Use) {
        if used == Use::Condition {
            self.used.push(name.to_owned());
        }
    }
}

/// A JSON pointer, or a report of what is wrong with it.
fn pointer_of(written: &str, place: &Place, report: &mut Report) -> Option<Pointer> {
    match Pointer::parse(written) {
        Ok(pointer) => Some(pointer),
        Err(error) => {
            report.wrong(place.clone(), format!("`{written}` is not a JSON pointer"), error.to_string());
            None
        }
    }
}

/// Whether two spellings name one value: header names have no case.
fn same_value(left: &str, right: &str) -> bool {
    match (left.strip_prefix("header."), right.strip_prefix("header.")) {
        (Some(left), Some(right)) => left.eq_ignore_ascii_case(right),
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_stands_alone() {
        assert_eq!(written("{customer}"), Written::Template("customer"));
        assert_eq!(written("{query.a b}"), Written::Template("query.a b"));
        assert_eq!(written("kusy"), Written::Literal("kusy"));
        for text in ["x{customer}", "{customer}x", "{a}{b}", "{", "}", "{}", "{{a}}"] {
            assert_eq!(written(text), Written::Mixed, "{text}");
        }
    }
}
