//! Reload when files change. Directories are watched, not files: editors replace files, and Kubernetes swaps a link.
//! Events only say that it is time to look; whether anything has changed is told by contents.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::sources::Sources;
use super::{Snapshots, lock};
use crate::config::AuditPath;

/// Silence after the last event before anything is read: files are written in pieces, several at a time.
const SETTLE: Duration = Duration::from_millis(150);
/// The longest wait for that silence: somebody who writes without end does not keep a change from being seen.
const IMPATIENCE: Duration = Duration::from_secs(2);
/// How often contents are compared although no event came: watches can die silently.
const POLL: Duration = Duration::from_secs(30);

/// Where the log may go.
const STANDARD: [&str; 2] = ["/proc/self/fd/1", "/proc/self/fd/2"];

/// Watching goes on as long as this lives.
#[derive(Debug)]
pub struct Watch {
    task: tokio::task::AbortHandle,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) fn start(snapshots: &Arc<Snapshots>) -> Result<Watch, notify::Error> {
    let changed = Arc::new(Notify::new());
    let mut watched = Watched::begin(&changed)?;
    watched.disregard(snapshots);
    watched.follow(&snapshots.sources());
    // What was changed before the first watch was in place.
    changed.notify_one();
    let task = snapshots.control.spawn(run(Arc::downgrade(snapshots), changed, watched));
    Ok(Watch { task: task.abort_handle() })
}

async fn run(snapshots: Weak<Snapshots>, changed: Arc<Notify>, mut watched: Watched) {
    loop {
        // A time-out and an event lead to the same look.
        let _ = tokio::time::timeout(POLL, changed.notified()).await;
        let settled = async { while tokio::time::timeout(SETTLE, changed.notified()).await.is_ok() {} };
        let _ = tokio::time::timeout(IMPATIENCE, settled).await;
        let Some(snapshots) = snapshots.upgrade() else { return };
        // It reads files, so it has a thread of its own.
        let looked = tokio::task::spawn_blocking(move || {
            watched.look(&snapshots);
            watched
        });
        watched = if let Ok(watched) = looked.await {
            watched
        } else {
            tracing::error!("watching files ended in a panic and begins again");
            Watched::begin_again(&changed).await
        };
    }
}

/// The directories under watch.
struct Watched {
    watcher: RecommendedWatcher,
    /// Device and number of each: another directory of the same name has to be watched anew.
    directories: BTreeMap<PathBuf, (u64, u64)>,
    /// What the program writes, which may stand beside the configuration: that it grows is no reason to look.
    own: Arc<Mutex<Vec<PathBuf>>>,
}

/// Whether an event may be about something that the configuration is read from. Looking at a file is no change, or looking would
/// never end.
fn matters(event: &notify::Result<notify::Event>, own: &[PathBuf]) -> bool {
    let Ok(event) = event else { return true };
    let grows = event.kind.is_modify() && !event.paths.is_empty() && event.paths.iter().all(|path| own.contains(path));
    !event.kind.is_access() && !grows
}

impl Watched {
    /// Watches nothing yet. `changed` will be told.
    fn begin(changed: &Arc<Notify>) -> Result<Self, notify::Error> {
        let (events, own) = (Arc::clone(changed), Arc::new(Mutex::new(Vec::new())));
        let written: Arc<Mutex<Vec<PathBuf>>> = Arc::clone(&own);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if matters(&event, &lock(&written)) {
                events.notify_one();
            }
        })?;
        Ok(Self { watcher, directories: BTreeMap::new(), own })
    }

    /// Passes over what the program writes: audit records as the configuration in force says, and its log, where that goes
    /// to a file.
    fn disregard(&self, snapshots: &Snapshots) {
        let snapshot = snapshots.current();
        let audit = match &snapshot.config.audit.path {
            AuditPath::File(path) => Some(&**path),
            AuditPath::Stdout => None,
        };
        let own = audit.into_iter().chain(STANDARD.map(Path::new));
        // A pipe or a terminal is no file that anybody could watch.
        *lock(&self.own) = own.filter_map(|path| path.canonicalize().ok()).collect();
    }

    /// The same as often as it takes. The look that follows finds everything to be new, and watches it.
    async fn begin_again(changed: &Arc<Notify>) -> Self {
        loop {
            tokio::time::sleep(IMPATIENCE).await;
            match Self::begin(changed) {
                Ok(watched) => return watched,
                Err(error) => tracing::error!(%error, "files are not watched; reload with SIGHUP"),
            }
        }
    }

    /// Reloads if anything has changed.
    fn look(&mut self, snapshots: &Arc<Snapshots>) {
        let sources = snapshots.sources();
        // First the watch, then the look: what changes in between is an event.
        self.follow(&sources);
        self.disregard(snapshots);
        if sources.again() != sources {
            // What is wrong has been logged and kept by `reload`.
            let _ = snapshots.reload();
            self.follow(&snapshots.sources());
            self.disregard(snapshots);
        }
    }

    /// Watches every directory in which a change of the sources shows, and no other.
    fn follow(&mut self, sources: &Sources) {
        let mut wanted = BTreeMap::new();
        for place in sources.places() {
            if let Ok(found) = place.metadata() {
                wanted.insert(place, (found.dev(), found.ino()));
            }
        }
        let gone = self.directories.extract_if(.., |place, id| wanted.get(place) != Some(id)).collect::<Vec<_>>();
        for (place, _) in gone {
            // The system has forgotten a directory that was removed before anybody asked it to.
            let _ = self.watcher.unwatch(&place);
        }
        for (place, id) in wanted {
            if self.directories.contains_key(&place) {
                continue;
            }
            match self.watcher.watch(&place, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.directories.insert(place, id);
                }
                Err(error) => tracing::warn!(directory = %place.display(), %error, "cannot watch for changes"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, CreateKind, DataChange, EventKind, ModifyKind, RemoveKind};

    use super::*;

    #[test]
    fn what_the_program_writes_itself_is_no_reason_to_look() {
        let own = ["/etc/torwart/audit.jsonl", "/etc/torwart/log"].map(PathBuf::from);
        let event = |kind: EventKind, paths: &[&str]| {
            let event =
                notify::Event { kind, paths: paths.iter().map(PathBuf::from).collect(), ..notify::Event::default() };
            matters(&Ok(event), &own)
        };
        let modified = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        assert!(!event(modified, &["/etc/torwart/audit.jsonl"]));
        assert!(!event(modified, &["/etc/torwart/log"]));
        assert!(!event(EventKind::Access(AccessKind::Any), &["/etc/torwart/torwart.yaml"]));
        assert!(event(modified, &["/etc/torwart/torwart.yaml"]));
        assert!(event(modified, &["/etc/torwart/audit.jsonl", "/etc/torwart/torwart.yaml"]));
        assert!(event(modified, &[]), "nobody says of what");
        // A link or a directory may have come in its place.
        assert!(event(EventKind::Create(CreateKind::Any), &["/etc/torwart/audit.jsonl"]));
        assert!(event(EventKind::Remove(RemoveKind::Any), &["/etc/torwart/audit.jsonl"]));
        assert!(matters(&Err(notify::Error::generic("the queue ran over")), &own));
        let other = notify::Event { kind: modified, paths: own[..1].to_vec(), ..notify::Event::default() };
        assert!(matters(&Ok(other), &[]));
    }
}
