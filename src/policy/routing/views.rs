//! The versions of a path that readings make, and the check that all of them mean the same route.

use smallvec::SmallVec;

use super::reading::{ReadingSet, Step};
use super::spelling::{SpellingId, Spellings};
use super::trie::{Endpoint, Found, Terminal, View, piece};
use super::{Misreading, Problem, RouteEntry, bit};
use crate::target::PathRules;
use crate::target::fold::{fold_text, is_folded};
use crate::target::quirks::{Reading, ReadingKind};

/// Versions of one path are not followed beyond this many bytes all together. A path of ordinary length that uses all
/// readings has some hundred versions; what is longer is made to be expensive.
const MOST_BYTES: usize = 256 * 1024;
/// Nor beyond this many.
const MOST_VERSIONS: usize = 512;

/// A path that a reading made, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    text: String,
    folded: bool,
}

impl Path {
    fn new(segments: &[String]) -> Self {
        let text: String = segments.iter().flat_map(|segment| ["/", segment]).collect();
        let folded = is_folded(&text);
        Self { text, folded }
    }

    /// As a look-up sees it.
    pub(super) fn view(&self) -> View<'_> {
        View { text: &self.text, folded: self.folded }
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
}

impl<'s> Versions<'s> {
    /// The versions of a path.
    pub(super) fn new(written: View<'_>, spellings: &'s Spellings, always: ReadingSet, rules: PathRules) -> Self {
        let written = written.text.split('/').skip(1).map(str::to_owned).collect();
        Self { written, spellings, always, rules }
    }

    /// The version that the match is made on: every `always` done, in the order in which a path is read.
    ///
    /// # Errors
    /// A reading that is always done fails.
    pub(super) fn matched(&self) -> Result<(Path, SpellingId), Misreading> {
        let mut version = Version { segments: self.written.clone(), spelling: 0, readings: ReadingSet::default() };
        for step in self.always.steps().filter(|step| step.is_of_segments()) {
            version = self.after(&version, step)?;
        }
        Ok((Path::new(&version.segments), version.spelling))
    }

    fn after(&self, version: &Version, step: Step) -> Result<Version, Misreading> {
        let readings = version.readings.with(step.kind());
        let segments = step
            .read(&version.segments, self.rules)
            .map_err(|fault| Misreading { readings, problem: Problem::Fault(fault) })?;
        Ok(Version { segments, spelling: self.spellings.after(version.spelling, step), readings })
    }

    /// Every version that the server behind a route may read: each subset of readings, in every order.
    fn all(&self, entry: &RouteEntry) -> Result<Vec<Version>, Misreading> {
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
                if version.readings.contains(kind) || !is_done(step, entry) || !changes {
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

/// What matched first.
#[derive(Debug)]
pub(super) struct First<'r, 'v> {
    pub(super) found: Found<'r>,
    /// The route at the endpoint that serves the method.
    pub(super) terminal: &'r Terminal,
    /// The path, and the spelling and the readings that it was looked up under.
    pub(super) view: View<'v>,
    pub(super) spelling: SpellingId,
    pub(super) readings: ReadingSet,
}

impl First<'_, '_> {
    /// The text of a capture; empty where the shape has lost it.
    pub(super) fn capture(&self, number: usize) -> &str {
        piece(self.view.text, self.terminal.span(number, &self.found.spans))
    }

    /// Whether looking this up would find the same again, because it is the same question.
    fn answers(&self, view: View<'_>, spelling: SpellingId, readings: ReadingSet) -> bool {
        std::ptr::eq(view.text, self.view.text) && spelling == self.spelling && readings.last() == self.readings.last()
    }
}

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
    pub(super) fn seek(&self, view: View<'_>, spelling: SpellingId, readings: ReadingSet) -> Option<Found<'r>> {
        let (view, spelling) = if readings.contains(ReadingKind::TrailingSlash) {
            (view.without_trailing_slash(), self.spellings.after(spelling, Step::TrailingSlash))
        } else {
            (view, spelling)
        };
        if !readings.contains(ReadingKind::Case) {
            return self.spellings.tree(spelling)?.find(view);
        }
        let tree = self.spellings.tree(self.spellings.after(spelling, Step::Case))?;
        if view.folded {
            return tree.find(view);
        }
        if view.text.is_ascii() {
            let folded: SmallVec<[u8; 256]> = view.text.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
            let text = std::str::from_utf8(&folded).ok()?;
            return tree.find(View { text, folded: true });
        }
        let folded = fold_text(view.text);
        let found = tree.find(View { text: &folded, folded: true })?;
        let unfold = |at| unfolded(view.text, &folded, at);
        let spans = found.spans.iter().map(|(start, end)| (unfold(*start), unfold(*end)));
        Some(Found { spans: spans.collect(), ..found })
    }

    /// Checks every version of a path; gives the captures that waver.
    pub(super) fn check_all(&self, versions: &Versions<'_>, first: &First<'_, '_>) -> Result<u32, Misreading> {
        let Some(entry) = self.entries.get(first.terminal.entry) else { return Ok(0) };
        let mut wavering = 0;
        for version in versions.all(entry)? {
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
        first: &First<'_, '_>,
        readings: ReadingSet,
    ) -> Result<u32, Misreading> {
        let Some(entry) = self.entries.get(first.terminal.entry) else { return Ok(0) };
        let slash_matters =
            view.has_trailing_slash() || self.spellings.after(spelling, Step::TrailingSlash) != spelling;
        let case_matters = !view.folded || self.spellings.changing.contains(ReadingKind::Case);
        let mut wavering = 0;
        for with_slash in ways(entry.quirks.reading(ReadingKind::TrailingSlash), slash_matters) {
            let readings = readings.with_all(with_slash.then_some(ReadingKind::TrailingSlash));
            let mut folds_alike = false;
            for with_case in ways(entry.quirks.reading(ReadingKind::Case), case_matters) {
                if *with_case && folds_alike {
                    continue;
                }
                let readings = readings.with_all(with_case.then_some(ReadingKind::Case));
                let misread = |problem| Misreading { readings, problem };
                if first.answers(view, spelling, readings) {
                    self.same(first.found.endpoint, first).map_err(misread)?;
                    folds_alike = first.found.folds_alike;
                } else {
                    let found = self.seek(view, spelling, readings).ok_or(misread(Problem::NoRoute))?;
                    wavering |= self.compare(view, &found, first).map_err(misread)?;
                    folds_alike = found.folds_alike;
                }
            }
        }
        Ok(wavering)
    }

    /// Whether what was found is what matched first; gives the captures that differ.
    fn compare(&self, view: View<'_>, found: &Found<'_>, first: &First<'_, '_>) -> Result<u32, Problem> {
        let same = self.same(found.endpoint, first)?;
        let known = &first.terminal.captures;
        let mut wavering = 0;
        for number in known.iter().chain(same.captures.iter().filter(|number| !known.contains(*number))) {
            let number = usize::from(*number);
            if piece(view.text, same.span(number, &found.spans)) != first.capture(number) {
                wavering |= bit(number);
            }
        }
        Ok(wavering)
    }

    /// The route that matched first, where it is the only one at an endpoint that serves the method.
    fn same<'e>(&self, endpoint: &'e Endpoint, first: &First<'_, '_>) -> Result<&'e Terminal, Problem> {
        let is_first = |terminal: &&Terminal| terminal.entry == first.terminal.entry;
        let other = endpoint.terminals.iter().find(|terminal| !is_first(terminal) && self.serves(terminal.entry));
        match (endpoint.terminals.iter().find(is_first), other) {
            (Some(same), None) => Ok(same),
            (_, other) => {
                let other = other.or_else(|| endpoint.terminals.iter().find(|terminal| !is_first(terminal)));
                let other = other.and_then(|terminal| self.entries.get(terminal.entry));
                Err(other.map_or(Problem::NoRoute, |other| Problem::OtherRoute(other.id)))
            }
        }
    }
}

/// Whether servers do without a reading, with it, or either where it could matter.
fn ways(reading: Reading, matters: bool) -> &'static [bool] {
    match (reading, matters) {
        (Reading::Always, _) => &[true],
        (Reading::Never, _) | (Reading::Unknown, false) => &[false],
        (Reading::Unknown, true) => &[false, true],
    }
}

/// Whether the server behind a route may do a step. One whose own routes hold a `;` does not take it for the path's end.
fn is_done(step: Step, entry: &RouteEntry) -> bool {
    step.is_possible(&entry.quirks)
        && !(step == Step::EndAtSemicolon && entry.pattern.segments().iter().any(|segment| segment.contains(';')))
}

/// The byte position in a text that corresponds to one in its folded form: folding keeps the number of characters.
fn unfolded(text: &str, folded: &str, at: usize) -> usize {
    let count = folded.get(..at).map_or(0, |before| before.chars().count());
    text.char_indices().nth(count).map_or(text.len(), |(position, _)| position)
}
