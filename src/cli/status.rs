//! `torwart status`: the state of the running gateway.

use http::{Method, StatusCode};
use serde_json::Value;

use super::{Common, Exit, Format};
use crate::admin;

/// Arguments of `torwart status`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args, common: &Common) -> Exit {
    let Some(config) = common.load_config() else { return Exit::NoAnswer };
    let (status, body) = match admin::ask(&config.admin, &Method::GET, "/api/v1/status", None) {
        Ok(answer) => answer,
        Err(error) => {
            common.note(&error.to_string());
            return Exit::NoAnswer;
        }
    };
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    if status != StatusCode::OK {
        common.note(answer.get("detail").and_then(Value::as_str).unwrap_or("the admin listener refused to answer"));
        return Exit::NoAnswer;
    }
    match args.format {
        Format::Json => common.print_json(&answer),
        Format::Text => common.print(&text(&answer)),
    }
    Exit::Yes
}

fn text(status: &Value) -> String {
    let word = |key: &str| status.get(key).and_then(Value::as_str).unwrap_or("unknown");
    let list = |key: &str| status.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut lines = vec![
        format!("version     {}", word("version")),
        format!("ready       {}", if status.get("ready") == Some(&Value::Bool(true)) { "yes" } else { "no" }),
        format!("revision    {}", word("revision")),
        format!("generation  {}", status.get("generation").and_then(Value::as_u64).unwrap_or_default()),
        format!("loaded      {}", word("loaded")),
    ];
    let reasons = list("reasons");
    lines.extend(reasons.iter().filter_map(Value::as_str).map(|reason| format!("reason      {reason}")));
    lines.extend(list("listeners").iter().filter_map(Value::as_str).map(|address| format!("listener    {address}")));
    lines.extend(list("issuers").iter().map(issuer));
    lines.extend(list("upstreams").iter().flat_map(upstream));
    lines.extend(status.get("assertion").into_iter().flat_map(assertion));
    lines.extend(list("observing").iter().filter_map(Value::as_str).map(|policy| format!("observing   {policy}")));
    lines.join("\n") + "\n"
}

/// One line for each address.
fn upstream(upstream: &Value) -> Vec<String> {
    let name = upstream.get("name").and_then(Value::as_str).unwrap_or_default();
    let endpoints = upstream.get("endpoints").and_then(Value::as_array).into_iter().flatten();
    let lines = endpoints.map(|endpoint| {
        let text = |key: &str| endpoint.get(key).and_then(Value::as_str);
        let number = |key: &str| endpoint.get(key).and_then(Value::as_u64);
        let at = text("address").map(|address| format!(" at {address}")).unwrap_or_default();
        let state = match number("ejected_for") {
            Some(seconds) => format!("ejected for {seconds} s"),
            None => text("state").unwrap_or("unknown").to_owned(),
        };
        let (requests, connections) =
            (number("requests").unwrap_or_default(), number("connections").unwrap_or_default());
        let error = text("error").map(|error| format!(", {error}")).unwrap_or_default();
        let endpoint = text("endpoint").unwrap_or_default();
        format!("upstream    {name}: {endpoint}{at} {state}, {requests} requests, {connections} connections{error}")
    });
    let waiting = upstream.get("waiting").and_then(Value::as_u64).filter(|waiting| *waiting > 0);
    let waiting = waiting.map(|count| format!("upstream    {name}: {count} requests wait for a connection"));
    lines.chain(waiting).collect()
}

fn assertion(assertion: &Value) -> Vec<String> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let error = assertion.get("error").and_then(Value::as_str).map(|error| format!(", {error}")).unwrap_or_default();
    let mut lines = vec![format!("assertion   {}{error}", text(assertion, "issuer"))];
    let keys = assertion.get("keys").and_then(Value::as_array).into_iter().flatten();
    lines.extend(keys.map(|key| {
        let since = match key.get("age").and_then(Value::as_i64).unwrap_or_default() {
            age if age < 0 => format!("in {} s", age.unsigned_abs()),
            age => format!("since {age} s"),
        };
        format!("            {} {} {since}", text(key, "id"), text(key, "role"))
    }));
    lines
}

fn issuer(issuer: &Value) -> String {
    let name = issuer.get("name").and_then(Value::as_str).unwrap_or_default();
    let keys = issuer.get("keys").and_then(Value::as_u64).unwrap_or_default();
    let age =
        issuer.get("age").and_then(Value::as_u64).map(|age| format!(", confirmed {age} s ago")).unwrap_or_default();
    let error = issuer.get("error").and_then(Value::as_str).map(|error| format!(", {error}")).unwrap_or_default();
    let asked = issuer.get("introspection").filter(|asked| !asked.is_null()).map(introspection).unwrap_or_default();
    format!("issuer      {name}: {keys} keys{age}{error}{asked}")
}

fn introspection(asked: &Value) -> String {
    let count = |key: &str| asked.get(key).and_then(Value::as_u64).unwrap_or_default();
    let error = asked.get("error").and_then(Value::as_str).map(|error| format!(", {error}")).unwrap_or_default();
    format!("; introspection: {} answers, {} failures{error}", count("answers"), count("failures"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_matters_is_a_line() {
        let status = serde_json::json!({
            "version": "0.1.0", "ready": true, "reasons": [], "revision": "ab", "generation": 3, "loaded": "2026-11-21T22:00:00.000Z",
            "listeners": ["[::]:8443"], "observing": ["crm"],
            "upstreams": [{"name": "crm", "connections": 3, "waiting": 4, "endpoints": [
                {"endpoint": "http://crm:80", "address": "10.0.0.1:80", "state": "healthy", "requests": 2, "connections": 3},
                {"endpoint": "http://crm:80", "address": "10.0.0.2:80", "state": "ejected", "ejected_for": 9},
                {"endpoint": "http://old:80", "address": null, "state": "unresolved", "error": "no such name"},
            ]}],
            "assertion": {"issuer": "https://gw", "error": "no disk", "keys": [
                {"id": "k1", "role": "signing", "from": "2026-11-21T22:00:00Z", "age": 5},
                {"id": "k2", "role": "next", "from": "2026-11-22T22:00:00Z", "age": -9},
            ]},
            "issuers": [
                {"name": "shoen", "keys": 2, "age": 7, "error": null, "introspection": null},
                {"name": "x", "keys": 0, "introspection": {"answers": 5, "failures": 1, "error": "down"}},
            ],
        });
        let wanted = "version     0.1.0\nready       yes\nrevision    ab\ngeneration  3\nloaded      2026-11-21T22:00:00.000Z\n\
                      listener    [::]:8443\nissuer      shoen: 2 keys, confirmed 7 s ago\n\
                      issuer      x: 0 keys; introspection: 5 answers, 1 failures, down\n\
                      upstream    crm: http://crm:80 at 10.0.0.1:80 healthy, 2 requests, 3 connections\n\
                      upstream    crm: http://crm:80 at 10.0.0.2:80 ejected for 9 s, 0 requests, 0 connections\n\
                      upstream    crm: http://old:80 unresolved, 0 requests, 0 connections, no such name\n\
                      upstream    crm: 4 requests wait for a connection\n\
                      assertion   https://gw, no disk\n            k1 signing since 5 s\n            k2 next in 9 s\n\
                      observing   crm\n";
        assert_eq!(text(&status), wanted);
    }
}
