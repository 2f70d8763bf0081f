//! How the server behind the gateway reads requests (http.md, "Second readings").

/// Whether a server reads paths in one particular way of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reading {
    /// Nobody said: the request must mean the same route either way.
    #[default]
    Unknown,
    /// It does not: not checked.
    Never,
    /// It does: the match itself is made on that reading.
    Always,
}

impl Reading {
    /// Its word in `quirks`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Never => "never",
            Self::Always => "always",
        }
    }
}

/// `quirks.empty_segments`: what is done with runs of `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EmptySegments {
    /// Merged into one.
    #[default]
    Merge,
    /// Kept as they are.
    Keep,
    /// 400.
    Refuse,
}

impl EmptySegments {
    /// Its word in `quirks`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::Keep => "keep",
            Self::Refuse => "refuse",
        }
    }
}

/// `quirks.charset`: what decoded path bytes may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Charset {
    /// UTF-8; anything else is 400.
    #[default]
    Utf8,
    /// Any byte is a character of ISO 8859-1.
    Latin1,
}

impl Charset {
    /// Its word in `quirks`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "utf8",
            Self::Latin1 => "latin1",
        }
    }
}

/// `quirks.method_override`: what the server makes of `X-HTTP-Method-Override` and its kin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MethodOverride {
    /// Nobody said: another value than the method is 400.
    #[default]
    Unknown,
    /// It knows none of them: passed on.
    Ignore,
    /// It obeys: policy is asked about the overriding method.
    Honour,
}

impl MethodOverride {
    /// Its word in `quirks`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ignore => "ignore",
            Self::Honour => "honour",
        }
    }
}

/// `quirks.form_parameters`: whether the server mixes query and form parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FormParameters {
    /// It may.
    #[default]
    Mixed,
    /// It never does.
    Separate,
}

impl FormParameters {
    /// Its word in `quirks`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Separate => "separate",
        }
    }
}

/// Everything an upstream's `quirks` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Quirks {
    /// (1) Letters are folded.
    pub case: Reading,
    /// (2) `;` and the rest of the segment are dropped.
    pub path_parameters: Reading,
    /// (3) Trailing dots and spaces of a segment are dropped.
    pub trailing_dot: Reading,
    /// (4) One trailing slash is ignored.
    pub trailing_slash: Reading,
    /// (5) `%2F` and `%5C` are `/`.
    pub encoded_slash: Reading,
    /// (6) Percent-decoded once more.
    pub double_decoding: Reading,
    /// Runs of `/`.
    pub empty_segments: EmptySegments,
    /// Bytes of decoded segments.
    pub charset: Charset,
    /// Method override headers.
    pub method_override: MethodOverride,
    /// Query and form parameters.
    pub form_parameters: FormParameters,
}

impl Quirks {
    /// What is said of one of the six path readings.
    pub fn reading(&self, kind: ReadingKind) -> Reading {
        match kind {
            ReadingKind::Case => self.case,
            ReadingKind::PathParameters => self.path_parameters,
            ReadingKind::TrailingDot => self.trailing_dot,
            ReadingKind::TrailingSlash => self.trailing_slash,
            ReadingKind::EncodedSlash => self.encoded_slash,
            ReadingKind::DoubleDecoding => self.double_decoding,
        }
    }
}

/// The six ways in which servers read a path differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReadingKind {
    /// (1) Letters are folded.
    Case,
    /// (2) `;` or `%3B` and the rest of the segment are dropped.
    PathParameters,
    /// (3) Trailing dots and spaces of a segment are dropped.
    TrailingDot,
    /// (4) One trailing slash is ignored.
    TrailingSlash,
    /// (5) `%2F` and `%5C` are `/`.
    EncodedSlash,
    /// (6) Percent-decoded once more.
    DoubleDecoding,
}

impl ReadingKind {
    /// All six, in the order of http.md.
    pub const ALL: [Self; 6] = [
        Self::Case,
        Self::PathParameters,
        Self::TrailingDot,
        Self::TrailingSlash,
        Self::EncodedSlash,
        Self::DoubleDecoding,
    ];

    /// Its key under `quirks`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Case => "case",
            Self::PathParameters => "path_parameters",
            Self::TrailingDot => "trailing_dot",
            Self::TrailingSlash => "trailing_slash",
            Self::EncodedSlash => "encoded_slash",
            Self::DoubleDecoding => "double_decoding",
        }
    }
}

/// `quirks.server`: a server whose ways are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Server {
    /// Microsoft IIS with ASP.NET.
    Iis,
    /// Apache Tomcat and what embeds it.
    Tomcat,
    /// PHP under Apache or php-fpm.
    Php,
    /// Python under a WSGI server.
    Wsgi,
    /// Node.js.
    Node,
    /// Go's `net/http`.
    Go,
}

impl Server {
    /// All of them by name.
    pub const ALL: [(&'static str, Self); 6] = [
        ("iis", Self::Iis),
        ("tomcat", Self::Tomcat),
        ("php", Self::Php),
        ("wsgi", Self::Wsgi),
        ("node", Self::Node),
        ("go", Self::Go),
    ];

    /// The server of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, server)| server)
    }

    /// What is certain of it; everything else stays `unknown` and is checked. `never` is said only where neither the server
    /// nor a framework in wide use on it reads paths so, `always` only where the server itself does before any application.
    pub const fn quirks(self) -> Quirks {
        let mut quirks = Quirks::UNKNOWN;
        match self {
            // ASP.NET and ASP.NET Core compare route literals without case (learn.microsoft.com, "Routing in ASP.NET Core":
            // "matching is case-insensitive"), and so do NTFS and IIS's own location paths. `;` stays unknown because of
            // IIS 6's handling of `a.asp;.jpg` (CVE-2009-4444); a trailing dot because Win32 drops it from file names;
            // `%2F` and double decoding because http.sys and request filtering (`allowDoubleEscaping`) can be set either way.
            Self::Iis => quirks.case = Reading::Always,
            // `CoyoteAdapter.parsePathParameters` removes `;` and what follows from every segment before the request is
            // mapped (Servlet 6.0 section 3.5). `%2F` depends on `encodedSolidusHandling`, the trailing slash and case on
            // the framework (Spring's `PathPatternParser`).
            Self::Tomcat => quirks.path_parameters = Reading::Always,
            // PATH_INFO is what RFC 3875 section 4.1.5 says: percent-decoded by the server, so `%2F` is a slash there, while
            // frameworks that read REQUEST_URI or RAW_URI keep it: unknown. Zope and old WebOb applications give `;` a
            // meaning: unknown.
            //
            // Node: Fastify up to version 4 splits the query at `;` (`useSemicolonDelimiter`), Express folds case and
            // ignores a trailing slash unless told otherwise, and `express.static` decodes `%2F`: all unknown.
            Self::Wsgi | Self::Node => {}
            // Neither Apache, nginx nor the SAPIs give `;` in a path a meaning, and routers of frameworks compare it as it
            // is. Case and trailing dots depend on the file system, `%2F` on `AllowEncodedSlashes` and on whether
            // PATH_INFO or REQUEST_URI is read.
            //
            // Go: `net/http`, chi, gorilla/mux, gin, echo and fasthttp leave `;` in paths alone. Fiber folds case and
            // ignores a trailing slash by default, and whether `%2F` is a slash depends on who reads `URL.Path` and who
            // `RawPath`.
            Self::Php | Self::Go => quirks.path_parameters = Reading::Never,
        }
        quirks
    }
}

impl Quirks {
    /// Nothing is known of the server: the default.
    pub const UNKNOWN: Self = Self {
        case: Reading::Unknown,
        path_parameters: Reading::Unknown,
        trailing_dot: Reading::Unknown,
        trailing_slash: Reading::Unknown,
        encoded_slash: Reading::Unknown,
        double_decoding: Reading::Unknown,
        empty_segments: EmptySegments::Merge,
        charset: Charset::Utf8,
        method_override: MethodOverride::Unknown,
        form_parameters: FormParameters::Mixed,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_knows_nothing() {
        assert_eq!(Quirks::default(), Quirks::UNKNOWN);
        assert!(ReadingKind::ALL.iter().all(|kind| Quirks::default().reading(*kind) == Reading::Unknown));
    }

    #[test]
    fn every_preset_is_found_by_its_name() {
        for (name, server) in Server::ALL {
            assert_eq!(Server::named(name), Some(server));
        }
        assert_eq!(Server::named("nginx"), None);
        assert_eq!(Server::Iis.quirks().case, Reading::Always);
        assert_eq!(Server::Tomcat.quirks().path_parameters, Reading::Always);
        assert_eq!(Server::Go.quirks().path_parameters, Reading::Never);
    }
}
