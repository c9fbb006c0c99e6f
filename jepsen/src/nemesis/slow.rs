//! Whether a disk is slow: how long writes take that are under the same limit as the node's.

use std::time::Duration;

use super::Took;
use super::limits::Limits;
use crate::clock::Stopwatch;
use crate::disk::Disk;

/// The node's writes have their part of the limit too.
const PROBE_MAX: Duration = Duration::from_secs(15);
/// Some pass at once, before the limit is felt.
const ENOUGH: Duration = Duration::from_millis(500);

/// Does as many writes as the limit lets pass in a second. It took if they needed half of it, or more than there was
/// patience for.
pub(super) async fn is_slow(limits: &Limits, disk: &Disk, writes: u64) -> (Took, String) {
    let file = disk.mount.join("probe-writes");
    let watch = Stopwatch::start();
    let ended = tokio::time::timeout(PROBE_MAX, limits.probe(&file, writes).status()).await;
    let took = watch.elapsed();
    drop(std::fs::remove_file(&file));
    let took_ms = took.as_millis();
    match ended {
        Ok(Ok(status)) if status.success() => (judged(took), format!("{writes} writes took {took_ms} ms")),
        Ok(Ok(status)) => (Took::Unknown, format!("writes cannot be tried: {status}")),
        Ok(Err(why)) => (Took::Unknown, format!("writes cannot be tried: {why}")),
        Err(_) => (Took::Installed, format!("{writes} writes were not done in {took_ms} ms")),
    }
}

fn judged(took: Duration) -> Took {
    if took >= ENOUGH { Took::Installed } else { Took::Skipped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_slow_if_a_seconds_writes_take_most_of_one() {
        assert_eq!(judged(Duration::from_millis(40)), Took::Skipped);
        assert_eq!(judged(Duration::from_millis(900)), Took::Installed);
    }
}
