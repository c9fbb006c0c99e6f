//! Keeps what the compiler cannot: layers, file sizes, imports of apply, licences of dependencies.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const LINES_MAX: usize = 500;

/// What each crate of ours may depend on among ours, tests included.
const EDGES: &[(&str, &[&str])] = &[
    ("domicile-storage", &[]),
    // Stands in for openraft's dependency of that name (docs/adr/0006); ours do not use it.
    ("base2histogram", &[]),
    ("domicile-raft", &["domicile-storage"]),
    ("domicile-iam", &["domicile-raft", "domicile-storage"]),
    ("domicile-oidc", &["domicile-iam", "domicile-raft"]),
    ("domicile", &["domicile-oidc", "domicile-iam", "domicile-raft", "domicile-storage"]),
    // For its tests' builds, which have seeded bugs; it uses nothing of it.
    ("domicile-jepsen", &["domicile-raft"]),
];

/// Dependencies that have one home.
const HOMES: &[(&str, &[&str])] = &[
    ("openraft", &["domicile-raft"]),
    ("sled", &["domicile-storage"]),
    ("raft-engine", &["domicile-storage"]),
    ("axum", &["domicile"]),
];

const LICENCES: &[&str] = &[
    "Apache-2.0",
    "MIT",
    "MIT-0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MPL-2.0",
    "Unicode-3.0",
    "Zlib",
    "CC0-1.0",
    "OpenSSL",
    "0BSD",
    "Unlicense",
    "CDLA-Permissive-2.0",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// What this machine builds for, such as `x86_64-unknown-linux-gnu`.
fn host() -> String {
    let out = Command::new(env!("CARGO")).arg("-vV").output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

/// What the build has fetched: the packages of other platforms are not on a machine that never asked for them.
fn metadata() -> Value {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", &host()])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Workspace packages: name to the names of all their direct dependencies.
fn workspace(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let members: BTreeSet<&str> =
        metadata["workspace_members"].as_array().unwrap().iter().map(text).collect();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .filter(|package| members.contains(text(&package["id"])))
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            let names = dependencies.iter().map(|dependency| text(&dependency["name"]).to_owned()).collect();
            (text(&package["name"]).to_owned(), names)
        })
        .collect()
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn crates_depend_downwards_only() {
    let metadata = metadata();
    let workspace = workspace(&metadata);
    let known: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    let found: BTreeSet<&str> = workspace.keys().map(String::as_str).collect();
    assert_eq!(found, known, "a crate was added or renamed: say here where it stands");
    for (name, allowed) in EDGES {
        for dependency in &workspace[*name] {
            let ours = known.contains(dependency.as_str()) && dependency != name;
            assert!(
                !ours || allowed.contains(&dependency.as_str()),
                "{name} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn storage_consensus_and_http_libraries_have_one_home() {
    let workspace = workspace(&metadata());
    for (library, homes) in HOMES {
        for (name, dependencies) in &workspace {
            let allowed = homes.contains(&name.as_str());
            assert!(!dependencies.contains(*library) || allowed, "{name} must not depend on {library}");
        }
    }
}

/// The guard stands in `storage`: whoever has the feature has it there too, and is refused without debug assertions.
#[test]
fn what_is_for_the_chaos_harness_only_cannot_be_had_without_its_guard() {
    const FEATURE: &str = "seeded-bugs";
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let ours = |package: &&Value| package["source"].is_null() && !package["features"][FEATURE].is_null();
    let mut found = BTreeSet::new();
    for package in packages.iter().filter(ours) {
        let name = text(&package["name"]);
        let with: Vec<&str> = package["features"][FEATURE].as_array().unwrap().iter().map(text).collect();
        let guarded = name == "domicile-storage" || with.contains(&"domicile-storage/seeded-bugs");
        assert!(guarded, "{name} has the feature without its guard");
        let default = package["features"]["default"].as_array().cloned().unwrap_or_default();
        assert!(default.iter().all(|one| !text(one).contains(FEATURE)), "{name} has it by default");
        found.insert(name);
    }
    assert_eq!(found, BTreeSet::from(["domicile", "domicile-raft", "domicile-storage"]));
    let guard = fs::read_to_string(root().join("storage/src/seeded.rs")).unwrap();
    assert!(guard.contains("#[cfg(all(feature = \"seeded-bugs\", not(debug_assertions)))]\ncompile_error!"));
}

#[test]
fn licences_are_permissive_or_mpl_2() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "cargo metadata lists the dependencies");
    for package in packages {
        let licence = text(&package["license"]).replace('/', " OR ");
        let accepted = licence.replace(['(', ')'], " ").split(" AND ").all(|all| {
            all.split(" OR ").any(|one| {
                let plain = one.trim().split(" WITH ").next().unwrap_or_default();
                LICENCES.contains(&plain)
            })
        });
        assert!(accepted, "{} {} has licence `{licence}`", package["name"], package["version"]);
        let name = text(&package["name"]);
        assert!(
            !["openssl", "openssl-sys", "native-tls"].contains(&name),
            "{name}: TLS is rustls with aws-lc-rs"
        );
    }
}

#[test]
fn source_files_stay_readable() {
    let mut files = Vec::new();
    sources(&root(), &mut files);
    assert!(files.len() > 50, "the sources were found");
    for file in files {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines; {LINES_MAX} is the most", file.display());
    }
}

#[test]
fn apply_evolve_and_projections_never_decrypt_or_read_a_clock() {
    let iam = root().join("node/iam/src");
    let mut files = Vec::new();
    for folder in ["apply", "streams", "projections"] {
        sources(&iam.join(folder), &mut files);
    }
    assert!(files.len() > 10, "the deterministic folders were found");
    for file in files {
        let source = fs::read_to_string(&file).unwrap();
        for banned in ["crate::seal", "crate::execute", "raft::Clock", "SystemTime", "Instant", "rand::"] {
            assert!(!source.contains(banned), "{} names `{banned}`", file.display());
        }
    }
}

#[test]
fn each_stored_event_has_a_golden_fixture() {
    let mut fixtures = Vec::new();
    for entry in fs::read_dir(root().join("node/iam/tests/golden/events")).unwrap() {
        fixtures.push(entry.unwrap().file_name().to_string_lossy().into_owned());
    }
    let mut files = Vec::new();
    sources(&root().join("node/iam/src/streams"), &mut files);
    let mut names = BTreeSet::new();
    for file in files {
        let source = fs::read_to_string(file).unwrap();
        for line in source.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let Some((_, tail)) = line.split_once("=> \"") else { continue };
            let name = tail.split('"').next().unwrap_or_default();
            if name.contains('.') && name.chars().all(|c| c.is_ascii_lowercase() || c == '.' || c == '_') {
                names.insert(name.to_owned());
            }
        }
    }
    assert!(names.len() > 15, "event names were found: {names:?}");
    for name in names {
        assert!(fixtures.iter().any(|file| file.starts_with(&name)), "no golden fixture for `{name}`");
    }
}
