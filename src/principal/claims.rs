//! All claims of a principal, small: in two allocations at most instead of one for each name, text and list.

use std::sync::Arc;

use serde_json::{Map, Number, Value};

use super::packed::{Unpacked, footprint, push, push_length};
use super::{ClaimPath, Claims};

/// All claims of a token (and those that userinfo added), as a principal keeps them. They are the same as in the
/// [`Claims`] that they were made of, to the last bit of a number.
///
/// A part of them may be shared with other principals. Which one that is makes no difference to anybody who asks.
/// Of a request's claims policies ask for one or two, so they are looked through, not indexed.
#[derive(Clone, Default)]
pub struct ClaimSet {
    /// Names and values by turns, packed; a value begins with the letter of its type.
    own: Option<Arc<str>>,
    /// More of them.
    shared: Option<Arc<str>>,
}

/// Claims that many tokens have in common, as far as is known.
#[derive(Debug, Default)]
pub struct CommonClaims(Option<Arc<str>>);

/// More bytes of claims than this are not shared: nobody knows whether there will be anybody to share them with.
const MOST_SHARED: usize = 2048;

/// Room for the claims of most tokens.
const USUAL: usize = 1024;

/// Room for most lists and objects among them.
const USUAL_PART: usize = 128;

/// Fewer bytes than this are not worth it.
const LEAST_SHARED: usize = 64;

impl ClaimSet {
    /// A claim by its name; `null` too.
    pub fn get(&self, name: &str) -> Option<Claim<'_>> {
        self.members().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The value at a path. `null` counts as absent (tokens.md, "JSON").
    pub fn find(&self, path: &ClaimPath) -> Option<Claim<'_>> {
        let (first, rest) = path.0.split_first()?;
        let mut value = self.get(first)?;
        for key in rest {
            let Claim::Object(members) = value else { return None };
            value = members.into_iter().find(|(name, _)| name == key)?.1;
        }
        (!value.is_null()).then_some(value)
    }

    /// The same as a map.
    pub fn to_map(&self) -> Claims {
        self.members().map(|(name, value)| (name.to_owned(), value.to_value())).collect()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members().next().is_none()
    }

    /// Bytes that they take, rather more than less.
    pub fn bytes(&self) -> usize {
        self.parts().map(footprint).sum()
    }

    fn members(&self) -> impl Iterator<Item = (&str, Claim<'_>)> {
        self.parts().flat_map(|part| Members(Unpacked(part)))
    }

    fn parts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.shared.iter().chain(&self.own)
    }

    /// Takes what these claims have in common with those seen before from there, so that it is in memory once. The
    /// claims stay the same. What they do not have is from then on no longer what all have in common.
    pub fn share(&mut self, common: &mut CommonClaims) {
        let (Some(own), None) = (&self.own, &self.shared) else { return };
        let before = common.0.clone().unwrap_or_default();
        let (mut shared, mut rest) = (String::with_capacity(before.len()), String::with_capacity(own.len()));
        // Both are in the order of their names.
        let mut known = pieces(&before).peekable();
        for member in pieces(own) {
            while known.next_if(|known| known.0 < member.0).is_some() {}
            let out = if known.peek() == Some(&member) { &mut shared } else { &mut rest };
            out.push_str(member.1);
        }
        if shared.len() < LEAST_SHARED {
            // Another kind of token: what comes next may be more like this one.
            common.0 = Some(Arc::clone(own)).filter(|own| own.len() <= MOST_SHARED);
            return;
        }
        let shared = if shared.len() == before.len() { Arc::clone(&before) } else { shared.into() };
        common.0 = Some(Arc::clone(&shared));
        self.shared = Some(shared);
        self.own = (!rest.is_empty()).then(|| rest.into());
    }
}

impl From<&Claims> for ClaimSet {
    fn from(claims: &Claims) -> Self {
        let mut packed = String::with_capacity(USUAL);
        write_members(claims, &mut packed);
        Self { own: (!packed.is_empty()).then(|| packed.into()), shared: None }
    }
}

impl From<Claims> for ClaimSet {
    fn from(claims: Claims) -> Self {
        Self::from(&claims)
    }
}

impl PartialEq for ClaimSet {
    fn eq(&self, other: &Self) -> bool {
        self.to_map() == other.to_map()
    }
}

impl std::fmt::Debug for ClaimSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(&self.to_map()).finish()
    }
}

/// A value, read where it stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim<'c> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(&'c str),
    /// A list.
    List(Items<'c>),
    /// An object.
    Object(Members<'c>),
}

impl<'c> Claim<'c> {
    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&'c str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// Whether it is a whole number that `i64` holds.
    pub fn is_i64(&self) -> bool {
        matches!(self, Self::Number(number) if number.is_i64())
    }

    /// The same as a value of its own.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String((*text).to_owned()),
            Self::List(items) => items.clone().map(|item| item.to_value()).collect(),
            Self::Object(members) => {
                Value::Object(members.clone().map(|(name, value)| (name.to_owned(), value.to_value())).collect())
            }
        }
    }

    /// Reads what [`push_value`] wrote.
    fn read(text: &'c str) -> Option<Self> {
        let (kind, rest) = text.split_at_checked(1)?;
        Some(match kind {
            "n" => Self::Null,
            "b" => Self::Bool(rest == "true"),
            "i" => Self::Number(
                rest.parse::<u64>().map(Number::from).or_else(|_| rest.parse::<i64>().map(Number::from)).ok()?,
            ),
            "f" => Self::Number(Number::from_f64(rest.parse().ok()?)?),
            "s" => Self::Text(rest),
            "l" => Self::List(Items(Unpacked(rest))),
            "o" => Self::Object(Members(Unpacked(rest))),
            _ => return None,
        })
    }
}

/// The items of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Items<'c>(Unpacked<'c>);

impl<'c> Iterator for Items<'c> {
    type Item = Claim<'c>;

    fn next(&mut self) -> Option<Claim<'c>> {
        Claim::read(self.0.next()?)
    }
}

/// The members of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Members<'c>(Unpacked<'c>);

impl<'c> Iterator for Members<'c> {
    type Item = (&'c str, Claim<'c>);

    fn next(&mut self) -> Option<(&'c str, Claim<'c>)> {
        let name = self.0.next()?;
        Some((name, Claim::read(self.0.next()?)?))
    }
}

/// Each member's name, and the piece of the text that is this member.
fn pieces(packed: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut texts = Unpacked(packed);
    std::iter::from_fn(move || {
        let from = texts.0;
        let (name, _) = (texts.next()?, texts.next()?);
        Some((name, from.get(..from.len() - texts.0.len())?))
    })
}

fn write_members(members: &Map<String, Value>, out: &mut String) {
    for (name, value) in members {
        push(name, out);
        push_value(value, out);
    }
}

/// Adds the letter of the type and what follows from it: a text as it is, a number in digits, a list or an object packed.
fn push_value(value: &Value, out: &mut String) {
    use std::fmt::Write as _;
    let mut written = String::new();
    // Writing into a text cannot fail.
    let _ = match value {
        Value::String(text) => {
            push_length(text.len() + 1, out);
            out.push('s');
            out.push_str(text);
            return;
        }
        Value::Null => return push("n", out),
        Value::Bool(value) => return push(if *value { "btrue" } else { "bfalse" }, out),
        // The shortest digits that are this number and no other: it is read back by the standard library, which rounds rightly.
        Value::Number(number) if number.is_f64() => write!(written, "f{:?}", number.as_f64().unwrap_or_default()),
        Value::Number(number) => write!(written, "i{number}"),
        Value::Array(items) => {
            written.reserve(USUAL_PART);
            written.push('l');
            for item in items {
                push_value(item, &mut written);
            }
            Ok(())
        }
        Value::Object(members) => {
            written.reserve(USUAL_PART);
            written.push('o');
            write_members(members, &mut written);
            Ok(())
        }
    };
    push(&written, out);
}

#[cfg(test)]
mod tests;
