//! Texts as a request can hold them.

use crate::target::canonical::{KEPT_BACKSLASH, KEPT_SEMICOLON, KEPT_SLASH};

/// The same letters in the other case.
pub(super) fn turned(text: &str) -> String {
    if text.contains(|letter: char| letter.is_ascii_lowercase()) {
        text.to_ascii_uppercase()
    } else {
        text.to_ascii_lowercase()
    }
}

/// Other spellings of a segment that some servers read as this one.
pub(super) fn spellings(text: &str) -> impl Iterator<Item = String> + use<> {
    let mut letters = text.chars();
    let twice = letters.next().map(|first| {
        let mut bytes = [0; 4];
        let escaped: Vec<String> = first.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("{}{}", escaped.concat(), letters.as_str())
    });
    let forms = [
        turned(text),
        format!("{text};1"),
        format!("{text}."),
        format!("{text}{KEPT_SLASH}"),
        format!("{KEPT_SLASH}{text}"),
    ];
    let own = text.to_owned();
    forms.into_iter().chain(twice).filter(move |spelt| *spelt != own && !own.is_empty())
}

/// Text that shows escapes, with the characters that stand for them.
pub(super) fn keeping(text: &str) -> String {
    [("%2F", KEPT_SLASH), ("%5C", KEPT_BACKSLASH), ("%3B", KEPT_SEMICOLON)]
        .into_iter()
        .fold(text.to_owned(), |text, (escape, kept)| text.replace(escape, &kept.to_string()))
}

/// Whether the text can be a label of a host name, or the name of an element.
pub(super) fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() < 64
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Whether the text can be several segments of a path.
pub(super) fn is_path(text: &str) -> bool {
    !text.starts_with('/')
        && !text.contains("//")
        && !text.contains(char::is_control)
        && !text.split('/').any(|segment| segment == "." || segment == "..")
}

/// A name or value as a query can hold it.
pub(super) fn component(text: &str) -> String {
    let write = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(write).collect()
}
