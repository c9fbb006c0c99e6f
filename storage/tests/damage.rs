//! Damaged, shortened, foreign and shared directories: always an error that says what and where, never
//! a panic, never an empty store.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use domicile_storage::{
    Batch, Engine, EngineError, GroupId, KeyRange, LogEngine, LogEntry, LogError, LogOptions, OnDurable,
    Order, RaftEngineLog, SledEngine, SledOptions, Write,
};

const G: GroupId = GroupId(1);

fn open_log(dir: &Path) -> Result<RaftEngineLog, LogError> {
    let options = LogOptions { file_bytes: 16 * 1024, purge_threshold_bytes: 1 << 30, cache_bytes: 0 };
    RaftEngineLog::open(dir.join("log"), &options)
}

fn durable(write: impl FnOnce(OnDurable)) -> Result<(), LogError> {
    let (send, receive) = channel();
    write(Box::new(move |result| send.send(result).unwrap()));
    receive.recv().unwrap()
}

fn entry(index: u64) -> LogEntry {
    LogEntry { index, bytes: index.to_le_bytes().repeat(64) }
}

/// A closed log of 100 synced entries in several files.
fn written_log(dir: &Path) {
    let log = open_log(dir).unwrap();
    for index in 1..=100 {
        durable(|done| log.append(G, vec![entry(index)], done)).unwrap();
    }
    durable(|done| log.put_meta(G, "vote", b"mine".to_vec(), done)).unwrap();
}

fn log_files(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir.join("log/log")).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|e| e == "raftlog")).collect();
    files.sort();
    assert!(files.len() > 3, "{files:?}");
    files
}

fn flip(path: &Path, offset: u64, bits: u8) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ bits], offset).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Opens the log and reads all of it: whole, or what is wrong.
fn whole_log(dir: &Path) -> Result<(), LogError> {
    let log = open_log(dir)?;
    let entries = log.read(G, 0, u64::MAX, usize::MAX)?;
    assert_eq!(entries, (1..=100).map(entry).collect::<Vec<_>>());
    assert_eq!(log.meta(G, "vote")?.unwrap(), b"mine");
    Ok(())
}

/// Positions spread over a file, its ends included.
fn positions(len: u64, count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |n| n * (len - 1) / (count - 1))
}

#[test]
fn a_flipped_bit_below_the_synced_length_is_named_with_file_and_offset() {
    let dir = tempfile::tempdir().unwrap();
    written_log(dir.path());
    whole_log(dir.path()).unwrap();
    for file in log_files(dir.path()) {
        let len = std::fs::metadata(&file).unwrap().len();
        for position in positions(len, 30) {
            let damaged = tempfile::tempdir().unwrap();
            copy(dir.path(), damaged.path());
            let target = damaged.path().join(file.strip_prefix(dir.path()).unwrap());
            flip(&target, position, 0x20);
            let error = whole_log(damaged.path()).unwrap_err();
            let LogError::Corrupt { file, offset, .. } = &error else { panic!("{position}: {error}") };
            assert_eq!(*file, target, "{position}: {error}");
            assert!(*offset <= position, "{position}: {error}");
            // Opening must not have repaired, that is cut, anything.
            assert_eq!(std::fs::metadata(&target).unwrap().len(), len);
            assert!(whole_log(damaged.path()).is_err());
        }
    }
}

#[test]
fn a_shortened_or_missing_log_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    written_log(dir.path());
    for file in log_files(dir.path()) {
        let len = std::fs::metadata(&file).unwrap().len();
        for keep in positions(len, 9).filter(|keep| *keep < len).map(Some).chain([None]) {
            let damaged = tempfile::tempdir().unwrap();
            copy(dir.path(), damaged.path());
            let target = damaged.path().join(file.strip_prefix(dir.path()).unwrap());
            match keep {
                Some(keep) => {
                    std::fs::File::options().write(true).open(&target).unwrap().set_len(keep).unwrap();
                }
                None => std::fs::remove_file(&target).unwrap(),
            }
            let error = open_log(damaged.path()).unwrap_err();
            let LogError::Corrupt { file, offset, .. } = &error else { panic!("{error}") };
            assert_eq!((file, *offset), (&target, keep.unwrap_or(0)), "{error}");
        }
    }
}

#[test]
fn a_torn_tail_is_cut_and_the_log_goes_on() {
    for tail in [vec![0; 5000], vec![0xa5; 700], b"\x00\x00\x00\x00\x00\x00\x40\x00\x00\x00".to_vec()] {
        let dir = tempfile::tempdir().unwrap();
        written_log(dir.path());
        let last = log_files(dir.path()).pop().unwrap();
        let len = std::fs::metadata(&last).unwrap().len();
        let file = std::fs::File::options().write(true).open(&last).unwrap();
        file.write_all_at(&tail, len).unwrap();
        whole_log(dir.path()).unwrap();
        let log = open_log(dir.path()).unwrap();
        durable(|done| log.append(G, vec![entry(101)], done)).unwrap();
        drop(log);
        let log = open_log(dir.path()).unwrap();
        assert_eq!(log.read(G, 101, 102, usize::MAX).unwrap(), [entry(101)]);
    }
}

#[test]
fn a_lost_record_of_synced_lengths_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    written_log(dir.path());
    std::fs::write(dir.path().join("log/SYNCED"), b"").unwrap();
    assert!(matches!(open_log(dir.path()), Err(LogError::Corrupt { .. })));
    std::fs::remove_file(dir.path().join("log/SYNCED")).unwrap();
    assert!(matches!(open_log(dir.path()), Err(LogError::Corrupt { .. })));
    std::fs::remove_file(dir.path().join("log/FORMAT")).unwrap();
    assert!(matches!(open_log(dir.path()), Err(LogError::Corrupt { .. })));
}

#[test]
fn a_log_directory_that_is_open_newer_or_foreign_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(dir.path()).unwrap();
    let locked = open_log(dir.path()).unwrap_err();
    assert!(matches!(&locked, LogError::Locked(path) if path.ends_with("log")), "{locked}");
    drop(log);
    let marker = dir.path().join("log/FORMAT");
    std::fs::write(&marker, "domicile-log 2\n").unwrap();
    let newer = open_log(dir.path()).unwrap_err();
    assert!(matches!(newer, LogError::NewerFormat { found: 2, supported: 1, .. }), "{newer}");
    for foreign in ["domicile-state 1\n", "domicile-log\n", "domicile-log x\n", "domicile-log 0\n", ""] {
        std::fs::write(&marker, foreign).unwrap();
        assert!(matches!(open_log(dir.path()), Err(LogError::Corrupt { .. })), "{foreign}");
    }
    std::fs::write(&marker, [0xff, 0xfe]).unwrap();
    assert!(matches!(open_log(dir.path()), Err(LogError::Corrupt { .. })));
}

fn open_state(dir: &Path) -> Result<SledEngine, EngineError> {
    SledEngine::open(dir.join("state"), &SledOptions::default())
}

fn rows() -> BTreeMap<Vec<u8>, Vec<u8>> {
    let row = |n: u32| {
        let len = if n.is_multiple_of(40) { 20_000 } else { 300 };
        (format!("key {n:04}").into_bytes(), n.to_le_bytes().into_iter().cycle().take(len).collect())
    };
    (0..800).map(row).collect()
}

/// A closed state with every row synced, written in several batches with overwrites.
fn written_state(dir: &Path) {
    let engine = open_state(dir).unwrap();
    for (n, (key, value)) in rows().into_iter().enumerate() {
        let writes = vec![
            Write::Put { key: format!("gone {n}").into_bytes(), value: vec![1; 50] },
            Write::Put { key: key.clone(), value: b"to be replaced".to_vec() },
        ];
        engine.commit(Batch { writes }).unwrap();
        let writes = vec![Write::Delete { key: format!("gone {n}").into_bytes() }, Write::Put { key, value }];
        engine.commit(Batch { writes }).unwrap();
    }
    engine.sync().unwrap();
}

fn whole_state(dir: &Path) -> Result<(), EngineError> {
    let engine = open_state(dir)?;
    let pairs = engine.scan(&KeyRange::prefix(&[]), Order::Ascending, usize::MAX)?;
    assert!(pairs.into_iter().collect::<BTreeMap<_, _>>() == rows(), "other rows than were written");
    Ok(())
}

#[test]
fn a_damaged_state_file_is_an_error_or_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    written_state(dir.path());
    whole_state(dir.path()).unwrap();
    let file = Path::new("state/db/db");
    let len = std::fs::metadata(dir.path().join(file)).unwrap().len();
    // The heads of segments too: sled takes one that does not hold for a free one.
    let heads = (0..len / (512 * 1024)).map(|segment| segment * 512 * 1024 + 6);
    for position in positions(len, 40).chain(heads) {
        let damaged = tempfile::tempdir().unwrap();
        copy(dir.path(), damaged.path());
        flip(&damaged.path().join(file), position, 0x04);
        // Most of the file was overwritten since. What opens must be whole: `whole_state` compares
        // every row.
        if let Err(error) = whole_state(damaged.path()) {
            assert!(matches!(error, EngineError::Corrupt { .. }), "{position}: {error}");
        }
    }
}

#[test]
fn a_damaged_value_is_an_error_wherever_it_lies() {
    let dir = tempfile::tempdir().unwrap();
    written_state(dir.path());
    let bytes = std::fs::read(dir.path().join("state/db/db")).unwrap();
    // 400 has several pieces.
    for n in [123u32, 400, 777] {
        let pattern = n.to_le_bytes().repeat(16);
        let damaged = tempfile::tempdir().unwrap();
        copy(dir.path(), damaged.path());
        let places = bytes.windows(pattern.len()).enumerate().filter(|(_, window)| *window == pattern);
        let mut found = 0;
        for (place, _) in places.step_by(16) {
            flip(&damaged.path().join("state/db/db"), place as u64, 0x80);
            found += 1;
        }
        assert!(found > 0, "value {n} is not in the file");
        let error = open_state(damaged.path()).unwrap_err();
        let EngineError::Corrupt { file, .. } = &error else { panic!("{n}: {error}") };
        assert!(file.starts_with(damaged.path().join("state/db")), "{error}");
    }
}

#[test]
fn an_emptied_shortened_or_missing_state_file_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    written_state(dir.path());
    let len = std::fs::metadata(dir.path().join("state/db/db")).unwrap().len();
    for keep in positions(len, 12).filter(|keep| *keep < len * 3 / 4).map(Some).chain([None]) {
        let damaged = tempfile::tempdir().unwrap();
        copy(dir.path(), damaged.path());
        let target = damaged.path().join("state/db/db");
        match keep {
            Some(keep) => std::fs::File::options().write(true).open(&target).unwrap().set_len(keep).unwrap(),
            None => std::fs::remove_file(&target).unwrap(),
        }
        let error = open_state(damaged.path()).unwrap_err();
        assert!(matches!(error, EngineError::Corrupt { .. }), "{keep:?}: {error}");
    }
    let damaged = tempfile::tempdir().unwrap();
    copy(dir.path(), damaged.path());
    std::fs::remove_dir_all(damaged.path().join("state/db")).unwrap();
    assert!(matches!(open_state(damaged.path()), Err(EngineError::Corrupt { .. })));
}

#[test]
fn a_damaged_snapshot_or_configuration_of_sled_is_an_error_or_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    written_state(dir.path());
    // Opening once more makes sled write its snapshot.
    whole_state(dir.path()).unwrap();
    for entry in std::fs::read_dir(dir.path().join("state/db")).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_type().unwrap().is_file() || entry.file_name() == "db" {
            continue;
        }
        for position in positions(entry.metadata().unwrap().len(), 12) {
            let damaged = tempfile::tempdir().unwrap();
            copy(dir.path(), damaged.path());
            flip(&damaged.path().join("state/db").join(entry.file_name()), position, 0x04);
            if let Err(error) = whole_state(damaged.path()) {
                assert!(
                    matches!(error, EngineError::Corrupt { .. } | EngineError::Io { .. }),
                    "{position}: {error}"
                );
            }
        }
    }
}

#[test]
fn a_state_that_went_back_in_time_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open_state(dir.path()).unwrap();
    let write = |n: u8| Batch { writes: vec![Write::Put { key: vec![n], value: vec![n] }] };
    engine.commit(write(1)).unwrap();
    engine.sync().unwrap();
    drop(engine);
    let old = tempfile::tempdir().unwrap();
    copy(&dir.path().join("state/db"), old.path());
    let engine = open_state(dir.path()).unwrap();
    engine.commit(write(2)).unwrap();
    engine.sync().unwrap();
    drop(engine);
    std::fs::remove_dir_all(dir.path().join("state/db")).unwrap();
    copy(old.path(), &dir.path().join("state/db"));
    let error = open_state(dir.path()).unwrap_err();
    assert!(matches!(error, EngineError::Corrupt { .. }), "{error}");
}

#[test]
fn a_state_directory_that_is_open_newer_or_foreign_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open_state(dir.path()).unwrap();
    let locked = open_state(dir.path()).unwrap_err();
    assert!(matches!(&locked, EngineError::Locked(path) if path.ends_with("state")), "{locked}");
    drop(engine);
    open_state(dir.path()).unwrap();
    let marker = dir.path().join("state/FORMAT");
    std::fs::write(&marker, "domicile-state 9\n").unwrap();
    let newer = open_state(dir.path()).unwrap_err();
    assert!(matches!(newer, EngineError::NewerFormat { found: 9, supported: 1, .. }), "{newer}");
    std::fs::write(&marker, "domicile-log 1\n").unwrap();
    assert!(matches!(open_state(dir.path()), Err(EngineError::Corrupt { .. })));
}
