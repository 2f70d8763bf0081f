//! What becomes of preflights, and what answers say to pages of other origins.

use std::sync::Arc;

use crate::policy::cors::{CrossOrigin, Grant, Preflight};
use crate::policy::decision::{Cause, Decision, Denial, Ground, Permit};
use crate::policy::forward::Effects;
use crate::policy::placed::Placed;
use crate::policy::route::Route;
use crate::policy::table::Outcome;

impl Placed<'_> {
    /// What every answer to the request says about who may read it; `None`: that is the upstream's to say.
    pub fn grant(&self) -> Option<Grant> {
        let of_route = |route: &'_ Arc<Route>| match &route.cors {
            Some(CrossOrigin::Gateway(cors)) => Some(cors.grant(self.head.headers)),
            Some(CrossOrigin::Upstream(_)) | None => None,
        };
        match &self.outcome {
            Outcome::Route(route, _) | Outcome::Ambiguous { matched: Some((route, _)), .. } => of_route(route),
            Outcome::Ambiguous { matched: None, .. } | Outcome::NotFound { document: None, .. } => None,
            Outcome::NotFound { document: Some(document), .. } | Outcome::MethodNotAllowed { document, .. } => {
                document.cors.as_ref().map(|cors| cors.grant(self.head.headers))
            }
        }
    }

    /// The answer to a preflight that the gateway answers itself.
    pub fn preflight(&self) -> Option<Preflight> {
        match &self.outcome {
            Outcome::Route(route, _) => match &route.cors {
                Some(CrossOrigin::Gateway(cors)) => Some(cors.preflight(self.preflight?, self.head.headers)),
                Some(CrossOrigin::Upstream(_)) | None => None,
            },
            Outcome::Ambiguous { .. } | Outcome::NotFound { .. } | Outcome::MethodNotAllowed { .. } => None,
        }
    }

    /// What becomes of a preflight: answered, or passed on with nothing of anybody's identity.
    pub(super) fn decide_preflight(&self, route: &Arc<Route>) -> Option<Decision> {
        if let Some(answer) = self.preflight() {
            return Some(Decision::Answered(answer));
        }
        let Some(CrossOrigin::Upstream(effects)) = route.cors.as_ref().filter(|_| self.preflight.is_some()) else {
            return None;
        };
        let permit = |path_and_query| Permit {
            ground: Ground::Preflight(Arc::clone(route), Arc::clone(effects)),
            path_and_query,
            identity: None,
            statement: None,
            headers: Vec::new(),
            lifted: Vec::new(),
            preflight: true,
        };
        let (path, query) = (self.target.path(), self.target.query());
        Some(match effects.plain_target(path, query) {
            Ok(target) => Decision::Allow(permit(target)),
            Err(refusal) => {
                let denial = Denial::of_route(Cause::Forbidden(refusal.reason), route, None);
                match Effects::unchanged_target(path, query).ok().filter(|_| route.observes) {
                    Some(target) => Decision::Observed(permit(target), denial),
                    None => Decision::Deny(denial),
                }
            }
        })
    }
}
