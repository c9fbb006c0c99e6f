//! Streams' states as they were decoded, so that a row that did not change is not decoded again.

use std::any::Any;
use std::sync::Arc;

use domicile_storage::Engine;

use super::{StreamRow, Table, TableFault, stream_key};
use crate::cache::Cache;
use crate::ids::TenantId;
use crate::seen::{Found, Seen};
use crate::streams::{Aggregate, StreamRef, decode_state};

/// How many states are remembered.
const STATES_MAX: usize = 1_024;
/// The longest row whose state is, in bytes.
const ROW_BYTES_MAX: usize = 4 * 1_024;

/// The states of one partition's streams, at most some megabytes of them.
///
/// INVARIANT: a state is remembered with the row that it was decoded from and is given for those very bytes only, so
/// that no engine, version or order of commits can make it a wrong one. The bytes are not compared where the engine's
/// stamp says that nothing was committed since they were (docs/adr/0032, 0035).
pub(crate) struct DecodedStates {
    states: Cache<(TenantId, StreamRef), Remembered>,
}

struct Remembered {
    row: Box<[u8]>,
    version: u64,
    /// What the row decodes to.
    state: Arc<dyn Any + Send + Sync>,
    /// Of the row.
    found: Found,
}

impl Default for DecodedStates {
    fn default() -> Self {
        Self { states: Cache::new(STATES_MAX) }
    }
}

impl DecodedStates {
    /// A stream's version and state, as reading its row now gives them.
    ///
    /// # Errors
    /// [`TableFault`].
    pub(crate) fn stream<A: Aggregate>(
        &self,
        engine: &dyn Engine,
        tenant: TenantId,
        id: A::Id,
    ) -> Result<Option<(u64, Arc<A>)>, TableFault> {
        let key = (tenant, StreamRef::of::<A>(id));
        let seen = Seen::of(engine);
        if let Some(known) = self.states.look(&key, |kept| kept.found.is_in(seen).then(|| kept.state())?) {
            return Ok(Some(known));
        }
        let (mut known, mut row) = (None, None);
        engine.read(&stream_key(tenant, key.1), &mut |bytes| {
            known = self.states.look(&key, |kept| kept.of_row(bytes, seen).then(|| kept.state())?);
            if known.is_none() {
                row = Some(Box::<[u8]>::from(bytes));
            }
        })?;
        if known.is_some() {
            return Ok(known);
        }
        let Some(row) = row else { return Ok(None) };
        let StreamRow { version, state } = StreamRow::decode_row(&row)?;
        let state = decode_state::<A>(&state)
            .map_err(|cause| TableFault::Row { table: Table::Streams, cause })
            .map(Arc::new)?;
        if row.len() <= ROW_BYTES_MAX {
            let found = Found::new(seen);
            let remembered = Remembered { row, version, state: Arc::clone(&state) as _, found };
            self.states.put(key, remembered);
        }
        Ok(Some((version, state)))
    }
}

impl Remembered {
    /// Whether these bytes, which were found there, are its row.
    fn of_row(&self, bytes: &[u8], seen: Seen) -> bool {
        let same = *self.row == *bytes;
        if same {
            self.found.set(seen);
        }
        same
    }

    fn state<A: Aggregate>(&self) -> Option<(u64, Arc<A>)> {
        let state = Arc::clone(&self.state).downcast::<A>().ok()?;
        Some((self.version, state))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use domicile_raft::Timestamp;
    use domicile_storage::codec;
    use domicile_storage::{Batch, MemoryEngine, Write};

    use super::*;
    use crate::ids::{ClientId, GrantId, Id, UserId};
    use crate::seen::testing::Unstamped;
    use crate::streams::grant::{Allowed, Grant};

    const TENANT: [u8; 16] = [1; 16];

    fn id() -> GrantId {
        GrantId::from_bytes([2; 16])
    }

    fn grant(not_before: u64) -> Grant {
        Grant {
            user: UserId::from_bytes([3; 16]),
            client: ClientId::from_bytes([4; 16]),
            allowed: None,
            not_before: Timestamp(not_before),
            created_at: Timestamp(1),
        }
    }

    fn row(version: u64, not_before: u64) -> Vec<u8> {
        let grant = grant(not_before);
        let state = codec::encode_open(Grant::STATE_FORMAT, &grant).unwrap();
        StreamRow { version, state }.encode_row().unwrap()
    }

    fn put(engine: &dyn Engine, value: Vec<u8>) {
        let key = stream_key(TenantId::from_bytes(TENANT), StreamRef::of::<Grant>(id()));
        engine.commit(Batch { writes: vec![Write::Put { key, value }] }).unwrap();
    }

    fn get(states: &DecodedStates, engine: &dyn Engine) -> Option<(u64, Arc<Grant>)> {
        states.stream::<Grant>(engine, TenantId::from_bytes(TENANT), id()).unwrap()
    }

    fn follows(engine: &dyn Engine) {
        let states = DecodedStates::default();
        assert!(get(&states, engine).is_none());
        put(engine, row(1, 10));
        let (version, first) = get(&states, engine).unwrap();
        assert_eq!((version, first.not_before), (1, Timestamp(10)));
        assert!(Arc::ptr_eq(&first, &get(&states, engine).unwrap().1), "the same state twice");
        engine.commit(Batch::default()).unwrap();
        assert!(Arc::ptr_eq(&first, &get(&states, engine).unwrap().1), "another row was committed");
        put(engine, row(2, 20));
        let (version, second) = get(&states, engine).unwrap();
        assert_eq!((version, second.not_before), (2, Timestamp(20)));
        // As a state that was restored may: the version comes again with something else.
        put(engine, row(2, 30));
        assert_eq!(get(&states, engine).unwrap().1.not_before, Timestamp(30));
        let key = stream_key(TenantId::from_bytes(TENANT), StreamRef::of::<Grant>(id()));
        engine.commit(Batch { writes: vec![Write::Delete { key }] }).unwrap();
        assert!(get(&states, engine).is_none());
    }

    #[test]
    fn a_state_is_what_its_row_says_after_each_commit_and_is_decoded_once_for_a_row() {
        follows(&MemoryEngine::new());
    }

    #[test]
    fn an_engine_without_stamps_is_read_each_time() {
        follows(&Unstamped(MemoryEngine::new()));
    }

    #[test]
    fn an_engine_that_takes_the_place_of_another_is_read() {
        let (one, other) = (MemoryEngine::new(), MemoryEngine::new());
        put(&one, row(1, 10));
        put(&other, row(1, 20));
        let states = DecodedStates::default();
        for _ in 0..2 {
            assert_eq!(get(&states, &one).unwrap().1.not_before, Timestamp(10));
            assert_eq!(get(&states, &other).unwrap().1.not_before, Timestamp(20));
        }
    }

    #[test]
    fn a_row_that_is_none_is_a_fault_each_time() {
        let engine = MemoryEngine::new();
        put(&engine, vec![0xff; 3]);
        let states = DecodedStates::default();
        for _ in 0..2 {
            let read = states.stream::<Grant>(&engine, TenantId::from_bytes(TENANT), id());
            assert!(matches!(read, Err(TableFault::Row { table: Table::Streams, .. })));
        }
    }

    #[test]
    fn a_long_row_is_not_remembered() {
        let engine = MemoryEngine::new();
        let scopes = [str::repeat("x", ROW_BYTES_MAX)].into();
        let allowed = Some(Allowed { scopes, ..Allowed::default() });
        let state = codec::encode_open(Grant::STATE_FORMAT, &Grant { allowed, ..grant(1) }).unwrap();
        put(&engine, StreamRow { version: 1, state }.encode_row().unwrap());
        let states = DecodedStates::default();
        let (first, second) = (get(&states, &engine).unwrap().1, get(&states, &engine).unwrap().1);
        assert!(first == second && !Arc::ptr_eq(&first, &second));
    }
}
