//! openraft's state machine over a partition's [`StateMachine`] and engine.
//!
//! Effects, applied id and membership go to the engine in one batch. Entries that are there already
//! share a batch: each sees the effects of those before it, and a conflict takes back only its own.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use domicile_storage::{Engine, Transaction};
use futures::{Stream, StreamExt};
use openraft::EntryPayload;
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::type_config::alias::SnapshotOf;

use crate::barrier::{AppliedState, StateBarrier};
use crate::faults::{Faults, chain, panic_message};
use crate::peer::Acknowledged;
use crate::peer::link::PeerLink;
use crate::peer::wire::GroupKey;
use crate::placement::GroupSettings;
use crate::snapshot::{LocalState, Place, StateSnapshot};
use crate::state_meta;
use crate::type_config::{Command, Entry, LogId, Reply, SnapshotMeta, StoredMembership, TypeConfig, term_of};
use crate::{ApplyFault, Committed, NodeId, PartitionId, StateMachine, Verdict};

/// Entries that share one engine batch at most.
const BATCH_ENTRIES_MAX: usize = 256;
/// Proposal bytes that share one engine batch, before the last entry.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// One group's state.
pub(crate) struct StateAdapter {
    pub(crate) partition: PartitionId,
    pub(crate) state_machine: Arc<dyn StateMachine>,
    pub(crate) barrier: Arc<StateBarrier>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) place: Arc<Place>,
    /// What members acknowledged to this node; `None` on a node that is alone.
    pub(crate) members: Option<Members>,
    /// Set once a snapshot was built or installed.
    pub(crate) snapshots: Arc<Mutex<bool>>,
}

/// What is remembered of a group's members, as long as they are members.
pub(crate) struct Members {
    pub(crate) link: Arc<PeerLink>,
    pub(crate) group: GroupKey,
    pub(crate) acknowledged: Arc<Acknowledged>,
}

impl Members {
    fn retain(&self, is_member: impl Fn(NodeId) -> bool) {
        self.link.retain_members(self.group, &is_member);
        self.acknowledged.retain(is_member);
    }
}

/// Entries applied but not committed to the engine.
struct Pending<'e> {
    transaction: Transaction<'e>,
    applied: AppliedState,
    membership_changed: bool,
    replies: Vec<(ApplyResponder<TypeConfig>, Reply)>,
    entries: usize,
    bytes: usize,
}

impl<'e> Pending<'e> {
    fn new(engine: &'e dyn Engine, applied: AppliedState) -> Self {
        Self {
            transaction: Transaction::new(engine),
            applied,
            membership_changed: false,
            replies: Vec::new(),
            entries: 0,
            bytes: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.entries >= BATCH_ENTRIES_MAX || self.bytes >= BATCH_BYTES_MAX
    }
}

impl StateAdapter {
    /// Applies entries until the batch is full; false once there are no more.
    async fn fill<S>(&self, pending: &mut Pending<'_>, entries: &mut S) -> io::Result<bool>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        while !pending.is_full() {
            let Some(item) = entries.next().await else { return Ok(false) };
            let (entry, responder) = item?;
            let reply = self.apply_entry(pending, &entry)?;
            pending.replies.extend(responder.map(|responder| (responder, reply)));
        }
        Ok(true)
    }

    fn apply_entry(&self, pending: &mut Pending<'_>, entry: &Entry) -> io::Result<Reply> {
        let log_id = entry.log_id;
        let reply = match &entry.payload {
            EntryPayload::Blank => Reply::None,
            EntryPayload::Membership(membership) => {
                if let Some(members) = &self.members {
                    let before = pending.applied.membership.membership();
                    let stays = |id: &u64| before.get_node(id).and(membership.get_node(id)).is_some();
                    members.retain(|node| stays(&node.0));
                }
                pending.applied.membership = StoredMembership::new(Some(log_id), membership.clone());
                pending.membership_changed = true;
                Reply::None
            }
            EntryPayload::Normal(Command::Settings(settings)) => apply_settings(pending, settings)?,
            EntryPayload::Normal(Command::Proposal(body)) => {
                pending.bytes += body.len();
                let committed = Committed {
                    partition: self.partition,
                    index: log_id.index(),
                    term: term_of(&log_id),
                    body,
                };
                self.apply_command(&mut pending.transaction, committed)?.into()
            }
        };
        pending.entries += 1;
        pending.applied.log_id = Some(log_id);
        Ok(reply)
    }

    fn apply_command(
        &self,
        transaction: &mut Transaction<'_>,
        committed: Committed<'_>,
    ) -> io::Result<Verdict> {
        transaction.savepoint();
        // The transaction is taken back after a panic, so nothing half-done is seen.
        let applied = catch_unwind(AssertUnwindSafe(|| self.state_machine.apply(transaction, committed)));
        match applied {
            Ok(Ok(verdict @ Verdict::Applied(_))) => Ok(verdict),
            Ok(Ok(verdict @ Verdict::Conflict(_))) => {
                transaction.rollback();
                Ok(verdict)
            }
            Ok(Err(fault)) => {
                transaction.rollback();
                Err(self.failed(&fault))
            }
            Err(panic) => {
                transaction.rollback();
                self.faults.panicked(panic_message(&*panic));
                Err(io::Error::other("panic in apply"))
            }
        }
    }

    /// Makes the batch visible, then answers the proposers.
    fn commit(&self, mut pending: Pending<'_>) -> io::Result<()> {
        if pending.entries == 0 {
            return Ok(());
        }
        state_meta::store_applied(&mut pending.transaction, &pending.applied).map_err(io::Error::other)?;
        if pending.membership_changed {
            state_meta::store_membership(&mut pending.transaction, &pending.applied)
                .map_err(io::Error::other)?;
        }
        let engine = self.barrier.engine();
        engine
            .commit(pending.transaction.into_batch())
            .map_err(|cause| self.failed(&ApplyFault::from(cause)))?;
        self.barrier.advance(pending.applied);
        for (responder, reply) in pending.replies {
            responder.send(reply);
        }
        Ok(())
    }

    fn failed(&self, fault: &ApplyFault) -> io::Error {
        if let ApplyFault::Engine(cause) = fault
            && cause.is_disk_full()
        {
            self.faults.disk_full.store(true, Ordering::Release);
        }
        io::Error::other(chain(fault))
    }

    fn local(&self) -> LocalState {
        LocalState { barrier: Arc::clone(&self.barrier), place: Arc::clone(&self.place) }
    }

    fn set_built(&self) {
        *self.snapshots.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

impl RaftStateMachine<TypeConfig> for StateAdapter {
    type SnapshotData = StateSnapshot;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let AppliedState { log_id, membership, .. } = self.barrier.applied();
        Ok((log_id, membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        let engine = self.barrier.engine();
        loop {
            let mut pending = Pending::new(&*engine, self.barrier.applied());
            let filled = self.fill(&mut pending, &mut entries).await;
            // What came before a fault counts: it is committed, and its proposers wait.
            self.commit(pending)?;
            if !filled? {
                return Ok(());
            }
        }
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder { state: self.local(), built: Arc::clone(&self.snapshots) }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: StateSnapshot,
    ) -> Result<(), io::Error> {
        let installed = self.place.install_snapshot(snapshot, self.barrier.engine()).await;
        let Some((engine, applied)) = installed.map_err(io::Error::other)? else { return Ok(()) };
        if applied.log_id != meta.last_log_id {
            return Err(io::Error::other("the snapshot is of another entry than it said"));
        }
        self.barrier.replace(engine, applied);
        // What left and came back meanwhile is not told.
        if let Some(members) = &self.members {
            members.acknowledged.retain(|_| false);
        }
        self.set_built();
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<TypeConfig, StateSnapshot>>, io::Error> {
        if !*self.snapshots.lock().unwrap_or_else(PoisonError::into_inner) {
            return Ok(None);
        }
        // What is sent is read later: it is as new as this or newer.
        Ok(Some(self.local().handle(self.barrier.applied())))
    }
}

/// Settings of a lower or equal generation than those in force change nothing.
fn apply_settings(pending: &mut Pending<'_>, settings: &Arc<GroupSettings>) -> io::Result<Reply> {
    let in_force = pending.applied.settings.as_ref().map(|settings| settings.generation);
    if in_force >= Some(settings.generation) {
        return Ok(Reply::Conflict(Vec::new()));
    }
    state_meta::store_settings(&mut pending.transaction, settings).map_err(io::Error::other)?;
    pending.applied.settings = Some(Arc::clone(settings));
    Ok(Reply::Applied(Vec::new()))
}

impl LocalState {
    fn handle(&self, at: AppliedState) -> SnapshotOf<TypeConfig, StateSnapshot> {
        let meta = SnapshotMeta { last_log_id: at.log_id, last_membership: at.membership };
        SnapshotOf::<TypeConfig, StateSnapshot> { meta, snapshot: StateSnapshot::Local(self.clone()) }
    }
}

/// Makes what is applied durable; copies nothing.
pub(crate) struct SnapshotBuilder {
    state: LocalState,
    built: Arc<Mutex<bool>>,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = StateSnapshot;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<TypeConfig, StateSnapshot>, io::Error> {
        // INVARIANT: the sync is over before openraft hears of the snapshot and may cut the log.
        let at = self.state.barrier.sync().await?;
        *self.built.lock().unwrap_or_else(PoisonError::into_inner) = true;
        Ok(self.state.handle(at))
    }
}
