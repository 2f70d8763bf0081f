//! One side of a comparison: its policies, and how it places and decides made-up requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::policy::body::{BodyValues, Expected};
use crate::policy::evaluate::Question;
use crate::policy::placed::Placed;
use crate::policy::route::{Route, RouteId};
use crate::policy::routing::{RouteEntry, Shape, shape};
use crate::policy::table::{Outcome, Table};
use crate::policy::template::ValueSource;
use crate::policy::truth::Truth;
use crate::policy::{Caller, Decision, Policies};
use crate::principal::{IssuerIdentity, Principal};

use super::axis::{Axis, Choice, Mark, Space};
use super::model::Model;
use super::scene::{Frame, MOMENT, Piece, Scene};
use super::uses::Stand;

/// A compiled configuration as the analysis sees it.
#[derive(Debug, Clone, Copy)]
pub struct Side<'s> {
    /// The policies.
    pub policies: &'s Policies,
    /// What principals know of each issuer, in the order of the configuration.
    pub issuers: &'s [Arc<IssuerIdentity>],
    /// Names of upstreams, in the order of the configuration.
    pub upstreams: &'s [Arc<str>],
}

/// Where a request arrives, and whether its route can answer: no capture without its type, no second reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// The route whose shape is best.
    pub(super) route: Option<RouteId>,
    /// Nothing stands in its way.
    pub(super) open: bool,
}

impl<'s> Side<'s> {
    /// What principals know of the issuer of this name.
    pub(super) fn issuer(&self, name: &str) -> Option<&'s Arc<IssuerIdentity>> {
        self.issuers.iter().find(|issuer| *issuer.name == *name)
    }

    /// Where a request arrives.
    pub(super) fn position(&self, scene: &Scene) -> Position {
        let nowhere = Position { route: None, open: false };
        let Ok(placed) = self.policies.place(&scene.head()) else { return nowhere };
        match &placed.outcome {
            Outcome::Route(route, _) => Position { route: Some(route.id), open: true },
            Outcome::Ambiguous { matched: Some((route, _)), .. } | Outcome::NotFound { misfit: Some(route), .. } => {
                Position { route: Some(route.id), open: false }
            }
            Outcome::Ambiguous { matched: None, .. }
            | Outcome::NotFound { misfit: None, .. }
            | Outcome::MethodNotAllowed { .. } => nowhere,
        }
    }

    /// Decides a request; nothing where it is refused before any policy is asked.
    pub(super) fn decide(&self, scene: &Scene, principal: Option<&Principal>) -> Option<Decision> {
        let placed = self.policies.place(&scene.head()).ok()?;
        let caller = Caller { principal, address: scene.address, certificate: scene.certificate.as_ref(), now: MOMENT };
        Some(match placed.decide(&caller) {
            Decision::NeedsBody => placed.decide_with_body(&caller, &scene.body),
            decided => decided,
        })
    }

    /// The table for a host.
    pub(super) fn table(&self, host: &str) -> Option<&'s Table> {
        let (at, _) = self.policies.tables.hosts.find(host)?;
        self.policies.tables.list.get(at)
    }

    /// A route in its place.
    pub(super) fn stand(&self, table: &'s Table, id: RouteId) -> Option<Stand<'s>> {
        let entry: &RouteEntry = table.router.entries().iter().find(|entry| entry.id == id)?;
        Some(Stand { route: self.policies.route_by_id(id)?, pattern: &entry.pattern })
    }
}

/// A side in the comparison of one class of requests.
#[derive(Debug)]
pub(super) struct Half<'h, 's> {
    /// Whose it is.
    pub(super) side: &'h Side<'s>,
    /// The route that answers, if one does.
    pub(super) stand: Option<Stand<'s>>,
    /// Marks with which the path fits the route, for axes that are not in question.
    pub(super) base: BTreeMap<Axis, usize>,
}

impl<'h, 's> Half<'h, 's> {
    /// The side with marks that fit its route's types.
    pub(super) fn new(side: &'h Side<'s>, stand: Option<Stand<'s>>, frame: &Frame, space: &Space) -> Self {
        let mut base = BTreeMap::new();
        for (axis, marks) in space.axes.iter().filter(|(axis, _)| axis.is_routed()) {
            let fitting = marks.iter().position(|mark| stand.is_none_or(|stand| fits(&stand, axis, mark, frame)));
            base.insert(axis.clone(), fitting.unwrap_or(0));
        }
        let mut half = Self { side, stand, base };
        half.open_up(frame, space);
        half
    }

    /// Takes other marks where the path has a second reading, if some have none.
    fn open_up(&mut self, frame: &Frame, space: &Space) {
        let is_open = |half: &Self| {
            let scene = frame.scene(&half.with_base(space, &Choice::new()), &[]);
            scene.is_some_and(|scene| {
                let position = half.side.position(&scene);
                position.open && position.route == half.stand.map(|stand| stand.route.id())
            })
        };
        let Some(stand) = self.stand.filter(|_| !is_open(self)) else { return };
        for axis in self.base.keys().cloned().collect::<Vec<_>>() {
            let before = self.base.get(&axis).copied().unwrap_or(0);
            for (at, mark) in space.marks(&axis).iter().enumerate() {
                if !fits(&stand, &axis, mark, frame) {
                    continue;
                }
                self.base.insert(axis.clone(), at);
                if is_open(self) {
                    return;
                }
            }
            self.base.insert(axis, before);
        }
    }

    /// Whether a request with nothing but fitting marks arrives at the route.
    pub(super) fn arrives(&self, model: &Model<'_>) -> bool {
        let scene = model.frame.scene(&self.with_base(model.space, &Choice::new()), model.issuers);
        let own = self.stand.map(|stand| stand.route.id());
        scene.is_some_and(|scene| self.side.position(&scene).route == own)
    }

    /// These marks, and fitting ones on every other axis of the path.
    pub(super) fn with_base<'c>(&self, space: &'c Space, choice: &Choice<'c>) -> Choice<'c> {
        let mut whole = choice.clone();
        for (axis, marks) in &space.axes {
            if let Some(mark) = self.base.get(axis).and_then(|at| marks.get(*at)) {
                whole.entry(axis).or_insert(mark);
            }
        }
        whole
    }

    /// Asks something of the route and a request that has arrived there, with everything read that it reads. Nothing when the
    /// request does not come so far.
    pub(super) fn ask<T>(&self, scene: &Scene, ask: impl FnOnce(&Route, &Placed<'_>, &Question<'_>) -> T) -> Option<T> {
        let head = scene.head();
        let placed = self.side.policies.place(&head).ok()?;
        let Outcome::Route(route, captures) = &placed.outcome else { return None };
        let query = placed.bound_values(route).ok()?;
        let body = match (&route.body, placed.expected(route, Some(&scene.body)).ok()?) {
            (Some(rules), Expected::Whole) => rules.read(&head, &scene.body).ok()?,
            (_, Expected::Nothing) | (None, Expected::Whole) => BodyValues::Nothing,
        };
        let caller =
            Caller { principal: None, address: scene.address, certificate: scene.certificate.as_ref(), now: MOMENT };
        let supposed = Truth::Unknown;
        let question =
            Question { captures, query: &query, headers: &scene.headers, body: &body, caller: &caller, supposed };
        Some(ask(route, &placed, &question))
    }
}

/// Whether a mark on an axis of the path has the types that the route gives to the capture there.
fn fits(stand: &Stand<'_>, axis: &Axis, mark: &Mark, frame: &Frame) -> bool {
    let Mark::Text(Some(text)) = mark else { return true };
    // The path that the class was found by arrives, however it is spelt.
    let is_sample = |at: usize| matches!(frame.pieces.get(at), Some(Piece::Open(sample)) if sample == text);
    let text = match axis {
        Axis::Segment(at) => match stand.pattern.segments().get(*at).map(|segment| shape(segment)) {
            Some(Shape::Literal(literal)) => return literal == text || is_sample(*at),
            Some(Shape::Mixed { prefix, suffix, .. }) => {
                match text.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix)) {
                    Some(inner) if !inner.is_empty() => inner,
                    _ => return is_sample(*at),
                }
            }
            Some(Shape::Capture(_) | Shape::Rest(_)) | None => text,
        },
        _ => text,
    };
    let shown = crate::target::canonical::shown(text);
    stand.route.typed.iter().all(|typed| match typed.source {
        ValueSource::Capture { .. } | ValueSource::Host { .. } => {
            !stand.axes(&typed.source, frame).contains(axis) || typed.kind.fits(&shown)
        }
        ValueSource::Query { .. }
        | ValueSource::Header { .. }
        | ValueSource::Form { .. }
        | ValueSource::Body { .. }
        | ValueSource::Operation => true,
    })
}

impl Frame {
    /// Positions of the segments that some pattern leaves open.
    pub(super) fn open(&self) -> impl Iterator<Item = usize> {
        self.pieces.iter().enumerate().filter(|(_, piece)| matches!(piece, Piece::Open(_))).map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests;
