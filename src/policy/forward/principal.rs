//! What templates say of the principal.

use super::Values;
use crate::principal::{Claim, ClaimPath, IdentityField, Principal, Texts};

/// What a template can name of the principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) enum PrincipalValue {
    /// `{subject}`
    Subject,
    /// `{client}`
    Client,
    /// `{scopes}`
    Scopes,
    /// `{organizations}`
    Organizations,
    /// `{permissions}`
    Permissions,
    /// `{issuer}`
    Issuer,
    /// `{flow}`
    Flow,
    /// `{global}`
    Global,
    /// `{claim.NAME}`, `{claim./a/b}`
    Claim(ClaimPath),
}

impl PrincipalValue {
    pub(super) fn of(&self, principal: &Principal) -> Values {
        let text = |value: Option<&str>| value.map_or(Values::Absent, |value| Values::One(value.to_owned()));
        let list = |items: &Texts, separator| {
            if items.is_empty() { Values::Absent } else { Values::Many(items.to_vec(), separator) }
        };
        match self {
            Self::Subject => text(principal.customer()),
            Self::Client => text(principal.client.as_deref()),
            Self::Scopes => list(&principal.scopes, " "),
            Self::Permissions => principal.permissions.as_ref().map_or(Values::Absent, |items| list(items, ",")),
            Self::Issuer => text(Some(&principal.issuer.name)),
            Self::Flow => text(Some(principal.flow.as_str())),
            Self::Global => text(Some(if principal.is_global() { "true" } else { "false" })),
            Self::Organizations if principal.is_global() => Values::Absent,
            Self::Organizations => {
                Values::Organizations(principal.organizations.iter().flatten().map(str::to_owned).collect())
            }
            Self::Claim(path) => principal.claims.find(path).map_or(Values::Absent, |claim| claim_text(&claim)),
        }
    }

    /// The identity field that is the same text, and is rendered once for all requests of a token.
    pub(super) fn rendered_as(&self, principal: &Principal) -> Option<IdentityField> {
        match self {
            Self::Subject => Some(IdentityField::Subject),
            Self::Client => Some(IdentityField::Client),
            Self::Scopes => Some(IdentityField::Scopes),
            Self::Organizations => Some(IdentityField::Organizations),
            Self::Issuer => Some(IdentityField::Issuer),
            // An empty list is a header without a value among the identity headers, and no header here.
            Self::Permissions => principal
                .permissions
                .as_ref()
                .is_some_and(|items| !items.is_empty())
                .then_some(IdentityField::Permissions),
            // Words of the gateway, which the identity headers do not encode.
            Self::Flow | Self::Global | Self::Claim(_) => None,
        }
    }
}

/// A claim as text: strings, integers and booleans, or an array of them.
fn claim_text(claim: &Claim<'_>) -> Values {
    let scalar = |claim: &Claim<'_>| match claim {
        Claim::Text(text) => Some((*text).to_owned()),
        Claim::Bool(value) => Some(value.to_string()),
        Claim::Number(number) if !number.is_f64() => Some(number.to_string()),
        Claim::Number(_) | Claim::Null | Claim::List(_) | Claim::Object(_) => None,
    };
    match claim {
        Claim::List(items) => match items.clone().map(|item| scalar(&item)).collect::<Option<Vec<_>>>() {
            Some(items) if items.is_empty() => Values::Absent,
            Some(items) => Values::Many(items, ","),
            None => Values::WrongType,
        },
        claim => scalar(claim).map_or(Values::WrongType, Values::One),
    }
}
