//! Wall clocks that are wrong: libfaketime reads a file of the node at every look at the clock. Monotonic
//! clocks stay true, as on a machine whose wall clock is set.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use reqwest::Method;

use crate::client::Door;
use crate::cluster::{Cluster, faketime};
use crate::schedule::Machine;

/// What a node writes is read a little later.
const SLACK_MS: i64 = 1_500;
const TELL_MAX: Duration = Duration::from_secs(4);
const LOOK: Duration = Duration::from_millis(100);

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

/// How clocks go in a fault of theirs.
pub(super) fn wanted(fault: &Machine) -> Option<Going> {
    if let Machine::ClockJump { by_s, .. } = fault {
        Some(Going::By(*by_s))
    } else if let Machine::ClockRate { permille, .. } = fault {
        Some(Going::Rate(*permille))
    } else {
        None
    }
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

/// How far a node's clock is ahead of this machine's, in ms, by what it writes at the time; `None` if it
/// writes nothing. Dates of answers are no help: a server keeps one until its clock has passed it.
pub(super) async fn ahead_ms(cluster: &Cluster, node: usize) -> Option<i64> {
    let node = cluster.nodes.get(node)?;
    let old = std::fs::metadata(node.log()).ok()?.len();
    // Nobody lives there: a refusal that is logged.
    let url = node.public.join("/t/nobody/.well-known/openid-configuration").ok()?;
    let telling = async {
        loop {
            let _ = cluster.http.send(cluster.http.request(Method::GET, &url, &Door::Named)).await;
            let now_ms = i64::try_from(crate::clock::wall_clock_ms()).ok()?;
            if let Some(there_ms) = newest_ms(&node.log(), old) {
                return Some(there_ms - now_ms);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(TELL_MAX, telling).await.ok()?
}

/// Whether a clock goes as it should, `after` so long.
pub(super) fn goes(going: Going, after: Duration, ahead_ms: i64) -> bool {
    match going {
        Going::True => ahead_ms.abs() <= SLACK_MS,
        Going::By(by_s) => (by_s * 1_000 - ahead_ms).abs() <= SLACK_MS,
        Going::Rate(permille) => {
            let (ran_ms, rate) =
                (i64::try_from(after.as_millis()).unwrap_or(0), i64::try_from(permille).unwrap_or(0));
            let wanted_ms = ran_ms * (rate - 1_000) / 1_000;
            // It has moved, and to the right side.
            wanted_ms.signum() == ahead_ms.signum() && ahead_ms.abs() >= wanted_ms.abs() / 3
        }
    }
}

/// The time of the last whole line behind `old` bytes that begins with one.
fn newest_ms(log: &Path, old: u64) -> Option<i64> {
    let mut file = std::fs::File::open(log).ok()?;
    file.seek(SeekFrom::Start(old)).ok()?;
    let mut text = Vec::new();
    file.read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    let (whole, _) = text.rsplit_once('\n')?;
    whole.lines().rev().find_map(|line| milliseconds(line.split(' ').next()?))
}

/// Milliseconds since 1970 of an RFC 3339 time in UTC with parts of a second, by Howard Hinnant's count of days.
fn milliseconds(time: &str) -> Option<i64> {
    let (date, rest) = time.strip_suffix('Z')?.split_once('T')?;
    let (clock, part) = rest.split_once('.')?;
    let numbers = |text: &str, by: char| -> Option<[i64; 3]> {
        let parts: Option<Vec<i64>> = text.split(by).map(|part| part.parse().ok()).collect();
        parts?.try_into().ok()
    };
    let ([year, month, day], [hour, minute, second]) = (numbers(date, '-')?, numbers(clock, ':')?);
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let ms: i64 = format!("{part:0<3}").get(..3)?.parse().ok()?;
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000 + ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_logs_are_read() {
        assert_eq!(milliseconds("1970-01-01T00:00:00.000000Z"), Some(0));
        assert_eq!(milliseconds("1994-11-06T08:49:37.5Z"), Some(784_111_777_500));
        assert_eq!(milliseconds("2024-02-29T23:59:59.123456Z"), Some(1_709_251_199_123));
        assert_eq!(milliseconds("yesterday"), None);
    }

    #[test]
    fn the_last_whole_line_that_is_new_counts() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let old = "1970-01-01T00:00:09.000Z old\n";
        let text = format!("{old}1970-01-01T00:00:01.000Z new\n  more of it\n1970-01-01T00:00:02.000Z ha");
        std::fs::write(log.path(), text).unwrap();
        assert_eq!(newest_ms(log.path(), old.len() as u64), Some(1_000));
        assert_eq!(newest_ms(log.path(), 10_000), None);
    }

    #[test]
    fn a_clock_goes_as_it_should_or_not() {
        let second = Duration::from_secs(1);
        assert!(goes(Going::By(-62), second, -62_300) && !goes(Going::By(-62), second, -200));
        assert!(goes(Going::Rate(2_000), second, 900) && !goes(Going::Rate(2_000), second, -900));
        assert!(goes(Going::Rate(500), second, -450) && !goes(Going::Rate(500), second, 3));
    }
}
