//! Parsers of this crate under inputs that were made by changing good and bad ones: none may panic, and what is
//! taken must hold what its target says. Those of the protocol are in `domicile-oidc`.
//!
//! The corpus is `node/corpus/<target>/`, one input a file: seeds, and inputs that once failed, which stay.
//! A failure prints its input in hexadecimal: put its bytes there under a name that says what it broke.
//! `DOMICILE_FUZZ_CASES` sets how many inputs each target gets (`just fuzz`), and then they are others each time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use domicile_raft::testing::ManualClock;
use domicile_raft::{Clock, SystemClock, Timestamp};

/// Inputs for each target in the test suite.
const CASES: u32 = 4_000;
/// Which ones.
const SEED: u64 = 11;

/// The inputs that are kept for a target, in order of their names.
pub fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Runs `judge` over the seeds, then over what changes make of them; `words` mean something to the parser.
pub fn run(seeds: &[Vec<u8>], words: &[&[u8]], judge: impl Fn(&[u8])) {
    let tried = |input: &[u8]| {
        let caught = catch_unwind(AssertUnwindSafe(|| judge(input)));
        assert!(caught.is_ok(), "{}", hexadecimal(input));
    };
    for input in seeds {
        tried(input);
    }
    let asked: Option<u32> = std::env::var("DOMICILE_FUZZ_CASES").ok().and_then(|text| text.parse().ok());
    let chance = ManualClock::new(Timestamp(0), if asked.is_some() { fresh() } else { SEED });
    for _ in 0..asked.unwrap_or(CASES) {
        tried(&changed(seeds, words, &chance));
    }
}

fn fresh() -> u64 {
    let mut seed = [0; 8];
    SystemClock::new().fill_random(&mut seed);
    u64::from_be_bytes(seed)
}

/// One of the seeds, with a few changes.
fn changed(seeds: &[Vec<u8>], words: &[&[u8]], chance: &dyn Clock) -> Vec<u8> {
    let pick = |below: usize| {
        let mut random = [0; 4];
        chance.fill_random(&mut random);
        u32::from_be_bytes(random) as usize % below.max(1)
    };
    let mut input = seeds[pick(seeds.len())].clone();
    for _ in 0..=pick(4) {
        let at = pick(input.len() + 1);
        match pick(4) {
            0 => input.truncate(at),
            1 => drop(input.splice(at..at, words[pick(words.len())].iter().copied())),
            2 => input.extend(seeds[pick(seeds.len())].iter().skip(at).take(pick(200))),
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << pick(8);
                }
            }
        }
    }
    input
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
