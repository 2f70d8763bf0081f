//! Single claims: their types, and what gives another kind of token away (RFC 7519 section 4.1, RFC 8725 section 3.12).
//! Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::Fault;
use crate::clock::Timestamp;
use crate::principal::{Claims, Texts};

/// The last second of the year 9999. Later times are milliseconds or mistakes.
pub const LATEST: i64 = 253_402_300_799;

/// The registered claims of RFC 7519 section 4.1, well typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// `exp`, rounded down.
    pub expires_at: Timestamp,
    /// `nbf`, rounded up.
    pub not_before: Option<Timestamp>,
    /// `iat`, rounded up.
    pub issued_at: Option<Timestamp>,
    /// `aud` as a list; empty when absent.
    pub audiences: Vec<String>,
    /// `jti`; an empty one names nothing and counts as absent.
    pub token_id: Option<String>,
}

impl Registered {
    /// Reads and checks the registered claims. `null` is absent.
    ///
    /// # Errors
    /// [`Fault::NoExpiry`], or [`Fault::ClaimType`] for a wrong type or a time outside the years 1970 to 9999.
    pub fn read(claims: &Claims) -> Result<Self, Fault> {
        for name in ["iss", "sub"] {
            text(claims, name)?;
        }
        let expires_at = time(claims, "exp", f64::floor)?.ok_or(Fault::NoExpiry)?;
        Ok(Self {
            expires_at,
            not_before: time(claims, "nbf", f64::ceil)?,
            issued_at: time(claims, "iat", f64::ceil)?,
            audiences: audiences(claims)?,
            token_id: text(claims, "jti")?.filter(|id| !id.is_empty()).map(str::to_owned),
        })
    }
}

fn present<'c>(claims: &'c Claims, name: &str) -> Option<&'c Value> {
    claims.get(name).filter(|value| !value.is_null())
}

fn text<'c>(claims: &'c Claims, name: &str) -> Result<Option<&'c str>, Fault> {
    match present(claims, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Fault::ClaimType),
    }
}

/// A `NumericDate`; a fraction is rounded to the side that makes the token's life shorter.
fn time(claims: &Claims, name: &str, round: fn(f64) -> f64) -> Result<Option<Timestamp>, Fault> {
    let Some(value) = present(claims, name) else { return Ok(None) };
    numeric_date(value, round).map(Some).ok_or(Fault::ClaimType)
}

fn numeric_date(value: &Value, round: fn(f64) -> f64) -> Option<Timestamp> {
    if let Some(whole) = value.as_i64() {
        return (0..=LATEST).contains(&whole).then_some(Timestamp(whole));
    }
    let seconds = round(value.as_f64()?);
    #[expect(clippy::cast_precision_loss, reason = "the bound is far below 2^53")]
    let latest = LATEST as f64;
    #[expect(clippy::cast_possible_truncation, reason = "a whole number between 0 and the bound")]
    (0.0..=latest).contains(&seconds).then_some(Timestamp(seconds as i64))
}

/// The times of a statement that need not have any: `exp` has not passed, `nbf` and `iat` have come, each within the leeway.
///
/// # Errors
/// [`Fault::Expired`], [`Fault::NotYet`], [`Fault::ClaimType`].
pub fn check_times(claims: &Claims, leeway: i64, now: Timestamp) -> Result<(), Fault> {
    if time(claims, "exp", f64::floor)?.is_some_and(|end| now >= end.plus(leeway)) {
        return Err(Fault::Expired);
    }
    for name in ["nbf", "iat"] {
        if time(claims, name, f64::ceil)?.is_some_and(|time| time > now.plus(leeway)) {
            return Err(Fault::NotYet);
        }
    }
    Ok(())
}

/// `aud` as a list; empty when absent.
///
/// # Errors
/// [`Fault::ClaimType`].
pub fn audiences(claims: &Claims) -> Result<Vec<String>, Fault> {
    match present(claims, "aud") {
        None => Ok(Vec::new()),
        Some(Value::String(audience)) => Ok(vec![audience.clone()]),
        Some(list) => strings(list).ok_or(Fault::ClaimType),
    }
}

/// A list of strings; anything else is none.
pub fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

/// The same in one allocation.
pub fn texts(value: &Value) -> Option<Texts> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

/// Scopes as text separated by spaces (RFC 6749 section 3.3) or as a list; anything else is none.
pub fn scopes(value: &Value) -> Option<Texts> {
    match value {
        Value::String(text) => Some(text.split(' ').filter(|scope| !scope.is_empty()).collect()),
        list => strings(list).map(|scopes| scopes.into_iter().filter(|scope| !scope.is_empty()).collect()),
    }
}

/// `auth_time`. One of another type is as good as none: policies that ask for it deny.
pub fn authenticated_at(claims: &Claims) -> Option<Timestamp> {
    numeric_date(claims.get("auth_time")?, f64::floor)
}

/// Refuses claims that only other kinds of JWT have: security event and logout tokens (`events`, RFC 8417 section 2.2),
/// ID tokens (the hashes of OpenID Connect Core section 3.3.2.11 and Financial-grade API), and what says so itself.
///
/// # Errors
/// [`Fault::Kind`].
pub fn refuse_other_kinds(claims: &Claims) -> Result<(), Fault> {
    let marked = ["events", "at_hash", "c_hash", "s_hash"].iter().any(|name| present(claims, name).is_some());
    let says_so = ["typ", "token_use"].iter().filter_map(|name| present(claims, name)).any(names_other_kind);
    if marked || says_so { Err(Fault::Kind) } else { Ok(()) }
}

/// Refuses what an introspection endpoint says is another kind of token than one that a bearer may show (RFC 7662 section
/// 2.2): the word for it is `token_type`.
///
/// # Errors
/// [`Fault::Kind`]; [`Fault::ConfirmationMethod`] for tokens that need a proof beside them (RFC 9449 section 7.1).
pub fn refuse_other_token_types(answer: &Claims) -> Result<(), Fault> {
    let Some(kind) = present(answer, "token_type") else { return Ok(()) };
    let bound =
        kind.as_str().is_some_and(|kind| ["dpop", "pop", "mac"].iter().any(|word| kind.eq_ignore_ascii_case(word)));
    match (names_other_kind(kind), bound) {
        (true, _) => Err(Fault::Kind),
        (_, true) => Err(Fault::ConfirmationMethod),
        _ => Ok(()),
    }
}

/// Whether a payload's `typ` (Keycloak) or `token_use` (Cognito) is that of an ID, refresh, offline or logout token, in
/// any of the usual spellings, or as a token type identifier (RFC 8693 section 3). Something that is no text says nothing that could be trusted.
fn names_other_kind(value: &Value) -> bool {
    let Value::String(text) = value else { return true };
    let name = text.rsplit(':').next().unwrap_or(text);
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let kind = letters.strip_suffix("jwt").unwrap_or(&letters);
    let kind = kind.strip_suffix("token").unwrap_or(kind);
    matches!(kind, "id" | "refresh" | "offline" | "offlineaccess" | "logout")
}

/// `cnf`: the thumbprint of the certificate that the token is bound to (RFC 8705 section 3.1).
///
/// # Errors
/// [`Fault::ConfirmationMethod`] for any other confirmation method, alone or beside it: what cannot be checked is refused.
pub fn confirmation(claims: &Claims) -> Result<Option<[u8; 32]>, Fault> {
    let Some(confirmation) = present(claims, "cnf") else { return Ok(None) };
    let members = confirmation.as_object().ok_or(Fault::ConfirmationMethod)?;
    let mut members = members.iter();
    let (Some((name, Value::String(thumbprint))), None) = (members.next(), members.next()) else {
        return Err(Fault::ConfirmationMethod);
    };
    if name != "x5t#S256" {
        return Err(Fault::ConfirmationMethod);
    }
    let bytes = URL_SAFE_NO_PAD.decode(thumbprint).map_err(|_| Fault::ConfirmationMethod)?;
    bytes.try_into().map(Some).map_err(|_| Fault::ConfirmationMethod)
}
