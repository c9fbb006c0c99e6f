//! Durations and sizes: a whole number and a unit, within bounds.

use std::ops::RangeInclusive;
use std::time::Duration;

const DURATIONS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
const SIZES: &[(&str, u64)] = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = units.iter().find(|(name, _)| *name == unit.trim_start())?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn shown(value: u64, units: &[(&str, u64)]) -> String {
    let whole = units.iter().rev().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    whole.map_or_else(|| value.to_string(), |(name, factor)| format!("{}{name}", value / factor))
}

fn bounded(
    text: &str,
    units: &[(&str, u64)],
    bounds: &RangeInclusive<u64>,
    kind: &str,
) -> Result<u64, String> {
    let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
    let value = scaled(text, units)
        .ok_or_else(|| format!("`{text}` is not a {kind}: a whole number and one of {}", names.join(", ")))?;
    if bounds.contains(&value) {
        return Ok(value);
    }
    let (low, high) = (shown(*bounds.start(), units), shown(*bounds.end(), units));
    Err(format!("`{text}` is not between {low} and {high}"))
}

/// A duration such as `250ms`, `15s`, `5m`, `2h`, within `bounds_ms`.
pub(super) fn duration(text: &str, bounds_ms: &RangeInclusive<u64>) -> Result<Duration, String> {
    bounded(text, DURATIONS, bounds_ms, "duration").map(Duration::from_millis)
}

/// A size such as `512B`, `64KiB`, `64 MiB`, `1GiB`, in bytes, within `bounds`.
pub(super) fn size(text: &str, bounds: &RangeInclusive<u64>) -> Result<u64, String> {
    bounded(text, SIZES, bounds, "size")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_stay_in_bounds() {
        for (text, expects) in [
            ("250ms", Ok(250)),
            ("15s", Ok(15_000)),
            ("5 m", Ok(300_000)),
            ("1h", Ok(3_600_000)),
            ("15", Err("`15` is not a duration: a whole number and one of ms, s, m, h")),
            ("1.5s", Err("`1.5s` is not a duration: a whole number and one of ms, s, m, h")),
            ("-1s", Err("`-1s` is not a duration: a whole number and one of ms, s, m, h")),
            ("s", Err("`s` is not a duration: a whole number and one of ms, s, m, h")),
            ("15d", Err("`15d` is not a duration: a whole number and one of ms, s, m, h")),
            ("2h", Err("`2h` is not between 100ms and 1h")),
            ("99ms", Err("`99ms` is not between 100ms and 1h")),
            (
                "99999999999999999999s",
                Err("`99999999999999999999s` is not a duration: a whole number and one of ms, s, m, h"),
            ),
        ] {
            let got = duration(text, &(100..=3_600_000)).map(|value| value.as_millis());
            assert_eq!(got, expects.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        for (text, expects) in [
            ("512B", Ok(512)),
            ("64KiB", Ok(65_536)),
            ("1 MiB", Ok(1 << 20)),
            ("64KB", Err("`64KB` is not a size: a whole number and one of B, KiB, MiB, GiB")),
            ("1GiB", Err("`1GiB` is not between 1B and 2MiB")),
        ] {
            assert_eq!(size(text, &(1..=2 << 20)), expects.map_err(str::to_owned), "{text}");
        }
    }
}
