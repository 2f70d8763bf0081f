//! Mutants of the loaded policies, each tried against the tests.
//!
//! A mutant that changes one route is tried with that route alone, and only against tests that reach it and come out
//! there as they do among all routes: so that a thousand routes cost no more than one. What is not killed that way is
//! tried once more with everything, unless nothing else can have changed.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::missing::{self, Missing};
use super::{Case, Suite};
use crate::diagnostic::{Diagnostics, Source};
use crate::document::{Node, parse};
use crate::policy::Policies;
use crate::policy::analysis::mutants::{Mutant, Operator, Reach, asks_the_same, mutants, only_routes};
use crate::trial::Loaded;

/// Routes that are compared at most to find the test that a mutant of all of them needs.
const MOST_COMPARED: usize = 200;

/// What became of a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A test fails.
    Killed,
    /// Every test passes.
    Survived,
    /// It asks for the same as the policy: no test can tell them apart.
    Equivalent,
    /// It is no policy.
    Invalid,
}

/// Every mutant and what became of it, in the order of files and lines.
#[derive(Debug)]
pub struct Mutation {
    /// The mutants that can be loaded.
    pub mutants: Vec<Tried>,
}

/// A mutant and what became of it.
#[derive(Debug)]
pub struct Tried {
    /// The mutant.
    pub mutant: Mutant,
    /// What became of it.
    pub fate: Fate,
    /// A test that would notice it, as YAML, where it survived and such a test could be made up.
    pub missing: Option<String>,
}

impl Mutation {
    /// Tries every mutant. All tests have to pass against the policies as they are.
    pub fn of(suite: &Suite, loaded: &Loaded) -> Self {
        let bench = Bench::new(suite, loaded);
        let made = bench.mutants();
        let fates = bench.fates(&made);
        let tried = made.into_iter().zip(fates);
        let tried = tried.map(|((_, mutant), (fate, missing))| Tried { mutant, fate, missing });
        let mut mutants: Vec<_> = tried.filter(|tried| tried.fate != Fate::Invalid).collect();
        mutants
            .sort_by_key(|Tried { mutant, .. }| (mutant.place.path().to_owned(), mutant.place.span, mutant.operator));
        Self { mutants }
    }

    /// How many came to this end.
    pub fn count(&self, fate: Fate) -> usize {
        self.mutants.iter().filter(|tried| tried.fate == fate).count()
    }

    /// Every mutant with its line, survivors last, and how many there were.
    pub fn to_text(&self, base: Option<&Path>) -> String {
        let mut text = String::new();
        let (last, first): (Vec<_>, Vec<_>) = self.mutants.iter().partition(|tried| tried.fate == Fate::Survived);
        for Tried { mutant, fate, missing } in first.into_iter().chain(last) {
            let place = mutant.place.shown(base);
            let _ = writeln!(text, "{place}: {}: {}: {}", fate.as_str(), mutant.operator.as_str(), mutant.change);
            for line in missing.iter().flat_map(|test| test.lines()) {
                let _ = writeln!(text, "    {line}");
            }
        }
        let [killed, survived, equivalent] =
            [Fate::Killed, Fate::Survived, Fate::Equivalent].map(|fate| self.count(fate));
        let _ = writeln!(text, "{killed} mutants killed, {survived} survived, {equivalent} ask for the same");
        text
    }

    /// The mutants for programs.
    pub fn to_json(&self) -> Value {
        let mutants = self.mutants.iter().map(|Tried { mutant, fate, missing }| {
            let (line, column) = mutant.place.line_column();
            json!({
                "path": mutant.place.path().to_string_lossy(),
                "line": line,
                "column": column,
                "operator": mutant.operator.as_str(),
                "change": mutant.change,
                "fate": fate.as_str(),
                "missing": missing,
            })
        });
        json!({
            "killed": self.count(Fate::Killed),
            "survived": self.count(Fate::Survived),
            "equivalent": self.count(Fate::Equivalent),
            "mutants": mutants.collect::<Vec<_>>(),
        })
    }
}

impl Fate {
    /// The word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Survived => "survived",
            Self::Equivalent => "equivalent",
            Self::Invalid => "invalid",
        }
    }
}

/// Everything that a mutant is tried with.
struct Bench<'b> {
    suite: &'b Suite,
    loaded: &'b Loaded,
    documents: Vec<(Arc<Source>, Node)>,
    /// The tests whose requests fall under a document, with the positions of the routes that they match.
    reached: Vec<Vec<(Option<usize>, &'b Case)>>,
    /// Routes alone, made once.
    alone: Mutex<HashMap<Apart, Arc<Alone<'b>>>>,
}

/// A document's position, and those of some of its routes.
type Apart = (usize, Vec<usize>);

/// Some routes of a document without the others.
struct Alone<'b> {
    policies: Option<Policies>,
    /// The tests that come out there as they do among all.
    cases: Vec<&'b Case>,
    /// These are all that reach one of the routes.
    complete: bool,
}

/// The tests under every document.
fn reached<'b>(
    suite: &'b Suite,
    loaded: &Loaded,
    documents: &[(Arc<Source>, Node)],
) -> Vec<Vec<(Option<usize>, &'b Case)>> {
    let mut reached = vec![Vec::new(); documents.len()];
    let names: Vec<_> = documents.iter().map(|(_, node)| names(node)).collect();
    for case in &suite.cases {
        let attempt = loaded.attempt(&case.request, &case.bearer);
        let under = names.iter().zip(&mut reached).find(|((policy, _), _)| *policy == attempt.policy);
        if let Some(((_, routes), cases)) = under {
            let route = attempt.route.as_ref().and_then(|name| routes.iter().position(|route| route == name));
            cases.push((route, case));
        }
    }
    reached
}

/// The name of a document's policy and of its routes.
fn names(document: &Node) -> (Option<String>, Vec<String>) {
    let map = document.map();
    let routes = map.map_or(&[][..], |map| map.list("routes")).iter();
    let routes = routes.map(|route| route.map().map(crate::policy::analysis::route_name).unwrap_or_default());
    (map.and_then(|map| map.text("policy")).map(str::to_owned), routes.collect())
}

impl<'b> Bench<'b> {
    fn new(suite: &'b Suite, loaded: &'b Loaded) -> Self {
        let mut ignored = Diagnostics::new();
        let parsed = loaded.documents.iter();
        let parsed = parsed.filter_map(|source| Some((Arc::clone(source), parse(source, &mut ignored)?)));
        let documents: Vec<_> = parsed.collect();
        Self { suite, loaded, reached: reached(suite, loaded, &documents), documents, alone: Mutex::default() }
    }

    /// Every mutant with the position of its document.
    fn mutants(&self) -> Vec<(usize, Mutant)> {
        let issuers: Vec<_> = self.loaded.rules.iter().map(|rules| &*rules.identity().name).collect();
        let documents = self.documents.iter().enumerate();
        let made = documents.map(|(number, (source, node))| (number, mutants(node, source, &issuers)));
        made.flat_map(|(number, mutants)| mutants.into_iter().map(move |mutant| (number, mutant))).collect()
    }

    /// What becomes of every mutant, on all cores.
    fn fates(&self, made: &[(usize, Mutant)]) -> Vec<(Fate, Option<String>)> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut found = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some((document, mutant)) = made.get(number) else { return found };
                found.push((number, self.judged(*document, mutant)));
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut found: BTreeMap<usize, (Fate, Option<String>)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
        });
        // A mutant that could not be tried to the end counts as one that no test has noticed.
        (0..made.len()).map(|number| found.remove(&number).unwrap_or((Fate::Survived, None))).collect()
    }

    /// What becomes of a mutant, and the test that is missing where it survives. One of which there is nothing to be
    /// noticed has not survived: it asks for the same.
    fn judged(&self, document: usize, mutant: &Mutant) -> (Fate, Option<String>) {
        let fate = self.fate(document, mutant);
        if fate != Fate::Survived {
            return (fate, None);
        }
        match self.missing(document, mutant) {
            Some(Missing::Nothing) => (Fate::Equivalent, None),
            Some(Missing::Test(test)) => (fate, Some(test)),
            Some(Missing::Something) | None => (fate, None),
        }
    }

    /// What there is to be noticed of a mutant. Nobody looks where too many routes would have to be compared.
    fn missing(&self, document: usize, mutant: &Mutant) -> Option<Missing> {
        let (source, node) = self.documents.get(document)?;
        let alone = mutant.reach.routes().filter(|_| matches!(mutant.reach, Reach::Routes(_)));
        let (old, new) = if let Some(routes) = alone {
            let (before, after) = (only_routes(node, routes)?, mutant.alone(node)?);
            (self.loaded.with_documents(&[(source, &before)])?, self.loaded.with_documents(&[(source, &after)])?)
        } else {
            if self.loaded.policies.routes().count() > MOST_COMPARED {
                return None;
            }
            let changed = mutant.of(node)?;
            let all: Vec<_> = self.documents.iter().map(|(source, node)| (source, node)).collect();
            let mut mutated = all.clone();
            mutated.get_mut(document)?.1 = &changed;
            (self.loaded.with_documents(&all)?, self.loaded.with_documents(&mutated)?)
        };
        Some(missing::look(&old, &new, mutant))
    }

    fn fate(&self, document: usize, mutant: &Mutant) -> Fate {
        if let Some(routes) = mutant.reach.routes()
            && let Some(fate) = self.fate_alone(document, mutant, routes)
        {
            return fate;
        }
        self.fate_among_all(document, mutant)
    }

    /// What becomes of a mutant that is tried with everything.
    fn fate_among_all(&self, document: usize, mutant: &Mutant) -> Fate {
        let Some(changed) = self.documents.get(document).and_then(|(_, node)| mutant.of(node)) else {
            return Fate::Invalid;
        };
        let parsed = self.documents.iter().enumerate();
        let parsed = parsed.map(|(number, (source, node))| (source, if number == document { &changed } else { node }));
        let Some(policies) = self.loaded.compiled(&parsed.collect::<Vec<_>>()) else { return Fate::Invalid };
        if only_asks(mutant.operator) && asks_the_same(&self.loaded.policies, &policies) {
            return Fate::Equivalent;
        }
        let under = self.reached.get(document).into_iter().flatten().map(|(_, case)| *case);
        let cases = under.chain(&self.suite.cases);
        if self.killed(cases, &policies) { Fate::Killed } else { Fate::Survived }
    }

    /// What becomes of a mutant that is tried without other routes; `None` where that does not tell.
    fn fate_alone(&self, document: usize, mutant: &Mutant, routes: &[usize]) -> Option<Fate> {
        let (source, node) = self.documents.get(document)?;
        let alone = self.alone(document, routes)?;
        let changed = mutant.alone(node)?;
        let policies = self.loaded.compiled(&[(source, &changed)])?;
        let before = alone.policies.as_ref()?;
        if only_asks(mutant.operator) && asks_the_same(before, &policies) {
            return Some(Fate::Equivalent);
        }
        if self.killed(alone.cases.iter().copied(), &policies) {
            return Some(Fate::Killed);
        }
        let all =
            self.reached.get(document)?.iter().filter(|(route, _)| route.is_some_and(|one| routes.contains(&one)));
        let whole = matches!(mutant.reach, Reach::Routes(_)) && all.count() == alone.cases.len();
        whole.then_some(Fate::Survived)
    }

    fn alone(&self, document: usize, routes: &[usize]) -> Option<Arc<Alone<'b>>> {
        let key = (document, routes.to_vec());
        let known = self.alone.lock().unwrap_or_else(PoisonError::into_inner).get(&key).map(Arc::clone);
        if known.is_some() {
            return known;
        }
        let (source, node) = self.documents.get(document)?;
        let policies = only_routes(node, routes).and_then(|node| self.loaded.compiled(&[(source, &node)]));
        let mut made = Alone { policies: None, cases: Vec::new(), complete: true };
        for (route, case) in self.reached.get(document)? {
            if route.is_some_and(|route| !routes.contains(&route)) {
                continue;
            }
            if policies.as_ref().is_some_and(|policies| case.passes(self.loaded, policies)) {
                made.cases.push(case);
            } else {
                made.complete &= route.is_none();
            }
        }
        made.policies = policies;
        let made = Arc::new(made);
        self.alone.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&made));
        Some(made)
    }

    fn killed<'c>(&self, cases: impl IntoIterator<Item = &'c Case>, policies: &Policies) -> bool {
        cases.into_iter().any(|case| !case.passes(self.loaded, policies))
    }
}

/// Whether a change touches nothing but what is asked, so that comparing conditions tells whether it changes anything.
fn only_asks(operator: Operator) -> bool {
    match operator {
        Operator::DropCondition
        | Operator::DropAlternative
        | Operator::AllToAny
        | Operator::AnyToAll
        | Operator::DropNot
        | Operator::DropWord
        | Operator::WidenNetwork
        | Operator::Bypass
        | Operator::Enforce
        | Operator::DropLift => true,
        Operator::DropValue
        | Operator::WidenType
        | Operator::DropNarrow
        | Operator::DropMethod
        | Operator::SwapRequirements
        | Operator::Token
        | Operator::Issuers
        | Operator::Observe
        | Operator::DropHost
        | Operator::DropEffect => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Documents that share a host, with a catch-all, second readings and one path in two routes.
    const POLICIES: [&str; 2] = [
        r#"
version: 1
policy: a
hosts: [a.example.com]
upstream: a
issuers: [kusy]
require: {scope: all}
routes:
  - {path: "/a/{owner}", methods: [GET], params: {owner: alnum}, require: {subject: "{owner}", any_of: [{client: c}, {client: d}]}}
  - {path: "/a/{owner}", methods: [PUT, DELETE], params: {owner: alnum}, require: {scope: write, not: {client: d}}}
  - {path: "/a/status", methods: [GET], require: public}
  - {path: "/b/{id}/Archive", methods: ["POST"], params: {id: int}, require: {scope: {all_of: [all, write]}}}
"#,
        r#"
version: 1
policy: b
hosts: [a.example.com]
upstream: a
issuers: [kusy]
routes:
  - {path: "/{*rest}", methods: "*", require: {scope: admin}}
  - {path: "/list", methods: [GET], require: authenticated, narrow: {query.client: client}}
"#,
    ];
    const TESTS: &str = r"
version: 1
personas:
  c: {issuer: kusy, sub: me, client_id: c, scope: all write}
  d: {issuer: kusy, sub: me, client_id: d, scope: all write}
  admin: {issuer: kusy, sub: root, client_id: root, scope: admin}
tests:
  - {name: own, as: c, request: GET https://a.example.com/a/me, expect: allow}
  - {name: own otherwise, as: d, request: GET https://a.example.com/a/me, expect: allow}
  - {name: foreign, as: c, request: GET https://a.example.com/a/you, expect: {deny: subject}}
  - {name: other client, as: admin, request: GET https://a.example.com/a/root, expect: {deny: scope}}
  - {name: put, as: c, request: PUT https://a.example.com/a/me, expect: allow}
  - {name: delete, as: c, request: DELETE https://a.example.com/a/me, expect: allow}
  - {name: not d, as: d, request: PUT https://a.example.com/a/me, expect: {deny: not}}
  - {name: misfit, as: c, request: GET https://a.example.com/a/m-e, expect: {deny: no-route}}
  - {name: method, as: c, request: POST https://a.example.com/a/me, expect: {deny: method}}
  - {name: status, request: GET https://a.example.com/a/status, expect: allow}
  - {name: archive, as: c, request: POST https://a.example.com/b/7/Archive, expect: allow}
  - {name: spelling, as: c, request: POST https://a.example.com/b/7/archive, expect: {deny: ambiguous-path}}
  - {name: slash, as: c, request: POST https://a.example.com/b/7/Archive/, expect: {deny: ambiguous-path}}
  - {name: rest, as: admin, request: PATCH https://a.example.com/x/y, expect: allow}
  - {name: no rest, as: c, request: GET https://a.example.com/x/y, expect: {deny: scope}}
  - {name: list, as: c, request: GET https://a.example.com/list, expect: {allow: {query: client=c}}}
  - {name: foreign list, as: c, request: GET https://a.example.com/list?client=d, expect: {deny: narrow}}
  - {name: nobody, request: GET https://a.example.com/list, expect: {status: 401}}
";

    #[test]
    fn a_mutant_has_the_same_fate_alone_and_among_all() {
        let source = |path: &str, text: &str| Arc::new(Source { path: path.into(), text: text.to_owned() });
        let documents = POLICIES.map(|text| source(&format!("{}.yaml", text.len()), text));
        let tests = [source("a.test.yaml", TESTS)];
        let config = crate::trial::sketched(crate::config::Config::empty("torwart.yaml".into()), &documents, &tests);
        let loaded = Loaded::of(config, &documents, &tests).unwrap_or_else(|found| panic!("{}", found.render())).0;
        let all = Suite::read(&loaded).unwrap().cases.len();
        let (mut alone, mut fates) = (0, [0; 4]);
        // With all tests, and without every third.
        for left_out in 0..4 {
            let mut suite = Suite::read(&loaded).unwrap();
            let mut number = 0..all;
            suite.cases.retain(|_| left_out == 3 || number.next().is_some_and(|number| number % 3 != left_out));
            assert_eq!(suite.run(&loaded).failures(), 0, "{}", suite.run(&loaded).to_text(None));
            let bench = Bench::new(&suite, &loaded);
            for (document, mutant) in bench.mutants() {
                let whole = bench.fate_among_all(document, &mutant);
                fates[whole as usize] += 1;
                let routes = mutant.reach.routes().map(<[usize]>::to_vec);
                if let Some(fate) = routes.and_then(|routes| bench.fate_alone(document, &mutant, &routes)) {
                    assert_eq!(fate, whole, "{}: {}", mutant.place, mutant.change);
                    alone += 1;
                }
            }
        }
        assert!(alone > 50 && fates.iter().all(|count| *count > 3), "{alone} {fates:?}");
    }
}
