//! The W3C extended log format (<https://www.w3.org/TR/WD-logfile>) as IIS writes it.

use std::fmt::Write as _;

use super::Logged;

/// Positions of the fields that matter, as the last `#Fields:` said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields {
    count: usize,
    method: Option<usize>,
    stem: Option<usize>,
    query: Option<usize>,
    host: Option<usize>,
    address: Option<usize>,
    status: Option<usize>,
}

impl Fields {
    /// Reads a line; `None` for a directive.
    ///
    /// # Errors
    /// What it lacks.
    pub(super) fn read(&mut self, line: &[u8]) -> Result<Option<Logged>, &'static str> {
        let line = String::from_utf8_lossy(line);
        if let Some(directive) = line.strip_prefix('#') {
            if let Some(names) = directive.strip_prefix("Fields:") {
                *self = Self::named(names);
            }
            return Ok(None);
        }
        let (Some(method), Some(stem)) = (self.method, self.stem) else {
            return Err("no `#Fields:` with `cs-method` and `cs-uri-stem` comes before it");
        };
        let values: Vec<&str> = line.split_ascii_whitespace().collect();
        if values.len() != self.count {
            return Err("it has another number of fields than `#Fields:`");
        }
        let value = |index: Option<usize>| values.get(index?).copied().filter(|value| *value != "-");
        let (method, stem) = value(Some(method)).zip(value(Some(stem))).ok_or("it has no method or no path")?;
        let mut target = path(stem);
        if let Some(query) = value(self.query) {
            let _ = write!(target, "?{query}");
        }
        Ok(Some(Logged {
            method: method.to_owned(),
            host: value(self.host).map(str::to_owned),
            target,
            address: value(self.address).and_then(|address| address.parse().ok()),
            status: value(self.status).and_then(|status| status.parse().ok()),
        }))
    }

    fn named(names: &str) -> Self {
        let names: Vec<&str> = names.split_ascii_whitespace().collect();
        let position = |wanted: &str| names.iter().position(|name| name.eq_ignore_ascii_case(wanted));
        Self {
            count: names.len(),
            method: position("cs-method"),
            stem: position("cs-uri-stem"),
            query: position("cs-uri-query"),
            host: position("cs-host").or_else(|| position("cs(Host)")),
            address: position("c-ip"),
            status: position("sc-status"),
        }
    }
}

/// The path as a client would have to send it: the log has it decoded, with `+` for a space.
fn path(stem: &str) -> String {
    let mut path = String::with_capacity(stem.len());
    for byte in stem.bytes() {
        match byte {
            b'+' => path.push_str("%20"),
            b'%' | b'?' | b'#' | b'"' | b'<' | b'>' | b'{' | b'}' | b'|' | b'^' | b'`' | 0..=0x20 | 0x7f.. => {
                let _ = write!(path, "%{byte:02X}");
            }
            plain => path.push(char::from(plain)),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name_and_may_change_within_a_file() {
        let mut fields = Fields::default();
        assert!(fields.read(b"2026-11-21 GET /a").is_err());
        assert_eq!(fields.read(b"#Software: Microsoft Internet Information Services 10.0"), Ok(None));
        assert_eq!(fields.read(b"#Fields: date cs-method cs-uri-stem cs-uri-query c-ip sc-status cs-host"), Ok(None));
        let logged = fields.read(b"2026-11-21 GET /K\xc3\xbcche+1/100% a=b+c&d=%20 192.0.2.1 200 api.example.com");
        let logged = logged.unwrap().unwrap();
        assert_eq!(logged.target, "/K%C3%BCche%201/100%25?a=b+c&d=%20");
        assert_eq!((logged.host.as_deref(), logged.status), (Some("api.example.com"), Some(200)));
        assert_eq!(fields.read(b"#Fields: cs-uri-stem cs-method"), Ok(None));
        let logged = fields.read(b"/a POST").unwrap().unwrap();
        assert_eq!((logged.method.as_str(), logged.target.as_str(), logged.host), ("POST", "/a", None));
        assert_eq!(fields.read(b"/a"), Err("it has another number of fields than `#Fields:`"));
        assert_eq!(fields.read(b"/a -"), Err("it has no method or no path"));
    }
}
