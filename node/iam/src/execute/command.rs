//! What a command is.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::draft::Draft;
use super::fresh::Fresh;
use super::latch::LatchSet;
use super::reads::{ReadFault, Reads, Scope};

/// A write, decided on the leader on applied state.
pub trait Command: Send + Sync {
    /// What the caller learns. Kept sealed for replays, so it may hold a secret.
    type Reply: Serialize + DeserializeOwned + Clone + Send;
    /// Why it was not done. A value, not a fault.
    type Refusal: std::error::Error + Send;

    /// For logs and metrics, such as `user.create`.
    const NAME: &'static str;

    /// Whether this creates the tenant in this partition: the executor then makes its keys, and a
    /// proposal carries them. On a tenant that exists it runs as any other command.
    const CREATES_TENANT: bool = false;

    /// What is known to be read and written before reading. The rest is taken on demand, so an
    /// empty set is right, and a full one saves restarts under contention.
    fn latches(&self, scope: &Scope<'_>) -> LatchSet {
        let _ = scope;
        LatchSet::default()
    }

    /// Decides. Pure but for `reads`; ids, secrets and time come from `fresh`. It may run several
    /// times for one call.
    ///
    /// # Errors
    /// [`DecideError::Refused`] is an answer; [`DecideError::Fault`] passes on what a read gave.
    fn decide(
        &self,
        reads: &mut Reads<'_>,
        fresh: &mut Fresh,
    ) -> Result<Decision<Self::Reply>, DecideError<Self::Refusal>>;
}

/// What a command came to.
pub enum Decision<R> {
    /// Write this, then reply.
    Propose(Draft, R),
    /// Nothing to write.
    Answer(R),
}

/// Without the reply, which may hold a secret.
impl<R> fmt::Debug for Decision<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Propose(draft, _) => f.debug_tuple("Propose").field(draft).finish_non_exhaustive(),
            Self::Answer(_) => f.debug_tuple("Answer").finish_non_exhaustive(),
        }
    }
}

/// Why a command came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum DecideError<R> {
    /// The command is not allowed on this state.
    #[error(transparent)]
    Refused(R),
    /// The state could not be read.
    #[error("{0}")]
    Fault(ReadFault),
}

impl<R> From<ReadFault> for DecideError<R> {
    fn from(fault: ReadFault) -> Self {
        Self::Fault(fault)
    }
}
