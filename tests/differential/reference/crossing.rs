//! policy.md, "Limits and cross-origin": what becomes of preflights, and what answers say to pages of other origins.

use serde_json::Value;

use super::super::conditions::{list, one_or_many};
use super::super::world::{Fields, Request};

/// "a preflight (OPTIONS + `Origin` + `Access-Control-Request-Method`)": the method that it asks about.
pub(crate) fn preflight(request: &Request) -> Option<String> {
    only(request, "origin")?;
    let method = only(request, "access-control-request-method")?;
    (request.method == "OPTIONS" && !method.is_empty()).then_some(method)
}

fn only(request: &Request, name: &str) -> Option<String> {
    let mut lines = request.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
    let (_, value) = lines.next()?;
    String::from_utf8(value.clone()).ok().filter(|_| lines.next().is_none())
}

/// What every answer says: nothing where the upstream does, or nobody.
pub(crate) fn grant(cors: &Value, request: &Request) -> Option<Fields> {
    let origins = cors.get("origins")?;
    let mut fields = Fields::new();
    if let Some(origin) = only(request, "origin") {
        let everybody = one_or_many(origins).iter().any(|one| one == "*");
        if everybody || list(origins).iter().any(|one| *one == *origin) {
            let allowed = if everybody { "*".to_owned() } else { origin };
            fields.push(("access-control-allow-origin".to_owned(), allowed));
            if cors["credentials"] == true {
                fields.push(("access-control-allow-credentials".to_owned(), "true".to_owned()));
            }
        }
    }
    fields.sort();
    Some(fields)
}

/// The answer to a preflight. "What is not allowed is not named in the answer".
pub(crate) fn answer(cors: &Value, request: &Request, method: &str) -> Fields {
    let mut fields = grant(cors, request).unwrap();
    let allowed = cors.get("methods").is_none_or(|methods| list(methods).iter().any(|one| one == method));
    if fields.is_empty() || !allowed {
        return Fields::new();
    }
    fields.push(("access-control-allow-methods".to_owned(), method.to_owned()));
    if let Some(headers) = cors.get("headers").map(list).filter(|headers| !headers.is_empty()) {
        let names: Vec<_> = headers.iter().map(|name| name.as_str().unwrap()).collect();
        fields.push(("access-control-allow-headers".to_owned(), names.join(", ")));
    }
    if let Some(age) = cors.get("max_age") {
        let seconds = age.as_str().unwrap().trim_end_matches('s');
        fields.push(("access-control-max-age".to_owned(), seconds.to_owned()));
    }
    fields.sort();
    fields
}
