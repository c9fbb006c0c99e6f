//! A closed-loop load: each client sends its next request when the last was answered. What fails is
//! counted and never timed.

use std::sync::Arc;
use std::time::Duration;

use domicile_raft::{Clock, SystemClock};
use hdrhistogram::Histogram;

/// Above it an answer counts as failed.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Something that one client does over and over.
pub trait Client: Send + 'static {
    /// One request; `Err` says what was wrong with the answer.
    fn step(&mut self, round: u64) -> impl Future<Output = Result<(), String>> + Send;
}

/// What a turn measured.
pub struct Load {
    latencies_us: Histogram<u64>,
    elapsed: Duration,
    pub failed: u64,
    /// What the first that failed was told.
    pub told: Option<String>,
    /// Processor time of the servers.
    pub cpu: Duration,
}

impl Load {
    fn new() -> Self {
        Self {
            latencies_us: Histogram::new(3).unwrap(),
            elapsed: Duration::ZERO,
            failed: 0,
            told: None,
            cpu: Duration::ZERO,
        }
    }

    pub fn per_second(&self) -> f64 {
        self.done() / self.elapsed.as_secs_f64()
    }

    fn done(&self) -> f64 {
        self.latencies_us.len() as f64
    }

    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.latencies_us.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Processor time of all servers for one answer.
    pub fn cpu_us(&self) -> f64 {
        self.cpu.as_micros() as f64 / self.done().max(1.0)
    }

    fn add(&mut self, other: &Self) {
        self.latencies_us.add(&other.latencies_us).unwrap();
        self.elapsed += other.elapsed;
        self.cpu += other.cpu;
        self.failed += other.failed;
        if self.told.is_none() {
            self.told.clone_from(&other.told);
        }
    }

    fn record(&mut self, took: Duration) {
        self.latencies_us.record(u64::try_from(took.as_micros()).unwrap()).unwrap();
    }
}

/// Runs all `clients` for `time` and gives them back, with what the turn measured.
pub async fn run<C: Client>(clock: &Arc<SystemClock>, clients: Vec<C>, time: Duration) -> (Load, Vec<C>) {
    let began = clock.monotonic();
    let ends = began + time;
    let running: Vec<_> =
        clients.into_iter().map(|client| tokio::spawn(one(Arc::clone(clock), client, ends))).collect();
    let (mut all, mut clients) = (Load::new(), Vec::new());
    for task in running {
        let (load, client) = task.await.unwrap();
        all.add(&load);
        clients.push(client);
    }
    all.elapsed = clock.monotonic().saturating_sub(began);
    (all, clients)
}

async fn one<C: Client>(clock: Arc<SystemClock>, mut client: C, ends: Duration) -> (Load, C) {
    let mut load = Load::new();
    for round in 0.. {
        let sent = clock.monotonic();
        if sent >= ends {
            break;
        }
        let answer = tokio::time::timeout(ANSWER_MAX, client.step(round)).await;
        let told = match answer {
            Ok(Ok(())) => {
                load.record(clock.monotonic().saturating_sub(sent));
                continue;
            }
            Ok(Err(told)) => told,
            Err(_) => "no answer in 10 s".to_owned(),
        };
        load.failed += 1;
        load.told.get_or_insert(told);
    }
    (load, client)
}

/// The turn in the middle by requests/s, with the failures of all.
pub fn median(mut turns: Vec<Load>) -> Load {
    turns.sort_by(|a, b| a.per_second().total_cmp(&b.per_second()));
    let failed = turns.iter().map(|turn| turn.failed).sum();
    let told = turns.iter().find_map(|turn| turn.told.clone());
    let middle = turns.swap_remove(turns.len() / 2);
    Load { failed, told, ..middle }
}

/// A histogram's quantile of a few samples, in ms.
pub fn quantile(samples: &mut [Duration], quantile: f64) -> f64 {
    samples.sort_unstable();
    let last = samples.len().saturating_sub(1);
    let at = (last as f64 * quantile).ceil() as usize;
    samples.get(at).map_or(0.0, |sample| sample.as_secs_f64() * 1000.0)
}
