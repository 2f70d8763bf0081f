//! Presets: what the access tokens of known providers look like (tokens.md, "Presets").
//!
//! A preset is data. Everything in it can be overridden by the issuer's own keys, and `torwart issuers` prints what
//! came of both.

use std::time::Duration;

use serde_json::json;

use super::{ClaimSources, FlowRule, Preset, Userinfo};
use crate::principal::ClaimPath;

/// What a preset sets; also what an issuer without one starts from.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// Which claims the principal's fields come from.
    pub claims: ClaimSources,
    /// Claims compared without case.
    pub case_insensitive: Vec<ClaimPath>,
    /// How client-credentials tokens show.
    pub client_credentials_when: Option<FlowRule>,
    /// How users' tokens show, where that is not all the others.
    pub user_when: Option<FlowRule>,
    /// `strict: rfc9068`.
    pub strict_rfc9068: bool,
    /// A token without `sub` is accepted.
    pub subject_optional: bool,
    /// Scope that a denial for absent permissions asks for.
    pub permission_scope: Option<String>,
    /// Claims that only userinfo gives.
    pub userinfo: Option<Userinfo>,
}

impl Preset {
    /// Every preset under the name it has in `torwart.yaml`.
    pub const ALL: [(&'static str, Self); 10] = [
        ("kusy", Self::Kusy),
        ("auth0-organizations", Self::Auth0Organizations),
        ("ameise", Self::Ameise),
        ("keycloak", Self::Keycloak),
        ("entra", Self::Entra),
        ("okta", Self::Okta),
        ("cognito", Self::Cognito),
        ("hydra", Self::Hydra),
        ("duende", Self::Duende),
        ("rfc9068", Self::Rfc9068),
    ];

    /// The name in `torwart.yaml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kusy => "kusy",
            Self::Auth0Organizations => "auth0-organizations",
            Self::Ameise => "ameise",
            Self::Keycloak => "keycloak",
            Self::Entra => "entra",
            Self::Okta => "okta",
            Self::Cognito => "cognito",
            Self::Hydra => "hydra",
            Self::Duende => "duende",
            Self::Rfc9068 => "rfc9068",
        }
    }

    /// The preset of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, preset)| *preset)
    }
}

/// The defaults of a preset, or of an issuer without one.
pub fn defaults(preset: Option<Preset>) -> Defaults {
    let Some(preset) = preset else { return Defaults::plain() };
    match preset {
        Preset::Kusy => kusy(),
        Preset::Auth0Organizations => auth0_organizations(),
        Preset::Ameise => ameise(),
        Preset::Keycloak => keycloak(),
        Preset::Entra => entra(),
        Preset::Okta => okta(),
        Preset::Cognito => cognito(),
        Preset::Hydra => hydra(),
        Preset::Duende => duende(),
        Preset::Rfc9068 => rfc9068(),
    }
}

impl Defaults {
    /// The table in tokens.md, "The principal", without any preset.
    fn plain() -> Self {
        Self {
            claims: ClaimSources {
                subject: top(&["sub"]),
                client: top(&["client_id"]),
                scopes: top(&["scope", "scp"]),
                permissions: Vec::new(),
                organizations: Vec::new(),
                global: Vec::new(),
            },
            case_insensitive: Vec::new(),
            client_credentials_when: None,
            user_when: None,
            strict_rfc9068: false,
            subject_optional: false,
            permission_scope: None,
            userinfo: None,
        }
    }

    fn flow(mut self, rule: FlowRule) -> Self {
        self.client_credentials_when = Some(rule);
        self
    }

    fn user(mut self, rule: FlowRule) -> Self {
        self.user_when = Some(rule);
        self
    }

    fn client(mut self, claims: &[&str]) -> Self {
        self.claims.client = top(claims);
        self
    }

    fn scopes(mut self, claims: &[&str]) -> Self {
        self.claims.scopes = top(claims);
        self
    }

    fn permissions(mut self, path: &[&str]) -> Self {
        self.claims.permissions = vec![nested(path)];
        self
    }
}

/// `ShoEn`-style: a token whose `client_id` equals its `sub` is the client's own, otherwise `sub` is the customer.
fn kusy() -> Defaults {
    Defaults::plain().flow(FlowRule::ClientEqualsSubject)
}

/// Auth0 client credentials with organisations as custom claims. `sub` is `<client>@clients` and `gty` says
/// `client-credentials` (<https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles>); the client is
/// `azp` in Auth0's own profile and `client_id` in its RFC 9068 profile.
fn auth0_organizations() -> Defaults {
    let rule = FlowRule::AnyOf(vec![
        FlowRule::ClaimEquals(ClaimPath::top("gty"), json!("client-credentials")),
        FlowRule::SubjectIs("{client}@clients".to_owned()),
    ]);
    let mut defaults = Defaults::plain().client(&["azp", "client_id"]).flow(rule);
    defaults.claims.organizations = top(&["org_uids"]);
    defaults.claims.global = top(&["global"]);
    defaults
}

/// OIDC with employees as subjects. The claims `client` and `client_id` describe the tenant there, so the OAuth client
/// is `azp`; permissions, broker and client are released in ID token and userinfo only.
fn ameise() -> Defaults {
    let mut defaults = Defaults::plain().client(&["azp"]).permissions(&["ameise/permissions"]).flow(FlowRule::Never);
    defaults.case_insensitive = vec![
        nested(&["sub"]),
        nested(&["broker", "id"]),
        nested(&["broker", "parent_id"]),
        nested(&["broker", "root_id"]),
    ];
    defaults.permission_scope = Some("ameise/permissions".to_owned());
    defaults.userinfo = Some(Userinfo {
        endpoint: None,
        claims: ["ameise/permissions", "broker", "client"].map(str::to_owned).to_vec(),
        cache: Duration::from_mins(5),
    });
    defaults
}

/// Keycloak: `azp` is the client, realm roles are under `realm_access.roles`. A service account is a user named
/// `service-account-<client>`, in lower case as all its user names are
/// (<https://www.keycloak.org/docs/latest/server_admin/#_service_accounts>). Where people register themselves, one of
/// them may have taken that name, so the client has to stand in `client_id` too (`clientId` before version 20): the
/// client scope `service_account` puts it into tokens of service accounts only. `sid` names the session that a user
/// has and a service account has not. A lightweight access token of a service account shows none of the three: unknown.
fn keycloak() -> Defaults {
    let client_is = |claim| FlowRule::ClaimEquals(ClaimPath::top(claim), json!("{client}"));
    let rule = FlowRule::AllOf(vec![
        FlowRule::ClaimEquals(ClaimPath::top("preferred_username"), json!("service-account-{client:lower}")),
        FlowRule::AnyOf(vec![client_is("client_id"), client_is("clientId")]),
    ]);
    let defaults = Defaults::plain().client(&["azp"]).permissions(&["realm_access", "roles"]);
    defaults.flow(rule).user(FlowRule::ClaimExists(ClaimPath::top("sid"), true))
}

/// Microsoft Entra ID: `azp` in version 2 and `appid` in version 1 tokens; application permissions in `roles`,
/// delegated ones in `scp`, which only users' tokens have
/// (<https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>). A token without `scp` could
/// be an ID token too, so an application shows by the optional claim `idtyp`, or by being its own object: `oid` is `sub`
/// (<https://learn.microsoft.com/entra/identity-platform/scenario-protected-web-api-verification-scope-app-roles>),
/// whereas a user's `sub` is made for the pair of user and application.
fn entra() -> Defaults {
    let kind = |word| FlowRule::ClaimEquals(ClaimPath::top("idtyp"), json!(word));
    let rule = FlowRule::AnyOf(vec![
        kind("app"),
        FlowRule::AllOf(vec![
            FlowRule::ClaimExists(ClaimPath::top("scp"), false),
            FlowRule::ClaimEquals(ClaimPath::top("oid"), json!("{subject}")),
        ]),
    ]);
    let user = FlowRule::AnyOf(vec![FlowRule::ClaimExists(ClaimPath::top("scp"), true), kind("user")]);
    Defaults::plain().client(&["azp", "appid"]).scopes(&["scp"]).permissions(&["roles"]).flow(rule).user(user)
}

/// Okta custom authorization servers: `cid` is the client, `scp` an array, `uid` only in users' tokens; without a user
/// `sub` is the client
/// (<https://developer.okta.com/docs/api/openapi/okta-oauth/guides/overview/#reserved-claims-in-the-payload-section>).
fn okta() -> Defaults {
    let rule = FlowRule::AllOf(vec![
        FlowRule::ClaimExists(ClaimPath::top("uid"), false),
        FlowRule::SubjectIs("{client}".to_owned()),
    ]);
    let user = FlowRule::ClaimExists(ClaimPath::top("uid"), true);
    Defaults::plain().client(&["cid"]).scopes(&["scp"]).flow(rule).user(user)
}

/// Amazon Cognito: `sub` equals `client_id` for client credentials, groups are in `cognito:groups`; its access tokens
/// have no `aud`, so `audiences: any` has to be written
/// (<https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html>).
fn cognito() -> Defaults {
    Defaults::plain().permissions(&["cognito:groups"]).flow(FlowRule::ClientEqualsSubject)
}

/// Ory Hydra with JWT access tokens: `scp` is an array unless configured otherwise, `sub` equals `client_id` for client
/// credentials (<https://www.ory.com/docs/oauth2-oidc/jwt-access-token>).
fn hydra() -> Defaults {
    Defaults::plain().scopes(&["scp", "scope"]).flow(FlowRule::ClientEqualsSubject)
}

/// Duende `IdentityServer`: client-credentials tokens have no `sub`
/// (<https://docs.duendesoftware.com/identityserver/tokens/requesting/>); every user's token says by `idp` who has
/// logged the user in. A client that was given a `sub` of its own, by a static claim without prefix, is unknown.
fn duende() -> Defaults {
    let rule = FlowRule::AllOf(vec![
        FlowRule::ClaimExists(ClaimPath::top("sub"), false),
        FlowRule::ClaimExists(ClaimPath::top("client_id"), true),
    ]);
    let mut defaults = Defaults::plain().flow(rule).user(FlowRule::ClaimExists(ClaimPath::top("idp"), true));
    defaults.subject_optional = true;
    defaults
}

/// RFC 9068: `typ` is `at+jwt`, and without a resource owner `sub` identifies the client (section 2.2).
fn rfc9068() -> Defaults {
    let mut defaults = Defaults::plain().flow(FlowRule::ClientEqualsSubject);
    defaults.strict_rfc9068 = true;
    defaults
}

fn top(names: &[&str]) -> Vec<ClaimPath> {
    names.iter().map(|name| ClaimPath::top(name)).collect()
}

fn nested(keys: &[&str]) -> ClaimPath {
    ClaimPath(keys.iter().map(|key| (*key).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_found_by_its_own_name() {
        for (name, preset) in Preset::ALL {
            assert_eq!(preset.as_str(), name);
            assert_eq!(Preset::named(name), Some(preset));
        }
        assert_eq!(Preset::named("Kusy"), None);
    }

    #[test]
    fn without_a_preset_no_flow_no_permission_and_no_organization_is_known() {
        let plain = defaults(None);
        assert_eq!(plain.client_credentials_when, None);
        assert!(plain.claims.permissions.is_empty());
        assert!(plain.claims.organizations.is_empty());
        assert!(plain.claims.global.is_empty());
        assert!(!plain.subject_optional);
    }

    #[test]
    fn only_duende_accepts_tokens_without_subject() {
        for (_, preset) in Preset::ALL {
            assert_eq!(defaults(Some(preset)).subject_optional, preset == Preset::Duende, "{preset:?}");
        }
    }
}
