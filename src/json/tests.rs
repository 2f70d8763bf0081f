use proptest::prelude::*;
use serde_json::Value;

use super::{Fault, Pointer, scan};

const NOWHERE: [Pointer; 0] = [];
const UUID: &str = "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111";

fn pointers(written: &[&str]) -> Vec<Pointer> {
    written.iter().map(|written| Pointer::parse(written).unwrap()).collect()
}

fn found(pointer: &str, document: &str) -> Result<Vec<Option<String>>, Fault> {
    let pointers = pointers(&[pointer]);
    let values = scan(document.as_bytes(), &pointers)?;
    Ok(values.of(0).map(|value| value.map(str::to_owned)).collect())
}

fn texts(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|value| Some((*value).to_owned())).collect()
}

#[test]
fn pointers_find_strings_and_integers() {
    let document = r#" {"org":"acme","a":{"b/c":[1,"x\u00e4\ud83d\ude00\n"]},"n":-12,"":18446744073709551615} "#;
    assert_eq!(found("/org", document), Ok(texts(&["acme"])));
    assert_eq!(found("/a/b~1c/0", document), Ok(texts(&["1"])));
    assert_eq!(found("/a/b~1c/1", document), Ok(texts(&["x\u{e4}\u{1f600}\n"])));
    assert_eq!(found("/n", document), Ok(texts(&["-12"])));
    assert_eq!(found("/", document), Ok(texts(&["18446744073709551615"])));
    assert_eq!(found("/nobody", document), Ok(texts(&[])));
    assert_eq!(found("/org/deeper", document), Ok(texts(&[])));
    assert_eq!(found("/a/b~1c/2", document), Ok(texts(&[])));
    assert_eq!(found("/a/b~1c/00", document), Ok(texts(&[])));
    assert_eq!(found("/0", "[7]"), Ok(texts(&["7"])));
}

#[test]
fn what_is_neither_string_nor_integer_is_no_text() {
    for value in ["null", "true", "1.0", "1e3", "-0", "{}", "[]", "[1]", "99999999999999999999", "1E400"] {
        assert_eq!(found("/a", &format!(r#"{{"a":{value}}}"#)), Ok(vec![None]), "{value}");
    }
}

#[test]
fn a_star_is_every_element_and_each_has_a_value() {
    let none = || Ok(vec![None]);
    assert_eq!(found("/items/*/id", r#"{"items":[{"id":"a"},{"id":"b","x":1}]}"#), Ok(texts(&["a", "b"])));
    assert_eq!(found("/*", r#"["a",2]"#), Ok(texts(&["a", "2"])));
    assert_eq!(found("/*/1", r#"[["a","b"],["c","d"]]"#), Ok(texts(&["b", "d"])));
    assert_eq!(found("/o/*/i/*", r#"{"o":[{"i":["a"]},{"i":["b","c"]}]}"#), Ok(texts(&["a", "b", "c"])));
    assert_eq!(found("/items/*/id", r#"{"items":[]}"#), Ok(texts(&[])));
    assert_eq!(found("/items/*/id", "{}"), Ok(texts(&[])));
    for items in [
        r#"[{"id":"a"},{}]"#,
        r#"[{"id":"a"},{"x":"a"}]"#,
        r#"[{"id":"a"},"a"]"#,
        r#"[{"id":"a"},{"id":null}]"#,
        r#"[{"id":"a"},[]]"#,
        r#"[{"id":"a"},["id"]]"#,
        r#"[{"id":"a"},{"id":["a"]}]"#,
    ] {
        let document = format!(r#"{{"items":{items}}}"#);
        assert_eq!(found("/items/*/id", &document), Ok(vec![Some("a".to_owned()), None]), "{items}");
    }
    assert_eq!(found("/*/i/*", r#"[{"i":[]}]"#), none());
    assert_eq!(found("/items/*/id", r#"{"items":{"id":"a"}}"#), none());
    assert_eq!(found("/items/*/id", r#"{"items":"a"}"#), none());
    assert_eq!(found("/items/*", r#"{"items":null}"#), none());
}

#[test]
fn a_key_twice_is_refused_at_every_depth_and_however_it_is_escaped() {
    for document in [
        r#"{"a":1,"a":1}"#,
        r#"{"x":[{"b":1,"a":{"c":1},"a":2}]}"#,
        r#"{"sc\u006fpe":1,"x":2,"scope":3}"#,
        r#"{"\u0061\ud83d\ude00":1,"a😀":2}"#,
        r#"{"":1,"":2}"#,
        r#"{"a\/b":1,"a/b":2}"#,
    ] {
        assert_eq!(found("/z", document), Err(Fault::DuplicateKey), "{document}");
    }
    assert_eq!(found("/a/a", r#"{"a":{"a":"x"},"b":{"a":1},"c":[{"a":1},{"a":1}]}"#), Ok(texts(&["x"])));
}

#[test]
fn a_key_that_is_almost_a_named_one_is_refused_where_a_pointer_passes() {
    for document in [
        r#"{"Org":"a","org":"b"}"#,
        r#"{"ORG":"a"}"#,
        r#"{"o\u0052g":"a"}"#,
        r#"{"org\u0000x":"a"}"#,
        r#"{"Org\u0000":"a"}"#,
    ] {
        assert_eq!(found("/org", document), Err(Fault::AlmostNamed), "{document}");
    }
    assert_eq!(found("/items/*/id", r#"{"items":[{"id":1},{"Id":1}]}"#), Err(Fault::AlmostNamed));
    assert_eq!(found("/items/*/id", r#"{"Items":[]}"#), Err(Fault::AlmostNamed));
    assert_eq!(found("/kind", "{\"\u{212a}ind\":1}"), Err(Fault::AlmostNamed), "the Kelvin sign folds to k");
    // Elsewhere nothing is asked about them.
    assert_eq!(found("/org", r#"{"org":"a","sub":{"ORG":"b"}}"#), Ok(texts(&["a"])));
    assert_eq!(found("/org", r#"{"org":"a","orgs":"b"}"#), Ok(texts(&["a"])));
}

#[test]
fn only_json_and_nothing_around_it_is_accepted() {
    for document in [
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "[,1]",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "1e",
        "1e+",
        "nul",
        "nullx",
        "True",
        "NaN",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\t\"",
        "{}x",
        "{}{}",
        "1 2",
        "[1}",
        "{\"a\" 1}",
        "{\"a\":}",
        "// x\n1",
        "\u{a0}1",
        "\"\\u+123\"",
    ] {
        assert_eq!(found("/a", document), Err(Fault::Malformed), "{document}");
    }
    assert_eq!(found("/a", "\u{feff}{}"), Err(Fault::NotUtf8));
    assert_eq!(scan(b"{\"a\":\"\xff\"}", &NOWHERE).err(), Some(Fault::NotUtf8));
    assert_eq!(scan(b"{\0\"\0a\0", &NOWHERE).err(), Some(Fault::Malformed));
}

#[test]
fn nesting_ends_at_64_levels() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(found("/a", &nested(64)).is_ok());
    assert_eq!(found("/a", &nested(65)), Err(Fault::TooDeep));
    assert_eq!(found("/a", &"[".repeat(1_000_000)), Err(Fault::TooDeep));
    assert!(found("/a", &format!("{}1{}", "{\"a\":".repeat(64), "}".repeat(64))).is_ok());
}

#[test]
fn several_pointers_are_followed_at_once() {
    let pointers = pointers(&["/a/*/x", "/a/*/y", "/a/1/x", "/b", "/a"]);
    let document = format!(r#"{{"a":[{{"x":1,"y":2}},{{"x":"\u0033","y":4}}],"b":"{UUID}"}}"#);
    let values = scan(document.as_bytes(), &pointers).unwrap();
    let of = |number| values.of(number).collect::<Vec<_>>();
    assert_eq!(of(0), [Some("1"), Some("3")]);
    assert_eq!(of(1), [Some("2"), Some("4")]);
    assert_eq!(of(2), [Some("3")]);
    assert_eq!(of(3), [Some(UUID)]);
    assert_eq!(of(4), [None]);
    assert_eq!(of(5), []);
}

/// What a pointer without `*` finds in a tree.
fn in_tree(document: &str, pointer: &str) -> Vec<Option<String>> {
    let tree: Value = serde_json::from_str(document).unwrap();
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    };
    tree.pointer(pointer).map(text).into_iter().collect()
}

fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?[1-9][0-9]{0,3}",
        "[0-9]\\.[0-9]{1,3}",
        r#""([a-c]|\\u006[1-3]|\\n|é){0,4}""#,
    ];
    scalar.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" , "))),
            prop::collection::vec((r#""([abAB]|\\u0061){0,2}""#, inner), 0..4).prop_map(|members| {
                let members: Vec<_> = members.into_iter().map(|(key, value)| format!("{key} : {value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_found_is_what_a_tree_has(document in json(), pointer in "(/(a|b|0|1)){1,3}") {
        let Ok(values) = found(&pointer, &document) else { return Ok(()) };
        prop_assert_eq!(values, in_tree(&document, &pointer));
    }

    #[test]
    fn a_document_is_refused_only_for_its_keys(document in json()) {
        let strict = super::object(format!("{{\"x\":{document}}}").as_bytes()).is_ok();
        match scan(document.as_bytes(), &pointers(&["/a/b", "/*/b"])) {
            Ok(_) => prop_assert!(strict),
            Err(Fault::DuplicateKey) => prop_assert!(!strict),
            Err(fault) => prop_assert_eq!(fault, Fault::AlmostNamed),
        }
    }

    #[test]
    fn nothing_is_accepted_that_a_lax_reader_refuses(document in r#"[\[\]{}",:0-9a-z\\ .eE+-]{0,24}"#) {
        if scan(document.as_bytes(), &NOWHERE).is_ok() {
            let lax = serde_json::from_str::<Value>(&document);
            prop_assert!(lax.is_ok() || lax.is_err_and(|error| error.to_string().contains("out of range")));
        }
    }
}
