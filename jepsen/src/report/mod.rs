//! The report: one page that needs no network, no script and no colours.

mod availability;
mod chart;
mod latency;
mod leaders;
mod page;
mod recovery;
mod scale;
mod stale;

use crate::check::{Check, Coverage, Verdict};
use crate::run::{FaultDone, Sighting};
use crate::topology::Topology;

/// What a report is made of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What was run, for the heading.
    pub title: &'a str,
    /// How to do it again.
    pub again: &'a str,
    /// The verdict.
    pub verdict: Verdict,
    /// What each checker said.
    pub checks: &'a [Check],
    /// What was missing.
    pub coverage: &'a Coverage,
    /// What clients did.
    pub history: &'a crate::history::History,
    /// Where nodes and clients were, if they were in regions.
    pub topology: Option<&'a Topology>,
    /// Faults as they were done.
    pub faults: &'a [FaultDone],
    /// Leaders as they were seen.
    pub sightings: &'a [Sighting],
    /// Where things were looked for that may not be there.
    pub searched: &'a [String],
}

/// The page.
pub fn html(facts: &Facts<'_>) -> String {
    page::html(facts)
}
