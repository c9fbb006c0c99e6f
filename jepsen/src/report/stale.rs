//! How old what weak reads returned was: how many reads at most so stale, and how often a client saw a
//! register go back.

use std::fmt::Write as _;

use super::chart::frame;
use super::recovery;
use super::scale::{LEFT, RIGHT, WIDTH, escape, float};
use crate::check::Staleness;

const TOP: f64 = 10.0;
const ROW: f64 = 20.0;
/// Upper ends of the bars, in ms.
const ENDS_MS: [u64; 8] = [0, 10, 50, 100, 250, 500, 1_000, 2_000];

pub(super) fn section(found: &Staleness) -> String {
    let mut out = String::from("<h2>Staleness</h2>\n");
    for (name, times) in [("bounded", &found.bounded_ms), ("local", &found.local_ms)] {
        if times.is_empty() {
            // Writing into a string cannot fail.
            let _ = writeln!(out, "<p>No {name} reads of registers.</p>");
            continue;
        }
        let fresh = times.iter().filter(|ms| **ms == 0).count();
        let _ = writeln!(
            out,
            "<p>{} {name} reads of registers: {fresh} missed nothing that was acknowledged; median {}, p99 {}, worst {} stale.</p>",
            times.len(),
            recovery::at(times, 50),
            recovery::at(times, 99),
            recovery::at(times, 100)
        );
        out += &bars(name, times);
    }
    let _ = writeln!(
        out,
        "<p>Of {} pairs of reads by one client at one node, {} weak ones saw a register go back.</p>",
        found.sessions, found.went_back
    );
    out
}

fn bars(name: &str, times: &[u64]) -> String {
    let mut counts = vec![0_u64; ENDS_MS.len() + 1];
    for ms in times {
        let turn = ENDS_MS.partition_point(|end| end < ms);
        if let Some(count) = counts.get_mut(turn) {
            *count += 1;
        }
    }
    let total = float(times.len() as u64).max(1.0);
    let (mut inner, mut y) = (String::new(), TOP);
    for (turn, count) in counts.iter().enumerate() {
        let label = match (turn, ENDS_MS.get(turn)) {
            (0, _) => "missed nothing".to_owned(),
            (_, Some(end)) => format!("up to {end} ms"),
            (_, None) => "more".to_owned(),
        };
        let width = float(*count) / total * (WIDTH - LEFT - RIGHT - 140.0);
        let _ = writeln!(
            inner,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><rect x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"#c5d3e3\" stroke=\"#333\" stroke-width=\"0.6\"/><text x=\"{:.1}\" y=\"{:.1}\">{count}</text>",
            LEFT + 74.0,
            y + 14.0,
            escape(&label),
            LEFT + 80.0,
            y + 3.0,
            ROW - 6.0,
            LEFT + 86.0 + width,
            y + 14.0
        );
        y += ROW;
    }
    frame(y + 10.0, &format!("staleness of {name} reads"), &inner)
}
