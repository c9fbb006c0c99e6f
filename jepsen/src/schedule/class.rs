//! Classes of faults, for the command line.

use super::fault::Kind;

/// What a fault breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Links.
    Network,
    /// Processes and processors.
    Process,
    /// Wall clocks.
    Clock,
    /// Disks.
    Disk,
    /// Who leads, who votes, certificates, and how much of a log is kept.
    Members,
}

impl Class {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Network, Self::Process, Self::Clock, Self::Disk, Self::Members];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Process => "process",
            Self::Clock => "clock",
            Self::Disk => "disk",
            Self::Members => "members",
        }
    }

    /// Its kinds.
    pub fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Network => {
                &[Kind::Partition, Kind::Slow, Kind::Loss, Kind::Duplicate, Kind::Reorder, Kind::Rate]
            }
            Self::Process => &[Kind::Kill, Kind::Pause, Kind::Restart, Kind::Starve, Kind::Outage],
            Self::Clock => &[Kind::ClockJump, Kind::ClockRate],
            Self::Members => &[Kind::Transfer, Kind::Replace, Kind::Rejoin, Kind::Renewal, Kind::Snapshot],
            Self::Disk => &[Kind::Power, Kind::DiskFull, Kind::ReadOnly, Kind::SlowDisk, Kind::BitFlip],
        }
    }
}
