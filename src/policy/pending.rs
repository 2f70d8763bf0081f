//! What only userinfo knows: it is asked last, and only where the outcome turns on it (tokens.md, "Opaque tokens and
//! userinfo").
//!
//! As long as a claim is pending, every condition about it is decided twice: for the best that the claim could make of
//! it, and for the worst. What fails at best is refused without asking; what holds at worst is allowed without asking,
//! where nothing about the claim is told to the upstream. So nothing that is decided without asking would have been
//! decided otherwise.

use crate::policy::condition::{Condition, Test};
use crate::policy::evaluate::{Question, Stance};
use crate::policy::forward::{Effects, Part, PrincipalValue};
use crate::policy::route::Route;
use crate::policy::truth::Truth;
use crate::principal::{IdentityField, Permissions, Principal};

impl Question<'_> {
    /// What a condition is taken to be that cannot be answered yet: under `not` the opposite, which makes the same of
    /// the whole.
    pub(in crate::policy) fn supposition(&self, stance: Stance) -> Truth {
        match stance {
            Stance::Plain => self.supposed,
            Stance::Negated => !self.supposed,
        }
    }

    /// Whether the outcome of a request turns on claims that userinfo has to be asked for. For a request to which nothing
    /// that is known is an obstacle. A condition about claims and the body counts unless it holds whatever both say, so
    /// that nobody's body is read before that one's claims are known.
    pub(in crate::policy) fn turns_on_userinfo(&self, route: &Route) -> bool {
        let Some(principal) = self.caller.principal.filter(|principal| !principal.pending.is_empty()) else {
            return false;
        };
        let holds = |condition: &Condition, supposed| {
            condition.evaluate(&Question { supposed, ..*self }, Stance::Plain).holds()
        };
        let open = |condition: &Condition| !holds(condition, Truth::False) && condition.is_pending(principal);
        route.conditions.iter().all(|condition| holds(condition, Truth::True))
            && (route.conditions.iter().any(open) || route.effects.are_pending(principal))
    }
}

impl Condition {
    /// Whether it asks, at any depth, for something that only userinfo knows.
    fn is_pending(&self, principal: &Principal) -> bool {
        self.test.is_pending(principal)
    }
}

impl Test {
    /// The same of what it asks.
    pub(in crate::policy) fn is_pending(&self, principal: &Principal) -> bool {
        let pending = &principal.pending;
        match self {
            Self::Permission(_) => pending.permissions,
            Self::Organization(_) => pending.organizations || pending.global,
            Self::Global(_) => pending.global,
            Self::Claim(path, _) => pending.holds(path),
            Self::Narrow(narrowing) => narrowing.is_pending(principal),
            Self::AllOf(parts) | Self::AnyOf(parts) => parts.iter().any(|part| part.is_pending(principal)),
            Self::Not(part) => part.is_pending(principal),
            // Configuration sees to it that only the token itself says these.
            Self::Scope(_)
            | Self::Subject(_)
            | Self::Client(_)
            | Self::Flow(_)
            | Self::Issuer(..)
            | Self::Acr(_)
            | Self::MaxAge(_)
            | Self::Network(_)
            | Self::Certificate(..)
            | Self::Request(..) => false,
        }
    }
}

impl Effects {
    /// Whether what is told to the upstream needs something that only userinfo knows.
    fn are_pending(&self, principal: &Principal) -> bool {
        let pending = &principal.pending;
        let headers = self.headers.iter().flat_map(|setting| &setting.parts);
        let mut parts = headers.chain(self.query.iter().flat_map(|setting| &setting.parts));
        let told = |field: IdentityField| match field {
            IdentityField::Permissions => pending.permissions,
            IdentityField::Organizations => !principal.is_global() && (pending.organizations || pending.global),
            IdentityField::Global => pending.global,
            IdentityField::Subject
            | IdentityField::Client
            | IdentityField::Issuer
            | IdentityField::Flow
            | IdentityField::Scopes
            | IdentityField::Policy
            | IdentityField::Route => false,
        };
        let signed: &[IdentityField] = match self.assertion.as_ref().map(|assertion| assertion.permissions) {
            None => &[],
            Some(Permissions::Withheld) => &[IdentityField::Organizations, IdentityField::Global],
            Some(Permissions::Told) => {
                &[IdentityField::Organizations, IdentityField::Global, IdentityField::Permissions]
            }
        };
        parts.any(|part| matches!(part, Part::Principal(value) if value.is_pending(principal)))
            || self.identity.iter().map(|(field, _)| field).chain(signed).any(|field| told(*field))
    }
}

impl PrincipalValue {
    fn is_pending(&self, principal: &Principal) -> bool {
        let pending = &principal.pending;
        match self {
            Self::Permissions => pending.permissions,
            Self::Organizations => !principal.is_global() && (pending.organizations || pending.global),
            Self::Global => pending.global,
            Self::Claim(path) => pending.holds(path),
            Self::Subject | Self::Client | Self::Scopes | Self::Issuer | Self::Flow => false,
        }
    }
}
