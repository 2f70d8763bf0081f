//! Mutants of what `require` asks for.

use super::{At, Maker, Operator, Reach, child, entry, shown};
use crate::document::{Edit, Mapping, Node, Value};

/// Every address there is.
const EVERYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

impl Maker<'_> {
    /// Mutants of a whole `require`. `at`: where it stands.
    pub(super) fn require(&mut self, node: &Node, at: &At) {
        let replaced = |word: &str| Edit::Replace(Value::Text(word.to_owned()));
        match node.text() {
            Some("public") => return self.token(at, "asks for a token", replaced("authenticated")),
            Some("authenticated") => return self.token(at, "asks for no token", replaced("public")),
            _ => {}
        }
        let Some(map) = node.map() else { return };
        let mut entries = map.declared();
        if let (Some(only), None) = (entries.next(), entries.next()) {
            let at = At { path: at.path.clone(), span: only.key.span };
            if only.key.text == "token" {
                self.token(&at, "asks for a token", replaced("authenticated"));
            } else {
                let change = format!("no `{}`", only.key.text);
                self.add(Operator::DropCondition, &at, change, replaced("authenticated"));
            }
            self.inside(map, &at.path);
        } else {
            self.conditions(map, &at.path);
        }
    }

    /// Who is told that there is no route depends on whether any asks for a token.
    fn token(&mut self, at: &At, change: &str, edit: Edit) {
        self.reaching(Reach::All, |maker| maker.add(Operator::Token, at, change, edit));
    }

    /// Mutants of a map of conditions of which one may go.
    fn conditions(&mut self, map: &Mapping, path: &[usize]) {
        for (number, one) in map.entries().enumerate().filter(|(_, one)| !one.key.text.starts_with("x-")) {
            let at = At { path: child(path, number), span: one.key.span };
            match one.key.text.as_str() {
                "token" => self.token(&at, "asks for a token", Edit::Remove),
                key => self.add(Operator::DropCondition, &at, format!("no `{key}`"), Edit::Remove),
            }
        }
        self.inside(map, path);
    }

    /// Mutants of the single conditions of a map.
    fn inside(&mut self, map: &Mapping, path: &[usize]) {
        for (number, one) in map.entries().enumerate() {
            let at = At { path: child(path, number), span: one.key.span };
            match one.key.text.as_str() {
                "scope" | "permission" | "organization" => self.set(&one.value, &at, &one.key.text),
                "subject" | "client" | "issuer" => {
                    self.drop_items(Operator::DropValue, &one.value, &at.path, &one.key.text);
                }
                "claim" => self.claims(&one.value, &at),
                "authentication" => self.authentication(&one.value, &at),
                "network" => self.network(&one.value, &at),
                "certificate" => self.several(&one.value, &at, "certificate"),
                "request" => self.several(&one.value, &at, "request"),
                "any_of" => self.list(map, &one.value, &at, ("all_of", Operator::AnyToAll)),
                "all_of" => self.list(map, &one.value, &at, ("any_of", Operator::AllToAny)),
                "not" => self.not(map, &one.value, &at),
                _ => {}
            }
        }
    }

    /// A set expression.
    fn set(&mut self, node: &Node, at: &At, what: &str) {
        let Some(map) = node.map() else { return };
        for (key, other, operator) in
            [("all_of", "any_of", Operator::AllToAny), ("any_of", "all_of", Operator::AnyToAll)]
        {
            let Some((inner, list)) = entry(map, &at.path, key) else { continue };
            self.drop_items(Operator::DropWord, list, &inner.path, what);
            // One word is all of itself and any of itself.
            if list.list().len() > 1 {
                self.add(operator, &inner, format!("`{other}` of {what}"), Edit::Rename(other.to_owned()));
            }
        }
    }

    fn claims(&mut self, node: &Node, at: &At) {
        self.several(node, at, "claim");
        let maps = node.map().into_iter().flat_map(Mapping::entries).map(|entry| &entry.value);
        for (number, test) in maps.chain(node.list()).enumerate() {
            let path = child(&at.path, number);
            let Some(map) = test.map() else { continue };
            if let Some((inner, list)) = entry(map, &path, "one_of") {
                self.drop_items(Operator::DropValue, list, &inner.path, "claim");
            }
            if let Some((inner, set)) = entry(map, &path, "contains") {
                self.set(set, &inner, "claim");
            }
        }
    }

    fn authentication(&mut self, node: &Node, at: &At) {
        self.several(node, at, "authentication");
        if let Some((inner, list)) = node.map().and_then(|map| entry(map, &at.path, "acr")) {
            self.drop_items(Operator::DropValue, list, &inner.path, "acr");
        }
    }

    fn network(&mut self, node: &Node, at: &At) {
        self.drop_items(Operator::DropValue, node, &at.path, "network");
        if node.list().iter().filter_map(Node::text).eq(EVERYWHERE) {
            return;
        }
        let text = |text: &str| Node::made(Value::Text(text.to_owned()), node.span);
        let everywhere = Value::List(EVERYWHERE.map(text).to_vec());
        self.add(Operator::WidenNetwork, at, "any address", Edit::Replace(everywhere));
    }

    /// A map or list whose parts must all hold, one of which may go; and the lists inside.
    fn several(&mut self, node: &Node, at: &At, what: &str) {
        let Some(map) = node.map() else { return self.drop_items(Operator::DropCondition, node, &at.path, what) };
        for (number, one) in map.entries().enumerate() {
            let inner = At { path: child(&at.path, number), span: one.key.span };
            if map.len() > 1 {
                let change = format!("no `{what}` of `{}`", one.key.text);
                self.add(Operator::DropCondition, &inner, change, Edit::Remove);
            }
            if one.key.text != "acr" {
                self.drop_items(Operator::DropValue, &one.value, &inner.path, &one.key.text);
            }
        }
    }

    /// `any_of` or `all_of` over maps. `other`: the word it is changed into.
    fn list(&mut self, around: &Mapping, node: &Node, at: &At, other: (&str, Operator)) {
        let (word, operator) = other;
        let items = node.list();
        let dropped = if word == "all_of" { Operator::DropAlternative } else { Operator::DropCondition };
        if items.len() > 1 {
            self.drop_items(dropped, node, &at.path, if word == "all_of" { "any_of" } else { "all_of" });
            if around.get(word).is_none() {
                self.add(operator, at, format!("`{word}`"), Edit::Rename(word.to_owned()));
            }
        }
        for (number, item) in items.iter().enumerate() {
            let Some(map) = item.map() else { continue };
            let path = child(&at.path, number);
            // The only condition of an alternative goes with the alternative.
            if map.declared().nth(1).is_some() { self.conditions(map, &path) } else { self.inside(map, &path) }
        }
    }

    /// `not` goes, what it negates stays: as an entry of its own, or in an `all_of` where its key is taken.
    fn not(&mut self, around: &Mapping, node: &Node, at: &At) {
        let Some(map) = node.map() else { return };
        self.inside(map, &at.path);
        if around.get("all_of").is_none() {
            let edits = vec![
                (at.path.clone(), Edit::Replace(Value::List(vec![node.clone()]))),
                (at.path.clone(), Edit::Rename("all_of".to_owned())),
            ];
            self.add_all(Operator::DropNot, at.span, format!("`{}`", shown(node)), edits);
        } else if let Some(only) = map.declared().next().filter(|only| around.get(&only.key.text).is_none()) {
            let edits = vec![
                (at.path.clone(), Edit::Replace(only.value.value.clone())),
                (at.path.clone(), Edit::Rename(only.key.text.clone())),
            ];
            self.add_all(Operator::DropNot, at.span, format!("`{}`", shown(node)), edits);
        }
    }
}
