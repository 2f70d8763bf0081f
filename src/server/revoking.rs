//! What operators revoke and take back: between the admin listener's words and the issuers in force.

use std::sync::Arc;

use crate::admin::revocations::{Made, Order, Page, Refusal, Revocation, What, Window, place_text, rfc3339};
use crate::authn::Issuers;
use crate::authn::revocation::{self, Place, Target};
use crate::clock::Timestamp;
use crate::snapshot::{Hex, Snapshot};

/// Revokes. Blocks while the disk writes.
pub(super) fn revoke(snapshot: &Snapshot, order: &Order) -> Result<Made, Refusal> {
    let issuers = &snapshot.issuers;
    let what = match &order.what {
        What::TokenId(id) => revocation::Order::TokenId(id),
        What::Token(token) => revocation::Order::Token(token),
        What::Subject(subject) => revocation::Order::Subject(subject),
        What::Client(client) => revocation::Order::Client(client),
        What::IssuedBefore(moment) => revocation::Order::IssuedBefore(*moment),
    };
    let revoked = issuers.revoke(&order.issuer, what, order.expires, Timestamp::now());
    let revoked = revoked.map_err(|error| Refusal::Wrong(error.to_string()))?;
    let made = told(issuers, &revoked.revocation);
    tracing::info!(id = made.id, issuer = %made.issuer, kind = made.kind, "a revocation is in force");
    if let Some(error) = revoked.unsaved {
        let told = format!("the revocation is in force, but it cannot be kept: {error}; that is tried again");
        return Err(Refusal::Unsaved(told));
    }
    let kept = issuers.register().revocations().is_kept();
    Ok(Made { revocation: made, is_new: revoked.is_new, in_force: revoked.in_force, kept })
}

/// Takes a revocation back. Blocks while the disk writes.
pub(super) fn take_back(snapshot: &Snapshot, id: &str) -> Result<Revocation, Refusal> {
    let id = id.parse().map_err(|_| Refusal::Unknown)?;
    let taken = snapshot.issuers.register().revocations().take_back(&id);
    let taken = taken.map_err(|error| {
        Refusal::Unsaved(format!("the revocation stays in force: that it was taken back cannot be kept: {error}"))
    })?;
    let told = told(&snapshot.issuers, &taken.ok_or(Refusal::Unknown)?);
    tracing::info!(id = told.id, issuer = %told.issuer, kind = told.kind, "a revocation was taken back");
    Ok(told)
}

/// A part of the list.
pub(super) fn list(snapshot: &Snapshot, window: Window) -> Page {
    let revocations = snapshot.issuers.register().revocations();
    let after = window.after.map(|(at, half)| Place { at, half });
    let page = revocations.list(window.most, after, Timestamp::now());
    Page {
        revocations: page.revocations.iter().map(|revocation| told(&snapshot.issuers, revocation)).collect(),
        total: page.total,
        next: page.next.map(|place| place_text((place.at, place.half))),
        kept: revocations.is_kept(),
    }
}

fn told(issuers: &Issuers, revocation: &revocation::Revocation) -> Revocation {
    Revocation {
        id: revocation.id.to_string(),
        issuer: issuers.name_of(&revocation.issuer).unwrap_or_else(|| Arc::clone(&revocation.issuer)),
        kind: revocation.target.kind(),
        value: match &revocation.target {
            Target::TokenId(text) | Target::Subject(text) | Target::Client(text) => text.to_string(),
            Target::TokenIdDigest(digest) | Target::Token(digest) => format!("sha256:{}", Hex(digest)),
            Target::IssuedBefore(moment) => rfc3339(*moment),
        },
        revoked: rfc3339(revocation.at),
        until: revocation.until.map(rfc3339),
    }
}
