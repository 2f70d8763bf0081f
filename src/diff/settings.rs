//! What decides about requests and stands outside of policies: issuers, upstreams, identity headers, limits.

use std::fmt::Debug;

use serde_json::Value;

use crate::config::{Config, Issuer, Upstream};
use crate::policy::{Policies, Resource, resource_url};
use crate::response::Metadata;

/// A part of the configuration that is not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Where it is, such as ``issuer `shoen` ``.
    pub place: String,
    /// What of it: names of keys, or that it is only there before or after.
    pub keys: Vec<&'static str>,
}

/// Every part in which two configurations differ.
pub(super) fn differing(old: &Config, new: &Config) -> Vec<Setting> {
    let mut found = named("issuer", &old.issuers, &new.issuers, |issuer| &issuer.name, issuer);
    found.extend(named("upstream", &old.upstreams, &new.upstreams, |upstream| &upstream.name, upstream));
    let general = [
        differs("identity", &old.identity, &new.identity),
        differs("limits", &old.limits, &new.limits),
        differs("trusted_proxies", &old.trusted_proxies, &new.trusted_proxies),
        differs("client_address_from", &old.client_address_from, &new.client_address_from),
    ];
    let keys: Vec<_> = general.into_iter().flatten().collect();
    if !keys.is_empty() {
        found.push(Setting { place: "torwart.yaml".to_owned(), keys });
    }
    found
}

/// What the two publish of protected resources, where it is not the same.
pub(super) fn published(old: (&Policies, &Config), new: (&Policies, &Config)) -> Vec<Setting> {
    let all = |(policies, config): (&Policies, &Config)| -> Vec<(String, Value)> {
        let told = |resource: &Resource| {
            let url = resource_url(resource.host(), resource.path());
            (url, Metadata::of(resource, &config.issuers).told())
        };
        policies.resources().iter().map(told).collect()
    };
    named(
        "metadata of",
        &all(old),
        &all(new),
        |(url, _)| url,
        |(_, old), (_, new)| {
            let keys = ["authorization_servers", "scopes_supported", "tls_client_certificate_bound_access_tokens"];
            keys.into_iter().filter(|key| old.get(key) != new.get(key)).collect()
        },
    )
}

/// Parts that have names.
fn named<T>(
    what: &str,
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> &str,
    keys: impl Fn(&T, &T) -> Vec<&'static str>,
) -> Vec<Setting> {
    let mut found = Vec::new();
    for one in old {
        let place = format!("{what} `{}`", name(one));
        match new.iter().find(|other| name(other) == name(one)) {
            None => found.push(Setting { place, keys: vec!["removed"] }),
            Some(other) => {
                let keys = keys(one, other);
                if !keys.is_empty() {
                    found.push(Setting { place, keys });
                }
            }
        }
    }
    for other in new.iter().filter(|other| old.iter().all(|one| name(one) != name(other))) {
        found.push(Setting { place: format!("{what} `{}`", name(other)), keys: vec!["added"] });
    }
    found
}

/// The key, if the values are not the same. What is compared is what a developer sees of them, which for secrets is
/// nothing: they decide nothing here.
fn differs<T: Debug>(key: &'static str, old: &T, new: &T) -> Option<&'static str> {
    (format!("{old:?}") != format!("{new:?}")).then_some(key)
}

fn issuer(old: &Issuer, new: &Issuer) -> Vec<&'static str> {
    let keys = [
        differs("issuer", &old.issuer, &new.issuer),
        differs("audiences", &old.audiences, &new.audiences),
        differs("leeway", &old.leeway, &new.leeway),
        differs("algorithms", &old.algorithms, &new.algorithms),
        differs("strict", &old.strict_rfc9068, &new.strict_rfc9068),
        differs("keys", &old.keys, &new.keys),
        differs("claims", &old.claims, &new.claims),
        differs("claims_case", &old.case_insensitive, &new.case_insensitive),
        differs("client_credentials_when", &old.client_credentials_when, &new.client_credentials_when),
        differs("user_when", &old.user_when, &new.user_when),
        differs("subject_optional", &old.subject_optional, &new.subject_optional),
        differs("introspection", &old.introspection, &new.introspection),
        differs("userinfo", &old.userinfo, &new.userinfo),
        differs("sender_constraint", &old.sender_constraint_required, &new.sender_constraint_required),
    ];
    keys.into_iter().flatten().collect()
}

fn upstream(old: &Upstream, new: &Upstream) -> Vec<&'static str> {
    let keys = [
        differs("endpoints", &old.endpoints, &new.endpoints),
        differs("protocol", &old.protocol, &new.protocol),
        differs("tls", &old.tls, &new.tls),
        differs("quirks", &old.quirks, &new.quirks),
        differs("host", &old.host, &new.host),
        differs("rewrite_location", &old.rewrite_location, &new.rewrite_location),
        differs("response_timeout", &old.response_timeout, &new.response_timeout),
    ];
    keys.into_iter().flatten().collect()
}
