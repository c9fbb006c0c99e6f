//! The links between nodes. Each direction of each link has a state of its own.

mod owner;
mod proxy;

pub use proxy::ProxyNet;

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::topology::Topology;

/// One direction of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Nothing arrives.
    pub cut: bool,
    /// How long a message takes, in ms.
    pub delay_ms: u64,
}

/// The state of all links. Copies see the same.
#[derive(Clone, Debug)]
pub struct Links {
    state: BTreeMap<(usize, usize), std::sync::Arc<watch::Sender<Link>>>,
    topology: Topology,
}

impl Links {
    /// Links with the delays of the topology and nothing wrong.
    pub fn new(topology: &Topology) -> Self {
        let total = topology.total();
        let pairs = (0..total).flat_map(|from| (0..total).map(move |to| (from, to)));
        let healthy = |(from, to): (usize, usize)| {
            let link = Link { cut: false, delay_ms: topology.delay_ms(from, to) };
            ((from, to), std::sync::Arc::new(watch::Sender::new(link)))
        };
        let state = pairs.filter(|(from, to)| from != to).map(healthy).collect();
        Self { state, topology: topology.clone() }
    }

    /// Cuts one direction.
    pub fn cut(&self, from: usize, to: usize) {
        self.change(from, to, |link| link.cut = true);
    }

    /// Heals one direction.
    pub fn heal(&self, from: usize, to: usize) {
        let delay_ms = self.topology.delay_ms(from, to);
        self.change(from, to, |link| *link = Link { cut: false, delay_ms });
    }

    /// Makes one direction slower than its distance.
    pub fn slow(&self, from: usize, to: usize, more_ms: u64) {
        let delay_ms = self.topology.delay_ms(from, to) + more_ms;
        self.change(from, to, |link| link.delay_ms = delay_ms);
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

    /// Follows one direction; `None` for a node and itself.
    pub(super) fn watch(&self, from: usize, to: usize) -> Option<watch::Receiver<Link>> {
        self.state.get(&(from, to)).map(|link| link.subscribe())
    }

    fn change(&self, from: usize, to: usize, how: impl FnOnce(&mut Link)) {
        if let Some(link) = self.state.get(&(from, to)) {
            link.send_modify(how);
        }
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
        assert_eq!((links.cuts(), *there.borrow()), (1, Link { cut: true, delay_ms: 42 }));
        links.slow(1, 0, 100);
        assert_eq!(*links.watch(1, 0).unwrap().borrow(), Link { cut: false, delay_ms: 142 });
        links.heal_all();
        assert_eq!((links.cuts(), *there.borrow()), (0, Link { cut: false, delay_ms: 42 }));
        assert!(links.watch(1, 1).is_none());
    }
}
