//! A proposal is run before it is proposed: what apply could not take is refused here, for a
//! committed entry that does not apply stops the partition on every replica.

use std::collections::BTreeMap;

use domicile_raft::{ApplyFault, Committed, PartitionId, StateMachine};
use domicile_storage::{Engine, Transaction};

use crate::apply::Machine;
use crate::streams::{Aggregate, EventMeta, RawEvent, StreamKind, Streams, decode_state, step};

/// Evolves a stored state by a stored event, as apply will.
pub(super) type Evolve = fn(Option<&[u8]>, RawEvent<'_>, &EventMeta) -> Result<Vec<u8>, ApplyFault>;

/// [`Evolve`] for an aggregate. The state after must decode too, or the stream could not go on.
pub(super) fn evolve<A: Aggregate>(
    state: Option<&[u8]>,
    event: RawEvent<'_>,
    meta: &EventMeta,
) -> Result<Vec<u8>, ApplyFault> {
    let after = step::<A>(state, event, meta)?.encode_after()?;
    decode_state::<A>(&after).map_err(|cause| {
        let (stream, revision) = (meta.stream, meta.revision);
        ApplyFault::Invalid(format!("state after {stream:?} revision {revision}: {cause}"))
    })?;
    Ok(after)
}

/// The streams of one draft, without projections: those only write keys made of ids.
#[derive(Default)]
pub(super) struct Rehearsal(BTreeMap<StreamKind, Evolve>);

impl Rehearsal {
    pub(super) fn add(&mut self, kind: StreamKind, evolve: Evolve) {
        self.0.insert(kind, evolve);
    }

    /// Applies `body` to a transaction over `engine` that is dropped. A conflict is no fault: the
    /// partition says so itself.
    pub(super) fn run(
        self,
        engine: &dyn Engine,
        partition: PartitionId,
        body: &[u8],
    ) -> Result<(), ApplyFault> {
        let committed = Committed { partition, index: 0, term: 0, body };
        Machine::new(self).apply(&mut Transaction::new(engine), committed).map(drop)
    }
}

impl Streams for Rehearsal {
    fn apply(
        &self,
        _transaction: &mut Transaction<'_>,
        _apply_version: u16,
        state: Option<&[u8]>,
        event: RawEvent<'_>,
        meta: &EventMeta,
    ) -> Result<Vec<u8>, ApplyFault> {
        let kind = meta.stream.kind;
        let evolve = self.0.get(&kind);
        let evolve = evolve.ok_or_else(|| ApplyFault::Invalid(format!("no events for {kind:?}")))?;
        evolve(state, event, meta)
    }
}
