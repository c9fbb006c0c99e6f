//! How often devices ask (RFC 8628 §3.5).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Devices held at most. When full, those that have not asked for long are forgotten, then all.
const DEVICES_MAX: usize = 65_536;
/// A device that has not asked for this long is forgotten.
const FORGET_AFTER: Duration = Duration::from_mins(15);
/// What a device that asks too soon has to wait more.
const STEP: Duration = Duration::from_secs(5);
/// Clocks and networks are not exact.
const LENIENCE: Duration = Duration::from_secs(1);

/// Polls of this node. A device whose requests go to several nodes is held to its interval by each alone;
/// token requests are served by the tenant's leader, which is one.
#[derive(Default)]
pub struct Polls {
    seen: Mutex<HashMap<[u8; 32], Seen>>,
}

struct Seen {
    at: Duration,
    interval: Duration,
}

impl Polls {
    /// Whether the device asks in time, at `now` (monotonic). If not, its interval grows (§3.5 `slow_down`).
    pub fn in_time(&self, device: [u8; 32], interval: Duration, now: Duration) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= DEVICES_MAX && !seen.contains_key(&device) {
            seen.retain(|_, seen| now < seen.at + FORGET_AFTER);
            if seen.len() >= DEVICES_MAX {
                seen.clear();
            }
        }
        let Some(before) = seen.get_mut(&device) else {
            seen.insert(device, Seen { at: now, interval });
            return true;
        };
        let in_time = now + LENIENCE >= before.at + before.interval;
        before.at = now;
        if !in_time {
            before.interval += STEP;
        }
        in_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8628_s3_5_who_asks_too_soon_waits_five_seconds_more_from_then_on() {
        let polls = Polls::default();
        let asks = |second| polls.in_time([1; 32], Duration::from_secs(5), Duration::from_secs(second));
        assert!(asks(0), "the first comes when it likes");
        assert!(asks(5) && asks(9), "a second of grace");
        assert!(!asks(10));
        assert!(!asks(18), "ten seconds now");
        assert!(asks(33), "fifteen now");
        assert!(
            polls.in_time([2; 32], Duration::from_secs(5), Duration::from_secs(33)),
            "others do not wait"
        );
    }
}
