//! JSON as RFC 8259 has it, and what policy.md, "Bodies", refuses of it.

use super::super::fold_letter;

/// "nesting at most 64"
const DEEPEST: usize = 64;

/// A value. Numbers are kept as they are written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    /// `null`, `true` or `false`.
    Word,
    Number(String),
    Text(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

/// Nothing for what is "malformed, a duplicate key, ... or bytes after the value", and for what is nested too deeply.
pub(crate) fn parse(text: &str) -> Option<Json> {
    let mut rest = Rest { text, depth: 0 };
    let value = rest.value()?;
    rest.space();
    rest.text.is_empty().then_some(value)
}

struct Rest<'t> {
    text: &'t str,
    depth: usize,
}

impl Rest<'_> {
    fn space(&mut self) {
        self.text = self.text.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn takes(&mut self, word: &str) -> bool {
        let after = self.text.strip_prefix(word);
        self.text = after.unwrap_or(self.text);
        after.is_some()
    }

    fn value(&mut self) -> Option<Json> {
        self.space();
        match self.text.chars().next()? {
            '{' => self.nested("{", "}").map(Json::Map),
            '[' => {
                let items = self.nested("[", "]")?;
                Some(Json::List(items.into_iter().map(|(_, item)| item).collect()))
            }
            '"' => self.string().map(Json::Text),
            '-' | '0'..='9' => self.number().map(Json::Number),
            _ => ["null", "true", "false"].into_iter().any(|word| self.takes(word)).then_some(Json::Word),
        }
    }

    /// The items of an array, with keys those of an object.
    fn nested(&mut self, open: &str, close: &str) -> Option<Vec<(String, Json)>> {
        self.depth += 1;
        if self.depth > DEEPEST || !self.takes(open) {
            return None;
        }
        let mut items: Vec<(String, Json)> = Vec::new();
        self.space();
        if self.takes(close) {
            self.depth -= 1;
            return Some(items);
        }
        loop {
            self.space();
            let mut key = String::new();
            if open == "{" {
                key = self.string()?;
                self.space();
                if !self.takes(":") || items.iter().any(|(other, _)| *other == key) {
                    return None;
                }
            }
            items.push((key, self.value()?));
            self.space();
            if self.takes(close) {
                self.depth -= 1;
                return Some(items);
            }
            if !self.takes(",") {
                return None;
            }
        }
    }

    fn number(&mut self) -> Option<String> {
        let length = self.text.find(|letter: char| !"+-.eE0123456789".contains(letter)).unwrap_or(self.text.len());
        let (number, rest) = self.text.split_at(length);
        self.text = rest;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (mantissa, exponent) =
            number.split_once(['e', 'E']).map_or((number, None), |(before, after)| (before, Some(after)));
        let (whole, fraction) =
            mantissa.split_once('.').map_or((mantissa, None), |(before, after)| (before, Some(after)));
        let whole = whole.strip_prefix('-').unwrap_or(whole);
        let sound = digits(whole)
            && (whole == "0" || !whole.starts_with('0'))
            && fraction.is_none_or(digits)
            && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)));
        sound.then(|| number.to_owned())
    }

    fn string(&mut self) -> Option<String> {
        if !self.takes("\"") {
            return None;
        }
        let mut units: Vec<u16> = Vec::new();
        loop {
            let letter = self.text.chars().next()?;
            self.text = &self.text[letter.len_utf8()..];
            match letter {
                '"' => return String::from_utf16(&units).ok(),
                '\\' => units.push(self.escape()?),
                letter if letter < ' ' => return None,
                letter => units.extend(letter.encode_utf16(&mut [0; 2]).iter()),
            }
        }
    }

    fn escape(&mut self) -> Option<u16> {
        let letter = self.text.chars().next()?;
        self.text = &self.text[letter.len_utf8()..];
        if letter == 'u' {
            let hex = self.text.get(..4).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
            self.text = &self.text[4..];
            return u16::from_str_radix(hex, 16).ok();
        }
        let plain = [('b', 8), ('t', 9), ('n', 10), ('f', 12), ('r', 13)];
        let own = plain.into_iter().find(|(name, _)| *name == letter).map(|(_, unit)| unit);
        own.or_else(|| "\"\\/".contains(letter).then(|| u16::try_from(u32::from(letter)).unwrap()))
    }
}

/// The segments of a JSON pointer (RFC 6901).
pub(crate) fn segments(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect()
}

/// "`*` for every element"; "With `*`, every element must yield exactly one value." Nothing for what is no text: "Strings are
/// text, integers the digits that they are written with".
pub(crate) fn values(json: &Json, pointer: &[String]) -> Vec<Option<String>> {
    let Some((first, rest)) = pointer.split_first() else { return vec![text_of(json)] };
    match json {
        Json::List(items) if first == "*" => {
            let of = |item: &Json| {
                let found = values(item, rest);
                if found.is_empty() { vec![None] } else { found }
            };
            items.iter().flat_map(of).collect()
        }
        Json::List(items) => {
            let position = (0..items.len()).find(|position| position.to_string() == *first);
            position.map(|position| values(&items[position], rest)).unwrap_or_default()
        }
        Json::Map(entries) if first != "*" => {
            let entry = entries.iter().find(|(key, _)| key == first);
            entry.map(|(_, value)| values(value, rest)).unwrap_or_default()
        }
        // What is no list has no elements, but some server may take it for one.
        _ if first == "*" => vec![None],
        _ => Vec::new(),
    }
}

fn text_of(json: &Json) -> Option<String> {
    match json {
        Json::Text(text) => Some(text.clone()),
        // `-0` and what 64 bits do not hold some servers read as an integer, and others not (RFC 8259 section 6).
        Json::Number(number) if number != "-0" => {
            let range = i128::from(i64::MIN)..=i128::from(u64::MAX);
            number.parse().is_ok_and(|number: i128| range.contains(&number)).then(|| number.clone())
        }
        _ => None,
    }
}

/// "a key that equals a named key after case folding but is not it". What reads texts only to a NUL reads shorter keys.
pub(crate) fn has_second_key(json: &Json, pointer: &[String]) -> bool {
    let Some((first, rest)) = pointer.split_first() else { return false };
    let folded = |key: &str| key.split('\0').next().unwrap().chars().map(fold_letter).collect::<String>();
    match json {
        Json::Map(entries) => entries
            .iter()
            .any(|(key, value)| if key == first { has_second_key(value, rest) } else { folded(key) == folded(first) }),
        Json::List(items) if first == "*" => items.iter().any(|item| has_second_key(item, rest)),
        Json::List(items) => items
            .iter()
            .enumerate()
            .any(|(position, item)| position.to_string() == *first && has_second_key(item, rest)),
        _ => false,
    }
}
