//! Two configurations compared (policy.md, "Analysis"): loads both sides, from files or Git revisions, lets
//! [`crate::policy::analysis`] find what they decide differently, and tries every request that it found once more as the
//! gateway would.

mod claims;
mod git;
mod report;
mod settings;
mod side;

use std::path::Path;
use std::sync::Arc;

use crate::diagnostic::Diagnostics;
use crate::document::Environment;
use crate::policy::analysis::{self, Change, Difference, MOMENT, Scene, Side, Tokens, Verdict, Wanted, Which};
use crate::principal::{IssuerIdentity, Principal};
use crate::target::Scheme;
use crate::trial::{Bearer, Loaded, Request};

pub use self::claims::claims;
pub use self::settings::Setting;

/// Everything in which two configurations differ.
#[derive(Debug)]
pub struct Outcome {
    /// Before.
    pub old: Loaded,
    /// After.
    pub new: Loaded,
    /// Requests that are decided or forwarded differently.
    pub differences: Vec<Difference>,
    /// Parts of the configuration outside of policies that decide about requests.
    pub settings: Vec<Setting>,
}

/// Why two sides cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// A side cannot be found.
    #[error("{0}")]
    Unreadable(String),
    /// A side is not valid.
    #[error("`{0}` is not valid")]
    Invalid(String, Diagnostics),
}

/// Compares two sides: each a `torwart.yaml`, a policy directory, or one of these in a Git revision (`REV:PATH`). `current`
/// is the configuration that policy directories are read with.
///
/// # Errors
/// A side that cannot be read or is not valid.
pub fn compare(
    old: &str,
    new: &str,
    current: Option<&Path>,
    environment: &dyn Environment,
) -> Result<Outcome, DiffError> {
    let old = side::load(old, current, environment)?;
    let new = side::load(new, current, environment)?;
    let differences = differences(&old, &new);
    let mut settings = settings::differing(&old.config, &new.config);
    settings.extend(settings::published((&old.policies, &old.config), (&new.policies, &new.config)));
    Ok(Outcome { old, new, differences, settings })
}

/// Requests that two loaded configurations decide or forward differently, each tried as the gateway would.
pub fn differences(old: &Loaded, new: &Loaded) -> Vec<Difference> {
    let (old_names, new_names) = (Names::of(old), Names::of(new));
    let tokens = Issued { old, new };
    let mut differences = analysis::compare(&old_names.side(old), &new_names.side(new), &tokens);
    for difference in &mut differences {
        tokens.confirm(difference);
    }
    differences
}

impl Outcome {
    /// Whether nothing is different, and nothing undecided.
    pub fn is_empty(&self) -> bool {
        self.differences.is_empty() && self.settings.is_empty()
    }

    /// Whether something is different for certain.
    pub fn differs(&self) -> bool {
        let certain = |found: &Difference| !matches!(found.change, Change::Undecided(_));
        !self.settings.is_empty() || self.differences.iter().any(certain)
    }
}

/// What a side's numbers stand for.
struct Names {
    issuers: Vec<Arc<IssuerIdentity>>,
    upstreams: Vec<Arc<str>>,
}

impl Names {
    fn of(loaded: &Loaded) -> Self {
        Self {
            issuers: loaded.rules.iter().map(|rules| Arc::clone(rules.identity())).collect(),
            upstreams: loaded.config.upstreams.iter().map(|upstream| Arc::clone(&upstream.name)).collect(),
        }
    }

    fn side<'s>(&'s self, loaded: &'s Loaded) -> Side<'s> {
        Side { policies: &loaded.policies, issuers: &self.issuers, upstreams: &self.upstreams }
    }
}

/// Tokens as the configured issuers would issue them.
struct Issued<'i> {
    old: &'i Loaded,
    new: &'i Loaded,
}

impl Tokens for Issued<'_> {
    fn principal(&self, which: Which, wanted: &Wanted) -> Option<Arc<Principal>> {
        match self.bearer(which, wanted)? {
            Bearer::Principal(principal) => Some(principal),
            Bearer::Nobody | Bearer::Refused(_) => None,
        }
    }

    fn subject_forms(&self) -> Vec<String> {
        let issuers = self.old.config.issuers.iter().chain(&self.new.config.issuers);
        let mut forms: Vec<String> = issuers.flat_map(claims::subject_forms).collect();
        forms.sort();
        forms.dedup();
        forms
    }
}

impl Issued<'_> {
    fn loaded(&self, which: Which) -> &Loaded {
        match which {
            Which::Old => self.old,
            Which::New => self.new,
        }
    }

    /// The token that both sides are shown: its claims are those of the issuer before, or of a new one.
    fn bearer(&self, which: Which, wanted: &Wanted) -> Option<Bearer> {
        let claims = claims::claims(self.old, self.new, wanted)?;
        self.loaded(which).token(Some(&wanted.issuer), claims, MOMENT)
    }

    /// Tries a request that shows a difference once more, the whole way through the gateway. A difference that is none there
    /// is undecided.
    fn confirm(&self, difference: &mut Difference) {
        let Some(witness) = &difference.witness else { return };
        let decided = |which: Which, verdict: &Verdict| {
            let Some(request) = request(&witness.scene) else { return false };
            let loaded = self.loaded(which);
            let bearer = match &witness.scene.token {
                None => Bearer::Nobody,
                Some(wanted) => match self.bearer(which, wanted) {
                    Some(bearer) => bearer,
                    // The issuer is not known on this side: nobody could have checked the token.
                    None => Bearer::Refused(crate::authn::Fault::IssuerNotAccepted),
                },
            };
            loaded.attempt(&request, &bearer).is_forwarded() == verdict.effect().is_some()
        };
        if !decided(Which::Old, &witness.old) || !decided(Which::New, &witness.new) {
            difference.change = Change::Undecided("the gateway refuses the request that would show it".to_owned());
            difference.witness = None;
        }
    }
}

/// A made-up request as it would be sent.
pub fn request(scene: &Scene) -> Option<Request> {
    let url = format!("https://{}{}", scene.authority.as_str(), scene.target);
    let mut request = Request::new(&scene.method, &url).ok()?;
    request.scheme = Scheme::Https;
    request.headers = scene.headers.clone();
    request.body = scene.body.clone().into();
    request.address = scene.address;
    request.certificate.clone_from(&scene.certificate);
    request.now = MOMENT;
    Some(request)
}
