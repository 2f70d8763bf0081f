//! What a route reads of a request: query parameters, JSON in them, and the body.

use std::borrow::Cow;

use crate::json;
use crate::policy::Caller;
use crate::policy::body::{BodyError, BodyValues, Expected, recorded};
use crate::policy::bound::BoundError;
use crate::policy::compile::ReadParameter;
use crate::policy::evaluate::Parameter;
use crate::policy::placed::{Parameters, Placed};
use crate::policy::route::Route;
use crate::policy::table::Outcome;
use crate::target::query::{Separator, decode, decode_text, parameters};

impl Placed<'_> {
    /// The parameters that a route reads, after a check that every server reads those that are bound as policy does.
    pub(in crate::policy) fn bound_values(&self, route: &Route) -> Result<Parameters<'_>, BoundError> {
        route.bound_headers.check(self.head.headers)?;
        if route.query.is_empty() && route.bound_query.is_empty() {
            return Ok(Parameters::new());
        }
        if !route.bound_query.is_empty() && route.may_end_at_semicolon() && self.target.path().contains(';') {
            return Err(BoundError::InPath);
        }
        let bound = route.bound_query.read(self.target.read_query())?;
        let mut found = Parameters::new();
        if route.query.iter().any(|read| read.bound.is_none()) {
            found = self.parameters(route, |read| read.bound.is_none());
        }
        for (number, text) in bound.values {
            let differs = bound.wavering.contains(&number);
            json_values(route, number, &text, differs, &mut found)?;
            let whole = |read: &ReadParameter| read.bound == Some(number) && read.pointer.is_none();
            if let Some(index) = route.query.iter().position(whole) {
                found.push(Parameter { index, text: Some(text), differs });
            }
        }
        Ok(found)
    }

    /// The parameters of those that a route reads, decoded.
    pub(in crate::policy) fn parameters(
        &self,
        route: &Route,
        wanted: impl Fn(&ReadParameter) -> bool,
    ) -> Parameters<'_> {
        let mut found = Parameters::new();
        if route.query.is_empty() {
            return found;
        }
        for parameter in self.target.query().into_iter().flat_map(parameters) {
            if parameter.separator == Separator::Semicolon {
                continue;
            }
            let name = decode(parameter.raw_name);
            let read = route
                .query
                .iter()
                .position(|read| read.name.as_bytes() == &*name && read.pointer.is_none() && wanted(read));
            if let Some(index) = read {
                let raw = parameter.raw_value.unwrap_or_default();
                found.push(Parameter { index, text: decode_text(raw), differs: raw.contains(';') });
            }
        }
        found
    }

    /// Whether the request's body has to be read for this route.
    pub(in crate::policy) fn expected(&self, route: &Route, body: Option<&[u8]>) -> Result<Expected, BodyError> {
        let there = self.head.has_body || body.is_some_and(|body| !body.is_empty());
        match &route.body {
            Some(rules) if there => rules.expect(&self.head),
            Some(_) | None => Ok(Expected::Nothing),
        }
    }

    /// What the body says that was read for this route; unread where it was not, or says nothing that can be told.
    pub(in crate::policy) fn body_values<'b>(
        &self,
        route: &Route,
        body: Option<&'b [u8]>,
    ) -> Result<BodyValues<'b>, BodyError> {
        match (self.expected(route, body)?, &route.body, body) {
            (Expected::Whole, Some(rules), Some(body)) => rules.read(&self.head, body),
            (Expected::Whole, _, _) => Ok(BodyValues::Unread),
            (Expected::Nothing, _, _) => Ok(BodyValues::Nothing),
        }
    }

    /// Request values and claims that policies name, for records: `customer`, `query.ids`, `header.X-Tenant`,
    /// `claim.tenant`, each with every value found.
    pub fn values(&self, caller: &Caller<'_>) -> Vec<(String, serde_json::Value)> {
        self.recorded(caller, None)
    }

    /// The same, with the values of a body that was read: `body./items/*/id`, `form.id`, `soap.operation`.
    pub fn values_with_body(&self, caller: &Caller<'_>, body: &[u8]) -> Vec<(String, serde_json::Value)> {
        self.recorded(caller, Some(body))
    }

    /// Values in the JSON of query parameters.
    fn recorded_json(&self, route: &Route) -> Vec<(String, serde_json::Value)> {
        let pointers =
            route.query.iter().enumerate().filter_map(|(index, read)| Some((index, read, read.pointer.as_ref()?)));
        let mut pointers = pointers.peekable();
        if pointers.peek().is_none() {
            return Vec::new();
        }
        let Ok(found) = self.bound_values(route) else { return Vec::new() };
        let values = pointers.filter_map(|(index, read, pointer)| {
            let texts =
                found.iter().filter(|parameter| parameter.index == index).map(|parameter| parameter.text.as_deref());
            Some((format!("query.{}#{pointer}", read.name), recorded(texts)?))
        });
        values.collect()
    }

    fn recorded(&self, caller: &Caller<'_>, body: Option<&[u8]>) -> Vec<(String, serde_json::Value)> {
        let mut values = Vec::new();
        if let Outcome::Route(route, captures) | Outcome::Ambiguous { matched: Some((route, captures)), .. } =
            &self.outcome
        {
            let host = route.host_capture.iter().zip(std::iter::once(captures.host));
            for (name, text) in route.captures.iter().zip(captures.path.texts()).chain(host) {
                if let Some(text) = text {
                    values.push((name.to_string(), text.into()));
                }
            }
            values.extend(self.recorded_json(route));
            if let (Some(rules), Ok(read)) = (&route.body, self.body_values(route, body)) {
                values.extend(rules.recorded(&read));
            }
        }
        self.policies.named.values(self.target.query(), self.head.headers, caller.principal, &mut values);
        values
    }
}

/// The values in a parameter's JSON.
fn json_values(
    route: &Route,
    number: usize,
    text: &str,
    differs: bool,
    found: &mut Parameters<'_>,
) -> Result<(), BoundError> {
    let read = || {
        let numbered = route.query.iter().enumerate().filter(|(_, read)| read.bound == Some(number));
        numbered.filter_map(|(index, read)| Some((index, read.pointer.as_ref()?)))
    };
    if read().next().is_none() {
        return Ok(());
    }
    let pointers: Vec<_> = read().map(|(_, pointer)| pointer).collect();
    let name = || route.query.iter().find(|read| read.bound == Some(number)).map_or("", |read| &read.name);
    let values = json::scan(text.as_bytes(), &pointers).map_err(|fault| BoundError::Json(name().into(), fault))?;
    for (position, (index, _)) in read().enumerate() {
        let texts = values.of(position).map(|text| text.map(|text| Cow::Owned(text.to_owned())));
        found.extend(texts.map(|text| Parameter { index, text, differs }));
    }
    Ok(())
}
