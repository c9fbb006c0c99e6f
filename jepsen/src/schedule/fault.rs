//! Faults, as they are written in a schedule.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::packets::Packets;

/// Kinds of fault that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Kill processes (SIGKILL), start them again
    Kill,
    /// Stop processes (SIGSTOP), let them go on
    Pause,
    /// Cut links, also one way
    Partition,
    /// Slow links down
    Slow,
    /// Stop nodes in order (SIGTERM), one after another, and start them again
    Restart,
    /// Have another voter lead
    Transfer,
    /// Drain a node so that another votes in its place, let it come back (needs a node to spare)
    Replace,
    /// Remove a node for good, have its machine join under another id
    Rejoin,
    /// Renew certificates, which end soon then
    Renewal,
    /// Have logs cut to snapshots on order while a node is away
    Snapshot,
    /// Lose packets
    Loss,
    /// Deliver packets twice
    Duplicate,
    /// Have packets overtake others
    Reorder,
    /// Limit how much passes
    Rate,
    /// Leave nodes little of a processor
    Starve,
    /// Move wall clocks
    ClockJump,
    /// Have wall clocks go faster or slower
    ClockRate,
    /// Cut the power: what was not synced is lost
    Power,
    /// Fill disks
    DiskFull,
    /// Have disks refuse all writes
    ReadOnly,
    /// Slow disks down
    SlowDisk,
    /// Flip bits in files
    BitFlip,
    /// Keep nodes away until they need a snapshot
    Outage,
}

/// Whom a fault hits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// The leader of the tenants' partition, whoever that is then.
    Leader,
    /// These nodes.
    Nodes(Vec<usize>),
}

/// The shape of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Nobody reaches the node, and it reaches nobody.
    Isolate(Who),
    /// It is reached and reaches nobody.
    CutOut(Who),
    /// It reaches all and is reached by nobody.
    CutIn(Who),
    /// These on one side, all others on the other.
    Halves(Vec<usize>),
    /// Two sides that only this node still joins.
    Bridge {
        /// The node.
        over: usize,
        /// One side.
        side: Vec<usize>,
    },
    /// Each node reaches a majority, each another one: its neighbours in this circle.
    Ring(Vec<usize>),
    /// A region loses all others.
    Region(String),
    /// Messages of a region to others are lost; those to it arrive.
    RegionOneWay(String),
    /// The links are cut one by one, and healed in another order.
    Swizzle(Vec<usize>),
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// SIGKILL, and a start at its end.
    Kill(Who),
    /// SIGSTOP, and SIGCONT at its end.
    Pause(Who),
    /// Cut links, healed at its end.
    Partition(Shape),
    /// All links of these nodes take so much longer, in ms.
    Slow {
        /// Which nodes.
        who: Who,
        /// In addition to the distance.
        ms: u64,
    },
    /// SIGTERM and a start, one node after another.
    Restart(Vec<usize>),
    /// The leader is told to hand over.
    Transfer,
    /// Drained, and activated at its end.
    Replace(Who),
    /// Decommissioned; at its end the machine joins anew, with nothing on its disk.
    Rejoin(Who),
    /// A node renews its certificate.
    Renewal,
    /// SIGKILL; at its end all others cut their logs to what they applied, and it is started.
    Snapshot(Who),
    /// Bad links.
    Packets(Packets),
    /// Something is wrong with machines.
    Machine(Machine),
}

impl Kind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Kill,
        Self::Pause,
        Self::Partition,
        Self::Slow,
        Self::Restart,
        Self::Transfer,
        Self::Replace,
        Self::Rejoin,
        Self::Renewal,
        Self::Snapshot,
        Self::Loss,
        Self::Duplicate,
        Self::Reorder,
        Self::Rate,
        Self::Starve,
        Self::ClockJump,
        Self::ClockRate,
        Self::Power,
        Self::DiskFull,
        Self::ReadOnly,
        Self::SlowDisk,
        Self::BitFlip,
        Self::Outage,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::Slow => "slow",
            Self::Restart => "restart",
            Self::Transfer => "transfer",
            Self::Replace => "replace",
            Self::Rejoin => "rejoin",
            Self::Renewal => "renewal",
            Self::Snapshot => "snapshot",
            Self::Loss => "loss",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::Rate => "rate",
            Self::Starve => "starve",
            Self::ClockJump => "clock-jump",
            Self::ClockRate => "clock-rate",
            Self::Power => "power",
            Self::DiskFull => "disk-full",
            Self::ReadOnly => "read-only",
            Self::SlowDisk => "slow-disk",
            Self::BitFlip => "bit-flip",
            Self::Outage => "outage",
        }
    }

    /// Whether it needs namespaces, disks of its own or the rights of root.
    pub fn needs_root(self) -> bool {
        let anywhere = [
            Self::Kill,
            Self::Pause,
            Self::Partition,
            Self::Slow,
            Self::Restart,
            Self::Transfer,
            Self::Replace,
            Self::Rejoin,
            Self::Renewal,
            Self::Snapshot,
            Self::Outage,
        ];
        !anywhere.contains(&self)
    }
}

impl Fault {
    /// Of which kind it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Kill(_) => Kind::Kill,
            Self::Pause(_) => Kind::Pause,
            Self::Partition(_) => Kind::Partition,
            Self::Slow { .. } => Kind::Slow,
            Self::Restart(_) => Kind::Restart,
            Self::Transfer => Kind::Transfer,
            Self::Replace(_) => Kind::Replace,
            Self::Rejoin(_) => Kind::Rejoin,
            Self::Renewal => Kind::Renewal,
            Self::Snapshot(_) => Kind::Snapshot,
            Self::Packets(packets) => packets.kind(),
            Self::Machine(machine) => machine.kind(),
        }
    }

    /// Whether nothing is left of it once it was done: there is nothing to wait for and to take back.
    pub fn is_a_moment(&self) -> bool {
        matches!(self, Self::Restart(_) | Self::Transfer | Self::Renewal)
    }
}

/// Nodes as people count them.
fn names(nodes: &[usize]) -> String {
    let names: Vec<String> = nodes.iter().map(|node| format!("n{}", node + 1)).collect();
    names.join(" ")
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => f.write_str("the leader"),
            Self::Nodes(nodes) => f.write_str(&names(nodes)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(who) => write!(f, "kill {who}"),
            Self::Pause(who) => write!(f, "pause {who}"),
            Self::Slow { who, ms } => write!(f, "slow {who} by {ms} ms"),
            Self::Restart(nodes) => write!(f, "restart {} in turn", names(nodes)),
            Self::Transfer => f.write_str("transfer leadership"),
            Self::Renewal => f.write_str("a certificate is renewed, and another node connects anew"),
            Self::Snapshot(who) => write!(f, "cut the logs while {who} is away"),
            Self::Replace(who) => write!(f, "replace {who} as a voter"),
            Self::Rejoin(who) => write!(f, "remove {who}, and let it join anew"),
            Self::Packets(packets) => packets.fmt(f),
            Self::Machine(machine) => machine.fmt(f),
            Self::Partition(shape) => match shape {
                Shape::Isolate(who) => write!(f, "isolate {who}"),
                Shape::CutOut(who) => write!(f, "cut what {who} sends"),
                Shape::CutIn(who) => write!(f, "cut what {who} should receive"),
                Shape::Halves(side) => write!(f, "split {} from the others", names(side)),
                Shape::Bridge { over, side } => {
                    write!(f, "split {} from the others, bridged by n{}", names(side), over + 1)
                }
                Shape::Ring(circle) => write!(f, "ring of majorities {}", names(circle)),
                Shape::Region(region) => write!(f, "cut region {region} off"),
                Shape::RegionOneWay(region) => write!(f, "cut what region {region} sends"),
                Shape::Swizzle(order) => write!(f, "swizzle {}", names(order)),
            },
        }
    }
}
