//! What nodes inside sent: as they kept it before it was encrypted, and as it was on the wire where that is in the
//! clear (docs/adr/0029).

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::Residency;
use super::scanner::{Scanner, Window, each_file};
use crate::cluster::{CANARIES, Cluster, SENT, TAPES};
use crate::net::{INCOMPLETE, Taped};

/// Words other than canaries, and pieces, that must have been sent among nodes inside.
const WORDS_MIN: usize = 5;
const PIECES_MIN: usize = 20;
/// Requests that a node forwards for clients, and their answers.
const FORWARDED: &str = "http";
/// The certificates of both sides are within so many bytes of a connection's beginning.
const HANDSHAKE_BYTES: u64 = 16 << 10;

/// What is known of what was sent in one way.
#[derive(Debug)]
pub(super) struct Traces {
    /// `what was sent`, `the wire`.
    name: &'static str,
    list: Vec<Trace>,
    is_complete: bool,
}

/// What a node inside sent over one connection.
#[derive(Debug, PartialEq, Eq)]
struct Trace {
    path: PathBuf,
    /// Whether it went to a node inside.
    is_inside: bool,
    /// From where to where.
    told: String,
}

/// What the name of a file of a node says of a connection.
#[derive(Debug, PartialEq, Eq)]
struct Receiver<'a> {
    node: &'a str,
    protocol: &'a str,
    region: &'a str,
}

impl<'a> Receiver<'a> {
    /// `<node>.<protocol>.<turn>.<region>.sent`
    fn read(name: &'a str) -> Option<Self> {
        let parts: Vec<&str> = name.split('.').collect();
        let &[node, protocol, _, region, "sent"] = parts.as_slice() else { return None };
        Some(Self { node, protocol, region })
    }

    /// Node 0 joins, and may be anywhere.
    fn is_in(&self, region: &str) -> bool {
        self.node != "0" && self.region == region
    }
}

impl Traces {
    /// What nodes in `region` kept of what they sent. What they answered to nodes outside that forward for clients
    /// is left out unless the tenant is sealed: it passes through them by the tenant's choice.
    pub(super) fn sent(
        folder: &Path,
        cluster: &Cluster,
        region: &str,
        is_sealed: bool,
    ) -> anyhow::Result<Self> {
        let mut out = Self { name: "what was sent", list: Vec::new(), is_complete: true };
        for node in cluster.nodes.iter().filter(|node| node.is_in(region)) {
            for (name, path) in files(&folder.join(SENT).join(&node.name))? {
                out.is_complete &= name != INCOMPLETE;
                let Some(to) = Receiver::read(&name) else { continue };
                let is_inside = to.is_in(region);
                if is_inside || is_sealed || to.protocol != FORWARDED {
                    let told = format!(
                        "what {} sent to node {} in {} ({})",
                        node.name, to.node, to.region, to.protocol
                    );
                    out.list.push(Trace { path, is_inside, told });
                }
            }
        }
        Ok(out)
    }

    /// What nodes in `region` sent, as it was on the wire. The certificates there say where the other side stands:
    /// who has none joins, and may be anywhere.
    pub(super) fn taped(folder: &Path, cluster: &Cluster, region: &str) -> anyhow::Result<Self> {
        let mut out = Self { name: "the wire", list: Vec::new(), is_complete: true };
        let folder = folder.join(TAPES);
        for (name, path) in files(&folder)? {
            out.is_complete &= name != INCOMPLETE;
            let Some(taped) = Taped::read(&name) else { continue };
            let server = cluster.nodes.get(taped.dialled);
            let server_is_inside = server.is_some_and(|node| node.is_in(region));
            let client = region_in(&beginning(&folder.join(&taped.there))?);
            let client_is_inside = client.as_deref() == Some(region);
            let (from_inside, is_inside) = if taped.is_there {
                (client_is_inside, server_is_inside)
            } else {
                (server_is_inside, client_is_inside)
            };
            if from_inside {
                let client = client.as_deref().unwrap_or("an unknown region");
                let way = if taped.is_there { "to" } else { "from" };
                let told = format!("the wire between n{} and {client} ({way} n{0})", taped.dialled + 1);
                out.list.push(Trace { path, is_inside, told });
            }
        }
        Ok(out)
    }

    /// Whether there is nothing at all.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Looks through all of it. What goes to nodes outside must have no needle; what goes to nodes inside must have
    /// them, or the search shows nothing.
    pub(super) fn search(&self, sought: &Scanner, region: &str, out: &mut Residency) -> anyhow::Result<()> {
        let (mut inside, mut bytes) = (BTreeSet::new(), [0_usize; 2]);
        for trace in &self.list {
            let mut found: BTreeSet<Window> = BTreeSet::new();
            each_file(&trace.path, &mut |_, part| {
                found.extend(sought.found(part));
                bytes[usize::from(trace.is_inside)] += part.len();
            })?;
            if trace.is_inside {
                inside.append(&mut found);
            } else {
                out.report(sought, &found, &trace.told, region);
            }
        }
        let (seen, total) = (sought.tally(&inside), sought.total());
        let name = self.name;
        out.searched.push(format!(
            "{name}: {} KiB to nodes outside {region}; among nodes inside {} KiB, with {} of {} canaries, {} of {} other \
             words, {} of {} pieces of state",
            bytes[0] >> 10,
            bytes[1] >> 10,
            seen.canaries,
            CANARIES.len(),
            seen.words,
            total.words,
            seen.pieces,
            total.pieces,
        ));
        if seen.canaries < CANARIES.len() || seen.words < WORDS_MIN || seen.pieces < PIECES_MIN {
            out.blind.push(format!(
                "{name}: too little of what is looked for is seen among nodes inside: {seen:?}"
            ));
        }
        if !self.is_complete {
            out.blind.push(format!("{name}: not all of it was kept"));
        }
        if bytes[0] == 0 {
            out.blind.push(format!("{name}: nothing went to nodes outside {region}"));
        }
        Ok(())
    }
}

/// Names and paths, in order; none where there is no such folder.
fn files(folder: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let mut out = Vec::new();
    if folder.is_dir() {
        for file in std::fs::read_dir(folder)? {
            let file = file?;
            out.push((file.file_name().to_string_lossy().into_owned(), file.path()));
        }
    }
    out.sort();
    Ok(out)
}

fn beginning(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    std::fs::File::open(path)?.take(HANDSHAKE_BYTES).read_to_end(&mut out)?;
    Ok(out)
}

/// The region in the name of a node's certificate: `/region/<r>/zone/`. An authority's has no zone.
fn region_in(bytes: &[u8]) -> Option<String> {
    let (before, after) = (b"/region/".as_slice(), b"/zone/".as_slice());
    let starts = bytes.windows(before.len()).enumerate().filter(|(_, window)| *window == before);
    starts.filter_map(|(at, _)| bytes.get(at + before.len()..)).find_map(|rest| {
        let end = rest.iter().position(|byte| *byte == b'/')?;
        let (region, rest) = rest.split_at_checked(end)?;
        rest.starts_with(after).then(|| String::from_utf8_lossy(region).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const DULL: &[u8] = b"nothing of interest";

    fn noise(seed: u64) -> Vec<u8> {
        let mut random = Random::new(seed);
        (0..400).map(|_| random.next().to_le_bytes()[0]).collect()
    }

    /// Canaries, five other words and some state.
    fn needles() -> (Scanner, Vec<u8>) {
        let mut sought = Scanner::default();
        let words = (0..5).map(|turn| format!("secret_number_{turn}_of_these_{turn}_many_letters"));
        let words: Vec<String> = CANARIES.iter().map(|word| (*word).to_owned()).chain(words).collect();
        for word in &words {
            sought.add_text(word);
        }
        let state = noise(1);
        sought.add_whole(&state);
        (sought, [words.join(" ").into_bytes(), state].concat())
    }

    fn traces(folder: &Path, files: &[(&str, bool, &[u8])]) -> Traces {
        let list = files.iter().map(|(name, is_inside, bytes)| {
            let path = folder.join(name);
            std::fs::write(&path, bytes).unwrap();
            Trace { path, is_inside: *is_inside, told: format!("the file {name}") }
        });
        Traces { name: "the wire", list: list.collect(), is_complete: true }
    }

    fn searched(files: &[(&str, bool, &[u8])]) -> Residency {
        let folder = tempfile::tempdir().unwrap();
        let (mut out, (sought, _)) = (Residency::default(), needles());
        traces(folder.path(), files).search(&sought, "eu", &mut out).unwrap();
        out
    }

    #[test]
    fn a_search_that_finds_its_needles_inside_and_none_outside_is_sound() {
        let (_, all) = needles();
        let out = searched(&[("in", true, &all[..]), ("out", false, &noise(2)[..])]);
        assert!(out.found.is_empty() && out.blind.is_empty(), "{out:?}");
        assert!(out.searched[0].contains("5 of 5 canaries"), "{out:?}");
    }

    #[test]
    fn a_needle_on_its_way_outside_is_found() {
        let (_, all) = needles();
        let with_word = [noise(2), CANARIES[3].as_bytes().to_vec()].concat();
        let out = searched(&[("in", true, &all[..]), ("out", false, &with_word[..])]);
        assert_eq!(out.found, [format!("the file out has a word of eu: {}", CANARIES[3])]);
        let with_state = [noise(2), noise(1)[40..90].to_vec()].concat();
        let out = searched(&[("in", true, &all[..]), ("out", false, &with_state[..])]);
        assert!(out.found.len() == 1 && out.found[0].contains("pieces of the state of eu"), "{out:?}");
    }

    #[test]
    fn a_search_that_was_not_tried_or_lacks_something_is_blind() {
        let (_, all) = needles();
        let word = CANARIES[0].as_bytes();
        assert_eq!(searched(&[("in", true, word), ("out", false, DULL)]).blind.len(), 1);
        assert_eq!(searched(&[("in", true, &all[..])]).blind.len(), 1, "nothing went outside");
        let folder = tempfile::tempdir().unwrap();
        let (mut out, (sought, _)) = (Residency::default(), needles());
        let traces = traces(folder.path(), &[("in", true, &all[..]), ("out", false, DULL)]);
        Traces { is_complete: false, ..traces }.search(&sought, "eu", &mut out).unwrap();
        assert_eq!(out.blind, ["the wire: not all of it was kept"]);
    }

    #[test]
    fn names_say_who_receives() {
        let read = Receiver::read("7.http.12.us-east.sent").unwrap();
        assert_eq!(read, Receiver { node: "7", protocol: "http", region: "us-east" });
        assert!(read.is_in("us-east") && !read.is_in("us"));
        assert!(!Receiver::read("0.join.3.joining.sent").unwrap().is_in("joining"));
        assert_eq!((Receiver::read(INCOMPLETE), Receiver::read("7.http.12.us-east.kept")), (None, None));
    }

    #[test]
    fn the_region_of_a_node_is_read_off_its_certificate() {
        let chain = b"\x30spiffe://c1/region/eu\0\x30spiffe://c1/region/us-east/zone/a/node/7\0";
        assert_eq!(region_in(chain).as_deref(), Some("us-east"));
        assert_eq!(region_in(b"\x30spiffe://c1/region/eu"), None);
    }
}
