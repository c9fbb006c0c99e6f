//! Every store that a power cut can leave, made from a trace of sled's own writes instead of waiting for luck.

use std::path::Path;
use std::process::Command;

use domicile_storage::{SledEngine, SledOptions};

use crate::child::{Position, RARELY, SYNC_EVERY, arguments, check_state};
use crate::system_calls::{Call, calls};
use crate::workload::choice;
use crate::{is_there, number, seed, skipped};

/// The file that sled writes, and the record of how much of it was synced, in the order in which they are cut.
const FILES: [&str; 2] = ["state/db/db", "state/SYNCED"];
const STEPS: u64 = 1_000;
const PAGE_BYTES: usize = 4096;

/// What a call does to a file.
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Cut { len: usize },
}

impl Change {
    /// `pwrite64(5</path>, "\x00\x01", 2, 4096) = 2`, or `ftruncate(5</path>, 512) = 0`.
    fn of(call: &Call) -> Option<Self> {
        let (arguments, result) = call.text.rsplit_once(") = ").or_else(|| call.text.rsplit_once(')'))?;
        assert!(!result.starts_with('-'), "a call that failed: {result}");
        if call.text.starts_with("ftruncate(") {
            return Some(Self::Cut { len: arguments.rsplit_once(", ")?.1.trim().parse().unwrap() });
        }
        let ((head, offset), mut quoted) = (arguments.rsplit_once(", ")?, arguments.split('"'));
        let hex = quoted.nth(1).filter(|_| head.starts_with("pwrite64("))?;
        let bytes = unescaped(hex);
        let len = head.rsplit_once(", ")?.1.parse::<usize>().unwrap();
        let change = Self::Write { offset: offset.trim().parse().unwrap(), bytes };
        assert!(
            matches!(&change, Self::Write { bytes, .. } if bytes.len() == len),
            "strace cut a write short"
        );
        Some(change)
    }

    /// Makes the change, or the first `pages` of it.
    fn make(&self, file: &mut Vec<u8>, pages: usize) {
        match self {
            Self::Write { offset, bytes } => {
                let bytes = &bytes[..bytes.len().min(pages.saturating_mul(PAGE_BYTES))];
                let end = offset + bytes.len();
                file.resize(file.len().max(end), 0);
                file[*offset..end].copy_from_slice(bytes);
            }
            Self::Cut { len } => file.resize(*len, 0),
        }
    }
}

/// The calls on one file, each with what it does.
fn changes<'a>(calls: &'a [Call], file: &str) -> Vec<(&'a Call, Option<Change>)> {
    let on_file = calls.iter().filter(|call| call.is_on(file));
    let mut changes: Vec<_> = on_file.map(|call| (call, Change::of(call))).collect();
    changes.sort_by_key(|(call, _)| call.returned);
    changes
}

/// Lets the workload run under strace, with a sync of the state once in thousands of batches; gives what it did to files.
fn trace(data: &Path, seed: u64) -> Vec<Call> {
    let output = data.join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-qq", "-xx", "-s", "1000000", "-e", "signal=none"]);
    command.args(["-e", "trace=pwrite64,ftruncate,fsync,fdatasync"]);
    for file in FILES {
        command.arg("-P").arg(data.join(file));
    }
    command.arg("-o").arg(&output).arg(std::env::current_exe().unwrap());
    arguments(&mut command, data, seed, Position::default(), STEPS);
    let run = command.env(SYNC_EVERY, RARELY.to_string()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let text = std::fs::read_to_string(output).unwrap();
    calls(&text).into_iter().map(with_its_file_named).collect()
}

/// strace writes the path of a descriptor as it does the bytes.
fn with_its_file_named(call: Call) -> Call {
    let named = call.text.split_once('<').and_then(|(head, rest)| Some((head, rest.split_once('>')?)));
    let Some((head, (path, rest))) = named else { return call };
    let path = String::from_utf8(unescaped(path)).unwrap();
    Call { text: format!("{head}<{path}>{rest}"), ..call }
}

fn unescaped(hex: &str) -> Vec<u8> {
    hex.split("\\x").skip(1).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// The store as it was at line `at` of the trace, with each finished write and some pages of one that was not.
fn cut(traced: &[Vec<(&Call, Option<Change>)>], at: usize, pages: usize, into: &Path) {
    // What opening the one before made of it.
    for entry in std::fs::read_dir(into.join("state/db")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().as_encoded_bytes().starts_with(b"snap.") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    for (file, changes) in FILES.iter().zip(traced) {
        let mut bytes = Vec::new();
        for (call, change) in changes {
            let pages = if call.returned < at { usize::MAX } else { pages };
            if let Some(change) = change.as_ref().filter(|_| call.began < at) {
                change.make(&mut bytes, pages);
            }
        }
        std::fs::write(into.join(file), bytes).unwrap();
    }
}

/// This is what the file system promises of files whose writes it syncs one by one; see `write_through`.
#[test]
fn a_state_opens_wherever_the_writes_of_sled_are_cut() {
    if !is_there("strace") {
        return skipped("strace (Debian's package of that name)");
    }
    let (directory, seed) = (tempfile::tempdir().unwrap(), seed());
    let data = directory.path();
    let calls = trace(data, seed);
    let traced: Vec<_> = FILES.iter().map(|file| changes(&calls, file)).collect();
    // From when the first sync of a state with something in it was recorded on.
    let mut records = traced[1].iter().filter(|(_, change)| matches!(change, Some(Change::Write { .. })));
    let first = records.nth(1).unwrap().0.returned;
    let last = calls.iter().map(|call| call.returned).max().unwrap();
    assert!(traced[0].len() > 100, "sled wrote {} times", traced[0].len());
    for round in 0..number("DOMICILE_CUT_ROUNDS", 40) {
        let at = first + usize::try_from(choice(seed, round, (last - first) as u64)).unwrap();
        let pages = usize::try_from(choice(seed, round + (1 << 20), 64)).unwrap();
        cut(&traced, at, pages, data);
        let options = SledOptions { cache_bytes: 4 << 20, ..SledOptions::default() };
        let state = SledEngine::open(data.join("state"), &options);
        let state = state.unwrap_or_else(|error| panic!("cut at line {at}, {pages} pages: {error}"));
        check_state(&state, seed);
    }
}
