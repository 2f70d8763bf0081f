//! The versions of a path that readings make, and the check that all of them mean the same route.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::reading::{ReadingSet, Step};
use super::spelling::{SpellingId, Spellings};
use super::trie::{Captured, Endpoint, View};
use super::{Misreading, Problem, RouteEntry, bit};
use crate::target::fold::{fold_text, is_folded};
use crate::target::quirks::{Quirks, Reading, ReadingKind};
use crate::target::{PathRules, starts};

/// Versions of one path are not followed beyond this many bytes all together. A path of ordinary length that uses all
/// readings has some hundred versions; what is longer is made to be expensive.
const MOST_BYTES: usize = 256 * 1024;
/// Nor beyond this many.
const MOST_VERSIONS: usize = 512;

/// A path that a reading made, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    text: String,
    starts: Vec<usize>,
}

impl Path {
    fn new(segments: &[String]) -> Self {
        let text: String = segments.iter().flat_map(|segment| ["/", segment]).collect();
        let starts = starts(&text).collect();
        Self { text, starts }
    }

    /// As a look-up sees it.
    pub(super) fn view(&self) -> View<'_> {
        View { text: &self.text, starts: &self.starts }
    }
}

/// One version of a path: what some readings make of it and of the patterns.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    segments: Vec<String>,
    spelling: SpellingId,
    readings: ReadingSet,
}

/// The versions of a path. Those of case and trailing slash are not among them: they come last and cost no copy.
#[derive(Debug)]
pub(super) struct Versions<'s> {
    written: Vec<String>,
    spellings: &'s Spellings,
    always: ReadingSet,
    rules: PathRules,
    matched: Option<(Path, SpellingId)>,
}

impl<'s> Versions<'s> {
    /// The versions of a path.
    pub(super) fn new(written: View<'_>, spellings: &'s Spellings, always: ReadingSet, rules: PathRules) -> Self {
        let written = written.text.split('/').skip(1).map(str::to_owned).collect();
        Self { written, spellings, always, rules, matched: None }
    }

    /// The version that the match is made on: every `always` done, in the order in which a path is read.
    ///
    /// # Errors
    /// A reading that is always done fails.
    pub(super) fn matched(&mut self) -> Result<&(Path, SpellingId), Misreading> {
        let mut version = Version { segments: self.written.clone(), spelling: 0, readings: ReadingSet::default() };
        for step in self.always.steps().filter(|step| step.is_of_segments()) {
            version = self.after(&version, step)?;
        }
        Ok(self.matched.insert((Path::new(&version.segments), version.spelling)))
    }

    fn after(&self, version: &Version, step: Step) -> Result<Version, Misreading> {
        let readings = version.readings.with(step.kind());
        let segments = step
            .read(&version.segments, self.rules)
            .map_err(|fault| Misreading { readings, problem: Problem::Fault(fault) })?;
        Ok(Version { segments, spelling: self.spellings.after(version.spelling, step), readings })
    }

    /// Every version that a server of these quirks may read: each subset of readings, in every order.
    fn all(&self, quirks: &Quirks) -> Result<Vec<Version>, Misreading> {
        let written = Version { segments: self.written.clone(), spelling: 0, readings: ReadingSet::default() };
        let mut bytes = 0;
        let mut versions = vec![written];
        let mut next = 0;
        while let Some(version) = versions.get(next).cloned() {
            next += 1;
            for step in Step::of_segments() {
                let kind = step.kind();
                let changes = step.changes_path(&version.segments)
                    || self.spellings.after(version.spelling, step) != version.spelling
                    || self.always.contains(kind);
                if version.readings.contains(kind) || !step.is_possible(quirks) || !changes {
                    continue;
                }
                let read = self.after(&version, step)?;
                if !versions.contains(&read) {
                    bytes += read.segments.iter().map(|segment| segment.len() + 1).sum::<usize>();
                    if bytes > MOST_BYTES || versions.len() >= MOST_VERSIONS {
                        return Err(Misreading { readings: read.readings, problem: Problem::TooMany });
                    }
                    versions.push(read);
                }
            }
        }
        let segment_kinds = self.always.steps().filter(|step| step.is_of_segments()).map(Step::kind).collect();
        versions.retain(|version| version.readings.covers(segment_kinds));
        Ok(versions)
    }
}

/// What matched first: the entry's position and its captures, undisguised.
type First<'m, 't> = (usize, &'m [Cow<'t, str>]);

/// Looks paths up under readings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'r, 'm> {
    pub(super) entries: &'r [RouteEntry],
    pub(super) spellings: &'r Spellings,
    pub(super) method: &'m str,
}

impl<'r> Reader<'r, '_> {
    /// Whether an entry lists the method.
    pub(super) fn serves(&self, entry: usize) -> bool {
        self.entries.get(entry).is_some_and(|entry| entry.methods.contains(self.method))
    }

    /// The best shape for a path after the readings of trailing slash and case that are in the set. What captures matched is
    /// given in the path's own letters.
    pub(super) fn seek(
        &self,
        view: View<'_>,
        spelling: SpellingId,
        readings: ReadingSet,
    ) -> Option<(&'r Endpoint, Captured)> {
        let (view, spelling) = if readings.contains(ReadingKind::TrailingSlash) {
            (view.without_trailing_slash(), self.spellings.after(spelling, Step::TrailingSlash))
        } else {
            (view, spelling)
        };
        if !readings.contains(ReadingKind::Case) {
            return self.spellings.tree(spelling)?.find(view);
        }
        let tree = self.spellings.tree(self.spellings.after(spelling, Step::Case))?;
        if is_folded(view.text) {
            return tree.find(view);
        }
        if view.text.is_ascii() {
            let folded: SmallVec<[u8; 256]> = view.text.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
            let text = std::str::from_utf8(&folded).ok()?;
            return tree.find(View { text, starts: view.starts });
        }
        let folded = fold_text(view.text);
        let starts: SmallVec<[usize; 16]> = starts(&folded).collect();
        let (endpoint, found) = tree.find(View { text: &folded, starts: &starts })?;
        let unfold = |at| unfolded(view.text, &folded, at);
        Some((endpoint, found.into_iter().map(|(start, end)| (unfold(start), unfold(end))).collect()))
    }

    /// Checks every version of a path; gives the captures that waver.
    pub(super) fn check_all(&self, versions: &Versions<'_>, first: First<'_, '_>) -> Result<u32, Misreading> {
        let Some(entry) = self.entries.get(first.0) else { return Ok(0) };
        let mut wavering = 0;
        for version in versions.all(&entry.quirks)? {
            let path = Path::new(&version.segments);
            wavering |= self.check(path.view(), version.spelling, first, version.readings)?;
        }
        Ok(wavering)
    }

    /// Checks one version of a path, with and without trailing slash and case as far as the upstream may read it so.
    pub(super) fn check(
        &self,
        view: View<'_>,
        spelling: SpellingId,
        first: First<'_, '_>,
        readings: ReadingSet,
    ) -> Result<u32, Misreading> {
        let Some(entry) = self.entries.get(first.0) else { return Ok(0) };
        let slash = entry.quirks.reading(ReadingKind::TrailingSlash);
        let case = entry.quirks.reading(ReadingKind::Case);
        let mut wavering = 0;
        for with_slash in choices(slash, || {
            view.has_trailing_slash() || self.spellings.after(spelling, Step::TrailingSlash) != spelling
        }) {
            for with_case in
                choices(case, || !is_folded(view.text) || self.spellings.changing.contains(ReadingKind::Case))
            {
                let readings = readings.with_all(with_slash.then_some(ReadingKind::TrailingSlash));
                let readings = readings.with_all(with_case.then_some(ReadingKind::Case));
                let found = self.seek(view, spelling, readings);
                wavering |= self.compare(view, found, first).map_err(|problem| Misreading { readings, problem })?;
            }
        }
        Ok(wavering)
    }

    /// Whether what was found is what matched first; gives the captures that differ.
    fn compare(
        &self,
        view: View<'_>,
        found: Option<(&Endpoint, Captured)>,
        (entry, captures): First<'_, '_>,
    ) -> Result<u32, Problem> {
        let (endpoint, found) = found.ok_or(Problem::NoRoute)?;
        let other = endpoint.terminals.iter().find(|terminal| terminal.entry != entry && self.serves(terminal.entry));
        let same = endpoint.terminals.iter().find(|terminal| terminal.entry == entry);
        let (Some(same), None) = (same, other) else {
            let other = other.or_else(|| endpoint.terminals.iter().find(|terminal| terminal.entry != entry));
            let other = other.and_then(|terminal| self.entries.get(terminal.entry));
            return Err(other.map_or(Problem::NoRoute, |other| Problem::OtherRoute(other.id)));
        };
        let mut wavering = 0;
        for (number, capture) in captures.iter().enumerate() {
            let position = same.captures.iter().position(|captured| usize::from(*captured) == number);
            let value =
                position.and_then(|position| found.get(position)).and_then(|(start, end)| view.text.get(*start..*end));
            if value != Some(&**capture) && !(value.is_none() && capture.is_empty()) {
                wavering |= bit(number);
            }
        }
        Ok(wavering)
    }
}

/// Without and with a reading, as far as the server may read so and it could matter.
fn choices(reading: Reading, matters: impl FnOnce() -> bool) -> impl Iterator<Item = bool> {
    let without = reading != Reading::Always;
    let with = reading == Reading::Always || (reading == Reading::Unknown && matters());
    [without.then_some(false), with.then_some(true)].into_iter().flatten()
}

/// The byte position in a text that corresponds to one in its folded form: folding keeps the number of characters.
fn unfolded(text: &str, folded: &str, at: usize) -> usize {
    let count = folded.get(..at).map_or(0, |before| before.chars().count());
    text.char_indices().nth(count).map_or(text.len(), |(position, _)| position)
}
