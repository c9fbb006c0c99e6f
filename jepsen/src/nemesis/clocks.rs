//! Wall clocks that are wrong: libfaketime reads a file of the node at every look at the clock. Monotonic
//! clocks stay true, as on a machine whose wall clock is set.

use std::time::Duration;

use reqwest::Method;

use crate::client::Door;
use crate::cluster::{Cluster, faketime};

/// Clocks in answers are in whole seconds and a little old.
const SLACK_S: i64 = 2;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// How a clock goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Going {
    /// As the machine's does.
    True,
    /// Ahead or behind.
    By(i64),
    /// At so many thousandths of its rate, from now on.
    Rate(u64),
}

/// Sets a node's clock; `false` if the node has none of its own.
pub(super) fn set(cluster: &Cluster, node: usize, going: Going) -> anyhow::Result<bool> {
    let clock = cluster.nodes[node].clock();
    if faketime().is_none() || !clock.exists() {
        return Ok(false);
    }
    // The rate counts from the start of the process: what it would have gained until now is taken back.
    let text = match going {
        Going::True => "+0 x1".to_owned(),
        Going::By(by_s) => format!("{by_s:+} x1"),
        Going::Rate(permille) => {
            let ran = cluster.processes.running(node).map_or(Duration::ZERO, |(_, ran)| ran);
            let whole = i128::try_from(ran.as_millis()).unwrap_or(0);
            let back_ms = whole * (1_000 - i128::from(permille)) / 1_000;
            let sign = if back_ms < 0 { '-' } else { '+' };
            let (s, ms) = (back_ms.abs() / 1_000, back_ms.abs() % 1_000);
            format!("{sign}{s}.{ms:03} x{}.{:03}", permille / 1_000, permille % 1_000)
        }
    };
    // Readers see the old text or the new one.
    let fresh = clock.with_extension("new");
    std::fs::write(&fresh, text + "\n")?;
    std::fs::rename(&fresh, &clock)?;
    Ok(true)
}

/// How far a node's clock is ahead of this machine's, in s; `None` if it does not say.
pub(super) async fn ahead_s(cluster: &Cluster, node: usize) -> Option<i64> {
    let url = cluster.nodes.get(node)?.management.join("/readyz").ok()?;
    let asked = cluster.http.send(cluster.http.request(Method::GET, &url, &Door::Named));
    let answer = tokio::time::timeout(Duration::from_secs(3), asked).await.ok()?.ok()?;
    let there = seconds(answer.header("date")?)?;
    Some(there - i64::try_from(crate::clock::wall_clock_s()).ok()?)
}

/// Whether a clock that should be so far ahead is.
pub(super) fn is_near(wanted_s: i64, ahead_s: i64) -> bool {
    (wanted_s - ahead_s).abs() <= SLACK_S
}

/// Seconds since 1970 of an HTTP date (RFC 9110 §5.6.7), by Howard Hinnant's count of days.
fn seconds(date: &str) -> Option<i64> {
    let mut parts = date.split_ascii_whitespace().skip(1);
    let day: i64 = parts.next()?.parse().ok()?;
    let name = parts.next()?;
    let month = i64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()? + 1;
    let year: i64 = parts.next()?.parse().ok()?;
    let mut time = parts.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_answers_are_read() {
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        assert_eq!(seconds("yesterday"), None);
    }
}
