//! Random policies.

use serde_json::{Map, Value, json};

use super::super::dice::Dice;
use super::super::paths::captures_of;
use super::super::world::ISSUERS;
use super::requirements::{Names, about_body, binding, condition};
use super::{BodyKind, TEXTS};

/// What a document is mostly about.
#[derive(Clone, Copy)]
struct Theme {
    /// Routes ask about bodies of this kind.
    body: Option<BodyKind>,
    /// Clients act for customers.
    clients: bool,
    /// Pages of other origins call.
    pages: bool,
    /// Requests are counted.
    counts: bool,
}

impl Theme {
    fn draw(dice: &mut Dice) -> Self {
        let kinds = [BodyKind::Json, BodyKind::Form, BodyKind::Soap];
        Self {
            body: dice.chance(50).then(|| dice.pick(&kinds)),
            clients: dice.chance(25),
            pages: dice.chance(20),
            counts: dice.chance(40),
        }
    }
}

/// Host patterns of a document.
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

/// A policy that loads, but for routes that cannot stand beside one another.
pub(crate) fn document(dice: &mut Dice, number: usize) -> Value {
    let hosts = dice.pick(&HOSTS);
    let captured = hosts.iter().all(|host| host.starts_with('{'));
    let host = if captured { captures_of(hosts[0]) } else { Vec::new() };
    let base = dice.pick(&BASES);
    let issuers = issuers(dice);
    let theme = Theme::draw(dice);
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
    if dice.chance(if theme.clients { 10 } else { 30 }) {
        let names = Names { captures: host.clone(), token: true, body: theme.body };
        document.insert("require".into(), condition(dice, &names, 1));
    }
    if theme.clients {
        document.insert("client_credentials".into(), bypass(dice));
    } else if dice.chance(20) {
        document.insert("client_credentials".into(), mode(dice));
    }
    if theme.pages && dice.chance(70) {
        document.insert("cors".into(), cors(dice));
    }
    if theme.counts && dice.chance(70) {
        document.insert("limit".into(), limit(dice, true));
    }
    if dice.chance(30) {
        let names = Names { captures: host.clone(), token: true, body: theme.body };
        document.insert("forward".into(), forward(dice, &names, base));
    }
    let count = dice.roll(5) + 1;
    let bypasses = document.get("client_credentials").is_some_and(|mode| mode == "bypass" || mode.is_object());
    let mut routes: Vec<_> = (0..count)
        .map(|at| {
            let limited = document.contains_key("limit");
            let surroundings = Surroundings { host: &host, base, bypasses, limited, theme };
            route(dice, (number, at), &surroundings)
        })
        .collect();
    if document.contains_key("forward") {
        // What the document sets of the token has no value here, which is said where the route sets something, too.
        let public = |route: &&mut Value| route["require"] == "public" || route["require"].get("token").is_some();
        for route in routes.iter_mut().filter(public) {
            route.as_object_mut().unwrap().remove("forward");
        }
    }
    // There is one `Authorization`.
    let credentials = |forward: &Value| forward.get("basic_auth").is_some() || forward.get("authorization").is_some();
    if document.get("forward").is_some_and(credentials) {
        for forward in routes.iter_mut().filter_map(|route| route.get_mut("forward")?.as_object_mut()) {
            forward.remove("basic_auth");
            forward.remove("authorization");
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
    match dice.roll(6) {
        0 => json!("enforce"),
        1 => json!("deny"),
        _ => bypass(dice),
    }
}

fn bypass(dice: &mut Dice) -> Value {
    let clients = dice.some(&TEXTS[..4]);
    match dice.roll(4) {
        0 | 1 => json!("bypass"),
        2 => json!({"bypass": clients}),
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

/// What routes of a document have in common.
struct Surroundings<'d> {
    host: &'d [String],
    base: &'d str,
    /// The document lifts conditions.
    bypasses: bool,
    /// The document has a limit.
    limited: bool,
    theme: Theme,
}

fn route(dice: &mut Dice, (document, number): (usize, usize), of: &Surroundings<'_>) -> Value {
    let theme = of.theme;
    let path = path(dice);
    let mut captures = captures_of(&path);
    captures.extend(of.host.iter().cloned());
    let token = !dice.chance(12);
    let names = Names { captures, token, body: theme.body };
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
    if dice.chance(if theme.body.is_some() { 60 } else { 40 }) {
        route.insert("params".into(), params(dice, &names));
    }
    if token {
        let require = match dice.roll(10) {
            0 => json!("authenticated"),
            1..=7 if theme.clients => binding(dice, &names),
            // What is allowed can be too much.
            1..=5 if theme.counts => json!({"scope": "s1"}),
            1..=5 if theme.body.is_some() => about_body(dice, &names),
            _ => condition(dice, &names, 2),
        };
        route.insert("require".into(), require);
        if dice.chance(25) {
            route.insert("client_credentials".into(), mode(dice));
        }
        if dice.chance(20) {
            narrow(dice, &mut route);
        }
        if dice.chance(10) && !of.bypasses && route.get("client_credentials").is_none_or(Value::is_null) {
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
        route.insert("forward".into(), forward(dice, &names, of.base));
    }
    if theme.pages && dice.chance(30) {
        route.insert("cors".into(), cors(dice));
    }
    if theme.counts && dice.chance(30) {
        route.insert("limit".into(), limit(dice, !of.limited));
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
    if dice.chance(8) && forward.get("authorization").is_none() {
        forward.insert("basic_auth".into(), json!({"username": dice.pick(&["u", "gate"]), "password_file": "p.txt"}));
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

/// `cors`.
fn cors(dice: &mut Dice) -> Value {
    if dice.chance(25) {
        return json!("upstream");
    }
    let mut cors = Map::new();
    let everybody = dice.chance(25);
    let origins = if everybody { vec!["*"] } else { dice.some(&["https://a.test", "https://b.test:8443"]) };
    cors.insert("origins".into(), json!(origins));
    if dice.chance(50) {
        cors.insert("methods".into(), json!(dice.some(&["GET", "POST", "PURGE", "OPTIONS"])));
    }
    if dice.chance(50) {
        cors.insert("headers".into(), json!(dice.some(&["Authorization", "x-h"])));
    }
    if !everybody && dice.chance(40) {
        cors.insert("credentials".into(), json!(dice.chance(70)));
    }
    if dice.chance(40) {
        cors.insert("max_age".into(), json!(dice.pick(&["60s", "600s"])));
    }
    Value::Object(cors)
}

/// `limit`, with what cannot be left out.
fn limit(dice: &mut Dice, whole: bool) -> Value {
    let mut limit = Map::new();
    if whole || dice.chance(40) {
        limit.insert("rate".into(), json!(dice.pick(&["1/s", "2/s", "1/m", "3/m", "2/h", "1000000/s"])));
    }
    if dice.chance(60) {
        limit.insert("burst".into(), json!(dice.roll(3) + 1));
    }
    if dice.chance(70) || limit.is_empty() {
        limit.insert("per".into(), json!(dice.pick(&["client", "subject", "issuer", "address"])));
    }
    Value::Object(limit)
}
