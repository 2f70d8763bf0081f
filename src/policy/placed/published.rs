//! Whether a request is for metadata of a protected resource, and which metadata a challenge names.

use std::sync::Arc;

use crate::policy::metadata::{Published, WELL_KNOWN, is_published};
use crate::policy::placed::Placed;

impl Placed<'_> {
    /// What is published under the request's path, if that belongs to metadata: before any route, and asking nobody who
    /// they are.
    pub fn published(&self) -> Option<Published> {
        let path = self.target.path();
        if self.table.resources.is_empty() || !is_published(path) {
            return None;
        }
        let suffix = path.strip_prefix(WELL_KNOWN).unwrap_or_default();
        let asked = suffix.strip_suffix('/').unwrap_or(suffix);
        let is_asked = |position: &usize| {
            self.policies.tables.resources.get(*position).is_some_and(|resource| *resource.path == *asked)
        };
        Some(self.table.resources.clone().find(is_asked).map_or(Published::Nothing, Published::Resource))
    }

    /// The path of the resource whose metadata a challenge names; `None` where none are published.
    pub fn resource_path(&self) -> Option<Arc<str>> {
        match self.document() {
            Some(document) => document.metadata.clone(),
            None => (!self.table.resources.is_empty()).then(|| "".into()),
        }
    }
}
