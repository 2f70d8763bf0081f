//! Random requests.

use serde_json::Value;

use super::super::dice::Dice;
use super::super::world::Request;
use super::{BodyKind, HEADERS, PARAMETERS, bodies};

/// A request that mostly is for one of the configuration's routes.
pub(crate) fn request(dice: &mut Dice, of: (&Value, &Value), texts: &[&str], at: u64) -> Request {
    let (document, route) = of;
    let host = host(dice, document, texts);
    let base = document["base_path"].as_str().unwrap_or_default().trim_end_matches('/').to_owned();
    let (method, path) = if route.is_null() || dice.chance(4) {
        (
            "GET".to_owned(),
            dice.pick(&["/", "/crm", "/crm/none/of/these", "/../a", "/a/%2e", "/a\\b", "/%zz", "/%u0041", "x"])
                .to_owned(),
        )
    } else {
        let method = if dice.chance(90) { named_method(dice, &route["methods"]) } else { any_method(dice) };
        (method, filled(dice, &format!("{base}/{}", route["path"].as_str().unwrap().trim_start_matches('/')), texts))
    };
    let path = if dice.chance(15) { oddly(dice, &path) } else { path };
    let mut headers = headers(dice, texts);
    let mut target = path;
    if let Some(query) = query(dice, &PARAMETERS, texts) {
        target = format!("{target}?{query}");
    }
    if dice.chance(3) {
        let name = dice.pick(&["X-HTTP-Method-Override", "x_http_method", "X-Method-Override"]);
        headers.push((name.to_owned(), any_method(dice).into_bytes()));
    }
    let text = format!("{document}{route}");
    let body = bodies::body(dice, BodyKind::of(&text), texts, &mut headers);
    let mut request = Request { method, host, target, headers, body, crowded: dice.chance(3), at };
    if text.contains("\"cors\"") {
        cross(dice, &mut request, route);
    }
    request
}

/// Makes the request one of a page, half of them preflights.
fn cross(dice: &mut Dice, request: &mut Request, route: &Value) {
    let count = dice.pick(&[0, 1, 1, 1, 1, 1, 1, 2]);
    for _ in 0..count {
        let origin = dice.pick(&["https://a.test", "https://a.test", "https://b.test:8443", "https://A.test", "null"]);
        request.headers.push(("Origin".to_owned(), origin.into()));
    }
    if dice.chance(50) {
        let asked = if dice.chance(85) { named_method(dice, &route["methods"]) } else { any_method(dice) };
        let asked = if dice.chance(4) { String::new() } else { asked };
        request.headers.push(("Access-Control-Request-Method".to_owned(), asked.into_bytes()));
        if dice.chance(95) {
            request.method = String::from("OPTIONS");
        }
        if dice.chance(70) {
            request.body = None;
        }
    }
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

/// What may stand in a query, or in a form.
pub(crate) fn query(dice: &mut Dice, names: &[&'static str], texts: &[&str]) -> Option<String> {
    if dice.chance(25) {
        return None;
    }
    let count = dice.roll(4);
    let mut query = String::new();
    for number in 0..count {
        if number > 0 {
            query += if dice.chance(4) { dice.pick(&[";", "&&"]) } else { "&" };
        }
        let name = dice.pick(names);
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
            "f",
            "F",
            "",
        ];
        let name = if dice.chance(8) { dice.pick(&odd) } else { name };
        let own = dice.pick(texts);
        let json = [format!("[%22{own}%22]"), format!("%5b%22{own}%22,%22a%22]"), "[]".to_owned(), "{".to_owned()];
        let value = if name == "j" {
            &bodies::inside(dice, texts)
        } else {
            match dice.roll(25) {
                1..=3 => &dice.pick(&json),
                0 => dice.pick(&["a%20b", "a+b", "%C3%A4", "%ff", "%", "%u0041", "%00", "1;r=2", "x=y", "GET", "POST"]),
                _ => dice.pick(texts),
            }
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
