//! Bytes that must not be somewhere, and the search for them in every file below a folder.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

pub use rows::{inside, keys};

/// What is looked for, and what each is.
#[derive(Default)]
pub struct Needles {
    by_bytes: BTreeMap<Vec<u8>, String>,
}

/// Which needles are in which file.
pub type Found = BTreeMap<Vec<u8>, BTreeSet<PathBuf>>;

impl Needles {
    /// A word, also as it would be in a form, in hex and in base64.
    pub fn word(&mut self, name: &str, word: &str) {
        let escaped: String = url::form_urlencoded::byte_serialize(word.as_bytes()).collect();
        for shape in [word.to_owned(), word.to_lowercase(), escaped, hex(word.as_bytes())] {
            self.by_bytes.insert(shape.into_bytes(), name.to_owned());
        }
        for shape in [STANDARD_NO_PAD.encode(word), URL_SAFE_NO_PAD.encode(word)] {
            self.by_bytes.insert(shape.into_bytes(), name.to_owned());
        }
    }

    /// Bytes as they lie in a state. At least 8: fewer are found everywhere.
    pub fn bytes(&mut self, name: &str, bytes: &[u8]) {
        assert!(bytes.len() >= 8, "{name} is too short: {bytes:?}");
        self.by_bytes.insert(bytes.to_vec(), name.to_owned());
    }

    pub fn kinds(&self) -> BTreeSet<&str> {
        self.by_bytes.values().map(String::as_str).collect()
    }

    /// A file with every needle in it.
    pub fn plant(&self, file: &Path) {
        let all: Vec<u8> = self.by_bytes.keys().flat_map(|needle| [needle, &b"\n"[..]].concat()).collect();
        std::fs::write(file, all).unwrap();
    }

    /// Fails if any is in a file below `folder`.
    pub fn absent(&self, folder: &Path) {
        let found = self.found(folder);
        let told: Vec<String> =
            found.iter().map(|(needle, files)| format!("{} in {files:?}", self.by_bytes[needle])).collect();
        assert!(told.is_empty(), "{}", told.join("\n"));
    }

    /// Fails if any is in `text`, as it is or in hex.
    pub fn absent_in(&self, place: &str, text: &[u8]) {
        for (needle, name) in &self.by_bytes {
            for shape in [needle.clone(), hex(needle).into_bytes()] {
                let there = text.windows(shape.len()).any(|window| window == shape);
                assert!(!there, "{name} in {place}");
            }
        }
    }

    /// Where each is below `folder`.
    pub fn found(&self, folder: &Path) -> Found {
        let mut found = Found::new();
        let mut scanned = 0;
        for file in files(folder) {
            let content = std::fs::read(&file).unwrap();
            scanned += 1;
            for needle in self.in_content(&content) {
                found.entry(needle.clone()).or_default().insert(file.clone());
            }
        }
        assert!(scanned > 0, "no file in {}", folder.display());
        found
    }

    /// What was not found.
    pub fn missing(&self, found: &Found) -> Vec<&str> {
        let absent = self.by_bytes.iter().filter(|(needle, _)| !found.contains_key(*needle));
        absent.map(|(_, name)| name.as_str()).collect()
    }

    fn in_content(&self, content: &[u8]) -> BTreeSet<&Vec<u8>> {
        // Two bytes decide almost always; files are large.
        let mut starts = vec![false; 1 << 16];
        let mut by_start: BTreeMap<u16, Vec<&Vec<u8>>> = BTreeMap::new();
        for needle in self.by_bytes.keys() {
            let start = u16::from_be_bytes([needle[0], needle[1]]);
            starts[usize::from(start)] = true;
            by_start.entry(start).or_default().push(needle);
        }
        let mut found = BTreeSet::new();
        let zeros = [0; 4096];
        for begin in (0..content.len().saturating_sub(1)).step_by(zeros.len()) {
            let end = (begin + zeros.len()).min(content.len() - 1);
            // Room that was set aside is not worth a look; no needle begins with two zeros.
            if content[begin..=end].iter().all(|byte| *byte == 0) {
                continue;
            }
            for at in begin..end {
                let start = u16::from_be_bytes([content[at], content[at + 1]]);
                if starts[usize::from(start)] {
                    let here = by_start[&start].iter().filter(|needle| content[at..].starts_with(needle));
                    found.extend(here.copied());
                }
            }
        }
        found
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { out.extend(files(&path)) } else { out.push(path) }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}
