//! The state of all links. Each direction of each link has one of its own.
//!
//! Ends of links are numbered: the nodes, then the clients of each region, then the harness itself, whose
//! links are never touched.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::topology::{Topology, between_ms};

/// A link's distance varies by one part in so many.
const JITTER_PART: u64 = 20;

/// One direction of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Nothing arrives.
    pub cut: bool,
    /// How long a message takes, in ms.
    pub delay_ms: u64,
    /// So much of it is more than its distance.
    pub more_ms: u64,
    /// It takes up to so much longer, in ms. Packets stay in order.
    pub jitter_ms: u64,
    /// Packets of 1,000 that are lost.
    pub loss: u64,
    /// Packets of 1,000 that arrive twice.
    pub duplicate: u64,
    /// Packets of 1,000 that are overtaken by later ones.
    pub reorder: u64,
    /// Kilobits a second that pass; 0 is no limit.
    pub rate_kbit: u64,
}

/// The state of all links. Copies see the same.
#[derive(Clone, Debug)]
pub struct Links {
    state: BTreeMap<(usize, usize), Arc<watch::Sender<Link>>>,
    healthy: Arc<BTreeMap<(usize, usize), Link>>,
    nodes: usize,
    regions: Vec<String>,
}

impl Links {
    /// Links with the delays of the topology and nothing wrong.
    pub fn new(topology: &Topology) -> Self {
        let mut places: Vec<Option<String>> =
            topology.places().into_iter().map(|(region, _)| Some(region)).collect();
        places.extend(topology.regions.iter().map(|region| Some(region.name.clone())));
        places.push(None);
        let mut healthy = BTreeMap::new();
        for (from, one) in places.iter().enumerate() {
            for (to, other) in places.iter().enumerate().filter(|(to, _)| *to != from) {
                let delay_ms = match (one, other) {
                    (Some(one), Some(other)) => between_ms(one, other),
                    (Some(_) | None, _) => 0,
                };
                let link = Link { delay_ms, jitter_ms: delay_ms / JITTER_PART, ..Link::default() };
                healthy.insert((from, to), link);
            }
        }
        let state = healthy.iter().map(|(pair, link)| (*pair, Arc::new(watch::Sender::new(*link)))).collect();
        let regions = topology.regions.iter().map(|region| region.name.clone()).collect();
        Self { state, healthy: Arc::new(healthy), nodes: topology.total(), regions }
    }

    /// How many ends there are: nodes, clients of regions, the harness.
    pub fn ends(&self) -> usize {
        self.nodes + self.regions.len() + 1
    }

    /// The nodes among the ends: those below this.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// The end where a region's clients are.
    pub fn clients_of(&self, region: &str) -> Option<usize> {
        self.regions.iter().position(|one| one == region).map(|turn| self.nodes + turn)
    }

    /// Cuts one direction.
    pub fn cut(&self, from: usize, to: usize) {
        self.change(from, to, |link| link.cut = true);
    }

    /// Heals one direction.
    pub fn heal(&self, from: usize, to: usize) {
        if let Some(healthy) = self.healthy.get(&(from, to)) {
            self.change(from, to, |link| *link = *healthy);
        }
    }

    /// Makes one direction slower than its distance.
    pub fn slow(&self, from: usize, to: usize, more_ms: u64) {
        let delay_ms = self.healthy.get(&(from, to)).map_or(0, |link| link.delay_ms) + more_ms;
        self.change(from, to, |link| (link.delay_ms, link.more_ms) = (delay_ms, more_ms));
    }

    /// Changes one direction.
    pub fn change(&self, from: usize, to: usize, how: impl FnOnce(&mut Link)) {
        if let Some(link) = self.state.get(&(from, to)) {
            link.send_modify(how);
        }
    }

    /// Heals everything.
    pub fn heal_all(&self) {
        for (from, to) in self.state.keys() {
            self.heal(*from, *to);
        }
    }

    /// How many directions are cut.
    pub fn cuts(&self) -> usize {
        self.state.values().filter(|link| link.borrow().cut).count()
    }

    /// One direction as it is now; `None` for an end and itself.
    pub(super) fn now(&self, from: usize, to: usize) -> Option<Link> {
        self.state.get(&(from, to)).map(|link| *link.borrow())
    }

    /// Follows one direction; `None` for an end and itself.
    pub(super) fn watch(&self, from: usize, to: usize) -> Option<watch::Receiver<Link>> {
        self.state.get(&(from, to)).map(|link| link.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_direction_is_cut_and_healed_by_itself() {
        let links = Links::new(&"eu1,us1".parse().unwrap());
        let there = links.watch(0, 1).unwrap();
        links.cut(0, 1);
        assert_eq!((links.cuts(), there.borrow().cut, there.borrow().delay_ms), (1, true, 42));
        links.slow(1, 0, 100);
        assert_eq!(links.now(1, 0).map(|link| (link.cut, link.delay_ms)), Some((false, 142)));
        links.heal_all();
        assert_eq!((links.cuts(), links.now(0, 1).map(|link| link.delay_ms)), (0, Some(42)));
        assert!(links.watch(1, 1).is_none());
    }

    #[test]
    fn clients_stand_in_their_region_and_the_harness_beside_every_node() {
        let links = Links::new(&"eu2,us1".parse().unwrap());
        let us = links.clients_of("us").unwrap();
        assert_eq!((links.ends(), links.nodes(), us), (6, 3, 4));
        let delay_ms = |from, to| links.now(from, to).map(|link| link.delay_ms);
        assert_eq!((delay_ms(us, 2), delay_ms(us, 0), delay_ms(5, 0)), (Some(0), Some(42), Some(0)));
    }
}
