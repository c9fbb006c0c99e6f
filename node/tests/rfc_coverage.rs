//! docs/rfc-coverage.md and docs/conformance.md name tests that exist, and where they are.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
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

/// Files by the tests that they declare.
type Tests = BTreeMap<String, BTreeSet<String>>;

/// Functions under an attribute that makes them tests.
fn tests() -> Tests {
    let mut files = Vec::new();
    sources(&root().join("node"), &mut files);
    let mut names = Tests::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let file = file.strip_prefix(root()).unwrap().to_str().unwrap();
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
                names.entry(name.to_owned()).or_default().insert(file.to_owned());
            }
            is_test = false;
        }
    }
    names
}

/// The files of `name`, or of `place::name`, where `place` is the name of a file or folder.
fn declared<'a>(tests: &'a Tests, name: &str) -> Vec<&'a String> {
    let (place, name) = name.rsplit_once("::").map_or((None, name), |(place, name)| (Some(place), name));
    let is_there = |file: &str, place| file.split('/').any(|part| part.trim_end_matches(".rs") == place);
    let files = tests.get(name).into_iter().flatten();
    files.filter(|file| place.is_none_or(|place| is_there(file, place))).collect()
}

/// The cells of a row of three.
fn cells(line: &str) -> [&str; 3] {
    let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    cells.try_into().unwrap_or_else(|_| panic!("a row has not three cells: {line}"))
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
        let [_, _, shown] = cells(line);
        if shown.starts_with("not done:") || shown.starts_with("not followed:") {
            continue;
        }
        let names = quoted(shown);
        assert!(!names.is_empty(), "a row names no test: {line}");
        for name in names {
            let files = declared(&tests, name);
            assert_eq!(files.len(), 1, "`{name}` is a test of {files:?}; write `place::{name}`: {line}");
        }
        rows += 1;
    }
    assert!(rows > 20, "the page was read");
}

#[test]
fn every_module_of_the_plans_names_its_test_in_the_file_of_its_section_or_says_why_not() {
    let tests = tests();
    let page = fs::read_to_string(root().join("docs/conformance.md")).unwrap();
    let (mut rows, mut files) = (0, Vec::new());
    for line in page.lines() {
        if line.starts_with("## ") {
            files.clear();
        }
        if !line.starts_with("| `oidcc-") {
            let paths: Vec<&str> =
                quoted(line).into_iter().filter(|text| text.starts_with("node/")).collect();
            for path in &paths {
                assert!(root().join(path).exists(), "`{path}` is not there: {line}");
            }
            files.extend(paths);
            continue;
        }
        let [module, test, remarks] = cells(line);
        rows += 1;
        if test == "none" {
            assert!(!remarks.is_empty(), "nothing says why not: {line}");
            continue;
        }
        let name = module.trim_matches('`').to_ascii_lowercase().replace('-', "_");
        assert_eq!(test, format!("`{name}`"), "a test bears the name of its module: {line}");
        let declared = declared(&tests, &name);
        let here = declared.iter().any(|file| files.contains(&file.as_str()));
        assert!(here, "`{name}` is in {declared:?}, its section names {files:?}");
    }
    assert!(rows > 70, "the page was read");
}
