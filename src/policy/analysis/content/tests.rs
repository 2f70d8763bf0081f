use std::collections::BTreeMap;

use serde_json::json;

use super::*;

#[test]
fn pointers_lead_to_their_values() {
    assert_eq!(pointed("/a/b~1c", &json!("x")), json!({"a": {"b/c": "x"}}));
    assert_eq!(pointed("/items/*/id", &json!(["x", "y"])), json!({"items": [{"id": "x"}, {"id": "y"}]}));
    assert_eq!(pointed("/ids/*", &json!("x")), json!({"ids": ["x"]}));
    assert_eq!(pointed("", &json!("x")), json!("x"));
    assert_eq!(pointed("/a", &json!("x")), json!({"a": "x"}));
}

/// The body of these marks, and what it is said to be.
fn body(marks: &[(Axis, Mark)]) -> (String, Option<String>) {
    let mut headers = HeaderMap::new();
    let choice: BTreeMap<&Axis, &Mark> = marks.iter().map(|(axis, mark)| (axis, mark)).collect();
    let body = content(&choice, &mut headers);
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
    (String::from_utf8(body).unwrap(), kind)
}

#[test]
fn a_body_holds_what_its_marks_say() {
    let form = |name: &str, piece: &str| (Axis::Form(name.into()), Mark::Query(vec![piece.to_owned()]));
    let json = |pointer: &str, value: Value| (Axis::Body(pointer.into()), Mark::Json(Some(value)));
    let raw = |text: &str| (Axis::Body("/r".into()), Mark::Text(Some(text.to_owned())));
    let operation = |name: &str| (Axis::Operation, Mark::Text(Some(name.to_owned())));
    assert_eq!(body(&[]), (String::new(), None));
    assert_eq!(body(&[(Axis::Operation, Mark::Text(None)), (Axis::Body("/a".into()), Mark::Json(None))]).1, None);
    let (text, kind) = body(&[form("a", "a=1"), form("b", "b=2")]);
    assert_eq!((text.as_str(), kind.as_deref()), ("a=1&b=2", Some("application/x-www-form-urlencoded")));
    let (text, kind) = body(&[json("/a/b", json!("x")), json("/a/c", json!(7)), json("/d", json!(null))]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!({"a": {"b": "x", "c": 7}, "d": null}));
    assert_eq!(kind.as_deref(), Some("application/json"));
    // What stands in the way of a pointer makes room for it.
    let (text, _) = body(&[json("/a", json!("x")), json("/a/b", json!("y"))]);
    assert_eq!(text, r#"{"a":{"b":"y"}}"#);
    let (text, _) = body(&[json("/i/*/a", json!(["x", "y"])), json("/i/*/b", json!("z"))]);
    assert_eq!(text, r#"{"i":[{"a":"x","b":"z"},{"a":"y"}]}"#);
    assert_eq!(body(&[raw("{"), json("/a", json!("x"))]).0, "{");
    let (text, kind) = body(&[operation("GetOrder")]);
    assert!(text.contains("<s:Body><GetOrder/></s:Body>") && text.starts_with("<s:Envelope"), "{text}");
    assert_eq!(kind.as_deref(), Some("text/xml; charset=utf-8"));
}
