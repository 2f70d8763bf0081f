//! Tests of claims: strictly typed against literals, as text against values of the request.

use super::{Question, Stance};
use crate::policy::condition::{ClaimTest, Literal, Operand};
use crate::policy::equality::{Case, equal};
use crate::policy::truth::Truth;
use crate::principal::{Claim, ClaimPath, Items, Principal};

/// A test of a claim.
pub(super) fn claim(
    path: &ClaimPath,
    test: &ClaimTest,
    principal: &Principal,
    question: &Question<'_>,
    stance: Stance,
) -> Truth {
    if principal.pending.holds(path) {
        return supposed(test, question, stance);
    }
    let found = principal.claims.find(path);
    if let ClaimTest::Exists(wanted) = test {
        return (found.is_some() == *wanted).into();
    }
    let Some(found) = found else { return Truth::Unknown };
    let case = Case::folded_if(principal.issuer.case_insensitive.contains(path));
    let contains = |operand: &Operand| match &found {
        Claim::List(items) => contains(items, operand, case, question, stance),
        _ => Truth::Unknown,
    };
    match test {
        ClaimTest::OneOf(operands) => {
            Truth::any(operands.iter().map(|operand| equals(&found, operand, case, question, stance)))
        }
        ClaimTest::ContainsAll(operands) => Truth::all(operands.iter().map(contains)),
        ClaimTest::ContainsAny(operands) => Truth::any(operands.iter().map(contains)),
        ClaimTest::Exists(_) => Truth::Unknown,
    }
}

/// A test of a claim that nobody has asked userinfo for. What the request itself leaves open stays unknown whatever the
/// claim may be.
fn supposed(test: &ClaimTest, question: &Question<'_>, stance: Stance) -> Truth {
    let supposed = question.supposition(stance);
    let of = |operand: &Operand| match operand {
        Operand::Literal(_) => supposed,
        Operand::Template(template) => question.every(template, stance, |_| supposed),
    };
    match test {
        ClaimTest::Exists(_) => supposed,
        ClaimTest::OneOf(operands) | ClaimTest::ContainsAny(operands) => Truth::any(operands.iter().map(of)),
        ClaimTest::ContainsAll(operands) => Truth::all(operands.iter().map(of)),
    }
}

/// Whether a JSON value equals an operand.
fn equals(found: &Claim<'_>, operand: &Operand, case: Case, question: &Question<'_>, stance: Stance) -> Truth {
    match operand {
        Operand::Literal(literal) => literal.equals(found, case),
        Operand::Template(template) => question.every(template, stance, |text| equals_text(found, text, case)),
    }
}

/// Whether an array contains an operand: every value of a template must be in it.
fn contains(items: &Items<'_>, operand: &Operand, case: Case, question: &Question<'_>, stance: Stance) -> Truth {
    match operand {
        Operand::Literal(literal) => Truth::any(items.clone().map(|item| literal.equals(&item, case))),
        Operand::Template(template) => question
            .every(template, stance, |text| Truth::any(items.clone().map(|item| equals_text(&item, text, case)))),
    }
}

/// A JSON value against text of the request: an integer counts as its shortest decimal spelling, any other value that
/// is no string is no value.
fn equals_text(found: &Claim<'_>, text: &str, case: Case) -> Truth {
    match found {
        Claim::Text(found) => equal(found, text, case).into(),
        Claim::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => (shortest(text) && text.parse() == Ok(number)).into(),
            (None, Some(number)) => (shortest(text) && text.parse() == Ok(number)).into(),
            (None, None) => Truth::Unknown,
        },
        Claim::Null | Claim::Bool(_) | Claim::List(_) | Claim::Object(_) => Truth::Unknown,
    }
}

/// Whether the text could be the shortest decimal spelling of an integer: no sign but a minus, no leading zero.
fn shortest(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text == "0" || digits.bytes().next().is_some_and(|first| (b'1'..=b'9').contains(&first))
}

impl Literal {
    /// Strictly typed equality: the number 1 is not the string "1"; a value of another type is unknown.
    fn equals(&self, found: &Claim<'_>, case: Case) -> Truth {
        match (self, found) {
            (Self::Text(text), Claim::Text(found)) => equal(found, text, case).into(),
            (Self::Bool(value), Claim::Bool(found)) => (value == found).into(),
            (Self::Int(value), Claim::Number(found)) => match found.as_i64() {
                Some(found) => (*value == found).into(),
                None => (found.is_f64() && found.as_f64().is_some_and(|found| same_number(*value, found))).into(),
            },
            (Self::Float(value), Claim::Number(found)) => match found.as_i64() {
                Some(found) => same_number(found, *value).into(),
                None => (found.as_f64() == Some(*value)).into(),
            },
            _ => Truth::Unknown,
        }
    }
}

/// Whether a whole number and a fraction are the same number. Beyond 2^53 a fraction no longer tells neighbours apart.
#[expect(clippy::cast_precision_loss, reason = "numbers that would lose precision are never equal")]
#[expect(clippy::float_cmp, reason = "exact equality of exactly representable numbers is meant")]
fn same_number(whole: i64, fraction: f64) -> bool {
    whole.unsigned_abs() <= 1 << 53 && whole as f64 == fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_beyond_63_bits_is_text_of_the_request_in_its_shortest_spelling_only() {
        let largest = Claim::Number(u64::MAX.into());
        for (text, truth) in [
            ("18446744073709551615", Truth::True),
            ("18446744073709551614", Truth::False),
            ("+18446744073709551615", Truth::False),
            ("018446744073709551615", Truth::False),
        ] {
            assert_eq!(equals_text(&largest, text, Case::Sensitive), truth, "{text}");
        }
    }
}
