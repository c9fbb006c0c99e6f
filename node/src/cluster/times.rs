//! Compares this node's clock with the other nodes'. A node whose clock is wrong leads nothing: what leaders
//! propose moves log time, by which everything expires (design §3).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use domicile_raft::{NodeId, RaftNode, Timestamp};
use futures::future::join_all;
use tokio::task::JoinSet;

use super::links::Links;
use super::messages::{Ask, Reply};
use super::peers::PeerSide;
use super::service::LocalNode;

/// How far a clock may be from the median, ms.
const OFF_MAX_MS: i64 = 500;
/// Between two comparisons.
const EVERY: Duration = Duration::from_secs(1);
/// How long a node may take to tell its time.
const ANSWER: Duration = Duration::from_millis(800);
/// Nodes that are asked; the median of these is as good as that of all.
const ASKED_MAX: usize = 16;
/// Comparisons without an answer until this node may lead all the same: others that vote for it without
/// telling their time are of an older version.
const UNANSWERED_MAX: u32 = 5;
/// Leaderships are handed over within this, or again after the next comparison.
const HAND_OVER: Duration = Duration::from_secs(3);

/// How this node's clock stands to the others'.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// Ahead of the median, ms; 0 while it is within [`OFF_MAX_MS`].
    off_ms: AtomicI64,
}

impl Times {
    /// What is wrong, for the operator.
    pub(crate) fn complaint(&self) -> Option<String> {
        let off_ms = self.off_ms.load(Ordering::Relaxed);
        let way = if off_ms > 0 { "ahead of" } else { "behind" };
        (off_ms != 0).then(|| {
            format!("the clock is {} ms {way} the other nodes': this node leads nothing", off_ms.abs())
        })
    }
}

/// What comparing takes.
pub(crate) struct Comparison {
    pub(crate) local: Arc<LocalNode>,
    pub(crate) links: Arc<Links>,
    pub(crate) peers: Arc<PeerSide>,
}

impl Comparison {
    /// Compares until what this gives is dropped. To be called before any group is opened: a node may not
    /// lead until its clock was compared.
    pub(crate) fn start(self) -> JoinSet<()> {
        self.raft().set_electable(self.others().is_empty());
        let mut comparing = JoinSet::new();
        comparing.spawn(self.run());
        comparing
    }

    fn raft(&self) -> &RaftNode {
        &self.local.replicas.raft
    }

    async fn run(self) {
        let mut unanswered = 0;
        loop {
            // A jump after this is not covered by what comes of it.
            let before = (self.local.clock.now(), self.local.clock.monotonic());
            let offsets = self.offsets().await;
            unanswered = if offsets.is_empty() { unanswered + 1 } else { 0 };
            match verdict(&offsets) {
                Verdict::Agrees => self.agrees(before),
                Verdict::Off(ms) => self.off(ms).await,
                // Of two nodes nobody can tell which is wrong. What was found before stands.
                Verdict::Unclear => {
                    let never = self.others().len() < 2 || unanswered >= UNANSWERED_MAX;
                    if never && self.local.times.off_ms.load(Ordering::Relaxed) == 0 {
                        self.raft().set_electable(true);
                    }
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn agrees(&self, (wall, monotonic): (Timestamp, Duration)) {
        for executor in self.local.replicas.executors() {
            executor.confirm_clock(wall, monotonic);
        }
        if self.local.times.off_ms.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!("the clock agrees with the other nodes' again");
        }
        self.raft().set_electable(true);
    }

    async fn off(&self, ms: i64) {
        if self.local.times.off_ms.swap(ms, Ordering::Relaxed) == 0 {
            tracing::error!(off_ms = ms, "the clock is wrong: this node gives up what it leads");
        }
        self.raft().set_electable(false);
        self.raft().hand_over(HAND_OVER).await;
    }

    fn others(&self) -> Vec<NodeId> {
        let mut others = self.peers.known_nodes(self.raft().identity().id);
        others.truncate(ASKED_MAX);
        others
    }

    /// How far ahead this node's clock is of each node that answers, ms; as little as the way there and
    /// back allows.
    async fn offsets(&self) -> Vec<i64> {
        let asked = self.others().into_iter().map(|node| async move {
            let (sent, began) = (self.local.clock.now(), self.local.clock.monotonic());
            let Ok(Reply::Time { now }) = self.links.ask(node, Ask::Time, ANSWER).await else { return None };
            Some(ahead_ms(sent, now, self.local.clock.monotonic().saturating_sub(began)))
        });
        join_all(asked).await.into_iter().flatten().collect()
    }
}

/// How far a clock that showed `sent` is ahead of one that showed `there` within `round_trip` after.
fn ahead_ms(sent: Timestamp, there: Timestamp, round_trip: Duration) -> i64 {
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let least = signed(sent.0).saturating_sub(signed(there.0));
    let most = least.saturating_add(i64::try_from(round_trip.as_millis()).unwrap_or(i64::MAX));
    // It was asked between the two.
    if least > 0 { least } else { most.min(0) }
}

/// What a comparison says of this clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is within [`OFF_MAX_MS`] of the median.
    Agrees,
    /// It is so far ahead of the median, ms.
    Off(i64),
    /// As many say so as say otherwise, or nobody says anything.
    Unclear,
}

/// By the median of all clocks, this one among them; of an even number by both that are in the middle.
fn verdict(others: &[i64]) -> Verdict {
    let mut all: Vec<i64> = others.iter().copied().chain([0]).collect();
    all.sort_unstable();
    let lower = all.get((all.len() - 1) / 2).copied().unwrap_or(0);
    let upper = all.get(all.len() / 2).copied().unwrap_or(0);
    match (lower.abs() > OFF_MAX_MS, upper.abs() > OFF_MAX_MS) {
        _ if others.is_empty() => Verdict::Unclear,
        (true, true) => Verdict::Off(if lower.abs() <= upper.abs() { lower } else { upper }),
        (false, false) => Verdict::Agrees,
        (true, false) | (false, true) => Verdict::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_far_from_the_median_is_off_and_nobody_else() {
        let hour = 3_600_000;
        assert_eq!(verdict(&[]), Verdict::Unclear);
        assert_eq!(verdict(&[hour]), Verdict::Unclear, "of two nobody can tell");
        assert_eq!(verdict(&[hour, hour + 3]), Verdict::Off(hour), "this one is ahead of both others");
        assert_eq!(verdict(&[-hour, 2]), Verdict::Agrees, "one other is wrong");
        assert_eq!(verdict(&[-hour - 2, -hour, -hour + 2]), Verdict::Off(2 - hour));
        assert_eq!(verdict(&[-hour, -hour, 3]), Verdict::Unclear, "two against two");
        assert_eq!(verdict(&[499, 500, 400]), Verdict::Agrees);
        assert_eq!(verdict(&[700, 600, 501]), Verdict::Off(501));
    }

    #[test]
    fn the_way_there_and_back_is_no_offset() {
        let at = Timestamp;
        let way = Duration::from_millis(300);
        // It answered somewhere within the 300 ms, on a clock that agrees.
        for there in [10_000, 10_120, 10_300] {
            assert_eq!(ahead_ms(at(10_000), at(there), way), 0, "{there}");
        }
        assert_eq!(ahead_ms(at(10_000), at(9_000), way), 1_000);
        assert_eq!(ahead_ms(at(10_000), at(11_300), way), -1_000);
    }
}
