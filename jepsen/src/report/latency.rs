//! How long each operation took and how many there were, over time, with the faults behind.

use std::fmt::Write as _;

use super::chart::{Mark, frame, mark};
use super::scale::{Across, LEFT, RIGHT, WIDTH, bands, float, time_axis};
use crate::history::{Operation, Outcome};
use crate::run::FaultDone;

const HEIGHT: f64 = 340.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 310.0;
/// Marks at most; of longer histories every n-th operation that went well is drawn, and all others.
const MARKS_MAX: usize = 12_000;
const RATE_HEIGHT: f64 = 190.0;
const RATE_BOTTOM: f64 = 160.0;

pub(super) fn mark_of(operation: &Operation) -> Mark {
    match operation.outcome {
        Outcome::Ok(_) => Mark::Ok,
        Outcome::Fail(_) => Mark::Refused,
        Outcome::Info(_) => Mark::Unknown,
    }
}

/// One mark an operation, on a scale of powers of ten from 0.1 ms to 100 s.
pub(super) fn scatter(operations: &[Operation], faults: &[FaultDone], across: Across) -> String {
    let up = |ms: f64| BOTTOM - (ms.clamp(0.1, 100_000.0).log10() + 1.0) / 6.0 * (BOTTOM - TOP);
    let mut inner = bands(faults, across, TOP, BOTTOM) + &time_axis(across, TOP, BOTTOM);
    for (name, ms) in
        [("1 ms", 1.0), ("10 ms", 10.0), ("100 ms", 100.0), ("1 s", 1_000.0), ("10 s", 10_000.0)]
    {
        let y = up(ms);
        // Writing into a string cannot fail.
        let _ = writeln!(
            inner,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0
        );
    }
    let every = operations.len() / MARKS_MAX + 1;
    for (turn, operation) in operations.iter().enumerate() {
        let Some(ended) = operation.completed_ns else { continue };
        let kind = mark_of(operation);
        if kind == Mark::Ok && turn % every != 0 {
            continue;
        }
        let ms = float(ended.saturating_sub(operation.invoked_ns) / 1_000) / 1_000.0;
        inner.push_str(&mark(across.at(operation.invoked_ns), up(ms), kind));
    }
    frame(HEIGHT, "time of each operation", &inner)
}

/// Operations that ended well each second, and those that did not.
pub(super) fn rate(operations: &[Operation], faults: &[FaultDone], across: Across, total_ns: u64) -> String {
    let seconds = usize::try_from(total_ns / 1_000_000_000 + 1).unwrap_or(1);
    let (mut well, mut other) = (vec![0_u64; seconds], vec![0_u64; seconds]);
    for operation in operations {
        let Some(second) = operation.completed_ns.and_then(|ns| usize::try_from(ns / 1_000_000_000).ok())
        else {
            continue;
        };
        let counts = if operation.is_ok() { &mut well } else { &mut other };
        if let Some(count) = counts.get_mut(second) {
            *count += 1;
        }
    }
    let most = well.iter().chain(&other).copied().max().unwrap_or(1).max(1);
    let up = |count: u64| RATE_BOTTOM - float(count) / float(most) * (RATE_BOTTOM - TOP);
    let line = |counts: &[u64], style: &str| {
        let points = counts
            .iter()
            .zip(0_u64..)
            .map(|(count, second)| format!("{:.1},{:.1}", across.at(second * 1_000_000_000), up(*count)));
        format!(
            "<polyline fill=\"none\" stroke=\"#000\" {style} points=\"{}\"/>\n",
            points.collect::<Vec<_>>().join(" ")
        )
    };
    let mut inner = bands(faults, across, TOP, RATE_BOTTOM) + &time_axis(across, TOP, RATE_BOTTOM);
    let _ = writeln!(
        inner,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{most}/s</text><text x=\"{:.1}\" y=\"{RATE_BOTTOM}\" text-anchor=\"end\">0</text>",
        LEFT - 6.0,
        TOP + 8.0,
        LEFT - 6.0
    );
    inner += &line(&well, "stroke-width=\"1.4\"");
    inner += &line(&other, "stroke-width=\"1\" stroke-dasharray=\"3 2\"");
    frame(RATE_HEIGHT, "operations each second", &inner)
}
