//! `narrow`: from what is written to narrowings.

use std::sync::Arc;

use crate::diagnostic::Source;
use crate::document::{Entry, Mapping};
use crate::policy::condition::{Condition, Test};
use crate::policy::narrow::{Narrowing, Owned, Style};
use crate::policy::template::ValueSource;
use crate::policy::value_type::ValueType;

use super::names::{Names, Use};
use super::report::{Report, at};

/// The conditions of a route's `narrow`. What is wrong was reported and is left out.
pub(super) fn read(
    map: &Mapping,
    token: bool,
    source: &Arc<Source>,
    names: &mut Names,
    report: &mut Report,
) -> Vec<Condition> {
    map.entries().filter_map(|entry| one(entry, token, source, names, report)).collect()
}

fn one(entry: &Entry, token: bool, source: &Arc<Source>, names: &mut Names, report: &mut Report) -> Option<Condition> {
    let place = at(source, entry.key.span);
    let written = entry.key.text.as_str();
    if !token {
        let message = "`narrow` keeps to values of the token, but this route reads none";
        report.wrong(place, message, "remove it, or let the route read a token");
        return None;
    }
    if !written.starts_with("query.") || written.contains('#') {
        let message = format!("`{written}` is no query parameter");
        report.wrong(place, message, "`narrow` keeps query parameters: write `query.NAME`");
        return None;
    }
    let value = names.source(written, Use::Condition, &place, report)?;
    let ValueSource::Query { index, name } = value else { return None };
    let map = entry.value.map();
    let to = match map.and_then(|map| map.text("to")).or_else(|| entry.value.text())? {
        "organizations" => Owned::Organizations,
        "subject" => Owned::Subject,
        "client" => Owned::Client,
        "permissions" => Owned::Permissions,
        _ => return None,
    };
    let style = match map.and_then(|map| map.text("style")) {
        Some("comma") => Style::Comma,
        Some("json") => Style::Json,
        _ => Style::Repeat,
    };
    if let Some((says, help)) = names.type_of(written).and_then(|kind| contradiction(kind, style)) {
        report.wrong(place, format!("{says}, but `params` gives `{written}` another type"), help);
        return None;
    }
    Some(Condition { test: Test::Narrow(Narrowing { name, index, to, style }), place, lift: None })
}

/// What a style and a type say differently about one parameter, and what to write instead. Requests could not satisfy
/// both, or servers would read other values than are compared.
fn contradiction(kind: &ValueType, style: Style) -> Option<(&'static str, &'static str)> {
    match (style, kind.separator(), kind) {
        (Style::Json, None, ValueType::Regex { .. })
        | (Style::Comma, Some(","), _)
        | (Style::Comma, None, ValueType::Regex { .. })
        | (Style::Repeat, None, _) => None,
        (Style::Json, ..) => Some(("the value is a JSON array", "remove the type")),
        (Style::Comma, ..) => {
            Some(("values stand between commas in one parameter", "write `{list: \",\", of: ...}` as its type"))
        }
        (Style::Repeat, Some(","), _) => Some(("every value is a parameter of its own", "write `style: comma`")),
        (Style::Repeat, Some(_), _) => Some(("every value is a parameter of its own", "give it the type of one value")),
    }
}
