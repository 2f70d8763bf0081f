//! What clients are told of protected resources (RFC 9728): where one is, whose tokens it takes, and which scopes its
//! policies ask for. Everything is settled when documents are compiled.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::policy::condition::{Condition, Test, WordSet};
use crate::policy::routing::PathPattern;
use crate::principal::IssuerSet;

/// Where clients look; the path of the resource follows (RFC 9728 section 3.1).
pub(in crate::policy) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// A protected resource: everything under one path of one host pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    pub(in crate::policy) host: Box<str>,
    pub(in crate::policy) path: Arc<str>,
    pub(in crate::policy) issuers: IssuerSet,
    pub(in crate::policy) scopes: BTreeSet<Box<str>>,
}

/// What is published under a path that belongs to metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// A resource: a position in [`crate::policy::Policies::resources`].
    Resource(usize),
    /// Nothing is.
    Nothing,
}

impl Resource {
    /// The host pattern.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path, percent-encoded and without a slash at its end; empty for the whole host.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whose tokens it takes.
    pub fn issuers(&self) -> &IssuerSet {
        &self.issuers
    }

    /// The scopes that its policies name, in order.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(|scope| &**scope)
    }
}

/// The URL of the metadata of the resource at this path. Resources are known by https alone (RFC 9728 section 1.2),
/// whatever brings requests from there to here.
pub fn metadata_url(authority: &str, path: &str) -> String {
    format!("https://{}{WELL_KNOWN}{path}", without_usual_port(authority))
}

/// The URL by which the resource at this path is known.
pub fn resource_url(authority: &str, path: &str) -> String {
    format!("https://{}{path}", without_usual_port(authority))
}

fn without_usual_port(authority: &str) -> &str {
    authority.strip_suffix(":443").unwrap_or(authority)
}

/// The path of the resource that a document with this base path protects: as far as it is the same for all requests.
pub(in crate::policy) fn resource_path(base_path: &str) -> Arc<str> {
    let segments = base_path.split('/').filter(|segment| !segment.is_empty());
    let literal: Vec<_> = segments.take_while(|segment| !segment.contains('{')).collect();
    match PathPattern::parse(&format!("/{}", literal.join("/"))) {
        Ok(pattern) if !literal.is_empty() => pattern.path(&[]).into(),
        _ => "".into(),
    }
}

/// Whether a pattern lies where the gateway publishes metadata.
pub(in crate::policy) fn is_published(path: &str) -> bool {
    path.strip_prefix(WELL_KNOWN).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The scopes that a condition names, wherever in it: what a token may need. What stands under `not` is not wanted.
pub(in crate::policy) fn scopes<'c>(condition: &'c Condition, found: &mut BTreeSet<&'c str>) {
    match &condition.test {
        Test::Scope(WordSet::AllOf(words) | WordSet::AnyOf(words)) => found.extend(words.iter().map(|word| &**word)),
        Test::AllOf(parts) | Test::AnyOf(parts) => parts.iter().for_each(|part| scopes(part, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_has_the_path_that_all_its_requests_have_in_common() {
        for (base, path) in [
            ("", ""),
            ("/", ""),
            ("/crm", "/crm"),
            ("/crm/v2/", "/crm/v2"),
            ("/crm/{tenant}/x", "/crm"),
            ("/{tenant}", ""),
            ("/a b/ö", "/a%20b/%C3%B6"),
        ] {
            assert_eq!(&*resource_path(base), path, "{base}");
        }
    }

    #[test]
    fn metadata_stand_between_host_and_path_rfc_9728_section_3_1() {
        let url = "https://api.example.com/.well-known/oauth-protected-resource";
        assert_eq!(metadata_url("api.example.com", ""), url);
        assert_eq!(metadata_url("api.example.com:443", "/crm"), format!("{url}/crm"));
        assert_eq!(resource_url("api.example.com:8443", "/crm"), "https://api.example.com:8443/crm");
        assert!(is_published("/.well-known/oauth-protected-resource/{*rest}"));
        assert!(!is_published("/.well-known/oauth-protected-resources") && !is_published("/.well-known/{name}"));
    }
}
