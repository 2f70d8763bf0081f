//! SOAP messages (SOAP 1.1 and 1.2): which operation one asks for. Pure.
//!
//! The reader is meant to accept less than any other: UTF-8, no document type, no processing instructions, nothing that is
//! not well-formed. What it accepts every XML reader reads alike.

mod scanner;

use scanner::{Event, Scanner, Tag};

/// The namespaces that an envelope may have: SOAP 1.1 section 1.2, SOAP 1.2 part 1 section 1.1.
const NAMESPACES: [&str; 2] = ["http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"];

/// What a message asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'m> {
    /// The local name of the only element in the body.
    pub operation: &'m str,
    /// Texts of the headers named `Action` (WS-Addressing), by which some servers choose the operation.
    pub actions: Vec<String>,
}

/// Why a text is no message that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its bytes are no UTF-8, begin with a byte order mark, or the declaration names another encoding.
    #[error("the text is not UTF-8 without a byte order mark")]
    NotUtf8,
    /// It is no well-formed XML, or of a kind that is not read.
    #[error("the text is not XML, or has a document type, processing instructions or other things that are not read")]
    Malformed,
    /// Elements inside of each other beyond 64.
    #[error("the text is nested deeper than 64 levels")]
    TooDeep,
    /// It is no envelope with a body.
    #[error("the text is no SOAP envelope with one body")]
    NoEnvelope,
    /// The body has not exactly one element.
    #[error("the body of the SOAP envelope does not hold exactly one element")]
    NotOneOperation,
}

impl Message<'_> {
    /// Whether an action's last part, behind the last `/`, `#` or `:`, is the operation. An empty action says nothing.
    pub fn agrees_with(&self, action: &str) -> bool {
        let action = action.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(action);
        action.is_empty() || last_part(action) == self.operation
    }

    /// Whether every header named `Action` asks for the operation too. WS-Addressing's default action ends in the name of
    /// the operation's input, which is the operation's own with `Request` behind it.
    pub fn agrees_with_itself(&self) -> bool {
        self.actions.iter().all(|action| {
            let last = last_part(action.trim());
            last == self.operation || last.strip_suffix("Request") == Some(self.operation)
        })
    }
}

fn last_part(action: &str) -> &str {
    action.rsplit(['/', '#', ':']).next().unwrap_or_default()
}

/// Reads a message.
///
/// # Errors
/// What is no envelope of which everybody reads the same operation.
pub fn read(message: &[u8]) -> Result<Message<'_>, Fault> {
    let text = std::str::from_utf8(message).map_err(|_| Fault::NotUtf8)?;
    if text.starts_with('\u{feff}') {
        return Err(Fault::NotUtf8);
    }
    let mut scanner = Scanner::new(text)?;
    let envelope = match scanner.next()? {
        Event::Start(tag) => tag,
        Event::End | Event::Text(_) | Event::Finish => return Err(Fault::NoEnvelope),
    };
    let scope = Scope::default().inside(&envelope)?;
    let namespace = scope.namespace(&envelope)?;
    if envelope.local != "Envelope" || !NAMESPACES.contains(&namespace) {
        return Err(Fault::NoEnvelope);
    }
    let mut reader = Reader { scanner, namespace, actions: Vec::new() };
    let operation = reader.envelope(&scope)?;
    reader.end()?;
    Ok(Message { operation, actions: reader.actions })
}

struct Reader<'m> {
    scanner: Scanner<'m>,
    namespace: &'m str,
    actions: Vec<String>,
}

impl<'m> Reader<'m> {
    /// The children of the envelope: at most one header, then one body.
    fn envelope(&mut self, scope: &Scope<'m>) -> Result<&'m str, Fault> {
        let mut child = self.child()?.ok_or(Fault::NoEnvelope)?;
        let mut inner = scope.inside(&child)?;
        if child.local == "Header" && inner.namespace(&child)? == self.namespace {
            self.header()?;
            child = self.child()?.ok_or(Fault::NoEnvelope)?;
            inner = scope.inside(&child)?;
        }
        if child.local != "Body" || inner.namespace(&child)? != self.namespace {
            return Err(Fault::NoEnvelope);
        }
        let operation = self.child()?.ok_or(Fault::NotOneOperation)?;
        // A prefix that nothing declares makes the name meaningless.
        inner.inside(&operation)?.namespace(&operation)?;
        self.skip()?;
        if self.child()?.is_some() {
            return Err(Fault::NotOneOperation);
        }
        if self.child()?.is_some() { Err(Fault::NoEnvelope) } else { Ok(operation.local) }
    }

    /// The children of the header, of which those named `Action` are kept.
    fn header(&mut self) -> Result<(), Fault> {
        while let Some(entry) = self.child()? {
            if entry.local != "Action" {
                self.skip()?;
                continue;
            }
            let mut action = String::new();
            loop {
                match self.scanner.next()? {
                    Event::Text(text) => scanner::unescape(text, &mut action)?,
                    Event::End => break,
                    Event::Start(_) | Event::Finish => return Err(Fault::Malformed),
                }
            }
            self.actions.push(action);
        }
        Ok(())
    }

    /// The next child element, after nothing but white space; `None` at the parent's end.
    fn child(&mut self) -> Result<Option<Tag<'m>>, Fault> {
        loop {
            match self.scanner.next()? {
                Event::Start(tag) => return Ok(Some(tag)),
                Event::End => return Ok(None),
                Event::Text(text) if text.is_space() => {}
                Event::Text(_) | Event::Finish => return Err(Fault::NoEnvelope),
            }
        }
    }

    /// Reads to the end of the element that has begun.
    fn skip(&mut self) -> Result<(), Fault> {
        let depth = self.scanner.depth();
        while self.scanner.depth() >= depth {
            self.scanner.next()?;
        }
        Ok(())
    }

    /// Nothing but comments and white space follows the envelope.
    fn end(&mut self) -> Result<(), Fault> {
        match self.scanner.next()? {
            Event::Finish => Ok(()),
            Event::Start(_) | Event::End | Event::Text(_) => Err(Fault::Malformed),
        }
    }
}

/// Namespaces by prefix (Namespaces in XML 1.0); the default has the prefix "".
#[derive(Debug, Clone, Default)]
struct Scope<'m>(Vec<(&'m str, &'m str)>);

impl<'m> Scope<'m> {
    /// The scope inside of an element.
    fn inside(&self, tag: &Tag<'m>) -> Result<Self, Fault> {
        let mut scope = self.clone();
        for attribute in &tag.attributes {
            let prefix = match attribute.name.strip_prefix("xmlns") {
                Some("") => "",
                Some(rest) => match rest.strip_prefix(':') {
                    Some(prefix) => prefix,
                    None => continue,
                },
                None => continue,
            };
            // A namespace with references in it, one that takes a prefix away, and the two that nobody may declare.
            if attribute.value.contains('&')
                || (attribute.value.is_empty() && !prefix.is_empty())
                || ["xml", "xmlns"].contains(&prefix)
            {
                return Err(Fault::Malformed);
            }
            scope.0.push((prefix, attribute.value));
        }
        Ok(scope)
    }

    /// The namespace of an element; "" for none.
    fn namespace(&self, tag: &Tag<'m>) -> Result<&'m str, Fault> {
        let declared = self.0.iter().rev().find(|(prefix, _)| *prefix == tag.prefix);
        match declared {
            Some((_, namespace)) => Ok(namespace),
            None if tag.prefix.is_empty() => Ok(""),
            None => Err(Fault::Malformed),
        }
    }
}

#[cfg(test)]
mod tests;
