//! What idle processes cost: from `/proc`, from `ss` (bytes between nodes) and from `strace` (syncs).

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use crate::proc;

/// Calls that wait for the disk.
const SYNCS: &str = "trace=fsync,fdatasync,sync_file_range,msync,syncfs,sync";

/// What processes used together, up to now.
struct Used {
    cpu: Duration,
    written: u64,
    sent: BTreeMap<String, u64>,
}

/// What processes use each second, and hold.
pub struct Idle {
    cpu_percent: f64,
    memory_mib: f64,
    threads: u64,
    syncs: f64,
    written: f64,
    sent: f64,
}

impl Idle {
    /// Looks at `pids`, which listen to each other on `peers` (`host:port`), for twice `time`: first at what
    /// the kernel counts, then at their syncs, since tracing costs time itself.
    pub async fn of(pids: &[u32], peers: &[String], time: Duration) -> Self {
        let before = used(pids, peers);
        tokio::time::sleep(time).await;
        let after = used(pids, peers);
        let seconds = time.as_secs_f64();
        let moved =
            |(socket, bytes): (&String, &u64)| bytes - before.sent.get(socket).unwrap_or(&0).min(bytes);
        let sent: u64 = after.sent.iter().map(moved).sum();
        Self {
            cpu_percent: 100.0 * after.cpu.saturating_sub(before.cpu).as_secs_f64() / seconds,
            memory_mib: pids.iter().map(|pid| proc::resident_mib(*pid)).sum(),
            threads: pids.iter().map(|pid| threads(*pid)).sum(),
            syncs: syncs(pids, time).await / seconds,
            written: after.written.saturating_sub(before.written) as f64 / seconds,
            sent: sent as f64 / seconds,
        }
    }

    /// A line of the page: sums over the three nodes.
    pub fn row(&self, name: &str, partitions: u64) {
        println!(
            "| {name} | {partitions} | {:.1}% | {:.0} MiB | {} | {:.1} | {:.1} KiB | {:.1} KiB |",
            self.cpu_percent,
            self.memory_mib,
            self.threads,
            self.syncs,
            self.written / 1024.0,
            self.sent / 1024.0
        );
    }
}

fn used(pids: &[u32], peers: &[String]) -> Used {
    Used {
        cpu: pids.iter().map(|pid| proc::cpu(*pid)).sum(),
        written: pids.iter().map(|pid| proc::bytes_written(*pid)).sum(),
        sent: sent(peers),
    }
}

fn threads(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("Threads:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Bytes sent by each open socket from or to `peers`; both ends are here, so each byte counts once.
fn sent(peers: &[String]) -> BTreeMap<String, u64> {
    let output = Command::new("ss").args(["-tinHO"]).output().expect("`ss` (iproute2) is needed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ends = fields.get(3..5).unwrap_or_default();
        if !ends.iter().any(|end| peers.iter().any(|peer| end == peer)) {
            continue;
        }
        let bytes = fields.iter().find_map(|field| field.strip_prefix("bytes_sent:"));
        found.insert(ends.join(" "), bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or(0));
    }
    found
}

/// How many syncs `strace` sees in `time`; not a number where it cannot be used.
async fn syncs(pids: &[u32], time: Duration) -> f64 {
    let mut command = Command::new("timeout");
    command.args(["--signal=INT", &time.as_secs().to_string(), "strace", "-f", "-qq", "-e", SYNCS]);
    for pid in pids {
        command.args(["-p", &pid.to_string()]);
    }
    let traced = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let Ok(output) = traced else { return f64::NAN };
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if text.contains("Operation not permitted") {
        return f64::NAN;
    }
    // One that another thread interrupts takes two lines, of which the second says `resumed`.
    text.lines().filter(|line| line.contains("sync") && !line.contains("resumed")).count() as f64
}
