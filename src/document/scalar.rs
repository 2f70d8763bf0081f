//! What an unquoted scalar means: the core schema of YAML 1.2.2 section 10.3.2, and nothing of YAML 1.1 (`yes`, `on`,
//! `1:30` and `1_000` are text).

use super::node::Value;

/// The number is written as an integer but does not fit 64 bits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// Resolves a plain scalar.
///
/// # Errors
/// An integer beyond 64 bits: nothing that holds it exactly exists, and a rounded one must not decide anything.
pub(super) fn resolve(text: &str) -> Result<Value, TooLarge> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => return Ok(Value::Float(f64::NAN)),
        _ => {}
    }
    match integer(text) {
        Integer::Fits(value) => return Ok(Value::Int(value)),
        Integer::TooLarge => return Err(TooLarge),
        Integer::Not => {}
    }
    Ok(float(text).map_or_else(|| Value::Text(text.to_owned()), Value::Float))
}

/// Whether the text would be a whole number without its quotes.
pub(super) fn is_integer(text: &str) -> bool {
    matches!(integer(text), Integer::Fits(_))
}

/// Whether a text is an integer.
enum Integer {
    Fits(i64),
    TooLarge,
    Not,
}

/// `[-+]? [0-9]+`, `0o [0-7]+` or `0x [0-9a-fA-F]+`.
fn integer(text: &str) -> Integer {
    let (digits, radix, number) = if let Some(digits) = text.strip_prefix("0x") {
        (digits, 16, digits)
    } else if let Some(digits) = text.strip_prefix("0o") {
        (digits, 8, digits)
    } else {
        (text.strip_prefix(['-', '+']).unwrap_or(text), 10, text)
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Integer::Not;
    }
    i64::from_str_radix(number, radix).map_or(Integer::TooLarge, Integer::Fits)
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`, or an infinity.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    let shaped = unsigned.starts_with(|c: char| c.is_ascii_digit())
        || unsigned.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let plain = unsigned.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+'));
    if shaped && plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> &'static str {
        match resolve(text) {
            Ok(Value::Null) => "null",
            Ok(Value::Bool(_)) => "bool",
            Ok(Value::Int(_)) => "int",
            Ok(Value::Float(_)) => "float",
            Ok(Value::Text(_)) => "text",
            Ok(Value::List(_) | Value::Map(_)) => "collection",
            Err(TooLarge) => "too large",
        }
    }

    #[test]
    fn scalars_resolve_by_the_core_schema_yaml_1_2_2_section_10_3_2() {
        let cases = [
            ("null", "null ~ Null NULL"),
            ("bool", "true True TRUE false False FALSE"),
            ("int", "0 -1 +12 007 0o14 0x1F 9223372036854775807 -9223372036854775808"),
            ("float", "1.5 -0.1 .5 1. 1e3 1E-3 +12e03 .inf -.INF .nan"),
            (
                "text",
                "yes no on off y n 1:30 1_000 0b1 0x 0o9 nUll tRue . - + e3 1.2.3 10s 1e inf nan Infinity 1,5 2026-11-21 ١",
            ),
            ("too large", "9223372036854775808 -9223372036854775809 0xFFFFFFFFFFFFFFFFF"),
        ];
        for (expected, texts) in cases {
            for text in texts.split(' ') {
                assert_eq!(kind(text), expected, "{text}");
            }
        }
        assert_eq!(kind(""), "null");
    }
}
