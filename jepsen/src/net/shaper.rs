//! What a directed link does to packets: pure, on times that the caller gives, in µs. The same seed, times
//! and packets give the same fates.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::atomic::{AtomicU64, Ordering};

use super::Link;
use crate::random::Random;

/// A link that is too slow for what it gets holds packets back so long, and drops the rest.
const HELD_MAX_US: u64 = 1_000_000;
/// How much later a packet arrives that is overtaken.
const OVERTAKEN_US: (u64, u64) = (2_000, 30_000);

/// How many packets met which fate, since the beginning.
#[derive(Debug, Default)]
pub struct Counts {
    /// Passed on.
    pub passed: AtomicU64,
    /// Not passed on because the link was cut.
    pub cut: AtomicU64,
    /// Lost by chance.
    pub lost: AtomicU64,
    /// Passed on a second time.
    pub duplicated: AtomicU64,
    /// Held back so that later ones overtook them.
    pub reordered: AtomicU64,
    /// Passed on later since the link was slower than its distance.
    pub slowed: AtomicU64,
    /// Dropped or held back since more came than the rate lets pass.
    pub throttled: AtomicU64,
}

/// A packet on its way.
type OnItsWay = (usize, Vec<u8>);

/// All packets on their way.
#[derive(Debug)]
pub(super) struct Shaper {
    seed: u64,
    lanes: BTreeMap<(usize, usize), Lane>,
    /// Due times, in order of arrival among equals.
    order: BinaryHeap<Reverse<(u64, u64)>>,
    packets: BTreeMap<u64, OnItsWay>,
    next: u64,
}

#[derive(Debug)]
struct Lane {
    random: Random,
    /// When the link is done with what it was given, by its rate.
    free_us: u64,
    /// When the last packet arrives that keeps the order.
    last_us: u64,
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

impl Shaper {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, lanes: BTreeMap::new(), order: BinaryHeap::new(), packets: BTreeMap::new(), next: 0 }
    }

    /// Takes a packet that enters `link` now.
    pub(super) fn accept(
        &mut self,
        now_us: u64,
        (from, to): (usize, usize),
        link: Link,
        packet: Vec<u8>,
        counts: &Counts,
    ) {
        let seed = self.seed;
        let lane = self.lanes.entry((from, to)).or_insert_with(|| {
            let random = Random::fork(seed, &format!("link {from} {to}"));
            Lane { random, free_us: 0, last_us: 0 }
        });
        // Always the same draws, so that one fault does not move the chance of others.
        let (loss, duplicate, reorder) =
            (lane.random.below(1_000), lane.random.below(1_000), lane.random.below(1_000));
        let jitter_us = lane.random.below(link.jitter_ms * 1_000 + 1);
        let overtaken_us = lane.random.between(OVERTAKEN_US.0, OVERTAKEN_US.1);
        if link.cut {
            return add(&counts.cut);
        }
        if loss < link.loss {
            return add(&counts.lost);
        }
        let Some(leaves_us) = lane.leaves_us(now_us, link, packet.len(), counts) else { return };
        let mut due_us = (leaves_us + link.delay_ms * 1_000 + jitter_us).max(lane.last_us);
        if reorder < link.reorder {
            add(&counts.reordered);
            due_us += overtaken_us;
        } else {
            lane.last_us = due_us;
        }
        add(&counts.passed);
        if link.more_ms > 0 {
            add(&counts.slowed);
        }
        if duplicate < link.duplicate {
            add(&counts.duplicated);
            self.push(due_us, (to, packet.clone()));
        }
        self.push(due_us, (to, packet));
    }

    /// When the next packet is due.
    pub(super) fn next_due_us(&self) -> Option<u64> {
        self.order.peek().map(|Reverse((due_us, _))| *due_us)
    }

    /// A packet whose time has come, and where it goes.
    pub(super) fn take(&mut self, now_us: u64) -> Option<OnItsWay> {
        let Reverse((due_us, number)) = *self.order.peek()?;
        if due_us > now_us {
            return None;
        }
        self.order.pop();
        self.packets.remove(&number)
    }

    fn push(&mut self, due_us: u64, packet: OnItsWay) {
        self.order.push(Reverse((due_us, self.next)));
        self.packets.insert(self.next, packet);
        self.next += 1;
    }
}

impl Lane {
    /// When the last bit is on the wire; `None` if too many wait already.
    fn leaves_us(&mut self, now_us: u64, link: Link, bytes: usize, counts: &Counts) -> Option<u64> {
        if link.rate_kbit == 0 {
            return Some(now_us);
        }
        let begins_us = self.free_us.max(now_us);
        if begins_us > now_us {
            add(&counts.throttled);
        }
        if begins_us - now_us > HELD_MAX_US {
            return None;
        }
        // Bits by kilobits a second are ms.
        let takes_us = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(8_000) / link.rate_kbit;
        self.free_us = begins_us + takes_us;
        Some(self.free_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends packets 0 to `count` - 1, one each ms; gives `(arrival in µs, number)` in order of arrival.
    fn sent(seed: u64, link: Link, count: u16) -> (Vec<(u64, u16)>, Counts) {
        let (mut shaper, counts) = (Shaper::new(seed), Counts::default());
        let mut arrived = Vec::new();
        for now_us in 0..u64::from(count) * 1_000 + 5_000_000 {
            if now_us % 1_000 == 0 && now_us / 1_000 < u64::from(count) {
                let number = u16::try_from(now_us / 1_000).unwrap();
                shaper.accept(now_us, (0, 1), link, number.to_be_bytes().to_vec(), &counts);
            }
            while let Some((to, packet)) = shaper.take(now_us) {
                assert_eq!(to, 1);
                arrived.push((now_us, u16::from_be_bytes([packet[0], packet[1]])));
            }
            if now_us >= u64::from(count) * 1_000 && shaper.next_due_us().is_none() {
                break;
            }
        }
        (arrived, counts)
    }

    fn numbers(arrived: &[(u64, u16)]) -> Vec<u16> {
        arrived.iter().map(|(_, number)| *number).collect()
    }

    #[test]
    fn delay_and_jitter_hold_packets_back_and_keep_their_order() {
        let link = Link { delay_ms: 42, jitter_ms: 10, ..Link::default() };
        let (arrived, _) = sent(1, link, 500);
        assert_eq!(numbers(&arrived), (0..500).collect::<Vec<_>>());
        let took = |(at_us, number): &(u64, u16)| at_us - u64::from(*number) * 1_000;
        assert!(arrived.iter().all(|one| (42_000..=62_000).contains(&took(one))));
        assert!(arrived.iter().map(took).collect::<std::collections::BTreeSet<_>>().len() > 20);
    }

    #[test]
    fn the_same_seed_loses_the_same_packets() {
        let link = Link { loss: 100, ..Link::default() };
        let (arrived, counts) = sent(7, link, 2_000);
        let lost = 2_000 - arrived.len();
        assert!((120..=280).contains(&lost), "{lost}");
        assert_eq!(counts.lost.load(Ordering::Relaxed), lost as u64);
        assert_eq!(numbers(&sent(7, link, 2_000).0), numbers(&arrived));
        assert_ne!(numbers(&sent(8, link, 2_000).0), numbers(&arrived));
    }

    #[test]
    fn packets_that_are_later_than_their_distance_are_counted() {
        let slowed = |more_ms| {
            let (_, counts) = sent(3, Link { delay_ms: 2 + more_ms, more_ms, ..Link::default() }, 20);
            counts.slowed.load(Ordering::Relaxed)
        };
        assert_eq!((slowed(0), slowed(5)), (0, 20));
    }

    #[test]
    fn some_packets_arrive_twice() {
        let (arrived, counts) = sent(3, Link { duplicate: 50, ..Link::default() }, 1_000);
        let twice = arrived.windows(2).filter(|pair| pair[0].1 == pair[1].1).count();
        assert!(twice > 20 && arrived.len() == 1_000 + twice);
        assert_eq!(counts.duplicated.load(Ordering::Relaxed), twice as u64);
    }

    #[test]
    fn some_packets_are_overtaken_and_none_is_lost() {
        let (arrived, counts) = sent(3, Link { reorder: 100, ..Link::default() }, 1_000);
        let overtaken = arrived.windows(2).filter(|pair| pair[0].1 > pair[1].1).count();
        assert!(overtaken > 50, "{overtaken}");
        assert!(counts.reordered.load(Ordering::Relaxed) >= overtaken as u64);
        let mut all = numbers(&arrived);
        all.sort_unstable();
        assert_eq!(all, (0..1_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_cut_is_of_one_direction() {
        let (mut shaper, counts) = (Shaper::new(1), Counts::default());
        let cut = Link { cut: true, ..Link::default() };
        shaper.accept(0, (0, 1), cut, vec![1], &counts);
        shaper.accept(0, (1, 0), Link::default(), vec![2], &counts);
        assert_eq!(shaper.take(0), Some((0, vec![2])));
        assert_eq!((shaper.take(u64::MAX), counts.cut.load(Ordering::Relaxed)), (None, 1));
    }

    #[test]
    fn a_rate_spreads_a_burst_and_drops_what_would_wait_too_long() {
        let (mut shaper, counts) = (Shaper::new(1), Counts::default());
        // 100 kB/s: a packet of 1,000 bytes takes 10 ms.
        let link = Link { rate_kbit: 800, ..Link::default() };
        for _ in 0..300 {
            shaper.accept(0, (0, 1), link, vec![0; 1_000], &counts);
        }
        let arrived =
            |until_us: u64, shaper: &mut Shaper| std::iter::from_fn(|| shaper.take(until_us)).count();
        assert_eq!(arrived(100_000, &mut shaper), 10);
        assert_eq!(arrived(u64::MAX, &mut shaper), 91, "what would wait for over a second is dropped");
    }
}
