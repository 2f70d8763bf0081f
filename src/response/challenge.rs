//! Challenges of refusals by policy (RFC 6750 section 3, RFC 9470 section 3).

use std::fmt::Write as _;

use crate::policy::Cause;

/// The challenge, if the refusal has one: only what another token or another login could mend.
pub(super) fn of(cause: &Cause, realm: &str) -> Option<String> {
    match cause {
        Cause::Unauthenticated => Some(format!("Bearer realm=\"{realm}\"")),
        Cause::StepUp(wanted) => {
            let mut text = format!("Bearer realm=\"{realm}\", error=\"insufficient_user_authentication\"");
            if !wanted.acr_values.is_empty() {
                text.push_str(", acr_values=\"");
                text.push_str(&quoted(&wanted.acr_values));
                text.push('"');
            }
            if let Some(seconds) = wanted.max_age {
                let _ = write!(text, ", max_age=\"{seconds}\"");
            }
            if !wanted.scopes.is_empty() {
                let _ = write!(text, ", scope=\"{}\"", quoted(&wanted.scopes));
            }
            Some(text)
        }
        Cause::InsufficientScope { scopes, .. } => {
            Some(format!("Bearer realm=\"{realm}\", error=\"insufficient_scope\", scope=\"{}\"", quoted(scopes)))
        }
        Cause::AmbiguousPath
        | Cause::AmbiguousParameter
        | Cause::AmbiguousHeader
        | Cause::ValueType
        | Cause::Forbidden(_)
        | Cause::Limited(_)
        | Cause::NotFound
        | Cause::MethodNotAllowed { .. }
        | Cause::Body
        | Cause::BodyTooLarge
        | Cause::UnreadableBody
        | Cause::NoRoom => None,
    }
}

/// Adds where the protected resource describes itself (RFC 9728 section 5.1).
pub(super) fn name_metadata(challenge: &mut String, url: &str) {
    let _ = write!(challenge, ", resource_metadata=\"{}\"", quoted(url));
}

/// RFC 9110 section 5.6.4: what may not stand in a quoted string is escaped, or left out where it never may.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars().filter(|character| matches!(character, ' '..='~')) {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}
