//! Identity headers: what the protected API is told about the principal (http.md, "Towards the upstream").

use http::HeaderValue;

/// How bytes that a header cannot carry are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Percent-encoded UTF-8.
    Percent,
    /// Latin-1 bytes.
    Latin1,
    /// Base64 of the UTF-8 text.
    Base64,
}

/// One identity header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdentityField {
    /// `X-Auth-Subject`.
    Subject,
    /// `X-Auth-Client-Id`.
    Client,
    /// `X-Auth-Issuer`.
    Issuer,
    /// `X-Auth-Flow`.
    Flow,
    /// `X-Auth-Scopes`.
    Scopes,
    /// `X-Auth-Permissions`.
    Permissions,
    /// `X-Auth-Global`.
    Global,
    /// `X-Auth-Org-Uids`.
    Organizations,
    /// `X-Auth-Policy`.
    Policy,
    /// `X-Auth-Route`.
    Route,
}

/// A principal's identity headers, rendered.
#[derive(Debug)]
pub struct IdentityValues {
    subject: Option<HeaderValue>,
    client: Option<HeaderValue>,
    issuer: Option<HeaderValue>,
    flow: Option<HeaderValue>,
    scopes: Option<HeaderValue>,
    permissions: Option<HeaderValue>,
    global: Option<HeaderValue>,
    organizations: Option<HeaderValue>,
}

impl IdentityValues {
    /// The value of a field; the two that name policy and route are no part of the principal.
    pub(in crate::policy) fn of(&self, field: IdentityField) -> Option<&HeaderValue> {
        match field {
            IdentityField::Subject => self.subject.as_ref(),
            IdentityField::Client => self.client.as_ref(),
            IdentityField::Issuer => self.issuer.as_ref(),
            IdentityField::Flow => self.flow.as_ref(),
            IdentityField::Scopes => self.scopes.as_ref(),
            IdentityField::Permissions => self.permissions.as_ref(),
            IdentityField::Global => self.global.as_ref(),
            IdentityField::Organizations => self.organizations.as_ref(),
            IdentityField::Policy | IdentityField::Route => None,
        }
    }
}
