//! The loop: latch, decide, seal, propose, retry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domicile_raft::{
    Clock, Consistency, Leadership, NodeId, Outcome, Partition, ReadError, Timestamp, UnknownReason,
};
use domicile_storage::{Bug, Engine, is_seeded};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::bounds::ExecutorConfig;
use super::clock_guard::ClockGuard;
use super::command::{Command, DecideError, Decision};
use super::context::{ExecuteError, RequestContext, Written};
use super::failure::{chain_text, fault, unavailable};
use super::finish::{self, Envelope};
use super::fresh::Fresh;
use super::idempotency;
use super::latch::{LatchError, LatchGuard, LatchKey, LatchMode, LatchSet, Latches};
use super::notices::{self, Notices};
use super::reads::{ReadFault, Reads, Scope};
use super::token::ConsistencyToken;
use crate::apply::check;
use crate::ids::{Id, ProposalId, TenantId};
use crate::proposal::{ApplyReply, LogCommand, ReadSet};
use crate::seal::{Genesis, Keyring, TenantKeyring};
use crate::tables::{self, DecodedStates, OutcomeRow};

/// Conflicts come from leadership changes only, so three retries are plenty.
const CONFLICT_RETRIES: u32 = 3;
/// Times a command starts again with a larger latch set, or because what it answered on has moved.
const RESTARTS: u32 = 16;

/// Runs the commands of one partition, on whichever node leads it.
pub struct Executor {
    pub(super) partition: Arc<dyn Partition>,
    keyring: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    latches: Arc<Latches>,
    guard: ClockGuard,
    config: ExecutorConfig,
    /// Shared with those who only read.
    decoded: Arc<DecodedStates>,
    last_proposed: AtomicU64,
    term: AtomicU64,
    pub(super) notices: Notices,
}

/// What one run of `decide` came to.
enum Run<C: Command> {
    /// Send this; whether it leaves a logout notice.
    Propose(Vec<u8>, C::Reply, bool),
    /// Say this, once it is confirmed that the reads stand.
    Say(ReadSet, Timestamp, Result<C::Reply, Failed<C>>),
    /// A latch was held by another.
    Restart,
}

/// One call of `execute`.
struct Call<'a, C: Command> {
    context: &'a RequestContext,
    command: &'a C,
    started: Duration,
    leadership: watch::Receiver<Leadership>,
    wanted: LatchSet,
    id: ProposalId,
    epoch: u64,
    /// Whether what it answered on has moved before the answer was confirmed.
    overtaken: bool,
}

type Failed<C> = ExecuteError<<C as Command>::Refusal>;

impl Executor {
    /// An executor of `partition`. Trusts the clocks as they are now.
    pub fn new(
        partition: Arc<dyn Partition>,
        keyring: Arc<Keyring>,
        clock: Arc<dyn Clock>,
        config: ExecutorConfig,
    ) -> Arc<Self> {
        let (latches, guard) = (Latches::new(config.latches), ClockGuard::new(&*clock));
        Arc::new(Self {
            partition,
            keyring,
            clock,
            latches,
            guard,
            config,
            decoded: Arc::default(),
            last_proposed: AtomicU64::new(0),
            term: AtomicU64::new(0),
            notices: Notices::default(),
        })
    }

    /// As [`ClockGuard::confirm`].
    pub fn confirm_clock(&self, wall: Timestamp, monotonic: Duration) {
        self.guard.confirm(wall, monotonic);
    }

    /// The partition.
    pub fn partition(&self) -> &Arc<dyn Partition> {
        &self.partition
    }

    /// The applied state.
    pub fn engine(&self) -> Arc<dyn Engine> {
        self.partition.state()
    }

    /// The states that were decoded from [`Executor::engine`].
    pub(crate) fn decoded(&self) -> &Arc<DecodedStates> {
        &self.decoded
    }

    /// The partition's keys.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// The clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Runs a command to its end, within the context's deadline.
    ///
    /// # Errors
    /// [`ExecuteError`]; only [`ExecuteError::Unknown`] leaves open whether it was done.
    pub async fn execute<C: Command>(
        &self,
        context: &RequestContext,
        command: &C,
    ) -> Result<Written<C::Reply>, Failed<C>> {
        let leadership = self.partition.leadership();
        let id = match &context.idempotency {
            Some(key) => idempotency::proposal_id(context, key),
            None => self.fresh_id(),
        };
        let started = self.clock.monotonic();
        let wanted = LatchSet::default();
        let mut call = Call { context, command, started, leadership, wanted, id, epoch: 0, overtaken: false };
        let mut conflicts = 0;
        for _ in 0..RESTARTS {
            match self.attempt(&mut call).await? {
                Attempt::Done(written) => return Ok(written),
                Attempt::Restart => {}
                Attempt::Conflict => {
                    conflicts += 1;
                    if conflicts > CONFLICT_RETRIES {
                        return Err(unavailable("conflicts without end"));
                    }
                    if context.idempotency.is_none() {
                        call.id = self.fresh_id();
                    }
                }
            }
        }
        Err(ExecuteError::Overloaded("latches are contended"))
    }

    fn fresh_id(&self) -> ProposalId {
        let mut random = [0_u8; 10];
        self.clock.fill_random(&mut random);
        ProposalId::new(self.clock.now(), random)
    }

    async fn attempt<C: Command>(&self, call: &mut Call<'_, C>) -> Result<Attempt<C>, Failed<C>> {
        let term = self.leads(&call.leadership)?;
        let (keys, genesis) = self.keys(call).await?;
        let first = call.command.latches(&Scope { keys: &keys });
        call.wanted.merge(&first);
        if call.context.idempotency.is_some() {
            call.wanted.add(LatchKey::Proposal(call.context.tenant, call.id), LatchMode::Exclusive);
        }
        let mut guard = self.latch(call, term).await?;
        // Founded while this waited for the latch: new keys would open nothing that is kept.
        if genesis.is_some() && self.tenant_keys(call)?.is_some() {
            return Ok(Attempt::Restart);
        }
        if let Some(written) = self.replay(call, &keys).await? {
            return Ok(Attempt::Done(written));
        }
        match self.decide(call, &keys, genesis.as_ref(), &mut guard)? {
            Run::Restart => Ok(Attempt::Restart),
            Run::Say(reads, at, said) => {
                // An answer needs no turn to be confirmed in, so that many of them share a barrier. One that was
                // overtaken keeps it, so that it is not overtaken for ever.
                let _turn = call.overtaken.then_some(guard);
                let said = self.confirm(call, &reads, at, said).await?;
                call.overtaken = matches!(said, Attempt::Restart);
                Ok(said)
            }
            Run::Propose(body, reply, notice) => {
                // However it ends, also if nobody waits for it any more: looking in vain costs little.
                let _noted = notice.then(|| self.notices.noted(call.context.tenant));
                self.propose(call, &keys, body, reply).await
            }
        }
    }

    /// Whether this replica leads; drops the latches of an earlier term.
    fn leads<R>(&self, leadership: &watch::Receiver<Leadership>) -> Result<u64, ExecuteError<R>> {
        let Leadership { term, leads } = *leadership.borrow();
        let seen = self.term.swap(term, Ordering::AcqRel);
        if (seen != 0 && seen != term) || !leads {
            self.latches.drop_all();
        }
        if leads { Ok(term) } else { Err(self.not_leader(self.partition.status().leader)) }
    }

    fn not_leader<R>(&self, leader: Option<NodeId>) -> ExecuteError<R> {
        ExecuteError::NotLeader { partition: self.partition.id(), leader }
    }

    fn remaining<C: Command>(&self, call: &Call<'_, C>) -> Duration {
        let spent = self.clock.monotonic().saturating_sub(call.started);
        call.context.deadline.saturating_sub(spent)
    }

    /// The tenant's keys, or new ones for a tenant that the command creates.
    async fn keys<C: Command>(
        &self,
        call: &mut Call<'_, C>,
    ) -> Result<(TenantKeyring, Option<Genesis>), Failed<C>> {
        let tenant = call.context.tenant;
        if let Some(keys) = self.tenant_keys(call)? {
            return Ok((keys, None));
        }
        if C::CREATES_TENANT {
            let at = self.clock.now();
            let genesis = self.keyring.genesis(tenant, at, &*self.clock).map_err(fault)?;
            call.epoch = 1;
            return Ok((self.keyring.unborn(self.engine(), tenant, &genesis), Some(genesis)));
        }
        // That it does not exist is an answer too.
        self.barrier(self.remaining(call)).await?;
        self.tenant_keys(call)?.map(|keys| (keys, None)).ok_or(ExecuteError::TenantErased)
    }

    fn tenant_keys<C: Command>(&self, call: &mut Call<'_, C>) -> Result<Option<TenantKeyring>, Failed<C>> {
        let tenant = call.context.tenant;
        let Some(row) = tables::tenant_row(&*self.engine(), tenant).map_err(fault)? else {
            return Ok(None);
        };
        call.epoch = row.epoch;
        self.keyring.tenant(self.engine(), tenant).map_err(fault)
    }

    async fn latch<C: Command>(&self, call: &mut Call<'_, C>, term: u64) -> Result<LatchGuard, Failed<C>> {
        let remaining = self.remaining(call);
        let Call { wanted, leadership, .. } = call;
        let taken = tokio::select! {
            taken = self.latches.acquire(wanted, remaining) => taken,
            () = lost(leadership, term) => Err(LatchError::Dropped),
        };
        taken.map_err(|error| match error {
            LatchError::QueueFull => ExecuteError::Overloaded("too many commands wait for the same rows"),
            LatchError::Timeout => unavailable("waited past the deadline for other commands"),
            LatchError::Dropped => self.not_leader(self.partition.status().leader),
        })
    }

    fn outcome<C: Command>(&self, call: &Call<'_, C>) -> Result<Option<OutcomeRow>, Failed<C>> {
        let engine = self.engine();
        let at = tables::log_time(&*engine).map_err(fault)?;
        tables::outcome(&*engine, call.context.tenant, call.id, at).map_err(fault)
    }

    /// The kept reply of an earlier request with the same idempotency key. Given, or refused, only
    /// after a barrier, as any other answer.
    async fn replay<C: Command>(
        &self,
        call: &Call<'_, C>,
        keys: &TenantKeyring,
    ) -> Result<Option<Written<C::Reply>>, Failed<C>> {
        let Some(key) = &call.context.idempotency else {
            return Ok(None);
        };
        if self.outcome(call)?.is_none() {
            return Ok(None);
        }
        self.barrier(self.remaining(call)).await?;
        let Some(row) = self.outcome(call)? else {
            return Ok(None);
        };
        idempotency::still_there(keys)?;
        if row.request_hash != Some(idempotency::kept_hash(keys, key).map_err(fault)?) {
            return Err(ExecuteError::IdempotencyMismatch);
        }
        self.replayed(call, keys, row.index, row.reply.as_deref()).map(Some)
    }

    fn replayed<C: Command>(
        &self,
        call: &Call<'_, C>,
        keys: &TenantKeyring,
        index: u64,
        reply: Option<&[u8]>,
    ) -> Result<Written<C::Reply>, Failed<C>> {
        idempotency::still_there(keys)?;
        let (Some(key), Some(sealed)) = (&call.context.idempotency, reply) else {
            return Err(ExecuteError::Fault("an outcome lacks its reply".to_owned()));
        };
        let reply = idempotency::open_reply(keys, call.context, call.id, key, sealed).map_err(fault)?;
        Ok(Written { reply, consistency: self.token(call.context.tenant, call.epoch, index), replayed: true })
    }

    fn token(&self, tenant: TenantId, epoch: u64, index: u64) -> ConsistencyToken {
        let (partition, incarnation) = (self.partition.id(), self.partition.incarnation());
        ConsistencyToken { tenant, epoch, partition, incarnation, index }
    }

    /// What a read of the state as it is here saw.
    pub(crate) fn token_here(&self, tenant: TenantId) -> ConsistencyToken {
        self.token(tenant, 0, self.partition.applied())
    }

    /// The wall clock, never behind log time, while it can be trusted.
    ///
    /// # Errors
    /// [`ExecuteError::Unavailable`] after a jump of the wall clock.
    pub fn now<R>(&self) -> Result<Timestamp, ExecuteError<R>> {
        let log_time = tables::log_time(&*self.engine()).map_err(fault)?;
        let now = self.guard.now(&*self.clock, log_time).map_err(|jump| {
            tracing::error!(by_ms = jump.by_ms, "the wall clock jumped: writes are refused");
            unavailable("the clock jumped")
        })?;
        Ok(now.max(log_time))
    }

    /// `max(clock, last proposed, last applied)`, so that log time does not go back.
    pub(super) fn decided_at<R>(&self) -> Result<Timestamp, ExecuteError<R>> {
        let now = self.now()?;
        let before = self.last_proposed.fetch_max(now.0, Ordering::AcqRel);
        Ok(now.max(Timestamp(before)))
    }

    fn decide<C: Command>(
        &self,
        call: &mut Call<'_, C>,
        keys: &TenantKeyring,
        genesis: Option<&Genesis>,
        guard: &mut LatchGuard,
    ) -> Result<Run<C>, Failed<C>> {
        let at = self.decided_at()?;
        let mut seed = Zeroizing::new([0_u8; 32]);
        self.clock.fill_random(seed.as_mut_slice());
        let mut fresh = Fresh::new(at, &seed);
        let engine = self.engine();
        let mut reads =
            Reads::new((&*engine, &self.decoded), keys, genesis.is_none(), at, guard, &mut call.wanted);
        let (draft, reply) = match call.command.decide(&mut reads, &mut fresh) {
            Ok(Decision::Propose(draft, reply)) => (draft, reply),
            Ok(Decision::Answer(reply)) => return Ok(Run::Say(reads.read_set(), at, Ok(reply))),
            Err(DecideError::Refused(refusal)) => {
                return Ok(Run::Say(reads.read_set(), at, Err(ExecuteError::Refused(refusal))));
            }
            Err(DecideError::Fault(fault)) => return restart_or_fail(fault, &reads),
        };
        let envelope = Envelope { context: call.context, epoch: call.epoch, id: call.id, at, genesis };
        match finish::finish(draft, &reply, &mut reads, &mut fresh, &envelope) {
            Ok((proposal, rehearsal)) => {
                let notice = notices::in_proposal(&proposal);
                let body = LogCommand::Propose(Box::new(proposal)).encode().map_err(fault)?;
                rehearsal.run(&*engine, self.partition.id(), &body).map_err(fault)?;
                Ok(Run::Propose(body, reply, notice))
            }
            Err(fault) => restart_or_fail(fault, &reads),
        }
    }

    async fn barrier<R>(&self, deadline: Duration) -> Result<u64, ExecuteError<R>> {
        self.partition.read(Consistency::Linearizable, deadline).await.map_err(|error| match error {
            ReadError::NotLeader { leader } => self.not_leader(leader),
            ReadError::Timeout => unavailable("no quorum confirmed in time"),
            ReadError::Stopped => unavailable("the partition stopped"),
        })
    }

    /// Answers and refusals are reads: they hold if, after a barrier, nothing that was read differs.
    async fn confirm<C: Command>(
        &self,
        call: &Call<'_, C>,
        reads: &ReadSet,
        at: Timestamp,
        said: Result<C::Reply, Failed<C>>,
    ) -> Result<Attempt<C>, Failed<C>> {
        let skips = said.is_err() && is_seeded(Bug::DeposedRefusal);
        let index = if skips { 0 } else { self.barrier(self.remaining(call)).await? };
        if check::reads(&*self.engine(), call.context.tenant, reads, at).map_err(fault)?.is_some() {
            return Ok(Attempt::Restart);
        }
        match said {
            Ok(reply) => {
                let consistency = self.token(call.context.tenant, call.epoch, index);
                Ok(Attempt::Done(Written { reply, consistency, replayed: false }))
            }
            Err(error) => Err(error),
        }
    }

    /// Proposes the same bytes until the outcome is known or the deadline is over.
    async fn propose<C: Command>(
        &self,
        call: &Call<'_, C>,
        keys: &TenantKeyring,
        body: Vec<u8>,
        reply: C::Reply,
    ) -> Result<Attempt<C>, Failed<C>> {
        let mut uncertain = false;
        loop {
            let remaining = self.remaining(call);
            if remaining.is_zero() {
                return Err(if uncertain {
                    ExecuteError::Unknown
                } else {
                    unavailable("the deadline is over")
                });
            }
            let early = is_seeded(Bug::EarlyAck) && C::NAME.starts_with("user.");
            let patience = if early { Duration::ZERO } else { self.config.attempt };
            match self.partition.propose(body.clone(), remaining.min(patience)).await {
                Outcome::Unknown(UnknownReason::Timeout) if early => {
                    let consistency = self.token_here(call.context.tenant);
                    return Ok(Attempt::Done(Written { reply, consistency, replayed: false }));
                }
                Outcome::Applied { index, reply: applied } => {
                    return self.applied(call, keys, index, &applied, reply).map(Attempt::Done);
                }
                Outcome::Conflict { .. } if !uncertain => return Ok(Attempt::Conflict),
                Outcome::NotLeader { leader } if !uncertain => {
                    return Err(self.not_leader(leader));
                }
                Outcome::Overloaded(what) if !uncertain => return Err(ExecuteError::Overloaded(what)),
                // An earlier copy of these bytes may still be applied.
                Outcome::Conflict { .. }
                | Outcome::NotLeader { .. }
                | Outcome::Overloaded(_)
                | Outcome::Unknown(UnknownReason::Fatal) => return Err(ExecuteError::Unknown),
                Outcome::Unknown(UnknownReason::Timeout | UnknownReason::ReplyLost) => {
                    uncertain = true;
                    tokio::time::sleep(self.config.backoff.min(remaining)).await;
                }
            }
        }
    }

    fn applied<C: Command>(
        &self,
        call: &Call<'_, C>,
        keys: &TenantKeyring,
        index: u64,
        applied: &[u8],
        reply: C::Reply,
    ) -> Result<Written<C::Reply>, Failed<C>> {
        let ours = |index| Written {
            reply,
            consistency: self.token(call.context.tenant, call.epoch, index),
            replayed: false,
        };
        match ApplyReply::decode(applied).map_err(fault)? {
            ApplyReply::Done => Ok(ours(index)),
            // Without an idempotency key the id is ours alone: an earlier copy of these very bytes.
            ApplyReply::Replayed { index, .. } if call.context.idempotency.is_none() => Ok(ours(index)),
            ApplyReply::Replayed { same_request: false, .. } => Err(ExecuteError::IdempotencyMismatch),
            ApplyReply::Replayed { index, reply, .. } => self.replayed(call, keys, index, reply.as_deref()),
            ApplyReply::Swept { .. } => Err(ExecuteError::Fault("a sweep's reply to a proposal".to_owned())),
        }
    }
}

enum Attempt<C: Command> {
    Done(Written<C::Reply>),
    Conflict,
    Restart,
}

fn restart_or_fail<C: Command>(fault: ReadFault, reads: &Reads<'_>) -> Result<Run<C>, Failed<C>> {
    match fault {
        ReadFault::LatchHeld => Ok(Run::Restart),
        ReadFault::KeyGone(_) => Ok(Run::Say(reads.read_set(), reads.at, Err(ExecuteError::KeyGone))),
        fault @ (ReadFault::Table(_)
        | ReadFault::Engine(_)
        | ReadFault::Decode(_)
        | ReadFault::Seal(_)
        | ReadFault::NotNormal(_)) => Err(ExecuteError::Fault(chain_text(&fault))),
    }
}

/// Returns when the term of `term` is over.
async fn lost(leadership: &mut watch::Receiver<Leadership>, term: u64) {
    let gone = |now: &Leadership| !now.leads || now.term != term;
    // A closed channel means that the partition is gone, which ends the term as well.
    let _ = leadership.wait_for(gone).await;
}
