//! What a configuration is read from: the content of every file, and the directories in which a change shows.
//!
//! A configuration is many files, and somebody may replace them while they are read. What was built from half of the old
//! ones and half of the new ones must never come into force, so contents are compared before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use aws_lc_rs::digest;

/// How deep policy directories may nest.
const DEPTH: usize = 16;
/// How many symbolic links a path may lead over, as in Linux (`path_resolution(7)`).
const LINKS: usize = 40;

/// The files that a configuration was read from, as they were at one moment.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Sources {
    /// Files and directories, as the configuration names them.
    named: BTreeSet<PathBuf>,
    /// SHA-256 of every file, those of the directories among them; `None` where there is none that can be read.
    contents: BTreeMap<PathBuf, Option<[u8; 32]>>,
}

impl Sources {
    /// Looks at all of these.
    pub(super) fn look(named: impl IntoIterator<Item = PathBuf>) -> Self {
        let named: BTreeSet<PathBuf> = named.into_iter().collect();
        let mut files: BTreeSet<PathBuf> = BTreeSet::new();
        for path in &named {
            if path.is_dir() {
                walk(path, DEPTH, &mut |entry, is_directory| {
                    if !is_directory {
                        files.insert(entry.to_owned());
                    }
                });
            } else {
                files.insert(path.clone());
            }
        }
        let contents = files.into_iter().map(|path| {
            let digest = fs::read(&path).ok().map(|bytes| sha256(&bytes));
            (path, digest)
        });
        Self { contents: contents.collect(), named }
    }

    /// The same files and directories, looked at again.
    pub(super) fn again(&self) -> Self {
        Self::look(self.named.iter().cloned())
    }

    /// What is looked at.
    pub(super) fn named(&self) -> impl Iterator<Item = &PathBuf> {
        self.named.iter()
    }

    /// Whether every file that `other` knows was the same here.
    pub(super) fn hold(&self, other: &Self) -> bool {
        other.contents.iter().all(|(path, content)| self.contents.get(path) == Some(content))
    }

    /// The directories in which it shows that something has changed: where each file stands, and where each symbolic link
    /// on the way to it does. Kubernetes swaps a link beside the files, releases are switched by a link far above them.
    pub(super) fn places(&self) -> BTreeSet<PathBuf> {
        let mut places = BTreeSet::new();
        for path in &self.named {
            follow(path, LINKS, &mut places);
            if path.is_dir() {
                places.extend(path.canonicalize());
                walk(path, DEPTH, &mut |entry, is_directory| {
                    follow(entry, LINKS, &mut places);
                    if is_directory {
                        places.extend(entry.canonicalize());
                    }
                });
            }
        }
        places
    }
}

/// Everything below a directory but what is hidden; a mounted `ConfigMap` hides the directories that its links lead to.
fn walk(directory: &Path, depth: usize, visit: &mut dyn FnMut(&Path, bool)) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".")) {
        let path = entry.path();
        let is_directory = path.is_dir();
        visit(&path, is_directory);
        if is_directory && depth > 0 {
            walk(&path, depth - 1, visit);
        }
    }
}

/// Adds the directory that holds the file, and the one of every link on the way. Where the way ends early, the last
/// directory that is there is where the rest will appear.
fn follow(path: &Path, links: usize, places: &mut BTreeSet<PathBuf>) {
    let mut here = PathBuf::new();
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        if !matches!(part, Component::Normal(_)) {
            here.push(part);
            continue;
        }
        let before = if here.as_os_str().is_empty() { PathBuf::from(".") } else { here.clone() };
        here.push(part);
        let found = fs::symlink_metadata(&here);
        let is_link = found.as_ref().is_ok_and(|found| found.file_type().is_symlink());
        if is_link || found.is_err() || parts.peek().is_none() {
            places.extend(before.canonicalize());
        }
        if found.is_err() {
            return;
        }
        if is_link {
            // Relative targets count from where the link stands, and the rest of the way goes on behind the target.
            let Some(target) = fs::read_link(&here).ok().filter(|_| links > 0) else { return };
            let rest: PathBuf = parts.collect();
            let target = before.join(target);
            let whole = if rest.as_os_str().is_empty() { target } else { target.join(rest) };
            return follow(&whole, links - 1, places);
        }
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        (directory, root)
    }

    #[test]
    fn a_change_of_any_content_shows_and_a_rewrite_of_the_same_does_not() {
        let (_kept, root) = directory();
        fs::create_dir_all(root.join("policies/sub")).unwrap();
        let files = ["torwart.yaml", "policies/a.yaml", "policies/sub/b.yaml"];
        for name in files {
            fs::write(root.join(name), name).unwrap();
        }
        let named = ["torwart.yaml", "policies", "absent.pem"].map(|name| root.join(name));
        let before = Sources::look(named);
        for name in files {
            fs::write(root.join(name), name).unwrap();
        }
        assert_eq!(before.again(), before);
        for name in files.into_iter().chain(["policies/new.yaml", "absent.pem"]) {
            let before = before.again();
            fs::write(root.join(name), "other").unwrap();
            assert_ne!(before.again(), before, "{name}");
        }
        let before = before.again();
        fs::remove_file(root.join("policies/a.yaml")).unwrap();
        assert_ne!(before.again(), before, "a file is gone");
        fs::write(root.join("policies/.swap"), "an editor's").unwrap();
        assert_eq!(before.again().again(), before.again(), "hidden files are not read");
    }

    #[test]
    fn every_link_on_the_way_to_a_file_has_a_place_where_its_swap_shows() {
        let (_kept, root) = directory();
        for name in ["config/..2026_01", "live", "archive/x", "releases/1/policies/sub"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::write(root.join("config/..2026_01/torwart.yaml"), "").unwrap();
        fs::write(root.join("archive/x/chain1.pem"), "").unwrap();
        symlink("..2026_01", root.join("config/..data")).unwrap();
        symlink("..data/torwart.yaml", root.join("config/torwart.yaml")).unwrap();
        symlink("../archive/x/chain1.pem", root.join("live/chain.pem")).unwrap();
        symlink(root.join("releases/1"), root.join("current")).unwrap();
        let places = |name: &str| -> Vec<String> {
            let places = Sources::look([root.join(name)]).places();
            let below = places.iter().filter_map(|place| place.strip_prefix(&root).ok());
            below.map(|place| place.to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(places("config/torwart.yaml"), ["config", "config/..2026_01"]);
        assert_eq!(places("live/chain.pem"), ["archive/x", "live"]);
        assert_eq!(places("current/policies"), ["", "releases/1", "releases/1/policies", "releases/1/policies/sub"],);
        assert_eq!(places("not/there/yet.pem"), [""], "the rest will appear here");
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(places("loop"), [""]);
    }
}
