//! Changing a tree in one place, for whoever asks what would be if a document said something else.

use super::node::{Entry, Key, Mapping, Node, Value};
use crate::diagnostic::Span;

/// A change of one place.
#[derive(Debug, Clone)]
pub enum Edit {
    /// The item of a list, or the entry of a mapping, goes.
    Remove,
    /// It has another value.
    Replace(Value),
    /// The entry of a mapping has another key.
    Rename(String),
    /// The mapping has one entry more.
    Add(String, Value),
}

impl Node {
    /// A value that nobody wrote, in the place of one that somebody did.
    pub fn made(value: Value, span: Span) -> Self {
        Self { value, span, quoted: true, expanded: false, broken: false }
    }

    /// The tree with one change. `path`: the positions of children, from the root down. `None`: there is no such place.
    #[must_use]
    pub fn edited(&self, path: &[usize], edit: &Edit) -> Option<Self> {
        let mut tree = self.clone();
        tree.edit(path, edit)?;
        Some(tree)
    }

    fn edit(&mut self, path: &[usize], edit: &Edit) -> Option<()> {
        let Some((number, rest)) = path.split_first() else {
            match (edit, &mut self.value) {
                (Edit::Replace(value), _) => self.value = value.clone(),
                (Edit::Add(key, value), Value::Map(map)) => {
                    let value = Self::made(value.clone(), self.span);
                    map.entries.push(Entry { key: Key { text: key.clone(), span: self.span }, value });
                }
                _ => return None,
            }
            return Some(());
        };
        match (&mut self.value, edit, rest) {
            (Value::List(items), Edit::Remove, []) if *number < items.len() => {
                items.remove(*number);
            }
            (Value::Map(map), Edit::Remove, []) if *number < map.entries.len() => {
                map.entries.remove(*number);
            }
            (Value::Map(map), Edit::Rename(key), []) => map.entries.get_mut(*number)?.key.text.clone_from(key),
            (Value::List(items), ..) => return items.get_mut(*number)?.edit(rest, edit),
            (Value::Map(map), ..) => return map.entries.get_mut(*number)?.value.edit(rest, edit),
            _ => return None,
        }
        Some(())
    }
}

impl Mapping {
    /// The mapping with only those items in the list of one entry that are at these positions.
    #[must_use]
    pub fn keeping(&self, key: &str, kept: &[usize]) -> Self {
        let entries = self.entries.iter().map(|entry| match &entry.value.value {
            Value::List(items) if entry.key.text == key => {
                let items = kept.iter().filter_map(|number| items.get(*number)).cloned().collect();
                Entry { key: entry.key.clone(), value: Node { value: Value::List(items), ..entry.value.bare() } }
            }
            _ => entry.clone(),
        });
        Self { entries: entries.collect(), flow: self.flow }
    }
}

impl Node {
    /// The node without its value.
    fn bare(&self) -> Self {
        let Self { span, quoted, expanded, broken, .. } = *self;
        Self { value: Value::Null, span, quoted, expanded, broken }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::diagnostic::{Diagnostics, Source};
    use crate::document::parse;

    fn tree(text: &str) -> Node {
        let source = Arc::new(Source { path: "a.yaml".into(), text: text.to_owned() });
        parse(&source, &mut Diagnostics::new()).unwrap()
    }

    fn changed(path: &[usize], edit: &Edit) -> Option<String> {
        tree("{a: [1, 2], b: {c: x}}").edited(path, edit).map(|node| node.to_json().unwrap().to_string())
    }

    #[test]
    fn one_place_changes_and_nothing_else() {
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(changed(&[0, 1], &Edit::Remove).unwrap(), r#"{"a":[1],"b":{"c":"x"}}"#);
        assert_eq!(changed(&[1], &Edit::Remove).unwrap(), r#"{"a":[1,2]}"#);
        assert_eq!(changed(&[1, 0], &Edit::Replace(text("y"))).unwrap(), r#"{"a":[1,2],"b":{"c":"y"}}"#);
        assert_eq!(changed(&[1, 0], &Edit::Rename("d".to_owned())).unwrap(), r#"{"a":[1,2],"b":{"d":"x"}}"#);
        assert_eq!(
            changed(&[1], &Edit::Add("d".to_owned(), text("y"))).unwrap(),
            r#"{"a":[1,2],"b":{"c":"x","d":"y"}}"#
        );
    }

    #[test]
    fn what_does_not_exist_is_not_changed() {
        assert!(changed(&[2], &Edit::Remove).is_none());
        assert!(changed(&[0, 2], &Edit::Remove).is_none());
        assert!(changed(&[0, 0, 0], &Edit::Remove).is_none());
        assert!(changed(&[], &Edit::Remove).is_none());
        assert!(changed(&[0], &Edit::Add("a".to_owned(), Value::Null)).is_none());
    }

    #[test]
    fn a_list_can_be_thinned_out() {
        let tree = tree("{a: [1, 2, 3], b: [4]}");
        let kept = tree.map().unwrap().keeping("a", &[0, 2]);
        let kept = Node::made(Value::Map(kept), Span::default());
        assert_eq!(kept.to_json().unwrap().to_string(), r#"{"a":[1,3],"b":[4]}"#);
    }
}
