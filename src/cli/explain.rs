//! `torwart explain`: why a request is decided as it is.

use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Common, Exit, Format};
use crate::clock::Timestamp;
use crate::config::AuditPath;
use crate::explain::{self, Explained};
use crate::principal::ClientCertificate;
use crate::trial::{Bearer, Loaded, Request};

/// Arguments of `torwart explain`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Method and URL of a request, or the id of one of the past.
    #[arg(required = true, num_args = 1..=2, value_names = ["METHOD | REQUEST-ID", "URL"])]
    request: Vec<String>,
    /// Ask with the token of this persona of the policy tests.
    #[arg(long = "as", value_name = "PERSONA", conflicts_with_all = ["token", "claims"])]
    persona: Option<String>,
    /// Ask with this token.
    #[arg(long, value_name = "TOKEN", conflicts_with = "claims")]
    token: Option<String>,
    /// Ask with a token of the claims in this JSON file, `issuer` with the issuer's name among them; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    claims: Option<PathBuf>,
    /// A header field; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The body, or `@` and the file that has it.
    #[arg(short = 'd', long = "data", value_name = "BODY")]
    body: Option<String>,
    /// The client's address. It is unknown unless given.
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// The moment, as in `2026-11-21T22:00:00Z`. It is now unless given.
    #[arg(long, value_name = "RFC3339")]
    time: Option<String>,
    /// A name of the client certificate, as `dns=NAME`, `uri=URI`, `email=ADDRESS` or `subject=NAME`.
    #[arg(long, value_name = "KIND=NAME")]
    certificate: Vec<String>,
    /// Look for a request of the past in this audit file instead of the configured one; several are looked through in turn.
    #[arg(long, value_name = "FILE")]
    audit: Vec<PathBuf>,
    /// Decide with the policies of this directory instead of those of the configuration.
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// End with 1 when the request is refused.
    #[arg(long)]
    exit_code: bool,
    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args, common: &Common) -> Exit {
    let Some(loaded) = common.load_other_policies(args.policies.as_deref()) else { return Exit::NoAnswer };
    let outcome = match args.request.as_slice() {
        [method, url] => of_request(args, (method, url), &loaded, common),
        [request_id] => of_past(args, request_id, &loaded, common),
        _ => Err("give a method and a URL, or the id of a request".to_owned()),
    };
    match outcome {
        Ok(denied) => {
            if denied && args.exit_code {
                Exit::No
            } else {
                Exit::Yes
            }
        }
        Err(message) => {
            common.note(&message);
            Exit::NoAnswer
        }
    }
}

/// Whether the request is refused.
fn of_request(args: &Args, line: (&str, &str), loaded: &Loaded, common: &Common) -> Result<bool, String> {
    let (request, sent) = request(args, line)?;
    let bearer = bearer(args, sent, &request, loaded, common)?;
    let explained = explain::explain(loaded, &request, &bearer);
    print(args, common, &explained);
    Ok(explained.decision == "deny")
}

fn print(args: &Args, common: &Common, explained: &Explained) {
    match args.format {
        Format::Json => common.print_json(&explained.to_json()),
        Format::Text => common.print(&explained.text(std::env::current_dir().ok().as_deref())),
    }
}

fn of_past(args: &Args, request_id: &str, loaded: &Loaded, common: &Common) -> Result<bool, String> {
    let configured = match &loaded.config.audit.path {
        AuditPath::File(path) => vec![path.clone()],
        AuditPath::Stdout => Vec::new(),
    };
    let files = if args.audit.is_empty() { configured } else { args.audit.clone() };
    if files.is_empty() {
        return Err("audit records go to standard output here: name the file that has them with `--audit`".to_owned());
    }
    let past = explain::find(loaded, &files, request_id).map_err(|error| error.to_string())?;
    match args.format {
        Format::Json => common.print_json(&past.to_json()),
        Format::Text => common.print(&past.text(std::env::current_dir().ok().as_deref())),
    }
    Ok(past.is_denied())
}

/// The request, and the token that it brings in `Authorization`.
fn request(args: &Args, (method, url): (&str, &str)) -> Result<(Request, Option<String>), String> {
    let mut request = Request::new(method, url).map_err(|error| error.to_string())?;
    request.now = match &args.time {
        Some(text) => {
            let moment = OffsetDateTime::parse(text, &Rfc3339);
            let moment = moment.map_err(|_| format!("`{text}` is not a time such as `2026-11-21T22:00:00Z`"))?;
            Timestamp(moment.unix_timestamp())
        }
        None => Timestamp::now(),
    };
    let mut token = None;
    for field in &args.headers {
        let (name, value) = field.split_once(':').ok_or_else(|| format!("`{field}` is not `Name: value`"))?;
        let wrong = || format!("`{field}` is not a header field");
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
        let value = HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_| wrong())?;
        let bearer = value.to_str().ok().and_then(|text| text.split_once(' '));
        match bearer.filter(|(scheme, _)| name == AUTHORIZATION && scheme.eq_ignore_ascii_case("bearer")) {
            Some((_, text)) if token.is_none() => token = Some(text.trim().to_owned()),
            _ => {
                request.headers.append(name, value);
            }
        }
    }
    if let Some(body) = &args.body {
        request.body = match body.strip_prefix('@') {
            Some(path) => std::fs::read(path).map_err(|error| format!("cannot read `{path}`: {error}"))?.into(),
            None => body.clone().into_bytes().into(),
        };
    }
    request.address = args.address;
    request.certificate = certificate(&args.certificate)?;
    Ok((request, token))
}

fn certificate(names: &[String]) -> Result<Option<ClientCertificate>, String> {
    let mut certificate: Option<ClientCertificate> = None;
    for entry in names {
        let certificate = certificate.get_or_insert_default();
        match entry.split_once('=') {
            Some(("dns", name)) => certificate.dns.push(name.to_owned()),
            Some(("uri", name)) => certificate.uri.push(name.to_owned()),
            Some(("email", name)) => certificate.email.push(name.to_owned()),
            Some(("subject", name)) => name.clone_into(&mut certificate.subject),
            _ => return Err(format!("`{entry}` does not begin with `dns=`, `uri=`, `email=` or `subject=`")),
        }
    }
    Ok(certificate)
}

fn bearer(
    args: &Args,
    sent: Option<String>,
    request: &Request,
    loaded: &Loaded,
    common: &Common,
) -> Result<Bearer, String> {
    let said = |error: explain::TokenError| {
        if let explain::TokenError::Issuers(problems) = &error {
            common.report(problems);
        }
        error.to_string()
    };
    if let Some(name) = &args.persona {
        return explain::persona(loaded, name, request.now).map_err(said);
    }
    if let Some(path) = &args.claims {
        let text = text_of(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
        return explain::claims(loaded, &text, request.now).map_err(said);
    }
    let Some(token) = args.token.clone().or(sent) else { return Ok(Bearer::Nobody) };
    let known = explain::pasted(loaded, &token, request.now).map_err(said)?;
    if let Some(note) = known.note {
        common.note(&note);
    }
    Ok(known.bearer)
}

fn text_of(path: &Path) -> std::io::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        return std::io::stdin().lock().read_to_string(&mut text).map(|_| text);
    }
    std::fs::read_to_string(path)
}
