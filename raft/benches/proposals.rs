//! Durable proposals through Raft beside a bare append and `fdatasync` loop on the same disk.
//!
//!     cargo bench -p domicile-raft --bench proposals [-- IN_FLIGHT...]
//!
//! One node, one voter, sealed entries, a state machine that stores what it is given. The bare loop
//! appends as many entries a sync as proposals are in flight: the best a group commit can do. Bare
//! and Raft take short turns; the ratio is the median over pairs of turns, the rest are medians of
//! their own. Read the ratio: absolute figures are the disk's. `cpu us` is the processor time of the
//! whole process for a proposal, `a sync` how many proposals shared one. At the end, what starting two
//! groups takes: on nothing, then on a log of a thousand entries.
#![allow(clippy::unwrap_used, reason = "a measuring program, not the product")]
#![allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domicile_raft::placement::GroupSettings;
use domicile_raft::testing::ToyCipher;
use domicile_raft::{
    ApplyFault, Clock, Committed, DiskOptions, GroupConfig, Incarnation, NodeInfo, Outcome, Partition,
    PartitionId, RaftNode, Retention, Start, StateMachine, SystemClock, TimerProfile, Verdict,
};
use domicile_storage::Transaction;

const BODY_BYTES: usize = 512;
const TURNS: usize = 9;
const TURN: Duration = Duration::from_secs(1);

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

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Processor time of this process so far, in microseconds.
fn cpu_us() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let ticks = |field: usize| after_name.split_whitespace().nth(field).unwrap().parse::<f64>().unwrap();
    // Linux counts user and system time in hundredths of a second here.
    (ticks(11) + ticks(12)) * 10_000.0
}

fn group(partition: u64) -> GroupConfig {
    GroupConfig {
        partition: PartitionId(partition),
        incarnation: Incarnation(1),
        cipher: Arc::new(ToyCipher::new(7)),
        state_machine: Arc::new(Keep),
        settings: GroupSettings::anywhere(TimerProfile::Zone),
        retention: Retention::default(),
        start: Start::Bootstrap(NodeInfo::default()),
    }
}

/// What this process does when it is started with this argument and a directory.
const START: &str = "--start-on";

/// Opens a node with two groups and says how long that took and what memory it holds.
async fn start_up(clock: &Arc<dyn Clock>, directory: &Path) {
    let mut last = clock.monotonic();
    let mut lap = || {
        let now = clock.monotonic();
        let took = ms(now.saturating_sub(last));
        last = now;
        took
    };
    let node = RaftNode::open_on_disk(directory, DiskOptions::default(), Arc::clone(clock)).unwrap();
    let log = lap();
    let first = node.open_group(group(0)).await.unwrap();
    let first_took = lap();
    let second = node.open_group(group(1)).await.unwrap();
    let second_took = lap();
    assert!([&first, &second].iter().all(|group| group.leadership().borrow().leads));
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim().to_owned();
    let total = log + first_took + second_took;
    println!("start: {total:.0} ms (log {log:.0}, groups {first_took:.0} and {second_took:.0}), {memory}");
    if second.applied() < 1_000 {
        for _ in 0..1_000 {
            second.propose(vec![0x5a; BODY_BYTES], Duration::from_secs(5)).await;
        }
    }
    drop((first, second));
    node.shutdown().await;
}

/// The first start and later ones, each in a process of its own.
fn start_ups(directory: &Path) {
    for _ in 0..5 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        assert!(child.arg(START).arg(directory).status().unwrap().success());
    }
}

async fn measure(
    clock: &Arc<dyn Clock>,
    home: &Path,
    node: &RaftNode,
    partition: &Arc<dyn Partition>,
    in_flight: usize,
) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut cpu, mut count, mut syncs) = (0.0, 0.0, 0);
    for _ in 0..TURNS {
        theirs.push(bare(&**clock, home, in_flight));
        let (cpu_before, syncs_before) = (cpu_us(), node.log_syncs_total());
        let turn = proposals(clock, partition, in_flight).await;
        cpu += cpu_us() - cpu_before;
        syncs += node.log_syncs_total() - syncs_before;
        count += turn.per_second * TURN.as_secs_f64();
        ours.push(turn);
    }
    let of = |turns: &[Measured], value: fn(&Measured) -> f64| median(turns.iter().map(value));
    let ratio = median(ours.iter().zip(&theirs).map(|(our, bare)| our.per_second / bare.per_second));
    println!(
        "{in_flight:>9}{:>10.0}{:>10.0}{:>7.0}%{:>9.2}{:>9.2}{:>13.2}{:>8.1}{:>8.1}",
        of(&ours, |turn| turn.per_second),
        of(&theirs, |turn| turn.per_second),
        100.0 * ratio,
        of(&ours, |turn| ms(turn.p50)),
        of(&ours, |turn| ms(turn.p99)),
        of(&theirs, |turn| ms(turn.p50)),
        cpu / count,
        count / syncs as f64,
    );
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[tokio::main]
async fn main() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    if let Some(directory) = std::env::args().skip_while(|argument| argument != START).nth(1) {
        return start_up(&clock, Path::new(&directory)).await;
    }
    // Beside the build, not in /tmp: that may be memory.
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let node = RaftNode::open_on_disk(&home.path().join("node"), DiskOptions::default(), Arc::clone(&clock))
        .unwrap();
    let partition = node.open_group(group(1)).await.unwrap();
    println!(
        "{:>9}{:>10}{:>10}{:>8}{:>9}{:>9}{:>13}{:>8}{:>8}",
        "in flight", "raft/s", "bare/s", "ratio", "p50 ms", "p99 ms", "bare p50 ms", "cpu us", "a sync"
    );
    let wanted: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    for in_flight in if wanted.is_empty() { vec![1, 8, 64] } else { wanted } {
        measure(&clock, home.path(), &node, &partition, in_flight).await;
    }
    drop(partition);
    node.shutdown().await;
    start_ups(&home.path().join("small"));
}
