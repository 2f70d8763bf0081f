//! Why a request has no principal: enough for the challenge, the audit record and `torwart token inspect`.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// What stands between a request and its principal. The whole list: a new way to fail needs a status.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// More than one `Authorization` line: 400 `invalid_request` (RFC 6750 section 3.1).
    #[error("more than one authorization header")]
    ManyHeaders,
    /// No token where one is needed: a bare 401. What callers make of `Ok(None)`.
    #[error("no bearer token")]
    Missing,
    /// A token that does not hold: 401 `invalid_token`.
    #[error("{}", .0.fault)]
    Invalid(InvalidToken),
    /// Something that only the issuer can give is not known: 503 with `Retry-After`.
    #[error("no {wanted} of issuer `{issuer}`")]
    Unavailable {
        /// The issuer's configured name.
        issuer: Arc<str>,
        /// What is not known.
        wanted: Wanted,
        /// Seconds to wait before asking again, at least 1.
        retry_after: u32,
    },
}

/// What only an issuer can give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The keys that vouch for its tokens.
    Keys,
    /// What it says of a token when asked (RFC 7662).
    Introspection,
    /// What it says of the person that a token stands for (OpenID Connect Core section 5.3).
    Userinfo,
}

impl Wanted {
    /// The stable word for the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Introspection => "introspection",
            Self::Userinfo => "userinfo",
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keys => "keys",
            Self::Introspection => "usable answer from the introspection endpoint",
            Self::Userinfo => "usable answer from the userinfo endpoint",
        })
    }
}

/// A token that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidToken {
    /// The check that failed.
    pub fault: Fault,
    /// Name of the configured issuer that the token claims. Nothing vouches for the claim.
    pub issuer: Option<Arc<str>>,
    /// SHA-256 of header and payload, for audit records, or of a whole opaque token; `None` for what has no such form.
    pub token_digest: Option<[u8; 32]>,
}

/// The check that a token failed (tokens.md, "What must hold before any policy is asked").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Fault {
    /// `Bearer` with anything but one b64token behind it.
    #[error("the authorization header holds no single b64token behind `Bearer`")]
    Credentials,
    /// Longer than `limits.token`.
    #[error("the token is longer than `limits.token`")]
    TooLong,
    /// Not three parts: opaque, or encrypted (five parts), and nobody can be asked about it.
    #[error("the token has not the three parts of a signed JWT")]
    Opaque,
    /// A part is not base64url without padding in canonical form.
    #[error("a part of the token is not canonical base64url without padding")]
    Encoding,
    /// The header is not a JSON object free of duplicate names, or a parameter has the wrong type.
    #[error("the token's header is not a JSON object without duplicate names and with well-typed parameters")]
    Header,
    /// `crit`, `b64: false`, `zip` or `enc` (RFC 7515 section 4.1.11).
    #[error("the token's header asks for an extension (`crit`, `b64`, `zip`, `enc`)")]
    Extension,
    /// `typ` says that it is another kind of JWT (RFC 8725 section 3.11).
    #[error("the token's `typ` is not that of an access token")]
    Type,
    /// The payload is not a JSON object free of duplicate names.
    #[error("the token's payload is not a JSON object without duplicate names")]
    Payload,
    /// `iss` is absent, not a string or not a configured issuer.
    #[error("the token's `iss` is not a configured issuer")]
    Issuer,
    /// The issuer is configured but not accepted here.
    #[error("tokens of this issuer are not accepted here")]
    IssuerNotAccepted,
    /// `alg` is absent, unknown or not on the issuer's list.
    #[error("the token's `alg` is not among the issuer's algorithms")]
    Algorithm,
    /// No key of the issuer has this `kid`, or none fits the algorithm.
    #[error("no key of the issuer fits the token's `kid` and `alg`")]
    UnknownKey,
    /// The signature does not verify.
    #[error("the signature is not the issuer's")]
    Signature,
    /// A registered claim has the wrong type or an impossible value.
    #[error("a registered claim has the wrong type or an impossible value")]
    ClaimType,
    /// `exp` is absent.
    #[error("the token has no `exp`")]
    NoExpiry,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` lies in the future.
    #[error("the token is not valid yet (`nbf` or `iat` lies in the future)")]
    NotYet,
    /// No configured audience is in `aud`.
    #[error("the token's `aud` holds none of the configured audiences")]
    Audience,
    /// `sub` is absent or empty.
    #[error("the token has no `sub`")]
    Subject,
    /// Claims of an ID, refresh, logout or security event token.
    #[error("the claims are those of another kind of token than an access token")]
    Kind,
    /// A claim that RFC 9068 requires is absent.
    #[error("a claim that RFC 9068 requires is absent")]
    Profile,
    /// A claim that the principal is made of has the wrong type.
    #[error("the claim for scopes, organizations or global has the wrong type")]
    Source,
    /// `cnf` names a certificate that is not this connection's (RFC 8705 section 3).
    #[error("the token is bound to a client certificate that this connection does not show")]
    Confirmation,
    /// `cnf` names something else, or more, than a certificate: what cannot be checked is refused.
    #[error("the token's `cnf` is not one `x5t#S256`, the only binding that can be checked")]
    ConfirmationMethod,
    /// The issuer's `sender_constraint` is `required`, and `cnf` is absent.
    #[error("the token is bound to no client certificate, which `sender_constraint: required` asks for")]
    Unbound,
    /// The issuer says that the token is not active.
    #[error("the issuer says that the token is not active")]
    Inactive,
    /// The issuer names another subject than the token.
    #[error("the issuer names another subject than the token does")]
    OtherSubject,
    /// The token was revoked.
    #[error("the token has been revoked")]
    Revoked,
    /// Userinfo refuses the token.
    #[error("the issuer's userinfo endpoint does not accept the token")]
    Userinfo,
    /// Userinfo speaks of another subject than the token's, or one of them of none.
    #[error("the issuer's userinfo endpoint does not speak of the token's subject")]
    UserinfoSubject,
}

impl Fault {
    /// The stable word for metrics and audit records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::TooLong => "too_long",
            Self::Opaque => "opaque",
            Self::Encoding => "encoding",
            Self::Header => "header",
            Self::Extension => "extension",
            Self::Type => "type",
            Self::Payload => "payload",
            Self::Issuer => "issuer",
            Self::IssuerNotAccepted => "issuer_not_accepted",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::ClaimType => "claim_type",
            Self::NoExpiry => "no_expiry",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Audience => "audience",
            Self::Subject => "subject",
            Self::Kind => "kind",
            Self::Profile => "profile",
            Self::Source => "source",
            Self::Confirmation => "confirmation",
            Self::ConfirmationMethod => "confirmation_method",
            Self::Unbound => "unbound",
            Self::Inactive => "inactive",
            Self::OtherSubject => "other_subject",
            Self::Revoked => "revoked",
            Self::Userinfo => "userinfo",
            Self::UserinfoSubject => "userinfo_subject",
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Invalid(InvalidToken { fault, issuer: None, token_digest: None })
    }
}
