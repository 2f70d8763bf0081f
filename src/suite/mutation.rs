//! Mutants of the loaded policies, each tried against the tests.
//!
//! A mutant that changes one route is tried with that route alone, and only against tests that reach it and come out
//! there as they do among all routes: so that a thousand routes cost no more than one. What is not killed that way is
//! tried once more with everything, unless nothing else can have changed.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::{Case, Suite};
use crate::diagnostic::{Diagnostics, Source};
use crate::document::{Node, parse};
use crate::policy::Policies;
use crate::policy::analysis::mutants::{Mutant, Operator, Reach, asks_the_same, mutants, only_routes};
use crate::trial::Loaded;

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
    pub mutants: Vec<(Mutant, Fate)>,
}

impl Mutation {
    /// Tries every mutant. All tests have to pass against the policies as they are.
    pub fn of(suite: &Suite, loaded: &Loaded) -> Self {
        let mut ignored = Diagnostics::new();
        let documents: Vec<_> = loaded
            .documents
            .iter()
            .filter_map(|source| Some((Arc::clone(source), parse(source, &mut ignored)?)))
            .collect();
        let issuers: Vec<_> = loaded.rules.iter().map(|rules| &*rules.identity().name).collect();
        let made: Vec<_> = documents
            .iter()
            .enumerate()
            .flat_map(|(number, (source, node))| {
                mutants(node, source, &issuers).into_iter().map(move |mutant| (number, mutant))
            })
            .collect();
        let bench =
            Bench { suite, loaded, reached: reached(suite, loaded, &documents), documents, alone: Mutex::default() };
        let fates = bench.fates(&made);
        let mut mutants: Vec<_> = made.into_iter().map(|(_, mutant)| mutant).zip(fates).collect();
        mutants.retain(|(_, fate)| *fate != Fate::Invalid);
        mutants.sort_by_key(|(mutant, _)| (mutant.place.source.path.clone(), mutant.place.span, mutant.operator));
        Self { mutants }
    }

    /// How many came to this end.
    pub fn count(&self, fate: Fate) -> usize {
        self.mutants.iter().filter(|(_, found)| *found == fate).count()
    }

    /// Every mutant with its line, survivors last, and how many there were.
    pub fn to_text(&self, base: Option<&Path>) -> String {
        let mut text = String::new();
        let later = |fate: &Fate| matches!(fate, Fate::Survived);
        let (last, first): (Vec<_>, Vec<_>) = self.mutants.iter().partition(|(_, fate)| later(fate));
        for (mutant, fate) in first.into_iter().chain(last) {
            let place = mutant.place.shown(base);
            let _ = writeln!(text, "{place}: {}: {}: {}", fate.as_str(), mutant.operator.as_str(), mutant.change);
        }
        let [killed, survived, equivalent] =
            [Fate::Killed, Fate::Survived, Fate::Equivalent].map(|fate| self.count(fate));
        let _ = writeln!(text, "{killed} mutants killed, {survived} survived, {equivalent} ask for the same");
        text
    }

    /// The mutants for programs.
    pub fn to_json(&self) -> Value {
        let mutants = self.mutants.iter().map(|(mutant, fate)| {
            let (line, column) = mutant.place.line_column();
            json!({
                "path": mutant.place.path().to_string_lossy(),
                "line": line,
                "column": column,
                "operator": mutant.operator.as_str(),
                "change": mutant.change,
                "fate": fate.as_str(),
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
    /// What becomes of every mutant, on all cores.
    fn fates(&self, made: &[(usize, Mutant)]) -> Vec<Fate> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut found = Vec::new();
            while let Some((document, mutant)) = made.get(next.fetch_add(1, Ordering::Relaxed)) {
                found.push((std::ptr::from_ref(mutant).addr(), self.fate(*document, mutant)));
            }
            found
        };
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let found: HashMap<usize, Fate> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
        });
        // A mutant that could not be tried to the end counts as one that no test has noticed.
        made.iter()
            .map(|(_, mutant)| found.get(&std::ptr::from_ref(mutant).addr()).copied().unwrap_or(Fate::Survived))
            .collect()
    }

    fn fate(&self, document: usize, mutant: &Mutant) -> Fate {
        if let Some(routes) = mutant.reach.routes()
            && let Some(fate) = self.fate_alone(document, mutant, routes)
        {
            return fate;
        }
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
        let reaching = self.reached.get(document)?.iter();
        let reaching = reaching.filter(|(route, _)| route.is_none_or(|route| routes.contains(&route)));
        let cases = match &policies {
            Some(policies) => {
                reaching.map(|(_, case)| *case).filter(|case| case.passes(self.loaded, policies)).collect()
            }
            None => Vec::new(),
        };
        let made = Arc::new(Alone { policies, cases });
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
