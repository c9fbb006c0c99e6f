//! Where the output of commands goes.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A command that prints, needs no node, and succeeds.
fn check(stdout: impl Into<Stdio>) -> Output {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/regions/eu-central/domicile.toml");
    let mut check = Command::new(env!("CARGO_BIN_EXE_domicile"));
    check.env_clear().args(["config", "check"]).arg(file).stdout(stdout).output().unwrap()
}

#[test]
fn output_that_nobody_reads_ends_a_command_quietly_and_one_that_fails_is_told() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let unread = check(writer);
    assert_eq!(unread.status.code(), Some(141), "as a shell shows the end by SIGPIPE");
    assert_eq!(String::from_utf8_lossy(&unread.stderr), "");
    let full = check(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let said = String::from_utf8_lossy(&full.stderr);
    assert_eq!(full.status.code(), Some(1), "{said}");
    assert!(said.starts_with("domicile: cannot write to standard output: "), "{said}");
    assert!(check(Stdio::piped()).status.success());
}
