//! What a route says to pages of other origins, to be compared: the order in which origins, methods and headers are named
//! makes no difference.

use std::collections::BTreeSet;
use std::fmt;

use crate::policy::cors::{Cors, CrossOrigin, Origins};
use crate::policy::route::Route;

/// `cors` of a route.
#[derive(Debug, Clone)]
pub struct Pages(CrossOrigin);

impl Pages {
    /// What a route says; nothing where it says nothing.
    pub(super) fn of(route: &Route) -> Option<Self> {
        route.cors.clone().map(Self)
    }
}

impl PartialEq for Pages {
    /// Whether answers say the same. What the upstream says is its own business on both sides.
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (CrossOrigin::Gateway(one), CrossOrigin::Gateway(other)) => alike(one, other),
            (CrossOrigin::Upstream(_), CrossOrigin::Upstream(_)) => true,
            (CrossOrigin::Gateway(_), CrossOrigin::Upstream(_))
            | (CrossOrigin::Upstream(_), CrossOrigin::Gateway(_)) => false,
        }
    }
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn alike(one: &Cors, other: &Cors) -> bool {
    let Cors { origins, methods, headers, credentials, max_age } = one;
    let origins = match (origins, &other.origins) {
        (Origins::Any, Origins::Any) => true,
        (Origins::These(one), Origins::These(other)) => set(one) == set(other),
        (Origins::Any, Origins::These(_)) | (Origins::These(_), Origins::Any) => false,
    };
    let lower = |names: &[Box<str>]| names.iter().map(|name| name.to_ascii_lowercase()).collect::<BTreeSet<_>>();
    origins
        && methods.as_deref().map(set) == other.methods.as_deref().map(set)
        // RFC 9110 section 5.1.
        && lower(headers) == lower(&other.headers)
        && *credentials == other.credentials
        && *max_age == other.max_age
}

fn set(names: &[Box<str>]) -> BTreeSet<&str> {
    names.iter().map(|name| &**name).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn names(names: &[&str]) -> Box<[Box<str>]> {
        names.iter().map(|name| Box::from(*name)).collect()
    }

    fn cors() -> Cors {
        Cors {
            origins: Origins::These(names(&["https://a.test", "https://b.test"])),
            methods: Some(names(&["GET", "PUT"])),
            headers: names(&["Authorization", "x-a"]),
            credentials: false,
            max_age: Some(60),
        }
    }

    fn gateway(cors: Cors) -> Pages {
        Pages(CrossOrigin::Gateway(Arc::new(cors)))
    }

    #[test]
    fn the_order_of_names_and_the_case_of_headers_make_no_difference() {
        let other = Cors {
            origins: Origins::These(names(&["https://b.test", "https://a.test"])),
            methods: Some(names(&["PUT", "GET"])),
            headers: names(&["X-A", "authorization"]),
            ..cors()
        };
        assert_eq!(gateway(cors()), gateway(other));
    }

    #[test]
    fn everything_else_does() {
        let changes: [fn(&mut Cors); 9] = [
            |cors| cors.origins = Origins::Any,
            |cors| cors.origins = Origins::These(names(&["https://a.test"])),
            |cors| cors.origins = Origins::These(names(&["https://A.test", "https://b.test"])),
            |cors| cors.methods = None,
            |cors| cors.methods = Some(names(&["GET"])),
            |cors| cors.methods = Some(names(&["get", "PUT"])),
            |cors| cors.headers = names(&["Authorization"]),
            |cors| cors.credentials = true,
            |cors| cors.max_age = None,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut other = cors();
            change(&mut other);
            assert_ne!(gateway(cors()), gateway(other), "change {number}");
        }
    }
}
