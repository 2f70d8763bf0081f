//! Access logs of other servers: what becomes of the same requests under these policies, before anybody installs
//! anything. Such a log knows no token, so the question is how far a request gets without one.

mod combined;
mod iis;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use http::StatusCode;
use serde_json::{Value, json};

use super::lines::{self, ReadError};
use super::tally::{Group, Tally, add, merge, sorted};
use crate::principal::Claims;
use crate::response::Refusal;
use crate::target::{Authority, Scheme, split_absolute};
use crate::trial::{Attempt, Bearer, Loaded, MOMENT, Outcome, Request};

/// Characters of an example that are shown.
const SHOWN: usize = 160;

/// The form of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// What Apache calls `combined`, and nginx, too; a virtual host in front is understood.
    Combined,
    /// W3C extended, with `#Fields:`, as IIS writes it.
    Iis,
}

/// A request as a log tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Logged {
    method: String,
    host: Option<String>,
    /// Path and query, or an absolute URL.
    target: String,
    address: Option<IpAddr>,
    status: Option<u16>,
}

/// What becomes of requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fate {
    /// The kind of it.
    pub kind: Kind,
    /// The status of a refusal.
    pub status: Option<u16>,
    /// Why it is refused.
    pub reason: Box<str>,
    /// Policy and route; empty: none matched.
    pub route: Box<str>,
    /// Whether the API answered without an error then.
    pub served: bool,
}

/// The kinds of fates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Whatever token it comes with, it is refused.
    Refused,
    /// No route has this path and method: 404 or 405, and 401 without a token where tokens are needed.
    NoRoute,
    /// It needs a token. What becomes of it with one, the log cannot tell.
    Token,
    /// It passes without a token.
    Forwarded,
}

/// Every fate with its requests.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Requests.
    pub requests: u64,
    /// What becomes of them.
    pub fates: HashMap<Fate, Group>,
    /// Lines that are no requests.
    pub lines: Tally,
}

/// Policies, and tokens that stand for any.
struct Surveyor<'l> {
    loaded: &'l Loaded,
    /// One of every issuer. Nothing is granted to them.
    tokens: Vec<Bearer>,
    host: Option<&'l str>,
}

impl Kind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::NoRoute => "no route",
            Self::Token => "needs a token",
            Self::Forwarded => "forwarded",
        }
    }
}

/// Surveys a log. `host` is whom requests are sent to whose lines do not say.
///
/// # Errors
/// The file cannot be read.
pub fn survey(loaded: &Loaded, path: &Path, format: Format, host: Option<&str>) -> Result<Survey, ReadError> {
    let surveyor = Surveyor { loaded, tokens: tokens(loaded), host };
    let mut whole = Survey::default();
    match format {
        Format::Combined => {
            let look = |survey: &mut Survey, line: &[u8]| surveyor.look(survey, line, combined::read(line).map(Some));
            for survey in lines::fold(path, Survey::default, look)? {
                whole.append(survey);
            }
        }
        Format::Iis => {
            let mut fields = iis::Fields::default();
            lines::in_order(path, |line| surveyor.look(&mut whole, line, fields.read(line)))?;
        }
    }
    Ok(whole)
}

/// A token of every issuer. What they say beside their issuer never decides whether a request is ambiguous.
fn tokens(loaded: &Loaded) -> Vec<Bearer> {
    let claims: Claims = ["sub", "client_id"].into_iter().map(|name| (name.to_owned(), Value::from("-"))).collect();
    let names = loaded.rules.iter().map(|rules| &*rules.identity().name);
    let tokens = names.filter_map(|name| loaded.token(Some(name), claims.clone(), MOMENT));
    tokens.filter(|token| matches!(token, Bearer::Principal(_))).collect()
}

impl Surveyor<'_> {
    fn look(&self, survey: &mut Survey, line: &[u8], logged: Result<Option<Logged>, &'static str>) {
        let request = match logged {
            Ok(None) => return,
            Ok(Some(logged)) => self.request(&logged).map(|request| (request, logged)),
            Err(why) => Err(why.to_owned()),
        };
        match request {
            Ok((request, logged)) => {
                let fate = self.fate(&request, logged.status.is_none_or(|status| status < 400));
                survey.requests += 1;
                let example: String = format!("{} {}", logged.method, logged.target).chars().take(SHOWN).collect();
                add(&mut survey.fates, fate, &example);
            }
            Err(why) => survey.lines.malformed(line, &why),
        }
    }

    fn request(&self, logged: &Logged) -> Result<Request, String> {
        let mut request = if split_absolute(&logged.target).is_some() {
            Request::new(&logged.method, &logged.target).map_err(|error| error.to_string())?
        } else {
            let host = logged.host.as_deref().or(self.host).ok_or("it names no host: say it with `--host`")?;
            let authority = Authority::parse(host, Scheme::Https).map_err(|error| error.to_string())?;
            let url = format!("https://{authority}/");
            let request = Request::new(&logged.method, &url).map_err(|error| error.to_string())?;
            Request { target: logged.target.clone(), ..request }
        };
        request.address = logged.address;
        Ok(request)
    }

    fn fate(&self, request: &Request, served: bool) -> Fate {
        let alone = self.loaded.attempt(request, &Bearer::Nobody);
        if !needs_token(&alone) {
            return fate(&alone, served);
        }
        let tried = self.tokens.iter().map(|token| self.loaded.attempt(request, token));
        let found = tried.filter(|attempt| !needs_token(attempt)).map(|attempt| fate(&attempt, served)).next();
        match found {
            Some(fate) if fate.kind == Kind::NoRoute || fate.status == Some(400) => fate,
            Some(_) | None => Fate { kind: Kind::Token, ..fate(&alone, served) },
        }
    }
}

/// Whether nothing but an accepted token is missing.
fn needs_token(attempt: &Attempt<'_>) -> bool {
    let observed = matches!(&attempt.outcome, Outcome::Observed(_, would) if would.status == StatusCode::UNAUTHORIZED);
    observed || matches!(&attempt.outcome, Outcome::Refused(Refusal::Token(_)))
}

fn fate(attempt: &Attempt<'_>, served: bool) -> Fate {
    let (status, reason) = match &attempt.outcome {
        Outcome::Allowed(_) | Outcome::Answered(_) => (None, ""),
        Outcome::Observed(_, would) => (Some(would.status.as_u16()), would.reason),
        Outcome::Refused(refusal) => (Some(refusal.status().as_u16()), refusal.reason()),
    };
    let kind = match (status, attempt.route.is_some()) {
        (None, _) => Kind::Forwarded,
        (Some(404 | 405), _) => Kind::NoRoute,
        (Some(_), _) => Kind::Refused,
    };
    let route = match (&attempt.policy, &attempt.route) {
        (Some(policy), Some(route)) => format!("{policy} / {route}"),
        (Some(policy), None) => policy.clone(),
        (None, _) => String::new(),
    };
    Fate { kind, status, reason: reason.into(), route: route.into(), served }
}

impl Survey {
    /// The fates: by kind, what the API served before the rest, the largest first.
    pub fn most(&self) -> Vec<(&Fate, &Group)> {
        let mut list = sorted(&self.fates);
        list.sort_by_key(|(fate, _)| (fate.kind, !fate.served));
        list
    }

    /// How many requests that the API served then are refused now whatever token they come with.
    pub fn lost(&self) -> u64 {
        let lost = self.fates.iter().filter(|(fate, _)| fate.served && fate.kind <= Kind::NoRoute);
        lost.map(|(_, group)| group.count).sum()
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let fates = self.most().into_iter().map(|(fate, group)| {
            json!({
                "fate": fate.kind.as_str(),
                "status": fate.status,
                "reason": fate.reason,
                "route": fate.route,
                "served": fate.served,
                "count": group.count,
                "example": group.example,
            })
        });
        json!({
            "requests": self.requests,
            "lost": self.lost(),
            "fates": fates.collect::<Vec<_>>(),
            "malformed": self.lines.malformed,
            "malformed_lines": self.lines.shown,
        })
    }

    /// Adds what was found further behind.
    pub fn append(&mut self, behind: Self) {
        self.requests += behind.requests;
        merge(&mut self.fates, behind.fates);
        self.lines.append(behind.lines);
    }
}
