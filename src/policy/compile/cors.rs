//! `cors`: from what is written to what pages may do.

use std::sync::Arc;

use crate::diagnostic::Source;
use crate::document::{Entry, Mapping, Node};
use crate::policy::cors::{Cors, CrossOrigin, Origins};
use crate::policy::decision::AuthorizationHeader;
use crate::policy::forward::Effects;

use super::report::{Report, at};

/// What `cors` of a route is compiled with.
pub(super) struct Crossing<'c> {
    /// The document.
    pub(super) source: &'c Arc<Source>,
    /// Whether the route reads a token.
    pub(super) token: bool,
    /// Whether it only observes, which leaves everything to the upstream.
    pub(super) observes: bool,
    /// What forwarding on this route does.
    pub(super) effects: &'c Effects,
}

impl Crossing<'_> {
    /// Reads `cors` of a route, or of the document in its place.
    pub(super) fn of(&self, entry: &Entry, report: &mut Report) -> Option<CrossOrigin> {
        if entry.value.text() == Some("upstream") {
            return Some(CrossOrigin::Upstream(Arc::new(self.nobodys())));
        }
        let map = entry.value.map()?;
        let cors = read(map, self.source, report)?;
        if self.observes {
            return Some(CrossOrigin::Upstream(Arc::new(self.nobodys())));
        }
        if self.token && !cors.headers.iter().any(|name| name.eq_ignore_ascii_case("authorization")) {
            let message = "pages cannot send the token that this route needs: `headers` does not name `Authorization`";
            report.warning(
                at(self.source, entry.key.span),
                message,
                "add `Authorization` to `headers`; `*` does not stand for it",
            );
        }
        Some(CrossOrigin::Gateway(Arc::new(cors)))
    }

    /// The effects of a preflight on its way to the upstream: what the route removes is removed, and unless it only
    /// observes every credential with it; nothing is set.
    fn nobodys(&self) -> Effects {
        let effects = self.effects;
        let credentials: &[&str] = if self.observes { &[] } else { &["authorization", "cookie"] };
        let removes = effects.removes.iter().cloned().chain(credentials.iter().map(|name| (*name).into()));
        Effects {
            identity: Box::new([]),
            assertion: None,
            fixed: Box::new([]),
            headers: Box::new([]),
            query: Box::new([]),
            removes: removes.collect(),
            authorization: if self.observes { AuthorizationHeader::Keep } else { AuthorizationHeader::Strip },
            timeout: effects.timeout,
            max_body: effects.max_body,
            strip_prefix: effects.strip_prefix.clone(),
            add_prefix: effects.add_prefix.clone(),
            longest_target: effects.longest_target,
            rules: effects.rules,
        }
    }
}

/// Reads what pages may do.
pub(super) fn read(map: &Mapping, source: &Arc<Source>, report: &mut Report) -> Option<Cors> {
    let texts =
        |key: &str| -> Box<[Box<str>]> { map.list(key).iter().filter_map(Node::text).map(Into::into).collect() };
    let (origins, headers) = (texts("origins"), texts("headers"));
    let credentials = map.bool("credentials").unwrap_or(false);
    let any = origins.iter().any(|origin| **origin == *"*");
    for (key, wide) in [("origins", any), ("headers", headers.iter().any(|name| **name == *"*"))] {
        let place = map.get(key).map_or_else(Default::default, |node| node.span);
        if wide && credentials {
            let help = "name them, or leave `credentials` out: browsers take no `*` where credentials are sent";
            report.wrong(at(source, place), format!("`\"*\"` under `{key}` beside `credentials`"), help);
            return None;
        }
    }
    if any && origins.len() > 1 {
        let place = map.get("origins").map_or_else(Default::default, |node| node.span);
        report.wrong(at(source, place), "`\"*\"` beside other origins", "remove the others, or `\"*\"`");
        return None;
    }
    Some(Cors {
        origins: if any { Origins::Any } else { Origins::These(origins) },
        methods: map.get("methods").map(|_| texts("methods")),
        headers,
        credentials,
        max_age: map.duration("max_age").map(|duration| duration.as_secs()),
    })
}
