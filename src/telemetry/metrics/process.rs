//! What the kernel knows about this process, read when metrics are asked for.

use std::fs;

/// Clock ticks a second in `/proc` (`USER_HZ`, 100 on every Linux that runs this).
const TICKS: f64 = 100.0;

/// The kernel's view of the process.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    /// User and system time in seconds.
    pub(super) cpu_seconds: Option<f64>,
    /// Resident set in bytes.
    pub(super) resident_bytes: Option<u64>,
    /// Address space in bytes.
    pub(super) virtual_bytes: Option<u64>,
    /// Open file descriptors.
    pub(super) open_fds: Option<u64>,
    /// Limit of open file descriptors.
    pub(super) max_fds: Option<u64>,
    /// Start in seconds since the epoch.
    pub(super) started: Option<f64>,
    /// Threads.
    pub(super) threads: Option<u64>,
}

impl Process {
    /// Asks the kernel. What it does not tell is `None`.
    pub(super) fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let system = fs::read_to_string("/proc/stat").unwrap_or_default();
        let mut process = Self::from_texts(&stat, &status, &limits, &system);
        process.open_fds = fs::read_dir("/proc/self/fd").ok().map(|list| list.count() as u64);
        process
    }

    fn from_texts(stat: &str, status: &str, limits: &str, system: &str) -> Self {
        // The command's name stands in parentheses and may hold anything, parentheses too.
        let fields: Vec<&str> = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
        // Fields are numbered from 1 in proc(5), and the first behind the name is number 3.
        let ticks = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<f64>().ok());
        let kib = |key| kibibytes(status, key);
        let boot = value(system, "btime").and_then(|seconds| u32::try_from(seconds).ok());
        Self {
            cpu_seconds: ticks(14).zip(ticks(15)).map(|(user, system)| (user + system) / TICKS),
            resident_bytes: kib("VmRSS:"),
            virtual_bytes: kib("VmSize:"),
            open_fds: None,
            max_fds: value(limits, "Max open files"),
            started: boot.zip(ticks(22)).map(|(boot, after)| f64::from(boot) + after / TICKS),
            threads: value(status, "Threads:"),
        }
    }
}

/// The first number behind `key` at the beginning of a line, which is in KiB, as bytes.
pub(crate) fn kibibytes(text: &str, key: &str) -> Option<u64> {
    value(text, key).map(|kib| kib.saturating_mul(1024))
}

/// The first number behind `key` at the beginning of a line.
fn value(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read_whatever_the_command_is_called() {
        let stat = "17 (a) b (c) S 1 17 17 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 3 0 2500 1000 10 18446744073709551615";
        let status = "Name:\tx\nVmSize:\t  2048 kB\nVmRSS:\t  1024 kB\nThreads:\t3\n";
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 4096                 files\n";
        let process = Process::from_texts(stat, status, limits, "cpu 1 2\nbtime 1000\n");
        assert_eq!(
            process,
            Process {
                cpu_seconds: Some(2.0),
                resident_bytes: Some(1024 * 1024),
                virtual_bytes: Some(2048 * 1024),
                open_fds: None,
                max_fds: Some(1024),
                started: Some(1025.0),
                threads: Some(3),
            }
        );
    }

    #[test]
    fn this_process_has_memory_and_files() {
        let process = Process::read();
        assert!(process.resident_bytes.unwrap() > 100_000);
        assert!(process.open_fds.unwrap() >= 3);
        assert!(process.started.unwrap() > 1_600_000_000.0);
    }
}
