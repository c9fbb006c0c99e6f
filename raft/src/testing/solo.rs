//! A partition of one replica without a log: applies at once, and fails on demand.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domicile_storage::{Engine, Transaction};
use tokio::sync::watch;

use crate::{
    ApplyFault, BoxFuture, Committed, Consistency, Health, Incarnation, Leadership, NodeId, Outcome,
    Partition, PartitionId, PartitionStatus, ReadError, StateMachine, UnknownReason, Verdict,
};

/// What the next proposal meets instead of an ordinary apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injected {
    /// Nothing is applied; the proposer cannot know.
    UnknownNotApplied(UnknownReason),
    /// The command is applied, but the reply is lost.
    UnknownApplied(UnknownReason),
    /// Nothing is applied; another node leads.
    NotLeader(Option<NodeId>),
    /// Nothing is applied; a bound was reached.
    Overloaded,
}

/// An in-memory [`Partition`] without Raft. Proposals are applied one at a time, in call order.
pub struct SoloPartition {
    id: PartitionId,
    state_machine: Arc<dyn StateMachine>,
    engine: Arc<dyn Engine>,
    applied: AtomicU64,
    inner: Mutex<Inner>,
    leadership: watch::Sender<Leadership>,
}

struct Inner {
    injected: VecDeque<Injected>,
    quarantined: Option<String>,
}

impl SoloPartition {
    /// An empty partition that leads in term 1.
    #[must_use]
    pub fn new(id: PartitionId, engine: Arc<dyn Engine>, state_machine: Arc<dyn StateMachine>) -> Arc<Self> {
        Arc::new(Self {
            id,
            state_machine,
            engine,
            applied: AtomicU64::new(0),
            inner: Mutex::new(Inner { injected: VecDeque::new(), quarantined: None }),
            leadership: watch::Sender::new(Leadership { term: 1, leads: true }),
        })
    }

    /// The next proposal that has none before it in the queue meets `what`.
    pub fn inject(&self, what: Injected) {
        self.lock().injected.push_back(what);
    }

    /// Gives up leadership: proposals and linearizable reads are refused, watchers are told.
    pub fn lose_leadership(&self) {
        self.leadership.send_modify(|l| l.leads = false);
    }

    /// Leads again, in the next term.
    pub fn gain_leadership(&self) {
        self.leadership.send_modify(|l| *l = Leadership { term: l.term + 1, leads: true });
    }

    /// Applies `body` now, past injections and leadership.
    ///
    /// # Errors
    /// The state machine's own; the partition is quarantined from then on.
    pub fn apply(&self, body: &[u8]) -> Result<Outcome, ApplyFault> {
        self.apply_locked(&mut self.lock(), body)
    }

    fn apply_locked(&self, inner: &mut Inner, body: &[u8]) -> Result<Outcome, ApplyFault> {
        let index = self.applied.load(Ordering::Acquire) + 1;
        let committed = Committed { partition: self.id, index, term: self.leadership.borrow().term, body };
        let mut transaction = Transaction::new(&*self.engine);
        let applied = self.state_machine.apply(&mut transaction, committed).and_then(|verdict| {
            if matches!(verdict, Verdict::Applied(_)) {
                self.engine.commit(transaction.into_batch())?;
            }
            Ok(verdict)
        });
        match applied {
            Ok(verdict) => {
                self.applied.store(index, Ordering::Release);
                Ok(match verdict {
                    Verdict::Applied(reply) => Outcome::Applied { index, reply },
                    Verdict::Conflict(detail) => Outcome::Conflict { index, detail },
                })
            }
            Err(fault) => {
                inner.quarantined = Some(fault.to_string());
                self.leadership.send_modify(|l| l.leads = false);
                Err(fault)
            }
        }
    }

    fn propose_now(&self, body: &[u8]) -> Outcome {
        let mut inner = self.lock();
        if inner.quarantined.is_some() {
            return Outcome::Unknown(UnknownReason::Fatal);
        }
        if !self.leadership.borrow().leads {
            return Outcome::NotLeader { leader: None };
        }
        match inner.injected.pop_front() {
            None => {}
            Some(Injected::UnknownNotApplied(reason)) => return Outcome::Unknown(reason),
            Some(Injected::NotLeader(leader)) => return Outcome::NotLeader { leader },
            Some(Injected::Overloaded) => return Outcome::Overloaded("injected"),
            Some(Injected::UnknownApplied(reason)) => {
                return match self.apply_locked(&mut inner, body) {
                    Ok(_) => Outcome::Unknown(reason),
                    Err(_) => Outcome::Unknown(UnknownReason::Fatal),
                };
            }
        }
        self.apply_locked(&mut inner, body).unwrap_or(Outcome::Unknown(UnknownReason::Fatal))
    }

    fn read_now(&self, consistency: Consistency) -> Result<u64, ReadError> {
        if self.lock().quarantined.is_some() {
            return Err(ReadError::Stopped);
        }
        let applied = self.applied();
        match consistency {
            Consistency::Linearizable | Consistency::BoundedMs(_) if !self.leadership.borrow().leads => {
                Err(ReadError::NotLeader { leader: None })
            }
            Consistency::AtLeast(index) if index > applied => Err(ReadError::Timeout),
            Consistency::Linearizable
            | Consistency::BoundedMs(_)
            | Consistency::AtLeast(_)
            | Consistency::Local => Ok(applied),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Partition for SoloPartition {
    fn id(&self) -> PartitionId {
        self.id
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation(1)
    }

    fn propose(&self, body: Vec<u8>, _deadline: Duration) -> BoxFuture<'_, Outcome> {
        Box::pin(async move { self.propose_now(&body) })
    }

    fn read(&self, consistency: Consistency, _deadline: Duration) -> BoxFuture<'_, Result<u64, ReadError>> {
        Box::pin(async move { self.read_now(consistency) })
    }

    fn state(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.engine)
    }

    fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn status(&self) -> PartitionStatus {
        let Leadership { term, leads } = *self.leadership.borrow();
        let health = self.lock().quarantined.clone().map_or(Health::Running, Health::Quarantined);
        PartitionStatus {
            leader: leads.then_some(NodeId(1)),
            term,
            voters: vec![NodeId(1)],
            last: self.applied(),
            applied: self.applied(),
            committed: self.applied(),
            health,
            ..PartitionStatus::new(self.id)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use domicile_storage::MemoryEngine;

    use super::*;

    struct Append;

    impl StateMachine for Append {
        fn apply(&self, state: &mut Transaction<'_>, command: Committed<'_>) -> Result<Verdict, ApplyFault> {
            state.put(command.body.to_vec(), command.index.to_le_bytes().to_vec());
            match command.body {
                b"conflict" => Ok(Verdict::Conflict(Vec::new())),
                b"fault" => Err(ApplyFault::Invalid("fault".to_owned())),
                _ => Ok(Verdict::Applied(Vec::new())),
            }
        }
    }

    fn solo() -> Arc<SoloPartition> {
        SoloPartition::new(PartitionId(1), Arc::new(MemoryEngine::new()), Arc::new(Append))
    }

    async fn propose(partition: &SoloPartition, body: &[u8]) -> Outcome {
        partition.propose(body.to_vec(), Duration::ZERO).await
    }

    #[tokio::test]
    async fn a_lost_reply_tells_nothing_of_whether_it_was_applied() {
        let partition = solo();
        let lost = UnknownReason::ReplyLost;
        partition.inject(Injected::UnknownNotApplied(lost));
        partition.inject(Injected::UnknownApplied(lost));
        assert_eq!(propose(&partition, b"a").await, Outcome::Unknown(lost));
        assert_eq!(propose(&partition, b"b").await, Outcome::Unknown(lost));
        let state = partition.state();
        assert_eq!((state.get(b"a").unwrap(), state.get(b"b").unwrap().is_some()), (None, true));
        assert_eq!(propose(&partition, b"c").await, Outcome::Applied { index: 2, reply: Vec::new() });
    }

    #[tokio::test]
    async fn a_conflict_takes_an_index_and_a_fault_quarantines() {
        let partition = solo();
        assert_eq!(
            propose(&partition, b"conflict").await,
            Outcome::Conflict { index: 1, detail: Vec::new() }
        );
        assert_eq!(partition.state().get(b"conflict").unwrap(), None);
        assert_eq!(propose(&partition, b"fault").await, Outcome::Unknown(UnknownReason::Fatal));
        assert_eq!(partition.status().health, Health::Quarantined("fault".to_owned()));
        assert_eq!(partition.read(Consistency::Local, Duration::ZERO).await, Err(ReadError::Stopped));
    }

    #[tokio::test]
    async fn without_leadership_nothing_is_proposed_and_watchers_know() {
        let partition = solo();
        let mut leadership = partition.leadership();
        partition.lose_leadership();
        assert!(leadership.has_changed().unwrap());
        assert_eq!(propose(&partition, b"a").await, Outcome::NotLeader { leader: None });
        partition.gain_leadership();
        assert_eq!(*leadership.borrow_and_update(), Leadership { term: 2, leads: true });
        assert!(matches!(propose(&partition, b"a").await, Outcome::Applied { index: 1, .. }));
    }
}
