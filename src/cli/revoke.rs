//! `torwart revoke`: makes the running gateway refuse tokens, tells which it refuses, and takes that back.

use std::io::Read as _;

use clap::ArgGroup;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Common, Exit, Format};
use crate::admin;
use crate::admin::revocations::rfc3339;
use crate::clock::Timestamp;
use crate::config::Config;

/// Revocations asked for at once.
const PAGE: usize = 10_000;

/// Arguments of `torwart revoke`.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").required(true))]
pub(super) struct Args {
    /// The issuer, by its name in the configuration.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["list", "remove"])]
    issuer: Option<String>,
    /// Refuse tokens with this `jti`.
    #[arg(long, group = "what", requires = "issuer")]
    jti: Option<String>,
    /// Refuse this token; `-` reads it from stdin, where no list of processes shows it. Only its `jti` or digest is kept.
    #[arg(long, group = "what", requires = "issuer")]
    token: Option<String>,
    /// Refuse every token of this subject.
    #[arg(long, group = "what", requires = "issuer")]
    subject: Option<String>,
    /// Refuse every token of this client.
    #[arg(long, group = "what", requires = "issuer")]
    client: Option<String>,
    /// Refuse every token of the issuer that was issued before this time (RFC 3339, or `now`).
    #[arg(long, group = "what", requires = "issuer", value_name = "TIME")]
    issued_before: Option<String>,
    /// When the revocation ends by itself (RFC 3339). Default: never, or when the token has expired.
    #[arg(long, value_name = "TIME", requires = "issuer")]
    expires: Option<String>,
    /// Print the revocations, the newest first.
    #[arg(long, group = "what")]
    list: bool,
    /// Take a revocation back.
    #[arg(long, group = "what", value_name = "ID")]
    remove: Option<String>,
    /// How to print the outcome.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args, common: &Common) -> Exit {
    let Some(config) = common.load_config() else { return Exit::NoAnswer };
    let done = match &args.remove {
        _ if args.list => list(args, common, &config),
        Some(id) => remove(args, common, &config, id),
        None => revoke(args, common, &config),
    };
    done.unwrap_or_else(|problem| {
        common.note(&problem);
        Exit::NoAnswer
    })
}

fn revoke(args: &Args, common: &Common, config: &Config) -> Result<Exit, String> {
    let mut order = serde_json::Map::new();
    let mut put = |name: &str, value: Option<&str>| {
        order.extend(value.map(|value| (name.to_owned(), Value::from(value))));
    };
    let token = args.token.as_deref().map(token).transpose()?;
    let before = args.issued_before.as_deref().map(|time| match time {
        "now" => rfc3339(Timestamp::now().plus(1)),
        time => time.to_owned(),
    });
    put("issuer", args.issuer.as_deref());
    put("jti", args.jti.as_deref());
    put("token", token.as_deref());
    put("subject", args.subject.as_deref());
    put("client", args.client.as_deref());
    put("issued_before", before.as_deref());
    put("expires", args.expires.as_deref());
    let body = Value::from(order).to_string();
    let (status, answer) = ask(config, &Method::POST, "/api/v1/revocations", Some(body))?;
    if !status.is_success() {
        return Err(detail(&answer));
    }
    if args.format == Format::Json {
        common.print_json(&answer);
        return Ok(Exit::Yes);
    }
    if answer.get("in_force") != Some(&Value::Bool(true)) {
        common.print("the token has expired already, there is nothing to revoke\n");
        return Ok(Exit::Yes);
    }
    common.print(&line(&answer));
    if answer.get("kept") != Some(&Value::Bool(true)) {
        common.note("it lasts until the gateway ends: `state.directory` is not set");
    }
    Ok(Exit::Yes)
}

fn token(text: &str) -> Result<String, String> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut token = String::new();
    std::io::stdin().read_to_string(&mut token).map_err(|error| format!("stdin cannot be read: {error}"))?;
    Ok(token)
}

fn remove(args: &Args, common: &Common, config: &Config, id: &str) -> Result<Exit, String> {
    if !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("a revocation's id is hexadecimal, as `torwart revoke --list` prints it".to_owned());
    }
    let path = format!("/api/v1/revocations/{id}");
    let (status, answer) = ask(config, &Method::DELETE, &path, None)?;
    match status {
        StatusCode::OK if args.format == Format::Json => common.print_json(&answer),
        StatusCode::OK => common.print(&format!("taken back: {}", line(&answer))),
        StatusCode::NOT_FOUND => {
            common.note(&detail(&answer));
            return Ok(Exit::No);
        }
        _ => return Err(detail(&answer)),
    }
    Ok(Exit::Yes)
}

fn list(args: &Args, common: &Common, config: &Config) -> Result<Exit, String> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/revocations?limit={PAGE}{after}");
        let (status, mut answer) = ask(config, &Method::GET, &path, None)?;
        if !status.is_success() {
            return Err(detail(&answer));
        }
        if let Some(Value::Array(page)) = answer.get_mut("revocations").map(Value::take) {
            all.extend(page);
        }
        match answer.get("next").and_then(Value::as_str) {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    match args.format {
        Format::Json => common.print_json(&json!({"revocations": all})),
        Format::Text if all.is_empty() => common.note("nothing is revoked"),
        Format::Text => common.print(&all.iter().map(line).collect::<String>()),
    }
    Ok(Exit::Yes)
}

fn ask(config: &Config, method: &Method, path: &str, body: Option<String>) -> Result<(StatusCode, Value), String> {
    let (status, body) = admin::ask(&config.admin, method, path, body).map_err(|error| error.to_string())?;
    let answer = serde_json::from_slice(&body).map_err(|_| "the admin listener's answer is not JSON".to_owned())?;
    Ok((status, answer))
}

fn detail(answer: &Value) -> String {
    answer.get("detail").and_then(Value::as_str).unwrap_or("the admin listener refused").to_owned()
}

/// A revocation in one line. Control characters of values are escaped: a terminal obeys them.
fn line(revocation: &Value) -> String {
    let word = |key: &str| revocation.get(key).and_then(Value::as_str).unwrap_or_default();
    let value: String = word("value").chars().map(shown).collect();
    let until = match word("until") {
        "" => String::new(),
        until => format!(" until {until}"),
    };
    let [id, issuer, kind, revoked] = ["id", "issuer", "kind", "revoked"].map(word);
    format!("{id}  {issuer}  {kind} {value}  since {revoked}{until}\n")
}

fn shown(letter: char) -> String {
    if letter.is_control() { letter.escape_unicode().to_string() } else { letter.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_everything_and_nothing_that_a_terminal_obeys() {
        let revocation = json!({"id": "00ff", "issuer": "shoen", "kind": "subject", "value": "al\u{1b}[2Jice",
            "revoked": "2026-11-22T10:00:00Z", "until": "2026-11-23T10:00:00Z"});
        let wanted = "00ff  shoen  subject al\\u{1b}[2Jice  since 2026-11-22T10:00:00Z until 2026-11-23T10:00:00Z\n";
        assert_eq!(line(&revocation), wanted);
        let endless = json!({"id": "00ff", "issuer": "shoen", "kind": "client", "value": "shop", "until": null,
            "revoked": "2026-11-22T10:00:00Z"});
        assert_eq!(line(&endless), "00ff  shoen  client shop  since 2026-11-22T10:00:00Z\n");
    }
}
