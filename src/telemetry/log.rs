//! The program's own log, on standard error: JSON lines or pretty ones, by level.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use super::json;
use crate::config::Logging;

/// The handle of the filter in force, once the log is installed.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Whether lines are JSON.
static JSON: AtomicBool = AtomicBool::new(true);

/// Starts the log of this process. At the first call; later ones change format and level.
pub fn install(logging: &Logging) {
    if FILTER.get().is_some() {
        return change(logging);
    }
    JSON.store(logging.json, Ordering::Relaxed);
    let (filter, handle) = reload::Layer::new(targets(logging.level));
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt::layer().with_ansi(colour).event_format(Lines).with_writer(io::stderr);
    // Fails when a log is there already, as in tests that install one of their own.
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// Changes the format and level of the log, if it was started.
pub(super) fn change(logging: &Logging) {
    if let Some(filter) = FILTER.get() {
        JSON.store(logging.json, Ordering::Relaxed);
        // Fails only when the subscriber is gone, and it lives as long as the process.
        let _ = filter.reload(targets(logging.level));
    }
}

/// What is shown: our own events by the level asked for; those of libraries from `warn` on, because at lower levels
/// they tell what is on the wire, tokens included.
fn targets(level: tracing::Level) -> Targets {
    let level = LevelFilter::from_level(level);
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target(env!("CARGO_CRATE_NAME"), level)
}

/// Lines in the format of the moment.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> std::fmt::Result {
        if JSON.load(Ordering::Relaxed) {
            let format = Format::default().json().with_timer(Clock).flatten_event(true);
            format.with_current_span(false).with_span_list(false).format_event(context, writer, event)
        } else {
            let colour = writer.has_ansi_escapes();
            Format::default().with_timer(Clock).with_ansi(colour).format_event(context, writer, event)
        }
    }
}

struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        writer.write_str(&json::time(SystemTime::now()))
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_are_silent_below_warn_at_every_level() {
        for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
            let targets = targets(level);
            for library in ["h2::codec", "hyper", "rustls", "tokio_rustls", "jsonwebtoken"] {
                assert!(!targets.would_enable(library, &Level::INFO), "{library} at {level}");
                assert!(!targets.would_enable(library, &Level::DEBUG), "{library} at {level}");
            }
            assert!(targets.would_enable("torwart::gateway", &level));
        }
        assert!(!targets(Level::INFO).would_enable("torwart::gateway", &Level::DEBUG));
        assert!(!targets(Level::ERROR).would_enable("hyper", &Level::WARN));
    }
}
