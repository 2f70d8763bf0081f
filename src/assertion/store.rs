//! The keys on disk (`state.directory`), so that a restart keeps them and several gateways share them.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::key::{KeyFault, SigningKey};
use super::ring::{Entry, Ring};
use crate::clock::Timestamp;
use crate::state;

/// How often the lock is tried before somebody must be holding it for ever.
const ATTEMPTS: u32 = 100;
/// Time between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// Why keys cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// The file system refuses.
    #[error("the keys of assertions cannot be kept in `{}`: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has been holding the lock for seconds.
    #[error("the keys of assertions in `{}` are locked by another process", .0.display())]
    Locked(PathBuf),
    /// No key can be made.
    #[error(transparent)]
    Key(#[from] KeyFault),
}

/// Where the keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Store {
    keys: PathBuf,
    lock: PathBuf,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    keys: Vec<SavedKey>,
}

/// One of its keys.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedKey {
    /// From when it signs, in seconds since 1970.
    from: i64,
    /// The private key, base64.
    pkcs8: String,
}

impl Drop for SavedKey {
    fn drop(&mut self) {
        self.pkcs8.zeroize();
    }
}

impl Store {
    pub(super) fn new(directory: &Path) -> Self {
        let directory = directory.join("assertion");
        Self { keys: directory.join("keys.json"), lock: directory.join("lock") }
    }

    /// Brings keys and file to the state of this moment: what the file has is taken over, what it lacks is written.
    /// Gateways that share the file do this one after the other.
    pub(super) fn advance(&self, known: Option<&Ring>, now: Timestamp) -> Result<Ring, StoreFault> {
        let _lock = self.locked()?;
        let saved = self.read(now)?;
        let entries = saved.iter().chain(known).flat_map(Ring::entries).cloned();
        let ring = match Ring::of(entries, now) {
            Some(ring) => ring.advanced(now)?,
            None => Ring::begin(now)?,
        };
        if !saved.is_some_and(|saved| saved.same(&ring)) {
            self.write(&ring)?;
        }
        Ok(ring)
    }

    /// Held until the file is closed.
    #[expect(
        clippy::disallowed_methods,
        reason = "the system's lock knows no time-out, so it is tried again until one has passed"
    )]
    fn locked(&self) -> Result<File, StoreFault> {
        let fault = |source| StoreFault::File { path: self.lock.clone(), source };
        fs::create_dir_all(self.lock.parent().unwrap_or(Path::new("."))).map_err(fault)?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(state::PRIVATE)
            .open(&self.lock)
            .map_err(fault)?;
        for _ in 0..ATTEMPTS {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
                Err(TryLockError::Error(source)) => return Err(fault(source)),
            }
        }
        Err(StoreFault::Locked(self.lock.clone()))
    }

    /// What is in the file. What cannot be read as keys is replaced: it was damaged, and nobody else has them either.
    fn read(&self, now: Timestamp) -> Result<Option<Ring>, StoreFault> {
        let bytes = match fs::read(&self.keys) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreFault::File { path: self.keys.clone(), source }),
        };
        let entries = serde_json::from_slice::<Saved>(&bytes).ok().and_then(|saved| {
            let entries = saved.keys.iter().map(SavedKey::entry);
            entries.collect::<Option<Vec<_>>>()
        });
        if entries.is_none() {
            tracing::warn!(file = %self.keys.display(), "the keys of assertions cannot be read and are made anew");
        }
        Ok(entries.and_then(|entries| Ring::of(entries, now)))
    }

    fn write(&self, ring: &Ring) -> Result<(), StoreFault> {
        let keys = ring.entries().map(SavedKey::of).collect::<Result<_, _>>()?;
        let text = serde_json::to_vec(&Saved { keys }).map(Zeroizing::new);
        let written = text.map_err(io::Error::from).and_then(|text| state::write(&self.keys, &text, state::PRIVATE));
        written.map_err(|source| StoreFault::File { path: self.keys.clone(), source })
    }
}

impl SavedKey {
    fn of(entry: &Entry) -> Result<Self, KeyFault> {
        Ok(Self { from: entry.from.0, pkcs8: STANDARD.encode(&*entry.key.to_pkcs8()?) })
    }

    fn entry(&self) -> Option<Entry> {
        let der = Zeroizing::new(STANDARD.decode(&self.pkcs8).ok()?);
        Some(Entry { key: Arc::new(SigningKey::from_pkcs8(&der).ok()?), from: Timestamp(self.from) })
    }
}
