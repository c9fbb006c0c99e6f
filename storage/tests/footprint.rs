//! What the engines take on disk: overwritten and purged bytes are given back.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::mpsc::channel;

use domicile_storage::{
    Batch, Engine, GroupId, LogEngine, LogEntry, LogOptions, RaftEngineLog, SledEngine, SledOptions, Write,
};

fn bytes_in(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() { bytes_in(&entry.path()) } else { entry.metadata().map_or(0, |m| m.len()) }
        })
        .sum()
}

fn no_blobs(dir: &Path) {
    let blobs: Vec<_> = std::fs::read_dir(dir.join("db/blobs")).unwrap().collect();
    assert!(blobs.is_empty(), "{blobs:?}");
}

/// 4.5 MiB of values of every size, written ten times over.
#[test]
fn ten_fold_overwrites_stay_below_eight_times_the_live_bytes_and_make_no_blob() {
    let dir = tempfile::tempdir().unwrap();
    let options = SledOptions { flush_every_ms: 100, ..SledOptions::default() };
    let engine = SledEngine::open(dir.path(), &options).unwrap();
    let sizes = [100, 1000, 3990, 4000, 4001, 9000, 40_000, 1_200_000];
    let live: usize = sizes.iter().map(|size| size * (500_000 / size).max(1)).sum();
    let mut sizes_on_disk = Vec::new();
    for round in 0..10u8 {
        for size in sizes {
            let keys = (500_000 / size).max(1);
            for first in (0..keys).step_by(20) {
                let put = |n: usize| Write::Put {
                    key: format!("{size} {n}").into_bytes(),
                    value: vec![round ^ u8::try_from(n % 256).unwrap(); size],
                };
                engine.commit(Batch { writes: (first..keys.min(first + 20)).map(put).collect() }).unwrap();
            }
        }
        engine.sync().unwrap();
        no_blobs(dir.path());
        sizes_on_disk.push(engine.size_on_disk().unwrap());
    }
    println!("{live} live bytes, on disk after each round: {sizes_on_disk:?}");
    // Measured: a plateau of six times, reached after about six rounds and still there after thirty.
    let (middle, end) = (sizes_on_disk[4], sizes_on_disk[9]);
    assert!(end < 8 * live as u64, "{end} bytes for {live}");
    assert!(end < middle * 3 / 2, "still growing: {sizes_on_disk:?}");
}

/// The longest keys, made so that they share long prefixes in pairs: the worst for index frames.
#[test]
fn the_longest_keys_with_full_pieces_make_no_blob() {
    let dir = tempfile::tempdir().unwrap();
    let engine = SledEngine::open(dir.path(), &SledOptions::default()).unwrap();
    for n in 0..1500u32 {
        let mut key = vec![0; domicile_storage::KEY_BYTES_MAX];
        key[..4].copy_from_slice(&(n / 2 * 0x9e37).to_be_bytes());
        *key.last_mut().unwrap() = u8::try_from(n % 2).unwrap();
        let value = vec![0xee; if n.is_multiple_of(3) { 4000 } else { 10 }];
        engine.commit(Batch { writes: vec![Write::Put { key, value }] }).unwrap();
    }
    engine.sync().unwrap();
    no_blobs(dir.path());
}

#[test]
fn a_purged_log_gives_its_disk_back_while_a_quiet_group_keeps_its_entries() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { file_bytes: 256 * 1024, purge_threshold_bytes: 1024 * 1024, cache_bytes: 0 };
    let log = RaftEngineLog::open(dir.path(), &options).unwrap();
    let (quiet, busy) = (GroupId(1), GroupId(2));
    let kept: Vec<LogEntry> = (1..=50).map(|index| LogEntry { index, bytes: vec![7; 100] }).collect();
    log.append(quiet, kept.clone(), Box::new(|result| result.unwrap()));
    log.put_meta(quiet, "vote", b"v".to_vec(), Box::new(|result| result.unwrap()));
    // 20 MiB pass through, of which the last 1000 entries stay.
    for index in 1..=20_000u64 {
        log.append(busy, vec![LogEntry { index, bytes: vec![1; 1024] }], Box::new(|result| result.unwrap()));
        if index.is_multiple_of(500) {
            let (send, receive) = channel();
            log.purge_through(busy, index.saturating_sub(1000), Box::new(move |r| send.send(r).unwrap()));
            receive.recv().unwrap().unwrap();
        }
    }
    drop(log);
    let on_disk = bytes_in(dir.path());
    println!("{on_disk} bytes on disk after 20 MiB");
    assert!(on_disk < 6 * 1024 * 1024, "{on_disk}");
    let log = RaftEngineLog::open(dir.path(), &options).unwrap();
    assert_eq!(log.read(quiet, 0, u64::MAX, usize::MAX).unwrap(), kept);
    assert_eq!(log.meta(quiet, "vote").unwrap().unwrap(), b"v");
    let bounds = log.bounds(busy);
    assert_eq!((bounds.first, bounds.last), (Some(19_001), Some(20_000)));
}
