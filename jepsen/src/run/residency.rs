//! Searches the files, logs and metrics of nodes outside a placement for what belongs inside.
//!
//! Two kinds of needle: words (personal values, codes, tokens), and pieces of the state files of a node
//! inside: ciphertexts, wrapped keys, blind-index values and ids, without knowing their format. A piece is a
//! window of bytes that is dense enough to be no text and no padding. Windows are chosen by their content, so
//! that the same bytes are chosen wherever they stand. What the directory holds, which is everywhere, is left
//! out. The search must find its needles on a second node inside, or it shows nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use reqwest::Method;

use super::end::Told;
use crate::client::Door;
use crate::cluster::{CANARIES, Cluster};
use crate::workload::Ground;

/// Bytes of a window.
const WINDOW: usize = 12;
/// One window in so many is taken from state files.
const ONE_IN: u16 = 64;
/// Pieces that a second node inside must have in common with the first.
const COMMON_MIN: usize = 20;
/// Only takes up room.
const BALLAST: &str = "BALLAST";
/// Bytes read at once; a part is no longer than some of these.
const BLOCK: usize = 64 << 10;
const PART_MAX: usize = 4 << 20;
static ZEROES: [u8; BLOCK] = [0; BLOCK];

/// What is looked for in clear, and where else than in files.
#[derive(Debug)]
pub(super) struct Needles {
    words: Vec<String>,
    /// By node.
    metrics: Vec<String>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Residency {
    found: Vec<String>,
    looked_for: u64,
    blind: Vec<String>,
}

impl Needles {
    pub(super) fn of(ground: &Ground) -> Self {
        let canaries = CANARIES.iter().map(|word| (*word).to_owned());
        Self { words: canaries.chain(ground.secrets()).collect(), metrics: Vec::new() }
    }

    pub(super) async fn read_metrics(&mut self, cluster: &Cluster) {
        for node in &cluster.nodes {
            let mut text = String::new();
            for path in ["/metrics", "/readyz?verbose"] {
                let Ok(url) = node.management.join(path) else { continue };
                let asked = cluster.http.send(cluster.http.request(Method::GET, &url, &Door::Named)).await;
                text += &asked.map(|answer| answer.text).unwrap_or_default();
            }
            self.metrics.push(text);
        }
    }
}

impl Residency {
    pub(super) fn tell(self, told: &mut Told) {
        told.misplaced.extend(self.found);
        told.in_place += self.looked_for;
        told.blind.extend(self.blind);
    }
}

/// Searches everything of the nodes that are not in `region`. Their processes must have ended.
pub(super) fn scan(
    cluster: &Cluster,
    region: &str,
    partition: u64,
    needles: &Needles,
) -> anyhow::Result<Residency> {
    let (inside, outside): (Vec<_>, Vec<_>) =
        cluster.nodes.iter().zip(0_usize..).partition(|(node, _)| node.is_in(region));
    let state = |data: &Path, id: u64| data.join("partitions").join(id.to_string());
    let mut words = Scanner::default();
    for word in &needles.words {
        words.add_text(word);
    }
    let mut out = Residency { looked_for: words.windows.len() as u64, ..Residency::default() };
    let mut pieces = Scanner::default();
    let [(first, _), (second, _), ..] = inside[..] else {
        out.blind.push(format!("fewer than two nodes in {region}: the search cannot be tried"));
        return Ok(out);
    };
    each_file(&state(first.data(), partition), &mut |_, bytes| pieces.add_pieces(bytes))?;
    for (node, _) in &inside {
        each_file(&state(node.data(), 0), &mut |_, bytes| pieces.forget(bytes))?;
    }
    let mut common = BTreeSet::new();
    each_file(&state(second.data(), partition), &mut |_, bytes| common.extend(pieces.found(bytes)))?;
    if common.len() < COMMON_MIN {
        out.blind.push(format!(
            "{} of {} pieces are on a second node inside",
            common.len(),
            pieces.windows.len()
        ));
    }
    out.looked_for += pieces.windows.len() as u64;
    for (node, turn) in outside {
        let metrics = needles.metrics.get(turn).map(String::as_bytes).unwrap_or_default();
        for word in words.found(metrics) {
            out.found.push(format!("the metrics of {} have a word of {region}: {word}", node.name));
        }
        // With the image of its disk, if it has one of its own: what was deleted is still there.
        let folder = node.folder();
        each_file(folder, &mut |path, bytes| {
            let place = path.strip_prefix(folder).unwrap_or(path).display();
            for word in words.found(bytes) {
                out.found.push(format!("{} has a word of {region} in {place}: {word}", node.name));
            }
            let held = pieces.found(bytes);
            if !held.is_empty() {
                let count = held.len();
                out.found
                    .push(format!("{} has {count} pieces of the state of {region} in {place}", node.name));
            }
        })?;
    }
    Ok(out)
}

/// Finds windows of bytes. A map of the first three bytes lets most places pass at once.
#[derive(Default)]
struct Scanner {
    windows: BTreeMap<[u8; WINDOW], String>,
    begins: Vec<u64>,
}

impl Scanner {
    fn add(&mut self, window: &[u8], name: &str) {
        let Ok(window) = <[u8; WINDOW]>::try_from(window) else { return };
        if self.begins.is_empty() {
            self.begins = vec![0; 1 << 18];
        }
        let at = begin(&window);
        if let Some(bits) = self.begins.get_mut(at / 64) {
            *bits |= 1 << (at % 64);
        }
        self.windows.entry(window).or_insert_with(|| name.to_owned());
    }

    /// By its beginning, and by its end, where another beginning is all that was changed.
    fn add_text(&mut self, text: &str) {
        let bytes = text.as_bytes();
        // Only the kind is told: a report holds no secrets.
        let name = if CANARIES.contains(&text) {
            text.to_owned()
        } else {
            format!("a secret of {} letters", text.len())
        };
        if let (Some(start), Some(end)) = (bytes.get(..WINDOW), bytes.len().checked_sub(WINDOW)) {
            // What all tokens of a kind begin with is no needle.
            let start = if bytes.len() >= 2 * WINDOW { &bytes[WINDOW..2 * WINDOW] } else { start };
            self.add(start, &name);
            self.add(&bytes[end..], &name);
        }
    }

    fn add_pieces(&mut self, bytes: &[u8]) {
        for window in bytes.windows(WINDOW) {
            if is_chosen(window) {
                self.add(window, "");
            }
        }
    }

    fn forget(&mut self, bytes: &[u8]) {
        for window in bytes.windows(WINDOW).filter(|window| is_chosen(window)) {
            if let Ok(window) = <[u8; WINDOW]>::try_from(window) {
                self.windows.remove(&window);
            }
        }
    }

    /// Names of what stands in `bytes`; of nameless windows, the windows.
    fn found(&self, bytes: &[u8]) -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        if self.begins.is_empty() {
            return out;
        }
        for window in bytes.windows(WINDOW) {
            let at = begin(window);
            if self.begins.get(at / 64).is_some_and(|bits| bits & (1 << (at % 64)) != 0)
                && let Ok(window) = <[u8; WINDOW]>::try_from(window)
                && let Some(name) = self.windows.get(&window)
            {
                out.insert(if name.is_empty() { format!("{window:02x?}") } else { name.clone() });
            }
        }
        out
    }
}

fn begin(window: &[u8]) -> usize {
    window.iter().take(3).fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

/// One in [`ONE_IN`], and only where bytes differ as those of ciphers, hashes and random ids do.
fn is_chosen(window: &[u8]) -> bool {
    let [first, second, ..] = window else { return false };
    if u16::from_le_bytes([*first, *second]) % ONE_IN != 9 {
        return false;
    }
    let different: BTreeSet<u8> = window.iter().copied().collect();
    let high = window.iter().filter(|byte| **byte >= 0x80).count();
    different.len() >= WINDOW - 2 && high >= 3 && !window.contains(&0)
}

fn each_file(path: &Path, look: &mut dyn FnMut(&Path, &[u8])) -> anyhow::Result<()> {
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
    use super::*;
    use crate::random::Random;

    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut random = Random::new(seed);
        (0..length).map(|_| random.next().to_le_bytes()[0]).collect()
    }

    #[test]
    fn pieces_are_found_wherever_they_stand_and_nothing_else_is() {
        let state = noise(1, 40_000);
        let mut pieces = Scanner::default();
        pieces.add_pieces(&state);
        assert!(pieces.windows.len() > 100);
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
        assert!(pieces.windows.is_empty());
    }

    #[test]
    fn words_are_found_and_told_without_secrets() {
        let mut words = Scanner::default();
        words.add_text(CANARIES[2]);
        words.add_text("rt_abcdefghijklmnopqrstuvwxyz0123456789");
        let found = words.found(format!("x {} y", CANARIES[2]).as_bytes());
        assert_eq!(found, [CANARIES[2].to_owned()].into());
        let found = words.found(b"\0rt_abcdefghijklmnopqrstuvwxyz0123456789");
        assert_eq!(found, ["a secret of 39 letters".to_owned()].into());
    }
}
