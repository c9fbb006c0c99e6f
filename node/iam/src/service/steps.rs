//! The commands that may be asked for on a partition which another node leads, and the asking.
//!
//! INVARIANT: all tries of one call of [`Iam::ask`] are one proposal. A lost answer is followed by the same
//! ask under the same proposal id, which is applied once, whoever wrote in between.

use std::sync::Arc;
use std::time::Duration;

use domicile_raft::{BoxFuture, NodeId, PartitionId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Iam;
use super::asker::{Asker, fits, group_placement};
use super::remote::{Ask, RemoteError, decode_answer, decode_request, encode_answer, encode_request};
use crate::commands::{
    ActivateTenant, AddRegionCertificate, ChangePlacement, ChooseDeletion, ChooseFounder, CreateHome,
    CreateJoinToken, DeleteHome, ExpireReservation, InitCluster, PublishEntry, ReadyPartition, RecordMembers,
    RedeemJoinToken, ReleaseTenant, RemoveRegionCertificate, RepointIssuer, RequestPartition, ReserveTenant,
    RevokeJoinToken, SetJurisdiction, SetNodeState, SignEntry, TenantRefusal, UpdateCluster, UpdateNode,
    base64url,
};
use crate::execute::{Command, ExecuteError, Executor, IdempotencyKey, RequestContext, Written};
use crate::streams::cluster::is_within;
use crate::tables::directory_tenant;

/// Between two tries to reach a leader.
const PAUSE: Duration = Duration::from_millis(50);
/// Tries at most, whatever the clock says.
const TRIES_MAX: u32 = 1_200;

/// A command that other nodes may ask for.
pub trait Step: Command<Refusal: Serialize + DeserializeOwned> + Clone {
    /// As it travels.
    fn remote(&self) -> RemoteCommand;
}

macro_rules! steps {
    (directory: $($directory:ident),*; home: $($home:ident),*;) => {
        /// A command on its way to the leader of its partition. Extend freely; a name is never used for
        /// something else.
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "each is the command of the same name")]
        pub enum RemoteCommand {
            $($directory($directory),)*
            $($home($home),)*
        }

        $(impl Step for $directory {
            fn remote(&self) -> RemoteCommand { RemoteCommand::$directory(self.clone()) }
        })*
        $(impl Step for $home {
            fn remote(&self) -> RemoteCommand { RemoteCommand::$home(self.clone()) }
        })*

        impl RemoteCommand {
            /// Whether the directory runs it.
            pub(super) fn is_for_directory(&self) -> bool {
                match self {
                    $(Self::$directory(_) => true,)*
                    $(Self::$home(_) => false,)*
                }
            }

            async fn run(&self, executor: &Executor, ctx: &RequestContext) -> Vec<u8> {
                match self {
                    $(Self::$directory(command) => encode_answer(executor.execute(ctx, command).await),)*
                    $(Self::$home(command) => encode_answer(executor.execute(ctx, command).await),)*
                }
            }
        }
    };
}

steps! {
    directory: InitCluster, UpdateCluster, AddRegionCertificate, RemoveRegionCertificate, UpdateNode,
        SetNodeState, CreateJoinToken, RevokeJoinToken, RedeemJoinToken, RequestPartition, ReadyPartition,
        RecordMembers, ChangePlacement, ReserveTenant, ExpireReservation, ActivateTenant, PublishEntry,
        ReleaseTenant, ChooseFounder, SetJurisdiction, ChooseDeletion;
    home: CreateHome, SignEntry, RepointIssuer, DeleteHome;
}

impl Iam {
    /// Runs a command on the directory, whichever node leads it. What is personal about the actor stays
    /// behind: the directory is everywhere.
    ///
    /// # Errors
    /// As [`Executor::execute`].
    pub async fn directory<C: Step>(
        &self,
        ctx: &RequestContext,
        command: &C,
    ) -> Result<Written<C::Reply>, ExecuteError<C::Refusal>> {
        self.step(PartitionId::DIRECTORY, &impersonal(ctx.clone()), command).await
    }

    /// Runs a command on a partition, whichever node leads it.
    pub(super) async fn step<C: Step>(
        &self,
        partition: PartitionId,
        ctx: &RequestContext,
        command: &C,
    ) -> Result<Written<C::Reply>, ExecuteError<C::Refusal>> {
        self.ask(partition, ctx, || Ask::Step(Box::new(command.remote()))).await
    }

    /// Asks the leader of a partition, here or elsewhere, until it answers or the deadline is over. Once a
    /// try may have been done, no later one can tell that it was not: that is [`ExecuteError::Unknown`].
    pub(super) async fn ask<R: DeserializeOwned, E: DeserializeOwned>(
        &self,
        partition: PartitionId,
        ctx: &RequestContext,
        ask: impl Fn() -> Ask + Send + Sync,
    ) -> Result<Written<R>, ExecuteError<E>> {
        let started = self.inner.clock.monotonic();
        let ctx = self.one_call(ctx);
        let (mut leader, mut uncertain) = (None, false);
        for _ in 0..TRIES_MAX {
            let spent = self.inner.clock.monotonic().saturating_sub(started);
            let left = ctx.deadline.saturating_sub(spent);
            if left.is_zero() {
                break;
            }
            let request =
                encode_request(&ctx, left, ask()).map_err(|e| ExecuteError::Fault(e.to_string()))?;
            match self.once(partition, &mut leader, request, left).await {
                Ok(answer) => match decode_answer::<R, E>(partition, &answer) {
                    Err(ExecuteError::NotLeader { leader: hint, .. }) => leader = hint,
                    Err(ExecuteError::Unknown) => uncertain = true,
                    Err(
                        ExecuteError::Unavailable { .. }
                        | ExecuteError::Overloaded(_)
                        | ExecuteError::Fault(_),
                    ) if uncertain => return Err(ExecuteError::Unknown),
                    answered => return answered,
                },
                Err(RemoteError::NoRoute) if uncertain => return Err(ExecuteError::Unknown),
                Err(RemoteError::NoRoute) => return Err(ExecuteError::NotLeader { partition, leader }),
                Err(RemoteError::NotSent) => {}
                Err(RemoteError::Lost) => uncertain = true,
            }
            tokio::time::sleep(PAUSE.min(left)).await;
        }
        if uncertain {
            return Err(ExecuteError::Unknown);
        }
        Err(ExecuteError::Unavailable { retry_after_s: 1, reason: "no leader of the partition answered" })
    }

    /// `ctx` with a key of this call's own where the caller gave none, so that its tries share a proposal
    /// id. No caller's key has a line break.
    fn one_call(&self, ctx: &RequestContext) -> RequestContext {
        let mut ctx = ctx.clone();
        if ctx.idempotency.is_none() {
            let mut random = [0; 16];
            self.inner.clock.fill_random(&mut random);
            let key = format!("call\n{}", base64url(&random));
            ctx.idempotency = Some(IdempotencyKey { key, request_hash: [0; 32] });
        }
        ctx
    }

    /// One try: here if this node leads, else elsewhere.
    async fn once(
        &self,
        partition: PartitionId,
        leader: &mut Option<NodeId>,
        request: Vec<u8>,
        left: Duration,
    ) -> Result<Vec<u8>, RemoteError> {
        if self.executor_of(partition).is_some_and(|executor| leads(&executor)) {
            let answer = self.answer(None, partition, &request).await;
            // What ended the leadership here may have made another lead.
            let lost = decode_answer::<serde::de::IgnoredAny, serde::de::IgnoredAny>(partition, &answer);
            let Err(ExecuteError::NotLeader { leader: hint, .. }) = lost else { return Ok(answer) };
            *leader = hint;
        }
        self.inner.remote.call(partition, *leader, request, left).await
    }

    /// Answers what `from` asks of `partition`, which this node should lead. The caller has checked the
    /// certificate that names `from`; what that node may ask for is decided here.
    pub fn serve_remote<'a>(
        &'a self,
        from: &'a Asker,
        partition: PartitionId,
        request: &'a [u8],
    ) -> BoxFuture<'a, Vec<u8>> {
        self.answer(Some(from), partition, request)
    }

    /// Boxed: a step may ask for others.
    fn answer<'a>(
        &'a self,
        from: Option<&'a Asker>,
        partition: PartitionId,
        request: &'a [u8],
    ) -> BoxFuture<'a, Vec<u8>> {
        Box::pin(async move {
            match self.serve(from, partition, request).await {
                Ok(answer) => answer,
                Err(error) => encode_answer::<(), TenantRefusal>(Err(error)),
            }
        })
    }

    async fn serve(
        &self,
        from: Option<&Asker>,
        partition: PartitionId,
        request: &[u8],
    ) -> Result<Vec<u8>, ExecuteError<TenantRefusal>> {
        let (mut ctx, ask) =
            decode_request(request).map_err(|cause| ExecuteError::Fault(format!("ask: {cause}")))?;
        let executor =
            self.executor_of(partition).ok_or(ExecuteError::NotLeader { partition, leader: None })?;
        if !fits(partition, &ask) {
            return Err(ExecuteError::Fault("a step on a partition of another kind".to_owned()));
        }
        if partition == PartitionId::DIRECTORY {
            ctx = impersonal(ctx);
        }
        if let Some(from) = from
            && let Err(denied) = self.permit(from, &executor, &ctx, &ask).await
        {
            tracing::warn!(node = from.node.0, region = from.region, "a node asked for what it may not have");
            return Ok(denied.answer());
        }
        match ask {
            Ask::Step(mut command) => {
                // Where a tenant lives is for its home to say.
                if let RemoteCommand::SignEntry(sign) = &mut *command {
                    *sign = self.signature(&executor);
                }
                self.fence(&executor, &command)?;
                Ok(command.run(&executor, &ctx).await)
            }
            Ask::Prepare => Ok(encode_answer(self.prepare_here(&executor, &ctx).await)),
            Ask::View => Ok(encode_answer(self.view_here(&executor, &ctx).await)),
        }
    }

    /// The host checks again, whatever the directory chose: no replica of its group may ever be where the
    /// tenant may not. By the group's own settings, which its log holds.
    fn fence(&self, executor: &Executor, command: &RemoteCommand) -> Result<(), ExecuteError<TenantRefusal>> {
        let RemoteCommand::CreateHome(create) = command else { return Ok(()) };
        let (Some(wanted), Some(region)) = (&create.placement, &self.inner.locality.region) else {
            return Ok(());
        };
        let group = group_placement(executor);
        if wanted.allows(region) && group.is_some_and(|group| is_within(&group, wanted)) {
            return Ok(());
        }
        let reason = format!("partition {} may be outside the placement", executor.partition().id().0);
        Err(ExecuteError::Refused(TenantRefusal::Placement(reason)))
    }

    /// The executor of a partition with a replica here.
    pub(super) fn executor_of(&self, partition: PartitionId) -> Option<Arc<Executor>> {
        if partition == PartitionId::DIRECTORY {
            return Some(Arc::clone(&self.inner.directory));
        }
        self.home_by_id(partition)
    }
}

/// Whether this node leads the partition.
pub(super) fn leads(executor: &Executor) -> bool {
    executor.partition().leadership().borrow().leads
}

/// For the directory, which is everywhere: what is personal about the actor stays behind.
fn impersonal(ctx: RequestContext) -> RequestContext {
    let mut ctx = RequestContext { tenant: directory_tenant(), address: None, agent: None, ..ctx };
    ctx.actor.name = None;
    ctx.actor.key = None;
    ctx
}
