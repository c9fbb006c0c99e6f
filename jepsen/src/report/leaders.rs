//! Who led which partition in which term, as each node saw it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::chart::frame;
use super::scale::{Across, LEFT, bands, time_axis};
use crate::run::{FaultDone, Sighting};

const ROW: f64 = 22.0;
const TOP: f64 = 10.0;

/// For each partition one row a node: a bar for each leader it named, with the leader's id and the term.
pub(super) fn picture(sightings: &[Sighting], faults: &[FaultDone], across: Across, total_ns: u64) -> String {
    let mut rows: BTreeMap<(u64, usize), Vec<&Sighting>> = BTreeMap::new();
    for one in sightings {
        rows.entry((one.partition, one.asked)).or_default().push(one);
    }
    let bottom = TOP + ROW * rows.values().map(|_| 1.0).sum::<f64>();
    let mut inner = bands(faults, across, TOP, bottom) + &time_axis(across, TOP, bottom);
    let mut y = TOP;
    for ((partition, asked), seen) in &rows {
        // Writing into a string cannot fail.
        let _ = writeln!(
            inner,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">p{partition} n{}</text>",
            LEFT - 6.0,
            y + 14.0,
            asked + 1
        );
        for (turn, one) in seen.iter().enumerate() {
            let until = seen.get(turn + 1).map_or(total_ns, |next| next.time_ms * 1_000_000);
            let (from, to) = (across.at(one.time_ms * 1_000_000), across.at(until));
            inner += &bar(one, from, (to - from).max(0.5), y);
        }
        y += ROW;
    }
    frame(bottom + 30.0, "leaders over time", &inner)
}

fn bar(one: &Sighting, from: f64, width: f64, y: f64) -> String {
    let (top, middle) = (y + 3.0, y + 14.0);
    let Some(leader) = one.leader else {
        return format!(
            "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"#fff\" stroke=\"#b3261e\" stroke-dasharray=\"2 2\"><title>no leader known, term {}</title></rect>\n",
            ROW - 6.0,
            one.term
        );
    };
    let shade = ["#fff", "#e3e9f0", "#c5d3e3", "#eee3c8", "#dcead9", "#eadbe8"];
    let turn = usize::try_from(leader).unwrap_or(0) % shade.len();
    let text = if width > 36.0 {
        format!(
            "<text x=\"{:.1}\" y=\"{middle:.1}\" font-size=\"10\">{leader} t{}</text>",
            from + 3.0,
            one.term
        )
    } else {
        String::new()
    };
    format!(
        "<g><rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{}\" stroke=\"#333\" stroke-width=\"0.6\"><title>node {leader} leads, term {}</title></rect>{text}</g>\n",
        ROW - 6.0,
        shade.get(turn).copied().unwrap_or("#fff"),
        one.term
    )
}
