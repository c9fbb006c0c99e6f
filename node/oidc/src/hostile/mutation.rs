//! How one input becomes another.

use proptest::prelude::*;

/// Texts that mean something to our parsers.
static WORDS: &[&str] = &[
    "&",
    "=",
    "%",
    "%00",
    "%ff",
    "+",
    ".",
    "..",
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "-1",
    "1e999",
    "18446744073709551616",
    "\\u0000",
    "\\ud800",
    "none",
    "HS256",
    "RS256",
    "crit",
    "jwk",
    "kid",
    "typ",
    "alg",
    "redirect_uri",
    "https://evil.example/",
    "javascript:",
    "client_id",
    "state",
    "resource",
    "Bearer ",
    "DPoP ",
    "dat_",
    ";q=0",
    "\u{feff}",
    "\u{202e}",
    "\0",
    "\r\n",
    "é",
    "code",
];
/// Bytes that repeating and splicing may make of an input.
const LENGTH_MAX: usize = 40_000;

/// One change.
#[derive(Clone, Debug)]
pub enum Mutation {
    /// Another byte.
    Set(prop::sample::Index, u8),
    /// One bit.
    Flip(prop::sample::Index, u8),
    /// Less.
    Cut(prop::sample::Index, usize),
    /// A part once more, so often.
    Repeat(prop::sample::Index, usize, usize),
    /// A word.
    Insert(prop::sample::Index, &'static str),
    /// The end of another input.
    Splice(prop::sample::Index, prop::sample::Index),
}

/// A few changes.
pub fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let place = any::<prop::sample::Index>;
    let one = prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (place(), 0_u8..8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (place(), 1_usize..64).prop_map(|(at, length)| Mutation::Cut(at, length)),
        (place(), 1_usize..64, 1_usize..300)
            .prop_map(|(at, length, times)| Mutation::Repeat(at, length, times)),
        (place(), prop::sample::select(WORDS)).prop_map(|(at, word)| Mutation::Insert(at, word)),
        (place(), place()).prop_map(|(at, from)| Mutation::Splice(at, from)),
    ];
    prop::collection::vec(one, 0..6)
}

impl Mutation {
    /// Changes `input`; `other` is what may be spliced in.
    pub fn apply(&self, input: &mut Vec<u8>, other: &[u8]) {
        let place = |at: &prop::sample::Index| at.index(input.len() + 1);
        match self {
            Self::Set(at, byte) => {
                let from = place(at);
                if let Some(found) = input.get_mut(from) {
                    *found = *byte;
                }
            }
            Self::Flip(at, bit) => {
                let from = place(at);
                if let Some(found) = input.get_mut(from) {
                    *found ^= 1 << bit;
                }
            }
            Self::Cut(at, length) => {
                let from = place(at);
                let to = (from + length).min(input.len());
                drop(input.drain(from..to));
            }
            Self::Repeat(at, length, times) => {
                let from = place(at);
                let part = input[from..(from + length).min(input.len())].repeat(*times);
                drop(input.splice(from..from, part));
            }
            Self::Insert(at, word) => {
                let from = place(at);
                drop(input.splice(from..from, word.bytes()));
            }
            Self::Splice(at, from) => {
                let end = place(at);
                input.truncate(end);
                input.extend(&other[from.index(other.len() + 1)..]);
            }
        }
        input.truncate(LENGTH_MAX);
    }
}
