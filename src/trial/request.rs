//! A request as somebody writes it down.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, Method};
use thiserror::Error;

use crate::clock::Timestamp;
use crate::principal::ClientCertificate;
use crate::target::{Authority, AuthorityError, Scheme, split_absolute};

/// The moment of every request that names no other: 1 January 2026, 00:00 UTC.
pub const MOMENT: Timestamp = Timestamp(1_767_225_600);

/// A request before it is sent, with what its connection would tell.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The scheme of the connection.
    pub scheme: Scheme,
    /// Whom it is sent to.
    pub authority: Authority,
    /// Path and query as sent.
    pub target: String,
    /// Header fields beside `Host`, `Content-Length` and the token.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The client's address, if it is known.
    pub address: Option<IpAddr>,
    /// The verified certificate of the connection.
    pub certificate: Option<ClientCertificate>,
    /// When it is made.
    pub now: Timestamp,
}

/// Why a text is no request that could be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RequestError {
    /// There is no space between method and URL.
    #[error("a request is a method and a URL, such as `GET https://api.example.com/a`")]
    Form,
    /// The method is not a token (RFC 9110 section 9.1).
    #[error("the method is not a name")]
    Method,
    /// The URL has no scheme, or another one.
    #[error("the URL does not begin with `https://` or `http://`")]
    Scheme,
    /// Whom it is sent to is not valid.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl Request {
    /// The request of a line such as `GET https://api.example.com/a`.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn line(text: &str) -> Result<Self, RequestError> {
        let (method, url) = text.split_once(' ').ok_or(RequestError::Form)?;
        Self::new(method, url)
    }

    /// A request for a URL, made at [`MOMENT`] by nobody from nowhere, without headers or body.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn new(method: &str, url: &str) -> Result<Self, RequestError> {
        Method::from_bytes(method.as_bytes()).map_err(|_| RequestError::Method)?;
        let (scheme, authority, target) = split_absolute(url).ok_or(RequestError::Scheme)?;
        Ok(Self {
            method: method.to_owned(),
            scheme,
            authority: Authority::parse(authority, scheme)?,
            target: target.into_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            address: None,
            certificate: None,
            now: MOMENT,
        })
    }
}
