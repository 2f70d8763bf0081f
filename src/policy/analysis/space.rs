//! Which values have to be told apart: for every axis the texts that it is compared with, directly or by way of other
//! axes, texts that equal none of them, as many as axes could differ in, and all of it inside and outside of every type.

use std::collections::BTreeSet;

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::policy::condition::Literal;
use crate::policy::equality::is_uuid;
use crate::policy::narrow::Style;
use crate::policy::routing::{Shape, shape};
use crate::policy::value_type::ValueType;
use crate::principal::{ClaimPath, Flow};

use super::axis::{Axis, Mark, Space};
use super::connection::{addresses, certificate_names};
use super::content;
use super::language;
use super::scene::{Frame, Piece};
use super::spelling::{component, is_label, is_path, keeping, turned};
use super::uses::{Stand, Uses};

/// Different values of one component of axes that are told apart.
const MOST_FRESH: usize = 5;
/// Values of which every pair is tried where several may be sent.
const MOST_PAIRED: usize = 14;
/// Values that members of arrays are taken from.
const MOST_MEMBERS: usize = 14;
/// Values that an array is searched for.
const MOST_SEARCHED: usize = 3;

/// What the marks of a class of requests are made from.
#[derive(Debug)]
pub(super) struct Ground<'g, 'r> {
    /// What is read and compared.
    pub(super) uses: &'g Uses<'r>,
    /// The class of paths.
    pub(super) frame: &'g Frame,
    /// The routes of both sides.
    pub(super) stands: &'g [Stand<'r>],
    /// How many issuers there are.
    pub(super) issuers: usize,
    /// Whether some issuer compares without case.
    pub(super) folds: bool,
    /// Segments that some pattern names: no text of its own accord is one of them.
    pub(super) taken: &'g BTreeSet<String>,
    /// Subjects by which issuers tell client credentials.
    pub(super) subjects: &'g [String],
}

impl Ground<'_, '_> {
    /// Every axis with its marks.
    pub(super) fn space(&self) -> Space {
        let mut space = Space::default();
        let components = self.components();
        for component in &components {
            self.component(component, &mut space);
        }
        self.words(&mut space);
        self.caller(&mut space);
        let issuers = (0..self.issuers).map(|issuer| Mark::Issuer(Some(issuer)));
        if self.uses.axes.contains(&Axis::Issuer) {
            space.axes.insert(Axis::Issuer, issuers.chain([Mark::Issuer(None)]).collect());
            let flows = [Flow::User, Flow::ClientCredentials, Flow::Unknown];
            space.axes.insert(Axis::Flow, flows.map(Mark::Flow).to_vec());
        }
        if self.uses.axes.contains(&Axis::Global) {
            space.axes.insert(Axis::Global, [None, Some(true), Some(false)].map(Mark::Global).to_vec());
        }
        space
    }

    /// Sets of axes that are compared with each other, however indirectly.
    fn components(&self) -> Vec<BTreeSet<Axis>> {
        let mut components: Vec<BTreeSet<Axis>> =
            self.uses.axes.iter().filter(|axis| holds_text(axis)).map(|axis| BTreeSet::from([axis.clone()])).collect();
        // Some issuers tell the flow by how subject and client compare.
        let told = (Axis::Subject, Axis::Client);
        let told = Some(&told).filter(|_| !self.subjects.is_empty() && self.uses.axes.contains(&Axis::Issuer));
        for (one, other) in self.uses.links.iter().chain(told) {
            let (joined, mut rest): (Vec<_>, Vec<_>) =
                components.into_iter().partition(|set| set.contains(one) || set.contains(other));
            rest.push(joined.into_iter().flatten().collect());
            components = rest;
        }
        components
    }

    fn component(&self, axes: &BTreeSet<Axis>, space: &mut Space) {
        let mut constants: BTreeSet<String> =
            self.uses.texts.iter().filter(|(axis, _)| axes.contains(axis)).map(|(_, text)| text.clone()).collect();
        for axis in axes {
            if let Axis::Claim(path) = axis {
                let literals = self.uses.literals.get(path).into_iter().flatten();
                constants.extend(literals.filter_map(|literal| match literal {
                    Literal::Int(number) => Some(number.to_string()),
                    _ => None,
                }));
            }
        }
        let path = axes.iter().any(Axis::is_routed);
        let pieces: Vec<String> =
            constants.iter().filter(|_| path).flat_map(|text| text.split('/')).map(str::to_owned).collect();
        constants.extend(pieces.into_iter().filter(|piece| !piece.is_empty()));
        let varied = constants.iter().filter(|text| self.folds || path || is_uuid(text));
        let varied: Vec<String> = varied.map(|text| turned(text)).collect();
        constants.extend(varied);
        let mut types: Vec<&ValueType> = Vec::new();
        for (_, kind) in self.uses.types.iter().filter(|(axis, _)| axes.contains(axis)) {
            let kind = item(kind);
            if !types.contains(&kind) {
                types.push(kind);
            }
        }
        let several = axes.iter().any(|axis| {
            matches!(axis, Axis::Query(_) | Axis::Header(_) | Axis::Form(_) | Axis::Body(_) | Axis::Claim(_))
        });
        let wanted = axes.len() + usize::from(several);
        if wanted > MOST_FRESH {
            space.gaps.push("more values are compared with each other than are told apart".to_owned());
        }
        let fresh = language::texts(&types, wanted.min(MOST_FRESH), [&constants, self.taken]);
        space.gaps.extend(fresh.gap);
        let mut texts = fresh.texts;
        let uuids: Vec<String> = texts.iter().filter(|text| is_uuid(text)).take(1).map(|text| turned(text)).collect();
        texts.extend(uuids);
        texts.extend(constants.into_iter().filter(|text| !text.is_empty()));
        if axes.contains(&Axis::Subject) {
            let forms = self.subjects.iter().filter(|form| *form != "{client}");
            let told: Vec<String> =
                forms.flat_map(|form| texts.iter().map(|text| form.replace("{client}", text))).collect();
            texts.extend(told);
        }
        let mut known = BTreeSet::new();
        texts.retain(|text| known.insert(text.clone()));
        for axis in axes {
            let marks = self.marks(axis, &texts, space);
            space.axes.insert(axis.clone(), marks);
        }
    }

    fn marks(&self, axis: &Axis, texts: &[String], space: &mut Space) -> Vec<Mark> {
        match axis {
            Axis::Label => {
                let labels = texts.iter().filter(|text| is_label(text)).map(|text| text.to_ascii_lowercase());
                distinct(labels.map(|text| Mark::Text(Some(text))))
            }
            Axis::Segment(at) => self.segment(*at, texts),
            Axis::Tail => {
                let two = texts.first().map(|text| format!("{text}/{text}"));
                let tails = texts.iter().filter(|text| is_path(text)).cloned().chain(two).chain([String::new()]);
                distinct([Mark::Text(None)].into_iter().chain(tails.map(|text| Mark::Text(Some(text)))))
            }
            Axis::Query(name) | Axis::Form(name) => self.query(axis, name, texts, space),
            Axis::Body(pointer) => body(pointer, texts),
            Axis::Header(name) => self.header(name, texts),
            Axis::Organizations => {
                for text in texts {
                    space.axes.insert(Axis::Organization(text.as_str().into()), switch());
                }
                vec![Mark::Flag(true), Mark::Flag(false)]
            }
            Axis::Permissions => {
                for text in texts {
                    space.axes.insert(Axis::Permission(text.as_str().into()), switch());
                }
                vec![Mark::Flag(true), Mark::Flag(false)]
            }
            Axis::Claim(path) => self.claim(path, texts, space),
            Axis::Operation => {
                let names = texts
                    .iter()
                    .filter(|text| is_label(text) && !text.starts_with(|first: char| first.is_ascii_digit()));
                distinct([Mark::Text(None)].into_iter().chain(names.map(|text| Mark::Text(Some(text.clone())))))
            }
            _ => {
                let texts = texts.iter().map(|text| Mark::Text(Some(text.clone())));
                distinct(texts.chain([Mark::Text(None)]))
            }
        }
    }

    /// Texts for a segment: in every shape that some pattern has there, and in spellings that have a second reading.
    fn segment(&self, at: usize, texts: &[String]) -> Vec<Mark> {
        let sample = match self.frame.pieces.get(at) {
            Some(Piece::Open(sample)) => sample.clone(),
            _ => String::new(),
        };
        let mut whole: Vec<String> = vec![sample.clone()];
        let texts: Vec<String> = texts.iter().flat_map(|text| [text.clone(), keeping(text)]).collect();
        for stand in self.stands {
            match stand.pattern.segments().get(at).map(|segment| shape(segment)) {
                Some(Shape::Mixed { prefix, suffix, .. }) => {
                    whole.extend(texts.iter().map(|text| format!("{prefix}{text}{suffix}")));
                }
                Some(Shape::Literal(text)) => whole.push(text.to_owned()),
                Some(Shape::Capture(_) | Shape::Rest(_)) | None => whole.extend(texts.iter().cloned()),
            }
        }
        whole.push(sample.to_ascii_uppercase());
        whole.extend(["{};1", "{}.", "{}\u{1}1", "{}%2541"].map(|form| form.replace("{}", &sample)));
        let fits = |text: &String| !text.is_empty() && !text.contains('/') && text != "." && text != "..";
        distinct(whole.into_iter().filter(fits).map(|text| Mark::Text(Some(text))))
    }

    /// No parameter, one, several, and spellings that servers read differently.
    fn query(&self, axis: &Axis, name: &str, texts: &[String], space: &mut Space) -> Vec<Mark> {
        let raw = component(name);
        let mut texts: Vec<String> = texts.to_vec();
        texts.push(String::new());
        let separators: Vec<&str> =
            self.uses.separators.iter().filter(|(known, _)| known == axis).map(|(_, separator)| *separator).collect();
        let piece = |text: &str| format!("{raw}={}", component(text));
        let mut marks = vec![Mark::Query(Vec::new())];
        marks.extend(texts.iter().map(|text| Mark::Query(vec![piece(text)])));
        if texts.len() > MOST_PAIRED {
            space.gaps.push(format!("`query.{name}` is compared with many values"));
        }
        let paired: Vec<&String> = texts.iter().take(MOST_PAIRED).collect();
        for (one, other) in pairs(&paired) {
            marks.push(Mark::Query(vec![piece(one), piece(other)]));
            marks.extend(separators.iter().map(|by| Mark::Query(vec![piece(&format!("{one}{by}{other}"))])));
        }
        marks.extend(texts.first().map(|text| Mark::Query(vec![format!("{};x", piece(text))])));
        for (_, style) in self.uses.narrowed.iter().filter(|(known, _)| known == axis) {
            let one = paired.iter().map(|text| vec![text.as_str()]);
            let two = pairs(&paired).map(|(one, other)| vec![one.as_str(), other.as_str()]);
            let texts = one.chain(two).chain([Vec::new()]).map(|items| match style {
                Style::Repeat | Style::Comma => items.join(","),
                Style::Json => Value::from(items).to_string(),
            });
            marks.extend(texts.chain(["{}".to_owned()]).map(|text| Mark::Query(vec![piece(&text)])));
        }
        let pointers: Vec<&String> =
            self.uses.pointers.iter().filter(|(known, _)| known == axis).map(|(_, pointer)| pointer).collect();
        if pointers.len() > 1 {
            space.gaps.push(format!("`query.{name}` is read in several places"));
        }
        for pointer in pointers {
            let json = body(pointer, &texts).into_iter().filter_map(|mark| match mark {
                Mark::Json(Some(value)) => Some(content::pointed(pointer, &value).to_string()),
                Mark::Text(text) => text,
                _ => None,
            });
            marks.extend(json.map(|json| Mark::Query(vec![piece(&json)])));
        }
        if self.uses.bound.contains(axis) {
            marks.extend([
                Mark::Query(vec![format!("{raw}%5B%5D=1")]),
                Mark::Query(vec![format!("x;{raw}=1")]),
                Mark::Query(vec![format!("{raw}=%FF")]),
                Mark::Query(vec!["x=%zz".to_owned()]),
            ]);
        }
        distinct(marks)
    }

    fn header(&self, name: &str, texts: &[String]) -> Vec<Mark> {
        let mut marks = vec![Mark::Fields(Vec::new())];
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { return marks };
        let field = |text: &str| Some((name.clone(), HeaderValue::from_bytes(text.as_bytes()).ok()?));
        let fields: Vec<_> = texts.iter().filter_map(|text| field(text)).chain(field("")).collect();
        marks.extend(fields.iter().map(|field| Mark::Fields(vec![field.clone()])));
        let paired: Vec<_> = fields.iter().take(MOST_PAIRED).collect();
        for (one, other) in pairs(&paired) {
            marks.push(Mark::Fields(vec![(*one).clone(), (*other).clone()]));
        }
        marks.extend(HeaderValue::from_bytes(b"\xff").ok().map(|value| Mark::Fields(vec![(name.clone(), value)])));
        if self.uses.bound.contains(&Axis::Header(name.as_str().into())) {
            let alias = name.as_str().replacen('-', "_", 1);
            let alias = if alias == name.as_str() { None } else { HeaderName::from_bytes(alias.as_bytes()).ok() };
            marks.extend(alias.map(|alias| Mark::Fields(vec![(alias, HeaderValue::from_static("1"))])));
            let hop = HeaderValue::from_str(name.as_str()).ok();
            marks.extend(hop.map(|hop| Mark::Fields(vec![(http::header::CONNECTION, hop)])));
        }
        distinct(marks)
    }

    /// Absent, of another type, every literal, every text as a string and, where it is one, as an integer; arrays of them
    /// where arrays are asked for.
    fn claim(&self, path: &ClaimPath, texts: &[String], space: &mut Space) -> Vec<Mark> {
        let mut values: Vec<Value> = texts.iter().map(|text| Value::String(text.clone())).collect();
        values.extend(texts.iter().filter_map(|text| Some(text.parse::<i64>().ok()?.into())));
        for literal in self.uses.literals.get(path).into_iter().flatten() {
            values.extend(match literal {
                Literal::Text(text) => vec![Value::String(text.to_string())],
                Literal::Int(number) => vec![(*number).into(), number.saturating_add(1).into()],
                Literal::Float(number) => {
                    let other = number + 1.0;
                    [*number, other].into_iter().filter_map(serde_json::Number::from_f64).map(Value::Number).collect()
                }
                Literal::Bool(_) => vec![Value::Bool(true), Value::Bool(false)],
            });
        }
        let mut known: Vec<Value> = Vec::new();
        for value in values {
            if !known.contains(&value) {
                known.push(value);
            }
        }
        let mut marks: Vec<Mark> = vec![Mark::Json(None)];
        marks.extend(known.iter().map(|value| Mark::Json(Some(value.clone()))));
        marks.push(Mark::Json(Some(Value::Object(serde_json::Map::new()))));
        if let Some(searched) = self.uses.arrays.get(path) {
            if known.len() > MOST_MEMBERS || searched.len() > MOST_SEARCHED {
                space.gaps.push(format!("claim `{}` is searched for many values", path.0.join("/")));
            }
            known.truncate(MOST_MEMBERS);
            // What is found in an array is found in one that holds nothing but a member for each search.
            let mut arrays: Vec<Vec<Value>> = vec![Vec::new()];
            for _ in 0..searched.len().min(MOST_SEARCHED) {
                let longer = arrays.iter().flat_map(|array| {
                    let last = array.last().and_then(|last| known.iter().position(|value| value == last));
                    let after = known.iter().skip(last.map_or(0, |last| last + 1));
                    after.map(|value| array.iter().chain([value]).cloned().collect())
                });
                let longer: Vec<Vec<Value>> = longer.collect();
                arrays.extend(longer);
            }
            arrays.push(vec![Value::Null]);
            marks.extend(arrays.into_iter().map(|array| Mark::Json(Some(array.into()))));
        }
        distinct(marks)
    }

    /// Scopes and permissions: each is held or not.
    fn words(&self, space: &mut Space) {
        let unnamed = |known: &BTreeSet<Box<str>>, word: &str| -> Box<str> {
            let mut word = word.to_owned();
            while known.contains(word.as_str()) {
                word.push('x');
            }
            word.into()
        };
        let asks = |axis: &Axis| self.uses.axes.contains(axis);
        if !self.uses.scopes.is_empty() || asks(&Axis::Scope(Box::default())) {
            for word in self.uses.scopes.iter().cloned().chain([unnamed(&self.uses.scopes, "another-scope")]) {
                space.axes.insert(Axis::Scope(word), switch());
            }
        }
        if !self.uses.permissions.is_empty() || asks(&Axis::Permissions) {
            let other = unnamed(&self.uses.permissions, "another-permission");
            for word in self.uses.permissions.iter().cloned().chain([other]) {
                if self.folds {
                    space.axes.insert(Axis::Permission(turned(&word).into()), switch());
                }
                space.axes.insert(Axis::Permission(word), switch());
            }
            space.axes.insert(Axis::Permissions, vec![Mark::Flag(true), Mark::Flag(false)]);
        }
    }

    /// What the connection and the clock tell.
    fn caller(&self, space: &mut Space) {
        if self.uses.axes.contains(&Axis::Address) {
            space.axes.insert(Axis::Address, addresses(&self.uses.networks));
        }
        if self.uses.axes.contains(&Axis::Age) {
            let around = self.uses.ages.iter().flat_map(|age| [*age, age.saturating_add(1)]);
            let ages = [Some(0)].into_iter().chain(around.map(Some)).chain([None, Some(-86_400)]);
            space.axes.insert(Axis::Age, distinct(ages.map(Mark::Age)));
        }
        for (kind, names) in &self.uses.names {
            space.axes.insert(Axis::Certificate, switch());
            space.axes.insert(Axis::Names(*kind), certificate_names(*kind, names, &mut space.gaps));
        }
    }
}

/// Nothing, every text at a pointer, several where it leads to several, values that are no text, and what is no JSON.
fn body(pointer: &str, texts: &[String]) -> Vec<Mark> {
    let mut values: Vec<Value> = texts.iter().map(|text| Value::String(text.clone())).collect();
    values.extend(texts.iter().filter_map(|text| Some(text.parse::<i64>().ok()?.into())));
    values.extend([Value::Bool(true), Value::Null, Value::Object(serde_json::Map::new())]);
    if pointer.contains('*') {
        let few: Vec<&String> = texts.iter().take(MOST_PAIRED).collect();
        let two: Vec<Value> = pairs(&few).map(|(one, other)| vec![one.as_str(), other.as_str()].into()).collect();
        values.extend(two);
        values.push(Value::Array(Vec::new()));
    }
    let values = values.into_iter().map(|value| Mark::Json(Some(value)));
    distinct([Mark::Json(None)].into_iter().chain(values).chain([Mark::Text(Some("{".to_owned()))]))
}

/// The type of single values.
fn item(kind: &ValueType) -> &ValueType {
    if let ValueType::List { of, .. } = kind { item(of) } else { kind }
}

/// Whether texts are told apart on the axis.
fn holds_text(axis: &Axis) -> bool {
    match axis {
        Axis::Label
        | Axis::Segment(_)
        | Axis::Tail
        | Axis::Query(_)
        | Axis::Header(_)
        | Axis::Form(_)
        | Axis::Body(_)
        | Axis::Operation
        | Axis::Subject
        | Axis::Client
        | Axis::Acr
        | Axis::Organizations
        | Axis::Permissions
        | Axis::Claim(_) => true,
        Axis::Issuer
        | Axis::Flow
        | Axis::Global
        | Axis::Age
        | Axis::Scope(_)
        | Axis::Permission(_)
        | Axis::Organization(_)
        | Axis::Address
        | Axis::Certificate
        | Axis::Names(_) => false,
    }
}

/// The marks of something that is there or not.
fn switch() -> Vec<Mark> {
    vec![Mark::Flag(false), Mark::Flag(true)]
}

fn distinct(marks: impl IntoIterator<Item = Mark>) -> Vec<Mark> {
    let mut found: Vec<Mark> = Vec::new();
    for mark in marks {
        if !found.contains(&mark) {
            found.push(mark);
        }
    }
    found
}

fn pairs<'p, T>(items: &'p [&'p T]) -> impl Iterator<Item = (&'p T, &'p T)> {
    items.iter().enumerate().flat_map(move |(at, one)| items.iter().skip(at + 1).map(move |other| (*one, *other)))
}
