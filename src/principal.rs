//! Who is asking: what authentication establishes and policies ask about (tokens.md, "The principal").
//!
//! Pure data. `authn` makes it, `policy` reads it, `upstream` tells the protected API about it; none of them
//! needs to know another for that.

mod alike;
mod assertion;
mod claims;
mod identity;
mod packed;
mod prefetch;
mod texts;

use std::any::Any;
use std::sync::{Arc, OnceLock};

use crate::clock::Timestamp;
use crate::target::fold::fold_letter;

use packed::allocated;

pub use alike::Alike;
pub use assertion::{HEADER_SUFFIX as ASSERTION_SUFFIX, Permissions, Statement, header as assertion_header};
pub use claims::{Claim, ClaimSet, CommonClaims, Items, Members};
pub use identity::{IdentityField, NotPassed, check_passed};
pub use prefetch::{Derivation, sample};
pub use texts::{Texts, TextsIter};

/// Position of an issuer in the configuration it was loaded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IssuerId(pub u16);

/// A claim: a top-level name, or object keys to descend. Dots, slashes and colons in a name mean nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimPath(pub Box<[String]>);

impl ClaimPath {
    /// The path of one literal top-level claim.
    pub fn top(name: &str) -> Self {
        Self(Box::new([name.to_owned()]))
    }

    /// The value at this path. `null` counts as absent (tokens.md, "JSON").
    pub fn find<'c>(&self, claims: &'c Claims) -> Option<&'c serde_json::Value> {
        let (first, rest) = self.0.split_first()?;
        let mut value = claims.get(first.as_str())?;
        for key in rest {
            value = value.as_object()?.get(key.as_str())?;
        }
        (!value.is_null()).then_some(value)
    }
}

impl std::fmt::Display for ClaimPath {
    /// A top-level name as itself; keys to descend, and a name that would look like them, as a JSON pointer (RFC 6901).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.0 {
            [only] if !only.starts_with('/') => f.write_str(only),
            keys => keys.iter().try_for_each(|key| write!(f, "/{}", key.replace('~', "~0").replace('/', "~1"))),
        }
    }
}

/// Claims as they are read and written, free of duplicate names.
pub type Claims = serde_json::Map<String, serde_json::Value>;

/// How a token came to be (tokens.md, "Flow").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flow {
    /// Somebody logged in: the subject is a person's.
    User,
    /// RFC 6749 section 4.4: the token stands for a client and for no customer.
    ClientCredentials,
    /// The issuer's tokens do not tell, or this one is contradictory. Grants nothing.
    Unknown,
}

impl Flow {
    /// The word used in policies, headers and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ClientCredentials => "client_credentials",
            Self::Unknown => "unknown",
        }
    }
}

/// What a principal needs to know about its issuer to be compared and named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerIdentity {
    /// Position in the configuration.
    pub id: IssuerId,
    /// The `name` under `issuers`, as policies and headers use it.
    pub name: Arc<str>,
    /// Claims whose equality is decided under Unicode simple case folding (`claims_case.insensitive`).
    pub case_insensitive: Vec<ClaimPath>,
    /// The subject's source is among `case_insensitive`.
    pub subject_folds: bool,
    /// The client's source is among `case_insensitive`.
    pub client_folds: bool,
    /// The organisations' source is among `case_insensitive`.
    pub organizations_fold: bool,
    /// The permissions' source is among `case_insensitive`.
    pub permissions_fold: bool,
}

impl IssuerIdentity {
    /// An issuer whose claims are all compared byte for byte.
    pub fn named(id: IssuerId, name: impl Into<Arc<str>>) -> Self {
        Self {
            id,
            name: name.into(),
            case_insensitive: Vec::new(),
            subject_folds: false,
            client_folds: false,
            organizations_fold: false,
            permissions_fold: false,
        }
    }
}

impl IssuerIdentity {
    /// Whether two texts are the same value of a claim.
    pub fn is_same(&self, claim: &ClaimPath, one: &str, other: &str) -> bool {
        let folds = self.case_insensitive.contains(claim);
        one == other || folds && one.chars().map(fold_letter).eq(other.chars().map(fold_letter))
    }
}

/// The authenticated caller.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Who issued the token.
    pub issuer: Arc<IssuerIdentity>,
    /// `sub`; absent only under presets that allow it.
    pub subject: Option<String>,
    /// The OAuth client id.
    pub client: Option<String>,
    /// Granted scopes; empty when the token names none.
    pub scopes: Texts,
    /// Permissions; `None` when absent or of another type than a list of strings: *unknown*.
    pub permissions: Option<Texts>,
    /// Organisations; `None` when the token has none, which counts as empty except under `not`.
    pub organizations: Option<Texts>,
    /// `global`; `None` when the token does not say, which counts as false except under `not`.
    pub global: Option<bool>,
    /// User, client credentials or unknown.
    pub flow: Flow,
    /// Every claim, for `claim` conditions and `{claim.NAME}` templates.
    pub claims: ClaimSet,
    /// What only userinfo knows, as long as nobody has asked there.
    pub pending: Pending,
    /// `exp`, rounded down, without leeway.
    pub expires_at: Timestamp,
    /// `nbf`, rounded up.
    pub not_before: Option<Timestamp>,
    /// `iat`, rounded up.
    pub issued_at: Option<Timestamp>,
    /// `auth_time`, OpenID Connect Core section 2.
    pub authenticated_at: Option<Timestamp>,
    /// `acr`, RFC 9470.
    pub acr: Option<String>,
    /// `jti`.
    pub token_id: Option<String>,
    /// SHA-256 of the token without its signature: what revocation and audit name a token without `jti` by.
    pub token_digest: [u8; 32],
    /// `cnf.x5t#S256` (RFC 8705 section 3.1): the certificate that the connection has to show.
    pub certificate_thumbprint: Option<Box<[u8; 32]>>,
    /// Seconds that clocks may differ (`leeway` of the issuer).
    pub leeway: i64,
    /// What is worked out from the principal once instead of on every request, such as rendered identity headers.
    pub derived: Derived,
}

/// What the token does not have and its issuer tells at userinfo (tokens.md, "Opaque tokens and userinfo"). Until it was
/// asked for nothing may be decided on its absence. Empty for everybody whose claims are complete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pending {
    /// Names of top-level claims.
    pub claims: Box<[String]>,
    /// The permissions may come from one of them.
    pub permissions: bool,
    /// The organisations may come from one of them.
    pub organizations: bool,
    /// `global` may come from one of them.
    pub global: bool,
}

impl Pending {
    /// Whether everything is known.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// Whether what is at this path stands in such a claim.
    pub fn holds(&self, path: &ClaimPath) -> bool {
        path.0.first().is_some_and(|first| self.claims.contains(first))
    }
}

/// Bytes of what is derived from a principal, without the texts: three headers, and the buffer they share.
const DERIVED: usize = 208;

/// Bytes of the headers that many principals have alike, without the texts.
const COMMON: usize = 320;

/// The most that a text takes in a header: three letters for what is not plain, a third more in base64.
fn encoded(text: &str) -> usize {
    let odd = text.bytes().filter(|byte| !byte.is_ascii_graphic() || matches!(byte, b'%' | b',')).count();
    (text.len() + 2 * odd).max(text.len().div_ceil(3) * 4)
}

/// A place beside a value for what follows from it. Empty at first, and empty again in a clone, because a clone may be
/// changed.
#[derive(Default)]
pub struct Derived(OnceLock<Arc<dyn Derivation>>);

impl Derived {
    /// What was worked out the first time. `None` when that was something of another type.
    pub fn or_init<T: Derivation>(&self, derive: impl FnOnce() -> T) -> Option<Arc<T>> {
        let kept: Arc<dyn Any + Send + Sync> = Arc::<dyn Derivation>::clone(self.0.get_or_init(|| Arc::new(derive())));
        kept.downcast().ok()
    }
}

impl std::fmt::Debug for Derived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Derived").field(&self.0.get().is_some()).finish()
    }
}

impl Clone for Derived {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Principal {
    /// Somebody of this issuer of whom nothing is known: nothing granted, no flow told, and long expired. What reads a
    /// token fills in every field by name instead, so that none is forgotten there.
    pub fn of(issuer: Arc<IssuerIdentity>) -> Self {
        Self {
            issuer,
            subject: None,
            client: None,
            scopes: Texts::default(),
            permissions: None,
            organizations: None,
            global: None,
            flow: Flow::Unknown,
            claims: ClaimSet::default(),
            expires_at: Timestamp(0),
            not_before: None,
            issued_at: None,
            authenticated_at: None,
            acr: None,
            token_id: None,
            token_digest: [0; 32],
            certificate_thumbprint: None,
            leeway: 0,
            pending: Pending::default(),
            derived: Derived::default(),
        }
    }

    /// The subject as the protected API may hear it: a client-credentials token stands for no customer.
    pub fn customer(&self) -> Option<&str> {
        self.subject.as_deref().filter(|_| self.flow != Flow::ClientCredentials)
    }

    /// Whether the principal is declared to see every organisation.
    pub fn is_global(&self) -> bool {
        self.global == Some(true)
    }

    /// Bytes that the principal takes in memory, rather more than less, with what is derived from it for its requests.
    pub fn bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, |text| allocated(text.len()));
        let texts = [&self.subject, &self.client, &self.acr, &self.token_id].map(text);
        let lists = [Some(&self.scopes), self.permissions.as_ref(), self.organizations.as_ref()];
        let pending: usize = self.pending.claims.iter().map(|name| size_of::<String>() + allocated(name.len())).sum();
        // Identity headers: whose scopes and permissions others have too shares them with those.
        let own = self.subject.as_deref().into_iter().chain(self.client.as_deref());
        let own = own.chain(self.organizations.iter().flatten());
        let common = self.scopes.iter().chain(self.permissions.iter().flatten());
        let is_shared = [Some(&self.scopes), self.permissions.as_ref()].into_iter().flatten().all(Texts::is_shared);
        let common = if is_shared { 0 } else { COMMON + allocated(common.map(|text| encoded(text) + 1).sum()) };
        let encoded: usize = own.map(|text| encoded(text) + 1).sum();
        allocated(size_of::<Self>() + size_of::<[usize; 2]>())
            + texts.iter().sum::<usize>()
            + lists.into_iter().flatten().map(Texts::bytes).sum::<usize>()
            + self.claims.bytes()
            + pending
            + self.certificate_thumbprint.as_ref().map_or(0, |bytes| allocated(bytes.len()))
            + common
            + allocated(encoded)
            + DERIVED
    }

    /// The last moment at which the token is accepted, leeway included.
    pub fn valid_until(&self) -> Timestamp {
        self.expires_at.plus(self.leeway)
    }
}

/// A client certificate that TLS has verified against the listener's CA.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientCertificate {
    /// DNS subject alternative names.
    pub dns: Vec<String>,
    /// URI subject alternative names.
    pub uri: Vec<String>,
    /// RFC 822 subject alternative names.
    pub email: Vec<String>,
    /// The whole subject name as RFC 4514 text.
    pub subject: String,
    /// SHA-256 of the DER form (RFC 8705 section 3.1).
    pub thumbprint: [u8; 32],
}

/// A set of issuers: whose tokens a route accepts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IssuerSet(Vec<IssuerId>);

impl IssuerSet {
    /// The set of these issuers.
    pub fn new(issuers: impl IntoIterator<Item = IssuerId>) -> Self {
        let mut list: Vec<_> = issuers.into_iter().collect();
        list.sort_unstable();
        list.dedup();
        Self(list)
    }

    /// Whether the issuer is in the set.
    pub fn contains(&self, issuer: IssuerId) -> bool {
        self.0.contains(&issuer)
    }

    /// The members in order.
    pub fn iter(&self) -> impl Iterator<Item = IssuerId> {
        self.0.iter().copied()
    }

    /// Whether nobody is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Somebody who logged in.
    pub(crate) fn principal() -> Principal {
        let issuer = Arc::new(IssuerIdentity::named(IssuerId(0), "shoen"));
        let (subject, client) = (Some("alice".to_owned()), Some("app".to_owned()));
        Principal { subject, client, flow: Flow::User, ..Principal::of(issuer) }
    }
}
