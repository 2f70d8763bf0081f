//! The operation of a SOAP message: SOAP 1.1 section 4, SOAP 1.2 part 1 section 5, and what policy.md, "Bodies", refuses.

const SOAP: [&str; 2] = ["http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"];

/// An element with its namespace, what stands in it, and its text.
#[derive(Debug, Default)]
struct Element {
    namespace: String,
    name: String,
    children: Vec<Element>,
    text: String,
}

/// An element that is not closed so far: its tag, what stands in it, and what prefixes mean there.
type Open<'t> = (&'t str, Element, Vec<(String, String)>);

/// What comes next in a document.
enum Piece<'t> {
    Open { name: &'t str, attributes: Vec<(&'t str, &'t str)>, closed: bool },
    Close(&'t str),
    Text(&'t str),
}

/// "`{soap.operation}` (local name of the Body's first child)": "no DTD, exactly one operation, and a `SOAPAction`/`action`
/// whose last part differs from the operation: 400". Nothing for what is refused.
pub(crate) fn operation(text: &str, actions: &[String]) -> Option<String> {
    let envelope = document(text)?;
    if envelope.name != "Envelope" || !SOAP.contains(&envelope.namespace.as_str()) {
        return None;
    }
    // SOAP 1.2 part 1 section 5.1: an optional Header, then a Body, and nothing else but white space.
    let parts: Vec<_> = envelope.children.iter().map(|child| child.name.as_str()).collect();
    let sound = parts == ["Body"] || parts == ["Header", "Body"];
    if !sound || envelope.children.iter().any(|child| child.namespace != envelope.namespace) {
        return None;
    }
    let (body, header) = envelope.children.split_last()?;
    let [operation] = &body.children[..] else { return None };
    if !envelope.text.trim().is_empty() || !body.text.trim().is_empty() {
        return None;
    }
    let inside = header.iter().flat_map(|header| &header.children).filter(|child| child.name == "Action");
    let mut named = actions.iter().cloned().chain(inside.map(|action| action.text.trim().to_owned()));
    let agrees = |action: String| {
        let action = action.trim();
        let action = action.strip_prefix('"').and_then(|action| action.strip_suffix('"')).unwrap_or(action);
        action.is_empty() || action.rsplit(['/', '#', ':']).next() == Some(&operation.name)
    };
    named.all(agrees).then(|| operation.name.clone())
}

fn document(text: &str) -> Option<Element> {
    let mut rest = text;
    if rest.starts_with("<?xml ") {
        rest = rest.split_once("?>")?.1;
    }
    let mut root = Element::default();
    let mut open: Vec<Open<'_>> = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = piece(rest)?;
        rest = after;
        match piece {
            Piece::Text(text) => match open.last_mut() {
                Some((_, element, _)) => element.text += text,
                None if text.trim().is_empty() => {}
                None => return None,
            },
            Piece::Open { name, attributes, closed } => {
                if open.is_empty() && !root.name.is_empty() || open.len() >= 64 {
                    return None;
                }
                let mut scope = open.last().map(|(_, _, scope)| scope.clone()).unwrap_or_default();
                let declared = attributes.iter().filter_map(|(name, value)| {
                    let prefix = if *name == "xmlns" { "" } else { name.strip_prefix("xmlns:")? };
                    Some((prefix.to_owned(), (*value).to_owned()))
                });
                scope.extend(declared);
                let (prefix, local) = name.split_once(':').unwrap_or(("", name));
                let bound = scope.iter().rev().find(|(known, _)| known == prefix).map(|(_, bound)| bound.clone());
                let namespace = if prefix.is_empty() { bound.unwrap_or_default() } else { bound? };
                let element = Element { namespace, name: local.to_owned(), ..Element::default() };
                if closed { close(&mut open, &mut root, element) } else { open.push((name, element, scope)) }
            }
            Piece::Close(name) => {
                let (opened, element, _) = open.pop()?;
                if opened != name {
                    return None;
                }
                close(&mut open, &mut root, element);
            }
        }
    }
    (open.is_empty() && !root.name.is_empty()).then_some(root)
}

fn close(open: &mut [Open<'_>], root: &mut Element, element: Element) {
    match open.last_mut() {
        Some((_, parent, _)) => parent.children.push(element),
        None => *root = element,
    }
}

/// Comments are nothing; a document type and a processing instruction are refused, and so is whatever else begins so.
fn piece(text: &str) -> Option<(Piece<'_>, &str)> {
    let Some(tag) = text.strip_prefix('<') else {
        let (before, after) = text.split_at(text.find('<').unwrap_or(text.len()));
        return Some((Piece::Text(before), after));
    };
    if let Some(comment) = tag.strip_prefix("!--") {
        return Some((Piece::Text(""), comment.split_once("-->")?.1));
    }
    let (tag, after) = tag.split_once('>')?;
    if let Some(name) = tag.strip_prefix('/') {
        return Some((Piece::Close(name.trim_end()), after));
    }
    let (tag, closed) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
    let (name, mut rest) = tag.split_at(tag.find(char::is_whitespace).unwrap_or(tag.len()));
    if name.is_empty() || name.starts_with(['!', '?']) {
        return None;
    }
    let mut attributes: Vec<(&str, &str)> = Vec::new();
    while !rest.trim_start().is_empty() {
        let (name, value) = rest.trim_start().split_once("=\"")?;
        let (value, behind) = value.split_once('"')?;
        if attributes.iter().any(|(other, _)| *other == name) {
            return None;
        }
        attributes.push((name, value));
        rest = behind;
    }
    Some((Piece::Open { name, attributes, closed }, after))
}
