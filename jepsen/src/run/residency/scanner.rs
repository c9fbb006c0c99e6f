//! Finds windows of bytes: of words, and of pieces of state whose format nobody need know. A piece is a window
//! that is dense enough to be no text and no padding; windows are chosen by their content, so that the same bytes
//! are chosen wherever they stand.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use url::form_urlencoded::byte_serialize;

use crate::cluster::CANARIES;

/// Bytes of a window.
const WINDOW: usize = 12;
/// One window in so many is taken from state files. More of them find what every state has: names of fields, public keys.
const ONE_IN: u16 = 64;
/// What the windows of a wrapped key are called where they are found as text.
const KEY: &str = "a wrapped key as text";
/// Only takes up room.
const BALLAST: &str = "BALLAST";
/// Bytes read at once; a part is no longer than some of these.
const BLOCK: usize = 64 << 10;
const PART_MAX: usize = 4 << 20;
static ZEROES: [u8; BLOCK] = [0; BLOCK];

pub(super) type Window = [u8; WINDOW];

/// Windows with their names; pieces have none. A map of the first three bytes lets most places pass at once.
#[derive(Default)]
pub(super) struct Scanner {
    windows: BTreeMap<Window, String>,
    begins: Vec<u64>,
}

/// How many there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Of [`CANARIES`], by name.
    pub(super) canaries: usize,
    /// Windows of other words.
    pub(super) words: usize,
    pub(super) pieces: usize,
}

impl Scanner {
    fn add(&mut self, window: &[u8], name: &str) {
        let Ok(window) = <Window>::try_from(window) else { return };
        if self.begins.is_empty() {
            self.begins = vec![0; 1 << 18];
        }
        let at = window.iter().take(3).fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        if let Some(bits) = self.begins.get_mut(at >> 6) {
            *bits |= 1 << (at & 63);
        }
        self.windows.entry(window).or_insert_with(|| name.to_owned());
    }

    /// As it is, as it is in a form, and as each way of writing bytes as letters has it.
    pub(super) fn add_text(&mut self, text: &str) {
        // Only the kind is told: a report holds no secrets.
        let name = if CANARIES.contains(&text) {
            text.to_owned()
        } else {
            format!("a secret of {} letters", text.len())
        };
        self.add_word(text.as_bytes(), &name);
        let in_a_form: String = byte_serialize(text.as_bytes()).collect();
        self.add_word(in_a_form.as_bytes(), &name);
        for encoded in encodings(text.as_bytes()) {
            self.add_word(encoded.as_bytes(), &name);
        }
    }

    /// By its beginning, and by its end, where another beginning is all that was changed.
    fn add_word(&mut self, bytes: &[u8], name: &str) {
        // What all tokens of a kind begin with is no needle.
        let start = if bytes.len() >= 2 * WINDOW { WINDOW } else { 0 };
        let end = bytes.len().saturating_sub(WINDOW);
        for at in [start, end] {
            self.add(bytes.get(at..at + WINDOW).unwrap_or_default(), name);
        }
    }

    /// Some of what stands in state files.
    pub(super) fn add_pieces(&mut self, bytes: &[u8]) {
        for window in bytes.windows(WINDOW).filter(|window| is_chosen(window)) {
            self.add(window, "");
        }
    }

    /// Everything of a short file, such as a wrapped key, also where it is written as text.
    pub(super) fn add_whole(&mut self, bytes: &[u8]) {
        for window in bytes.windows(WINDOW).filter(|window| is_dense(window)) {
            self.add(window, "");
        }
        for encoded in encodings(bytes) {
            // What is no random byte is also in keys of others, such as a number of the format.
            for window in encoded.as_bytes().windows(WINDOW).filter(|window| is_mixed(window)) {
                self.add(window, KEY);
            }
        }
    }

    /// Takes back pieces that stand in `bytes`.
    pub(super) fn forget(&mut self, bytes: &[u8]) {
        for window in self.pieces(&self.found(bytes)) {
            self.windows.remove(&window);
        }
    }

    fn is_piece(&self, window: &Window) -> bool {
        self.windows.get(window).is_some_and(String::is_empty)
    }

    /// What stands in `bytes`.
    pub(super) fn found(&self, bytes: &[u8]) -> BTreeSet<Window> {
        let mut out = BTreeSet::new();
        let mut at = 0_usize;
        // Step by step: much is searched, and by builds that are not optimised.
        for (last, byte) in bytes.iter().enumerate() {
            at = (at << 8 | usize::from(*byte)) & 0xff_ffff;
            let Some(bits) = self.begins.get(at >> 6) else { return out };
            if bits & (1 << (at & 63)) == 0 {
                continue;
            }
            let window = last.checked_sub(2).and_then(|first| bytes.get(first..first + WINDOW));
            if let Some(Ok(window)) = window.map(<Window>::try_from)
                && self.windows.contains_key(&window)
            {
                out.insert(window);
            }
        }
        out
    }

    /// The words among windows that were found.
    pub(super) fn names(&self, found: &BTreeSet<Window>) -> BTreeSet<&str> {
        found
            .iter()
            .filter_map(|window| self.windows.get(window))
            .map(String::as_str)
            .filter(|name| !name.is_empty())
            .collect()
    }

    /// The pieces among them.
    pub(super) fn pieces(&self, found: &BTreeSet<Window>) -> Vec<Window> {
        found.iter().filter(|window| self.is_piece(window)).copied().collect()
    }

    /// How many there are.
    pub(super) fn total(&self) -> Tally {
        self.tally(&self.windows.keys().copied().collect())
    }

    /// How many of each kind were found.
    pub(super) fn tally(&self, found: &BTreeSet<Window>) -> Tally {
        let names = self.names(found);
        let is_other_word = |window: &&Window| {
            let name = self.windows.get(*window).map_or("", String::as_str);
            !name.is_empty() && !CANARIES.contains(&name)
        };
        Tally {
            canaries: CANARIES.iter().filter(|word| names.contains(*word)).count(),
            words: found.iter().filter(is_other_word).count(),
            pieces: self.pieces(found).len(),
        }
    }
}

/// Bytes as text: hexadecimal, and base64 wherever they begin within three bytes. What also depends on the bytes around
/// them is left out.
fn encodings(bytes: &[u8]) -> Vec<String> {
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let hex: String = halves.filter_map(|half| char::from_digit(half.into(), 16)).collect();
    let mut out = vec![hex.to_uppercase(), hex];
    for before in 0..3_usize {
        let shifted = [vec![0; before], bytes.to_vec()].concat();
        // Letters of six bits; those that are of these bytes alone.
        let (first, end) = ((before * 8).div_ceil(6), shifted.len() * 8 / 6);
        for alphabet in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            out.push(alphabet.encode(&shifted).get(first..end).unwrap_or_default().to_owned());
        }
    }
    out
}

/// Whether letters differ as those of random bytes do.
fn is_mixed(window: &[u8]) -> bool {
    window.iter().collect::<BTreeSet<_>>().len() >= WINDOW / 2
}

/// One in [`ONE_IN`] of those that are dense, and none that begins with a number of a format, as all stored values do.
fn is_chosen(window: &[u8]) -> bool {
    let [first, second, ..] = window else { return false };
    u16::from_le_bytes([*first, *second]) % ONE_IN == 9 && is_dense(window)
}

/// Whether bytes differ as those of ciphers, hashes and random ids do.
fn is_dense(window: &[u8]) -> bool {
    let high = window.iter().filter(|byte| **byte >= 0x80).count();
    if high < 3 || window.contains(&0) {
        return false;
    }
    let different: BTreeSet<u8> = window.iter().copied().collect();
    different.len() >= WINDOW - 2
}

/// Looks at every file in a folder, or at one, part by part.
///
/// # Errors
/// One cannot be read.
pub(super) fn each_file(path: &Path, look: &mut dyn FnMut(&Path, &[u8])) -> anyhow::Result<()> {
    if path.is_dir() {
        let mut inside: Vec<PathBuf> = std::fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        inside.sort();
        return inside.iter().try_for_each(|path| each_file(path, look));
    }
    if path.is_file() && path.file_name().is_none_or(|name| name != BALLAST) {
        each_part(path, look)?;
    }
    Ok(())
}

/// The parts of a file that are not all zero: images of disks are long and mostly empty. Parts that follow
/// each other are given together.
fn each_part(path: &Path, look: &mut dyn FnMut(&Path, &[u8])) -> std::io::Result<()> {
    let (mut file, mut block, mut part) = (std::fs::File::open(path)?, vec![0; BLOCK], Vec::new());
    loop {
        let read = file.read(&mut block)?;
        let bytes = block.get(..read).unwrap_or_default();
        let is_empty = bytes == ZEROES.get(..read).unwrap_or_default();
        if (is_empty || part.len() > PART_MAX) && !part.is_empty() {
            look(path, &part);
            // A window may lie across the end.
            part.drain(..part.len().saturating_sub(WINDOW));
        }
        if read == 0 {
            return Ok(());
        }
        if is_empty {
            part.clear();
        } else {
            part.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::random::Random;

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut random = Random::new(seed);
        (0..length).map(|_| random.next().to_le_bytes()[0]).collect()
    }

    fn names(scanner: &Scanner, bytes: &[u8]) -> Vec<String> {
        scanner.names(&scanner.found(bytes)).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn pieces_are_found_wherever_they_stand_and_nothing_else_is() {
        let state = noise(1, 40_000);
        let mut pieces = Scanner::default();
        pieces.add_pieces(&state);
        assert!(pieces.total().pieces > 100);
        let copy = [noise(2, 777), state[1_000..30_000].to_vec()].concat();
        assert!(pieces.found(&copy).len() > 100);
        assert!(pieces.found(&noise(3, 200_000)).is_empty());
        pieces.forget(&state[..20_000]);
        assert!(pieces.found(&state[..20_000]).is_empty() && !pieces.found(&state).is_empty());
    }

    #[test]
    fn padding_and_text_are_no_pieces() {
        let mut pieces = Scanner::default();
        pieces.add_pieces(&[0; 5_000]);
        pieces.add_pieces("words that stand in every file of a program, and numbers 0123456789".as_bytes());
        assert_eq!(pieces.total(), Tally::default());
        assert!(pieces.found(&noise(1, 100)).is_empty());
    }

    #[test]
    fn words_are_found_and_told_without_secrets() {
        let mut words = Scanner::default();
        words.add_text(CANARIES[2]);
        words.add_text("rt_abcdefghijklmnopqrstuvwxyz0123456789");
        assert_eq!(names(&words, format!("x {} y", CANARIES[2]).as_bytes()), [CANARIES[2]]);
        let secret = "a secret of 39 letters";
        assert_eq!(names(&words, b"\0rt_abcdefghijklmnopqrstuvwxyz0123456789"), [secret]);
        assert_eq!(names(&words, b"nmopqrstuvwxyz0123456789"), [secret], "its end is enough");
    }

    #[test]
    fn words_are_found_at_the_very_beginning_and_end_and_as_forms_have_them() {
        let mut words = Scanner::default();
        words.add_text(CANARIES[1]);
        assert_eq!(names(&words, CANARIES[1].as_bytes()), [CANARIES[1]]);
        assert_eq!(names(&words, b"password=canary+passphrase+7191+staple"), [CANARIES[1]]);
        words.add_text(CANARIES[4]);
        assert_eq!(names(&words, b"phone=%2B4930555719133&x"), [CANARIES[4]]);
        assert!(names(&words, b"canary and passphrase, 7191, staples").is_empty());
    }

    #[test]
    fn words_and_keys_are_found_however_they_are_written_as_text() {
        let mut sought = Scanner::default();
        sought.add_text(CANARIES[3]);
        let key = noise(9, 60);
        sought.add_whole(&key);
        let text = CANARIES[3].as_bytes();
        for (bytes, name) in [(text, CANARIES[3]), (&key[..], KEY)] {
            let mut hex = String::new();
            for byte in bytes {
                write!(hex, "{byte:02x}").unwrap();
            }
            for written in [hex.clone(), hex.to_uppercase()] {
                assert_eq!(names(&sought, format!("id={written};").as_bytes()), [name]);
            }
            for around in ["", "a", "ab"] {
                let with = [around.as_bytes(), bytes, b"c"].concat();
                for alphabet in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                    assert_eq!(names(&sought, alphabet.encode(&with).as_bytes()), [name], "after {around}");
                }
            }
        }
        assert!(names(&sought, STANDARD_NO_PAD.encode(noise(10, 3_000)).as_bytes()).is_empty());
    }

    #[test]
    fn a_part_of_a_state_is_found() {
        for seed in 20..60 {
            let state = noise(seed, 8_000);
            let mut sought = Scanner::default();
            sought.add_pieces(&state);
            assert!(!sought.found(&state[2_000..6_000]).is_empty(), "{seed}");
        }
    }

    #[test]
    fn what_was_found_is_counted_by_kind() {
        let mut sought = Scanner::default();
        for word in CANARIES {
            sought.add_text(word);
        }
        sought.add_text("secret_of_twenty_four_and_more");
        let key = noise(4, 64);
        sought.add_whole(&key);
        assert!(sought.total().pieces > 20 && sought.total().canaries == CANARIES.len());
        let wire = [CANARIES[0].as_bytes(), &b"secret_of_twenty_four_and_more"[..], &key[..]].concat();
        let found = sought.tally(&sought.found(&wire));
        assert_eq!((found.canaries, found.words, found.pieces), (1, 2, sought.total().pieces));
    }

    #[test]
    fn a_window_across_the_parts_of_a_file_is_found_and_holes_are_passed_over() {
        let (file, piece) = (tempfile::NamedTempFile::new().unwrap(), noise(5, 64));
        let mut bytes = vec![0; 3 * BLOCK];
        bytes.extend(noise(6, PART_MAX + BLOCK - 30));
        bytes.extend(&piece);
        bytes.extend(noise(7, BLOCK));
        std::fs::write(file.path(), &bytes).unwrap();
        let mut sought = Scanner::default();
        sought.add_whole(&piece);
        let (mut found, mut seen) = (BTreeSet::new(), 0);
        each_file(file.path(), &mut |_, part| {
            found.extend(sought.found(part));
            seen += part.len();
        })
        .unwrap();
        assert_eq!(sought.tally(&found).pieces, sought.total().pieces);
        assert!(seen < bytes.len() - 2 * BLOCK);
    }
}
