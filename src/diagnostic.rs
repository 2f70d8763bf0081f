//! What is wrong with a file, shown the way a compiler shows it: `path:line:column`, the source line, a caret under
//! the exact token, what is wrong and what to write instead. Every file that Torwart reads reports through this.

use std::fmt::{self, Display, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file's text under the name it is reported by.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Path as shown to the user.
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
}

/// A range of bytes in a [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One behind the last byte.
    pub end: usize,
}

/// A place that outlives parsing: which file, which bytes. Conditions keep it so that decisions can name their line.
#[derive(Debug, Clone)]
pub struct Place {
    /// The file.
    pub source: Arc<Source>,
    /// The bytes meant.
    pub span: Span,
}

impl Place {
    /// Line and column, both counted from 1; columns count characters.
    pub fn line_column(&self) -> (usize, usize) {
        let before = self.source.text.get(..self.span.start).unwrap_or(&self.source.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).map_or(0, |text| text.chars().count()) + 1;
        (line, column)
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// `path`, `line` and `column`.
    fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
        let (line, column) = self.line_column();
        let path = self.path().to_string_lossy().into_owned();
        [("path", path.into()), ("line", line.into()), ("column", column.into())]
            .into_iter()
            .map(|(name, value): (_, serde_json::Value)| (name.to_owned(), value))
            .collect()
    }

    /// `path:line:column`, the path relative to `base` if it is below.
    pub fn shown(&self, base: Option<&Path>) -> String {
        let (line, column) = self.line_column();
        let path = base.and_then(|base| self.path().strip_prefix(base).ok()).unwrap_or(self.path());
        visible(&format!("{}:{line}:{column}", path.display()))
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_column();
        write!(f, "{}:{line}:{column}", self.source.path.display())
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file is not used.
    Error,
    /// The file is used; somebody should look.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// Where; `None` for what concerns no place in a file (a missing file, an unset variable).
    pub place: Option<Place>,
    /// What is wrong: lower case, no full stop, values in backticks.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// Another place that takes part (the first of two duplicates), with a word on why.
    pub related: Option<(Place, String)>,
}

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Text alone.
    Plain,
    /// With colours of a terminal (ECMA-48 SGR).
    Coloured,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Coloured => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

impl Severity {
    /// The word used in text and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

impl Diagnostic {
    /// The diagnostic as text, one finding with its source line and caret, ending in a newline.
    pub fn render(&self) -> String {
        self.render_in(Style::Plain, None)
    }

    /// The same in a style, paths below `base` written relative to it.
    pub fn render_in(&self, style: Style, base: Option<&Path>) -> String {
        let mut out = String::new();
        let colour = if self.severity == Severity::Error { "1;31" } else { "1;33" };
        let word = style.paint(colour, self.severity.as_str());
        let message = style.paint("1", &visible(&self.message));
        match &self.place {
            Some(place) => {
                let _ = writeln!(out, "{}: {word}: {message}", place.shown(base));
                excerpt(&mut out, place, &|text| style.paint(colour, text));
            }
            None => {
                let _ = writeln!(out, "{word}: {message}");
            }
        }
        if let Some(help) = &self.help {
            let _ = writeln!(out, "  = {}: {}", style.paint("1;36", "help"), visible(help));
        }
        if let Some((place, note)) = &self.related {
            let _ = writeln!(out, "  = {}: {}", place.shown(base), visible(note));
        }
        out
    }

    /// The diagnostic for programs: `severity`, `message`, and where they exist `path`, `line`, `column`, `help` and
    /// `related`.
    pub fn to_json(&self) -> serde_json::Value {
        let mut out = serde_json::Map::new();
        out.insert("severity".to_owned(), self.severity.as_str().into());
        out.insert("message".to_owned(), self.message.as_str().into());
        if let Some(place) = &self.place {
            out.append(&mut place.to_json());
        }
        if let Some(help) = &self.help {
            out.insert("help".to_owned(), help.as_str().into());
        }
        if let Some((place, note)) = &self.related {
            let mut related = place.to_json();
            related.insert("message".to_owned(), note.as_str().into());
            out.insert("related".to_owned(), related.into());
        }
        out.into()
    }
}

/// Text of a file as a terminal may see it: control characters could rewrite what stands there.
fn visible(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// Writes the source line and a caret line below it.
fn excerpt(out: &mut String, place: &Place, paint: &dyn Fn(&str) -> String) {
    let (line, column) = place.line_column();
    let Some(text) = place.source.text.lines().nth(line - 1) else { return };
    let text = visible(text);
    let number = line.to_string();
    let gutter = " ".repeat(number.len());
    let wanted = place
        .source
        .text
        .get(place.span.start..place.span.end)
        .map_or(1, |token| token.lines().next().unwrap_or("").chars().count());
    let room = text.chars().count().saturating_sub(column - 1).max(1);
    let carets = "^".repeat(wanted.clamp(1, room));
    let _ = writeln!(out, " {number} | {text}");
    let _ = writeln!(out, " {gutter} | {}{}", " ".repeat(column - 1), paint(&carets));
}

/// All findings of one load, in the order found.
#[derive(Debug, Default, Clone)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Nothing found yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an error at a place.
    pub fn error(&mut self, place: Place, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, Some(place), message.into())
    }

    /// Adds a warning at a place.
    pub fn warning(&mut self, place: Place, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Warning, Some(place), message.into())
    }

    /// Adds an error that concerns no place in a file.
    pub fn general(&mut self, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, None, message.into())
    }

    /// Adds a warning that concerns no place in a file.
    pub fn warn(&mut self, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Warning, None, message.into())
    }

    /// Takes over what another load found.
    pub fn append(&mut self, mut other: Self) {
        self.list.append(&mut other.list);
    }

    /// Everything found.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// Whether anything found forbids the use of what was read.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|found| found.severity == Severity::Error)
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Sorts by file and position, so that output does not depend on the order of checks.
    pub fn sort(&mut self) {
        self.list.sort_by_cached_key(|found| {
            found.place.as_ref().map_or((PathBuf::new(), 0), |place| (place.source.path.clone(), place.span.start))
        });
    }

    /// All findings as text.
    pub fn render(&self) -> String {
        self.render_in(Style::Plain, None)
    }

    /// All findings as text in a style, paths below `base` written relative to it.
    pub fn render_in(&self, style: Style, base: Option<&Path>) -> String {
        self.list.iter().map(|found| found.render_in(style, base)).collect()
    }

    /// All findings for programs.
    pub fn to_json(&self) -> Vec<serde_json::Value> {
        self.list.iter().map(Diagnostic::to_json).collect()
    }

    #[expect(clippy::indexing_slicing, reason = "the element was pushed on the line before")]
    fn push(&mut self, severity: Severity, place: Option<Place>, message: String) -> &mut Diagnostic {
        self.list.push(Diagnostic { severity, place, message, help: None, related: None });
        let last = self.list.len() - 1;
        &mut self.list[last]
    }
}

impl Diagnostic {
    /// Says what to write instead.
    pub fn help(&mut self, text: impl Into<String>) -> &mut Self {
        self.help = Some(text.into());
        self
    }

    /// Points at another place that takes part.
    pub fn related(&mut self, place: Place, note: impl Into<String>) -> &mut Self {
        self.related = Some((place, note.into()));
        self
    }
}

/// The name among `valid` that `wrong` was probably meant to be: within a third of its length by edit distance.
pub fn nearest<'n>(wrong: &str, valid: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let allowed = (wrong.chars().count() / 3).max(1);
    valid
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// An error with everything that caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source()).map(ToString::to_string);
    std::iter::once(error.to_string()).chain(causes).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(text: &str, token: &str) -> Diagnostics {
        let start = text.find(token).unwrap();
        let source = Arc::new(Source { path: "/here/a.yaml".into(), text: text.to_owned() });
        let mut problems = Diagnostics::new();
        let place = Place { source, span: Span { start, end: start + token.len() } };
        problems.error(place.clone(), "it is wrong").help("write another").related(place, "as here");
        problems
    }

    #[test]
    fn the_caret_stands_under_the_token_whatever_comes_before_it() {
        let text = finding("x: 1\n\tä: [b, wörng] # c\n", "wörng").render();
        let expected = "/here/a.yaml:2:9: error: it is wrong\n 2 |  ä: [b, wörng] # c\n   |         ^^^^^\n  \
            = help: write another\n  = /here/a.yaml:2:9: as here\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_token_of_many_lines_is_underlined_on_its_first() {
        let text = finding("a:\n  - b: 1\n    c: 2\n", "b: 1\n    c: 2").render();
        assert!(text.contains(" 2 |   - b: 1\n   |     ^^^^\n"), "{text}");
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let mut problems = finding("a: \u{1b}[31mred\u{7}\u{9b}\r\n", "red");
        problems.warn("\u{1b}]0;title\u{7}");
        assert!(!problems.render().chars().any(|c| c.is_control() && c != '\n'), "{:?}", problems.render());
    }

    #[test]
    fn paths_below_the_base_are_relative_and_colour_is_asked_for() {
        let problems = finding("a: 1\n", "1");
        let text = problems.render_in(Style::Plain, Some(Path::new("/here")));
        assert!(text.starts_with("a.yaml:1:4: error"), "{text}");
        let text = problems.render_in(Style::Coloured, None);
        assert!(text.starts_with("/here/a.yaml:1:4: \u{1b}[1;31merror\u{1b}[0m"), "{text:?}");
    }

    #[test]
    fn the_nearest_name_is_near() {
        assert_eq!(nearest("listners", ["limits", "listeners"]), Some("listeners"));
        assert_eq!(nearest("HTTP1", ["http1", "h2"]), Some("http1"));
        assert_eq!(nearest("something", ["path", "methods"]), None);
        assert_eq!(nearest("", ["a"]), Some("a"));
    }
}
