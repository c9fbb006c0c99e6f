//! Which nodes stand where: `eu3,us3,ap3`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::schedule::Kind;

/// Nodes over all regions at most.
const NODES_MAX: usize = 15;
/// One way, in ms, between parts of the world; those that are not here are `FAR_MS` apart.
const BETWEEN_MS: &[(&str, &str, u64)] = &[
    ("ap", "eu", 65),
    ("ap", "us", 95),
    ("eu", "us", 42),
    ("eu", "sa", 100),
    ("sa", "us", 60),
    ("af", "eu", 75),
    ("eu", "me", 50),
];
const FAR_MS: u64 = 60;

/// A region's nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Letters only.
    pub name: String,
    /// How many nodes, one a zone.
    pub nodes: usize,
}

/// Regions in order. Nodes are numbered from 0, those of the first region first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// At least one, with at least one node each.
    pub regions: Vec<Region>,
}

/// A text that names no topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a topology such as `eu3,us3,ap3`: different regions, 1 to 15 nodes in all")]
pub struct TopologyError;

impl FromStr for Topology {
    type Err = TopologyError;

    fn from_str(text: &str) -> Result<Self, TopologyError> {
        let mut regions: Vec<Region> = Vec::new();
        for part in text.split(',') {
            let digits = part.find(|letter: char| letter.is_ascii_digit()).ok_or(TopologyError)?;
            let (name, count) = part.split_at(digits);
            let nodes: usize = count.parse().map_err(|_| TopologyError)?;
            let is_name =
                !name.is_empty() && name.len() <= 12 && name.bytes().all(|one| one.is_ascii_lowercase());
            if !is_name || nodes == 0 || regions.iter().any(|region| region.name == name) {
                return Err(TopologyError);
            }
            regions.push(Region { name: name.to_owned(), nodes });
        }
        let topology = Self { regions };
        if topology.total() > NODES_MAX { Err(TopologyError) } else { Ok(topology) }
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> =
            self.regions.iter().map(|region| format!("{}{}", region.name, region.nodes)).collect();
        f.write_str(&parts.join(","))
    }
}

impl Topology {
    /// One region of it, or none.
    #[must_use]
    pub fn only(&self, region: &str) -> Self {
        Self { regions: self.regions.iter().filter(|one| one.name == region).cloned().collect() }
    }

    /// How many nodes.
    pub fn total(&self) -> usize {
        self.regions.iter().map(|region| region.nodes).sum()
    }

    /// Whether there are nodes enough for a kind of fault: a voter is replaced only where another can have its
    /// place, whoever it is. Else the drain is refused, since less would be survived.
    pub fn allows(&self, kind: Kind) -> bool {
        let sizes: Vec<usize> = self.regions.iter().map(|region| region.nodes).collect();
        let has_place = |turn: usize| {
            let mut less = sizes.clone();
            if let Some(size) = less.get_mut(turn) {
                *size -= 1;
            }
            voters(&less) == voters(&sizes)
        };
        // One that is removed leaves a majority of what there was.
        let may_go = kind != Kind::Rejoin || self.total() >= 3;
        may_go && (kind != Kind::Replace || (0..sizes.len()).all(has_place))
    }

    /// Region and zone of each node.
    pub fn places(&self) -> Vec<(String, String)> {
        let zone = |turn: usize| format!("z{}", turn + 1);
        let of = |region: &Region| {
            let name = region.name.clone();
            (0..region.nodes).map(move |turn| (name.clone(), zone(turn))).collect::<Vec<_>>()
        };
        self.regions.iter().flat_map(of).collect()
    }

    /// The nodes of a region.
    pub fn nodes_of(&self, region: &str) -> Vec<usize> {
        let places = self.places();
        (0..places.len()).filter(|turn| places.get(*turn).is_some_and(|place| place.0 == region)).collect()
    }

    /// How long a message from one node to another takes when nothing is wrong, in ms.
    pub fn delay_ms(&self, from: usize, to: usize) -> u64 {
        let places = self.places();
        let (Some(from), Some(to)) = (places.get(from), places.get(to)) else { return 0 };
        between_ms(&from.0, &to.0)
    }
}

/// Over how many regions, if there are three, and with how many votes a tenant stands in regions of these sizes.
fn voters(sizes: &[usize]) -> (usize, usize) {
    let regions = sizes.iter().filter(|size| **size > 0).count();
    // Of five votes a region has two at most.
    let seats: usize = sizes.iter().map(|size| (*size).min(2)).sum();
    match (regions, seats) {
        (3.., 5..) => (3, 5),
        (3.., _) => (3, 3),
        (_, _) => (1, sizes.iter().sum::<usize>().min(3)),
    }
}

/// How long a message from one region to another takes when nothing is wrong, in ms.
pub fn between_ms(from: &str, to: &str) -> u64 {
    if from == to {
        return 0;
    }
    let pair = (from.min(to), from.max(to));
    let known = BETWEEN_MS.iter().find(|(one, other, _)| (*one, *other) == pair);
    known.map_or(FAR_MS, |(_, _, ms)| *ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topology_is_read_and_written() {
        let nine: Topology = "eu3,us3,ap3".parse().unwrap();
        assert_eq!((nine.total(), nine.to_string().as_str()), (9, "eu3,us3,ap3"));
        assert_eq!(nine.places()[4], ("us".to_owned(), "z2".to_owned()));
        assert_eq!(nine.nodes_of("ap"), [6, 7, 8]);
        assert_eq!((nine.delay_ms(0, 1), nine.delay_ms(0, 3), nine.delay_ms(6, 3)), (0, 42, 95));
        for wrong in ["", "eu", "3", "eu0", "eu3,eu3", "EU3", "eu16", "eu3x", "eu3,"] {
            assert_eq!(wrong.parse::<Topology>(), Err(TopologyError), "{wrong}");
        }
    }

    #[test]
    fn a_voter_is_replaced_only_where_another_can_have_the_place_of_any() {
        let allows = |text: &str| text.parse::<Topology>().unwrap().allows(Kind::Replace);
        for enough in ["eu3,us3,ap3", "eu2,us2,ap2", "eu4", "eu2,us2", "eu3,us1", "eu1,us1,ap1,sa1"] {
            assert!(allows(enough), "{enough}");
        }
        for few in ["eu3", "eu1,us1,ap1", "eu3,us1,ap1", "eu3,us2,ap1", "eu2,us1", "eu2,us1,ap1,sa1"] {
            assert!(!allows(few), "{few}");
        }
        assert!("eu1".parse::<Topology>().unwrap().allows(Kind::Kill));
        let may_go = |text: &str| text.parse::<Topology>().unwrap().allows(Kind::Rejoin);
        assert!(may_go("eu3") && may_go("eu1,us1,ap1") && !may_go("eu2"));
    }
}
