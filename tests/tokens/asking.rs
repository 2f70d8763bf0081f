//! What goes over the wire when an issuer is asked about one token, and which answers count.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::json;
use torwart::authn::fetch::{Client, ClientCredentials, FetchError, Fetched, Plain};

use crate::issuer::{Answer, Server};

fn client() -> Client {
    Client::new(None, Plain::Loopback).unwrap().with_timeout(Duration::from_millis(300))
}

fn run<T>(asking: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(asking)
}

fn posted(server: &Server) -> Result<Fetched, FetchError> {
    let gateway = ClientCredentials::new("tor:wart", "p+s".to_owned().into());
    let url = format!("{}/introspect?x=1", server.origin());
    run(client().post_form(&url, &gateway, &[("token", "a+b/c=="), ("token_type_hint", "access_token")]))
}

fn fetched(server: &Server) -> Result<Fetched, FetchError> {
    run(client().get_as_bearer(&format!("{}/introspect?x=1", server.origin()), "a+b/c=="))
}

#[test]
fn a_form_is_posted_with_basic_authentication_rfc_7662_2_1() {
    let server = Server::plain();
    server.publish("/introspect?x=1", &json!({"active": true}));
    assert_eq!(posted(&server).unwrap().body, json!({"active": true}).to_string());
    let [heard] = server.heard("/introspect?x=1").try_into().unwrap();
    assert_eq!(heard.method, "POST");
    assert_eq!(heard.body, "token=a%2Bb%2Fc%3D%3D&token_type_hint=access_token");
    assert_eq!(heard.field("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(heard.field("accept"), "application/json");
    assert_eq!(heard.field("authorization"), format!("Basic {}", STANDARD.encode("tor%3Awart:p%2Bs")));
}

#[test]
fn a_token_is_shown_in_the_header_alone_rfc_6750_2_1() {
    let server = Server::plain();
    let typed = "Content-Type: Application/JWT; charset=utf-8\r\n".to_owned();
    server.answer("/introspect?x=1", Answer::Say(200, typed, b"e30.e30.".to_vec()));
    assert_eq!(fetched(&server).unwrap().media_type, "application/jwt");
    let [heard] = server.heard("/introspect?x=1").try_into().unwrap();
    assert_eq!((heard.method.as_str(), heard.body.as_str()), ("GET", ""));
    assert_eq!(heard.field("authorization"), "Bearer a+b/c==");
}

#[test]
fn every_other_status_than_200_is_told_apart_and_no_redirect_is_followed() {
    let server = Server::plain();
    let elsewhere = Server::plain();
    for status in [201, 204, 302, 307, 400, 401, 403, 404, 429, 500, 503] {
        let location = format!("Location: {}/elsewhere\r\n", elsewhere.origin());
        server.answer("/introspect?x=1", Answer::Say(status, location, b"{}".to_vec()));
        for outcome in [posted(&server), fetched(&server)] {
            let Err(FetchError::Status(_, found)) = outcome else { panic!("{outcome:?}") };
            assert_eq!(found, StatusCode::from_u16(status).unwrap());
        }
    }
    assert_eq!(elsewhere.asked("/elsewhere"), 0);
}

#[test]
fn answers_are_bounded_in_size_and_time() {
    let server = Server::plain();
    let largest = 1024 * 1024;
    for (length, fits) in [(largest, true), (largest + 1, false)] {
        server.answer("/introspect?x=1", Answer::Say(200, String::new(), vec![b' '; length]));
        for outcome in [posted(&server), fetched(&server)] {
            assert_eq!(outcome.is_ok(), fits, "{length}");
            assert!(fits || matches!(outcome, Err(FetchError::TooLarge(_))));
        }
    }
    server.answer("/introspect?x=1", Answer::Hang);
    for outcome in [posted(&server), fetched(&server)] {
        assert!(matches!(outcome, Err(FetchError::Timeout(_))), "{outcome:?}");
    }
}

#[test]
fn an_endpoint_without_tls_is_not_asked() {
    let gateway = ClientCredentials::new("torwart", "secret".to_owned().into());
    let client = Client::new(None, Plain::Refused).unwrap();
    let server = Server::plain();
    let url = format!("{}/introspect", server.origin());
    let posted = run(client.post_form(&url, &gateway, &[("token", "t")]));
    assert!(matches!(posted, Err(FetchError::Insecure(_))));
    assert!(matches!(run(client.get_as_bearer(&url, "t")), Err(FetchError::Insecure(_))));
    assert_eq!(server.asked("/introspect"), 0);
}
