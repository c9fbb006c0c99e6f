//! The deterministic half: checks a proposal against applied state, then changes all or nothing.
//!
//! INVARIANT: equal logs give equal bytes. No clock, randomness, key, float or hash-map order here.

pub mod check;
mod sweep;
mod write;

use domicile_raft::{ApplyFault, Committed, StateMachine, Timestamp, Verdict};
use domicile_storage::Transaction;
use domicile_storage::codec::CodecError;

use crate::proposal::{ApplyReply, ConflictReason, LogCommand, Proposal};
use crate::streams::Streams;
use crate::tables;

/// The apply versions that this code can run; an entry for another quarantines the partition.
pub const APPLY_VERSIONS: std::ops::RangeInclusive<u16> = 1..=1;

/// How long a proposal's outcome is kept, in log time.
pub const OUTCOME_KEPT_MS: u64 = 24 * 60 * 60 * 1_000;

/// A partition's state machine over the streams `S`.
pub struct Machine<S> {
    streams: S,
}

impl<S: Streams> Machine<S> {
    /// Applies with these streams.
    pub fn new(streams: S) -> Self {
        Self { streams }
    }

    fn propose(
        &self,
        transaction: &mut Transaction<'_>,
        proposal: &Proposal,
        index: u64,
    ) -> Result<Verdict, ApplyFault> {
        let at = proposal.decided_at.max(tables::log_time(transaction)?);
        if let Some(earlier) = tables::outcome(transaction, proposal.tenant, proposal.id, at)? {
            let same_request = earlier.request_hash == proposal.request_hash;
            return applied(&ApplyReply::Replayed {
                index: earlier.index,
                same_request,
                reply: earlier.reply,
            });
        }
        if let Some(reason) = check::proposal(transaction, proposal, at)? {
            return conflict(reason);
        }
        write::proposal(&self.streams, transaction, proposal, index, at)?;
        applied(&ApplyReply::Done)
    }
}

impl<S: Streams> StateMachine for Machine<S> {
    fn apply(
        &self,
        transaction: &mut Transaction<'_>,
        command: Committed<'_>,
    ) -> Result<Verdict, ApplyFault> {
        match LogCommand::decode(command.body).map_err(invalid)? {
            LogCommand::Propose(proposal) => self.propose(transaction, &proposal, command.index),
            LogCommand::Sweep { cutoff, count } => {
                let removed = sweep::sweep(transaction, cutoff, count)?;
                advance(transaction, cutoff)?;
                applied(&ApplyReply::Swept { removed })
            }
            LogCommand::SetApplyVersion(version) => {
                if !APPLY_VERSIONS.contains(&version) {
                    return Err(ApplyFault::Invalid(format!("apply version {version} is not known here")));
                }
                if version > tables::apply_version(transaction)? {
                    tables::put_apply_version(transaction, version).map_err(invalid)?;
                }
                applied(&ApplyReply::Done)
            }
        }
    }
}

/// Log time never goes back.
fn advance(transaction: &mut Transaction<'_>, at: Timestamp) -> Result<(), ApplyFault> {
    if at > tables::log_time(transaction)? {
        tables::put_log_time(transaction, at).map_err(invalid)?;
    }
    Ok(())
}

#[allow(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
fn invalid(cause: CodecError) -> ApplyFault {
    ApplyFault::Invalid(cause.to_string())
}

fn applied(reply: &ApplyReply) -> Result<Verdict, ApplyFault> {
    Ok(Verdict::Applied(reply.encode().map_err(invalid)?))
}

fn conflict(reason: ConflictReason) -> Result<Verdict, ApplyFault> {
    Ok(Verdict::Conflict(reason.encode().map_err(invalid)?))
}
