//! Faults, as they are written in a schedule.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

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
}

impl Kind {
    /// All of them.
    pub const ALL: &[Self] =
        &[Self::Kill, Self::Pause, Self::Partition, Self::Slow, Self::Restart, Self::Transfer];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::Slow => "slow",
            Self::Restart => "restart",
            Self::Transfer => "transfer",
        }
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
        }
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
