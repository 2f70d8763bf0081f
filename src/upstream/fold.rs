//! Header names as servers behind CGI, WSGI or PHP see them (http.md, "HTTP hygiene"): without case, and every
//! character that is not a letter or digit read as `-`.

fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

/// A name in its folded form.
pub(super) fn folded(name: &str) -> String {
    name.bytes().map(|byte| char::from(fold(byte))).collect()
}

/// Whether `name` folds to `folded`.
pub(super) fn same(name: &str, folded: &str) -> bool {
    name.len() == folded.len() && name.bytes().map(fold).eq(folded.bytes())
}

/// Whether `name`, folded, begins with `prefix`, which is folded already.
pub(super) fn begins(name: &str, prefix: &str) -> bool {
    name.len() >= prefix.len() && name.bytes().map(fold).zip(prefix.bytes()).all(|(left, right)| left == right)
}

/// Whether `name` is spelt the plain way: case aside it is its own folded form.
pub(super) fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
