//! Reload when files change. Directories are watched, not files: editors replace files, and Kubernetes swaps a link.
//! Events only say that it is time to look; whether anything has changed is told by contents.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use aws_lc_rs::digest;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::{Snapshot, Snapshots};

/// Silence after the last event before anything is read: files are written in pieces, several at a time.
const SETTLE: Duration = Duration::from_millis(150);
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
    let events = Arc::clone(&changed);
    let eyes = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Looking at a file is no change, or looking would never end.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            events.notify_one();
        }
    })?;
    let mut watched = Watched { watcher: eyes, directories: BTreeSet::new() };
    watched.follow(&snapshots.current());
    let seen = contents(&snapshots.current());
    let task = snapshots.control.spawn(run(Arc::downgrade(snapshots), changed, watched, seen));
    Ok(Watch { task: task.abort_handle() })
}

async fn run(snapshots: Weak<Snapshots>, changed: Arc<Notify>, mut watched: Watched, mut seen: Vec<u8>) {
    loop {
        // A time-out and an event lead to the same look.
        let _ = tokio::time::timeout(POLL, changed.notified()).await;
        while tokio::time::timeout(SETTLE, changed.notified()).await.is_ok() {}
        let Some(snapshots) = snapshots.upgrade() else { return };
        // Once more as long as anything changes while it is read, or the reload names other files than the one before.
        loop {
            let found = contents(&snapshots.current());
            if found == seen {
                break;
            }
            seen = found;
            let reloading = Arc::clone(&snapshots);
            // What is wrong has been logged and kept by `reload`.
            let _ = tokio::task::spawn_blocking(move || reloading.reload().is_ok()).await;
            watched.follow(&snapshots.current());
        }
    }
}

/// The directories under watch.
struct Watched {
    watcher: RecommendedWatcher,
    directories: BTreeSet<PathBuf>,
}

impl Watched {
    /// Watches every directory that holds a file of the snapshot; those of older ones stay watched.
    fn follow(&mut self, snapshot: &Snapshot) {
        for path in &snapshot.files {
            let directory = if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(Path::new(".")) };
            if self.directories.contains(directory) {
                continue;
            }
            let mode = if path.is_dir() { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            match self.watcher.watch(directory, mode) {
                Ok(()) => {
                    self.directories.insert(directory.to_owned());
                }
                Err(error) => tracing::warn!(directory = %directory.display(), %error, "cannot watch for changes"),
            }
        }
    }
}

/// A digest of everything that the snapshot was read from, new files in its directories among it.
fn contents(snapshot: &Snapshot) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut paths: BTreeSet<PathBuf> = snapshot.files.iter().cloned().collect();
    for directory in snapshot.files.iter().filter(|path| path.is_dir()) {
        list(directory, 16, &mut paths);
    }
    for path in paths.iter().filter(|path| !path.is_dir()) {
        context.update(path.as_os_str().as_encoded_bytes());
        match std::fs::read(path) {
            Ok(bytes) => {
                context.update(&bytes.len().to_be_bytes());
                context.update(&bytes);
            }
            Err(_) => context.update(b"absent"),
        }
    }
    context.finish().as_ref().to_vec()
}

fn list(directory: &Path, depth: usize, paths: &mut BTreeSet<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".")) {
        let path = entry.path();
        if path.is_dir() && depth > 0 {
            list(&path, depth - 1, paths);
        } else {
            paths.insert(path);
        }
    }
}
