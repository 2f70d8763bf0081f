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

/// `quirks.charset`: what decoded path bytes may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Charset {
    /// UTF-8; anything else is 400.
    #[default]
    Utf8,
    /// Any byte is a character of ISO 8859-1.
    Latin1,
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

/// `quirks.form_parameters`: whether the server mixes query and form parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FormParameters {
    /// It may.
    #[default]
    Mixed,
    /// It never does.
    Separate,
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
