//! Lists that show only one's own: parameters that are kept to values of the principal (policy.md, "`narrow`").
//!
//! What is sent has to be the principal's in every way that a server might read it; what is not sent is set. Never is
//! an empty or missing parameter forwarded, which servers take for "no filter".

use std::fmt;

use serde_json::Value;

use crate::policy::equality::{Case, equal};
use crate::policy::evaluate::{Parameter, Question};
use crate::policy::forward::{Pieces, component};
use crate::policy::truth::Truth;
use crate::principal::Principal;

/// One parameter and whose values it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct Narrowing {
    /// Its name, decoded.
    pub(in crate::policy) name: Box<str>,
    /// Position among the route's read parameters.
    pub(in crate::policy) index: usize,
    /// Whose values.
    pub(in crate::policy) to: Owned,
    /// How several values are written.
    pub(in crate::policy) style: Style,
}

/// What of the principal's a parameter is kept to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Owned {
    /// Its organisations; everything when it is global.
    Organizations,
    /// Its subject; nothing for client credentials, which stand for no customer.
    Subject,
    /// Its client.
    Client,
    /// Its permissions.
    Permissions,
}

/// How several values stand in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Style {
    /// One parameter a value.
    Repeat,
    /// One parameter, values between commas.
    Comma,
    /// One parameter, a JSON array of strings.
    Json,
}

impl Narrowing {
    /// Whether the request asks for nothing but the principal's, or for nothing, so that the principal's can be set.
    pub(in crate::policy) fn evaluate(&self, principal: &Principal, question: &Question<'_>) -> Truth {
        if self.is_open(principal) {
            return Truth::True;
        }
        if self.is_pending(principal) {
            // What no server can read as a value is nobody's, unless nothing is kept from the principal.
            let may_open = self.to == Owned::Organizations && principal.pending.global;
            let readable = self.sent(question).all(|parameter| self.items(parameter).is_some());
            return if may_open || readable { question.supposed } else { Truth::False };
        }
        let mut sent = self.sent(question).peekable();
        if sent.peek().is_none() {
            return self.can_be_set(principal).into();
        }
        sent.all(|parameter| self.is_own(parameter, principal)).into()
    }

    /// Whether everything that is sent can be read in the declared style at all.
    pub(in crate::policy) fn is_readable(&self, question: &Question<'_>) -> bool {
        let json = |text: &str| serde_json::from_str::<Value>(text).is_ok();
        self.style != Style::Json || self.sent(question).all(|parameter| parameter.text.as_deref().is_some_and(json))
    }

    /// Adds the parameter with all the principal's values to a query, unless it was sent or nothing is kept from the
    /// principal; whether it did. Only for a request of which the narrowing holds.
    pub(in crate::policy) fn set(&self, principal: &Principal, question: &Question<'_>, query: &mut Pieces) -> bool {
        if self.is_open(principal) || self.sent(question).next().is_some() {
            return false;
        }
        let name = component(&self.name);
        let mut add = |value: &str| query.push(&format!("{name}={value}"));
        let values = self.values(principal);
        match self.style {
            Style::Repeat => values.for_each(|value| add(&component(value))),
            Style::Comma => add(&values.map(component).collect::<Vec<_>>().join(",")),
            Style::Json => add(&component(&Value::from(values.collect::<Vec<_>>()).to_string())),
        }
        true
    }

    /// Whether only userinfo knows the principal's values.
    pub(in crate::policy) fn is_pending(&self, principal: &Principal) -> bool {
        let pending = &principal.pending;
        match self.to {
            Owned::Organizations => !principal.is_global() && (pending.organizations || pending.global),
            Owned::Permissions => pending.permissions,
            Owned::Subject | Owned::Client => false,
        }
    }

    /// Whether everything is the principal's.
    pub(in crate::policy) fn is_open(&self, principal: &Principal) -> bool {
        self.to == Owned::Organizations && principal.is_global()
    }

    /// The parameter's values as they were sent.
    pub(in crate::policy) fn sent<'q>(
        &self,
        question: &Question<'q>,
    ) -> impl Iterator<Item = &'q Parameter<'q>> + use<'q> {
        let index = self.index;
        question.query.iter().filter(move |parameter| parameter.index == index)
    }

    /// Whether every value in one parameter is the principal's, however a server splits it.
    fn is_own(&self, parameter: &Parameter<'_>, principal: &Principal) -> bool {
        self.each(parameter, |item| self.has(item, principal))
    }

    /// Whether every value in one parameter passes; none does where servers may read others, or no value.
    fn each(&self, parameter: &Parameter<'_>, mut passes: impl FnMut(&str) -> bool) -> bool {
        // With a raw `;` in it, some servers read less than what is compared here.
        let Some(text) = parameter.text.as_deref().filter(|_| !parameter.differs) else { return false };
        match self.style {
            Style::Repeat => passes(text),
            Style::Comma => text.split(',').all(passes),
            Style::Json => match serde_json::from_str(text) {
                // An empty array says nothing that is the principal's, and would be read as no filter.
                Ok(Value::Array(items)) if !items.is_empty() => {
                    items.iter().all(|item| item.as_str().is_some_and(&mut passes))
                }
                _ => false,
            },
        }
    }

    /// The values in one parameter; nothing where servers may read others, or no value.
    pub(in crate::policy) fn items(&self, parameter: &Parameter<'_>) -> Option<Vec<String>> {
        let mut items = Vec::new();
        let readable = self.each(parameter, |item| {
            items.push(item.to_owned());
            is_value(item)
        });
        readable.then_some(items)
    }

    fn has(&self, value: &str, principal: &Principal) -> bool {
        let issuer = &principal.issuer;
        let case = Case::folded_if(match self.to {
            Owned::Organizations => issuer.organizations_fold,
            Owned::Subject => issuer.subject_folds,
            Owned::Client => issuer.client_folds,
            Owned::Permissions => issuer.permissions_fold,
        });
        is_value(value) && self.values(principal).any(|own| equal(own, value, case))
    }

    /// Whether the principal has values, and the style can tell them apart.
    fn can_be_set(&self, principal: &Principal) -> bool {
        let mut values = self.values(principal).peekable();
        values.peek().is_some() && (self.style != Style::Comma || values.all(|value| !value.contains(',')))
    }

    /// The principal's values.
    pub(in crate::policy) fn values<'p>(&self, principal: &'p Principal) -> impl Iterator<Item = &'p str> + use<'p> {
        let (many, one) = match self.to {
            Owned::Organizations => (principal.organizations.as_ref(), None),
            Owned::Permissions => (principal.permissions.as_ref(), None),
            Owned::Subject => (None, principal.customer()),
            Owned::Client => (None, principal.client.as_deref()),
        };
        many.into_iter().flatten().chain(one).filter(|value| is_value(value))
    }
}

/// Whether a server can take the text for a value: not for no filter, nor for the beginning of itself.
pub(in crate::policy) fn is_value(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains(char::is_control)
}

impl fmt::Display for Narrowing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = match self.to {
            Owned::Organizations => "organizations",
            Owned::Subject => "subject",
            Owned::Client => "client",
            Owned::Permissions => "permissions",
        };
        match self.style {
            Style::Repeat => write!(f, "narrow query.{}: {to}", self.name),
            Style::Comma => write!(f, "narrow query.{}: {{to: {to}, style: comma}}", self.name),
            Style::Json => write!(f, "narrow query.{}: {{to: {to}, style: json}}", self.name),
        }
    }
}

#[cfg(test)]
mod tests;
