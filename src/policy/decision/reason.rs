//! The words for refusals.

/// Why a request was refused, in one word. Conditions come in the order in which they name the reason (policy.md,
/// "Reasons").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The token's issuer.
    Issuer,
    /// The TLS client certificate.
    Certificate,
    /// The client address.
    Network,
    /// User or client credentials.
    Flow,
    /// The OAuth client.
    Client,
    /// `acr` or `auth_time`.
    Authentication,
    /// Granted scopes.
    Scope,
    /// Permissions.
    Permission,
    /// `global`.
    Global,
    /// Organisations.
    Organization,
    /// A list call for somebody else's values.
    Narrow,
    /// The subject.
    Subject,
    /// A claim.
    Claim,
    /// A value of the request.
    Request,
    /// No alternative held.
    AnyOf,
    /// What must not hold held, or could not be told.
    Not,
    /// A value that forwarding needs is missing or has the wrong type.
    Forward,
    /// An identity header's value does not fit.
    IdentityTooLarge,
    /// A rate limit.
    Limit,
    /// No accepted token.
    Token,
    /// The path has a second reading.
    AmbiguousPath,
    /// A bound parameter has a second reading.
    AmbiguousParameter,
    /// A bound header has a second reading.
    AmbiguousHeader,
    /// A request value has another type than declared.
    ValueType,
    /// The body is malformed or has a second reading.
    Body,
    /// The body is too long to be read.
    BodyTooLarge,
    /// The body is of a kind that is not read here.
    UnreadableBody,
    /// There is no room to read the body.
    NoRoom,
    /// No route.
    NoRoute,
    /// The route does not list the method.
    Method,
}

impl Reason {
    /// Every reason: those of conditions in the order in which they are asked, then the others.
    pub const ALL: [Self; 30] = [
        Self::Issuer,
        Self::Certificate,
        Self::Network,
        Self::Flow,
        Self::Client,
        Self::Authentication,
        Self::Scope,
        Self::Permission,
        Self::Global,
        Self::Organization,
        Self::Narrow,
        Self::Subject,
        Self::Claim,
        Self::Request,
        Self::AnyOf,
        Self::Not,
        Self::Forward,
        Self::IdentityTooLarge,
        Self::Limit,
        Self::Token,
        Self::AmbiguousPath,
        Self::AmbiguousParameter,
        Self::AmbiguousHeader,
        Self::ValueType,
        Self::Body,
        Self::BodyTooLarge,
        Self::UnreadableBody,
        Self::NoRoom,
        Self::NoRoute,
        Self::Method,
    ];

    /// The word used in records, metrics and policy tests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::Certificate => "certificate",
            Self::Network => "network",
            Self::Flow => "flow",
            Self::Client => "client",
            Self::Authentication => "authentication",
            Self::Scope => "scope",
            Self::Permission => "permission",
            Self::Global => "global",
            Self::Organization => "organization",
            Self::Narrow => "narrow",
            Self::Subject => "subject",
            Self::Claim => "claim",
            Self::Request => "request",
            Self::AnyOf => "any_of",
            Self::Not => "not",
            Self::Forward => "forward",
            Self::IdentityTooLarge => "identity-too-large",
            Self::Limit => "limit",
            Self::Token => "token",
            Self::AmbiguousPath => "ambiguous-path",
            Self::AmbiguousParameter => "ambiguous-parameter",
            Self::AmbiguousHeader => "ambiguous-header",
            Self::ValueType => "value-type",
            Self::Body => "body",
            Self::BodyTooLarge => "body-too-large",
            Self::UnreadableBody => "unreadable-body",
            Self::NoRoom => "overloaded",
            Self::NoRoute => "no-route",
            Self::Method => "method",
        }
    }
}
