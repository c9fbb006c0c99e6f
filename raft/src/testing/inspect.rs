//! What a group keeps in its engines, as facts that a simulation can check from outside.

use std::collections::BTreeSet;
use std::sync::Arc;

use domicile_storage::{Batch, Engine, LogEntry, Write};

use crate::envelope::{self, EnvelopeError, Envelopes};
use crate::{EntryCipher, Incarnation, LogPosition, PartitionId, StateMetaError, log_meta, state_meta};

/// One stored log entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryFacts {
    /// Its place.
    pub at: LogPosition,
    /// What it orders, opened; the same bytes on every replica.
    pub body: Vec<u8>,
    /// Up to where the log was known to be committed when it was written.
    pub committed: Option<u64>,
    /// The voters from then on, if it is a membership; two sets while they change.
    pub voters: Option<Vec<BTreeSet<u64>>>,
}

/// One stored vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteFacts {
    /// In which term.
    pub term: u64,
    /// For which node.
    pub node: u64,
    /// Whether that node is known to have won the term.
    pub won: bool,
}

/// Reads one group's log.
pub struct Inspector(Envelopes);

impl Inspector {
    /// Of the group's first incarnation.
    #[must_use]
    pub fn new(partition: PartitionId, cipher: Arc<dyn EntryCipher>) -> Self {
        Self(Envelopes { partition, incarnation: Incarnation(1), cipher })
    }

    /// What a stored entry says.
    ///
    /// # Errors
    /// [`EnvelopeError`] if it does not open.
    pub fn entry(&self, stored: &LogEntry) -> Result<EntryFacts, EnvelopeError> {
        let entry = self.0.open(stored)?;
        let malformed = |cause: domicile_storage::codec::CodecError| EnvelopeError::Malformed {
            index: stored.index,
            reason: cause.to_string(),
        };
        let body = envelope::encode_body(&entry.payload).map_err(malformed)?;
        let header = envelope::header(stored)?;
        let at = LogPosition { term: header.term, index: stored.index };
        let voters = match entry.payload {
            openraft::EntryPayload::Membership(members) => Some(members.get_joint_config().clone()),
            openraft::EntryPayload::Blank | openraft::EntryPayload::Normal(_) => None,
        };
        Ok(EntryFacts { at, body, committed: header.committed, voters })
    }
}

/// The term of a stored entry, without opening it.
///
/// # Errors
/// [`EnvelopeError`] if it has no header.
pub fn term_of(stored: &LogEntry) -> Result<u64, EnvelopeError> {
    Ok(envelope::header(stored)?.term)
}

/// The vote, if this is the value that holds it.
#[must_use]
pub fn vote(key: &str, value: &[u8]) -> Option<VoteFacts> {
    let vote = log_meta::decode_vote(value).ok().filter(|_| key == log_meta::VOTE)?;
    let node = *openraft::vote::RaftLeaderId::node_id(&vote.leader_id);
    Some(VoteFacts { term: vote.leader_id.term, node, won: vote.committed })
}

/// Where a batch says that the state then stands.
#[must_use]
pub fn applied_by(batch: &Batch) -> Option<LogPosition> {
    batch.writes.iter().rev().find_map(|write| match write {
        Write::Put { key, value } => state_meta::applied_in(key, value),
        Write::Delete { .. } => None,
    })
}

/// Where a state stands.
///
/// # Errors
/// [`StateMetaError`].
pub fn applied_of(engine: &dyn Engine) -> Result<Option<LogPosition>, StateMetaError> {
    Ok(state_meta::load(engine)?.log_id.as_ref().map(state_meta::position))
}
