//! `params`: types of captures and request values.

use std::sync::Arc;

use crate::diagnostic::Source;
use crate::document::{Mapping, Node};
use crate::policy::template::ValueSource;
use crate::policy::value_type::ValueType;

use super::names::{Names, Use};
use super::report::{Report, at};

/// A value of the request and its type.
#[derive(Debug)]
pub(in crate::policy) struct TypedValue {
    /// Where it is.
    pub(in crate::policy) source: ValueSource,
    /// What it must look like.
    pub(in crate::policy) kind: ValueType,
}

/// Reads the types into `names`, where templates find them, and answers with what to check in every request.
pub(super) fn read(map: &Mapping, source: &Arc<Source>, names: &mut Names, report: &mut Report) -> Vec<TypedValue> {
    let mut typed = Vec::new();
    for entry in map.entries() {
        let place = at(source, entry.key.span);
        let name = entry.key.text.trim_start_matches('{').trim_end_matches('}');
        if name != entry.key.text {
            let message = format!("`{}` is written without braces here", entry.key.text);
            report.wrong(place, message, format!("write `{name}:`"));
            continue;
        }
        let value = names.source(name, Use::Effect, &place, report);
        let kind = value_type(&entry.value, source, report);
        if let (Some(value), Some(kind)) = (value, kind) {
            names.types.push((name.to_owned(), kind.clone()));
            typed.push(TypedValue { source: value, kind });
        }
    }
    typed
}

fn value_type(node: &Node, source: &Arc<Source>, report: &mut Report) -> Option<ValueType> {
    match node.text() {
        Some("uuid") => return Some(ValueType::Uuid),
        Some("int") => return Some(ValueType::Int),
        Some("slug") => return Some(ValueType::Slug),
        Some("alnum") => return expression(ValueType::alnum(), node, source, report),
        _ => {}
    }
    let map = node.map()?;
    if let Some(written) = map.get("regex") {
        return expression(ValueType::regex(written.text()?), written, source, report);
    }
    let of = Box::new(value_type(map.get("of")?, source, report)?);
    Some(ValueType::List { separator: map.text("list")?.into(), of })
}

fn expression(
    kind: Result<ValueType, regex::Error>,
    node: &Node,
    source: &Arc<Source>,
    report: &mut Report,
) -> Option<ValueType> {
    match kind {
        Ok(kind) => Some(kind),
        Err(error) => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            let message = format!("`{}` is not a regular expression: {reason}", node.text().unwrap_or_default());
            report.wrong(
                at(source, node.span),
                message,
                "the syntax is that of the Rust crate `regex`, without look-around",
            );
            None
        }
    }
}
