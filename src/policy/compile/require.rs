//! `require`: from what is written to conditions.

use std::sync::Arc;

use crate::diagnostic::{Place, Source, Span};
use crate::document::{Entry, Mapping, Node, Value};
use crate::policy::condition::{
    CertificateName, ClaimTest, Comparand, Condition, Lift, Literal, Operand, RequestTest, Test, WordSet,
};
use crate::policy::surroundings::IssuerFacts;
use crate::principal::{ClaimPath, Flow, IssuerSet};

use super::bypass::Bypass;
use super::names::{Names, Use, Written, written};
use super::report::{Report, at};

/// What conditions of one route are compiled with.
pub(super) struct Conditions<'c> {
    /// The document.
    pub(super) source: &'c Arc<Source>,
    /// Every issuer, for names.
    pub(super) issuers: &'c [IssuerFacts],
    /// Whether the route reads a token.
    pub(super) token: bool,
    /// What is lifted for client credentials.
    pub(super) bypass: Option<&'c Bypass>,
    /// What templates can name.
    pub(super) names: &'c mut Names,
    /// What is wrong.
    pub(super) report: &'c mut Report,
}

/// Where a condition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Directly in `require`, or in an `all_of` there: a failure gives its own reason.
    Top,
    /// Inside `any_of`, or an `all_of` in one.
    Inside,
    /// Under `not`.
    Negated,
}

/// Whether a `require` reads no token: `public`, or `token: none`.
pub(super) fn reads_no_token(node: &Node) -> bool {
    node.text() == Some("public") || node.map().is_some_and(|map| map.get("token").is_some())
}

impl Conditions<'_> {
    /// The conditions of a `require`, all of which must hold, in the order in which they are written.
    pub(super) fn of(&mut self, node: &Node) -> Vec<Condition> {
        let Some(map) = node.map() else { return Vec::new() };
        if map.declared().next().is_none() {
            let help = "write `require: authenticated` for any valid token, `require: public` for no token at all";
            self.report.wrong(self.place(node.span), "a `require` without a condition", help);
        }
        self.map(map, Position::Top)
    }

    fn map(&mut self, map: &Mapping, position: Position) -> Vec<Condition> {
        let mut conditions = Vec::new();
        for entry in map.declared() {
            let before = conditions.len();
            conditions.extend(self.entry(entry, position));
            // Every entry is a condition or was reported. Should one ever be neither, it must not vanish.
            if conditions.len() == before && entry.key.text != "token" && !self.report.has_errors() {
                let message = format!("`{}` cannot be compiled", entry.key.text);
                self.report.wrong(self.place(entry.key.span), message, "write it as policy.md describes it");
            }
        }
        conditions
    }

    /// The conditions of one entry. Several for what has several parts (`claim`, `request`, `certificate`, `all_of`).
    fn entry(&mut self, entry: &Entry, position: Position) -> Vec<Condition> {
        let key = entry.key.text.as_str();
        let place = self.place(entry.key.span);
        let about_token = !matches!(key, "network" | "certificate" | "request" | "token" | "any_of" | "all_of" | "not");
        if about_token && !self.token {
            let message = format!("`{key}` asks about a token, but this route reads none");
            self.report.wrong(place, message, "remove it, or remove `token: none`");
            return Vec::new();
        }
        let test = match key {
            "scope" => self.words(&entry.value, "scope").map(Test::Scope),
            "permission" => self.words(&entry.value, "permission").map(Test::Permission),
            "organization" => self.organization(&entry.value).map(Test::Organization),
            "subject" => self.comparands(&entry.value).map(Test::Subject),
            "client" => self.comparands(&entry.value).map(Test::Client),
            "flow" => entry.value.text().and_then(flow).map(Test::Flow),
            "global" => entry.value.bool().map(Test::Global),
            "issuer" => self.issuers(&entry.value),
            "network" => nonempty(entry.value.list().iter().filter_map(Node::network)).map(Test::Network),
            "claim" => return self.claims(&entry.value, position),
            "authentication" => return self.authentication(entry, position),
            "certificate" => return self.certificate(entry, position),
            "request" => return self.request(&entry.value, position),
            "all_of" => return self.all_of(entry, position),
            "any_of" => self.any_of(entry, position),
            "not" => self.not(entry),
            "token" => {
                // A route that says so itself reads none.
                if position != Position::Top || self.token {
                    let help = "write it beside the other entries of `require`";
                    self.report.wrong(place.clone(), "`token` belongs to the route as a whole", help);
                }
                None
            }
            _ => None,
        };
        test.map(|test| self.condition(test, place, position)).into_iter().collect()
    }

    fn condition(&self, test: Test, place: Place, position: Position) -> Condition {
        let lift = match position {
            Position::Negated => None,
            Position::Top | Position::Inside => {
                self.bypass.filter(|bypass| bypass.lifts(&test)).map(|bypass| bypass.lift.clone())
            }
        };
        Condition { test, place, lift }
    }

    fn words(&mut self, node: &Node, what: &str) -> Option<WordSet> {
        let set = match &node.value {
            Value::Text(word) => return self.word(word, node.span, what).map(|word| WordSet::AllOf(Box::new([word]))),
            Value::List(items) => {
                let items: Vec<_> = items.iter().filter_map(Node::text).collect();
                let help =
                    format!("write `{what}: {{all_of: [{0}]}}` or `{what}: {{any_of: [{0}]}}`", items.join(", "));
                self.report.wrong(self.place(node.span), "a bare list does not say whether all or any are meant", help);
                return None;
            }
            Value::Map(map) => map,
            _ => return None,
        };
        let mut read = |key: &str| -> Option<Box<[Box<str>]>> {
            nonempty(set.list(key).iter().filter_map(|item| self.word(item.text()?, item.span, what)))
        };
        match (read("all_of"), read("any_of")) {
            (Some(words), None) => Some(WordSet::AllOf(words)),
            (None, Some(words)) => Some(WordSet::AnyOf(words)),
            _ => None,
        }
    }

    fn word(&mut self, word: &str, span: Span, what: &str) -> Option<Box<str>> {
        if let Written::Template(_) = written(word) {
            let help =
                "write the word itself; what a request names is compared under `organization`, `subject` or `claim`";
            self.report.wrong(self.place(span), format!("a {what} is no template"), help);
            return None;
        }
        if what == "scope" && word.contains(char::is_whitespace) {
            let list = word.split_whitespace().collect::<Vec<_>>().join(", ");
            let help = format!("write `scope: {{all_of: [{list}]}}`");
            self.report.wrong(self.place(span), format!("`{word}` is not one scope"), help);
            return None;
        }
        Some(word.into())
    }

    fn organization(&mut self, node: &Node) -> Option<Box<[crate::policy::template::Template]>> {
        let items = match &node.value {
            Value::List(items) => {
                let list = items.iter().filter_map(Node::text).map(|item| format!("\"{item}\"")).collect::<Vec<_>>();
                let help = format!("write `organization: {{all_of: [{}]}}`", list.join(", "));
                self.report.wrong(self.place(node.span), "a bare list does not say whether all or any are meant", help);
                return None;
            }
            Value::Map(map) => map.list("all_of"),
            _ => std::slice::from_ref(node),
        };
        let mut templates = Vec::new();
        for item in items {
            let text = item.text()?;
            let place = self.place(item.span);
            if let Written::Template(inner) = written(text) {
                templates.push(self.names.template(inner, Use::Condition, &place, self.report)?);
            } else {
                let help = "write a template such as `\"{org}\"`, naming the value that must be one of the principal's";
                self.report.wrong(place, format!("`{text}` is not a template"), help);
                return None;
            }
        }
        nonempty(templates)
    }

    fn comparands(&mut self, node: &Node) -> Option<Box<[Comparand]>> {
        let items = node.one_or_many();
        let values: Vec<_> = items.iter().filter_map(|item| self.comparand(item)).collect();
        if values.len() == items.len() { nonempty(values) } else { None }
    }

    fn comparand(&mut self, node: &Node) -> Option<Comparand> {
        let text = node.text()?;
        match written(text) {
            Written::Literal(text) => Some(Comparand::Literal(text.into())),
            Written::Template(inner) => {
                let place = self.place(node.span);
                self.names.template(inner, Use::Condition, &place, self.report).map(Comparand::Template)
            }
            Written::Mixed => self.mixed(text, node.span),
        }
    }

    /// Reports a template with text around it.
    fn mixed<T>(&mut self, text: &str, span: Span) -> Option<T> {
        let help = "write `\"{name}\"` and nothing else, or text without braces";
        self.report.wrong(
            self.place(span),
            format!("in `require` a template stands alone, but this is `{text}`"),
            help,
        );
        None
    }

    fn issuers(&mut self, node: &Node) -> Option<Test> {
        let mut ids = Vec::new();
        let mut names: Vec<Box<str>> = Vec::new();
        for item in node.one_or_many() {
            let name = item.text()?;
            let Some(issuer) = self.issuers.iter().find(|issuer| *issuer.name == *name) else {
                let known = self.issuers.iter().map(|issuer| &*issuer.name);
                self.report.unknown(at(self.source, item.span), "issuer", name, known);
                return None;
            };
            ids.push(issuer.id);
            names.push(name.into());
        }
        (!ids.is_empty()).then(|| Test::Issuer(IssuerSet::new(ids), names.into()))
    }

    fn claims(&mut self, node: &Node, position: Position) -> Vec<Condition> {
        let mut conditions = Vec::new();
        if let Some(map) = node.map() {
            for entry in map.entries() {
                let place = self.place(entry.key.span);
                if let Some(test) = entry.value.map().and_then(|test| self.claim_test(test)) {
                    let test = Test::Claim(ClaimPath::top(&entry.key.text), test);
                    conditions.push(self.condition(test, place, position));
                }
            }
            if map.is_empty() {
                let help = "write a claim and a test, such as `{tenant: {exists: true}}`";
                self.report.wrong(self.place(node.span), "a `claim` without a test", help);
            }
        }
        for item in node.list() {
            let Some(map) = item.map() else { continue };
            let path: Vec<_> = map.one_or_many("name").iter().filter_map(Node::text).map(str::to_owned).collect();
            if let Some(test) = self.claim_test(map)
                && !path.is_empty()
            {
                let place = self.place(item.head());
                conditions.push(self.condition(Test::Claim(ClaimPath(path.into()), test), place, position));
            }
        }
        conditions
    }

    fn claim_test(&mut self, map: &Mapping) -> Option<ClaimTest> {
        if let Some(exists) = map.bool("exists") {
            return Some(ClaimTest::Exists(exists));
        }
        if let Some(node) = map.get("equals") {
            return self.operand(node).map(|operand| ClaimTest::OneOf(Box::new([operand])));
        }
        if let Some(node) = map.get("one_of") {
            return self.operands(node.list()).map(ClaimTest::OneOf);
        }
        let node = map.get("contains")?;
        match &node.value {
            Value::List(items) => {
                let list = items.iter().filter_map(Node::text).collect::<Vec<_>>().join(", ");
                let help = format!("write `contains: {{all_of: [{list}]}}` or `contains: {{any_of: [{list}]}}`");
                self.report.wrong(self.place(node.span), "a bare list does not say whether all or any are meant", help);
                None
            }
            Value::Map(set) => match (set.get("all_of"), set.get("any_of")) {
                (Some(all), None) => self.operands(all.list()).map(ClaimTest::ContainsAll),
                (None, Some(any)) => self.operands(any.list()).map(ClaimTest::ContainsAny),
                _ => None,
            },
            _ => self.operand(node).map(|operand| ClaimTest::ContainsAll(Box::new([operand]))),
        }
    }

    fn operands(&mut self, items: &[Node]) -> Option<Box<[Operand]>> {
        let operands: Vec<_> = items.iter().filter_map(|item| self.operand(item)).collect();
        if operands.len() == items.len() { nonempty(operands) } else { None }
    }

    fn operand(&mut self, node: &Node) -> Option<Operand> {
        let literal = match &node.value {
            Value::Bool(value) => Literal::Bool(*value),
            Value::Int(value) => Literal::Int(*value),
            Value::Float(value) => Literal::Float(*value),
            Value::Text(text) => match written(text) {
                Written::Literal(text) => Literal::Text(text.into()),
                Written::Template(inner) => {
                    let place = self.place(node.span);
                    return self.names.template(inner, Use::Condition, &place, self.report).map(Operand::Template);
                }
                Written::Mixed => return self.mixed(text, node.span),
            },
            Value::Null | Value::List(_) | Value::Map(_) => return None,
        };
        Some(Operand::Literal(literal))
    }

    fn authentication(&mut self, entry: &Entry, position: Position) -> Vec<Condition> {
        let Some(map) = entry.value.map() else { return Vec::new() };
        for (node, value) in map.list("acr").iter().filter_map(|node| Some((node, node.text()?))) {
            if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
                let help = "the challenge lists them with spaces between (RFC 9470 section 3): letters, digits and punctuation of ASCII";
                self.report.wrong(self.place(node.span), format!("`{value}` is not one `acr`"), help);
            }
        }
        let acr = nonempty(map.list("acr").iter().filter_map(Node::text).map(Into::into)).map(Test::Acr);
        let max_age = map.duration("max_age").map(|age| Test::MaxAge(age.as_secs()));
        let tests = acr.into_iter().chain(max_age).collect();
        self.together(tests, &entry.key.span, position)
    }

    fn certificate(&mut self, entry: &Entry, position: Position) -> Vec<Condition> {
        let Some(map) = entry.value.map() else { return Vec::new() };
        let kinds = [
            (CertificateName::Dns, "dns"),
            (CertificateName::Uri, "uri"),
            (CertificateName::Email, "email"),
            (CertificateName::Subject, "subject"),
        ];
        let tests = kinds.into_iter().filter_map(|(kind, key)| {
            let names = nonempty(map.one_or_many(key).iter().filter_map(Node::text).map(Into::into))?;
            Some(Test::Certificate(kind, names))
        });
        self.together(tests.collect(), &entry.key.span, position)
    }

    fn request(&mut self, node: &Node, position: Position) -> Vec<Condition> {
        let Some(map) = node.map() else { return Vec::new() };
        if map.is_empty() {
            let help = "write a value and what it must be, such as `{query.action: list}`";
            self.report.wrong(self.place(node.span), "a `request` without a test", help);
        }
        let mut conditions = Vec::new();
        for entry in map.entries() {
            let place = self.place(entry.key.span);
            let Some(template) = self.names.template(&entry.key.text, Use::Condition, &place, self.report) else {
                continue;
            };
            if let Some(test) = self.request_test(&entry.value) {
                conditions.push(self.condition(Test::Request(template, test), place, position));
            }
        }
        conditions
    }

    fn request_test(&mut self, node: &Node) -> Option<RequestTest> {
        match node.text() {
            Some("present") => return Some(RequestTest::Present),
            Some("absent") => return Some(RequestTest::Absent),
            _ => {}
        }
        let mut values: Vec<Box<str>> = Vec::new();
        for item in node.one_or_many() {
            let text = item.text()?;
            match written(text) {
                Written::Literal(text) => values.push(text.into()),
                Written::Template(_) | Written::Mixed => {
                    let help = "write the value itself; two values of one request are not compared with each other";
                    self.report.wrong(self.place(item.span), format!("`{text}` is not a literal"), help);
                    return None;
                }
            }
        }
        nonempty(values).map(RequestTest::OneOf)
    }

    fn all_of(&mut self, entry: &Entry, position: Position) -> Vec<Condition> {
        let parts: Vec<_> = self.parts(entry, position);
        // Parts of an `all_of` give their reasons each for itself, as if they stood beside it.
        parts.into_iter().flatten().collect()
    }

    fn any_of(&mut self, entry: &Entry, _position: Position) -> Option<Test> {
        let key_span = entry.key.span;
        let parts = self.parts(entry, Position::Inside);
        nonempty(parts.into_iter().map(|part| self.conjunction(part, key_span))).map(Test::AnyOf)
    }

    /// The conditions of every map in a list.
    fn parts(&mut self, entry: &Entry, position: Position) -> Vec<Vec<Condition>> {
        let mut parts = Vec::new();
        for item in entry.value.list() {
            let Some(map) = item.map() else { continue };
            if map.declared().next().is_none() {
                let help = "write a condition, or remove the entry";
                self.report.wrong(self.place(item.span), "an alternative without a condition", help);
            }
            parts.push(self.map(map, position));
        }
        parts
    }

    fn not(&mut self, entry: &Entry) -> Option<Test> {
        let map = entry.value.map()?;
        let mut entries = map.declared();
        let (Some(only), None) = (entries.next(), entries.next()) else {
            let help = "write exactly one entry; several `not` can stand in an `all_of`";
            self.report.wrong(self.place(entry.value.head()), "`not` takes a map with exactly one entry", help);
            return None;
        };
        let key = only.key.text.as_str();
        if matches!(key, "any_of" | "all_of" | "not" | "token") {
            let message = format!("`{key}` cannot stand under `not`");
            self.report.wrong(self.place(only.key.span), message, "write `not` for each single condition instead");
            return None;
        }
        let parts = self.entry(only, Position::Negated);
        (!parts.is_empty()).then(|| Test::Not(Box::new(self.conjunction(parts, only.key.span))))
    }

    /// Several tests of one entry: each a condition.
    fn together(&self, tests: Vec<Test>, span: &Span, position: Position) -> Vec<Condition> {
        tests.into_iter().map(|test| self.condition(test, self.place(*span), position)).collect()
    }

    /// One condition of several that must all hold.
    fn conjunction(&self, mut parts: Vec<Condition>, span: Span) -> Condition {
        match (parts.pop(), parts.is_empty()) {
            (Some(only), true) => only,
            (last, _) => {
                parts.extend(last);
                let place = parts.first().map_or_else(|| self.place(span), |first| first.place.clone());
                Condition { test: Test::AllOf(parts.into()), place, lift: None }
            }
        }
    }

    fn place(&self, span: Span) -> Place {
        at(self.source, span)
    }
}

impl Bypass {
    /// Whether a test is of a kind that is lifted.
    fn lifts(&self, test: &Test) -> bool {
        match &self.kinds {
            None => test.compares_with_template(),
            Some(kinds) => kinds.contains(&test.reason()) && test.reason() != crate::policy::Reason::AnyOf,
        }
    }
}

impl Test {
    /// `subject` and `claim` tests that compare with a template: what binds a customer to a request.
    fn compares_with_template(&self) -> bool {
        match self {
            Self::Subject(values) => values.iter().any(|value| matches!(value, Comparand::Template(_))),
            Self::Claim(
                _,
                ClaimTest::OneOf(values) | ClaimTest::ContainsAll(values) | ClaimTest::ContainsAny(values),
            ) => values.iter().any(|value| matches!(value, Operand::Template(_))),
            _ => false,
        }
    }
}

fn flow(text: &str) -> Option<Flow> {
    match text {
        "user" => Some(Flow::User),
        "client_credentials" => Some(Flow::ClientCredentials),
        _ => None,
    }
}

/// A list, unless it is empty: an empty list would hold for everybody or for nobody, and was reported already.
fn nonempty<T>(items: impl IntoIterator<Item = T>) -> Option<Box<[T]>> {
    let items: Box<[T]> = items.into_iter().collect();
    (!items.is_empty()).then_some(items)
}

/// What is lifted for a route's client-credentials tokens is the route's own.
pub(super) fn deny_client_credentials(place: Place) -> Condition {
    Condition { test: Test::Flow(Flow::User), place, lift: None::<Lift> }
}
