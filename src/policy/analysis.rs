//! Questions about policies that no request asks: what tests see of them, what they would not notice.

pub mod coverage;
pub mod mutants;

use crate::document::Mapping;

/// The name of a route as records have it: its own, or `GET,POST /path` as written.
pub fn route_name(route: &Mapping) -> String {
    super::compile::route_name(route)
}
