use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-c]{1,2}", any::<String>()]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-1000..1000_i32).prop_map(|number| Value::from(f64::from(number) / 7.0)),
        (-9..9_i32).prop_map(|number| Value::from(f64::from(number))),
        any::<String>().prop_map(Value::from),
        "[\"\\\\a-c ]{0,80}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map(name(), inner, 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn claims() -> impl Strategy<Value = Claims> {
    btree_map(name(), value(), 0..6).prop_map(|members| members.into_iter().collect())
}

/// Such as have much in common.
fn likely() -> impl Strategy<Value = Claims> {
    (any::<bool>(), "[a-c]{0,9}", 0..3_u8).prop_map(|(tall, name, scope)| {
        let long = "openid profile email orders:read orders:write".repeat(2);
        let value =
            json!({"iss": "https://issuer", "scope": long, "tall": tall, "name": name, "n": scope, "aud": ["gateway"]});
        value.as_object().unwrap().clone()
    })
}

/// Every path that leads to something, and some beside.
fn paths(claims: &Claims) -> Vec<ClaimPath> {
    fn below(value: &Value, path: &[String], found: &mut Vec<Vec<String>>) {
        found.push(path.to_vec());
        for (name, value) in value.as_object().into_iter().flatten() {
            below(value, &[path, std::slice::from_ref(name)].concat(), found);
        }
        found.push([path, &["a".to_owned()]].concat());
        found.push([path, &[String::new()]].concat());
    }
    let mut found = Vec::new();
    below(&Value::Object(claims.clone()), &[], &mut found);
    found.into_iter().map(|path| ClaimPath(path.into())).collect()
}

/// Bit for bit: to `==` minus zero is zero.
fn spelled(value: &Value) -> String {
    value.to_string()
}

proptest! {
    #[test]
    fn claims_come_back_as_they_were(claims in claims()) {
        let set = ClaimSet::from(&claims);
        prop_assert_eq!(&set.to_map(), &claims);
        prop_assert_eq!(spelled(&Value::Object(set.to_map())), spelled(&Value::Object(claims.clone())));
        prop_assert_eq!(set.is_empty(), claims.is_empty());
        for name in claims.keys().map(String::as_str).chain(["", "a", "zz"]) {
            prop_assert_eq!(set.get(name).map(|claim| claim.to_value()), claims.get(name).cloned());
        }
    }

    #[test]
    fn sharing_changes_nothing(all in vec(prop_oneof![claims(), likely()], 1..8)) {
        let mut common = CommonClaims::default();
        for claims in all {
            let mut set = ClaimSet::from(&claims);
            set.share(&mut common);
            prop_assert_eq!(spelled(&Value::Object(set.to_map())), spelled(&Value::Object(claims.clone())));
            prop_assert_eq!(set.members().count(), claims.len());
            for path in paths(&claims) {
                prop_assert_eq!(set.find(&path).map(|claim| claim.to_value()), path.find(&claims).cloned());
            }
        }
    }

    #[test]
    fn a_path_finds_what_it_finds_in_a_map(claims in claims()) {
        let set = ClaimSet::from(&claims);
        for path in paths(&claims) {
            let found = set.find(&path).map(|claim| claim.to_value());
            prop_assert_eq!(found.as_ref(), path.find(&claims), "{:?}", path);
        }
    }
}

#[test]
fn numbers_keep_their_type_and_their_last_bit() {
    let numbers = [
        "0",
        "-0",
        "-0.0",
        "0.0",
        "1",
        "1.0",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "1e2",
        "1E400000000",
        "5e-324",
        "1.7976931348623157e308",
        "0.1",
        "0.30000000000000004",
        "1893456000.5",
        "2.2250738585072011e-308",
        "123456789012345680000",
    ];
    for text in numbers {
        let Ok(value) = serde_json::from_str::<Value>(text) else { continue };
        let claims: Claims = [("n".to_owned(), value.clone())].into_iter().collect();
        let kept = ClaimSet::from(&claims).get("n").unwrap().to_value();
        let all = |value: &Value| {
            (value.is_i64(), value.is_u64(), value.is_f64(), value.as_f64().map(f64::to_bits), value.to_string())
        };
        assert_eq!(all(&kept), all(&value), "{text}");
    }
}

#[test]
fn what_is_null_is_there_by_name_and_absent_by_path() {
    let claims = json!({"a": null, "b": {"c": null, "d": [1]}}).as_object().unwrap().clone();
    let set = ClaimSet::from(claims);
    assert_eq!(set.get("a"), Some(Claim::Null));
    let path = |keys: &[&str]| ClaimPath(keys.iter().map(|key| (*key).to_owned()).collect());
    for keys in [&["a"][..], &["b", "c"], &["b", "e"], &["b", "d", "0"], &["a", "b"], &["e"], &[]] {
        assert_eq!(set.find(&path(keys)), None, "{keys:?}");
    }
    assert_eq!(set.find(&path(&["b", "d"])).unwrap().to_value(), json!([1]));
}

#[test]
fn claims_take_little_more_than_their_text() {
    let claims = json!({"sub": "5f8c1a52-9d1e-4e0b-8a77-0c6f1be0a111", "client_id": "app", "exp": 1_800_000_000, "roles": ["a", "b"]});
    let set = ClaimSet::from(claims.as_object().unwrap());
    assert!(set.own.unwrap().len() <= claims.to_string().len(), "names and values, without quotes and commas");
}

#[test]
fn tokens_of_one_client_share_what_is_the_same_in_all() {
    let mut common = CommonClaims::default();
    let mut of = |name: &str| {
        let claims = json!({"scope": "openid profile email orders:read orders:write", "iss": "https://issuer.example.com", "name": name});
        let mut set = ClaimSet::from(claims.as_object().unwrap());
        set.share(&mut common);
        set
    };
    let [first, second, third] = ["a", "b", "c"].map(&mut of);
    assert!(first.shared.is_none(), "there was nothing yet");
    assert!(Arc::ptr_eq(second.shared.as_ref().unwrap(), third.shared.as_ref().unwrap()));
    assert!(third.own.as_ref().unwrap().len() < 10);
    assert!(third.bytes() < first.bytes() / 2, "{third:?}");
}
