//! What clients did and what they were told.

use std::fmt;

/// A register, a login name, a code, a token: whatever an operation is about. Numbers are handed out by
/// the harness, so that no secret and no name of a person is in a history.
pub type Key = u64;
/// A value that was written once only.
pub type Value = u64;

/// How fresh a read must be, by what the endpoint promises (`docs/consistency.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Linearizable.
    Strong,
    /// At least the write that gave the consistency token.
    AtToken,
    /// Everything acknowledged longer ago than the bound.
    Bounded,
    /// Whatever the node has.
    Local,
}

/// One step of a transaction on lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Adds a value at the end of a list.
    Append(Key, Value),
    /// Reads a whole list; `None` before the answer.
    Read(Key, Option<Vec<Value>>),
}

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Reads a register.
    Read {
        /// Which.
        key: Key,
        /// Index of the write whose consistency token the request carried.
        after: Option<u64>,
    },
    /// Writes a register.
    Write {
        /// Which.
        key: Key,
        /// Never written before.
        value: Value,
    },
    /// Takes a name that one may have.
    Claim {
        /// The name.
        name: Key,
        /// Who wants it.
        by: Value,
    },
    /// Asks who has a name.
    Owner {
        /// The name.
        name: Key,
    },
    /// Redeems an authorization code.
    Redeem {
        /// The code.
        code: Key,
    },
    /// Exchanges a refresh token.
    Refresh {
        /// Its family.
        family: Key,
        /// The token.
        token: Value,
    },
    /// Revokes a token, or ends a session.
    Revoke {
        /// Which.
        token: Key,
    },
    /// Asks whether a token is active.
    Introspect {
        /// Which.
        token: Key,
    },
    /// Adds an element to a set.
    Add {
        /// The set.
        set: Key,
        /// Never added before.
        element: Value,
    },
    /// Reads a whole set.
    Members {
        /// The set.
        set: Key,
    },
    /// Reads a log of events.
    Log {
        /// The log.
        log: Key,
    },
    /// A transaction on lists.
    Txn(
        /// Its steps, in order.
        Vec<Step>,
    ),
}

/// What a client was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is done.
    Done,
    /// What a register holds, or who has a name.
    Value(Option<Value>),
    /// The next refresh token.
    Successor(Value),
    /// Whether a token is active.
    Active(bool),
    /// What a set holds, as it was listed.
    Members(Vec<Value>),
    /// A log's entries: number and a mark of what stands there.
    Entries(Vec<(u64, Value)>),
    /// A transaction with what it read.
    Txn(Vec<Step>),
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody else has the name.
    Taken,
    /// The code or token is not accepted (any more).
    InvalidGrant,
    /// Nobody could do it now; the answer says that nothing was done.
    Unavailable,
    /// Anything else, such as a request that never left.
    Other(String),
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As the reply says.
    Ok(Reply),
    /// It did not happen and never will.
    Fail(Refusal),
    /// Nobody knows whether it happened, or whether it will yet.
    Info(String),
}

/// An operation from its request to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Number of its invocation in the history.
    pub index: u64,
    /// The client. One that met an unknown outcome goes on under another number.
    pub process: u64,
    /// The node that was asked.
    pub node: String,
    /// Where it was asked from: 0 is the harness, others are the regions' clients, in their order, from 1.
    pub from: u64,
    /// What a read promises; `None` for what changes something.
    pub class: Option<Class>,
    /// What was asked.
    pub call: Call,
    /// When, in ns since the run began.
    pub invoked_ns: u64,
    /// When its end was known; `None` while nobody knows.
    pub completed_ns: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Operation {
    /// Whether it ended as asked.
    pub fn is_ok(&self) -> bool {
        matches!(self.outcome, Outcome::Ok(_))
    }

    /// Whether nobody knows how it ended.
    pub fn is_unknown(&self) -> bool {
        matches!(self.outcome, Outcome::Info(_))
    }

    /// When it was over, for those who compare times; an operation whose end is unknown is never over.
    pub fn ended_ns(&self) -> u64 {
        match self.outcome {
            Outcome::Ok(_) | Outcome::Fail(_) => self.completed_ns.unwrap_or(u64::MAX),
            Outcome::Info(_) => u64::MAX,
        }
    }

    /// Whether it was over before the other began.
    pub fn precedes(&self, other: &Self) -> bool {
        self.ended_ns() < other.invoked_ns
    }
}

impl Call {
    /// Its name in the history.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::Write { .. } => "write",
            Self::Claim { .. } => "claim",
            Self::Owner { .. } => "owner",
            Self::Redeem { .. } => "redeem",
            Self::Refresh { .. } => "refresh",
            Self::Revoke { .. } => "revoke",
            Self::Introspect { .. } => "introspect",
            Self::Add { .. } => "add",
            Self::Members { .. } => "members",
            Self::Log { .. } => "log",
            Self::Txn(_) => "txn",
        }
    }

    /// Whether its answer is taken from a listing of many pages, each a request, so that how long it took is no
    /// request's time.
    pub fn is_listed(&self) -> bool {
        match self {
            Self::Owner { .. } | Self::Members { .. } | Self::Log { .. } => true,
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Claim { .. }
            | Self::Redeem { .. }
            | Self::Refresh { .. }
            | Self::Revoke { .. }
            | Self::Introspect { .. }
            | Self::Add { .. }
            | Self::Txn(_) => false,
        }
    }

    /// Whether it changes nothing, so that one without an answer says nothing.
    pub fn is_read(&self) -> bool {
        match self {
            Self::Read { .. }
            | Self::Owner { .. }
            | Self::Introspect { .. }
            | Self::Members { .. }
            | Self::Log { .. } => true,
            Self::Write { .. }
            | Self::Claim { .. }
            | Self::Redeem { .. }
            | Self::Refresh { .. }
            | Self::Revoke { .. }
            | Self::Add { .. } => false,
            Self::Txn(steps) => steps.iter().all(|step| matches!(step, Step::Read(..))),
        }
    }
}

impl Class {
    /// Its name in the history.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::AtToken => "at-token",
            Self::Bounded => "bounded",
            Self::Local => "local",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Taken => "taken",
            Self::InvalidGrant => "invalid-grant",
            Self::Unavailable => "unavailable",
            Self::Other(text) => text,
        })
    }
}

impl Refusal {
    /// From what [`Display`](fmt::Display) wrote.
    pub fn of(text: &str) -> Self {
        match text {
            "taken" => Self::Taken,
            "invalid-grant" => Self::InvalidGrant,
            "unavailable" => Self::Unavailable,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |ns: u64| ns / 1_000_000;
        write!(f, "#{} {:>7}..", self.index, ms(self.invoked_ns))?;
        match self.completed_ns {
            Some(ended) => write!(f, "{:<7} ms", ms(ended))?,
            None => f.write_str("?       ms")?,
        }
        write!(f, "  client {} at {}: {}", self.process, self.node, super::form::call(&self.call))?;
        if let Some(class) = self.class {
            write!(f, " ({})", class.name())?;
        }
        match &self.outcome {
            Outcome::Ok(reply) => write!(f, " -> {}", super::form::completed(&self.call, reply)),
            Outcome::Fail(refusal) => write!(f, " -> refused: {refusal}"),
            Outcome::Info(why) => write!(f, " -> unknown: {why}"),
        }
    }
}
