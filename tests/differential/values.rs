//! policy.md, "Templates and request values": what templates find in a request, and which requests are refused because
//! servers would not all find the same.

use serde_json::{Map, Value};

use super::fold_letter;
use super::paths::Captured;
use super::reference::{self, Body, has_second_key, segments};

/// Where a route's templates look.
#[derive(Clone, Copy)]
pub(crate) struct Values<'v> {
    pub(crate) captures: &'v [Captured],
    /// The host's capture.
    pub(crate) host: Option<(&'v str, &'v str)>,
    pub(crate) query: Option<&'v str>,
    pub(crate) headers: &'v [(String, Vec<u8>)],
    /// `params` of the route.
    pub(crate) params: Option<&'v Map<String, Value>>,
    pub(crate) body: &'v Body,
}

/// The values of one template.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// `None` for what is no text.
    pub(crate) texts: Vec<Option<String>>,
    /// Some server reads another value.
    pub(crate) wavers: bool,
    /// In more than the case of letters.
    pub(crate) is_doubtful: bool,
}

impl Values<'_> {
    /// The values of a template, the items of lists one by one.
    pub(crate) fn of(&self, name: &str) -> Found {
        let whole = self.whole(name);
        let Some(separator) = self.type_of(name).and_then(|kind| kind.get("list")?.as_str()) else { return whole };
        let split = |text: Option<String>| -> Vec<Option<String>> {
            text.map_or_else(|| vec![None], |text| text.split(separator).map(|item| Some(item.to_owned())).collect())
        };
        Found { texts: whole.texts.into_iter().flat_map(split).collect(), ..whole }
    }

    /// The values as the request has them.
    pub(crate) fn whole(&self, name: &str) -> Found {
        if let Some((parameter, pointer)) = name.strip_prefix("query.").and_then(|name| name.split_once('#')) {
            let whole = self.whole(&format!("query.{parameter}"));
            let inside = |text: Option<String>| match text.as_deref().and_then(reference::parse) {
                Some(json) => reference::values(&json, &segments(pointer)),
                None => vec![None],
            };
            return Found { texts: whole.texts.into_iter().flat_map(inside).collect(), ..whole };
        }
        match (self.body, name.split_once('.')) {
            (Body::Json(json), Some(("body", pointer))) => {
                return Found { texts: reference::values(json, &segments(pointer)), ..Found::default() };
            }
            (Body::Form(form), Some(("form", parameter))) => return parameters(Some(form), parameter),
            (Body::Operation(operation), Some(("soap", _))) => {
                return Found { texts: vec![Some(operation.clone())], ..Found::default() };
            }
            (_, Some(("body" | "form" | "soap", _))) => return Found::default(),
            _ => {}
        }
        if let Some(parameter) = name.strip_prefix("query.") {
            return parameters(self.query, parameter);
        }
        if let Some(header) = name.strip_prefix("header.") {
            let own = self.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(header));
            return Found {
                texts: own.map(|(_, value)| String::from_utf8(value.clone()).ok()).collect(),
                ..Found::default()
            };
        }
        if let Some(captured) = self.captures.iter().find(|captured| captured.name == name) {
            return Found {
                texts: captured.text.iter().cloned().map(Some).collect(),
                wavers: captured.wavers,
                is_doubtful: captured.is_doubtful,
            };
        }
        let host = self.host.filter(|(known, _)| *known == name);
        Found { texts: host.map(|(_, label)| Some(label.to_owned())).into_iter().collect(), ..Found::default() }
    }

    /// JSON inside of parameters is JSON with one meaning.
    pub(crate) fn is_readable(&self, names: &[String]) -> bool {
        let inside = names.iter().filter_map(|name| name.strip_prefix("query.")?.split_once('#'));
        inside.into_iter().all(|(parameter, pointer)| {
            self.whole(&format!("query.{parameter}")).texts.iter().all(|text| {
                let json = text.as_deref().and_then(reference::parse);
                json.is_some_and(|json| !has_second_key(&json, &segments(pointer)))
            })
        })
    }

    fn type_of(&self, name: &str) -> Option<&Value> {
        let same = |known: &str| known == name || known.starts_with("header.") && known.eq_ignore_ascii_case(name);
        self.params?.iter().find(|(known, _)| same(known)).map(|(_, kind)| kind)
    }

    /// "A value that does not fit: 404 for a capture, 400 for another" - the other ones.
    pub(crate) fn fit(&self, which: &dyn Fn(&str) -> bool) -> bool {
        let others = self.params.into_iter().flatten().filter(|(name, _)| name.contains('.') && which(name));
        others.into_iter().all(|(name, kind)| {
            self.whole(name).texts.iter().all(|text| text.as_deref().is_some_and(|text| fits(kind, text)))
        })
    }
}

/// The values of a parameter.
fn parameters(query: Option<&str>, name: &str) -> Found {
    let own = pieces(query).filter(|piece| piece.after == '&' && piece.decoded_name() == name.as_bytes());
    own.fold(Found::default(), |mut found, piece| {
        found.texts.push(String::from_utf8(decoded(piece.value)).ok());
        found.wavers |= piece.value.contains(';');
        found.is_doubtful |= piece.value.contains(';');
        found
    })
}

/// A query whose bound names have no character encoded that nobody has to encode: nginx would not find them.
pub(crate) fn spelt_plainly(query: &str, bound: &[String]) -> String {
    let spelt = query.split('&').map(|piece| {
        let (name, value) = piece.split_at(piece.find('=').unwrap_or(piece.len()));
        let is_bound = bound.iter().any(|bound| bound.as_bytes() == decoded(name));
        if is_bound {
            needless().fold(name.to_owned(), |name, plain| undone(&name, plain)) + value
        } else {
            piece.to_owned()
        }
    });
    spelt.collect::<Vec<_>>().join("&")
}

/// Characters that nobody has to encode.
fn needless() -> impl Iterator<Item = char> {
    ('a'..='z').chain('A'..='Z').chain('0'..='9').chain("-._".chars())
}

/// A name with one character as it is, in whichever case its digits are written.
fn undone(name: &str, plain: char) -> String {
    let code = u32::from(plain);
    let [upper, lower] = [format!("%{code:02X}"), format!("%{code:02x}")];
    name.replace(&upper, &plain.to_string()).replace(&lower, &plain.to_string())
}

/// Whether a text has the type.
pub(crate) fn fits(kind: &Value, text: &str) -> bool {
    let of_only = |allowed: &dyn Fn(char) -> bool| !text.is_empty() && text.chars().all(allowed);
    match kind.as_str() {
        Some("uuid") => {
            let groups: Vec<_> = text.split('-').collect();
            let lengths: Vec<_> = groups.iter().map(|group| group.len()).collect();
            lengths == [8, 4, 4, 4, 12] && groups.concat().chars().all(|digit| digit.is_ascii_hexdigit())
        }
        Some("int") => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let plain = !digits.is_empty() && digits.len() <= 19 && digits.bytes().all(|digit| digit.is_ascii_digit());
            text == "0" || plain && !digits.starts_with('0')
        }
        Some("alnum") => of_only(&char::is_alphanumeric),
        Some("slug") => {
            of_only(&|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-')
                && text.split('-').all(|word| !word.is_empty())
        }
        Some(other) => panic!("no type `{other}`"),
        None => match (kind.get("regex"), kind.get("list")) {
            // The one expression that is used.
            (Some(_), _) => of_only(&|letter| letter == 'a' || letter == 'b'),
            (_, Some(separator)) => text.split(separator.as_str().unwrap()).all(|item| fits(&kind["of"], item)),
            _ => panic!("no type"),
        },
    }
}

/// What stands between separators of a query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'q> {
    /// `&` for the first one, too.
    pub(crate) after: char,
    pub(crate) name: &'q str,
    pub(crate) value: &'q str,
}

impl Piece<'_> {
    /// "after one percent-decoding": `+` is a space.
    pub(crate) fn decoded_name(&self) -> Vec<u8> {
        decoded(self.name)
    }
}

/// "names are looked for after every `&` and after every `;`". What follows an `&` reaches to the next one.
pub(crate) fn pieces(query: Option<&str>) -> impl Iterator<Item = Piece<'_>> {
    fn piece(text: &str, after: char) -> Piece<'_> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        Piece { after, name, value }
    }
    query.into_iter().flat_map(|query| query.split('&')).flat_map(|whole| {
        let inside = whole.split(';').skip(1).map(|text| piece(text, ';'));
        std::iter::once(piece(whole, '&')).chain(inside)
    })
}

/// Percent-decoded with `+` as space. What is no percent-encoding stays.
pub(crate) fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) if *high != b'+' && hex(&[*high, *low]).is_some() => {
                bytes.push(hex(&[*high, *low]).unwrap());
                rest = after;
            }
            (other, _) => bytes.push(*other),
        }
    }
    bytes
}

/// `fold(name)` of policy.md.
pub(crate) fn fold(name: &str) -> String {
    fold_text(&String::from_utf8_lossy(&decoded(name)))
}

/// The same of a name that is decoded already.
pub(crate) fn fold_text(name: &str) -> String {
    let mut name = name.split('\0').next().unwrap().to_owned();
    if let Some(open) = name.find('[')
        && name[open..].contains(']')
    {
        name.truncate(open);
    }
    fold_letters(&name)
}

fn fold_letters(name: &str) -> String {
    let letter = |letter| if " .+[".contains(letter) { '_' } else { fold_letter(letter) };
    name.trim().chars().map(letter).collect()
}

/// Whether some server reads a name as one that is bound: folded, or without any bracket before it and what follows one.
pub(crate) fn reads_as(name: &str, bound: &str) -> bool {
    let text = String::from_utf8_lossy(&decoded(name)).into_owned();
    let text = text.split('\0').next().unwrap().trim();
    let inner = text.split(['[', ']']).find(|piece| !piece.is_empty()).unwrap_or_default();
    let bound = fold_text(bound);
    fold(name) == bound || text.contains(['[', ']']) && fold_letters(inner) == bound
}

/// Whether a query is refused because of the parameters that a route binds.
pub(crate) fn ambiguous_query(query: Option<&str>, bound: &[String]) -> bool {
    let Some(query) = query.filter(|_| !bound.is_empty()) else { return false };
    // "an invalid percent-encoding (`%u` too) or NUL in the query is 400"
    let mut escapes = query.split('%').skip(1);
    if escapes.any(|after| !after.get(..2).is_some_and(|hex| hex.bytes().all(|d| d.is_ascii_hexdigit()) && hex != "00"))
    {
        return true;
    }
    // Servers leave out what follows some number of parameters.
    if query.split(['&', ';']).count() > 500 {
        return true;
    }
    pieces(Some(query)).any(|piece| {
        bound.iter().any(|bound| {
            // A server that splits at `;` finds the name before it.
            let cut = piece.after == '&' && piece.name.split_once(';').is_some_and(|(head, _)| reads_as(head, bound));
            let like = reads_as(piece.name, bound);
            let exact = piece.decoded_name() == bound.as_bytes();
            let after_semicolon = like && piece.after == ';';
            let no_text = exact && String::from_utf8(decoded(piece.value)).is_err();
            cut || after_semicolon || like && !exact || no_text
        })
    })
}

/// A header's name *folded*: http.md, "HTTP hygiene".
pub(crate) fn fold_header(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' }).collect()
}

/// Whether a request is refused because of the headers that a route binds.
pub(crate) fn ambiguous_headers(headers: &[(String, Vec<u8>)], bound: &[String]) -> bool {
    let options: Vec<String> = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("connection"))
        .flat_map(|(_, value)| value.split(|byte| *byte == b','))
        .map(|option| fold_header(String::from_utf8_lossy(option).trim()))
        .collect();
    bound.iter().any(|bound| {
        let folded = fold_header(bound);
        let like = |name: &String| fold_header(name) == folded && !name.eq_ignore_ascii_case(bound);
        headers.iter().any(|(name, _)| like(name)) || options.contains(&folded)
    })
}
