//! Random configurations, requests and senders. Everything is drawn from small pools, so that things meet.

#[path = "generate/bodies.rs"]
mod bodies;
#[path = "generate/documents.rs"]
mod documents;
#[path = "generate/requests.rs"]
mod requests;
#[path = "generate/requirements.rs"]
mod requirements;
#[path = "generate/senders.rs"]
mod senders;

use serde_json::Value;
use torwart::policy::Encoding;

use super::dice::Dice;
use super::reference::Reader;
use super::world::{LOUD_UUID, Request, Sender, UUID, World};
use super::{Charset, EmptySegments, FormParameters, MethodOverride, Quirks, Reading};

use documents::document;

/// Texts that names, claims and requests have.
const TEXTS: [&str; 7] = ["a", "A", "b", "1", "a,b", UUID, LOUD_UUID];

const PARAMETERS: [&str; 5] = ["q", "r", "org_uid", "$filter", "ids[]"];

const HEADERS: [&str; 2] = ["X-H", "X-Other"];

/// Kinds of bodies that routes ask about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyKind {
    Json,
    Form,
    Soap,
}

impl BodyKind {
    /// What templates name.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Json => &["body./org", "body./org", "body./items/*/org", "body./n", "body./a/0", "body./m/*/*"],
            Self::Form => &["form.f", "form.f", "form.q", "form.ids[]", "form.org_uid"],
            Self::Soap => &["soap.operation"],
        }
    }

    /// The kind that a document or route asks about.
    fn of(text: &str) -> Option<Self> {
        let kinds = [("body./", Self::Json), ("form.", Self::Form), ("soap.", Self::Soap)];
        kinds.into_iter().find(|(name, _)| text.contains(name)).map(|(_, kind)| kind)
    }
}

/// A configuration that loads.
pub(crate) fn world(dice: &mut Dice) -> World {
    let shared = shared_quirks(dice);
    let upstreams = vec![("crm", quirks(dice, shared)), ("shop", quirks(dice, shared))];
    let count = dice.roll(3) + 1;
    let documents = (0..count).map(|number| document(dice, number)).collect();
    let mut world = World {
        documents,
        upstreams,
        encoding: dice.pick(&[Encoding::Percent, Encoding::Percent, Encoding::Latin1, Encoding::Base64]),
        max_bytes: dice.pick(&[4096, 4096, 4096, 4096, 40, 20]),
        inspected_body: dice.pick(&[65_536, 65_536, 120]),
    };
    let conflicts = Reader::new(&world).conflicts();
    for document in &mut world.documents {
        let policy = document["policy"].as_str().unwrap().to_owned();
        let mut number = 0..;
        let mut sound = |_: &Value| !conflicts.contains(&(policy.clone(), number.next().unwrap()));
        document["routes"].as_array_mut().unwrap().retain(&mut sound);
    }
    world
}

/// What has to be the same for a table.
fn shared_quirks(dice: &mut Dice) -> Quirks {
    let always = dice.chance(35);
    let mut reading = || if always && dice.chance(25) { Reading::Always } else { Reading::Unknown };
    let mut quirks = Quirks {
        case: reading(),
        path_parameters: reading(),
        trailing_dot: reading(),
        trailing_slash: reading(),
        encoded_slash: reading(),
        double_decoding: reading(),
        ..Quirks::default()
    };
    quirks.empty_segments = dice.pick(&[
        EmptySegments::Merge,
        EmptySegments::Merge,
        EmptySegments::Merge,
        EmptySegments::Keep,
        EmptySegments::Refuse,
    ]);
    quirks.charset = if dice.chance(12) { Charset::Latin1 } else { Charset::Utf8 };
    quirks.method_override = dice.pick(&[
        MethodOverride::Unknown,
        MethodOverride::Unknown,
        MethodOverride::Unknown,
        MethodOverride::Ignore,
        MethodOverride::Honour,
    ]);
    quirks
}

fn quirks(dice: &mut Dice, shared: Quirks) -> Quirks {
    let mut quirks = shared;
    let fields = [
        &mut quirks.case,
        &mut quirks.path_parameters,
        &mut quirks.trailing_dot,
        &mut quirks.trailing_slash,
        &mut quirks.encoded_slash,
        &mut quirks.double_decoding,
    ];
    for field in fields {
        if *field == Reading::Unknown && dice.chance(30) {
            *field = Reading::Never;
        }
    }
    quirks.form_parameters = dice.pick(&[FormParameters::Mixed, FormParameters::Separate]);
    quirks
}

/// A request and who sends it, some time after the one before.
pub(crate) fn question(dice: &mut Dice, world: &World, before: Option<&(Request, Sender)>) -> (Request, Sender) {
    let moment = before.map_or(0, |(request, _)| request.at);
    // Who is counted asks again.
    let counts = || world.documents.iter().any(|document| document.to_string().contains("\"limit\""));
    if let Some((request, sender)) = before.filter(|_| dice.chance(60) && counts()) {
        let at = moment + dice.pick(&[0, 0, 0, 1_000_000, 200_000_000, 1_000_000_000, 30_000_000_000]);
        return (Request { at, ..request.clone() }, sender.clone());
    }
    // Where request and token draw from few texts, they agree often enough.
    let texts = if dice.chance(60) { vec![dice.pick(&TEXTS)] } else { dice.some(&TEXTS) };
    let document = dice.pick(&world.documents);
    let routes = document["routes"].as_array().unwrap();
    let route = if routes.is_empty() { Value::Null } else { dice.pick(routes) };
    let at = moment + dice.pick(&[0, 0, 1_000_000, 200_000_000, 1_000_000_000, 30_000_000_000, 1_200_000_000_000]);
    let request = requests::request(dice, (&document, &route), &texts, at);
    (request, senders::sender(dice, world, (&document, &route), &texts))
}
