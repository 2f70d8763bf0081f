//! Mutants of documents and routes beside their conditions.

use super::{At, Maker, Operator, Reach, child, entry, shown};
use crate::document::{Edit, Mapping, Node, Value};

impl Maker<'_> {
    /// Every mutant of a document.
    pub(super) fn document(&mut self, map: &Mapping) {
        if let Some((at, node)) = entry(map, &[], "require") {
            self.defaults(node, &at);
        }
        if let Some((at, hosts)) = entry(map, &[], "hosts") {
            self.drop_items(Operator::DropHost, hosts, &at.path, "hosts");
        }
        self.issuers(map, &[]);
        if map.text("mode") != Some("observe") {
            self.observe(map, &[]);
        }
        if let Some((at, node)) = entry(map, &[], "forward") {
            self.forward(node, &at.path);
        }
        let Some((routes, list)) = entry(map, &[], "routes") else { return };
        for (number, route) in list.list().iter().enumerate() {
            let Some(own) = route.map() else { continue };
            let alike = alike(list.list(), number);
            self.reach = Reach::Routes(vec![number]);
            self.route(map, own, &child(&routes.path, number), alike);
        }
        for (number, pair) in list.list().windows(2).enumerate() {
            let [one, other] = pair else { continue };
            self.reach = Reach::Shape(vec![number, number + 1]);
            self.swap((one, number), (other, number + 1), &routes.path);
        }
        self.reach = Reach::All;
    }

    /// A document's `require` may go as a whole.
    fn defaults(&mut self, node: &Node, at: &At) {
        let Some(map) = node.map() else { return };
        let before = self.found.len();
        self.require(node, at);
        // Where it is one condition, the key goes with it: `authenticated` is what every route asks for anyway.
        if map.len() == 1
            && let Some(first) = self.found.get_mut(before)
            && first.operator == Operator::DropCondition
        {
            first.edits = vec![(at.path.clone(), Edit::Remove)];
        }
    }

    /// `alike`: the routes of the same path, itself among them.
    fn route(&mut self, document: &Mapping, map: &Mapping, path: &[usize], alike: Vec<usize>) {
        let needs_token = map.get("require").is_some_and(|node| {
            node.text() != Some("public") && node.map().is_none_or(|map| map.get("token").is_none())
        });
        if let Some((at, node)) = entry(map, path, "require") {
            self.require(node, &at);
        }
        self.reaching(Reach::Shape(alike.clone()), |maker| maker.types(map, path));
        self.methods(map, path, &alike);
        if needs_token {
            self.client_credentials(document, map, path);
            self.reaching(Reach::Shape(alike.clone()), |maker| maker.issuers(map, path));
        }
        if let Some((at, node)) = entry(map, path, "narrow") {
            self.narrow(node, &at);
        }
        if let Some((at, node)) = entry(map, path, "forward") {
            self.forward(node, &at.path);
        }
        if map.text("mode").or_else(|| document.text("mode")) != Some("observe") {
            self.reaching(Reach::Shape(alike), |maker| maker.observe(map, path));
        }
    }

    /// A request of a method that goes is refused with 405 as long as the path has others; without the route it may be for
    /// any other.
    fn methods(&mut self, map: &Mapping, path: &[usize], alike: &[usize]) {
        let Some((at, node)) = entry(map, path, "methods") else { return };
        let shape = || Reach::Shape(alike.to_vec());
        match node.list() {
            [] => {
                let others = ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
                let word = |word: &&str| Node::made(Value::Text((*word).to_owned()), node.span);
                for kept in [&["GET"][..], &others] {
                    let list = Edit::Replace(Value::List(kept.iter().map(word).collect()));
                    let change = format!("only {}", kept.join(", "));
                    self.reaching(shape(), |maker| maker.add(Operator::DropMethod, &at, change, list));
                }
            }
            [only] => {
                let route = At { path: path.to_vec(), span: only.span };
                let change = format!("no {}", shown(only));
                self.reaching(Reach::All, |maker| maker.add(Operator::DropMethod, &route, change, Edit::Remove));
            }
            list => {
                for (number, method) in list.iter().enumerate() {
                    let at = At { path: child(&at.path, number), span: method.span };
                    let change = format!("no {}", shown(method));
                    self.reaching(shape(), |maker| maker.add(Operator::DropMethod, &at, change, Edit::Remove));
                }
            }
        }
    }

    fn types(&mut self, map: &Mapping, path: &[usize]) {
        let Some((at, node)) = entry(map, path, "params") else { return };
        for (number, one) in node.map().into_iter().flat_map(Mapping::entries).enumerate() {
            let at = At { path: child(&at.path, number), span: one.key.span };
            let change = format!("`{}` of any form", one.key.text);
            self.add(Operator::WidenType, &at, change, Edit::Remove);
        }
    }

    /// What is said of client credentials, made laxer and stricter. What a route does not say its document does.
    fn client_credentials(&mut self, document: &Mapping, map: &Mapping, path: &[usize]) {
        let own = entry(map, path, "client_credentials");
        let said = own.as_ref().map(|(_, node)| *node).or_else(|| document.get("client_credentials"));
        let span = own.as_ref().map(|(at, _)| at.span).or_else(|| map.entry("require").map(|entry| entry.key.span));
        let Some(span) = span else { return };
        let put = |maker: &mut Self, operator, change: &str, value: Value| {
            let (at, edit) = match &own {
                Some((at, _)) => (at.clone(), Edit::Replace(value)),
                None => (At { path: path.to_vec(), span }, Edit::Add("client_credentials".to_owned(), value)),
            };
            maker.add(operator, &at, change, edit);
        };
        let word = said.and_then(Node::text);
        if word != Some("bypass") {
            put(self, Operator::Bypass, "`client_credentials: bypass`", Value::Text("bypass".to_owned()));
        }
        if said.is_some() && word != Some("enforce") {
            put(self, Operator::Enforce, "`client_credentials: enforce`", Value::Text("enforce".to_owned()));
        }
        let Some((said, inner)) = said.and_then(|node| Some((node, node.map()?))) else { return };
        for (key, operator) in [("bypass", Operator::DropValue), ("lift", Operator::DropLift)] {
            let items = inner.list(key).len();
            for number in (0..items).filter(|_| items > 1) {
                let Some(position) = inner.entries().position(|entry| entry.key.text == key) else { continue };
                let Some(value) = said.edited(&[position, number], &Edit::Remove) else { continue };
                let gone = inner.list(key).get(number).map(shown).unwrap_or_default();
                put(self, operator, &format!("{key} without `{gone}`"), value.value);
            }
        }
        if let Some(position) = inner.entries().position(|entry| entry.key.text == "lift")
            && let Some(value) = said.edited(&[position], &Edit::Remove)
        {
            put(self, Operator::DropLift, "no `lift`", value.value);
        }
    }

    /// Tokens of every configured issuer count; of several, each no more.
    fn issuers(&mut self, map: &Mapping, path: &[usize]) {
        let Some((at, node)) = entry(map, path, "issuers") else { return };
        self.drop_items(Operator::DropValue, node, &at.path, "issuers");
        let named: Vec<_> = node.list().iter().filter_map(Node::text).collect();
        if self.issuers.iter().any(|issuer| !named.contains(issuer)) {
            let all = self.issuers.iter().map(|name| Node::made(Value::Text((*name).to_owned()), node.span)).collect();
            self.add(Operator::Issuers, &at, "tokens of every issuer", Edit::Replace(Value::List(all)));
        }
    }

    fn observe(&mut self, map: &Mapping, path: &[usize]) {
        let value = || Value::Text("observe".to_owned());
        let change = "`mode: observe`";
        if let Some((at, _)) = entry(map, path, "mode") {
            self.add(Operator::Observe, &at, change, Edit::Replace(value()));
        } else if let Some(first) = map.entry("path").or_else(|| map.entry("policy")) {
            let at = At { path: path.to_vec(), span: first.key.span };
            self.add(Operator::Observe, &at, change, Edit::Add("mode".to_owned(), value()));
        }
    }

    fn narrow(&mut self, node: &Node, at: &At) {
        let Some(map) = node.map() else { return };
        if map.len() == 1 {
            return self.add(Operator::DropNarrow, at, "no `narrow`", Edit::Remove);
        }
        for (number, one) in map.entries().enumerate() {
            let at = At { path: child(&at.path, number), span: one.key.span };
            self.add(Operator::DropNarrow, &at, format!("`{}` is not narrowed", one.key.text), Edit::Remove);
        }
    }

    /// What forwarding changes in the request. What only serving shows is left alone: time-outs, files.
    fn forward(&mut self, node: &Node, path: &[usize]) {
        for (number, one) in node.map().into_iter().flat_map(Mapping::entries).enumerate() {
            let at = At { path: child(path, number), span: one.key.span };
            let key = one.key.text.as_str();
            match (key, one.value.map()) {
                (
                    "strip_prefix" | "add_prefix" | "authorization" | "identity_headers" | "assertion" | "max_body",
                    _,
                ) => {
                    self.add(Operator::DropEffect, &at, format!("no `{key}`"), Edit::Remove);
                }
                ("headers" | "query", Some(map)) => {
                    for (number, setting) in map.entries().enumerate() {
                        let at = At { path: child(&at.path, number), span: setting.key.span };
                        let change = format!("`{}` is not set", setting.key.text);
                        self.add(Operator::DropEffect, &at, change, Edit::Remove);
                    }
                }
                _ => {}
            }
        }
    }

    fn swap(&mut self, one: (&Node, usize), other: (&Node, usize), routes: &[usize]) {
        let require = |(node, number): (&'_ Node, usize)| -> Option<(At, Node)> {
            let (at, node) = entry(node.map()?, &child(routes, number), "require")?;
            Some((at, node.clone()))
        };
        let (Some((here, mine)), Some((there, yours))) = (require(one), require(other)) else { return };
        if mine.to_json() == yours.to_json() {
            return;
        }
        let change = format!("`{}` and `{}`", shown(&mine), shown(&yours));
        let edits = vec![(here.path, Edit::Replace(yours.value)), (there.path, Edit::Replace(mine.value))];
        self.add_all(Operator::SwapRequirements, here.span, change, edits);
    }
}

/// The positions of the routes that have the path of this one.
fn alike(routes: &[Node], number: usize) -> Vec<usize> {
    let path = |route: &Node| route.map().and_then(|map| map.text("path")).map(str::to_owned);
    let own = routes.get(number).and_then(path);
    (0..routes.len()).filter(|other| *other == number || routes.get(*other).and_then(path) == own).collect()
}
