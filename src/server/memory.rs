//! How much of the memory that it may have the process has: its resident set and its address space, each with its limits.
//! Looked at beside the way of requests, more often when it is more.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use tokio::time::sleep;

use super::census::Census;
use crate::telemetry::metrics::{LoadMetrics, kibibytes};

/// Thousandths of the memory from which on it is scarce: no more requests.
const SCARCE: u64 = 850;
/// Thousandths from which on it is exhausted: no more connections.
const EXHAUSTED: u64 = 950;
/// Time between two looks while less than a quarter is used. What is let in between them fits into what was left.
const CALM: Duration = Duration::from_secs(1);
/// The same while less than half is.
const AWAKE: Duration = Duration::from_millis(250);
/// The same while more is.
const ALERT: Duration = Duration::from_millis(20);
/// How long limits are believed: an orchestrator may change them.
const LIMITS_KEPT: Duration = Duration::from_secs(5);

/// More bytes than the kernel usually tells of a process (proc(5)).
const STATUS: usize = 4096;

/// What a request may come to use: buffers in each direction, on both sides (http.md, "Towards the upstream"). 265 KiB were measured
/// of answers that nobody takes.
const REQUEST: u64 = 320 * 1024;
/// What a connection may come to use besides: a head on its way in, an answer of the gateway's own on its way out.
const CONNECTION: u64 = 96 * 1024;
/// How long a request or connection may take to use it. What is older shows in what the kernel tells.
const FILLING: Duration = Duration::from_secs(30);

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

/// How much of the memory is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Use {
    /// Thousandths of the limit that is nearest.
    used: u32,
    /// Bytes until it is scarce.
    until_scarce: u64,
    /// Bytes until it is exhausted.
    until_exhausted: u64,
}

impl Use {
    /// There is no limit, or nobody tells.
    const NOTHING: Self = Self { used: 0, until_scarce: u64::MAX, until_exhausted: u64::MAX };

    /// Time until the next look.
    fn patience(self) -> Duration {
        match self.used {
            ..250 => CALM,
            250..500 => AWAKE,
            500.. => ALERT,
        }
    }

    /// How many requests there may be, where so many have used what they will. None where one would be too much.
    fn most_requests(self, old: usize) -> usize {
        match fitting(self.until_scarce, REQUEST) {
            0 => 0,
            more => old.saturating_add(more),
        }
    }

    /// The same of connections, beside so many requests that have not: what those will use is theirs already, and so are
    /// their connections.
    fn most_connections(self, old: usize, young: usize) -> usize {
        if fitting(self.until_exhausted, CONNECTION) == 0 {
            return 0;
        }
        let left = self.until_exhausted.saturating_sub(REQUEST.saturating_mul(young as u64));
        old.saturating_add(young).saturating_add(fitting(left, CONNECTION))
    }
}

fn fitting(left: u64, each: u64) -> usize {
    usize::try_from(left / each).unwrap_or(usize::MAX)
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
    pub(super) async fn watch(self, load: Weak<LoadMetrics>, census: Weak<Census>) {
        let mut limits = self.limits();
        let mut read = Instant::now();
        let (mut requests, mut connections) = (Recent::default(), Recent::default());
        while let (Some(load), Some(census)) = (load.upgrade(), census.upgrade()) {
            let now = Instant::now();
            if now.saturating_duration_since(read) >= LIMITS_KEPT {
                (limits, read) = (self.limits(), now);
            }
            let memory = self.used(limits);
            let (under_way, open) = (load.requests(), census.open());
            let (old, old_connections) = (requests.least(under_way, now), connections.least(open, now));
            let young = under_way.saturating_sub(old);
            load.set_memory(memory.used, [memory.most_requests(old), memory.most_connections(old_connections, young)]);
            drop((load, census));
            sleep(memory.patience()).await;
        }
    }

    /// How near the nearest limit is. What the kernel does not tell counts as nothing used.
    fn used(&self, limits: Limits) -> Use {
        let status = self.status().unwrap_or_default();
        let of = |key, limit: Option<u64>| {
            let (bytes, limit) = (kibibytes(&status, key)?, limit.filter(|limit| *limit > 0)?);
            let used = u32::try_from(bytes.saturating_mul(1000) / limit).unwrap_or(u32::MAX);
            let until = |thousandths| (limit / 1000).saturating_mul(thousandths).saturating_sub(bytes);
            Some(Use { used, until_scarce: until(SCARCE), until_exhausted: until(EXHAUSTED) })
        };
        let both = [of("VmRSS:", limits.resident), of("VmSize:", limits.space)];
        both.into_iter().flatten().fold(Use::NOTHING, |nearest, one| Use {
            used: nearest.used.max(one.used),
            until_scarce: nearest.until_scarce.min(one.until_scarce),
            until_exhausted: nearest.until_exhausted.min(one.until_exhausted),
        })
    }

    /// What the kernel tells of the process. It is asked again and again: in one piece, and not for the length of what has none.
    fn status(&self) -> io::Result<String> {
        let mut status = String::with_capacity(STATUS);
        File::open(self.processes.join("self/status"))?.take(u64::MAX).read_to_string(&mut status)?;
        Ok(status)
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

/// How many there were of late.
#[derive(Debug, Default)]
struct Recent(VecDeque<(Instant, usize)>);

impl Recent {
    /// How many there were at the quietest moment: so many have used what they will.
    fn least(&mut self, requests: usize, now: Instant) -> usize {
        while self.0.front().is_some_and(|(then, _)| now.saturating_duration_since(*then) > FILLING) {
            self.0.pop_front();
        }
        self.0.push_back((now, requests));
        self.0.iter().map(|(_, requests)| *requests).min().unwrap_or(0)
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
        let left = |used, until_scarce, until_exhausted| Use { used, until_scarce, until_exhausted };
        assert_eq!(used(Some(200_000), None), left(512, 170_000 - 102_400, 190_000 - 102_400));
        assert_eq!(used(Some(2_000_000), Some(1_000_000)), left(921, 0, 950_000 - 921_600));
        assert_eq!(used(Some(1_000_000), Some(2_000_000)), left(460, 850_000 - 102_400, 950_000 - 102_400));
        assert_eq!(used(Some(50 * 1024), None), left(2000, 0, 0));
        assert_eq!(used(None, None), Use::NOTHING);
        let nobody = told(&[]).1;
        let limits = Limits { resident: Some(1), space: Some(1) };
        assert_eq!((nobody.used(limits), nobody.limits().resident), (Use::NOTHING, None));
    }

    #[test]
    fn the_less_is_left_the_more_often_it_is_looked_at() {
        let patience = |used| Use { used, ..Use::NOTHING }.patience();
        assert_eq!([0, 249, 250, 499].map(patience), [CALM, CALM, AWAKE, AWAKE]);
        assert_eq!([500, 949, 2000].map(patience), [ALERT; 3]);
    }

    #[test]
    fn there_may_be_those_that_have_used_what_they_will_and_as_many_as_fit_beside_them() {
        let left = |until_scarce, until_exhausted| Use { used: 0, until_scarce, until_exhausted };
        let requests = [10 * REQUEST, REQUEST, REQUEST - 1, 0].map(|bytes| left(bytes, 0).most_requests(40));
        assert_eq!(requests, [50, 41, 0, 0]);
        let connections = |bytes, young| left(0, bytes).most_connections(40, young);
        assert_eq!([connections(10 * CONNECTION, 0), connections(CONNECTION - 1, 0)], [50, 0]);
        assert_eq!(connections(10 * CONNECTION + 3 * REQUEST, 3), 53, "requests have paid for their connections");
        assert_eq!(connections(CONNECTION, 3), 43, "what is not used yet closes nobody's connection");
        assert!(Use::NOTHING.most_requests(1) > 1_000_000_000, "without a limit there is none");
    }

    #[test]
    fn requests_that_came_of_late_are_told_from_those_that_stay() {
        let (mut recent, begun) = (Recent::default(), Instant::now());
        let mut least = |seconds, requests| recent.least(requests, begun + Duration::from_secs(seconds));
        assert_eq!([least(0, 10), least(6, 50), least(12, 40), least(30, 40)], [10; 4]);
        assert_eq!(least(48, 40), 40, "they were there all the time");
        assert_eq!([least(50, 5), least(60, 25)], [5, 5]);
    }

    #[test]
    fn this_process_has_some_of_it() {
        let memory = Memory::of_the_system();
        let limits = memory.limits();
        assert!(limits.resident.unwrap() > 1 << 20);
        assert!(memory.used(Limits { resident: Some(1 << 20), ..limits }).used > 1000);
    }
}
