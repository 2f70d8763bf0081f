//! Metadata of protected resources (RFC 9728): for anybody, pages of other origins included.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CONTENT_TYPE,
};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};

use super::{METADATA_METHODS, own};
use crate::config::Issuer;
use crate::policy::{Resource, resource_url};
use crate::principal::IssuerId;

/// Metadata of one resource: everything but the authority under which a client asks.
#[derive(Debug)]
pub struct Metadata {
    path: Box<str>,
    /// Everything but the resource itself.
    told: Value,
    /// The same as text, without its opening brace.
    rest: Box<str>,
}

impl Metadata {
    /// What may be told of a resource. What there is none of is left out (RFC 9728 section 3.2).
    pub fn of(resource: &Resource, issuers: &[Issuer]) -> Self {
        let accepts = |id: u16| resource.issuers().contains(IssuerId(id));
        let accepted = || issuers.iter().zip(0..).filter(|(_, id)| accepts(*id)).map(|(issuer, _)| issuer);
        let servers: Vec<Value> = accepted().map(|issuer| issuer.issuer.as_str().into()).collect();
        let scopes: Vec<Value> = resource.scopes().map(Value::from).collect();
        let mut members = Map::new();
        let mut list = |name: &str, values: Vec<Value>| {
            if !values.is_empty() {
                members.insert(name.to_owned(), values.into());
            }
        };
        list("authorization_servers", servers);
        list("scopes_supported", scopes);
        list("bearer_methods_supported", vec!["header".into()]);
        if accepted().any(|issuer| issuer.sender_constraint_required) {
            members.insert("tls_client_certificate_bound_access_tokens".to_owned(), true.into());
        }
        let told = Value::Object(members);
        let rest = told.to_string().trim_start_matches('{').into();
        Self { path: resource.path().into(), told, rest }
    }

    /// What is told, apart from the resource itself.
    pub fn told(&self) -> Value {
        self.told.clone()
    }

    /// The answer to who asks under this authority.
    pub fn answer(&self, authority: &str) -> Response<Bytes> {
        let resource = Value::from(resource_url(authority, &self.path));
        let mut response = own(StatusCode::OK, format!("{{\"resource\":{resource},{}", self.rest).into());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// The answer to `OPTIONS`: whatever a page wants to send along, it may read them.
pub fn metadata_options() -> Response<Bytes> {
    let mut response = own(StatusCode::OK, Bytes::new());
    let headers = response.headers_mut();
    headers.insert(ALLOW, METADATA_METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METADATA_METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    response
}
