//! Faults of a node's machine: its processor, its clock, its disk, and its absence for long.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::fault::{Kind, Who};
use crate::random::Random;

const SLACK_MS: u64 = 2_000;
/// What a fault may last longer than planned: it is waited for until it bites.
const MORE_MS: u64 = 8_000;

/// What is wrong with a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Machine {
    /// Its processes have so many percent of one processor, together.
    Starve {
        /// Which nodes.
        who: Who,
        /// Of one processor.
        percent: u64,
    },
    /// Its wall clock jumps, and back at the end.
    ClockJump {
        /// Which nodes.
        who: Who,
        /// By how much, in s.
        by_s: i64,
    },
    /// Its wall clock goes at another rate.
    ClockRate {
        /// Which nodes.
        who: Who,
        /// 1,000 is the true rate.
        permille: u64,
    },
    /// The power goes: what was not synced is lost. It comes back at the end.
    Power(Who),
    /// Its disk is full.
    DiskFull(Who),
    /// Its disk cannot be written any more. At the end the machine starts anew.
    ReadOnly(Who),
    /// Its disk does so many writes a second.
    SlowDisk {
        /// Which nodes.
        who: Who,
        /// Writes of the device.
        writes: u64,
    },
    /// Bits of a file are flipped while the node is down. In the end it joins anew under a new id.
    BitFlip {
        /// Which node.
        who: Who,
        /// Which file and which bits.
        draw: u64,
    },
    /// It is away so long that others have purged what it needs.
    Outage(Who),
}

impl Machine {
    /// Of which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Starve { .. } => Kind::Starve,
            Self::ClockJump { .. } => Kind::ClockJump,
            Self::ClockRate { .. } => Kind::ClockRate,
            Self::Power(_) => Kind::Power,
            Self::DiskFull(_) => Kind::DiskFull,
            Self::ReadOnly(_) => Kind::ReadOnly,
            Self::SlowDisk { .. } => Kind::SlowDisk,
            Self::BitFlip { .. } => Kind::BitFlip,
            Self::Outage(_) => Kind::Outage,
        }
    }

    /// Whom it hits.
    pub fn who(&self) -> &Who {
        match self {
            Self::Starve { who, .. }
            | Self::ClockJump { who, .. }
            | Self::ClockRate { who, .. }
            | Self::SlowDisk { who, .. }
            | Self::BitFlip { who, .. }
            | Self::Power(who)
            | Self::DiskFull(who)
            | Self::ReadOnly(who)
            | Self::Outage(who) => who,
        }
    }

    /// How far a clock may be ahead in a fault of `for_ms`, in ms, and a little more: a fault may last longer,
    /// and a clock's offset is known to a second.
    pub(super) fn ahead_ms(&self, for_ms: u64) -> u64 {
        match self {
            Self::ClockJump { by_s, .. } => u64::try_from(*by_s).map_or(0, |by_s| by_s * 1_000 + SLACK_MS),
            Self::ClockRate { permille, .. } if *permille > 1_000 => {
                (for_ms + MORE_MS) * (permille - 1_000) / 1_000 + SLACK_MS
            }
            Self::ClockRate { .. }
            | Self::Starve { .. }
            | Self::Power(_)
            | Self::DiskFull(_)
            | Self::ReadOnly(_)
            | Self::SlowDisk { .. }
            | Self::BitFlip { .. }
            | Self::Outage(_) => 0,
        }
    }

    /// One of `kind`; `None` if it is none of a machine. `many` may be all nodes, `one` is one of them.
    pub(super) fn draw(kind: Kind, many: Who, one: Who, random: &mut Random) -> Option<Self> {
        let found = if kind == Kind::Starve {
            Self::Starve { who: many, percent: random.between(3, 25) }
        } else if kind == Kind::ClockJump {
            let by_s = i64::try_from(random.between(3, 120)).unwrap_or(3);
            Self::ClockJump { who: many, by_s: if random.chance(50) { -by_s } else { by_s } }
        } else if kind == Kind::ClockRate {
            let fast = random.chance(50);
            let permille = if fast { random.between(1_200, 3_000) } else { random.between(200, 800) };
            Self::ClockRate { who: many, permille }
        } else if kind == Kind::Power {
            Self::Power(many)
        } else if kind == Kind::DiskFull {
            Self::DiskFull(one)
        } else if kind == Kind::ReadOnly {
            Self::ReadOnly(one)
        } else if kind == Kind::SlowDisk {
            Self::SlowDisk { who: one, writes: random.between(5, 40) }
        } else if kind == Kind::BitFlip {
            Self::BitFlip { who: one, draw: random.next() }
        } else if kind == Kind::Outage {
            Self::Outage(one)
        } else {
            return None;
        };
        Some(found)
    }

    /// Whether it may hit more than one node.
    pub(super) fn may_hit_many(&self) -> bool {
        matches!(self, Self::Starve { .. } | Self::ClockJump { .. } | Self::ClockRate { .. } | Self::Power(_))
    }

    /// The same, of the leader. Who is away for long is not drawn anew: anybody's log must be caught up.
    pub(super) fn of_the_leader(self) -> Self {
        self.of(Who::Leader)
    }

    /// The same, of others.
    pub(super) fn of(self, who: Who) -> Self {
        match self {
            Self::Starve { percent, .. } => Self::Starve { who, percent },
            Self::ClockJump { by_s, .. } => Self::ClockJump { who, by_s },
            Self::ClockRate { permille, .. } => Self::ClockRate { who, permille },
            Self::Power(_) => Self::Power(who),
            Self::DiskFull(_) => Self::DiskFull(who),
            Self::ReadOnly(_) => Self::ReadOnly(who),
            Self::SlowDisk { writes, .. } => Self::SlowDisk { who, writes },
            other @ (Self::BitFlip { .. } | Self::Outage(_)) => other,
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = self.who();
        match self {
            Self::Starve { percent, .. } => write!(f, "leave {who} {percent}% of a processor"),
            Self::ClockJump { by_s, .. } => write!(f, "move the clock of {who} by {by_s} s"),
            Self::ClockRate { permille, .. } => {
                write!(
                    f,
                    "let the clock of {who} go at {}.{:03} of its rate",
                    permille / 1_000,
                    permille % 1_000
                )
            }
            Self::Power(_) => write!(f, "cut the power of {who}"),
            Self::DiskFull(_) => write!(f, "fill the disk of {who}"),
            Self::ReadOnly(_) => write!(f, "make the disk of {who} read-only"),
            Self::SlowDisk { writes, .. } => write!(f, "let the disk of {who} do {writes} writes a second"),
            Self::BitFlip { .. } => write!(f, "flip bits on the disk of {who}"),
            Self::Outage(_) => write!(f, "keep {who} away for long"),
        }
    }
}
