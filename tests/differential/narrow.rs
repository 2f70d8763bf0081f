//! policy.md, "`narrow`: lists that show only one's own".

use serde_json::Value;

use super::conditions::equal;
use super::reference::component;
use super::values::Values;
use super::world::{ISSUERS, Person};

/// One parameter that is kept to what the principal owns.
pub(crate) struct Narrowing<'w> {
    /// `query.NAME`.
    pub(crate) name: &'w str,
    /// Whose values.
    pub(crate) to: &'w str,
    style: &'w str,
}

/// What a route narrows.
pub(crate) fn narrowings(route: &Value) -> Vec<Narrowing<'_>> {
    let written = route["narrow"].as_object().into_iter().flatten();
    written
        .map(|(name, value)| Narrowing {
            name,
            to: value.as_str().or_else(|| value["to"].as_str()).unwrap(),
            style: value.get("style").and_then(Value::as_str).unwrap_or("repeat"),
        })
        .collect()
}

impl Narrowing<'_> {
    /// "JSON that does not parse: 400"
    pub(crate) fn is_readable(&self, values: &Values<'_>) -> bool {
        let json = |text: &Option<String>| serde_json::from_str::<Value>(text.as_deref().unwrap_or_default()).is_ok();
        self.style != "json" || values.whole(self.name).texts.iter().all(json)
    }

    /// "The parameter is sent: every value, read in the declared style, must be one of the principal's. It is not sent: all
    /// the principal's values are set; are there none, 403."
    pub(crate) fn holds(&self, person: &Person, values: &Values<'_>) -> bool {
        if self.is_left_as_sent(person) {
            return true;
        }
        let sent = values.whole(self.name);
        if sent.texts.is_empty() {
            let own = self.own(person);
            // What stands between values cannot stand in one.
            return !own.is_empty() && (self.style != "comma" || own.iter().all(|value| !value.contains(',')));
        }
        // A server that splits at `;` reads another value than the one that is looked at.
        !sent.wavers && sent.texts.iter().all(|text| self.are_own(text.as_deref().unwrap(), person))
    }

    /// What is added to the query.
    pub(crate) fn added(&self, person: &Person, values: &Values<'_>) -> Vec<String> {
        if self.is_left_as_sent(person) || !values.whole(self.name).texts.is_empty() {
            return Vec::new();
        }
        let name = component(self.name.trim_start_matches("query."));
        let own = self.own(person);
        let encoded: Vec<_> = own.iter().map(|value| component(value)).collect();
        match self.style {
            "repeat" => encoded.iter().map(|value| format!("{name}={value}")).collect(),
            "comma" => vec![format!("{name}={}", encoded.join(","))],
            _ => vec![format!("{name}={}", component(&Value::from(own).to_string()))],
        }
    }

    /// "A `global` principal, for `organizations`: left as sent."
    fn is_left_as_sent(&self, person: &Person) -> bool {
        self.to == "organizations" && person.global == Some(true)
    }

    fn are_own(&self, text: &str, person: &Person) -> bool {
        let is_own = |value: &str| self.own(person).iter().any(|own| equal(own, value, ISSUERS[person.issuer].folds));
        match self.style {
            "repeat" => is_own(text),
            "comma" => text.split(',').all(is_own),
            _ => match serde_json::from_str(text) {
                Ok(Value::Array(items)) => {
                    !items.is_empty() && items.iter().all(|item| item.as_str().is_some_and(is_own))
                }
                _ => false,
            },
        }
    }

    /// "`to: subject` has no value for a client-credentials token." What a server could take for nothing, or for the beginning
    /// of itself, is no value: "never an empty or missing parameter".
    fn own(&self, person: &Person) -> Vec<String> {
        let mut own = self.all(person);
        own.retain(|value| !value.trim().is_empty() && !value.contains(char::is_control));
        own
    }

    fn all(&self, person: &Person) -> Vec<String> {
        match self.to {
            "organizations" => person.organizations.clone().unwrap_or_default(),
            "permissions" => person.permissions.clone().unwrap_or_default(),
            "client" => person.client.iter().cloned().collect(),
            _ => person.subject.iter().filter(|_| person.flow != "client_credentials").cloned().collect(),
        }
    }
}
