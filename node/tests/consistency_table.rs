//! `docs/consistency.md` says what the code does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod consistency_page;

use std::collections::BTreeSet;

use consistency_page::{SITUATIONS, Says, table};
use domicile::cluster::{Class, ENDPOINTS, Repeat};

const CLASSES: [Class; 6] =
    [Class::Documents, Class::Bounded, Class::Read, Class::Write, Class::Anywhere, Class::Local];

fn repeat(repeat: Repeat) -> &'static str {
    match repeat {
        Repeat::Safe => "always",
        Repeat::WithKey => "with a key",
        Repeat::Never => "never",
    }
}

#[test]
fn every_endpoint_is_documented_as_it_is() {
    let documented: BTreeSet<Vec<String>> = table("method").into_iter().skip(1).collect();
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
    for first in ["class | consistency", "class | leader just lost"] {
        let rows = table(first);
        let named: Vec<&str> = rows.iter().skip(1).map(|row| row[0].as_str()).collect();
        assert_eq!(named, CLASSES.map(Class::name));
        assert!(rows.iter().flatten().all(|cell| !cell.is_empty()), "{rows:?}");
    }
}

/// On real processes it is shown by `cluster_quorum`.
#[test]
fn whatever_is_said_of_what_is_out_of_reach_is_something_that_is_tested() {
    let rows = table("class | leader just lost");
    assert_eq!(rows[0][1..], SITUATIONS);
    for row in rows.iter().skip(1) {
        assert_eq!(row.len(), 1 + SITUATIONS.len(), "{row:?}");
        for cell in &row[1..] {
            Says::of(cell);
        }
    }
}
