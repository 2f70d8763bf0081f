//! From YAML events to the tree. The only file that names the YAML crate.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;

use serde_yaml::granit_parser as yaml;
use yaml::{Event, Marker, ScalarStyle, StructureStyle};

use super::node::{Entry, Key, Mapping, Node, Value};
use super::scalar;
use crate::diagnostic::{Diagnostics, Place, Source, Span};

/// Aliases that one file may use, those inside of what an alias stands for counted again each time.
const EXPANSIONS: usize = 100;
/// How deep collections may nest.
const DEPTH: usize = 128;
/// Scalars and collections of one file, aliases spelt out. Twenty thousand routes are about a million.
const NODES: usize = 8_000_000;

/// Reads one YAML document. Every problem of the tree itself is reported; a fault of the syntax ends the reading,
/// and so does exceeding a bound, with `None`.
pub fn parse(source: &Arc<Source>, problems: &mut Diagnostics) -> Option<Node> {
    let mut options = yaml::options! { emit_unresolved_aliases: true };
    options.set_emit_comments(false);
    let mut builder = Builder {
        source,
        problems,
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        nodes: 0,
        expansions: 0,
        end: 0,
    };
    for event in yaml::Parser::new_from_str_with_options(&source.text, options) {
        match event {
            Ok((event, span)) => builder.event(event, &span)?,
            Err(fault) => {
                let start = builder.offset(fault.marker());
                let place = builder.place(Span { start, end: start });
                let braces = source.text.get(start..).is_some_and(|rest| rest.starts_with(['{', '$']));
                let found = builder.problems.error(place, format!("not valid YAML: {}", sentence(&fault.info())));
                if braces {
                    found.help("quote a value that has braces in it");
                }
                return None;
            }
        }
    }
    let nothing = || Node { value: Value::Null, span: Span::default(), quoted: false, expanded: false, broken: false };
    Some(builder.root.map_or_else(nothing, |built| built.node))
}

/// A finished node with what it weighs.
#[derive(Clone)]
struct Built {
    node: Node,
    nodes: usize,
    expansions: usize,
    depth: usize,
}

/// An unfinished collection.
struct Frame {
    start: usize,
    anchor: usize,
    flow: bool,
    nodes: usize,
    expansions: usize,
    depth: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, seen: HashMap<String, Span>, slot: KeySlot },
}

/// What the next node of a mapping is.
enum KeySlot {
    /// A key.
    Open,
    /// The value of this key; `None`: of one that was reported, so the value is dropped.
    Read(Option<Key>),
}

struct Builder<'s> {
    source: &'s Arc<Source>,
    problems: &'s mut Diagnostics,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Built>,
    root: Option<Built>,
    nodes: usize,
    expansions: usize,
    /// End of the last scalar or bracket: where a block collection ends.
    end: usize,
}

impl Builder<'_> {
    /// `None`: reading ends here.
    fn event(&mut self, event: Event<'_>, at: &yaml::Span) -> Option<()> {
        let span = self.span(at);
        match event {
            Event::DocumentStart(_, version) => self.document(span, version)?,
            Event::Scalar(text, style, anchor, tag) => {
                let broken = self.tagged(tag.is_some(), at);
                let node = self.scalar(text.into_owned(), style, span, broken);
                self.end = self.end.max(node.span.end);
                self.finish(Built { node, nodes: 1, expansions: 0, depth: 0 }, anchor)?;
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.tagged(tag.is_some(), at);
                self.open(span, style, anchor, Content::List(Vec::new()))?;
            }
            Event::MappingStart(style, anchor, tag) => {
                self.tagged(tag.is_some(), at);
                let content = Content::Map { entries: Vec::new(), seen: HashMap::new(), slot: KeySlot::Open };
                self.open(span, style, anchor, content)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
            Event::Alias(id) => self.alias(id, span)?,
            Event::UnresolvedAlias(name) => {
                let place = self.place(span);
                self.problems
                    .error(place, format!("no anchor `&{name}` comes before this alias"))
                    .help("quote the value if it is meant to begin with `*`");
                self.end = self.end.max(span.end);
                self.finish(Built { node: broken(span), nodes: 1, expansions: 0, depth: 0 }, 0)?;
            }
            _ => {}
        }
        Some(())
    }

    fn document(&mut self, span: Span, version: Option<yaml::YamlVersion>) -> Option<()> {
        if self.root.is_some() {
            let place = self.place(span);
            self.problems.error(place, "a second document begins here").help("write one document a file");
            return None;
        }
        if version.is_some_and(|version| version != yaml::YamlVersion::new(1, 2)) {
            let place = self.place(span);
            self.problems.error(place, "files are read as YAML 1.2").help("remove the `%YAML` line");
        }
        Some(())
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, mut span: Span, mut broken: bool) -> Node {
        let written = self.source.text.get(span.start..span.end).unwrap_or_default();
        if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            span.end = span.start + written.trim_end().len();
        }
        let quoted = style != ScalarStyle::Plain;
        let resolved = if quoted { Ok(Value::Text(text)) } else { scalar::resolve(&text) };
        let value = resolved.unwrap_or_else(|scalar::TooLarge| {
            let place = self.place(span);
            self.problems
                .error(place, format!("the number `{written}` does not fit 64 bits"))
                .help(format!("quote it to mean text: `\"{written}\"`"));
            broken = true;
            Value::Null
        });
        Node { value, span, quoted, expanded: false, broken }
    }

    /// Reports a tag. Whether there was one.
    fn tagged(&mut self, tagged: bool, at: &yaml::Span) -> bool {
        if tagged {
            let span = at.tag_span().map_or_else(|| self.span(at), |tag| self.span(&tag));
            let place = self.place(span);
            self.problems.error(place, "tags are not read").help("remove it; quote a value to mean text");
        }
        tagged
    }

    fn open(&mut self, span: Span, style: StructureStyle, anchor: usize, content: Content) -> Option<()> {
        if self.stack.len() >= DEPTH {
            return self.too_much(span, &format!("collections nest deeper than {DEPTH}"));
        }
        let flow = style == StructureStyle::Flow;
        self.end = self.end.max(span.start);
        self.stack.push(Frame { start: span.start, anchor, flow, nodes: 1, expansions: 0, depth: 0, content });
        Some(())
    }

    fn close(&mut self, span: Span) -> Option<()> {
        let frame = self.stack.pop()?;
        if frame.flow {
            self.end = self.end.max(span.end);
        }
        let value = match frame.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(Mapping { entries, flow: frame.flow }),
        };
        let span = Span { start: frame.start, end: self.end };
        let node = Node { value, span, quoted: false, expanded: false, broken: false };
        let built = Built { node, nodes: frame.nodes, expansions: frame.expansions, depth: frame.depth + 1 };
        self.finish(built, frame.anchor)
    }

    fn alias(&mut self, id: usize, span: Span) -> Option<()> {
        self.end = self.end.max(span.end);
        let Some(target) = self.anchors.get(&id) else {
            let place = self.place(span);
            self.problems.error(place, "this alias stands inside of what it stands for");
            return self.finish(Built { node: broken(span), nodes: 1, expansions: 0, depth: 0 }, 0);
        };
        // Counted before copying: what aliases stand for multiplies.
        let expansions = target.expansions + 1;
        if self.expansions + expansions > EXPANSIONS {
            return self.too_much(span, &format!("more than {EXPANSIONS} aliases are expanded"));
        }
        if self.stack.len() + target.depth > DEPTH {
            return self.too_much(span, &format!("collections nest deeper than {DEPTH}"));
        }
        if self.nodes + target.nodes > NODES {
            return self.too_much(span, &format!("more than {NODES} values in one file"));
        }
        let built = Built { expansions, ..target.clone() };
        self.expansions += expansions;
        self.finish(built, 0)
    }

    /// Puts a finished node where it belongs.
    fn finish(&mut self, built: Built, anchor: usize) -> Option<()> {
        let span = built.node.span;
        if !matches!(built.node.value, Value::List(_) | Value::Map(_)) || built.expansions > 0 {
            self.nodes += built.nodes;
        }
        if anchor != 0 {
            self.nodes += built.nodes;
            self.anchors.insert(anchor, built.clone());
        }
        if self.nodes > NODES {
            return self.too_much(span, &format!("more than {NODES} values in one file"));
        }
        let Some(mut frame) = self.stack.pop() else {
            self.root = Some(built);
            return Some(());
        };
        frame.nodes += built.nodes;
        frame.expansions += built.expansions;
        frame.depth = frame.depth.max(built.depth);
        match &mut frame.content {
            Content::List(items) => items.push(built.node),
            Content::Map { entries, seen, slot } => match std::mem::replace(slot, KeySlot::Open) {
                KeySlot::Open => *slot = KeySlot::Read(self.key(&built.node, seen)),
                KeySlot::Read(Some(key)) => entries.push(Entry { key, value: built.node }),
                KeySlot::Read(None) => {}
            },
        }
        self.stack.push(frame);
        Some(())
    }

    /// The key that a node is, unless it is none or a repeated one.
    fn key(&mut self, node: &Node, seen: &mut HashMap<String, Span>) -> Option<Key> {
        let place = self.place(node.span);
        let written = self.source.text.get(node.span.start..node.span.end).unwrap_or_default();
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            _ if node.broken => return None,
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                self.problems
                    .error(place, format!("the key `{written}` is no text"))
                    .help(format!("quote it: `\"{written}\"`"));
                return None;
            }
            Value::List(_) | Value::Map(_) => {
                self.problems
                    .error(place, "a key must be text, not a collection")
                    .help("templates in braces need quotes");
                return None;
            }
        };
        if text == "<<" && !node.quoted {
            self.problems
                .error(place, "merge keys are not read")
                .help("write the entries out, or alias the whole value");
            return None;
        }
        match seen.entry(text.clone()) {
            Slot::Occupied(first) => {
                let first = self.place(*first.get());
                self.problems
                    .error(place, format!("the key `{text}` is written twice"))
                    .help("keep one of them")
                    .related(first, "the first is here");
                None
            }
            Slot::Vacant(slot) => {
                slot.insert(node.span);
                Some(Key { text, span: node.span })
            }
        }
    }

    fn too_much(&mut self, span: Span, message: &str) -> Option<()> {
        let place = self.place(span);
        self.problems.error(place, message);
        None
    }

    fn place(&self, span: Span) -> Place {
        Place { source: Arc::clone(self.source), span }
    }

    fn span(&self, span: &yaml::Span) -> Span {
        let start = self.offset(&span.start);
        Span { start, end: self.offset(&span.end).max(start) }
    }

    /// A byte that is inside of the text and begins a character.
    fn offset(&self, marker: &Marker) -> usize {
        self.source.text.floor_char_boundary(marker.byte_offset().unwrap_or(0))
    }
}

/// What stands for a value that was reported.
fn broken(span: Span) -> Node {
    Node { value: Value::Null, span, quoted: false, expanded: false, broken: true }
}

/// A foreign message in our style: one line, no full stop.
fn sentence(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> (Option<Node>, Diagnostics) {
        let source = Arc::new(Source { path: "t.yaml".into(), text: text.to_owned() });
        let mut problems = Diagnostics::new();
        let node = parse(&source, &mut problems);
        (node, problems)
    }

    fn messages(text: &str) -> Vec<String> {
        let (_, problems) = read(text);
        problems.iter().map(|found| format!("{} {}", found.place.as_ref().unwrap(), found.message)).collect()
    }

    fn json(text: &str) -> serde_json::Value {
        let (node, problems) = read(text);
        assert!(!problems.has_errors(), "{}", problems.render());
        node.unwrap().to_json().unwrap()
    }

    fn slice(text: &str, node: &Node) -> String {
        text.get(node.span.start..node.span.end).unwrap().to_owned()
    }

    #[test]
    fn values_have_the_types_of_the_core_schema() {
        let text =
            "a: yes\nb: true\nc: 0x10\nd: '4711'\ne: 1.5\nf:\ng: [1, \"x\", {h: ~}]\ni: |\n  two\n  lines\nj: on\n";
        assert_eq!(
            json(text),
            serde_json::json!({"a": "yes", "b": true, "c": 16, "d": "4711", "e": 1.5, "f": null,
                "g": [1, "x", {"h": null}], "i": "two\nlines\n", "j": "on"})
        );
    }

    #[test]
    fn spans_are_the_exact_bytes() {
        let text = "ä: {b: [1, \"zwölf\"]}\nc:\n  - d: |\n      block\n\n    e: x # note\nf: 'q'\n";
        let (node, _) = read(text);
        let node = node.unwrap();
        let map = node.map().unwrap();
        assert_eq!(slice(text, map.get("ä").unwrap()), "{b: [1, \"zwölf\"]}");
        assert_eq!(slice(text, map.map("ä").unwrap().get("b").unwrap()), "[1, \"zwölf\"]");
        assert_eq!(slice(text, &map.map("ä").unwrap().list("b")[1]), "\"zwölf\"");
        let item = &map.list("c")[0];
        assert_eq!(slice(text, item.map().unwrap().get("d").unwrap()), "block");
        assert_eq!(slice(text, item), "d: |\n      block\n\n    e: x");
        assert_eq!(slice(text, map.get("f").unwrap()), "'q'");
        let key = &map.entry("ä").unwrap().key;
        assert_eq!(text.get(key.span.start..key.span.end), Some("ä"));
    }

    #[test]
    fn every_duplicate_key_is_reported_with_the_first() {
        let (_, problems) = read("a: 1\nb: {c: 1, c: 2}\na: 2\n\"a\": 3\n");
        let found: Vec<_> = problems.iter().map(|each| each.place.as_ref().unwrap().to_string()).collect();
        assert_eq!(found, ["t.yaml:2:11", "t.yaml:3:1", "t.yaml:4:1"]);
        let firsts: Vec<_> = problems.iter().map(|each| each.related.as_ref().unwrap().0.to_string()).collect();
        assert_eq!(firsts, ["t.yaml:2:5", "t.yaml:1:1", "t.yaml:1:1"]);
    }

    #[test]
    fn what_yaml_has_beyond_json_is_refused() {
        assert_eq!(messages("a: &x {b: 1}\nc:\n  <<: *x\n"), ["t.yaml:3:3 merge keys are not read"]);
        assert_eq!(messages("a: !secret x\nb: !!str 1\nc: !!map {}\n").len(), 3);
        assert_eq!(messages("a: !secret x\n"), ["t.yaml:1:4 tags are not read"]);
        assert_eq!(messages("a: 1\n---\nb: 2\n"), ["t.yaml:2:1 a second document begins here"]);
        assert_eq!(messages("1: a\ntrue: b\n? [x]\n: c\n").len(), 3);
        assert_eq!(messages("{a}: b\n"), ["t.yaml:1:1 a key must be text, not a collection"]);
        assert_eq!(messages("a: *nowhere\nb: 99999999999999999999\n").len(), 2);
        assert_eq!(messages("%YAML 1.1\n---\na: 1\n").len(), 1);
        assert_eq!(messages("a: [1\nb: 2\n").len(), 1);
        assert_eq!(messages("a: &x [*x]\n").len(), 1);
        assert_eq!(json("\"<<\": 1\n"), serde_json::json!({"<<": 1}));
    }

    #[test]
    fn aliases_stand_for_what_they_name() {
        assert_eq!(json("a: &x {b: [1]}\nc: *x\n"), serde_json::json!({"a": {"b": [1]}, "c": {"b": [1]}}));
        assert_eq!(json("a: &x q\n*x : 1\n"), serde_json::json!({"a": "q", "q": 1}));
    }

    #[test]
    fn a_hundred_expansions_pass_and_one_more_does_not() {
        let many = |count: usize| format!("a: &x 1\nb: [{}]\n", vec!["*x"; count].join(", "));
        assert!(messages(&many(100)).is_empty());
        assert_eq!(messages(&many(101)), ["t.yaml:2:405 more than 100 aliases are expanded"]);
    }

    #[test]
    fn nested_aliases_count_each_time() {
        use std::fmt::Write as _;
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let before = vec![format!("*a{}", level - 1); 10].join(", ");
            let _ = writeln!(text, "a{level}: &a{level} [{before}]");
        }
        let found = messages(&text);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("aliases"), "{found:?}");
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(messages(&deep(128)).is_empty());
        assert_eq!(messages(&deep(129)).len(), 1);
        assert_eq!(messages(&deep(100_000)).len(), 1);
    }

    #[test]
    fn twenty_thousand_routes_fit() {
        use std::fmt::Write as _;
        let mut text = "version: 1\nroutes:\n".to_owned();
        for index in 0..20_000 {
            let _ = writeln!(
                text,
                "  - path: /r{index}/{{id}}\n    methods: [GET, POST]\n    params: {{id: uuid}}\n    require:\n      scope: {{all_of: [a, b]}}\n      subject: \"{{id}}\""
            );
        }
        let (node, problems) = read(&text);
        assert!(problems.is_empty(), "{}", problems.render());
        assert_eq!(node.unwrap().map().unwrap().list("routes").len(), 20_000);
    }

    #[test]
    fn an_empty_file_is_null() {
        for text in ["", "\n", "# nothing\n", "---\n", "\u{feff}"] {
            assert_eq!(json(text), serde_json::Value::Null, "{text:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_does_not_shift_spans() {
        let text = "\u{feff}a: b\n";
        let (node, _) = read(text);
        assert_eq!(slice(text, node.unwrap().map().unwrap().get("a").unwrap()), "b");
    }

    fn inside(node: &Node, text: &str) {
        assert!(text.get(node.span.start..node.span.end).is_some(), "{:?} of {text:?}", node.span);
        match &node.value {
            Value::List(items) => items.iter().for_each(|item| inside(item, text)),
            Value::Map(map) => map.entries().for_each(|entry| {
                assert!(text.get(entry.key.span.start..entry.key.span.end).is_some());
                inside(&entry.value, text);
            }),
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn hostile_text_never_panics_and_spans_are_inside(
            text in "(a|b|ä|\u{feff}|: |- |\\[|\\]|\\{|\\}|,|\n|  |&x |\\*x|\"|'|\\||>|#|!t |<<|\\?|1|~|---|\t|%|\u{85}|\r){0,40}"
        ) {
            let (node, problems) = read(&text);
            if let Some(node) = node {
                inside(&node, &text);
            }
            for found in problems.iter() {
                let place = found.place.as_ref().unwrap();
                prop_assert!(text.get(place.span.start..place.span.end).is_some());
                found.render();
            }
        }

        #[test]
        fn any_text_never_panics(text in "\\PC{0,60}") {
            if let (Some(node), _) = read(&text) {
                inside(&node, &text);
            }
        }

        #[test]
        fn json_reads_as_itself(text in "[a-zäöü \\\\\"\u{1}\n:#{}]{0,12}", number in any::<i64>(), flag in any::<bool>()) {
            let value = serde_json::json!({"k": [text, number, flag, null, {"n": {}}]});
            prop_assert_eq!(json(&value.to_string()), value);
        }
    }
}
