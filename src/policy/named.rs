//! What policies name of requests and tokens, over all documents: records keep it, so that a decision can be made again
//! from them.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use serde_json::Value;

use crate::policy::condition::{Condition, Test};
use crate::policy::forward::{Effects, Part, PrincipalValue};
use crate::policy::route::Route;
use crate::policy::template::ValueSource;
use crate::principal::{ClaimPath, Principal};
use crate::target::query::{Separator, decode, parameters};

/// Every claim and request value that any document names. Captures are their route's own.
#[derive(Debug, Default)]
pub(in crate::policy) struct Named {
    claims: BTreeSet<ClaimPath>,
    query: BTreeSet<Box<str>>,
    headers: Vec<(HeaderName, Box<str>)>,
}

impl Named {
    /// What these routes name.
    pub(in crate::policy) fn of(routes: &[Arc<Route>]) -> Self {
        let mut named = Self::default();
        for route in routes {
            route.conditions.iter().for_each(|condition| named.condition(condition));
            route.typed.iter().for_each(|typed| named.source(&typed.source));
            named.query.extend(route.query.iter().map(|read| read.name.clone()));
            named.effects(&route.effects);
        }
        named
    }

    /// What a request and a token have of it.
    pub(in crate::policy) fn values(
        &self,
        query: Option<&str>,
        headers: &HeaderMap,
        principal: Option<&Principal>,
        values: &mut Vec<(String, Value)>,
    ) {
        for name in &self.query {
            let texts = query.into_iter().flat_map(parameters).filter(|parameter| {
                parameter.separator == Separator::Ampersand && decode(parameter.raw_name) == name.as_bytes()
            });
            let texts = texts.map(|parameter| decode(parameter.raw_value.unwrap_or_default()));
            push(format!("query.{name}"), texts.map(|text| String::from_utf8_lossy(&text).into_owned()), values);
        }
        for (name, written) in &self.headers {
            let texts =
                headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            push(format!("header.{written}"), texts, values);
        }
        for path in self.claims.iter().filter(|_| principal.is_some()) {
            if let Some(value) = principal.and_then(|principal| path.find(&principal.claims)) {
                let name = match &*path.0 {
                    [only] => format!("claim.{only}"),
                    keys => {
                        let keys = keys.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1")));
                        format!("claim.{}", keys.collect::<String>())
                    }
                };
                values.push((name, value.clone()));
            }
        }
    }

    fn condition(&mut self, condition: &Condition) {
        condition.each_template(&mut |template| self.source(&template.source));
        self.claims_of(condition);
    }

    fn claims_of(&mut self, condition: &Condition) {
        match &condition.test {
            Test::AllOf(parts) | Test::AnyOf(parts) => parts.iter().for_each(|part| self.claims_of(part)),
            Test::Not(part) => self.claims_of(part),
            Test::Claim(path, _) => {
                self.claims.insert(path.clone());
            }
            Test::Organization(_)
            | Test::Subject(_)
            | Test::Client(_)
            | Test::Request(..)
            | Test::Scope(_)
            | Test::Permission(_)
            | Test::Flow(_)
            | Test::Global(_)
            | Test::Issuer(..)
            | Test::Acr(_)
            | Test::MaxAge(_)
            | Test::Network(_)
            | Test::Narrow(_)
            | Test::Certificate(..) => {}
        }
    }

    fn effects(&mut self, effects: &Effects) {
        let headers = effects.headers.iter().flat_map(|setting| &setting.parts);
        for part in headers.chain(effects.query.iter().flat_map(|setting| &setting.parts)) {
            match part {
                Part::Principal(PrincipalValue::Claim(path)) => {
                    self.claims.insert(path.clone());
                }
                Part::Request(template) => self.source(&template.source),
                Part::Text(_) | Part::Principal(_) => {}
            }
        }
    }

    fn source(&mut self, source: &ValueSource) {
        if let ValueSource::Header { name, written } = source
            && !source.is_credential()
            && !self.headers.iter().any(|(known, _)| known == name)
        {
            self.headers.push((name.clone(), written.clone()));
        }
    }
}

/// One value as text, several as a list, none not at all.
fn push(name: String, texts: impl Iterator<Item = String>, values: &mut Vec<(String, Value)>) {
    let mut texts: Vec<_> = texts.map(Value::String).collect();
    match (texts.pop(), texts.is_empty()) {
        (None, _) => {}
        (Some(only), true) => values.push((name, only)),
        (Some(last), false) => {
            texts.push(last);
            values.push((name, Value::Array(texts)));
        }
    }
}
