//! The clock of a connection: how long it may take to send a head, how long it may say nothing, and after which silence
//! it is put to rest.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::pulse::{Phase, Pulse};
use crate::config::Limits;

/// How long a connection that says nothing is kept when the gateway stops. Its client may be about to ask: who asks in this time
/// is answered, and told that the connection ends, instead of finding it closed.
const LAST_CALL: Duration = Duration::from_millis(500);

/// What it is time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// This phase has lasted too long.
    End(Phase),
    /// The connection has been silent for long enough to be put to rest.
    Rest,
}

/// See the module's description.
pub(super) struct Pace {
    header: Duration,
    idle: Duration,
    /// The longest silence between two requests.
    silence: Duration,
    /// What was going on when it was looked at last, and since when.
    state: (Phase, u64),
    since: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Pace {
    /// The clock of a connection that begins.
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            header: limits.header_timeout,
            idle: limits.idle_timeout,
            silence: limits.idle_timeout,
            state: (Phase::Idle, 0),
            since: Instant::now(),
            timer: Box::pin(sleep(limits.header_timeout.min(limits.idle_timeout))),
        }
    }

    /// From this moment on silence is short.
    pub(super) fn hurry(&mut self) {
        self.silence = self.silence.min(LAST_CALL);
        self.since = Instant::now();
    }

    /// Ready with what it is time for; with [`Due::Rest`] only after the silence that `rest_after` says. The timer is set
    /// anew only where it would ring too late, so that a request on a busy connection costs no timer operation.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, pulse: &Pulse, rest_after: Option<Duration>) -> Poll<Due> {
        let state = (pulse.phase(), pulse.requests());
        if state != self.state {
            self.state = state;
            if self.patience(rest_after).is_some() {
                self.since = Instant::now();
            }
        }
        let next = self.next(rest_after);
        if let Some((at, _)) = next.filter(|(at, _)| *at < self.timer.deadline()) {
            self.timer.as_mut().reset(at);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            match next {
                Some((at, due)) if at <= Instant::now() => return Poll::Ready(due),
                Some((at, _)) => self.timer.as_mut().reset(at),
                None => {
                    let later = Instant::now() + self.idle;
                    self.timer.as_mut().reset(later);
                }
            }
        }
        Poll::Pending
    }

    /// What will be due if nothing happens, and when.
    fn next(&self, rest_after: Option<Duration>) -> Option<(Instant, Due)> {
        self.patience(rest_after).map(|(after, due)| (self.since + after, due))
    }

    /// How long what is going on may last, and what is due then. `None`: as long as it takes.
    fn patience(&self, rest_after: Option<Duration>) -> Option<(Duration, Due)> {
        let (phase, requests) = self.state;
        let end = match (phase, requests) {
            // A connection that never said anything is given the time for its first head.
            (Phase::Idle, 0) => self.header.min(self.silence),
            (Phase::Head, _) => self.header,
            (Phase::Idle, _) => self.silence,
            (Phase::Ending, _) => self.idle,
            (Phase::Busy | Phase::Resting | Phase::Over, _) => return None,
        };
        match rest_after.filter(|rest_after| phase == Phase::Idle && *rest_after < end) {
            Some(rest_after) => Some((rest_after, Due::Rest)),
            None => Some((end, Due::End(phase))),
        }
    }
}
