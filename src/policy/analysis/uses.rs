//! What the conditions, types and effects of two routes read, and what they compare it with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use crate::policy::condition::{ClaimTest, Comparand, Condition, Lift, Literal, Operand, RequestTest, Test, WordSet};
use crate::policy::forward::{Effects, Part, PrincipalValue};
use crate::policy::narrow::{Narrowing, Owned, Style};
use crate::policy::route::Route;
use crate::policy::routing::{PathPattern, Shape, shape};
use crate::policy::template::{Template, ValueSource};
use crate::policy::value_type::ValueType;
use crate::principal::ClaimPath;

use super::axis::{Axis, Kind};
use super::scene::Frame;

/// A route in its place: what one side has for a class of requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stand<'r> {
    /// The route.
    pub(super) route: &'r Arc<Route>,
    /// Its path.
    pub(super) pattern: &'r PathPattern,
}

/// Everything that is read and compared.
#[derive(Debug, Default)]
pub(super) struct Uses<'r> {
    /// Every axis that is read.
    pub(super) axes: BTreeSet<Axis>,
    /// Axes that are compared with each other.
    pub(super) links: Vec<(Axis, Axis)>,
    /// Texts that axes are compared with.
    pub(super) texts: Vec<(Axis, String)>,
    /// Types that values on an axis have.
    pub(super) types: Vec<(Axis, &'r ValueType)>,
    /// Separators of lists on an axis.
    pub(super) separators: Vec<(Axis, &'r str)>,
    /// Scopes.
    pub(super) scopes: BTreeSet<Box<str>>,
    /// Permissions.
    pub(super) permissions: BTreeSet<Box<str>>,
    /// What claims are compared with.
    pub(super) literals: BTreeMap<ClaimPath, Vec<Literal>>,
    /// Claims that are searched as arrays, and what for.
    pub(super) arrays: BTreeMap<ClaimPath, Vec<&'r Operand>>,
    /// Networks.
    pub(super) networks: Vec<IpNet>,
    /// Ages of a login in seconds.
    pub(super) ages: BTreeSet<i64>,
    /// Names in certificates.
    pub(super) names: BTreeMap<Kind, BTreeSet<String>>,
    /// Parameters that are kept to the principal's values, and how several of those are written.
    pub(super) narrowed: Vec<(Axis, Style)>,
    /// Parameters whose values are JSON, and where in it something is read.
    pub(super) pointers: BTreeSet<(Axis, String)>,
    /// Parameters and headers that must not be spelt otherwise.
    pub(super) bound: BTreeSet<Axis>,
}

impl Stand<'_> {
    /// The axes that a value of the request is made of.
    pub(super) fn axes(&self, source: &ValueSource, frame: &Frame) -> Vec<Axis> {
        match source {
            ValueSource::Host { .. } => frame.label.then_some(Axis::Label).into_iter().collect(),
            ValueSource::Capture { index, .. } => self.path_axes(*index, frame),
            ValueSource::Query { name, .. } => {
                let parameter = name.split_once('#').map_or(&**name, |(parameter, _)| parameter);
                vec![Axis::Query(parameter.into())]
            }
            ValueSource::Header { name, .. } => vec![Axis::Header(name.as_str().into())],
            ValueSource::Form { name, .. } => vec![Axis::Form(name.clone())],
            ValueSource::Body { pointer, .. } => vec![Axis::Body(pointer.as_str().into())],
            ValueSource::Operation => vec![Axis::Operation],
        }
    }

    fn path_axes(&self, capture: usize, frame: &Frame) -> Vec<Axis> {
        let is_it = |number: u8| usize::from(number) == capture;
        let found = self.pattern.segments().iter().enumerate().find_map(|(at, segment)| match shape(segment) {
            Shape::Capture(number) | Shape::Mixed { capture: number, .. } if is_it(number) => Some((at, at + 1)),
            Shape::Rest(number) if is_it(number) => Some((at, usize::MAX)),
            _ => None,
        });
        let Some((from, to)) = found else { return Vec::new() };
        let open = frame.open().filter(|at| (from..to).contains(at)).map(Axis::Segment);
        open.chain((to == usize::MAX && frame.tail).then_some(Axis::Tail)).collect()
    }
}

impl<'r> Uses<'r> {
    /// What a route reads and compares.
    pub(super) fn add(&mut self, stand: &Stand<'r>, frame: &Frame) {
        let route: &'r Route = stand.route;
        if route.needs_token {
            self.axes.extend([Axis::Issuer, Axis::Flow, Axis::Subject, Axis::Client]);
        }
        for condition in &route.conditions {
            self.condition(condition, stand, frame);
        }
        for typed in &route.typed {
            for axis in stand.axes(&typed.source, frame) {
                self.types.push((axis.clone(), &typed.kind));
                self.axes.insert(axis);
            }
        }
        for read in &route.query {
            let axis = Axis::Query(read.name.clone());
            if let Some(pointer) = &read.pointer {
                self.pointers.insert((axis.clone(), pointer.as_str().to_owned()));
            }
            if read.bound.is_some() {
                self.bound.insert(axis.clone());
            }
            self.axes.insert(axis);
        }
        self.effects(&route.effects, stand, frame);
        self.axes.extend(frame.open().map(Axis::Segment));
        if frame.tail {
            self.axes.insert(Axis::Tail);
        }
        if frame.label {
            self.axes.insert(Axis::Label);
        }
    }

    fn condition(&mut self, condition: &'r Condition, stand: &Stand<'r>, frame: &Frame) {
        if let Some(Lift::Clients(names)) = &condition.lift {
            self.texts.extend(names.iter().map(|name| (Axis::Client, name.to_string())));
        }
        match &condition.test {
            Test::AllOf(parts) | Test::AnyOf(parts) => {
                parts.iter().for_each(|part| self.condition(part, stand, frame));
            }
            Test::Not(part) => self.condition(part, stand, frame),
            Test::Scope(WordSet::AllOf(words) | WordSet::AnyOf(words)) => self.scopes.extend(words.iter().cloned()),
            Test::Permission(WordSet::AllOf(words) | WordSet::AnyOf(words)) => {
                self.permissions.extend(words.iter().cloned());
            }
            Test::Organization(templates) => {
                self.axes.extend([Axis::Global, Axis::Organizations]);
                for template in templates {
                    self.link(&Axis::Organizations, template, stand, frame);
                }
            }
            Test::Subject(values) => self.comparands(&Axis::Subject, values, stand, frame),
            Test::Client(values) => self.comparands(&Axis::Client, values, stand, frame),
            Test::Narrow(narrowing) => self.narrowing(narrowing),
            Test::Flow(_) | Test::Issuer(..) => {}
            Test::Global(_) => {
                self.axes.insert(Axis::Global);
            }
            Test::Claim(path, test) => self.claim(path, test, stand, frame),
            Test::Acr(values) => {
                self.axes.insert(Axis::Acr);
                self.texts.extend(values.iter().map(|value| (Axis::Acr, value.to_string())));
            }
            Test::MaxAge(seconds) => {
                self.axes.insert(Axis::Age);
                self.ages.insert(i64::try_from(*seconds).unwrap_or(i64::MAX));
            }
            Test::Network(networks) => {
                self.axes.insert(Axis::Address);
                self.networks.extend(networks.iter().copied());
            }
            Test::Certificate(kind, names) => {
                let kind = Kind::from(*kind);
                self.axes.extend([Axis::Certificate, Axis::Names(kind)]);
                self.names.entry(kind).or_default().extend(names.iter().map(ToString::to_string));
            }
            Test::Request(template, test) => {
                self.template(template, stand, frame);
                if let RequestTest::OneOf(values) = test {
                    for axis in stand.axes(&template.source, frame) {
                        self.texts.extend(values.iter().map(|value| (axis.clone(), value.to_string())));
                    }
                }
            }
        }
    }

    fn narrowing(&mut self, narrowing: &Narrowing) {
        let axis = Axis::Query(narrowing.name.clone());
        let owner = owner(narrowing.to);
        if narrowing.to == Owned::Organizations {
            self.axes.insert(Axis::Global);
        }
        self.narrowed.push((axis.clone(), narrowing.style));
        self.axes.extend([axis.clone(), owner.clone()]);
        self.links.push((owner, axis));
    }

    fn comparands(&mut self, axis: &Axis, values: &'r [Comparand], stand: &Stand<'r>, frame: &Frame) {
        self.axes.insert(axis.clone());
        for value in values {
            match value {
                Comparand::Literal(text) => self.texts.push((axis.clone(), text.to_string())),
                Comparand::Template(template) => self.link(axis, template, stand, frame),
            }
        }
    }

    fn claim(&mut self, path: &ClaimPath, test: &'r ClaimTest, stand: &Stand<'r>, frame: &Frame) {
        let axis = Axis::Claim(path.clone());
        self.axes.insert(axis.clone());
        if let ClaimTest::ContainsAll(operands) | ClaimTest::ContainsAny(operands) = test {
            let searched = self.arrays.entry(path.clone()).or_default();
            for operand in operands {
                if !searched.contains(&operand) {
                    searched.push(operand);
                }
            }
        }
        let (ClaimTest::OneOf(operands) | ClaimTest::ContainsAll(operands) | ClaimTest::ContainsAny(operands)) = test
        else {
            return;
        };
        for operand in operands {
            match operand {
                Operand::Literal(literal) => {
                    if let Literal::Text(text) = literal {
                        self.texts.push((axis.clone(), text.to_string()));
                    }
                    self.literals.entry(path.clone()).or_default().push(literal.clone());
                }
                Operand::Template(template) => self.link(&axis, template, stand, frame),
            }
        }
    }

    fn link(&mut self, axis: &Axis, template: &'r Template, stand: &Stand<'r>, frame: &Frame) {
        self.template(template, stand, frame);
        for other in stand.axes(&template.source, frame) {
            self.links.push((axis.clone(), other));
        }
    }

    fn template(&mut self, template: &'r Template, stand: &Stand<'r>, frame: &Frame) {
        for axis in stand.axes(&template.source, frame) {
            if let Some(separator) = &template.separator {
                self.separators.push((axis.clone(), separator));
            }
            if let Axis::Header(_) | Axis::Form(_) = axis {
                self.bound.insert(axis.clone());
            }
            self.axes.insert(axis);
        }
    }

    /// What is written into headers and parameters.
    fn effects(&mut self, effects: &'r Effects, stand: &Stand<'r>, frame: &Frame) {
        let headers = effects.headers.iter().flat_map(|setting| &setting.parts);
        for part in headers.chain(effects.query.iter().flat_map(|setting| &setting.parts)) {
            match part {
                Part::Text(_) => {}
                Part::Principal(value) => {
                    self.axes.insert(principal_axis(value));
                }
                Part::Request(template) => {
                    for axis in stand.axes(&template.source, frame) {
                        self.axes.insert(axis);
                    }
                }
            }
        }
    }
}

impl Uses<'_> {
    /// The axes on which it depends what is sent.
    pub(super) fn sent(&self, stands: &(Option<Stand<'_>>, Option<Stand<'_>>), frame: &Frame) -> BTreeSet<Axis> {
        let mut sent = Uses::default();
        let mut rewritten = false;
        for stand in stands.0.iter().chain(&stands.1) {
            let effects = &stand.route.effects;
            sent.effects(effects, stand, frame);
            rewritten |= effects.strip_prefix.is_some() || effects.add_prefix.is_some();
        }
        for (axis, _) in &self.narrowed {
            sent.axes.insert(axis.clone());
        }
        let token = other_identity(stands) || !self.narrowed.is_empty();
        let own = self.axes.iter().filter(|axis| rewritten && axis.is_routed() || token && axis.is_token());
        own.cloned().chain(sent.axes).collect()
    }
}

/// The axis whose values a parameter is kept to.
pub(super) fn owner(to: Owned) -> Axis {
    match to {
        Owned::Organizations => Axis::Organizations,
        Owned::Subject => Axis::Subject,
        Owned::Client => Axis::Client,
        Owned::Permissions => Axis::Permissions,
    }
}

/// Whether the two send other identity headers, or one of them none.
pub(super) fn other_identity(stands: &(Option<Stand<'_>>, Option<Stand<'_>>)) -> bool {
    let (Some(old), Some(new)) = stands else { return false };
    old.route.effects.identity != new.route.effects.identity
        || old.route.effects.assertion != new.route.effects.assertion
        || old.route.needs_token != new.route.needs_token
}

/// The axis that a value of the principal is on.
pub(super) fn principal_axis(value: &PrincipalValue) -> Axis {
    match value {
        PrincipalValue::Subject => Axis::Subject,
        PrincipalValue::Client => Axis::Client,
        PrincipalValue::Scopes => Axis::Scope(Box::default()),
        PrincipalValue::Organizations => Axis::Organizations,
        PrincipalValue::Permissions => Axis::Permissions,
        PrincipalValue::Issuer => Axis::Issuer,
        PrincipalValue::Flow => Axis::Flow,
        PrincipalValue::Global => Axis::Global,
        PrincipalValue::Claim(path) => Axis::Claim(path.clone()),
    }
}
