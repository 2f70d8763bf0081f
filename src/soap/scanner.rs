//! The tokens of XML 1.0 (fifth edition), of which only those are known that a message needs.

use smallvec::SmallVec;

use super::Fault;

/// Elements inside of each other, and attributes of one of them, at most.
const MAX_DEPTH: usize = 64;
const MAX_ATTRIBUTES: usize = 100;

/// What comes next.
#[derive(Debug)]
pub(super) enum Event<'m> {
    /// An element begins.
    Start(Tag<'m>),
    /// The innermost element ends.
    End,
    /// Characters inside of an element.
    Text(Characters<'m>),
    /// The text is over, and every element with it.
    Finish,
}

/// A start tag.
#[derive(Debug)]
pub(super) struct Tag<'m> {
    /// What stands before the colon of the name; empty without one.
    pub(super) prefix: &'m str,
    /// What stands behind it.
    pub(super) local: &'m str,
    pub(super) attributes: SmallVec<[Attribute<'m>; 4]>,
}

/// An attribute as it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute<'m> {
    pub(super) name: &'m str,
    pub(super) value: &'m str,
}

/// Characters as they are written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Characters<'m> {
    /// With references to characters.
    Plain(&'m str),
    /// A CDATA section.
    Verbatim(&'m str),
}

impl Characters<'_> {
    /// Whether it is white space and nothing else.
    pub(super) fn is_space(self) -> bool {
        matches!(self, Self::Plain(text) if text.bytes().all(is_space))
    }
}

/// Reads tokens and checks that they make a well-formed document.
#[derive(Debug)]
pub(super) struct Scanner<'m> {
    rest: &'m str,
    /// Names of the elements that are open.
    open: SmallVec<[&'m str; 8]>,
    /// The last tag was `<a/>`: its end comes next.
    ends: bool,
    begun: bool,
}

impl<'m> Scanner<'m> {
    /// Begins behind the declaration, if there is one.
    ///
    /// # Errors
    /// Characters that XML does not have, and declarations of another version or encoding.
    pub(super) fn new(text: &'m str) -> Result<Self, Fault> {
        // Section 2.2: what no XML holds, wherever it stands.
        let forbidden = |character| matches!(character, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}');
        if text.contains(forbidden) {
            return Err(Fault::Malformed);
        }
        let mut scanner = Self { rest: text, open: SmallVec::new(), ends: false, begun: false };
        if text.starts_with("<?xml") {
            scanner.declaration()?;
        }
        Ok(scanner)
    }

    /// How many elements are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Result<Event<'m>, Fault> {
        if self.ends {
            self.ends = false;
            self.open.pop();
            return Ok(Event::End);
        }
        loop {
            if self.take("<!--") {
                self.comment()?;
            } else if self.take("<![CDATA[") {
                return self.verbatim();
            } else if self.take("</") {
                return self.end_tag();
            } else if self.take("<") {
                return self.start_tag();
            } else if let Some(text) = self.text()? {
                return Ok(Event::Text(Characters::Plain(text)));
            } else if self.rest.is_empty() {
                return if self.open.is_empty() && self.begun { Ok(Event::Finish) } else { Err(Fault::Malformed) };
            }
        }
    }

    /// `<?xml version="1.0" encoding="utf-8" standalone="yes"?>` (section 2.8).
    fn declaration(&mut self) -> Result<(), Fault> {
        let (inside, rest) = self.rest.split_once("?>").ok_or(Fault::Malformed)?;
        let mut inside = Self {
            rest: inside.strip_prefix("<?xml").ok_or(Fault::Malformed)?,
            open: SmallVec::new(),
            ends: false,
            begun: false,
        };
        let attributes = inside.attributes()?;
        if !inside.rest.is_empty() {
            return Err(Fault::Malformed);
        }
        let mut known = ["version", "encoding", "standalone"].into_iter();
        for attribute in &attributes {
            // In this order, each at most once.
            match known.by_ref().find(|name| *name == attribute.name) {
                Some("version") if attribute.value == "1.0" => {}
                Some("encoding") if attribute.value.eq_ignore_ascii_case("utf-8") => {}
                Some("encoding") => return Err(Fault::NotUtf8),
                Some("standalone") if ["yes", "no"].contains(&attribute.value) => {}
                _ => return Err(Fault::Malformed),
            }
        }
        if attributes.first().is_none_or(|first| first.name != "version") {
            return Err(Fault::Malformed);
        }
        self.rest = rest;
        Ok(())
    }

    /// Section 2.5: no `--` inside.
    fn comment(&mut self) -> Result<(), Fault> {
        let (_, rest) = self.rest.split_once("--").ok_or(Fault::Malformed)?;
        self.rest = rest.strip_prefix('>').ok_or(Fault::Malformed)?;
        Ok(())
    }

    fn verbatim(&mut self) -> Result<Event<'m>, Fault> {
        if self.open.is_empty() {
            return Err(Fault::Malformed);
        }
        let (text, rest) = self.rest.split_once("]]>").ok_or(Fault::Malformed)?;
        self.rest = rest;
        Ok(Event::Text(Characters::Verbatim(text)))
    }

    /// Characters to the next `<`; outside of every element only white space, which is no token.
    fn text(&mut self) -> Result<Option<&'m str>, Fault> {
        let (text, rest) = match self.rest.find('<') {
            Some(at) => self.rest.split_at_checked(at).ok_or(Fault::Malformed)?,
            None => (self.rest, ""),
        };
        self.rest = rest;
        if self.open.is_empty() {
            return if text.bytes().all(is_space) { Ok(None) } else { Err(Fault::Malformed) };
        }
        if text.contains("]]>") {
            return Err(Fault::Malformed);
        }
        references(text, |_| ())?;
        Ok((!text.is_empty()).then_some(text))
    }

    fn end_tag(&mut self) -> Result<Event<'m>, Fault> {
        let name = self.name()?;
        self.skip_space();
        if !self.take(">") || self.open.pop() != Some(name) {
            return Err(Fault::Malformed);
        }
        Ok(Event::End)
    }

    fn start_tag(&mut self) -> Result<Event<'m>, Fault> {
        if self.open.is_empty() && self.begun {
            return Err(Fault::Malformed);
        }
        if self.open.len() == MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        let name = self.name()?;
        let (prefix, local) = qualified(name)?;
        let attributes = self.attributes()?;
        self.ends = self.take("/");
        if !self.take(">") {
            return Err(Fault::Malformed);
        }
        self.begun = true;
        self.open.push(name);
        Ok(Event::Start(Tag { prefix, local, attributes }))
    }

    /// Attributes (section 3.1): each after white space, each name once.
    fn attributes(&mut self) -> Result<SmallVec<[Attribute<'m>; 4]>, Fault> {
        let mut attributes: SmallVec<[Attribute<'m>; 4]> = SmallVec::new();
        while self.skip_space() && !self.rest.is_empty() && !self.rest.starts_with(['/', '>']) {
            let name = self.name()?;
            qualified(name)?;
            self.skip_space();
            if !self.take("=") {
                return Err(Fault::Malformed);
            }
            self.skip_space();
            let quote = if self.take("\"") { '"' } else { '\'' };
            if quote == '\'' && !self.take("'") {
                return Err(Fault::Malformed);
            }
            let (value, rest) = self.rest.split_once(quote).ok_or(Fault::Malformed)?;
            self.rest = rest;
            references(value, |_| ())?;
            let twice = attributes.iter().any(|other| other.name == name);
            if twice || value.contains('<') || attributes.len() == MAX_ATTRIBUTES {
                return Err(Fault::Malformed);
            }
            attributes.push(Attribute { name, value });
        }
        Ok(attributes)
    }

    /// A name (section 2.3).
    fn name(&mut self) -> Result<&'m str, Fault> {
        let end = self.rest.find(|character| !is_name(character)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at_checked(end).ok_or(Fault::Malformed)?;
        if !name.starts_with(is_name_start) {
            return Err(Fault::Malformed);
        }
        self.rest = rest;
        Ok(name)
    }

    fn take(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Whether there was any.
    fn skip_space(&mut self) -> bool {
        let rest = self.rest.trim_start_matches(|character: char| character.is_ascii() && is_space(character as u8));
        let skipped = rest.len() < self.rest.len();
        self.rest = rest;
        skipped
    }
}

/// Prefix and local name (Namespaces in XML 1.0 section 4): at most one colon, and a name on either side.
fn qualified(name: &str) -> Result<(&str, &str), Fault> {
    match name.split_once(':') {
        None => Ok(("", name)),
        Some((prefix, local)) => {
            let plain =
                |part: &str| part.starts_with(|first| is_name_start(first) && first != ':') && !part.contains(':');
            if plain(prefix) && plain(local) { Ok((prefix, local)) } else { Err(Fault::Malformed) }
        }
    }
}

/// Writes what characters stand for.
pub(super) fn unescape(characters: Characters<'_>, out: &mut String) -> Result<(), Fault> {
    match characters {
        Characters::Verbatim(text) => out.push_str(text),
        Characters::Plain(text) => {
            let mut rest = text;
            let mut found = Vec::new();
            references(text, |character| found.push(character))?;
            for character in found {
                let (before, behind) = rest.split_once('&').ok_or(Fault::Malformed)?;
                out.push_str(before);
                out.push(character);
                rest = behind.split_once(';').map_or("", |(_, after)| after);
            }
            out.push_str(rest);
        }
    }
    Ok(())
}

/// The characters that references stand for (section 4.1): the five of XML and those by number.
fn references(text: &str, mut found: impl FnMut(char)) -> Result<(), Fault> {
    for behind in text.split('&').skip(1) {
        let (name, _) = behind.split_once(';').ok_or(Fault::Malformed)?;
        let character = match name {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = name.strip_prefix('#').ok_or(Fault::Malformed)?;
                let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |digits| (digits, 16));
                if !digits.chars().all(|digit| digit.is_digit(radix)) {
                    return Err(Fault::Malformed);
                }
                let code = u32::from_str_radix(digits, radix).map_err(|_| Fault::Malformed)?;
                let valid = matches!(code, 0x9 | 0xa | 0xd | 0x20..=0xd7ff | 0xe000..=0xfffd | 0x1_0000..=0x10_ffff);
                char::from_u32(code).filter(|_| valid).ok_or(Fault::Malformed)?
            }
        };
        found(character);
    }
    Ok(())
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_name_start(character: char) -> bool {
    matches!(character,
        ':' | '_' | 'A'..='Z' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}'
        | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}

fn is_name(character: char) -> bool {
    is_name_start(character)
        || matches!(character, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}
