//! What there is of what a condition asks about, in words.

use crate::policy::body::BodyValues;
use crate::policy::condition::{CertificateName, ClaimTest, Comparand, Operand, Test};
use crate::policy::evaluate::Question;
use crate::policy::narrow::Narrowing;
use crate::policy::template::Template;
use crate::principal::{Principal, Texts};

/// How many values of a template are shown, and how many characters of each.
const SHOWN: usize = 50;
const LONGEST: usize = 500;

impl Test {
    /// What there is of what the test asks about.
    pub(super) fn found(&self, question: &Question<'_>) -> String {
        let caller = question.caller;
        let of = |what: &dyn Fn(&Principal) -> String| caller.principal.map_or_else(|| "no token".to_owned(), what);
        match self {
            Self::Scope(_) => of(&|one| listed("scopes", &one.scopes)),
            Self::Permission(_) => of(&|one| {
                one.permissions
                    .as_ref()
                    .map_or_else(|| "no permissions are known".to_owned(), |all| listed("permissions", all))
            }),
            Self::Organization(templates) => of(&|one| {
                let own = match (one.global, &one.organizations) {
                    (Some(true), _) => "the principal is global".to_owned(),
                    (_, Some(all)) => listed("organisations", all),
                    (_, None) => "the token names no organisations".to_owned(),
                };
                join(&own, templates.iter(), question)
            }),
            Self::Subject(values) => {
                of(&|one| join(&named("subject", one.subject.as_deref()), templates(values), question))
            }
            Self::Client(values) => {
                of(&|one| join(&named("client", one.client.as_deref()), templates(values), question))
            }
            Self::Flow(_) => of(&|one| format!("flow {}", one.flow.as_str())),
            Self::Global(_) => of(&|one| {
                one.global.map_or_else(|| "the token does not say".to_owned(), |global| format!("global {global}"))
            }),
            Self::Issuer(..) => of(&|one| format!("issuer `{}`", one.issuer.name)),
            Self::Claim(path, test) => of(&|one| {
                let found = one
                    .claims
                    .find(path)
                    .map_or_else(|| "no such claim".to_owned(), |claim| claim.to_value().to_string());
                let operands = match test {
                    ClaimTest::OneOf(all) | ClaimTest::ContainsAll(all) | ClaimTest::ContainsAny(all) => &**all,
                    ClaimTest::Exists(_) => &[],
                };
                let templates = operands.iter().filter_map(|operand| match operand {
                    Operand::Template(template) => Some(template),
                    Operand::Literal(_) => None,
                });
                join(&found, templates, question)
            }),
            Self::Acr(_) => of(&|one| named("acr", one.acr.as_deref())),
            Self::MaxAge(_) => of(&|one| {
                one.authenticated_at.map_or_else(
                    || "the token has no `auth_time`".to_owned(),
                    |at| format!("authenticated {} s ago", caller.now.0.saturating_sub(at.0)),
                )
            }),
            Self::Network(_) => caller.address.map_or_else(
                || "the address is unknown".to_owned(),
                |address| format!("address {}", address.to_canonical()),
            ),
            Self::Certificate(kind, _) => caller.certificate.map_or_else(
                || "no client certificate".to_owned(),
                |shown| {
                    let names = match kind {
                        CertificateName::Dns => &shown.dns,
                        CertificateName::Uri => &shown.uri,
                        CertificateName::Email => &shown.email,
                        CertificateName::Subject => std::slice::from_ref(&shown.subject),
                    };
                    listed("the certificate's names", &names.into())
                },
            ),
            Self::Request(template, _) => values(template, question),
            Self::Narrow(narrowing) => of(&|one| narrowed(narrowing, one, question)),
            Self::AllOf(_) | Self::AnyOf(_) | Self::Not(_) => String::new(),
        }
    }
}

fn templates(values: &[Comparand]) -> impl Iterator<Item = &Template> {
    values.iter().filter_map(|value| match value {
        Comparand::Template(template) => Some(template),
        Comparand::Literal(_) => None,
    })
}

/// What was found, and the values of the templates that it is compared with.
fn join<'t>(found: &str, templates: impl Iterator<Item = &'t Template>, question: &Question<'_>) -> String {
    templates.fold(found.to_owned(), |text, template| format!("{text}; {}", values(template, question)))
}

fn values(template: &Template, question: &Question<'_>) -> String {
    if template.source.is_credential() {
        return format!("{template} is not shown");
    }
    if template.source.is_in_body() && matches!(question.body, BodyValues::Unread) {
        return format!("{template} was not read");
    }
    let mut texts = question.texts(template).map(|text| text.map_or_else(|| "(no text)".to_owned(), shortened));
    let mut found: Vec<_> = texts.by_ref().take(SHOWN).collect();
    let more = texts.count();
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    if found.is_empty() { format!("{template} has no value") } else { format!("{template} is {}", found.join(", ")) }
}

/// Whose values a parameter is kept to, and what was sent of it.
fn narrowed(narrowing: &Narrowing, principal: &Principal, question: &Question<'_>) -> String {
    let own: Texts = narrowing.values(principal).collect();
    let own = if narrowing.is_open(principal) { "the principal is global".to_owned() } else { listed("own", &own) };
    let sent = narrowing.sent(question).map(|parameter| parameter.text.as_deref().unwrap_or("(no text)"));
    let sent: Vec<_> = sent.collect();
    let name = &narrowing.name;
    if sent.is_empty() {
        format!("{own}; {{query.{name}}} is not sent")
    } else {
        format!("{own}; {{query.{name}}} is {}", sent.join(", "))
    }
}

/// A text that people can read at a glance.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn listed(what: &str, items: &Texts) -> String {
    if items.is_empty() { format!("{what}: none") } else { format!("{what}: {}", items.join(", ")) }
}

fn named(what: &str, value: Option<&str>) -> String {
    value.map_or_else(|| format!("no {what}"), |value| format!("{what} `{value}`"))
}
