//! Questions about policies as such, without a request of anybody's: what tests see of them and would not notice, what two
//! configurations decide differently, what a single one cannot mean as it stands (policy.md, "Analysis"). Pure.

mod axis;
mod classes;
mod connection;
mod content;
pub mod coverage;
mod diff;
mod encode;
mod half;
mod language;
mod lint;
mod model;
pub mod mutants;
mod owned;
mod pages;
mod same;
mod scene;
mod search;
mod solver;
mod space;
mod spelling;
mod uses;
mod verdict;

use crate::document::Mapping;

pub use diff::{Change, Difference, Tokens, Told, Which, Witness, compare};
pub use half::Side;
pub use lint::inspect;
pub use pages::Pages;
pub use scene::{MOMENT, Scene, Wanted};
pub use verdict::{Effect, Part, Refusal, Verdict};

/// The name of a route as records have it: its own, or `GET,POST /path` as written.
pub fn route_name(route: &Mapping) -> String {
    super::compile::route_name(route)
}

#[cfg(test)]
mod tests;
