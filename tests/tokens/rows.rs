//! What a naive use of `jsonwebtoken` 11 accepts, row by row, and the rules of tokens.md that no signature shows.
//! Every token here is validly signed unless the test says otherwise.

use serde_json::{Value, json};
use torwart::authn::{Failure, Fault};
use torwart::clock::Timestamp;
use torwart::config::{Algorithm, Audiences, KeySource, Preset};

use crate::minting::{AUDIENCE, ISSUER, KEYS, NOW, Setup, bearer, claims, encode, fault, outcome, outcome_at, with};

/// The fault of the accepted claims with changes.
fn changed(changes: Value) -> Option<Fault> {
    fault(&Setup::new().load(), &KEYS.es256(&with(changes)))
}

/// The fault of a payload given as text.
fn payload(text: &str) -> Option<Fault> {
    let token = KEYS.token("ES256", r#"{"alg":"ES256","kid":"p256"}"#, text);
    fault(&Setup::new().load(), &token)
}

/// The accepted claims as text, with this put in front of the others.
fn with_text(text: &str) -> String {
    claims().to_string().replacen('{', &format!("{{{text},"), 1)
}

/// The fault of a header given as text.
fn header(text: &str) -> Option<Fault> {
    fault(&Setup::new().load(), &KEYS.token("ES256", text, &claims().to_string()))
}

#[test]
fn a_good_token_becomes_its_principal() {
    let principal = outcome(&Setup::new().load(), &KEYS.es256(&claims())).unwrap();
    assert_eq!(principal.issuer.name.as_ref(), "shoen");
    assert_eq!(principal.subject.as_deref(), Some("17"));
    assert_eq!(principal.client.as_deref(), Some("crm"));
    assert_eq!(principal.scopes, ["a", "b"].into());
    assert_eq!(principal.expires_at, NOW.plus(600));
    assert_eq!(principal.token_id.as_deref(), Some("t-1"));
    assert_eq!(principal.permissions, None);
    assert_eq!(principal.organizations, None);
}

#[test]
fn every_default_algorithm_verifies_with_its_key() {
    let issuers = Setup::new().load();
    let algorithms = [("RS", "rsa"), ("PS", "rsa")]
        .into_iter()
        .flat_map(|(family, key)| ["256", "384", "512"].map(|bits| (format!("{family}{bits}"), key)));
    let others = [("ES256", "p256"), ("ES384", "p384"), ("EdDSA", "ed25519")];
    for (algorithm, key) in algorithms.chain(others.map(|(algorithm, key)| (algorithm.to_owned(), key))) {
        let named = format!("{{\"alg\":\"{algorithm}\",\"kid\":\"{key}\"}}");
        let token = KEYS.token(&algorithm, &named, &claims().to_string());
        assert_eq!(fault(&issuers, &token), None, "{algorithm}");
        let nameless = KEYS.token(&algorithm, &format!("{{\"alg\":\"{algorithm}\"}}"), &claims().to_string());
        assert_eq!(fault(&issuers, &nameless), None, "{algorithm} without kid");
    }
}

#[test]
fn row_aud_absent_number_null_object_or_mixed_list_is_refused() {
    assert_eq!(changed(json!({"aud": null})), Some(Fault::Audience));
    assert_eq!(
        payload(&with_text("\"nothing\":0").replace(&format!("\"aud\":\"{AUDIENCE}\","), "\"aud\":null,")),
        Some(Fault::Audience)
    );
    for aud in [json!(1), json!({}), json!([AUDIENCE, 1]), json!([[AUDIENCE]]), json!(true)] {
        assert_eq!(changed(json!({"aud": aud})), Some(Fault::ClaimType), "{aud}");
    }
    assert_eq!(changed(json!({"aud": []})), Some(Fault::Audience));
}

#[test]
fn row_iss_absent_number_or_array_is_refused() {
    for iss in [Value::Null, json!(1), json!([ISSUER]), json!({}), json!("")] {
        assert_eq!(changed(json!({"iss": iss})), Some(Fault::Issuer), "{iss}");
    }
}

#[test]
fn row_sub_absent_empty_or_number_is_refused() {
    assert_eq!(changed(json!({"sub": null})), Some(Fault::Subject));
    assert_eq!(changed(json!({"sub": ""})), Some(Fault::Subject));
    for sub in [json!(17), json!(["17"]), json!(true)] {
        assert_eq!(changed(json!({"sub": sub})), Some(Fault::ClaimType), "{sub}");
    }
}

#[test]
fn row_nbf_in_the_future_or_no_number_is_refused() {
    assert_eq!(changed(json!({"nbf": NOW.0 + 31})), Some(Fault::NotYet));
    assert_eq!(changed(json!({"nbf": NOW.0 + 30})), None, "within the leeway");
    assert_eq!(changed(json!({"nbf": NOW.0.to_string()})), Some(Fault::ClaimType));
}

#[test]
fn row_iat_in_the_future_is_refused() {
    assert_eq!(changed(json!({"iat": NOW.0 + 31})), Some(Fault::NotYet));
    assert_eq!(changed(json!({"iat": NOW.0 + 30})), None, "within the leeway");
    assert_eq!(changed(json!({"iat": "yesterday"})), Some(Fault::ClaimType));
}

#[test]
fn row_exp_is_held_to_the_configured_leeway() {
    assert_eq!(changed(json!({"exp": NOW.0 - 29})), None);
    assert_eq!(changed(json!({"exp": NOW.0 - 30})), Some(Fault::Expired));
    let strict = Setup::new().change(|issuer| issuer.leeway = 0).load();
    assert_eq!(fault(&strict, &KEYS.es256(&with(json!({"exp": NOW.0 + 1})))), None);
    assert_eq!(fault(&strict, &KEYS.es256(&with(json!({"exp": NOW.0})))), Some(Fault::Expired));
}

#[test]
fn row_exp_beyond_the_year_9999_is_refused() {
    for exp in [json!(u64::MAX), json!(1e18), json!(NOW.0 * 1000), json!(253_402_300_800_i64), json!(253_402_300_799.5)]
    {
        let wanted = if exp == json!(253_402_300_799.5) { None } else { Some(Fault::ClaimType) };
        assert_eq!(changed(json!({"exp": exp})), wanted, "{exp}");
    }
    assert_eq!(changed(json!({"nbf": 253_402_300_799.5})), Some(Fault::ClaimType), "rounded up it is beyond");
}

#[test]
fn row_fractional_times_round_towards_a_shorter_life() {
    let issuers = Setup::new().change(|issuer| issuer.leeway = 0).load();
    let token = |changes| KEYS.es256(&with(changes));
    #[expect(clippy::cast_precision_loss, reason = "a point in time far below 2^53")]
    let now = NOW.0 as f64;
    assert_eq!(fault(&issuers, &token(json!({"exp": now + 0.9}))), Some(Fault::Expired));
    assert_eq!(fault(&issuers, &token(json!({"exp": now + 1.0}))), None);
    assert_eq!(fault(&issuers, &token(json!({"nbf": now + 0.1}))), Some(Fault::NotYet));
    assert_eq!(fault(&issuers, &token(json!({"iat": now - 0.1}))), None);
}

#[test]
fn row_exp_absent_string_null_bool_negative_or_huge_is_refused() {
    assert_eq!(changed(json!({"exp": null})), Some(Fault::NoExpiry));
    for exp in [json!("1893456000"), json!(true), json!(-1), json!(-0.5), json!(1e300), json!([1]), json!({})] {
        assert_eq!(changed(json!({"exp": exp})), Some(Fault::ClaimType), "{exp}");
    }
}

#[test]
fn row_crit_and_b64_are_refused() {
    for text in [
        r#"{"alg":"ES256","kid":"p256","crit":["bork"]}"#,
        r#"{"alg":"ES256","kid":"p256","crit":[]}"#,
        r#"{"alg":"ES256","kid":"p256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"ES256","kid":"p256","b64":false}"#,
        r#"{"alg":"ES256","kid":"p256","zip":"DEF"}"#,
    ] {
        assert_eq!(header(text), Some(Fault::Extension), "{text}");
    }
}

#[test]
fn row_typ_of_another_kind_of_token_is_refused() {
    for typ in ["dpop+jwt", "logout+jwt", "id_token", "secevent+jwt", "JOSE", "jwt2", "", "application/jwt", "at+JWT "]
    {
        let text = format!("{{\"alg\":\"ES256\",\"kid\":\"p256\",\"typ\":\"{typ}\"}}");
        assert_eq!(header(&text), Some(Fault::Type), "{typ}");
    }
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt", "JWT", "jwt", "Jwt"] {
        let text = format!("{{\"alg\":\"ES256\",\"kid\":\"p256\",\"typ\":\"{typ}\"}}");
        assert_eq!(header(&text), None, "{typ}");
    }
    assert_eq!(header(r#"{"alg":"ES256","kid":"p256"}"#), None);
}

#[test]
fn row_keys_and_urls_in_the_header_change_nothing() {
    let attacker = crate::minting::Keys::make();
    let jwk = attacker.jwks()["keys"][1].clone();
    let embedded =
        json!({"alg": "ES256", "jwk": jwk, "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/", "cty": "x"});
    let issuers = Setup::new().load();
    let forged = attacker.token("ES256", &embedded.to_string(), &claims().to_string());
    assert_eq!(fault(&issuers, &forged), Some(Fault::Signature));
    let honest = KEYS.token("ES256", &embedded.to_string(), &claims().to_string());
    assert_eq!(fault(&issuers, &honest), None, "they are not looked at");
    assert_eq!(header(r#"{"alg":"ES256","kid":"../../dev/null"}"#), Some(Fault::UnknownKey));
}

#[test]
fn row_a_payload_that_is_an_array_is_refused() {
    let text = format!("[{},0,\"s\",\"{ISSUER}\",\"{AUDIENCE}\"]", NOW.0 + 600);
    assert_eq!(payload(&text), Some(Fault::Payload));
    assert_eq!(payload("\"text\""), Some(Fault::Payload));
    assert_eq!(payload(""), Some(Fault::Payload));
}

#[test]
fn row_a_duplicate_claim_is_refused_however_it_is_spelt() {
    for text in [r#""scope":"admin""#, r#""sc\u006fpe":"admin""#, r#""x":{"a":1,"a":2}"#, r#""exp":1"#, r#""iss":"x""#]
    {
        assert_eq!(payload(&with_text(text)), Some(Fault::Payload), "{text}");
    }
}

#[test]
fn row_control_characters_in_sub_stay_exactly_what_they_are() {
    let token = KEYS.es256(&with(json!({"sub": "a\u{0}b\r\nX-Admin: 1"})));
    let principal = outcome(&Setup::new().load(), &token).unwrap();
    assert_eq!(principal.subject.as_deref(), Some("a\u{0}b\r\nX-Admin: 1"), "percent-encoded where headers are made");
}

#[test]
fn row_deep_nesting_bom_trailing_junk_and_lone_surrogates_are_refused() {
    let deep = format!("\"x\":{}{}", "[".repeat(200), "]".repeat(200));
    assert_eq!(payload(&with_text(&deep)), Some(Fault::Payload));
    assert_eq!(payload(&format!("\u{feff}{}", claims())), Some(Fault::Payload));
    assert_eq!(payload(&format!("{}x", claims())), Some(Fault::Payload));
    assert_eq!(payload(&with_text(r#""x":"\ud800""#)), Some(Fault::Payload));
}

#[test]
fn row_padding_and_extra_dots_are_refused() {
    let token = KEYS.es256(&claims());
    let issuers = Setup::new().load();
    assert_eq!(fault(&issuers, &format!("{token}=")), Some(Fault::Encoding));
    assert_eq!(fault(&issuers, &format!("{token}.")), Some(Fault::Opaque));
    assert_eq!(fault(&issuers, &token.replace('.', "..")), Some(Fault::Opaque));
    let (signed, _) = token.rsplit_once('.').unwrap();
    assert_eq!(fault(&issuers, &format!("{signed}.")), Some(Fault::Signature), "an empty signature");
    assert_eq!(fault(&issuers, signed), Some(Fault::Opaque));
}

#[test]
fn row_alg_none_lower_case_null_missing_or_twice_is_refused() {
    for (text, wanted) in [
        (r#"{"alg":"none","kid":"p256"}"#, Fault::Algorithm),
        (r#"{"alg":"NONE"}"#, Fault::Algorithm),
        (r#"{"alg":"es256","kid":"p256"}"#, Fault::Algorithm),
        (r#"{"alg":null,"kid":"p256"}"#, Fault::Algorithm),
        (r#"{"kid":"p256"}"#, Fault::Algorithm),
        (r#"{"alg":"ES256","alg":"ES256"}"#, Fault::Header),
    ] {
        assert_eq!(header(text), Some(wanted), "{text}");
    }
    let unsigned = format!("{}.{}.", encode(br#"{"alg":"none"}"#), encode(claims().to_string().as_bytes()));
    assert_eq!(fault(&Setup::new().load(), &unsigned), Some(Fault::Algorithm));
}

#[test]
fn hmac_is_never_accepted_from_a_key_set_not_even_with_the_public_key_as_secret() {
    // RFC 8725 section 2.1: the attacker signs with what everybody knows.
    for algorithm in ["HS256", "HS384", "HS512"] {
        let mut attacker = crate::minting::Keys::make();
        attacker.secret = KEYS.jwks().to_string().into_bytes();
        for kid in ["rsa", "p256"] {
            let text = format!("{{\"alg\":\"{algorithm}\",\"kid\":\"{kid}\"}}");
            let token = attacker.token(algorithm, &text, &claims().to_string());
            let issuers = Setup::new().change(|issuer| issuer.algorithms.push(Algorithm::Hs256)).load();
            assert_eq!(fault(&issuers, &token), Some(Fault::Algorithm), "{algorithm} {kid}");
        }
    }
}

/// An issuer with a shared secret.
fn secret_issuer(secret: &[u8]) -> Setup {
    let setup = Setup::new();
    let path = setup.directory.path().join("secret");
    std::fs::write(&path, secret).unwrap();
    setup.change(|issuer| {
        issuer.keys = KeySource::Secret(path);
        issuer.algorithms = torwart::config::Issuer::HMAC.to_vec();
    })
}

#[test]
fn an_issuer_with_a_secret_accepts_hmac_and_nothing_else() {
    let issuers = secret_issuer(&KEYS.secret).load();
    for algorithm in ["HS256", "HS384", "HS512"] {
        let token = KEYS.token(algorithm, &format!("{{\"alg\":\"{algorithm}\"}}"), &claims().to_string());
        assert_eq!(fault(&issuers, &token), None, "{algorithm}");
    }
    assert_eq!(fault(&issuers, &KEYS.es256(&claims())), Some(Fault::Algorithm));
    let mut other = crate::minting::Keys::make();
    other.secret[0] ^= 1;
    let token = other.token("HS256", r#"{"alg":"HS256"}"#, &claims().to_string());
    assert_eq!(fault(&issuers, &token), Some(Fault::Signature));
    let offline = issuers.check_offline(&token, crate::minting::NOW);
    assert!(
        matches!(offline, torwart::authn::inspect::Offline::Refused(Fault::Signature)),
        "{offline:?}: there is no other key"
    );
}

#[test]
fn a_secret_shorter_than_its_hash_is_refused_rfc_7518_3_2() {
    let problems = torwart::authn::Issuers::load(&secret_issuer(&[7; 31]).config, None).unwrap_err();
    assert!(problems.render().contains("shorter than 32 bytes"), "{}", problems.render());
    let mut keys = crate::minting::Keys::make();
    keys.secret = vec![7; 40];
    let issuers = secret_issuer(&keys.secret).load();
    let of = |algorithm: &str| {
        let token = keys.token(algorithm, &format!("{{\"alg\":\"{algorithm}\"}}"), &claims().to_string());
        fault(&issuers, &token)
    };
    assert_eq!(of("HS256"), None);
    assert_eq!(of("HS384"), Some(Fault::Signature));
    assert_eq!(of("HS512"), Some(Fault::Signature));
}

#[test]
fn an_algorithm_that_is_not_configured_is_refused() {
    let issuers = Setup::new().change(|issuer| issuer.algorithms = vec![Algorithm::Rs256]).load();
    assert_eq!(fault(&issuers, &KEYS.es256(&claims())), Some(Fault::Algorithm));
    let token = KEYS.token("RS512", r#"{"alg":"RS512","kid":"rsa"}"#, &claims().to_string());
    assert_eq!(fault(&issuers, &token), Some(Fault::Algorithm));
}

#[test]
fn an_algorithm_of_another_family_than_the_named_key_is_refused() {
    for (algorithm, kid) in
        [("RS256", "p256"), ("ES256", "rsa"), ("ES256", "p384"), ("ES384", "p256"), ("EdDSA", "p256")]
    {
        let text = format!("{{\"alg\":\"{algorithm}\",\"kid\":\"{kid}\"}}");
        let token = KEYS.token(algorithm, &text, &claims().to_string());
        assert_eq!(fault(&Setup::new().load(), &token), Some(Fault::UnknownKey), "{algorithm} {kid}");
    }
}

#[test]
fn a_der_encoded_ecdsa_signature_is_refused_rfc_7518_3_4() {
    let token = KEYS.es256(&claims());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let raw = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature).unwrap();
    let integer = |half: &[u8]| {
        let positive: Vec<u8> = std::iter::once(0).chain(half.iter().copied()).collect();
        [vec![2, 33], positive].concat()
    };
    let der = [vec![0x30, 70], integer(&raw[..32]), integer(&raw[32..])].concat();
    assert_eq!(fault(&Setup::new().load(), &format!("{signed}.{}", encode(&der))), Some(Fault::Signature));
}

#[test]
fn iss_is_compared_exactly_a_trailing_slash_matters() {
    for iss in ["https://issuer.example/", "HTTPS://issuer.example", "https://issuer.example ", "https://issuer.exampl"]
    {
        assert_eq!(changed(json!({"iss": iss})), Some(Fault::Issuer), "{iss}");
    }
}

#[test]
fn aud_is_compared_exactly_and_one_of_several_is_enough() {
    assert_eq!(changed(json!({"aud": ["x", AUDIENCE]})), None);
    for aud in ["https://api.example/", "https://API.example", "api.example", ""] {
        assert_eq!(changed(json!({"aud": aud})), Some(Fault::Audience), "{aud}");
    }
    let any = Setup::new().change(|issuer| issuer.audiences = Audiences::Any).load();
    assert_eq!(fault(&any, &KEYS.es256(&with(json!({"aud": "x"})))), None);
    assert_eq!(fault(&any, &KEYS.es256(&with(json!({"aud": null})))), None);
    assert_eq!(fault(&any, &KEYS.es256(&with(json!({"aud": 5})))), Some(Fault::ClaimType));
}

#[test]
fn other_kinds_of_tokens_are_told_by_their_claims() {
    for name in ["events", "at_hash", "c_hash", "s_hash"] {
        assert_eq!(changed(json!({name: "x"})), Some(Fault::Kind), "{name}");
        assert_eq!(changed(json!({name: {}})), Some(Fault::Kind), "{name}");
        assert_eq!(payload(&with_text(&format!("\"{name}\":null"))), None, "null is absent");
    }
    for word in [
        "ID",
        "id",
        "id_token",
        "Refresh",
        "refresh_token",
        "Offline",
        "offline_access",
        "Logout",
        "logout+jwt",
        "IdToken",
    ] {
        assert_eq!(changed(json!({"typ": word})), Some(Fault::Kind), "{word}");
        assert_eq!(changed(json!({"token_use": word})), Some(Fault::Kind), "{word}");
    }
    assert_eq!(changed(json!({"typ": ["ID"]})), Some(Fault::Kind));
    for word in ["Bearer", "access", "access_token", "at+jwt", "DPoP"] {
        assert_eq!(changed(json!({"typ": word, "token_use": word})), None, "{word}");
    }
}

#[test]
fn a_nonce_marks_an_id_token_when_it_is_addressed_to_its_own_client() {
    let of = |audiences: Audiences, changes: Value| {
        let issuers = Setup::new().change(|issuer| issuer.audiences = audiences).load();
        fault(&issuers, &KEYS.es256(&with(changes)))
    };
    let to = |audience: &str| Audiences::OneOf(vec![audience.to_owned()]);
    assert_eq!(of(to(AUDIENCE), json!({"nonce": "n"})), None, "an access token for another audience than its client");
    assert_eq!(of(to("crm"), json!({"nonce": "n", "aud": "crm"})), Some(Fault::Kind));
    assert_eq!(of(to("crm"), json!({"nonce": "n", "aud": ["crm", AUDIENCE]})), None);
    assert_eq!(of(to("crm"), json!({"nonce": "n", "aud": "crm", "client_id": null, "azp": "crm"})), Some(Fault::Kind));
    assert_eq!(
        of(to("crm"), json!({"nonce": "n", "aud": "crm", "client_id": null})),
        Some(Fault::Kind),
        "nobody says who the client is"
    );
    assert_eq!(of(Audiences::Any, json!({"nonce": "n"})), Some(Fault::Kind));
    assert_eq!(of(Audiences::Any, json!({"nonce": ""})), Some(Fault::Kind));
    assert_eq!(of(to("crm"), json!({"aud": "crm"})), None, "without nonce it is none");
}

#[test]
fn strict_rfc9068_wants_its_typ_and_its_claims() {
    let issuers = Setup::new().change(|issuer| issuer.strict_rfc9068 = true).load();
    let of = |typ: &str, changes: Value| {
        let text = format!("{{\"alg\":\"ES256\",\"kid\":\"p256\"{typ}}}");
        fault(&issuers, &KEYS.token("ES256", &text, &with(changes).to_string()))
    };
    assert_eq!(of(",\"typ\":\"at+jwt\"", json!({})), None);
    assert_eq!(of(",\"typ\":\"application/AT+jwt\"", json!({})), None);
    assert_eq!(of(",\"typ\":\"JWT\"", json!({})), Some(Fault::Type));
    assert_eq!(of("", json!({})), Some(Fault::Type));
    for name in ["client_id", "iat", "jti"] {
        assert_eq!(of(",\"typ\":\"at+jwt\"", json!({name: null})), Some(Fault::Profile), "{name}");
    }
    assert_eq!(of(",\"typ\":\"at+jwt\"", json!({"client_id": 5})), Some(Fault::Profile));
    assert_eq!(of(",\"typ\":\"at+jwt\"", json!({"sub": null})), Some(Fault::Subject));
}

#[test]
fn a_token_longer_than_the_limit_is_refused_before_it_is_read() {
    let mut setup = Setup::new();
    let token = KEYS.es256(&claims());
    setup.config.limits.token = token.len();
    assert_eq!(fault(&setup.load(), &token), None);
    setup.config.limits.token = token.len() - 1;
    assert_eq!(fault(&setup.load(), &token), Some(Fault::TooLong));
}

#[test]
fn opaque_and_encrypted_tokens_are_refused() {
    let issuers = Setup::new().load();
    for token in ["2YotnFZFEjr1zCsicMWpAA", "a.b", "a.b.c.d.e", "====a"] {
        let found = outcome(&issuers, token).unwrap_err();
        let Failure::Invalid(invalid) = found else { panic!("{found:?}") };
        assert!(matches!(invalid.fault, Fault::Opaque | Fault::Credentials), "{token}: {:?}", invalid.fault);
        assert_eq!((invalid.issuer, invalid.token_digest), (None, None));
    }
}

#[test]
fn a_refused_token_tells_the_audit_record_which_it_was() {
    let token = KEYS.es256(&with(json!({"exp": 1})));
    let Failure::Invalid(invalid) = outcome(&Setup::new().load(), &token).unwrap_err() else { panic!() };
    let (signed, _) = token.rsplit_once('.').unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, signed.as_bytes());
    assert_eq!(invalid.token_digest.unwrap(), digest.as_ref());
    assert_eq!(invalid.issuer.as_deref(), Some("shoen"));
    assert_eq!(invalid.fault, Fault::Expired);
}

#[test]
fn cnf_is_refused_unless_the_certificate_it_names_is_shown_rfc_8705_3() {
    let issuers = Setup::new().load();
    let bound = KEYS.es256(&with(json!({"cnf": {"x5t#S256": encode(&[9; 32])}})));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let shown = |thumbprint: Option<u8>| {
        let certificate = thumbprint
            .map(|byte| torwart::principal::ClientCertificate { thumbprint: [byte; 32], ..Default::default() });
        let everyone = crate::minting::anyone();
        let outcome = runtime.block_on(issuers.authenticate(&bearer(&bound), &everyone, certificate.as_ref(), NOW));
        outcome.map(|principal| principal.is_some()).map_err(|failure| failure.to_string())
    };
    for _ in 0..2 {
        assert_eq!(shown(Some(9)), Ok(true), "on a remembered token as well");
        assert!(shown(None).is_err());
        assert!(shown(Some(8)).is_err());
    }
    for cnf in [
        json!({"jkt": "x"}),
        json!({"jwk": {}}),
        json!({"kid": "x"}),
        json!({}),
        json!("x"),
        json!({"x5t#S256": encode(&[9; 31])}),
        json!({"x5t#S256": 5}),
        json!({"x5t#S256": encode(&[9; 32]), "jkt": "x"}),
    ] {
        assert_eq!(changed(json!({"cnf": cnf})), Some(Fault::ConfirmationMethod), "{cnf}");
    }
}

#[test]
fn an_issuer_that_requires_binding_refuses_tokens_without() {
    let issuers = Setup::new().change(|issuer| issuer.sender_constraint_required = true).load();
    assert_eq!(fault(&issuers, &KEYS.es256(&claims())), Some(Fault::Unbound));
}

#[test]
fn duende_alone_accepts_a_token_without_sub() {
    let duende = Setup::new().change(|issuer| {
        let defaults = torwart::config::preset::defaults(Some(Preset::Duende));
        issuer.subject_optional = defaults.subject_optional;
        issuer.client_credentials_when = defaults.client_credentials_when;
        issuer.user_when = defaults.user_when;
    });
    let principal = outcome(&duende.load(), &KEYS.es256(&with(json!({"sub": null})))).unwrap();
    assert_eq!(principal.subject, None);
    assert_eq!(principal.flow, torwart::principal::Flow::ClientCredentials);
    assert_eq!(fault(&duende.load(), &KEYS.es256(&with(json!({"sub": ""})))), Some(Fault::Subject));
}

#[test]
fn the_clock_is_asked_again_on_every_request() {
    let issuers = Setup::new().load();
    let token = KEYS.es256(&with(json!({"nbf": NOW.0})));
    assert!(outcome_at(&issuers, &token, NOW).is_ok());
    assert!(outcome_at(&issuers, &token, NOW.plus(629)).is_ok());
    assert!(outcome_at(&issuers, &token, NOW.plus(630)).is_err());
    assert!(outcome_at(&issuers, &token, NOW.plus(-31)).is_err());
    assert!(outcome_at(&issuers, &token, NOW.plus(-30)).is_ok());
    assert!(outcome_at(&issuers, &token, Timestamp(0)).is_err());
}
