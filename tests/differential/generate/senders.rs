//! Random senders.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::super::dice::Dice;
use super::super::world::{Certificate, ISSUERS, Person, Sender, World};
use super::TEXTS;

/// A name that no header can carry as it is.
const ODD: &str = "\u{e4}, 50%\u{20ac}\r\n\u{ad}\u{a0}\u{85}\u{ff}";

/// Who asks: mostly somebody.
pub(crate) fn sender(dice: &mut Dice, world: &World, of: (&Value, &Value), texts: &[&str]) -> Sender {
    let addresses: [IpAddr; 4] =
        ["10.1.2.3", "::ffff:10.1.2.3", "192.0.2.1", "2001:db8::1"].map(|address| address.parse().unwrap());
    Sender {
        person: (!dice.chance(6)).then(|| person(dice, world, of, texts)),
        address: (!dice.chance(20)).then(|| dice.pick(&addresses)),
        certificate: dice.chance(60).then(|| Certificate {
            dns: dice.any(&["d1".to_owned(), "d3".to_owned()]),
            uri: dice.any(&["u1".to_owned(), "u3".to_owned()]),
            email: dice.any(&["e1".to_owned(), "e3".to_owned()]),
            subject: dice.pick(&["CN=a", "CN=b"]).to_owned(),
        }),
    }
}

fn person(dice: &mut Dice, world: &World, (document, route): (&Value, &Value), texts: &[&str]) -> Person {
    let other = dice.pick(&world.documents);
    let document = if dice.chance(90) { document } else { &other };
    let mode = route.get("client_credentials").unwrap_or(&document["client_credentials"]);
    let trusted = mode == "bypass" || mode.get("bypass").is_some();
    let accepted = dice.pick(document["issuers"].as_array().unwrap());
    let accepted = ISSUERS.iter().position(|issuer| accepted == issuer.name).unwrap();
    let issuer = if dice.chance(85) { accepted } else { dice.roll(ISSUERS.len()) };
    let mut text = |percent| dice.chance(percent).then(|| dice.pick(texts).to_owned());
    let (mut subject, mut client) = (text(88), text(88));
    if dice.chance(8) {
        subject = Some(ODD.to_owned());
    }
    if let Some(trusted) = mode.get("bypass").and_then(Value::as_array).filter(|_| dice.chance(60)) {
        client = dice.pick(trusted).as_str().map(str::to_owned);
    }
    let words = |dice: &mut Dice, all: [&str; 2]| dice.any(&all.map(str::to_owned));
    let organizations = dice.chance(80).then(|| if dice.chance(75) { texts.to_vec() } else { dice.any(&TEXTS) });
    Person {
        issuer,
        subject,
        client,
        scopes: if dice.chance(60) { vec!["s1".to_owned(), "s2".to_owned()] } else { words(dice, ["s1", "s2"]) },
        permissions: dice.chance(70).then(|| words(dice, ["p1", "p2"])),
        organizations: organizations.map(|all| all.into_iter().map(str::to_owned).collect()),
        global: dice.chance(60).then(|| dice.chance(35)),
        flow: if ISSUERS[issuer].tells && trusted && dice.chance(75) {
            "client_credentials"
        } else if ISSUERS[issuer].tells {
            dice.pick(&["user", "user", "client_credentials", "unknown"])
        } else {
            "unknown"
        },
        claims: claims(dice, texts),
        acr: dice.chance(75).then(|| dice.pick(&["1", "1", "2", "3"]).to_owned()),
        authenticated: dice.chance(80).then(|| dice.pick(&[-31, -30, 0, 0, 10, 11, 61])),
    }
}

fn claims(dice: &mut Dice, texts: &[&str]) -> Map<String, Value> {
    let mut claims = Map::new();
    for name in ["c", "d"] {
        if dice.chance(75) {
            claims.insert(name.to_owned(), claim_value(dice, texts));
        }
    }
    if dice.chance(60) {
        claims.insert("broker".to_owned(), json!({"id": claim_value(dice, texts)}));
    }
    claims
}

fn claim_value(dice: &mut Dice, texts: &[&str]) -> Value {
    let scalar = |dice: &mut Dice| {
        let odd = [
            json!(1),
            json!(2),
            json!(-1),
            json!(1.5),
            json!(1.0),
            json!(true),
            json!(null),
            json!({}),
            json!("\u{e4} b%"),
        ];
        if dice.chance(70) { json!(dice.pick(texts)) } else { dice.pick(&odd) }
    };
    if dice.chance(35) { Value::Array((0..dice.roll(3)).map(|_| scalar(dice)).collect()) } else { scalar(dice) }
}
