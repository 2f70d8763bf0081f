//! Random conditions.

use serde_json::{Map, Value, json};

use super::super::dice::Dice;
use super::super::world::ISSUERS;
use super::{BodyKind, HEADERS, PARAMETERS, TEXTS};

/// What conditions of a route, or of a whole document, may name.
#[derive(Clone)]
pub(crate) struct Names {
    pub(crate) captures: Vec<String>,
    /// Conditions about the token are allowed.
    pub(crate) token: bool,
    /// Bodies that may be asked about.
    pub(crate) body: Option<BodyKind>,
}

impl Names {
    pub(crate) fn value(&self, dice: &mut Dice) -> String {
        if let Some(body) = self.body.filter(|_| dice.chance(50)) {
            return dice.pick(body.names()).to_owned();
        }
        if dice.chance(6) {
            return dice.pick(&["query.j#/org", "query.j#/ids/*", "query.r#/0"]).to_owned();
        }
        let mut all: Vec<String> = PARAMETERS.iter().map(|name| format!("query.{name}")).collect();
        all.extend(HEADERS.iter().map(|name| format!("header.{name}")));
        // A capture is what conditions mostly are about.
        if self.captures.is_empty() || dice.chance(35) { dice.pick(&all) } else { dice.pick(&self.captures) }
    }

    fn template(&self, dice: &mut Dice) -> Value {
        Value::String(format!("{{{}}}", self.value(dice)))
    }
}

/// A map of conditions.
pub(crate) fn condition(dice: &mut Dice, names: &Names, depth: usize) -> Value {
    let count = if dice.chance(70) { 1 } else { 2 };
    let mut map = Map::new();
    for _ in 0..count {
        let (key, value) = entry(dice, names, depth);
        map.insert(key.to_owned(), value);
    }
    Value::Object(map)
}

fn entry(dice: &mut Dice, names: &Names, depth: usize) -> (&'static str, Value) {
    let several = |dice: &mut Dice| {
        let count = dice.roll(2) + 1;
        Value::Array((0..count).map(|_| condition(dice, names, depth - 1)).collect())
    };
    match dice.roll(12) {
        0 | 1 => {
            let (key, value) = leaf(dice, names);
            ("not", json!({key: value}))
        }
        2 | 3 if depth > 0 => ("any_of", several(dice)),
        4 if depth > 0 => ("all_of", several(dice)),
        _ => leaf(dice, names),
    }
}

fn leaf(dice: &mut Dice, names: &Names) -> (&'static str, Value) {
    match if names.token { dice.roll(16) } else { 13 + dice.roll(3) } {
        0 | 1 => ("scope", set_of(dice, &[json!("s1"), json!("s2")])),
        2 => ("permission", set_of(dice, &[json!("p1"), json!("P2")])),
        3 | 4 => ("organization", organization(dice, names)),
        5 | 6 => ("subject", one_or_some(dice, &|dice| comparand(dice, names))),
        7 => ("client", one_or_some(dice, &|dice| comparand(dice, names))),
        8 => ("flow", json!(dice.pick(&["user", "client_credentials"]))),
        9 => ("global", json!(dice.chance(50))),
        10 => ("issuer", one_or_some(dice, &|dice| json!(dice.pick(&ISSUERS).name))),
        11 => ("claim", claim(dice, names)),
        12 => ("authentication", authentication(dice)),
        13 => ("network", json!(dice.some(&["10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"]))),
        14 => ("certificate", certificate(dice)),
        _ => {
            let count = dice.roll(2) + 1;
            let tests: Map<String, Value> = (0..count).map(|_| (names.value(dice), request_test(dice))).collect();
            ("request", Value::Object(tests))
        }
    }
}

fn organization(dice: &mut Dice, names: &Names) -> Value {
    let count = dice.roll(2) + 1;
    let several: Vec<_> = (0..count).map(|_| names.template(dice)).collect();
    if count == 1 { several[0].clone() } else { json!({"all_of": several}) }
}

fn request_test(dice: &mut Dice) -> Value {
    match dice.roll(4) {
        0 => json!("present"),
        1 => json!("absent"),
        _ => one_or_some(dice, &|dice| json!(dice.pick(&TEXTS))),
    }
}

fn comparand(dice: &mut Dice, names: &Names) -> Value {
    if dice.chance(60) { names.template(dice) } else { json!(dice.pick(&TEXTS)) }
}

fn operand(dice: &mut Dice, names: &Names) -> Value {
    if dice.chance(70) {
        comparand(dice, names)
    } else {
        dice.pick(&[json!(1), json!(2), json!(1.5), json!(true), json!(false)])
    }
}

fn one_or_some(dice: &mut Dice, one: &dyn Fn(&mut Dice) -> Value) -> Value {
    let count = dice.roll(3);
    if count == 0 { one(dice) } else { Value::Array((0..count).map(|_| one(dice)).collect()) }
}

fn set_of(dice: &mut Dice, all: &[Value]) -> Value {
    match dice.roll(4) {
        0 => json!({"all_of": dice.some(all)}),
        1 => json!({"any_of": dice.some(all)}),
        _ => dice.pick(all),
    }
}

fn claim(dice: &mut Dice, names: &Names) -> Value {
    if dice.chance(25) {
        let mut test = claim_test(dice, names);
        test["name"] = dice.pick(&[json!(["broker", "id"]), json!("c")]);
        return json!([test]);
    }
    let tested = dice.some(&["c", "d"]);
    Value::Object(tested.into_iter().map(|name| (name.to_owned(), claim_test(dice, names))).collect())
}

fn claim_test(dice: &mut Dice, names: &Names) -> Value {
    let several = |dice: &mut Dice| -> Vec<Value> { (0..=dice.roll(2)).map(|_| operand(dice, names)).collect() };
    match dice.roll(6) {
        0 | 1 => json!({"equals": operand(dice, names)}),
        2 => json!({"one_of": several(dice)}),
        3 => json!({"contains": operand(dice, names)}),
        4 => {
            let key = dice.pick(&["all_of", "any_of"]);
            json!({"contains": {key: several(dice)}})
        }
        _ => json!({"exists": dice.chance(50)}),
    }
}

fn authentication(dice: &mut Dice) -> Value {
    match dice.roll(3) {
        0 => json!({"acr": ["1", "2"]}),
        1 => json!({"max_age": dice.pick(&["10s", "60s"])}),
        _ => json!({"acr": ["1"], "max_age": "60s"}),
    }
}

fn certificate(dice: &mut Dice) -> Value {
    let mut map = Map::new();
    for (kind, names) in [("dns", ["d1", "d2"]), ("uri", ["u1", "u2"]), ("email", ["e1", "e2"])] {
        if dice.chance(30) {
            map.insert(kind.to_owned(), json!(dice.some(&names)));
        }
    }
    if map.is_empty() || dice.chance(15) {
        map.insert("subject".to_owned(), json!("CN=a"));
    }
    Value::Object(map)
}

/// What binds a request to somebody, and what else trusted clients need.
pub(crate) fn binding(dice: &mut Dice, names: &Names) -> Value {
    let template = names.template(dice);
    let mut map = Map::new();
    match dice.roll(4) {
        0 => map.insert("claim".to_owned(), json!({"c": {"equals": template}})),
        1 => map.insert("any_of".to_owned(), json!([{"subject": template}, condition(dice, names, 0)])),
        _ => map.insert("subject".to_owned(), template),
    };
    if dice.chance(30) {
        map.insert("scope".to_owned(), json!("s1"));
    }
    Value::Object(map)
}

/// A condition about the body, and hardly more.
pub(crate) fn about_body(dice: &mut Dice, names: &Names) -> Value {
    let Some(name) = names.body.map(|body| dice.pick(body.names()).to_owned()) else { return json!({}) };
    let template = json!(format!("{{{name}}}"));
    let test = match dice.roll(5) {
        0 => json!({"organization": template}),
        1 => json!({"subject": [template, "a"]}),
        2 => json!({"not": {"request": {name: request_test(dice)}}}),
        _ => json!({"request": {name: request_test(dice)}}),
    };
    match dice.roll(4) {
        0 => json!({"any_of": [test, leaf_map(dice, names)]}),
        1 => json!({"all_of": [test, leaf_map(dice, names)]}),
        _ => test,
    }
}

fn leaf_map(dice: &mut Dice, names: &Names) -> Value {
    let (key, value) = leaf(dice, names);
    json!({key: value})
}
