//! How much of the memory that it may have the process has: its resident set and its address space, each with its limits.
//! Looked at beside the way of requests, more often when it is more.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use tokio::time::sleep;

use crate::telemetry::metrics::{LoadMetrics, kibibytes};

/// Time between two looks while less than half is used.
const CALM: Duration = Duration::from_millis(100);
/// The same while more is.
const ALERT: Duration = Duration::from_millis(20);
/// How long limits are believed: an orchestrator may change them.
const LIMITS_KEPT: Duration = Duration::from_secs(5);

/// Where the kernel tells.
#[derive(Debug, Clone)]
pub struct Memory {
    /// `/proc`.
    processes: PathBuf,
    /// `/sys/fs/cgroup`.
    groups: PathBuf,
}

/// Bytes; `None` where there is no limit but the machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Limits {
    /// Of the resident set: of the control groups that the process is in, and of the machine.
    resident: Option<u64>,
    /// Of the address space (`ulimit -v`).
    space: Option<u64>,
}

impl Memory {
    /// What the kernel tells of this process.
    pub fn of_the_system() -> Self {
        Self::told_in(Path::new("/proc"), Path::new("/sys/fs/cgroup"))
    }

    /// The same from directories of the same shape.
    pub fn told_in(processes: &Path, groups: &Path) -> Self {
        Self { processes: processes.to_owned(), groups: groups.to_owned() }
    }

    /// Looks again and again, until nobody wants to know any more.
    pub(super) async fn watch(self, load: Weak<LoadMetrics>) {
        let mut limits = self.limits();
        let mut read = Instant::now();
        while let Some(load) = load.upgrade() {
            if read.elapsed() >= LIMITS_KEPT {
                (limits, read) = (self.limits(), Instant::now());
            }
            let used = self.used(limits);
            load.set_memory(used);
            drop(load);
            sleep(if used < 500 { CALM } else { ALERT }).await;
        }
    }

    /// Thousandths of the limit that is nearest. What the kernel does not tell counts as nothing used.
    fn used(&self, limits: Limits) -> u32 {
        let status = fs::read_to_string(self.processes.join("self/status")).unwrap_or_default();
        let share = |key, limit: Option<u64>| {
            let bytes = kibibytes(&status, key)?;
            Some(bytes.saturating_mul(1000) / limit.filter(|limit| *limit > 0)?)
        };
        let used = share("VmRSS:", limits.resident).max(share("VmSize:", limits.space)).unwrap_or(0);
        u32::try_from(used).unwrap_or(u32::MAX)
    }

    fn limits(&self) -> Limits {
        let machine = fs::read_to_string(self.processes.join("meminfo")).unwrap_or_default();
        let own = fs::read_to_string(self.processes.join("self/cgroup")).unwrap_or_default();
        let groups = own.lines().filter_map(|line| self.group(line));
        let resident = groups.chain(kibibytes(&machine, "MemTotal:")).min();
        Limits { resident, space: getrlimit(Resource::As).current }
    }

    /// The smallest limit of a control group and of those that it is in: `cgroups(7)`, a line of `/proc/PID/cgroup`. In a
    /// container the path may be that of the machine; there the container's own group is mounted at the root.
    fn group(&self, line: &str) -> Option<u64> {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let (root, names): (_, &[&str]) = if controllers.is_empty() {
            (self.groups.clone(), &["memory.max", "memory.high"])
        } else if controllers.split(',').any(|name| name == "memory") {
            (self.groups.join("memory"), &["memory.limit_in_bytes"])
        } else {
            return None;
        };
        let path = Path::new(path.trim_start_matches('/'));
        let groups = path.ancestors().map(|above| root.join(above));
        let files = groups.flat_map(|group| names.iter().map(move |name| group.join(name)));
        // `max` is no number, and no limit.
        files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// A kernel that says so.
    fn told(files: &[(&str, &str)]) -> (tempfile::TempDir, Memory) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let memory = Memory::told_in(&directory.path().join("proc"), &directory.path().join("cgroup"));
        (directory, memory)
    }

    #[test]
    fn the_smallest_limit_of_all_groups_above_counts() {
        let version_2 = [
            ("proc/self/cgroup", "0::/system.slice/torwart.service\n"),
            ("cgroup/system.slice/torwart.service/memory.max", "max\n"),
            ("cgroup/system.slice/torwart.service/memory.high", "2147483648\n"),
            ("cgroup/system.slice/memory.max", "1073741824\n"),
            ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\n"),
        ];
        assert_eq!(told(&version_2).1.limits().resident, Some(GIB));
        let version_1 = [
            ("proc/self/cgroup", "5:cpu:/a\n4:memory,x:/docker/0123\n0::/\n"),
            ("cgroup/memory/memory.limit_in_bytes", "536870912\n"),
            ("proc/meminfo", "MemTotal:       16777216 kB\n"),
        ];
        assert_eq!(told(&version_1).1.limits().resident, Some(GIB / 2), "a container sees its own group as the root");
        let unlimited = [("proc/self/cgroup", "0::/\n"), ("proc/meminfo", "MemTotal: 1048576 kB\n")];
        assert_eq!(told(&unlimited).1.limits().resident, Some(GIB), "there is always the machine");
    }

    #[test]
    fn what_is_used_is_told_in_thousandths_of_the_nearest_limit() {
        let (_directory, memory) = told(&[("proc/self/status", "Name:\ttorwart\nVmSize:\t 900 kB\nVmRSS:\t 100 kB\n")]);
        let used = |resident, space| memory.used(Limits { resident, space });
        assert_eq!(used(Some(200 * 1024), None), 500);
        assert_eq!(used(Some(200 * 1024), Some(1000 * 1024)), 900);
        assert_eq!(used(None, None), 0);
        assert_eq!(used(Some(50 * 1024), None), 2000);
        let nobody = told(&[]).1;
        assert_eq!((nobody.used(Limits { resident: Some(1), space: Some(1) }), nobody.limits().resident), (0, None));
    }

    #[test]
    fn this_process_has_some_of_it() {
        let memory = Memory::of_the_system();
        let limits = memory.limits();
        assert!(limits.resident.unwrap() > 1 << 20);
        assert!(memory.used(Limits { resident: Some(1 << 20), ..limits }) > 1000);
    }
}
