//! Durable appends through the log engine beside a bare append and `fdatasync` loop on the same disk.
//!
//! `cargo bench -p domicile-storage --bench log`; arguments: seconds a row (default 2), directory
//! (default the build's temporary directory). Both sides write entries of the same length; the bare
//! loop writes as many entries a sync as the log has in flight, which is the best a group commit
//! can do. Read the ratio: absolute figures are the disk's.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a measuring program, not the product")]

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use domicile_storage::{GroupId, LogEngine as _, LogEntry, LogOptions, RaftEngineLog};

const ENTRY_BYTES: usize = 512;
const GROUPS: u64 = 8;

struct Measured {
    per_second: f64,
    p50: Duration,
    p99: Duration,
    per_sync: f64,
}

fn summary(count: u64, syncs: u64, elapsed: Duration, mut latencies: Vec<Duration>) -> Measured {
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let (count, syncs) = (count as f64, syncs as f64);
    Measured { per_second: count / elapsed.as_secs_f64(), p50: at(50), p99: at(99), per_sync: count / syncs }
}

fn bare(directory: &Path, in_flight: u64, time: Duration) -> Measured {
    let path = directory.join("bare");
    let mut file = File::create(&path).unwrap();
    let bytes = vec![0x5a; ENTRY_BYTES * usize::try_from(in_flight).unwrap()];
    let (start, mut syncs, mut latencies) = (Instant::now(), 0, Vec::new());
    while start.elapsed() < time {
        let began = Instant::now();
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        latencies.push(began.elapsed());
        syncs += 1;
    }
    let elapsed = start.elapsed();
    std::fs::remove_file(path).unwrap();
    summary(syncs * in_flight, syncs, elapsed, latencies)
}

fn engine(directory: &Path, in_flight: u64, time: Duration) -> Measured {
    let path = directory.join("log");
    let log = RaftEngineLog::open(&path, &LogOptions::default()).unwrap();
    let (send, answers) = channel();
    let mut last = [0u64; 8];
    let mut submit = |slot: u64| {
        let group = slot % GROUPS;
        let next = &mut last[usize::try_from(group).unwrap()];
        *next += 1;
        let entries = vec![LogEntry { index: *next, bytes: vec![0x5a; ENTRY_BYTES] }];
        let (send, began) = (send.clone(), Instant::now());
        let done = move |result: Result<(), _>| {
            result.unwrap();
            send.send((slot, began.elapsed())).unwrap();
        };
        log.append(GroupId(group), entries, Box::new(done));
        if next.is_multiple_of(4096) {
            let done = |result: Result<(), _>| result.unwrap();
            log.purge_through(GroupId(group), *next - 2048, Box::new(done));
        }
    };
    let start = Instant::now();
    (0..in_flight).for_each(&mut submit);
    let mut latencies = Vec::new();
    while start.elapsed() < time {
        let first = answers.recv().unwrap();
        // As many clients would: all that were answered go on at once.
        let ready: Vec<_> = std::iter::once(first).chain(answers.try_iter()).collect();
        for (slot, latency) in ready {
            latencies.push(latency);
            submit(slot);
        }
    }
    let elapsed = start.elapsed();
    let measured = summary(latencies.len() as u64, log.syncs_total(), elapsed, latencies);
    drop(log);
    std::fs::remove_dir_all(path).unwrap();
    measured
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let seconds = arguments.next().map_or(2.0, |text| text.parse().unwrap());
    let directory =
        arguments.next().map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let directory = directory.join(format!("log-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let time = Duration::from_secs_f64(seconds);
    println!("entries of {ENTRY_BYTES} bytes, {GROUPS} groups, {seconds} s a row");
    println!("in flight | log/s | p50 | p99 | a sync | bare/s | p50 | p99 | ratio");
    for in_flight in [1, 8, 64] {
        // Half before and half after, so that a disk that slows down slows both.
        let first = bare(&directory, in_flight, time / 2);
        let log = engine(&directory, in_flight, time);
        let second = bare(&directory, in_flight, time / 2);
        let bare_per_second = f64::midpoint(first.per_second, second.per_second);
        println!(
            "{in_flight:>9} | {:.0} | {:?} | {:?} | {:.1} | {:.0} | {:?} | {:?} | {:.2}",
            log.per_second,
            log.p50,
            log.p99,
            log.per_sync,
            bare_per_second,
            second.p50,
            second.p99,
            log.per_second / bare_per_second
        );
    }
    std::fs::remove_dir_all(directory).unwrap();
}
