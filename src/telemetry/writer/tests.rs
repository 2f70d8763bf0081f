use std::fs;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Instant;

use http::{Method, Version};

use super::destination::write_counted;
use super::shard::Lines;
use super::thread::Batch;
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn writer(path: &Path) -> (Writer, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    let format: Format =
        Box::new(|record, out| out.extend_from_slice(format!("{}\n", record.request_bytes).as_bytes()));
    let destination = Destination::File(path.to_owned());
    (Writer::start(destination, format, Arc::clone(&metrics), |all| &all.audit).unwrap(), metrics)
}

fn record(number: u64) -> Record {
    Record { request_bytes: number, ..Record::start(Method::GET, Version::HTTP_11) }
}

/// Places that are taken.
fn taken(writer: &Writer) -> usize {
    writer.shared.shards().map(|shard| shard.places().0).sum()
}

fn until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < PATIENCE, "it never happens");
        thread::yield_now();
    }
}

#[test]
fn records_are_written_in_order_and_all_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (writer, metrics) = writer(&path);
    for n in 0..5000 {
        // Fewer at a time than one core has places.
        until(|| metrics.audit.written.value() + 500 > n);
        writer.push(&record(n), None);
    }
    writer.finish(PATIENCE);
    let written = fs::read_to_string(&path).unwrap();
    assert!(written.ends_with('\n'));
    assert_eq!(
        written.lines().map(|line| line.parse::<u64>().unwrap()).collect::<Vec<_>>(),
        (0..5000).collect::<Vec<_>>()
    );
    assert_eq!(metrics.audit.written.value(), 5000);
    assert_eq!(taken(&writer), 0);
}

#[test]
fn a_record_whose_line_cannot_be_made_costs_no_other_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let metrics = Arc::new(Metrics::default());
    let format: Format = Box::new(|record, out| {
        out.extend_from_slice(format!("{}", record.request_bytes).as_bytes());
        assert_ne!(record.request_bytes, 2, "this one ends in the middle of its line");
        out.push(b'\n');
    });
    let destination = Destination::File(path.clone());
    let writer = Writer::start(destination, format, Arc::clone(&metrics), |all| &all.audit).unwrap();
    (0..5).for_each(|n| writer.push(&record(n), None));
    writer.finish(PATIENCE);
    assert_eq!(fs::read_to_string(&path).unwrap(), "0\n1\n3\n4\n");
    assert_eq!((metrics.audit.written.value(), metrics.audit.failed.value()), (4, 1));
    assert_eq!(taken(&writer), 0, "its place is free again");
}

#[test]
fn a_record_that_finds_no_place_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (writer, metrics) = writer(&directory.path().join("log"));
    let mut places: Vec<_> = (0..writer.shared.first.places().1).map(|_| writer.reserve().unwrap()).collect();
    assert_eq!(writer.reserve().err(), Some(Full));
    writer.push(&record(1), None);
    assert_eq!(metrics.audit.dropped.value(), 1);
    // What was reserved is always taken, and a place given back is there for somebody else.
    writer.push(&record(2), places.pop().as_ref());
    until(|| metrics.audit.written.value() == 1);
    until(|| writer.reserve().is_ok());
    assert_eq!(metrics.audit.dropped.value(), 1);
}

#[test]
fn a_renamed_file_is_reopened_under_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let (path, old) = (directory.path().join("log"), directory.path().join("log.1"));
    let (writer, metrics) = writer(&path);
    writer.push(&record(1), None);
    until(|| metrics.audit.written.value() == 1);
    fs::rename(&path, &old).unwrap();
    writer.push(&record(2), None);
    until(|| metrics.audit.written.value() == 2);
    writer.reopen(None).unwrap();
    writer.push(&record(3), None);
    writer.finish(PATIENCE);
    assert_eq!(fs::read_to_string(&old).unwrap(), "1\n2\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "3\n");
}

#[test]
fn a_destination_that_cannot_be_opened_leaves_the_old_one_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (writer, _) = writer(&path);
    let missing = Destination::File(directory.path().join("no/such/directory"));
    assert!(writer.reopen(Some(missing)).is_err());
    writer.push(&record(1), None);
    writer.finish(PATIENCE);
    assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
}

#[test]
fn what_a_full_disk_does_not_take_is_counted() {
    let (writer, metrics) = writer(Path::new("/dev/full"));
    writer.push(&record(1), None);
    until(|| metrics.audit.failed.value() == 1);
    assert!(writer.reserve().is_ok());
    writer.push(&record(2), None);
    writer.finish(PATIENCE);
    assert_eq!(metrics.audit.failed.value(), 2);
    assert_eq!(metrics.audit.written.value(), 0);
}

#[test]
fn what_must_not_be_lost_waits_for_a_disk_and_nobody_gets_a_place_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (writer, metrics) = writer(Path::new("/dev/full"));
    writer.keep_on_failure(Keep::Yes);
    writer.push(&record(1), None);
    until(|| writer.reserve().is_err());
    writer.push(&record(2), None);
    assert_eq!(metrics.audit.dropped.value(), 1);
    writer.reopen(Some(Destination::File(path.clone()))).unwrap();
    until(|| writer.reserve().is_ok());
    writer.push(&record(3), None);
    writer.finish(PATIENCE);
    assert_eq!(fs::read_to_string(&path).unwrap(), "1\n3\n");
    assert_eq!(metrics.audit.failed.value(), 0);
}

#[test]
fn finishing_does_not_wait_for_a_full_disk() {
    let (writer, metrics) = writer(Path::new("/dev/full"));
    writer.keep_on_failure(Keep::Yes);
    writer.push(&record(1), None);
    until(|| writer.reserve().is_err());
    writer.finish(PATIENCE);
    assert_eq!(metrics.audit.failed.value(), 1);
}

/// Takes a few bytes, then fails.
struct Short(usize);

impl Write for Short {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.0).min(3);
        self.0 -= taken;
        if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn only_lines_that_are_out_as_a_whole_are_forgotten() {
    let mut batch = Batch { bytes: b"one\ntwo\nsix\n".to_vec(), lines: 3, ..Batch::default() };
    let (written, outcome) = write_counted(&mut Short(6), &batch.bytes);
    assert_eq!((written, outcome.unwrap_err().kind()), (6, io::ErrorKind::StorageFull));
    assert_eq!(batch.forget(written), (1, 4));
    assert_eq!((&*batch.bytes, batch.lines), (&b"two\nsix\n"[..], 2));
    assert_eq!(batch.forget(8), (2, 8));
    assert!(batch.bytes.is_empty());
}

#[test]
fn lines_of_all_cores_come_in_the_order_in_which_their_requests_ended() {
    let begin = Instant::now();
    let shards = [(); 3].map(|()| Shard::of(3));
    for n in [0, 1, 4, 2, 3, 5, 7, 8, 6] {
        let shard = &shards[usize::from(b"012011200"[n] - b'0')];
        let line = format!("{n}\n");
        shard.add(begin + Duration::from_nanos(n as u64), Claim::Fresh, |out| out.extend_from_slice(line.as_bytes()));
    }
    let mut batch = Batch::default();
    let mut taken = [(); 3].map(|()| Lines::default());
    for (shard, lines) in shards.iter().zip(&mut taken) {
        shard.exchange(lines);
    }
    batch.append(&mut taken);
    assert_eq!((&*batch.bytes, batch.lines), (&b"0\n1\n2\n3\n4\n5\n6\n7\n8\n"[..], 9));
    assert!(taken.iter().all(|lines| lines.count() == 0) && shards.iter().all(Shard::is_empty));
}
