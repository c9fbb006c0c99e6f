//! The system calls themselves: between the last write of a file and the answer lies its sync.

use std::collections::BTreeMap;
use std::process::Command;

use crate::child::{Position, arguments};
use crate::{is_there, skipped};

/// A call of the trace: where it began, where it returned, and what it was.
#[derive(Debug)]
pub struct Call {
    pub began: usize,
    pub returned: usize,
    pub text: String,
}

/// Joins the halves of calls that others ran between.
pub fn calls(trace: &str) -> Vec<Call> {
    let mut unfinished: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    let mut calls = Vec::new();
    for (number, line) in trace.lines().enumerate() {
        let (pid, text) = line.split_once(' ').unwrap();
        let text = text.trim_start();
        if let Some(start) = text.strip_suffix("<unfinished ...>") {
            unfinished.insert(pid, (number, start.to_owned()));
        } else if let Some((_, rest)) =
            text.strip_prefix("<... ").and_then(|text| text.split_once("resumed>"))
        {
            let (began, start) = unfinished.remove(pid).unwrap();
            calls.push(Call { began, returned: number, text: start + rest });
        } else {
            calls.push(Call { began: number, returned: number, text: text.to_owned() });
        }
    }
    calls.sort_by_key(|call| call.began);
    calls
}

impl Call {
    fn writes(&self, file: &str) -> bool {
        let names = ["write(", "pwrite64(", "writev(", "pwritev("];
        names.iter().any(|name| self.text.starts_with(name)) && self.is_on(file)
    }

    fn syncs(&self, file: &str) -> bool {
        let syncs = self.text.starts_with("fsync(") || self.text.starts_with("fdatasync(");
        syncs && self.is_on(file) && self.text.ends_with("= 0")
    }

    /// `-y` shows the file of a descriptor in angle brackets.
    pub fn is_on(&self, file: &str) -> bool {
        self.text.split_once('>').is_some_and(|(descriptor, _)| descriptor.ends_with(file))
    }
}

/// Runs a few steps of the workload under strace.
fn trace() -> Vec<Call> {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("trace");
    let mut command = Command::new("strace");
    command
        .args([
            "-f",
            "-y",
            "-qq",
            "-e",
            "trace=write,writev,pwrite64,pwritev,fsync,fdatasync,sync_file_range",
        ])
        .args(["-e", "signal=none", "-s", "24", "-o"])
        .arg(&output)
        .arg(std::env::current_exe().unwrap());
    arguments(&mut command, &directory.path().join("data"), 5, Position::default(), 60);
    let run = command.output();
    let run = run.unwrap();
    assert!(run.status.success(), "strace or the workload failed: {}", String::from_utf8_lossy(&run.stderr));
    calls(&std::fs::read_to_string(output).unwrap())
}

/// Checks that before each answer that begins with `answer`, the file that `file` ends the name of was
/// synced after the last write to it. Counts the answers.
fn every_answer_follows_a_sync(calls: &[Call], answer: &str, file: &str) -> usize {
    let answers = calls.iter().filter(|call| call.text.contains(answer) && call.text.starts_with("write(1"));
    answers
        .inspect(|answer| {
            let before = || calls.iter().filter(|call| call.returned < answer.began);
            let write = before().filter(|call| call.writes(file)).max_by_key(|call| call.returned);
            let write = write.unwrap_or_else(|| panic!("{answer:?} without a write to {file}"));
            let synced = before().any(|call| call.syncs(file) && call.began > write.returned);
            assert!(synced, "no sync of {file} between {write:?} and {answer:?}");
        })
        .count()
}

#[test]
fn a_sync_lies_between_the_last_write_and_the_answer() {
    if !is_there("strace") {
        return skipped("strace (Debian's package of that name)");
    }
    let calls = trace();
    assert!(every_answer_follows_a_sync(&calls, "\"state ", "/db/db") > 3);
    assert!(every_answer_follows_a_sync(&calls, "\"state ", "/state/SYNCED") > 3);
    assert!(every_answer_follows_a_sync(&calls, "\"log ", "/0000000000000001.raftlog") > 30);
}
