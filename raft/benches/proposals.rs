//! Durable proposals through Raft beside a bare append and `fdatasync` loop on the same disk.
//!
//!     cargo bench -p domicile-raft --bench proposals
//!
//! One node, one voter, sealed entries, a state machine that stores what it is given. The bare loop
//! appends as many entries a sync as proposals are in flight: the best a group commit can do. Bare
//! and Raft take turns, three each; medians. Read the ratio: absolute figures are the disk's.
#![allow(clippy::unwrap_used, reason = "a measuring program, not the product")]
#![allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domicile_raft::testing::ToyCipher;
use domicile_raft::{
    ApplyFault, Clock, Committed, DiskOptions, GroupConfig, Incarnation, NodeInfo, Outcome, Partition,
    PartitionId, RaftNode, Retention, Start, StateMachine, SystemClock, TimerProfile, Verdict,
};
use domicile_storage::Transaction;

const BODY_BYTES: usize = 512;
const TURNS: usize = 3;
const TURN: Duration = Duration::from_secs(3);

/// Keeps the last body of each of a thousand keys.
struct Keep;

impl StateMachine for Keep {
    fn apply(
        &self,
        transaction: &mut Transaction<'_>,
        command: Committed<'_>,
    ) -> Result<Verdict, ApplyFault> {
        transaction.put((command.index % 1000).to_be_bytes().to_vec(), command.body.to_vec());
        Ok(Verdict::Applied(Vec::new()))
    }
}

struct Measured {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

fn summary(elapsed: Duration, entries_each: usize, mut latencies: Vec<Duration>) -> Measured {
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    let per_second = (latencies.len() * entries_each) as f64 / elapsed.as_secs_f64();
    Measured { per_second, p50: at(50), p99: at(99) }
}

fn bare(clock: &dyn Clock, directory: &Path, in_flight: usize) -> Measured {
    let path = directory.join("bare");
    let mut file = File::create(&path).unwrap();
    let bytes = vec![0x5a; BODY_BYTES * in_flight];
    let (start, mut latencies) = (clock.monotonic(), Vec::new());
    while clock.monotonic().saturating_sub(start) < TURN {
        let began = clock.monotonic();
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        latencies.push(clock.monotonic().saturating_sub(began));
    }
    let elapsed = clock.monotonic().saturating_sub(start);
    std::fs::remove_file(path).unwrap();
    summary(elapsed, in_flight, latencies)
}

async fn proposals(clock: &Arc<dyn Clock>, partition: &Arc<dyn Partition>, in_flight: usize) -> Measured {
    let start = clock.monotonic();
    let mut proposers = Vec::new();
    for _ in 0..in_flight {
        let (clock, partition) = (Arc::clone(clock), Arc::clone(partition));
        proposers.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            while clock.monotonic().saturating_sub(start) < TURN {
                let began = clock.monotonic();
                let outcome = partition.propose(vec![0x5a; BODY_BYTES], Duration::from_secs(5)).await;
                assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
                latencies.push(clock.monotonic().saturating_sub(began));
            }
            latencies
        }));
    }
    let mut latencies = Vec::new();
    for proposer in proposers {
        latencies.extend(proposer.await.unwrap());
    }
    summary(clock.monotonic().saturating_sub(start), 1, latencies)
}

fn median(mut turns: Vec<Measured>) -> Measured {
    turns.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    turns.swap_remove(TURNS / 2)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[tokio::main]
async fn main() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    // Beside the build, not in /tmp: that may be memory.
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let node = RaftNode::open_on_disk(&home.path().join("node"), DiskOptions::default(), Arc::clone(&clock))
        .unwrap();
    let config = GroupConfig {
        partition: PartitionId(1),
        incarnation: Incarnation(1),
        cipher: Arc::new(ToyCipher::new(7)),
        state_machine: Arc::new(Keep),
        timers: TimerProfile::Zone,
        retention: Retention::default(),
        start: Start::Bootstrap(NodeInfo::default()),
    };
    let partition = node.open_group(config).await.unwrap();
    println!(
        "{:>9}{:>12}{:>12}{:>8}{:>10}{:>10}{:>12}",
        "in flight", "raft/s", "bare/s", "ratio", "p50 ms", "p99 ms", "bare p50 ms"
    );
    for in_flight in [1, 8, 64] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            theirs.push(bare(&*clock, home.path(), in_flight));
            ours.push(proposals(&clock, &partition, in_flight).await);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        println!(
            "{in_flight:>9}{:>12.0}{:>12.0}{:>7.0}%{:>10.2}{:>10.2}{:>12.2}",
            ours.per_second,
            theirs.per_second,
            100.0 * ours.per_second / theirs.per_second,
            ms(ours.p50),
            ms(ours.p99),
            ms(theirs.p50),
        );
    }
    drop(partition);
    node.shutdown().await;
}
