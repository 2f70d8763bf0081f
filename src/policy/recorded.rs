//! What a record keeps of a request beside its values, so that the decision can be made again: everything that makes a
//! request ambiguous, and nothing that no policy names.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::Value;

use crate::policy::Head;
use crate::policy::bound::is_ambiguous_header;
use crate::policy::named::Named;
use crate::policy::placed::Placed;
use crate::target::fold::folds_to_any;
use crate::target::method::OVERRIDE_HEADERS;
use crate::target::query::{check_escapes, fold_name, parameters};

/// A parameter that cannot be decoded, for a query that has one somewhere.
const UNDECODABLE: &str = "%";

impl Placed<'_> {
    /// The method that was asked about.
    pub fn method(&self) -> &str {
        self.head.method
    }

    /// Each fact under its name, where there is one: `query` is what servers may take for a parameter that a policy names,
    /// as sent; `headers` are those that policies name and that came in a second spelling or as an option of
    /// `Connection`; `method_override` is what the headers of that purpose say; `body` says that one follows, and of what
    /// kind.
    pub fn facts(&self) -> Vec<(&'static str, Value)> {
        let mut facts = Vec::new();
        facts.extend(query(&self.policies.named, self.target.query()).map(|query| ("query", query.into())));
        let headers = irregular(&self.policies.named, self.head);
        facts.extend((!headers.is_empty()).then(|| ("headers", headers.into())));
        let overriding = overriding(self.head.headers);
        facts.extend((!overriding.is_empty()).then(|| ("method_override", overriding.into())));
        facts.extend(self.head.has_body.then(|| ("body", described(self.head.headers))));
        facts
    }
}

/// The parts of the query that have to do with a named parameter or a second method, byte for byte.
fn query(named: &Named, query: Option<&str>) -> Option<String> {
    let query = query.filter(|query| !query.is_empty())?;
    let folded = named.folded_query();
    let concerns = |raw_name: &str| {
        let name = fold_name(raw_name);
        name == "_method" || folded.contains(&name)
    };
    let kept = query.split('&').filter(|whole| {
        parameters(whole).any(|parameter| {
            let head = parameter.raw_name.split_once(';').map(|(head, _)| head);
            concerns(parameter.raw_name) || head.is_some_and(concerns)
        })
    });
    let mut kept: Vec<&str> = kept.collect();
    if !folded.is_empty() && check_escapes(query).is_err() && kept.iter().all(|piece| check_escapes(piece).is_ok()) {
        kept.push(UNDECODABLE);
    }
    (!kept.is_empty()).then(|| kept.join("&"))
}

/// Named headers that a route which binds them would refuse the request for, and those that describe the body.
fn irregular(named: &Named, head: Head<'_>) -> Vec<Value> {
    let of_body = [CONTENT_TYPE, CONTENT_ENCODING].into_iter().filter(|_| head.has_body);
    let of_body = of_body.filter(|name| is_ambiguous_header(name, head.headers)).map(|name| name.as_str().into());
    named.ambiguous(head.headers).map(Value::from).chain(of_body).collect()
}

/// Values of headers that override the method.
fn overriding(headers: &HeaderMap) -> Vec<Value> {
    let named = headers.iter().filter(|(name, _)| folds_to_any(name.as_str(), &OVERRIDE_HEADERS));
    named.map(|(_, value)| String::from_utf8_lossy(value.as_bytes()).into_owned().into()).collect()
}

/// What the head says about its body.
fn described(headers: &HeaderMap) -> Value {
    let named = [CONTENT_TYPE, CONTENT_ENCODING].into_iter().map(|name| {
        let values = headers.get_all(&name).iter();
        let values = values.map(|value| Value::from(String::from_utf8_lossy(value.as_bytes())));
        (name.as_str().to_owned(), values.collect())
    });
    Value::Object(named.collect())
}

#[cfg(test)]
mod tests;
