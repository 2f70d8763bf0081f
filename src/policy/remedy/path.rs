//! Paths that a route would match, near one that none did.

use super::{Change, example};
use crate::policy::placed::Placed;
use crate::policy::route::Route;
use crate::policy::routing::PathPattern;
use crate::policy::table::Captures;
use crate::target::Target;

/// Paths that are proposed at most.
const MOST: usize = 4;

impl Placed<'_> {
    /// Paths of this table's routes, the nearest first: with the request's own text wherever a capture stands.
    pub(super) fn paths(&self) -> Vec<Change> {
        let asked = self.target.path();
        let routes = self.policies.routes().filter(|route| {
            self.table.documents.iter().any(|document| std::sync::Arc::ptr_eq(document, &route.document))
        });
        let mut near: Vec<(usize, String)> = Vec::new();
        for route in routes.filter(|route| route.methods.contains(self.head.method)) {
            let Some(path) = aligned(asked, route) else { continue };
            let distance = distance(&path, asked);
            if path != asked && !near.iter().any(|(_, known)| *known == path) {
                near.push((distance, path));
            }
        }
        near.sort();
        near.into_iter().take(MOST).map(|(_, path)| Change::Path(path)).collect()
    }
}

/// How much of a path has to be typed anew: letters that differ, whatever segment they stand in.
fn distance(one: &str, other: &str) -> usize {
    let (mut left, mut right) = (one.split('/'), other.split('/'));
    let mut sum = 0;
    loop {
        match (left.next(), right.next()) {
            (None, None) => return sum,
            (one, other) => {
                let (one, other) = (one.unwrap_or_default(), other.unwrap_or_default());
                sum += if one == other { 0 } else { 1 + one.len().abs_diff(other.len()) };
            }
        }
    }
}

/// The route's path with the asked path's segments where its captures stand; `None` when they are too few.
fn aligned(asked: &str, route: &Route) -> Option<String> {
    let decoded = Target::parse(asked, route.effects.rules).ok()?;
    let segments: Vec<String> = decoded.segments().map(|segment| without_parameters(&segment).to_owned()).collect();
    let captures = route.pattern.captures_of(&segments)?;
    let own = |number: usize, text: String| match kind(route, number) {
        Some(kind) if !kind.fits(&text) => example(kind),
        _ => Some(text),
    };
    let captures: Option<Vec<_>> = captures.into_iter().enumerate().map(|(number, text)| own(number, text)).collect();
    Some(route.pattern.path(&captures?))
}

/// What some servers drop from a segment is not meant.
fn without_parameters(segment: &str) -> &str {
    segment.split(';').next().unwrap_or_default().trim_end_matches(['.', ' '])
}

fn kind(route: &Route, number: usize) -> Option<&crate::policy::value_type::ValueType> {
    let source = |typed: &&crate::policy::compile::TypedValue| matches!(typed.source, crate::policy::template::ValueSource::Capture { index, .. } if index == number);
    route.typed.iter().find(source).map(|typed| &typed.kind)
}

/// The path with captures that have their types: the principal's own subject where it fits, else an example.
pub(super) fn misfits(asked: &str, route: &Route, own: Option<&str>) -> Vec<Change> {
    let Ok(target) = Target::parse(asked, route.effects.rules) else { return Vec::new() };
    let segments: Vec<String> = target.segments().map(std::borrow::Cow::into_owned).collect();
    let Some(captures) = route.pattern.captures_of(&segments) else { return Vec::new() };
    let misfit = captures.iter().enumerate().find_map(|(number, text)| {
        let kind = kind(route, number).filter(|kind| !kind.fits(text))?;
        Some((number, kind))
    });
    let Some((number, kind)) = misfit else { return Vec::new() };
    let texts = own.filter(|own| kind.fits(own)).map(str::to_owned).into_iter().chain(example(kind));
    let name = route.captures.get(number).cloned().unwrap_or_default();
    texts
        .map(|text| {
            let mut captures = captures.clone();
            captures.get_mut(number).into_iter().for_each(|capture| text.clone_into(capture));
            Change::Capture(name.clone(), text, route.pattern.path(&captures))
        })
        .collect()
}

/// The path of a request with another value for one capture.
pub(super) fn with_capture(route: &Route, captures: &Captures<'_>, number: usize, text: &str) -> Option<String> {
    let pattern: &PathPattern = &route.pattern;
    let mut texts: Vec<String> = captures.path.texts().map(|text| text.unwrap_or_default().to_owned()).collect();
    text.clone_into(texts.get_mut(number)?);
    (!text.is_empty()).then(|| pattern.path(&texts))
}
