//! What policies need to know of the rest of the configuration. Plain facts: `policy` neither reads `torwart.yaml`
//! nor opens files.

use std::path::Path;
use std::sync::Arc;

use crate::policy::identity::{Encoding, RenderedBefore};
use crate::principal::IssuerId;
use crate::target::quirks::Quirks;

/// The facts that documents are compiled against.
pub struct Surroundings<'f> {
    /// Every configured issuer.
    pub issuers: Vec<IssuerFacts>,
    /// Every configured upstream; [`crate::policy::Permit::upstream`] is a position in this list.
    pub upstreams: Vec<UpstreamFacts>,
    /// `identity` of `torwart.yaml`.
    pub identity: IdentityFacts,
    /// `limits.target_bytes` of `torwart.yaml`: what path and query may grow to by `narrow`.
    pub target_bytes: usize,
    /// Reads a file that a document names (`{file: path}`, `password_file`): absolute path in, content without one
    /// trailing line break out, or why it cannot be read. The caller remembers which files were asked for, so that
    /// they can be watched.
    pub files: &'f dyn Fn(&Path) -> Result<String, String>,
}

/// What policies need to know of an issuer.
#[derive(Debug, Clone)]
pub struct IssuerFacts {
    /// Its number, as in [`crate::principal::IssuerIdentity::id`].
    pub id: IssuerId,
    /// Its name under `issuers`.
    pub name: Arc<str>,
    /// What its tokens can tell.
    pub ability: Ability,
    /// Scope that a denial for absent permissions asks for (`ameise/permissions` in the `ameise` preset).
    pub permission_scope: Option<String>,
    /// Whether it is asked about tokens that are no JWT (`introspection`).
    pub introspects: bool,
}

/// What tokens of an issuer can tell, as it is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ability {
    /// Some claim holds permissions.
    pub permissions: bool,
    /// Some claim holds organisations.
    pub organizations: bool,
    /// Some claim tells who is global.
    pub global: bool,
    /// The flow is told: `client_credentials_when` is there.
    pub flow: bool,
    /// Client credentials are told from users: it is not `never`.
    pub client_credentials: bool,
}

impl Ability {
    /// Tokens that may tell everything.
    pub const EVERYTHING: Self =
        Self { permissions: true, organizations: true, global: true, flow: true, client_credentials: true };
    /// Tokens that tell no more than who asks, and for what scopes.
    pub const NOTHING: Self =
        Self { permissions: false, organizations: false, global: false, flow: false, client_credentials: false };
}

/// What policies need to know of an upstream.
#[derive(Debug, Clone)]
pub struct UpstreamFacts {
    /// Its name under `upstreams`.
    pub name: Arc<str>,
    /// How its server reads requests.
    pub quirks: Quirks,
}

/// `identity` and `assertion` of `torwart.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFacts {
    /// Prefix of every identity header, `X-Auth-` by default.
    pub prefix: String,
    /// Names under the prefix that clients may send because the gateway never sets them.
    pub pass: Vec<String>,
    /// How bytes that a header cannot carry are written.
    pub encoding: Encoding,
    /// Longest value in bytes.
    pub max_bytes: usize,
    /// `assertion.issuer`: who signs assertions, if anybody does.
    pub assertion: Option<Arc<str>>,
    /// Values that principals may share.
    pub before: RenderedBefore,
}

impl Default for IdentityFacts {
    /// The defaults of config.md.
    fn default() -> Self {
        Self {
            prefix: "X-Auth-".to_owned(),
            pass: Vec::new(),
            encoding: Encoding::Percent,
            max_bytes: 4096,
            assertion: None,
            before: RenderedBefore::default(),
        }
    }
}
