use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};

use super::*;
use crate::config::{Audiences, Issuer, Preset};
use crate::dev::key::sha256;
use crate::dev::persona::Persona;
use crate::principal::Flow;

const NOW: Timestamp = Timestamp(1_790_000_000);
const BASE: &str = "http://localhost:8444";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// The challenge of [`VERIFIER`], RFC 7636 appendix B.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const BACK: &str = "http://localhost:3000/back?x=1";

fn issuer(name: &str, url: &str, preset: Preset) -> Issuer {
    let audiences = Audiences::OneOf(vec!["api".to_owned()]);
    Issuer { audiences, ..Issuer::new(name, url, Some(preset)) }
}

fn persona(name: &str, claims: Value, client: &str, flow: Flow) -> Persona {
    let Value::Object(claims) = claims else { panic!("claims are an object") };
    Persona { name: name.to_owned(), claims, client: Some(client.to_owned()), flow }
}

fn realms() -> Vec<Realm> {
    let shoen = issuer("shoen", &issuer_url(BASE, "shoen"), Preset::Kusy);
    let auth0 = issuer("auth0", &format!("{}/", issuer_url(BASE, "auth0")), Preset::Auth0Organizations);
    let ameise = issuer("ameise", &issuer_url(BASE, "ameise"), Preset::Ameise);
    vec![
        Realm {
            issuer: shoen,
            personas: vec![
                persona(
                    "alice",
                    json!({"sub": "a-1", "client_id": "app", "scope": "crm read", "name": "<Alice> & \"co\""}),
                    "app",
                    Flow::User,
                ),
                persona("<b>\"bob\"", json!({"sub": "b-2", "client_id": "app"}), "app", Flow::User),
                persona(
                    "kusy",
                    json!({"sub": "kusy", "client_id": "kusy", "scope": "crm"}),
                    "kusy",
                    Flow::ClientCredentials,
                ),
            ],
        },
        Realm {
            issuer: auth0,
            personas: vec![persona(
                "machine",
                json!({"sub": "m2m@clients", "azp": "m2m", "gty": "client-credentials", "global": true}),
                "m2m",
                Flow::ClientCredentials,
            )],
        },
        Realm {
            issuer: ameise,
            personas: vec![persona(
                "erika",
                json!({"sub": "e7", "azp": "web", "scope": "orders ameise/permissions", "ameise/permissions": ["verwaltung"],
                       "broker": {"id": "B1"}}),
                "web",
                Flow::User,
            )],
        },
    ]
}

struct Fixture {
    provider: Provider,
    key: Arc<SigningKey>,
    _directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = Arc::new(SigningKey::ensure(directory.path()).unwrap());
        Self { provider: Provider::new(Arc::clone(&key), realms()), key, _directory: directory }
    }

    fn send(&self, request: http::request::Builder, body: &str) -> Response<Bytes> {
        self.send_at(NOW, request, body)
    }

    fn send_at(&self, now: Timestamp, request: http::request::Builder, body: &str) -> Response<Bytes> {
        let mut request = request.body(Bytes::from(body.to_owned())).unwrap();
        request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("localhost:8444"));
        self.provider.answer(&request, now)
    }

    fn get(&self, path: &str) -> Response<Bytes> {
        self.send(Request::get(path), "")
    }

    fn token(&self, issuer: &str, body: &str) -> Response<Bytes> {
        self.token_at(NOW, issuer, body)
    }

    fn token_at(&self, now: Timestamp, issuer: &str, body: &str) -> Response<Bytes> {
        self.send_at(now, post(&format!("/.torwart-dev/{issuer}/token")), body)
    }

    /// The claims of the access token in a token response.
    fn claims(&self, response: &Response<Bytes>) -> Value {
        assert_eq!(response.status(), 200, "{response:?}");
        Value::Object(self.key.open(body(response)["access_token"].as_str().unwrap()).unwrap())
    }

    /// A code for alice with everything as it should be.
    fn code(&self, scope: &str) -> String {
        let response = self.get(&authorize(&format!("scope={scope}&state=s&nonce=n&persona=alice")));
        parameter(&response, "code").unwrap()
    }
}

fn post(path: &str) -> http::request::Builder {
    Request::post(path).header("content-type", "application/x-www-form-urlencoded")
}

fn authorize(more: &str) -> String {
    let back = form::encode(BACK);
    format!(
        "/.torwart-dev/shoen/authorize?response_type=code&client_id=app&redirect_uri={back}&code_challenge={CHALLENGE}\
         &code_challenge_method=S256&{more}"
    )
}

fn exchange(code: &str) -> String {
    let back = form::encode(BACK);
    format!("grant_type=authorization_code&client_id=app&code={code}&redirect_uri={back}&code_verifier={VERIFIER}")
}

fn body(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

fn error(response: &Response<Bytes>) -> (u16, String) {
    (response.status().as_u16(), body(response)["error"].as_str().unwrap().to_owned())
}

/// A parameter of the address that the answer redirects to.
fn parameter(response: &Response<Bytes>, name: &str) -> Option<String> {
    assert_eq!(response.status(), 303, "{response:?}");
    let location = response.headers()[header::LOCATION].to_str().unwrap();
    assert!(location.starts_with(&format!("{BACK}&")), "{location}");
    form::Form::parse(location.split_once('?').unwrap().1).unwrap().get(name).map(str::to_owned)
}

#[test]
fn the_discovery_document_names_the_issuer_exactly_and_says_that_it_is_a_dev_provider() {
    let fixture = Fixture::new();
    for (name, slash) in [("shoen", ""), ("auth0", "/")] {
        let url = format!("{BASE}/.torwart-dev/{name}");
        for path in [
            format!("/.torwart-dev/{name}/.well-known/openid-configuration"),
            format!("/.well-known/oauth-authorization-server/.torwart-dev/{name}"),
        ] {
            let document = body(&fixture.get(&path));
            assert_eq!(document["issuer"], format!("{url}{slash}"), "{path}");
            assert_eq!(document["torwart_dev"], true);
            assert_eq!(document["token_endpoint"], format!("{url}/token"));
            assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
        }
    }
}

#[test]
fn every_endpoint_that_discovery_names_is_there() {
    let fixture = Fixture::new();
    let document = body(&fixture.get("/.torwart-dev/shoen/.well-known/openid-configuration"));
    for name in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "introspection_endpoint", "jwks_uri"]
    {
        let path = document[name].as_str().unwrap().strip_prefix(BASE).unwrap();
        assert_ne!(fixture.get(path).status(), 404, "{path}");
    }
}

#[test]
fn every_issuer_here_is_one_that_run_refuses() {
    for realm in realms() {
        assert!(crate::config::is_dev_issuer(&realm.issuer.issuer));
    }
}

#[test]
fn a_client_gets_a_token_of_its_own_rfc6749_4_4() {
    let fixture = Fixture::new();
    let response = fixture.token("shoen", "grant_type=client_credentials&client_id=kusy&client_secret=dev-secret");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(body(&response)["token_type"], "Bearer");
    assert_eq!(body(&response)["expires_in"], 3600);
    let claims = fixture.claims(&response);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("kusy"), &json!("kusy")));
    assert_eq!(claims["iss"], format!("{BASE}/.torwart-dev/shoen"));
    assert_eq!((&claims["aud"], &claims["exp"]), (&json!("api"), &json!(NOW.0 + 3600)));
}

#[test]
fn the_auth0_family_has_a_trailing_slash_and_says_how_the_token_came_to_be() {
    let fixture = Fixture::new();
    let response = fixture.token("auth0", "grant_type=client_credentials&client_id=m2m&client_secret=dev-secret");
    let claims = fixture.claims(&response);
    assert_eq!(claims["iss"], format!("{BASE}/.torwart-dev/auth0/"));
    assert_eq!((&claims["sub"], &claims["azp"]), (&json!("m2m@clients"), &json!("m2m")));
    assert_eq!((&claims["gty"], &claims["global"]), (&json!("client-credentials"), &json!(true)));
}

#[test]
fn the_header_says_what_kind_of_token_it_is() {
    let fixture = Fixture::new();
    for (issuer, client, typ) in [("shoen", "kusy", "at+jwt"), ("auth0", "m2m", "JWT")] {
        let form = format!("grant_type=client_credentials&client_id={client}&client_secret=dev-secret");
        let answer = body(&fixture.token(issuer, &form));
        let header = answer["access_token"].as_str().unwrap().split('.').next().unwrap();
        let header: Value = serde_json::from_slice(&BASE64URL.decode(header).unwrap()).unwrap();
        assert_eq!((&header["typ"], &header["alg"]), (&json!(typ), &json!("ES256")));
        assert_eq!(header["kid"], fixture.key.key_set()["keys"][0]["kid"]);
    }
}

#[test]
fn a_client_may_show_its_secret_in_the_header_form_encoded_rfc6749_2_3_1() {
    let fixture = Fixture::new();
    let credentials = base64::engine::general_purpose::STANDARD.encode("%6Busy:dev%2Dsecret");
    let request = post("/.torwart-dev/shoen/token").header("authorization", format!("Basic {credentials}"));
    assert_eq!(fixture.claims(&fixture.send(request, "grant_type=client_credentials"))["sub"], "kusy");
}

#[test]
fn who_is_no_client_or_shows_no_secret_gets_nothing() {
    let fixture = Fixture::new();
    for (form, wanted) in [
        ("grant_type=client_credentials&client_id=nobody&client_secret=dev-secret", (401, "invalid_client")),
        ("grant_type=client_credentials&client_id=kusy&client_secret=wrong", (401, "invalid_client")),
        ("grant_type=client_credentials&client_id=kusy", (401, "invalid_client")),
        ("grant_type=client_credentials", (401, "invalid_client")),
        ("grant_type=client_credentials&client_id=app&client_secret=dev-secret", (400, "unauthorized_client")),
        ("grant_type=password&client_id=kusy&client_secret=dev-secret", (400, "unsupported_grant_type")),
        ("client_id=kusy&client_secret=dev-secret", (400, "invalid_request")),
        ("grant_type=client_credentials&client_id=kusy&client_id=kusy", (400, "invalid_request")),
    ] {
        let response = fixture.token("shoen", form);
        assert_eq!(error(&response), (wanted.0, wanted.1.to_owned()), "{form}");
        assert_eq!(response.headers().contains_key(header::WWW_AUTHENTICATE), wanted.0 == 401, "{form}");
    }
}

#[test]
fn a_client_of_another_issuer_is_unknown() {
    let fixture = Fixture::new();
    let response = fixture.token("auth0", "grant_type=client_credentials&client_id=kusy&client_secret=dev-secret");
    assert_eq!(error(&response), (401, "invalid_client".to_owned()));
}

#[test]
fn two_ways_of_authentication_at_once_are_refused_rfc6749_2_3() {
    let fixture = Fixture::new();
    let credentials = base64::engine::general_purpose::STANDARD.encode("kusy:dev-secret");
    let request = post("/.torwart-dev/shoen/token").header("authorization", format!("Basic {credentials}"));
    let response = fixture.send(request, "grant_type=client_credentials&client_secret=dev-secret");
    assert_eq!(error(&response), (400, "invalid_request".to_owned()));
}

#[test]
fn scopes_can_be_asked_for_one_by_one_but_not_invented() {
    let fixture = Fixture::new();
    let base = "grant_type=client_credentials&client_id=kusy&client_secret=dev-secret";
    assert_eq!(fixture.claims(&fixture.token("shoen", base))["scope"], "crm");
    let response = fixture.token("shoen", &format!("{base}&scope=crm+admin"));
    assert_eq!(error(&response), (400, "invalid_scope".to_owned()));
}

#[test]
fn a_code_is_exchanged_for_the_persona_that_was_chosen() {
    let fixture = Fixture::new();
    let response = fixture.token("shoen", &exchange(&fixture.code("crm")));
    let claims = fixture.claims(&response);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("a-1"), &json!("app")));
    assert_eq!((&claims["scope"], &body(&response)["scope"]), (&json!("crm"), &json!("crm")));
    assert!(body(&response).get("id_token").is_none(), "nobody asked for `openid`");
}

#[test]
fn an_id_token_is_told_from_an_access_token_oidc_core_2() {
    let fixture = Fixture::new();
    let response = body(&fixture.token("shoen", &exchange(&fixture.code("openid+crm"))));
    let claims = fixture.key.open(response["id_token"].as_str().unwrap()).unwrap();
    assert_eq!((&claims["aud"], &claims["sub"]), (&json!("app"), &json!("a-1")));
    assert_eq!((&claims["nonce"], &claims["auth_time"]), (&json!("n"), &json!(NOW.0)));
    let half = &sha256(response["access_token"].as_str().unwrap()).as_ref()[..16].to_vec();
    assert_eq!(claims["at_hash"], BASE64URL.encode(half));
    assert!(claims.get("scope").is_none());
}

#[test]
fn a_code_works_once() {
    let fixture = Fixture::new();
    let form = exchange(&fixture.code("crm"));
    assert_eq!(fixture.token("shoen", &form).status(), 200);
    assert_eq!(error(&fixture.token("shoen", &form)), (400, "invalid_grant".to_owned()));
}

#[test]
fn a_code_does_not_outlive_its_minute() {
    let fixture = Fixture::new();
    let form = exchange(&fixture.code("crm"));
    let response = fixture.token_at(NOW.plus(60), "shoen", &form);
    assert_eq!(error(&response), (400, "invalid_grant".to_owned()));
}

#[test]
fn a_wrong_verifier_is_refused_and_spends_the_code_rfc7636_4_6() {
    let fixture = Fixture::new();
    for wrong in [VERIFIER.replace('d', "e"), CHALLENGE.to_owned(), "short".to_owned()] {
        let form = exchange(&fixture.code("crm"));
        let response = fixture.token("shoen", &form.replace(VERIFIER, &wrong));
        assert_eq!(error(&response), (400, "invalid_grant".to_owned()), "{wrong}");
        assert_eq!(error(&fixture.token("shoen", &form)), (400, "invalid_grant".to_owned()), "{wrong}");
    }
    let without = exchange(&fixture.code("crm")).replace("&code_verifier=", "&x=");
    assert_eq!(error(&fixture.token("shoen", &without)), (400, "invalid_request".to_owned()));
}

#[test]
fn a_code_belongs_to_its_client_its_issuer_and_its_redirect_uri_rfc6749_4_1_3() {
    let fixture = Fixture::new();
    let refused = |issuer: &str, form: String| {
        assert_eq!(error(&fixture.token(issuer, &form)), (400, "invalid_grant".to_owned()), "{form}");
    };
    refused("shoen", exchange(&fixture.code("crm")).replace("client_id=app", "client_id=kusy"));
    refused("ameise", exchange(&fixture.code("crm")));
    refused("shoen", exchange(&fixture.code("crm")).replace("%3A3000", "%3A3001"));
    refused("shoen", exchange(&fixture.code("crm")).replace("x%3D1", "x%3D2"));
}

#[test]
fn the_answer_carries_state_and_issuer_rfc9207() {
    let fixture = Fixture::new();
    let response = fixture.get(&authorize("state=a%20b&persona=alice"));
    assert_eq!(parameter(&response, "state").as_deref(), Some("a b"));
    assert_eq!(parameter(&response, "iss"), Some(format!("{BASE}/.torwart-dev/shoen")));
}

#[test]
fn what_is_wrong_is_told_to_the_client_rfc6749_4_1_2_1() {
    let fixture = Fixture::new();
    let right = authorize("persona=alice");
    for (path, wanted) in [
        (right.replace("response_type=code", "response_type=token"), "unsupported_response_type"),
        (right.replace("=S256", "=plain"), "invalid_request"),
        (right.replace(CHALLENGE, ""), "invalid_request"),
        (right.replace(CHALLENGE, "short"), "invalid_request"),
        (format!("{right}&response_mode=fragment"), "invalid_request"),
        (format!("{right}&request=x"), "request_not_supported"),
        (authorize("prompt=none"), "login_required"),
    ] {
        let response = fixture.get(&path);
        assert_eq!(parameter(&response, "error").as_deref(), Some(wanted), "{path}");
        assert_eq!(parameter(&response, "code"), None, "{path}");
    }
}

#[test]
fn nobody_is_redirected_to_where_the_client_is_not() {
    let fixture = Fixture::new();
    let right = authorize("persona=alice");
    let back = form::encode(BACK);
    for wrong in [
        "https://evil.example/",
        "http://localhost.evil.example/",
        "http://localhost@evil.example/",
        "http://user@localhost/",
        "http://localhost:3000/#fragment",
        "javascript:alert(1)",
        "//localhost/",
        "",
    ] {
        let response = fixture.get(&right.replace(&back, &form::encode(wrong)));
        assert_eq!(response.status(), 400, "{wrong}");
        assert!(!response.headers().contains_key(header::LOCATION), "{wrong}");
    }
    for path in [right.replace("client_id=app", "client_id=nobody"), right.replace("client_id=app&", "")] {
        assert_eq!(fixture.get(&path).status(), 400, "{path}");
    }
    assert_eq!(fixture.get(&format!("{right}&client_id=app")).status(), 400, "a parameter twice");
}

#[test]
fn only_people_of_the_client_can_be_chosen() {
    let fixture = Fixture::new();
    for name in ["kusy", "erika", "nobody"] {
        assert_eq!(fixture.get(&authorize(&format!("persona={name}"))).status(), 400, "{name}");
    }
}

#[test]
fn the_chooser_lists_people_as_links_that_keep_the_request() {
    let fixture = Fixture::new();
    let response = fixture.get(&authorize("state=s"));
    assert_eq!(response.status(), 200);
    let page = text(&response);
    assert!(page.contains("Continue as alice") && !page.contains("Continue as kusy"));
    let links: Vec<String> =
        page.split("<a href=\"").skip(1).map(|rest| rest.split('"').next().unwrap().replace("&amp;", "&")).collect();
    assert_eq!(links.len(), 2);
    for link in links {
        let followed = fixture.get(&format!("/.torwart-dev/shoen/authorize{link}"));
        assert!(parameter(&followed, "code").is_some() && parameter(&followed, "state").as_deref() == Some("s"));
    }
}

#[test]
fn what_people_are_called_never_becomes_markup() {
    let fixture = Fixture::new();
    let response =
        fixture.get(&authorize("state=\"><script>alert(1)</script>".replace(['<', '>', '"'], "%3C").as_str()));
    let page = text(&response);
    assert!(page.contains("Continue as &lt;b&gt;&quot;bob&quot;"), "{page}");
    assert!(!page.contains("<b>") && !page.contains("<script"));
    let refusal = fixture.get("/.torwart-dev/shoen/authorize?client_id=%3Cscript%3E&redirect_uri=x");
    assert!(text(&refusal).contains("&lt;script&gt;"));
}

#[test]
fn pages_load_nothing_run_nothing_and_cannot_be_framed() {
    let fixture = Fixture::new();
    for path in [authorize(""), "/.torwart-dev/shoen/authorize".to_owned(), "/".to_owned()] {
        let response = fixture.get(&path);
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        let page = text(&response);
        let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let digest = base64::engine::general_purpose::STANDARD.encode(sha256(style));
        assert_eq!(
            policy,
            format!(
                "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            )
        );
        for forbidden in ["<script", " src=", "<link", "<img", "<iframe", " style=", " onclick", "@import", "url("] {
            assert!(!page.contains(forbidden), "{path}: {forbidden}");
        }
    }
}

#[test]
fn pages_can_be_used_by_everybody() {
    let fixture = Fixture::new();
    let response = fixture.get(&authorize(""));
    let page = text(&response);
    for needed in [
        "<!doctype html>",
        "<html lang=\"en\">",
        "name=\"viewport\"",
        "<title>Choose a persona",
        "<main>",
        "<h1>",
        "prefers-color-scheme: dark",
        ":focus-visible",
    ] {
        assert!(page.contains(needed), "{needed}");
    }
    assert_eq!(page.matches("<h1>").count(), 1);
}

#[test]
fn userinfo_tells_about_the_person_and_nothing_about_the_token() {
    let fixture = Fixture::new();
    let response = body(&fixture.token("shoen", &exchange(&fixture.code("crm"))));
    let token = response["access_token"].as_str().unwrap();
    let ask = |issuer: &str, authorization: &str, now: Timestamp| {
        let request = Request::get(format!("/.torwart-dev/{issuer}/userinfo")).header("authorization", authorization);
        fixture.send_at(now, request, "")
    };
    let told = ask("shoen", &format!("Bearer {token}"), NOW);
    assert_eq!(body(&told), json!({"sub": "a-1", "name": "<Alice> & \"co\""}));
    for (issuer, authorization, now) in [
        ("ameise", format!("Bearer {token}"), NOW),
        ("shoen", format!("Bearer {token}"), NOW.plus(3600)),
        ("shoen", format!("Bearer {token}x"), NOW),
        ("shoen", format!("Basic {token}"), NOW),
    ] {
        let refused = ask(issuer, &authorization, now);
        assert_eq!(refused.status(), 401, "{issuer} {authorization}");
        assert!(refused.headers().contains_key(header::WWW_AUTHENTICATE));
    }
}

#[test]
fn userinfo_has_nothing_to_say_about_programs() {
    let fixture = Fixture::new();
    let form = "grant_type=client_credentials&client_id=kusy&client_secret=dev-secret";
    let token = body(&fixture.token("shoen", form));
    let request = Request::get("/.torwart-dev/shoen/userinfo")
        .header("authorization", format!("Bearer {}", token["access_token"].as_str().unwrap()));
    assert_eq!(fixture.send(request, "").status(), 403);
}

#[test]
fn an_id_token_opens_nothing() {
    let fixture = Fixture::new();
    let response = body(&fixture.token("shoen", &exchange(&fixture.code("openid"))));
    let token = response["id_token"].as_str().unwrap();
    let request = Request::get("/.torwart-dev/shoen/userinfo").header("authorization", format!("Bearer {token}"));
    assert_eq!(fixture.send(request, "").status(), 401);
}

#[test]
fn ameise_permissions_are_released_by_the_scope_of_their_name() {
    let fixture = Fixture::new();
    let realms = realms();
    let (realm, persona) = (&realms[2], &realms[2].personas[0]);
    for (scope, released) in [("orders ameise/permissions", true), ("orders", false)] {
        let mut claims = realm.access_claims(persona, NOW, 60);
        assert!(!claims.contains_key("ameise/permissions") && !claims.contains_key("broker"), "in no token");
        claims.insert("scope".to_owned(), json!(scope));
        let token = fixture.key.sign("JWT", &claims).unwrap();
        let request = Request::get("/.torwart-dev/ameise/userinfo").header("authorization", format!("Bearer {token}"));
        let told = body(&fixture.send(request, ""));
        assert_eq!(told.get("ameise/permissions").is_some(), released, "{scope}");
        assert_eq!(told["broker"], json!({"id": "B1"}));
    }
}

#[test]
fn introspection_tells_clients_what_a_token_says_rfc7662() {
    let fixture = Fixture::new();
    let form = "grant_type=client_credentials&client_id=m2m&client_secret=dev-secret";
    let token = body(&fixture.token("auth0", form))["access_token"].as_str().unwrap().to_owned();
    let ask = |issuer: &str, form: &str| fixture.send(post(&format!("/.torwart-dev/{issuer}/introspect")), form);
    let told = body(&ask("auth0", &format!("client_id=gateway&client_secret=dev-secret&token={token}")));
    assert_eq!((&told["active"], &told["client_id"], &told["global"]), (&json!(true), &json!("m2m"), &json!(true)));
    for (issuer, shown) in [("shoen", token.clone()), ("auth0", format!("{token}x")), ("auth0", "opaque".to_owned())] {
        let told = body(&ask(issuer, &format!("client_id=gateway&client_secret=dev-secret&token={shown}")));
        assert_eq!(told, json!({"active": false}));
    }
    let refused = ask("auth0", &format!("client_id=gateway&token={token}"));
    assert_eq!(error(&refused), (401, "invalid_client".to_owned()));
}

#[test]
fn a_name_that_was_pointed_here_gets_no_answer() {
    let fixture = Fixture::new();
    for host in ["evil.example", "localhost.evil.example", "user@localhost", ""] {
        let request = Request::get("/.torwart-dev/shoen/jwks").header("host", host);
        assert_eq!(fixture.send(request, "").status(), 421, "{host}");
    }
    for host in ["localhost", "127.0.0.1:8444", "[::1]:8444", "LOCALHOST:1"] {
        let request = Request::get("/.torwart-dev/shoen/jwks").header("host", host);
        assert_eq!(fixture.send(request, "").status(), 200, "{host}");
    }
}

#[test]
fn scripts_of_local_pages_may_read_tokens_and_others_may_not() {
    let fixture = Fixture::new();
    let asked = |method: &str, origin: &str, path: &str| {
        let request = Request::builder().method(method).uri(path).header("origin", origin);
        fixture.send(request, "").headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN).cloned()
    };
    let token = "/.torwart-dev/shoen/token";
    assert_eq!(asked("OPTIONS", "http://localhost:3000", token).unwrap(), "http://localhost:3000");
    for origin in ["https://evil.example", "null", "http://localhost.evil.example"] {
        assert_eq!(asked("OPTIONS", origin, token), None, "{origin}");
        assert_eq!(asked("POST", origin, token), None, "{origin}");
    }
    assert_eq!(asked("GET", "http://localhost:3000", "/.torwart-dev/shoen/authorize"), None);
}

#[test]
fn other_methods_and_paths_are_refused() {
    let fixture = Fixture::new();
    let response = fixture.get("/.torwart-dev/shoen/token");
    assert_eq!(
        (response.status().as_u16(), &response.headers()[header::ALLOW]),
        (405, &HeaderValue::from_static("POST"))
    );
    for path in ["/.torwart-dev/shoen", "/.torwart-dev/shoenx/jwks", "/.torwart-dev/nobody/jwks", "/jwks"] {
        assert_eq!(fixture.get(path).status(), 404, "{path}");
    }
    let json = Request::post("/.torwart-dev/shoen/token").header("content-type", "application/json");
    assert_eq!(error(&fixture.send(json, "{}")), (400, "invalid_request".to_owned()));
}

#[test]
fn other_personas_take_effect_at_once() {
    let fixture = Fixture::new();
    let mut other = realms();
    other[0].personas.remove(2);
    fixture.provider.replace(other);
    let response = fixture.token("shoen", "grant_type=client_credentials&client_id=kusy&client_secret=dev-secret");
    assert_eq!(error(&response), (401, "invalid_client".to_owned()));
}
