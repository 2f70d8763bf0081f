//! What a principal has several of - scopes, permissions, organisations - as switches, one for each that policies or
//! requests could name. Truths are combined here as `evaluate` and `narrow` do it; both are asked about every request found.

use crate::policy::condition::WordSet;
use crate::policy::equality::{Case, equal, same_word};
use crate::policy::evaluate::Stance;
use crate::policy::narrow::{Narrowing, Owned, Style, is_value};
use crate::policy::template::Template;
use crate::policy::truth::Truth;

use super::axis::{Axis, Choice, Mark};
use super::encode::{Encoder, choose};
use super::model::Model;
use super::solver::{Formula, Switch, Tri};
use super::uses::{Stand, owner};

/// Values of a template; nothing for one that is no text.
type Texts = Vec<Option<String>>;

/// The items of every parameter that was sent; nothing where they cannot be told.
type Sent = Vec<Option<Vec<String>>>;

impl<'m, 's> Encoder<'_, 'm, '_, 's> {
    /// Granted scopes satisfy the expression.
    pub(super) fn scopes(&mut self, set: &WordSet) -> Tri {
        let space = self.model.space;
        let granted: Vec<Switch> = space
            .axes
            .keys()
            .filter(|axis| matches!(axis, Axis::Scope(_)))
            .map(|axis| self.model.on(axis, &Mark::Flag(true)))
            .collect();
        let some = self.model.formula.any(granted);
        let has = |model: &Model<'_>, word: &str| model.on(&Axis::Scope(word.into()), &Mark::Flag(true));
        let holds = self.words(set, &|model, word| has(model, word));
        self.where_known(some, holds)
    }

    /// Permissions satisfy the expression.
    pub(super) fn permissions(&mut self, set: &WordSet) -> Tri {
        let known = self.model.on(&Axis::Permissions, &Mark::Flag(true));
        let folding = self.issuers(|issuer| issuer.permissions_fold);
        let folding = self.model.formula.any(folding);
        let space = self.model.space;
        let holds = self.words(set, &|model, word| {
            let mut held = Vec::new();
            for axis in space.axes.keys() {
                let Axis::Permission(other) = axis else { continue };
                let switch = model.on(axis, &Mark::Flag(true));
                if **other == *word {
                    held.push(switch);
                } else if same_word(other, word, Case::Folded) {
                    held.push(model.formula.all([switch, folding]));
                }
            }
            model.formula.any(held)
        });
        self.where_known(known, holds)
    }

    fn words(&mut self, set: &WordSet, has: &dyn Fn(&mut Model<'m>, &str) -> Switch) -> Switch {
        let (WordSet::AllOf(words) | WordSet::AnyOf(words)) = set;
        let held: Vec<Switch> = words.iter().map(|word| has(self.model, word)).collect();
        match set {
            WordSet::AllOf(_) => self.model.formula.all(held),
            WordSet::AnyOf(_) => self.model.formula.any(held),
        }
    }

    fn where_known(&mut self, known: Switch, holds: Switch) -> Tri {
        Tri { yes: self.model.formula.all([known, holds]), no: self.model.formula.all([known, !holds]) }
    }

    /// A parameter asks for nothing but values that the principal has several of, or can be set to them.
    pub(super) fn narrowed(&mut self, narrowing: &Narrowing) -> Tri {
        let space = self.model.space;
        let axis = Axis::Query(narrowing.name.clone());
        let Some((axis, marks)) = space.axes.get_key_value(&axis) else {
            return self.model.formula.known(Truth::Unknown);
        };
        let mut rows: Vec<(usize, Option<Sent>)> = Vec::new();
        for (at, mark) in marks.iter().enumerate() {
            let choice = self.half.with_base(space, &Choice::from([(axis, mark)]));
            let sent = self.model.frame.scene(&choice, self.model.issuers).and_then(|scene| {
                self.half.ask(&scene, |_, _, question| {
                    narrowing.sent(question).map(|parameter| narrowing.items(parameter)).collect()
                })
            });
            rows.push((at, sent));
        }
        let mut holds = Vec::new();
        for (at, sent) in rows {
            let here = self.model.at(axis, at);
            let held = match sent {
                None => self.model.formula.constant(false),
                Some(sent) if sent.is_empty() => self.can_be_set(narrowing),
                Some(sent) => {
                    let each: Vec<Switch> = sent.iter().map(|items| self.owned(narrowing, items.as_deref())).collect();
                    self.model.formula.all(each)
                }
            };
            holds.push(self.model.formula.all([here, held]));
        }
        if narrowing.to == Owned::Organizations {
            holds.push(self.model.on(&Axis::Global, &Mark::Global(Some(true))));
        }
        let holds = self.model.formula.any(holds);
        Formula::certain(holds)
    }

    /// Every item is the principal's.
    fn owned(&mut self, narrowing: &Narrowing, items: Option<&[String]>) -> Switch {
        let Some(items) = items else { return self.model.formula.constant(false) };
        let mut each = Vec::new();
        for item in items {
            let held: Vec<Switch> = self
                .values(narrowing)
                .into_iter()
                .filter(|(own, _)| equal(own, item, Case::Sensitive))
                .map(|(_, switch)| switch)
                .collect();
            let folded: Vec<Switch> = self
                .values(narrowing)
                .into_iter()
                .filter(|(own, _)| equal(own, item, Case::Folded))
                .map(|(_, switch)| switch)
                .collect();
            let folding = self.issuers(|issuer| match narrowing.to {
                Owned::Permissions => issuer.permissions_fold,
                Owned::Organizations | Owned::Subject | Owned::Client => issuer.organizations_fold,
            });
            let folding = self.model.formula.any(folding);
            let folded = self.model.formula.any(folded);
            let folded = self.model.formula.all([folding, folded]);
            each.push(self.model.formula.any(held.into_iter().chain([folded])));
        }
        let known = self.model.on(&owner(narrowing.to), &Mark::Flag(true));
        self.model.formula.all(each.into_iter().chain([known]))
    }

    /// The principal has values, and the style can tell them apart.
    fn can_be_set(&mut self, narrowing: &Narrowing) -> Switch {
        let values = self.values(narrowing);
        let torn: Vec<Switch> = values
            .iter()
            .filter(|(own, _)| narrowing.style == Style::Comma && own.contains(','))
            .map(|(_, switch)| !*switch)
            .collect();
        let some = self.model.formula.any(values.iter().map(|(_, switch)| *switch));
        let known = self.model.on(&owner(narrowing.to), &Mark::Flag(true));
        self.model.formula.all(torn.into_iter().chain([some, known]))
    }

    /// Values that the principal may have and servers can take for some, each with its switch.
    fn values(&self, narrowing: &Narrowing) -> Vec<(&'m str, Switch)> {
        let axes = self.model.space.axes.keys().filter_map(|axis| match (axis, narrowing.to) {
            (Axis::Organization(text), Owned::Organizations) | (Axis::Permission(text), Owned::Permissions) => {
                Some((&**text, self.model.on(axis, &Mark::Flag(true))))
            }
            _ => None,
        });
        axes.filter(|(own, _)| is_value(own)).collect()
    }

    /// Every value of a template is one of the organisations.
    pub(super) fn member(&mut self, stand: &Stand<'s>, template: &Template, stance: Stance) -> Tri {
        let space = self.model.space;
        let wanted = stand.axes(&template.source, self.model.frame);
        let axes: Vec<&'m Axis> = space.axes.keys().filter(|axis| wanted.contains(axis)).collect();
        let mut rows: Vec<(Vec<usize>, Option<Texts>)> = Vec::new();
        space.each(&axes, |row| {
            let choice = self.half.with_base(space, &choose(space, &axes, row));
            let texts = self.model.frame.scene(&choice, self.model.issuers).and_then(|scene| {
                self.half.ask(&scene, |_, _, question| {
                    (!question.differs(template, stance))
                        .then(|| question.texts(template).map(|text| text.map(str::to_owned)).collect())
                })?
            });
            rows.push((row.to_vec(), texts));
        });
        let (mut yes, mut no) = (Vec::new(), Vec::new());
        for (row, texts) in rows {
            let here: Vec<Switch> = axes.iter().zip(&row).map(|(axis, at)| self.model.at(axis, *at)).collect();
            let Some(texts) = texts.filter(|texts| !texts.is_empty()) else { continue };
            let each: Vec<Tri> = texts.iter().map(|text| self.one_member(text.as_deref(), stance)).collect();
            let all = self.model.formula.tri_all(&each);
            let any_no = match stance {
                Stance::Plain => all.no,
                // Under `not` several values have to agree.
                Stance::Negated => self.model.formula.all(each.iter().map(|one| one.no)),
            };
            yes.push(self.model.formula.all(here.iter().copied().chain([all.yes])));
            no.push(self.model.formula.all(here.iter().copied().chain([any_no])));
        }
        Tri { yes: self.model.formula.any(yes), no: self.model.formula.any(no) }
    }

    fn one_member(&mut self, text: Option<&str>, stance: Stance) -> Tri {
        let Some(text) = text else { return self.model.formula.known(Truth::Unknown) };
        let folding = self.issuers(|issuer| issuer.organizations_fold);
        let folding = self.model.formula.any(folding);
        let space = self.model.space;
        let mut held = Vec::new();
        for axis in space.axes.keys() {
            let Axis::Organization(other) = axis else { continue };
            let switch = self.model.on(axis, &Mark::Flag(true));
            if equal(other, text, Case::Sensitive) {
                held.push(switch);
            } else if equal(other, text, Case::Folded) {
                held.push(self.model.formula.all([switch, folding]));
            }
        }
        let known = self.model.on(&Axis::Organizations, &Mark::Flag(true));
        let held = self.model.formula.any(held);
        let yes = self.model.formula.all([known, held]);
        let no = match stance {
            Stance::Plain => !yes,
            Stance::Negated => self.model.formula.all([known, !held]),
        };
        Tri { yes, no }
    }
}

#[cfg(test)]
mod tests;
