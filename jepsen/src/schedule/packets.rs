//! Faults of packets on the links of nodes. Only a network of packets has them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::fault::{Kind, Who};
use crate::random::Random;

/// Links that are bad, both ways, with other nodes and with clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Packets {
    /// Whose links.
    pub who: Who,
    /// How bad.
    pub harm: Harm,
}

/// What happens to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// So many of 1,000 are lost.
    Loss(u64),
    /// So many of 1,000 arrive twice.
    Duplicate(u64),
    /// So many of 1,000 are overtaken by later ones.
    Reorder(u64),
    /// So many kilobits a second pass.
    Rate(u64),
}

impl Packets {
    /// Of which kind it is.
    pub fn kind(&self) -> Kind {
        match self.harm {
            Harm::Loss(_) => Kind::Loss,
            Harm::Duplicate(_) => Kind::Duplicate,
            Harm::Reorder(_) => Kind::Reorder,
            Harm::Rate(_) => Kind::Rate,
        }
    }

    /// One of `kind`; `None` if it is none of packets.
    pub(super) fn draw(kind: Kind, who: Who, random: &mut Random) -> Option<Self> {
        let harm = if kind == Kind::Loss {
            Harm::Loss(random.between(20, 300))
        } else if kind == Kind::Duplicate {
            Harm::Duplicate(random.between(50, 500))
        } else if kind == Kind::Reorder {
            Harm::Reorder(random.between(50, 400))
        } else if kind == Kind::Rate {
            Harm::Rate(random.between(200, 2_000))
        } else {
            return None;
        };
        Some(Self { who, harm })
    }
}

impl fmt::Display for Packets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = &self.who;
        match self.harm {
            Harm::Loss(of) => write!(f, "lose {of} of 1000 packets of {who}"),
            Harm::Duplicate(of) => write!(f, "deliver {of} of 1000 packets of {who} twice"),
            Harm::Reorder(of) => write!(f, "reorder {of} of 1000 packets of {who}"),
            Harm::Rate(kbit) => write!(f, "let {kbit} kbit/s of {who} pass"),
        }
    }
}
