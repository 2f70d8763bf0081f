//! What a decision can depend on: each thing that conditions, types and effects read of a request or its caller is an
//! axis, and the values that have to be told apart on it are its marks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::{HeaderName, HeaderValue};

use crate::policy::condition::CertificateName;
use crate::principal::{ClaimPath, Flow};

/// One thing that a decision can depend on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Axis {
    /// The label that a host pattern leaves open.
    Label,
    /// A segment of the path that some pattern leaves open.
    Segment(usize),
    /// The segments that a capture of the rest takes, beyond those with a number.
    Tail,
    /// Every value of a query parameter.
    Query(Box<str>),
    /// Every field of a header.
    Header(Box<str>),
    /// Every value of a parameter of a urlencoded body.
    Form(Box<str>),
    /// What a JSON body has at a pointer.
    Body(Box<str>),
    /// The operation of a SOAP message.
    Operation,
    /// The token's issuer, or that there is no token.
    Issuer,
    /// How the token came to be.
    Flow,
    /// `global`.
    Global,
    /// The subject.
    Subject,
    /// The client.
    Client,
    /// `acr`.
    Acr,
    /// The age of `auth_time`.
    Age,
    /// Whether this scope is granted; the empty name stands for one that no policy names.
    Scope(Box<str>),
    /// Whether permissions are known.
    Permissions,
    /// Whether this permission is held.
    Permission(Box<str>),
    /// Whether organisations are known.
    Organizations,
    /// Whether this is one of the organisations.
    Organization(Box<str>),
    /// A claim.
    Claim(ClaimPath),
    /// The client address.
    Address,
    /// Whether a client certificate is shown.
    Certificate,
    /// The certificate's names of a kind.
    Names(Kind),
}

/// A kind of name in a certificate, in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// DNS names.
    Dns,
    /// URIs.
    Uri,
    /// Mail addresses.
    Email,
    /// The subject.
    Subject,
}

impl From<CertificateName> for Kind {
    fn from(name: CertificateName) -> Self {
        match name {
            CertificateName::Dns => Self::Dns,
            CertificateName::Uri => Self::Uri,
            CertificateName::Email => Self::Email,
            CertificateName::Subject => Self::Subject,
        }
    }
}

/// A value on an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Mark {
    /// A position in the list of issuers, or nobody.
    Issuer(Option<usize>),
    /// A flow.
    Flow(Flow),
    /// Something that the token may leave out.
    Global(Option<bool>),
    /// Text, or none. On the axes of a path: decoded, with the characters that stand for kept escapes.
    Text(Option<String>),
    /// Seconds since `auth_time`.
    Age(Option<i64>),
    /// There, or not.
    Flag(bool),
    /// A claim's value.
    Json(Option<serde_json::Value>),
    /// An address.
    Address(Option<IpAddr>),
    /// Names of a certificate.
    Names(Vec<String>),
    /// Pieces of a query as they are sent.
    Query(Vec<String>),
    /// Header fields as they are sent.
    Fields(Vec<(HeaderName, HeaderValue)>),
}

impl Axis {
    /// Whether it is a part of the path or host, which routing reads.
    pub(super) fn is_routed(&self) -> bool {
        matches!(self, Self::Label | Self::Segment(_) | Self::Tail)
    }

    /// Whether it is a part of the request itself.
    pub(super) fn is_request(&self) -> bool {
        self.is_routed() || matches!(self, Self::Query(_) | Self::Header(_)) || self.is_body()
    }

    /// Whether it is a part of the body.
    pub(super) fn is_body(&self) -> bool {
        matches!(self, Self::Form(_) | Self::Body(_) | Self::Operation)
    }

    /// Whether it is a part of the token.
    pub(super) fn is_token(&self) -> bool {
        !self.is_request() && !matches!(self, Self::Address | Self::Certificate | Self::Names(_))
    }
}

/// One mark on each of some axes.
pub(super) type Choice<'m> = BTreeMap<&'m Axis, &'m Mark>;

/// Every axis with its marks; the first mark is the plainest.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// The axes in order.
    pub(super) axes: BTreeMap<Axis, Vec<Mark>>,
    /// Why the marks do not tell everything apart that policies could, where they do not.
    pub(super) gaps: Vec<String>,
}

impl Space {
    /// The marks of an axis; none for one that nothing depends on.
    pub(super) fn marks(&self, axis: &Axis) -> &[Mark] {
        self.axes.get(axis).map_or(&[], Vec::as_slice)
    }

    /// Calls with every combination of marks of these axes, as positions.
    pub(super) fn each(&self, axes: &[&Axis], mut visit: impl FnMut(&[usize])) {
        let sizes: Vec<usize> = axes.iter().map(|axis| self.marks(axis).len()).collect();
        if sizes.contains(&0) {
            return;
        }
        let mut at = vec![0; sizes.len()];
        loop {
            visit(&at);
            let next = at.iter_mut().zip(&sizes).find_map(|(position, size)| {
                *position += 1;
                if *position < *size {
                    return Some(());
                }
                *position = 0;
                None
            });
            if next.is_none() {
                return;
            }
        }
    }

    /// How many combinations there are.
    pub(super) fn combinations(&self, axes: &[&Axis]) -> usize {
        axes.iter().fold(1, |product, axis| product.saturating_mul(self.marks(axis).len()))
    }
}

#[cfg(test)]
mod tests;
