//! docs/rfc-coverage.md names tests that exist.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Functions under an attribute that makes them tests.
fn tests() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&root().join("node"), &mut files);
    let mut names = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[") {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                continue;
            }
            let declared = line.trim_start_matches("async ").strip_prefix("fn ");
            if let Some(name) = declared.and_then(|rest| rest.split(['(', '<']).next())
                && is_test
            {
                names.insert(name.to_owned());
            }
            is_test = false;
        }
    }
    names
}

/// The texts in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_must_names_a_test_that_exists_or_says_why_not() {
    let tests = tests();
    assert!(tests.len() > 300, "the tests were found");
    let page = fs::read_to_string(root().join("docs/rfc-coverage.md")).unwrap();
    let mut rows = 0;
    for line in page.lines().filter(|line| line.starts_with("| §")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, _, shown] = cells.as_slice() else { panic!("a row has not three cells: {line}") };
        if shown.starts_with("not done:") || shown.starts_with("not followed:") {
            continue;
        }
        let names = quoted(shown);
        assert!(!names.is_empty(), "a row names no test: {line}");
        for name in names {
            assert!(tests.contains(name), "`{name}` is no test: {line}");
        }
        rows += 1;
    }
    assert!(rows > 20, "the page was read");
}
