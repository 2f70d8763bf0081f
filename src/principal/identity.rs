//! Names of the identity headers (http.md, "Towards the upstream"): what stands behind the prefix, and which names under
//! the prefix a client may send itself.

use super::assertion::HEADER_SUFFIX;
use crate::target::fold::{fold_header, starts_folded};

/// One identity header that tells of the principal or of what allowed the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdentityField {
    /// `X-Auth-Subject`: not for client credentials, which stand for no customer.
    Subject,
    /// `X-Auth-Client-Id`.
    Client,
    /// `X-Auth-Issuer`: the issuer's name.
    Issuer,
    /// `X-Auth-Flow`.
    Flow,
    /// `X-Auth-Scopes`, separated by spaces.
    Scopes,
    /// `X-Auth-Permissions`, separated by commas; absent when unknown, and where nobody asked for them.
    Permissions,
    /// `X-Auth-Global`, always.
    Global,
    /// `X-Auth-Org-Uids`, separated by commas; absent when global, `none` for an empty list.
    Organizations,
    /// `X-Auth-Policy`.
    Policy,
    /// `X-Auth-Route`.
    Route,
}

impl IdentityField {
    /// All of them, with the word under `identity_headers` and the name behind the prefix.
    pub const ALL: [(Self, &'static str, &'static str); 10] = [
        (Self::Subject, "subject", "Subject"),
        (Self::Client, "client", "Client-Id"),
        (Self::Issuer, "issuer", "Issuer"),
        (Self::Flow, "flow", "Flow"),
        (Self::Scopes, "scopes", "Scopes"),
        (Self::Permissions, "permissions", "Permissions"),
        (Self::Global, "global", "Global"),
        (Self::Organizations, "organizations", "Org-Uids"),
        (Self::Policy, "policy", "Policy"),
        (Self::Route, "route", "Route"),
    ];
}

/// Why a name cannot stand under `identity.pass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPassed {
    /// It is no name under the prefix, so nothing would remove it.
    #[error("does not begin with the identity prefix")]
    OutsidePrefix,
    /// It folds to a name that the gateway sets, so a client's own would be believed.
    #[error("is set by the gateway itself")]
    SetByGateway,
}

/// Whether clients may be allowed to send this name: under the prefix and no identity header, as servers that fold
/// names read both.
///
/// # Errors
/// Why they may not.
pub fn check_passed(prefix: &str, name: &str) -> Result<(), NotPassed> {
    let prefix = fold_header(prefix);
    let folded = fold_header(name);
    let suffix = folded.strip_prefix(&prefix).ok_or(NotPassed::OutsidePrefix)?;
    let mut own = IdentityField::ALL.iter().map(|(_, _, own)| *own).chain([HEADER_SUFFIX]);
    let set = own.any(|own| own.len() == suffix.len() && starts_folded(own, suffix));
    if set { Err(NotPassed::SetByGateway) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_under_the_prefix_that_the_gateway_never_sets_are_passed() {
        assert_eq!(check_passed("X-Auth-", "x-auth-TOKEN"), Ok(()));
        assert_eq!(check_passed("X-Auth-", "X_Auth_Token"), Ok(()));
        assert_eq!(check_passed("X-Auth-", "X-Auth-Subjects"), Ok(()));
        assert_eq!(check_passed("X-Auth-", "X-Token"), Err(NotPassed::OutsidePrefix));
        for (_, _, suffix) in IdentityField::ALL {
            assert_eq!(check_passed("X-Auth-", &format!("x-auth-{suffix}")), Err(NotPassed::SetByGateway), "{suffix}");
        }
        for name in ["X-Auth-Assertion", "x_auth.assertion", "X-Auth-Org_Uids", "X.AUTH.SUBJECT"] {
            assert_eq!(check_passed("X-Auth-", name), Err(NotPassed::SetByGateway), "{name}");
        }
    }
}
