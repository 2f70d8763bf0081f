//! Whether the token that opened a stream still stands: asked anew whenever something is revoked.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::exchange::Exchange;
use crate::authn::Fault;
use crate::authn::revocation::Register;
use crate::clock::Timestamp;
use crate::principal::Principal;
use crate::upstream;

/// What an answer knows of its token's standing.
#[derive(Default)]
pub(super) struct Standing {
    /// The revocations that the principal has been checked against.
    epoch: u64,
    ended: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Standing {
    /// For a request that begins: whatever is revoked from here on is noticed.
    pub(super) fn begin(register: &Register) -> Self {
        Self { epoch: register.epoch(), ended: None }
    }

    /// Whether the token has been revoked. Costs next to nothing while nothing is.
    pub(super) fn is_revoked(&mut self, register: &Register, principal: &Principal) -> bool {
        let epoch = register.epoch();
        if epoch == self.epoch {
            return false;
        }
        self.epoch = epoch;
        register.check(principal, Timestamp::now()).is_err()
    }

    /// Wakes the task once the token has been revoked.
    pub(super) fn poll_ended(
        &mut self,
        register: &Arc<Register>,
        principal: &Arc<Principal>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let ended = || Box::pin(Arc::clone(register).ended(Arc::clone(principal)));
        self.ended.get_or_insert_with(|| ended()).as_mut().poll(cx)
    }
}

impl Exchange {
    /// What ends a tunnel before its token expires.
    pub(super) fn tunnelled(&self) -> Option<Rc<dyn upstream::Standing>> {
        let principal = self.record.principal.as_ref()?;
        let register = Arc::clone(self.snapshot.issuers.register());
        Some(Rc::new(Tunnelled { register, principal: Arc::clone(principal) }))
    }

    /// Whether a token that held when the request began still does: clients and issuers may take their time.
    ///
    /// # Errors
    /// It has expired or was revoked.
    pub(super) fn check_still_valid(&self, principal: &Principal) -> Result<(), Fault> {
        let now = Timestamp::now();
        if principal.valid_until() < now {
            return Err(Fault::Expired);
        }
        self.snapshot.issuers.register().check(principal, now)
    }
}

/// The same for a tunnel, which outlives the configuration it was opened under.
#[derive(Debug)]
struct Tunnelled {
    register: Arc<Register>,
    principal: Arc<Principal>,
}

impl upstream::Standing for Tunnelled {
    fn ended(&self) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(Arc::clone(&self.register).ended(Arc::clone(&self.principal)))
    }
}
