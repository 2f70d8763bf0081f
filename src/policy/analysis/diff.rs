//! What two configurations decide or do differently (policy.md, "Analysis").
//!
//! Requests are put into classes by where they arrive on either side. A class whose routes say the same needs no look. Of
//! any other, both decisions become formulas over the values that have to be told apart; every assignment under which they
//! differ is a request, which is decided by the data path's own function on both sides before anything is said about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnostic::Place;
use crate::policy::condition::Condition;
use crate::policy::host::HostKey;
use crate::policy::route::RouteId;
use crate::principal::{Principal, Texts};

use super::axis::{Axis, Choice, Mark};
use super::classes::{Class, Classes, HostClass, classes, hosts};
use super::encode::{Answer, Encoder};
use super::half::{Half, Side};
use super::model::Model;
use super::same::{Sides, same};
use super::scene::{Frame, Scene, Wanted};
use super::search::Search;
use super::space::Ground;
use super::uses::{Stand, Uses, other_identity};
use super::verdict::{Part, Verdict};

/// Which of the two configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Before.
    Old,
    /// After.
    New,
}

/// Makes principals of what tokens have to say, as the issuers of a configuration would.
pub trait Tokens {
    /// The principal of a token that says this, or something as near as the issuer's claims allow. Nothing when no token of
    /// the issuer can be made, or the configuration does not have it.
    fn principal(&self, which: Which, wanted: &Wanted) -> Option<Arc<Principal>>;

    /// Subjects by which issuers tell client credentials, `{client}` standing for the client.
    fn subject_forms(&self) -> Vec<String>;
}

/// Requests that are decided differently, or that may be.
#[derive(Debug, Clone)]
pub struct Difference {
    /// What is different.
    pub change: Change,
    /// The route before.
    pub old: Option<Told>,
    /// The route after.
    pub new: Option<Told>,
    /// Hosts.
    pub hosts: Vec<String>,
    /// Methods.
    pub methods: Vec<String>,
    /// A request that shows it.
    pub witness: Option<Witness>,
}

/// A kind of difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The decision: the words for before and after.
    Decision(&'static str, &'static str),
    /// What reaches the upstream.
    Effect(Vec<Part>),
    /// Nobody could say; why.
    Undecided(String),
}

/// A route as its side says it.
#[derive(Debug, Clone)]
pub struct Told {
    /// Its policy.
    pub policy: String,
    /// Its name.
    pub route: String,
    /// Where it stands.
    pub place: Place,
    /// Conditions that only this side has, or that only this side fails.
    pub conditions: Vec<(String, Place)>,
}

/// A request that was decided by both sides.
#[derive(Debug, Clone)]
pub struct Witness {
    /// The request and its caller.
    pub scene: Scene,
    /// What became of it before.
    pub old: Verdict,
    /// What becomes of it after.
    pub new: Verdict,
}

/// Everything in which two configurations differ.
pub fn compare(old: &Side<'_>, new: &Side<'_>, tokens: &dyn Tokens) -> Vec<Difference> {
    let sides = Sides { old, new };
    let mut comparison = Comparison { sides, tokens, issuers: names(&sides), found: Vec::new() };
    let mut known: BTreeMap<Tables, BTreeSet<HostClass>> = BTreeMap::new();
    for host in hosts(&sides) {
        known.entry(tables(&sides, &host)).or_default().insert(host);
    }
    for group in known.into_values() {
        comparison.group(&group);
    }
    comparison.found
}

/// Names of all issuers of both sides.
fn names(sides: &Sides<'_>) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = Vec::new();
    for issuer in sides.old.issuers.iter().chain(sides.new.issuers) {
        if !names.contains(&issuer.name) {
            names.push(Arc::clone(&issuer.name));
        }
    }
    names
}

/// The documents that a host's tables are made of: hosts with the same ones are one question.
type Tables = (Vec<String>, Vec<String>, bool);

fn tables(sides: &Sides<'_>, host: &HostClass) -> Tables {
    let of = |side: &Side<'_>| {
        let table = side.table(&host.sample());
        table.map_or_else(Vec::new, |table| table.documents.iter().map(|document| document.name.to_string()).collect())
    };
    (of(sides.old), of(sides.new), host.label)
}

/// A comparison on its way.
pub(super) struct Comparison<'c> {
    /// What is compared.
    pub(super) sides: Sides<'c>,
    tokens: &'c dyn Tokens,
    issuers: Vec<Arc<str>>,
    found: Vec<Difference>,
}

/// What both sides answer, as switches.
pub(super) struct Answered {
    /// Before.
    pub(super) old: Answer,
    /// After.
    pub(super) new: Answer,
}

impl<'c> Comparison<'c> {
    /// Hosts whose tables hold the same documents.
    fn group(&mut self, group: &BTreeSet<HostClass>) {
        let Some(host) = group.first() else { return };
        let shown: Vec<String> = group.iter().map(|host| self.shown(host)).collect();
        let all = classes(&self.sides, host);
        if let Some(gap) = &all.gap {
            self.undecided(gap.clone(), (None, None), &shown, &BTreeSet::new());
        }
        for class in &all.all {
            let before = self.found.len();
            self.class(class, &all, host);
            for found in self.found.iter_mut().skip(before) {
                found.hosts.clone_from(&shown);
                found.methods = class.methods.iter().cloned().collect();
            }
        }
        self.method_override(host, &shown);
    }

    /// A class of hosts as patterns write it.
    fn shown(&self, host: &HostClass) -> String {
        let any = [self.sides.old, self.sides.new].into_iter().flat_map(|side| side.policies.tables.hosts.keys());
        let mut named = any.filter(|key| matches!(key, HostKey::Exact(exact) if *exact == host.host));
        match (host.label, named.next()) {
            (true, _) => format!("*.{}", host.host),
            (false, Some(_)) => host.host.clone(),
            (false, None) => "*".to_owned(),
        }
    }

    fn stand<'s>(side: &Side<'s>, host: &HostClass, id: Option<RouteId>) -> Option<Stand<'s>> {
        side.stand(side.table(&host.sample())?, id?)
    }

    fn class(&mut self, class: &Class, all: &Classes, host: &HostClass) {
        let stands = (Self::stand(self.sides.old, host, class.old), Self::stand(self.sides.new, host, class.new));
        match &stands {
            (None, None) => {
                for frame in &class.frames {
                    self.replay_only(frame);
                }
                return;
            }
            (Some(old), Some(new)) if !class.read_differently && self.sides.routes(old, new) => return,
            _ => {}
        }
        let before = self.found.len();
        let mut gaps = Vec::new();
        if class.more {
            gaps.push("requests arrive there by too many kinds of paths".to_owned());
        }
        for frame in &class.frames {
            gaps.extend(self.frame(frame, &stands, all));
            let decided = self.found.iter().skip(before).any(|found| matches!(found.change, Change::Decision(..)));
            if decided {
                return;
            }
        }
        if self.found.len() == before
            && let Some(gap) = gaps.into_iter().next()
        {
            let told = (Self::told(Which::Old, &stands, None), Self::told(Which::New, &stands, None));
            self.undecided(gap, told, &[], &class.methods);
        }
    }

    /// Looks for differences among the requests of one frame; answers with what could not be looked at.
    fn frame(&mut self, frame: &Frame, stands: &(Option<Stand<'c>>, Option<Stand<'c>>), all: &Classes) -> Vec<String> {
        let both: Vec<Stand<'_>> = stands.0.iter().chain(&stands.1).copied().collect();
        // The same capture is another text where paths are cut otherwise.
        let forwards_alike = match stands {
            (Some(old), Some(new)) => {
                old.pattern.segments() == new.pattern.segments() && self.sides.effects(old.route, new.route)
            }
            _ => true,
        };
        let mut uses = Uses::default();
        for stand in &both {
            uses.add(stand, frame);
        }
        if uses.axes.contains(&Axis::Issuer) && other_identity(stands) {
            uses.axes.extend([Axis::Scope(Box::default()), Axis::Permissions, Axis::Organizations, Axis::Global]);
        }
        let ground = Ground {
            uses: &uses,
            frame,
            stands: &both,
            issuers: self.issuers.len(),
            folds: self.folds(),
            taken: &all.taken,
            subjects: &self.tokens.subject_forms(),
        };
        let space = ground.space();
        let issuers = self.issuers.clone();
        let mut model = Model::new(&space, frame, &issuers);
        let old = Half::new(self.sides.old, stands.0, frame, &space);
        let new = Half::new(self.sides.new, stands.1, frame, &space);
        if !old.arrives(&model) || !new.arrives(&model) {
            return vec!["no request could be made up that arrives there".to_owned()];
        }
        let some_issuer =
            |half: &Half<'_, '_>| Mark::Issuer(issuers.iter().position(|name| half.side.issuer(name).is_some()));
        for half in [&old, &new] {
            Encoder { model: &mut model, half, some_issuer: some_issuer(half) }.arrivals();
        }
        let mut answer = |half| Encoder { model: &mut model, half, some_issuer: some_issuer(half) }.answer();
        let answered = Answered { old: answer(&old), new: answer(&new) };
        let sent = (!forwards_alike).then(|| uses.sent(stands, frame));
        Search { comparison: self, model, halves: (old, new), stands, sent, gaps: Vec::new() }.run(&answered)
    }

    fn folds(&self) -> bool {
        let all = self.sides.old.issuers.iter().chain(self.sides.new.issuers);
        all.into_iter().any(|issuer| !issuer.case_insensitive.is_empty() || issuer.subject_folds || issuer.client_folds)
    }

    /// Decides a request on both sides; nothing when its token cannot be.
    pub(super) fn replay(&self, scene: &Scene) -> Option<(Verdict, Verdict, bool)> {
        let mut exact = true;
        let mut verdict = |which: Which, side: &Side<'_>| {
            let principal = match &scene.token {
                Some(wanted) if side.issuer(&wanted.issuer).is_some() => {
                    let principal = self.tokens.principal(which, wanted)?;
                    exact &= is_as_wanted(&principal, wanted);
                    Some(principal)
                }
                _ => None,
            };
            Some(Verdict::of(side, side.decide(scene, principal.as_deref())))
        };
        let old = verdict(Which::Old, self.sides.old)?;
        let new = verdict(Which::New, self.sides.new)?;
        Some((old, new, exact))
    }

    /// Where neither side has a route: documents that observe may still forward.
    fn replay_only(&mut self, frame: &Frame) {
        let observing =
            [self.sides.old, self.sides.new].into_iter().any(|side| side.policies.observing().next().is_some());
        let Some(scene) = observing.then(|| frame.scene(&Choice::new(), &self.issuers)).flatten() else { return };
        let Some((old, new, _)) = self.replay(&scene) else { return };
        if let Some(change) = change(&old, &new) {
            self.tell(change, (None, None), Some(Witness { scene, old, new }));
        }
    }

    /// What acts before a route is found: headers that name another method.
    fn method_override(&mut self, host: &HostClass, shown: &[String]) {
        let of = |side: &Side<'_>| side.table(&host.sample()).map(|table| table.method_override);
        if let (Some(old), Some(new)) = (of(self.sides.old), of(self.sides.new))
            && old != new
        {
            let why = "headers that override the method are read differently (`quirks.method_override`)";
            self.undecided(why.to_owned(), (None, None), shown, &BTreeSet::new());
        }
    }

    fn undecided(
        &mut self,
        why: String,
        (old, new): (Option<Told>, Option<Told>),
        hosts: &[String],
        methods: &BTreeSet<String>,
    ) {
        let methods = methods.iter().cloned().collect();
        let change = Change::Undecided(why);
        self.found.push(Difference { change, old, new, hosts: hosts.to_vec(), methods, witness: None });
    }

    pub(super) fn tell(&mut self, change: Change, (old, new): (Option<Told>, Option<Told>), witness: Option<Witness>) {
        self.found.push(Difference { change, old, new, hosts: Vec::new(), methods: Vec::new(), witness });
    }

    /// A side's route with the conditions in which it differs.
    pub(super) fn told(
        which: Which,
        stands: &(Option<Stand<'_>>, Option<Stand<'_>>),
        verdict: Option<&Verdict>,
    ) -> Option<Told> {
        let (own, other) = match which {
            Which::Old => (stands.0, stands.1),
            Which::New => (stands.1, stands.0),
        };
        let route = own?.route;
        let others: &[Condition] = other.map_or(&[], |other| &other.route.conditions);
        let failed = verdict
            .and_then(Verdict::refusal)
            .and_then(|refusal| Some((refusal.condition.clone()?, refusal.place.clone()?)));
        let differing = route.conditions.iter().filter(|one| !others.iter().any(|known| same(one, known)));
        let mut conditions: Vec<(String, Place)> = failed.into_iter().collect();
        if other.is_some() {
            for condition in differing {
                let text = condition.test.to_string();
                if !conditions.iter().any(|(known, _)| *known == text) {
                    conditions.push((text, condition.place.clone()));
                }
            }
        }
        Some(Told {
            policy: route.policy().to_owned(),
            route: route.name().to_owned(),
            place: route.place().clone(),
            conditions,
        })
    }
}

/// In what two verdicts differ.
pub(super) fn change(old: &Verdict, new: &Verdict) -> Option<Change> {
    if old.as_str() != new.as_str() {
        return Some(Change::Decision(old.as_str(), new.as_str()));
    }
    if let (Verdict::Answered(old), Verdict::Answered(new)) = (old, new) {
        return (old != new).then(|| Change::Effect(vec![Part::Cors]));
    }
    let parts = old.effect()?.differences(new.effect()?);
    (!parts.is_empty()).then_some(Change::Effect(parts))
}

/// Whether a principal has what was asked for.
fn is_as_wanted(principal: &Principal, wanted: &Wanted) -> bool {
    let set = |list: &Texts| list.iter().map(str::to_owned).collect::<BTreeSet<_>>();
    let wanted_set = |list: &Vec<String>| list.iter().cloned().collect::<BTreeSet<_>>();
    let sets =
        |one: &Option<Texts>, other: &Option<Vec<String>>| one.as_ref().map(set) == other.as_ref().map(wanted_set);
    let claims = wanted
        .claims
        .iter()
        .all(|(name, value)| principal.claims.get(name).is_some_and(|claim| claim.to_value() == *value));
    principal.subject == wanted.subject
        && principal.client == wanted.client
        && principal.flow == wanted.flow
        && principal.global == wanted.global
        && principal.acr == wanted.acr
        && principal.authenticated_at == wanted.authenticated_at
        && set(&principal.scopes) == wanted_set(&wanted.scopes)
        && sets(&principal.permissions, &wanted.permissions)
        && sets(&principal.organizations, &wanted.organizations)
        && claims
}

#[cfg(test)]
mod tests;
