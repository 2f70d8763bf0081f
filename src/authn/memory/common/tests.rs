use serde_json::json;

use super::*;
use crate::authn::rules::Rules;
use crate::config::Issuer;
use crate::principal::IssuerId;

/// What the last of some principals takes, of which each has its own token and all have the client's claims.
fn bytes_of_last(clients: [&str; 6]) -> usize {
    let rules = Rules::new(&Issuer::new("shoen", "https://i", None), IssuerId(0));
    let common = Common::default();
    let principals = clients.iter().enumerate().map(|(number, client)| {
        let claims = json!({
            "sub": "alice", "client_id": client, "jti": number.to_string(), "scope": "orders.read orders.write invoices.read",
            "address": "a claim that all tokens of one client have, and that is long enough to be worth sharing",
        });
        let mut principal = rules.claims_to_principal(claims.as_object().unwrap().clone()).unwrap();
        common.share(&mut principal);
        principal
    });
    principals.collect::<Vec<_>>().last().unwrap().bytes()
}

#[test]
fn what_tokens_of_one_client_have_in_common_is_in_memory_once() {
    let (alike, own) = (bytes_of_last(["shop"; 6]), bytes_of_last(["a", "b", "c", "d", "e", "shop"]));
    assert!(alike + 100 < own, "{alike} and {own}");
}
