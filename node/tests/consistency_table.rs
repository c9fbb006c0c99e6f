//! `docs/consistency.md` says what the code does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use domicile::cluster::{Class, ENDPOINTS, Repeat};

const CLASSES: [Class; 6] =
    [Class::Documents, Class::Bounded, Class::Read, Class::Write, Class::Anywhere, Class::Local];

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/consistency.md");
    std::fs::read_to_string(path).unwrap()
}

/// The rows of the table whose heading row begins with `first`, without heading and rule.
fn table(page: &str, first: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        line.trim()
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().trim_matches('`').to_owned())
            .collect()
    };
    let lines = page.lines().skip_while(|line| !line.starts_with(&format!("| {first} |")));
    lines.take_while(|line| line.starts_with('|')).skip(2).map(cells).collect()
}

fn repeat(repeat: Repeat) -> &'static str {
    match repeat {
        Repeat::Safe => "always",
        Repeat::WithKey => "with a key",
        Repeat::Never => "never",
    }
}

#[test]
fn every_endpoint_is_documented_as_it_is() {
    let documented = table(&page(), "method");
    let documented: BTreeSet<Vec<String>> = documented.into_iter().collect();
    let coded: BTreeSet<Vec<String>> = ENDPOINTS
        .iter()
        .map(|endpoint| {
            let cells = [endpoint.method, endpoint.path, endpoint.class.name(), repeat(endpoint.repeat)];
            cells.map(str::to_owned).to_vec()
        })
        .collect();
    assert_eq!(documented, coded);
}

#[test]
fn every_class_is_explained_with_what_it_does_when_something_is_out_of_reach() {
    let page = page();
    let tables: Vec<_> =
        ["class | consistency", "class | leader just lost"].map(|first| table(&page, first)).into();
    for rows in tables {
        let named: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(named, CLASSES.map(Class::name));
        assert!(rows.iter().flatten().all(|cell| !cell.is_empty()), "{rows:?}");
    }
}
