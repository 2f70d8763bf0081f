//! Bodies with something changed.

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use crate::json::Pointer;
use crate::target::query::{decode, parameters};
use crate::trial::Request;

pub(super) const FORM: &str = "application/x-www-form-urlencoded";
pub(super) const JSON: &str = "application/json";
pub(super) const XML: &str = "text/xml";

/// Gives a request this body; where nothing said so far what its body is, this type.
pub(super) fn set(request: &mut Request, body: String, media_type: &'static str) {
    request.body = body.into();
    if !request.body.is_empty() {
        request.headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(media_type));
    }
}

/// JSON with this text at a place of it, or without what stands there; of nothing becomes an object. `None`: it is no
/// JSON, or has no such place.
pub(super) fn json(document: &[u8], pointer: &Pointer, text: Option<&str>) -> Option<String> {
    let mut value = if document.is_empty() { Value::Null } else { serde_json::from_slice(document).ok()? };
    put(&mut value, &pointer.keys().collect::<Vec<_>>(), text)?;
    Some(value.to_string())
}

/// Puts a text at a place: at every element where the place is one of all, of which an empty list gets one.
fn put(value: &mut Value, keys: &[Option<&str>], text: Option<&str>) -> Option<()> {
    let Some((first, rest)) = keys.split_first() else {
        *value = scalar(value, text?);
        return Some(());
    };
    match (first, &mut *value) {
        (_, Value::Null) => {
            *value = if first.is_some() { Value::Object(Map::new()) } else { Value::Array(Vec::new()) };
            put(value, keys, text)
        }
        (None, Value::Array(items)) => {
            if items.is_empty() {
                text?;
                items.push(Value::Null);
            }
            items.iter_mut().try_for_each(|item| put(item, rest, text))
        }
        (Some(key), Value::Array(items)) => put(items.get_mut(key.parse::<usize>().ok()?)?, rest, text),
        (Some(key), Value::Object(entries)) => {
            if rest.is_empty() && text.is_none() {
                entries.remove(*key);
                return Some(());
            }
            put(entries.entry(*key).or_insert(Value::Null), rest, text)
        }
        _ => None,
    }
}

/// The text, as a number where one stood there.
fn scalar(before: &Value, text: &str) -> Value {
    let number = || text.parse::<i64>().ok().filter(|number| number.to_string() == text);
    match before {
        Value::Number(_) => number().map_or_else(|| text.into(), Value::from),
        _ => text.into(),
    }
}

/// A parameter's first value.
pub(super) fn parameter(target: &str, name: &str) -> Option<String> {
    let query = target.split_once('?')?.1;
    let found = parameters(query).find(|parameter| *decode(parameter.raw_name) == *name.as_bytes())?;
    String::from_utf8(decode(found.raw_value?).into_owned()).ok()
}

/// A message that asks for an operation, and nothing else.
pub(super) fn soap(operation: &str) -> String {
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><{operation}/></s:Body></s:Envelope>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(document: &str, pointer: &str, text: Option<&str>) -> Option<String> {
        json(document.as_bytes(), &Pointer::parse(pointer).unwrap(), text)
    }

    #[test]
    fn a_text_is_put_where_the_pointer_says() {
        for (document, pointer, text, wanted) in [
            ("", "/org", Some("a"), r#"{"org":"a"}"#),
            (r#"{"x":[1,true]}"#, "/a/b~1c", Some("1"), r#"{"a":{"b/c":"1"},"x":[1,true]}"#),
            (r#"{"n":7}"#, "/n", Some("8"), r#"{"n":8}"#),
            (r#"{"n":7}"#, "/n", Some("08"), r#"{"n":"08"}"#),
            (r#"{"i":[{"o":1},{"x":2}]}"#, "/i/*/o", Some("a"), r#"{"i":[{"o":"a"},{"o":"a","x":2}]}"#),
            ("{}", "/i/*/o", Some("a"), r#"{"i":[{"o":"a"}]}"#),
            (r#"{"i":["x","y"]}"#, "/i/1", Some("a"), r#"{"i":["x","a"]}"#),
            (r#"{"i":[{"o":1},{"x":2}]}"#, "/i/*/o", None, r#"{"i":[{},{"x":2}]}"#),
        ] {
            assert_eq!(with(document, pointer, text).as_deref(), Some(wanted), "{document} {pointer}");
        }
    }

    #[test]
    fn what_has_no_such_place_is_left_alone() {
        for (document, pointer) in [("{", "/a"), ("[]", "/a"), (r#"{"a":"x"}"#, "/a/b"), (r#"{"a":[]}"#, "/a/0")] {
            assert_eq!(with(document, pointer, Some("x")), None, "{document} {pointer}");
        }
        assert_eq!(with(r#"{"i":[]}"#, "/i/*/o", None), None);
    }
}
