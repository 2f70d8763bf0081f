//! Random configurations, requests and senders. Everything is drawn from small pools, so that things meet.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::dice::Dice;
use super::paths::captures_of;
use super::reference::Reader;
use super::world::{Certificate, ISSUERS, LOUD_UUID, Person, Request, Sender, UUID, World};
use super::{Charset, EmptySegments, FormParameters, MethodOverride, Quirks, Reading};

const TEXTS: [&str; 7] = ["a", "A", "b", "1", "a,b", UUID, LOUD_UUID];
const PARAMETERS: [&str; 5] = ["q", "r", "org_uid", "$filter", "ids[]"];
const HEADERS: [&str; 2] = ["X-H", "X-Other"];
const HOSTS: [&[&str]; 9] = [
    &["api.example.com"],
    &["api.example.com"],
    &["{tenant}.example.com"],
    &["{tenant}.example.com", "{tenant}.example.org"],
    &["{tenant}.example.com", "api.example.com"],
    &["*.example.com"],
    &["*"],
    &["API.example.com", "localhost"],
    &["{t}.example.com"],
];
const BASES: [&str; 5] = ["/", "/crm", "/crm/", "/crm/v2", "/shop"];

/// A configuration that loads.
pub(crate) fn world(dice: &mut Dice) -> World {
    let shared = shared_quirks(dice);
    let upstreams = vec![("crm", quirks(dice, shared)), ("shop", quirks(dice, shared))];
    let count = dice.roll(3) + 1;
    let documents = (0..count).map(|number| document(dice, number)).collect();
    let mut world = World { documents, upstreams, max_bytes: dice.pick(&[4096, 4096, 4096, 4096, 40, 20]) };
    let conflicts = Reader::new(&world).conflicts();
    for document in &mut world.documents {
        let policy = document["policy"].as_str().unwrap().to_owned();
        let mut number = 0..;
        let mut sound = |_: &Value| !conflicts.contains(&(policy.clone(), number.next().unwrap()));
        document["routes"].as_array_mut().unwrap().retain(&mut sound);
    }
    world
}

/// What has to be the same for a table.
fn shared_quirks(dice: &mut Dice) -> Quirks {
    let always = dice.chance(35);
    let mut reading = || if always && dice.chance(25) { Reading::Always } else { Reading::Unknown };
    let mut quirks = Quirks {
        case: reading(),
        path_parameters: reading(),
        trailing_dot: reading(),
        trailing_slash: reading(),
        encoded_slash: reading(),
        double_decoding: reading(),
        ..Quirks::default()
    };
    quirks.empty_segments = dice.pick(&[
        EmptySegments::Merge,
        EmptySegments::Merge,
        EmptySegments::Merge,
        EmptySegments::Keep,
        EmptySegments::Refuse,
    ]);
    quirks.charset = if dice.chance(12) { Charset::Latin1 } else { Charset::Utf8 };
    quirks.method_override = dice.pick(&[
        MethodOverride::Unknown,
        MethodOverride::Unknown,
        MethodOverride::Unknown,
        MethodOverride::Ignore,
        MethodOverride::Honour,
    ]);
    quirks
}

fn quirks(dice: &mut Dice, shared: Quirks) -> Quirks {
    let mut quirks = shared;
    let fields = [
        &mut quirks.case,
        &mut quirks.path_parameters,
        &mut quirks.trailing_dot,
        &mut quirks.trailing_slash,
        &mut quirks.encoded_slash,
        &mut quirks.double_decoding,
    ];
    for field in fields {
        if *field == Reading::Unknown && dice.chance(30) {
            *field = Reading::Never;
        }
    }
    quirks.form_parameters = dice.pick(&[FormParameters::Mixed, FormParameters::Separate]);
    quirks
}

/// What conditions of a route, or of a whole document, may name.
#[derive(Clone)]
struct Names {
    captures: Vec<String>,
    /// Conditions about the token are allowed.
    token: bool,
}

impl Names {
    fn value(&self, dice: &mut Dice) -> String {
        let mut all: Vec<String> = PARAMETERS.iter().map(|name| format!("query.{name}")).collect();
        all.extend(HEADERS.iter().map(|name| format!("header.{name}")));
        // A capture is what conditions mostly are about.
        if self.captures.is_empty() || dice.chance(35) { dice.pick(&all) } else { dice.pick(&self.captures) }
    }

    fn template(&self, dice: &mut Dice) -> Value {
        Value::String(format!("{{{}}}", self.value(dice)))
    }
}

fn document(dice: &mut Dice, number: usize) -> Value {
    let hosts = dice.pick(&HOSTS);
    let captured = hosts.iter().all(|host| host.starts_with('{'));
    let host = if captured { captures_of(hosts[0]) } else { Vec::new() };
    let base = dice.pick(&BASES);
    let issuers = issuers(dice);
    let mut document = Map::new();
    document.insert("version".into(), json!(1));
    document.insert("policy".into(), json!(format!("p{number}")));
    document.insert("hosts".into(), json!(hosts));
    if base != "/" || dice.chance(50) {
        document.insert("base_path".into(), json!(base));
    }
    document.insert("upstream".into(), json!(dice.pick(&["crm", "crm", "shop"])));
    document.insert("issuers".into(), json!(issuers));
    if dice.chance(20) {
        document.insert("mode".into(), json!(dice.pick(&["observe", "observe", "enforce"])));
    }
    if dice.chance(30) {
        let names = Names { captures: host.clone(), token: true };
        document.insert("require".into(), condition(dice, &names, 1));
    }
    if dice.chance(30) {
        document.insert("client_credentials".into(), mode(dice));
    }
    if dice.chance(30) {
        let names = Names { captures: host.clone(), token: true };
        document.insert("forward".into(), forward(dice, &names, base));
    }
    let count = dice.roll(5) + 1;
    let bypasses = document.get("client_credentials").is_some_and(|mode| mode == "bypass" || mode.is_object());
    let mut routes: Vec<_> = (0..count).map(|at| route(dice, (number, at), &host, (base, bypasses))).collect();
    if document.contains_key("forward") {
        // What the document sets of the token has no value here, which is said where the route sets something, too.
        let public = |route: &&mut Value| route["require"] == "public" || route["require"].get("token").is_some();
        for route in routes.iter_mut().filter(public) {
            route.as_object_mut().unwrap().remove("forward");
        }
    }
    document.insert("routes".into(), Value::Array(routes));
    // A bypass needs issuers that tell client credentials from users.
    let mut document = Value::Object(document);
    if document.to_string().contains("bypass") {
        document["issuers"] = json!(dice.pick(&[vec!["shoen"], vec!["shoen", "partner"]]));
    }
    document
}

fn issuers(dice: &mut Dice) -> Vec<&'static str> {
    dice.some(&ISSUERS.map(|issuer| issuer.name))
}

/// `client_credentials`.
fn mode(dice: &mut Dice) -> Value {
    let clients = dice.some(&TEXTS[..4]);
    match dice.roll(6) {
        0 => json!("enforce"),
        1 => json!("deny"),
        2 | 3 => json!("bypass"),
        4 => json!({"bypass": clients}),
        _ => json!({"bypass": clients, "lift": dice.some(&["subject", "claim", "permission", "organization"])}),
    }
}

fn segment(dice: &mut Dice, name: &str) -> String {
    let literals =
        ["a", "a", "A", "b", "ab", "report", "a;x", "b.", "a%2Fb", "%2561", "\u{e4}", "%3B", "a%20", "Customers"];
    match dice.roll(10) {
        0..=3 => format!("{{{name}}}"),
        4 => format!("{}{{{name}}}", dice.pick(&literals[..6])),
        5 => format!("{{{name}}}{}", dice.pick(&[":c", ".pdf", "b"])),
        6 => format!("{}('{{{name}}}')", dice.pick(&["Customers", "a"])),
        7 => dice.pick(&literals).to_owned(),
        _ => dice.pick(&literals[..6]).to_owned(),
    }
}

fn path(dice: &mut Dice) -> String {
    let names = ["x", "y", "client"];
    let count = dice.pick(&[0, 0, 1, 1, 2]);
    let mut path: String = names[..=count.min(2)].iter().map(|name| format!("/{}", segment(dice, name))).collect();
    if dice.chance(6) {
        path = String::new();
    }
    match dice.roll(6) {
        0 => path + "/",
        1 => path + "/{*rest}",
        _ if path.is_empty() => "/".to_owned(),
        _ => path,
    }
}

fn route(
    dice: &mut Dice,
    (document, number): (usize, usize),
    host: &[String],
    (base, bypasses): (&str, bool),
) -> Value {
    let path = path(dice);
    let mut captures = captures_of(&path);
    captures.extend(host.iter().cloned());
    let token = !dice.chance(12);
    let names = Names { captures, token };
    let mut route = Map::new();
    if dice.chance(80) {
        route.insert("name".into(), json!(format!("r{document}{number}")));
    } else if dice.chance(20) {
        route.insert("name".into(), json!(format!("Route {document},{number} \u{e4}")));
    }
    route.insert("path".into(), json!(path));
    let methods =
        dice.pick(&[vec!["GET"], vec!["GET"], vec!["GET", "POST"], vec!["POST"], vec!["DELETE", "PURGE"], vec!["*"]]);
    route.insert("methods".into(), if methods == ["*"] { json!("*") } else { json!(methods) });
    if dice.chance(40) {
        route.insert("params".into(), params(dice, &names));
    }
    if token {
        let require = if dice.chance(10) { json!("authenticated") } else { condition(dice, &names, 2) };
        route.insert("require".into(), require);
        if dice.chance(25) {
            route.insert("client_credentials".into(), mode(dice));
        }
        if dice.chance(20) {
            narrow(dice, &mut route);
        }
        if dice.chance(10) && !bypasses && route.get("client_credentials").is_none_or(Value::is_null) {
            route.insert("issuers".into(), json!(issuers(dice)));
        }
    } else if dice.chance(50) {
        route.insert("require".into(), json!("public"));
    } else {
        let mut require = condition(dice, &names, 1);
        require["token"] = json!("none");
        route.insert("require".into(), require);
    }
    if dice.chance(8) {
        route.insert("mode".into(), json!(dice.pick(&["observe", "enforce"])));
    }
    if dice.chance(35) {
        route.insert("forward".into(), forward(dice, &names, base));
    }
    Value::Object(route)
}

/// Keeps a parameter, unless it has a type, which not every style goes with.
fn narrow(dice: &mut Dice, route: &mut Map<String, Value>) {
    let name = dice.pick(&["query.org_uid", "query.ids[]", "query.r"]);
    if route.get("params").is_none_or(|params| params.get(name).is_none()) {
        let to = dice.pick(&["organizations", "organizations", "subject", "client", "permissions"]);
        let style = dice.pick(&["repeat", "comma", "json"]);
        let value = if dice.chance(40) { json!(to) } else { json!({"to": to, "style": style}) };
        route.insert("narrow".into(), json!({name: value}));
    }
}

fn params(dice: &mut Dice, names: &Names) -> Value {
    let count = dice.roll(2) + 1;
    let named: Vec<String> = (0..count).map(|_| names.value(dice)).collect();
    Value::Object(named.into_iter().map(|name| (name, kind(dice))).collect())
}

fn kind(dice: &mut Dice) -> Value {
    let plain = [
        json!("uuid"),
        json!("int"),
        json!("alnum"),
        json!("slug"),
        json!({"regex": "[ab]+"}),
        json!({"regex": "a|b"}),
    ];
    // Both expressions are the one that the reference knows when the text is a single letter.
    match dice.roll(8) {
        0 => json!({"list": ",", "of": dice.pick(&plain[..5])}),
        1 => plain[0].clone(),
        _ => dice.pick(&plain[..5]),
    }
}

fn forward(dice: &mut Dice, names: &Names, base: &str) -> Value {
    let mut forward = Map::new();
    let base = base.trim_end_matches('/');
    if !base.is_empty() && dice.chance(30) {
        forward.insert("strip_prefix".into(), json!(if dice.chance(90) { base } else { "/crm/a" }));
    }
    if dice.chance(20) {
        forward.insert("add_prefix".into(), json!(dice.pick(&["/v2", "/internal/a"])));
    }
    if dice.chance(15) {
        forward.insert("authorization".into(), json!(dice.pick(&["keep", "strip"])));
    }
    if dice.chance(50) {
        let count = dice.roll(3) + 1;
        let headers = ["X-Tenant", "X-Who", "X_Org"].into_iter().take(count);
        let headers: Map<String, Value> = headers.map(|name| (name.to_owned(), setting(dice, names))).collect();
        forward.insert("headers".into(), Value::Object(headers));
    }
    if dice.chance(25) {
        let name = dice.pick(&["q", "extra", "$filter"]);
        forward.insert("query".into(), json!({name: text_with_templates(dice, names)}));
    }
    if dice.chance(25) {
        let words = [
            "subject",
            "client",
            "issuer",
            "flow",
            "scopes",
            "permissions",
            "global",
            "organizations",
            "policy",
            "route",
        ];
        let value = if dice.chance(30) { json!("none") } else { json!(dice.some(&words)) };
        forward.insert("identity_headers".into(), value);
    }
    Value::Object(forward)
}

fn setting(dice: &mut Dice, names: &Names) -> Value {
    match dice.roll(8) {
        0 => json!({"file": "secret.txt"}),
        1 => json!("constant text"),
        _ => text_with_templates(dice, names),
    }
}

fn text_with_templates(dice: &mut Dice, names: &Names) -> Value {
    let principal = [
        "subject",
        "client",
        "scopes",
        "organizations",
        "permissions",
        "issuer",
        "flow",
        "global",
        "claim.c",
        "claim.d",
        "claim./broker/id",
    ];
    let count = dice.roll(2) + 1;
    let mut text = String::new();
    for _ in 0..count {
        let name = if names.token && dice.chance(70) { dice.pick(&principal).to_owned() } else { names.value(dice) };
        text += &format!("{}{{{name}}}", dice.pick(&["", "", "id=", "a b:"]));
    }
    // Without a token a capture of this name would be taken for the principal's.
    Value::String(if names.token { text } else { text.replace("{client}", "{query.q}") })
}

/// A map of conditions.
fn condition(dice: &mut Dice, names: &Names, depth: usize) -> Value {
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

/// A request and who sends it.
pub(crate) fn question(dice: &mut Dice, world: &World) -> (Request, Sender) {
    // Where request and token draw from few texts, they agree often enough.
    let texts = if dice.chance(60) { vec![dice.pick(&TEXTS)] } else { dice.some(&TEXTS) };
    (request(dice, world, &texts), sender(dice, world, &texts))
}

/// A request that mostly is for one of the configuration's routes.
fn request(dice: &mut Dice, world: &World, texts: &[&str]) -> Request {
    let document = dice.pick(&world.documents);
    let routes = document["routes"].as_array().unwrap();
    let host = host(dice, &document, texts);
    let base = document["base_path"].as_str().unwrap_or_default().trim_end_matches('/').to_owned();
    let (method, path) = if routes.is_empty() || dice.chance(4) {
        (
            "GET".to_owned(),
            dice.pick(&["/", "/crm", "/crm/none/of/these", "/../a", "/a/%2e", "/a\\b", "/%zz", "/%u0041", "x"])
                .to_owned(),
        )
    } else {
        let route = dice.pick(routes);
        let method = if dice.chance(85) { named_method(dice, &route["methods"]) } else { any_method(dice) };
        (method, filled(dice, &format!("{base}/{}", route["path"].as_str().unwrap().trim_start_matches('/')), texts))
    };
    let path = if dice.chance(18) { oddly(dice, &path) } else { path };
    let mut headers = headers(dice, texts);
    let mut target = path;
    if let Some(query) = query(dice, texts) {
        target = format!("{target}?{query}");
    }
    if dice.chance(3) {
        let name = dice.pick(&["X-HTTP-Method-Override", "x_http_method", "X-Method-Override"]);
        headers.push((name.to_owned(), any_method(dice).into_bytes()));
    }
    Request { method, host, target, headers }
}

fn host(dice: &mut Dice, document: &Value, texts: &[&str]) -> String {
    if dice.chance(4) {
        return dice
            .pick(&["api.example.com", "unknown.test", "a.b.example.com", "LOCALHOST", "example.com"])
            .to_owned();
    }
    let pattern = dice.pick(document["hosts"].as_array().unwrap());
    let pattern = pattern.as_str().unwrap();
    let label = dice.pick(texts).to_lowercase().replace(',', "-");
    let host = match pattern.split_once('.') {
        _ if pattern == "*" => "whatever.test".to_owned(),
        Some((first, rest)) if first == "*" || first.starts_with('{') => format!("{label}.{rest}"),
        _ => pattern.to_owned(),
    };
    match dice.roll(12) {
        0 => host.to_uppercase(),
        1 => format!("{host}:443"),
        2 => format!("{host}."),
        _ => host,
    }
}

fn named_method(dice: &mut Dice, methods: &Value) -> String {
    let listed: Vec<_> =
        methods.as_array().into_iter().flatten().map(|method| method.as_str().unwrap().to_owned()).collect();
    if listed.is_empty() { dice.pick(&["GET", "PATCH"]).to_owned() } else { dice.pick(&listed) }
}

fn any_method(dice: &mut Dice) -> String {
    dice.pick(&["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE", "PURGE", "get", "TRACE"])
        .to_owned()
}

/// A pattern with values in it.
fn filled(dice: &mut Dice, pattern: &str, texts: &[&str]) -> String {
    let mut path = String::new();
    let mut rest = pattern;
    while let Some((literal, behind)) = rest.split_once('{') {
        let (name, after) = behind.split_once('}').unwrap();
        path += literal;
        if name.starts_with('*') {
            let count = dice.roll(3);
            let segments: Vec<_> = (0..count).map(|_| value(dice, texts)).collect();
            path += &segments.join("/");
            if count == 0 && dice.chance(50) {
                path.truncate(path.trim_end_matches('/').len());
            }
        } else {
            path += &value(dice, texts);
        }
        rest = after;
    }
    path += rest;
    // What patterns may hold as it is, requests encode.
    path.replace('\u{e4}', "%C3%A4").replace('\'', if dice.chance(50) { "'" } else { "%27" })
}

fn value(dice: &mut Dice, texts: &[&str]) -> String {
    let odd = ["a%20b", "a;x", "%C3%A4", "a%2Fb", "b.", "%2561", "a%3Bb", "A.B", "a+b", "%e4"];
    let all = if dice.chance(92) { texts } else { &odd };
    dice.pick(all).to_owned()
}

/// A path as some servers would read it.
fn oddly(dice: &mut Dice, path: &str) -> String {
    let at = dice.roll(path.len() + 1);
    let at = (0..=at).rev().find(|at| path.is_char_boundary(*at)).unwrap();
    let (before, after) = path.split_at(at);
    let inserted = dice.pick(&[
        "/", "//", ";", ";x=1", "%3B", "%2F", "%5C", ".", "..", "/.", "/%2e%2e/", "%20", "%252F", "%2561", "%25", " ",
        "\"", "{", "%00", "#", "%C2%85", "\u{e4}",
    ]);
    match dice.roll(6) {
        0 => path.to_uppercase(),
        1 => path.to_lowercase(),
        2 => format!("{path}/"),
        3 => path.replacen('a', dice.pick(&["%61", "%2561", "A"]), 1),
        4 => path.trim_end_matches('/').to_owned(),
        _ => format!("{before}{inserted}{after}"),
    }
}

fn query(dice: &mut Dice, texts: &[&str]) -> Option<String> {
    if dice.chance(25) {
        return None;
    }
    let count = dice.roll(4);
    let mut query = String::new();
    for number in 0..count {
        if number > 0 {
            query += if dice.chance(4) { dice.pick(&[";", "&&"]) } else { "&" };
        }
        let name = dice.pick(&PARAMETERS);
        let odd = [
            "Q",
            "q[]",
            "org.uid",
            "org%5Fuid",
            "org_uid[0]",
            "+org_uid",
            "%24filter",
            "$Filter",
            "ids",
            "ids%5B%5D",
            "q;x",
            "_method",
            "other",
            "other",
            "extra",
            "",
        ];
        let name = if dice.chance(8) { dice.pick(&odd) } else { name };
        let own = dice.pick(texts);
        let json = [format!("[%22{own}%22]"), format!("%5b%22{own}%22,%22a%22]"), "[]".to_owned(), "{".to_owned()];
        let value = match dice.roll(25) {
            1..=3 => &dice.pick(&json),
            0 => dice.pick(&["a%20b", "a+b", "%C3%A4", "%ff", "%", "%u0041", "%00", "1;r=2", "x=y", "GET", "POST"]),
            _ => dice.pick(texts),
        };
        query += name;
        if !dice.chance(3) {
            query += &format!("={value}");
        }
    }
    Some(query)
}

fn headers(dice: &mut Dice, texts: &[&str]) -> Vec<(String, Vec<u8>)> {
    let mut headers = Vec::new();
    for name in HEADERS {
        let count = dice.pick(&[0, 1, 1, 1, 2]);
        for _ in 0..count {
            let name = if dice.chance(2) { name.replace('-', "_") } else { name.to_owned() };
            headers.push((name, dice.pick(texts).as_bytes().to_vec()));
        }
    }
    match dice.roll(40) {
        0 => headers.push(("Connection".to_owned(), b"close, X-H".to_vec())),
        1 => headers.push(("X-H".to_owned(), b"\xff".to_vec())),
        2 => headers.push(("Connection".to_owned(), b"keep-alive".to_vec())),
        _ => {}
    }
    headers
}

/// Who asks: mostly somebody.
fn sender(dice: &mut Dice, world: &World, texts: &[&str]) -> Sender {
    let addresses: [IpAddr; 4] =
        ["10.1.2.3", "::ffff:10.1.2.3", "192.0.2.1", "2001:db8::1"].map(|address| address.parse().unwrap());
    Sender {
        person: (!dice.chance(6)).then(|| person(dice, world, texts)),
        address: (!dice.chance(20)).then(|| dice.pick(&addresses)),
        certificate: dice.chance(60).then(|| Certificate {
            dns: dice.any(&["d1".to_owned(), "d3".to_owned()]),
            uri: dice.any(&["u1".to_owned(), "u3".to_owned()]),
            email: dice.any(&["e1".to_owned(), "e3".to_owned()]),
            subject: dice.pick(&["CN=a", "CN=b"]).to_owned(),
        }),
    }
}

fn person(dice: &mut Dice, world: &World, texts: &[&str]) -> Person {
    let document = dice.pick(&world.documents);
    let accepted = dice.pick(document["issuers"].as_array().unwrap());
    let accepted = ISSUERS.iter().position(|issuer| accepted == issuer.name).unwrap();
    let issuer = if dice.chance(85) { accepted } else { dice.roll(ISSUERS.len()) };
    let mut text = |percent| dice.chance(percent).then(|| dice.pick(texts).to_owned());
    let (subject, client) = (text(88), text(88));
    let words = |dice: &mut Dice, all: [&str; 2]| dice.any(&all.map(str::to_owned));
    let organizations = dice.chance(80).then(|| if dice.chance(75) { texts.to_vec() } else { dice.any(&TEXTS) });
    Person {
        issuer,
        subject,
        client,
        scopes: if dice.chance(60) { vec!["s1".to_owned(), "s2".to_owned()] } else { words(dice, ["s1", "s2"]) },
        permissions: dice.chance(70).then(|| words(dice, ["p1", "p2"])),
        organizations: organizations.map(|all| all.into_iter().map(str::to_owned).collect()),
        global: dice.chance(60).then(|| dice.chance(35)),
        flow: if ISSUERS[issuer].tells {
            dice.pick(&["user", "user", "client_credentials", "unknown"])
        } else {
            "unknown"
        },
        claims: claims(dice, texts),
        acr: dice.chance(75).then(|| dice.pick(&["1", "1", "2", "3"]).to_owned()),
        authenticated: dice.chance(80).then(|| dice.pick(&[-31, -30, 0, 0, 10, 11, 61])),
    }
}

fn claims(dice: &mut Dice, texts: &[&str]) -> Map<String, Value> {
    let mut claims = Map::new();
    for name in ["c", "d"] {
        if dice.chance(75) {
            claims.insert(name.to_owned(), claim_value(dice, texts));
        }
    }
    if dice.chance(60) {
        claims.insert("broker".to_owned(), json!({"id": claim_value(dice, texts)}));
    }
    claims
}

fn claim_value(dice: &mut Dice, texts: &[&str]) -> Value {
    let scalar = |dice: &mut Dice| {
        let odd = [
            json!(1),
            json!(2),
            json!(-1),
            json!(1.5),
            json!(1.0),
            json!(true),
            json!(null),
            json!({}),
            json!("\u{e4} b%"),
        ];
        if dice.chance(70) { json!(dice.pick(texts)) } else { dice.pick(&odd) }
    };
    if dice.chance(35) { Value::Array((0..dice.roll(3)).map(|_| scalar(dice)).collect()) } else { scalar(dice) }
}
