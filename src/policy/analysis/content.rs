//! Bodies made of marks: urlencoded, JSON or SOAP, as the axes say.

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Map, Value};

use super::axis::{Axis, Choice, Mark};

/// The body that the marks make, its kind among the headers; empty where no mark is in a body.
pub(super) fn content(choice: &Choice<'_>, headers: &mut HeaderMap) -> Vec<u8> {
    let mut form: Vec<&str> = Vec::new();
    let (mut json, mut raw, mut operation) = (None, None, None);
    for (axis, mark) in choice {
        match (axis, mark) {
            (Axis::Form(_), Mark::Query(pieces)) => form.extend(pieces.iter().map(String::as_str)),
            (Axis::Body(pointer), Mark::Json(Some(value))) => {
                put(json.get_or_insert(Value::Object(Map::new())), pointer, value);
            }
            (Axis::Body(_), Mark::Text(Some(text))) => raw = Some(text.clone()),
            (Axis::Operation, Mark::Text(Some(name))) => operation = Some(envelope(name)),
            _ => {}
        }
    }
    let json = raw.or_else(|| json.map(|json| json.to_string()));
    let (kind, body) = match (form.is_empty(), json, operation) {
        (false, _, _) => ("application/x-www-form-urlencoded", form.join("&")),
        (true, Some(json), _) => ("application/json", json),
        (true, None, Some(envelope)) => ("text/xml; charset=utf-8", envelope),
        (true, None, None) => return Vec::new(),
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    body.into_bytes()
}

/// A message with one operation.
fn envelope(name: &str) -> String {
    let namespace = "http://schemas.xmlsoap.org/soap/envelope/";
    format!("<s:Envelope xmlns:s=\"{namespace}\"><s:Body><{name}/></s:Body></s:Envelope>")
}

/// JSON in which a pointer leads to a value; where the pointer has a `*`, to each value of a list.
pub(super) fn pointed(pointer: &str, value: &Value) -> Value {
    let mut json = Value::Object(Map::new());
    put(&mut json, pointer, value);
    json
}

fn put(json: &mut Value, pointer: &str, value: &Value) {
    let Some((step, rest)) = pointer.strip_prefix('/').map(|steps| steps.split_once('/').unwrap_or((steps, ""))) else {
        *json = value.clone();
        return;
    };
    let rest = if pointer.matches('/').count() > 1 { format!("/{rest}") } else { String::new() };
    if step == "*" {
        let several = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        let mut items = json.as_array().cloned().unwrap_or_default();
        items.resize(several.len().max(items.len()), Value::Object(Map::new()));
        for (item, value) in items.iter_mut().zip(&several) {
            put(item, &rest, value);
        }
        *json = Value::Array(items);
        return;
    }
    let key = step.replace("~1", "/").replace("~0", "~");
    if !json.is_object() {
        *json = Value::Object(Map::new());
    }
    if let Some(object) = json.as_object_mut() {
        put(object.entry(key).or_insert(Value::Object(Map::new())), &rest, value);
    }
}

#[cfg(test)]
mod tests;
