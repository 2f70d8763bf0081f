//! Reload when files change. Directories are watched, not files: editors replace files, and Kubernetes swaps a link.
//! Events only say that it is time to look; whether anything has changed is told by contents.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::Snapshots;
use super::sources::Sources;

/// Silence after the last event before anything is read: files are written in pieces, several at a time.
const SETTLE: Duration = Duration::from_millis(150);
/// The longest wait for that silence: somebody who writes without end does not keep a change from being seen.
const IMPATIENCE: Duration = Duration::from_secs(2);
/// How often contents are compared although no event came: watches can die silently.
const POLL: Duration = Duration::from_secs(30);

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
}

impl Watched {
    /// Watches nothing yet. `changed` will be told.
    fn begin(changed: &Arc<Notify>) -> Result<Self, notify::Error> {
        let events = Arc::clone(changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Looking at a file is no change, or looking would never end.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                events.notify_one();
            }
        })?;
        Ok(Self { watcher, directories: BTreeMap::new() })
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
        if sources.again() != sources {
            // What is wrong has been logged and kept by `reload`.
            let _ = snapshots.reload();
            self.follow(&snapshots.sources());
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
