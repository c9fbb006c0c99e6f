//! The leader carries an order out, or says why not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::metrics::RaftServerMetrics;
use openraft::raft::Precondition;
use openraft::type_config::alias::WatchReceiverOf;
use tokio::time::timeout;

use super::{CAUGHT_UP_LAG_MAX, Change, Order, OrderError, OrderReply};
use crate::faults::Lifecycle;
use crate::group::Group;
use crate::placement::GroupSettings;
use crate::type_config::{Command, Reply, TypeConfig, log_id};
use crate::{LogPosition, NodeId, NodeInfo, Partition as _, PartitionStatus};

type Members = ChangeMembers<u64, NodeInfo>;
type ServerMetrics = WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>;

/// How much newer new settings may say they are. The directory may have counted changes that never came
/// this far; but a number near the end would leave none for those after it.
const GENERATION_STEP_MAX: u64 = 1_000;

/// Carries `order` out on this replica if it leads.
pub(crate) async fn obey(
    group: &Arc<Group>,
    order: Order,
    deadline: Duration,
) -> Result<OrderReply, OrderError> {
    if order.incarnation != group.incarnation {
        return Err(OrderError::Incarnation(group.incarnation));
    }
    lead(group)?;
    if order.change == Change::Report {
        return Ok(OrderReply { status: group.status() });
    }
    // A task of its own: who gives up waiting does not leave a change half made.
    let worker = Arc::clone(group);
    let task = tokio::spawn(async move { in_turn(&worker, order, deadline).await });
    match timeout(deadline, task).await {
        Ok(Ok(done)) => done?,
        Ok(Err(cause)) => return Err(OrderError::Unknown(cause.to_string())),
        Err(_) => return Err(OrderError::Unknown("not done before the deadline".to_owned())),
    }
    Ok(OrderReply { status: group.status() })
}

/// One order at a time: what an order is checked against stays as it is until it is carried out.
async fn in_turn(group: &Group, order: Order, deadline: Duration) -> Result<(), OrderError> {
    let turn = timeout(deadline, group.ordering.lock()).await;
    let _turn = turn.map_err(|_| OrderError::InProgress)?;
    let status = lead(group)?;
    let settings = group.settings_in_force();
    if order.generation != settings.generation {
        return Err(OrderError::StaleGeneration { current: settings.generation });
    }
    change(group, order.change, &status, &settings).await
}

fn lead(group: &Group) -> Result<PartitionStatus, OrderError> {
    if !matches!(*group.faults.lifecycle.borrow(), Lifecycle::Running) {
        return Err(OrderError::NoReplica);
    }
    let status = group.status();
    if group.leadership.borrow().leads { Ok(status) } else { Err(not_leader(group, status.leader)) }
}

/// Never names this node, which just said that it does not lead.
fn not_leader(group: &Group, leader: Option<NodeId>) -> OrderError {
    OrderError::NotLeader { leader: leader.filter(|leader| *leader != group.node) }
}

async fn change(
    group: &Group,
    change: Change,
    status: &PartitionStatus,
    settings: &GroupSettings,
) -> Result<(), OrderError> {
    match change {
        Change::Report => Ok(()),
        Change::AddLearner { expected, node, info } => {
            add_learner(group, expected, node, info, status, settings).await
        }
        Change::RemoveLearner { expected, node } => {
            if status.voters.contains(&node) {
                return Err(OrderError::Refused(format!("node {} has a vote", node.0)));
            }
            if !status.learners.contains(&node) {
                return at(status, expected);
            }
            members(group, expected, Members::RemoveNodes([node.0].into())).await
        }
        Change::SetVoters { expected, voters } => {
            at(status, expected)?;
            may_vote(&voters, status, settings)?;
            let voters = voters.iter().map(|node| node.0).collect();
            members(group, expected, Members::ReplaceAllVoters(voters)).await
        }
        Change::FinishJoint { expected } => {
            at(status, expected)?;
            if !status.joint {
                return Ok(());
            }
            members(group, expected, Members::AddVoterIds(BTreeSet::new())).await
        }
        Change::TransferLeader { to } => transfer(group, to, status).await,
        Change::UpdateSettings { settings: wanted } => update(group, wanted, settings).await,
    }
}

fn at(status: &PartitionStatus, expected: Option<LogPosition>) -> Result<(), OrderError> {
    if status.membership == expected {
        return Ok(());
    }
    Err(OrderError::StaleMembership { current: status.membership })
}

fn allowed(node: NodeId, info: &NodeInfo, settings: &GroupSettings) -> Result<(), OrderError> {
    if settings.placement.allows(&info.region) {
        return Ok(());
    }
    let why = format!("the placement does not allow region `{}` of node {}", info.region, node.0);
    Err(OrderError::Refused(why))
}

async fn add_learner(
    group: &Group,
    expected: Option<LogPosition>,
    node: NodeId,
    info: NodeInfo,
    status: &PartitionStatus,
    settings: &GroupSettings,
) -> Result<(), OrderError> {
    allowed(node, &info, settings)?;
    let proved = group.link.as_ref().and_then(|link| link.region_of(node));
    if let Some(proved) = proved.filter(|proved| *proved != info.region) {
        let why = format!("node {} runs in region `{proved}`, not in `{}`", node.0, info.region);
        return Err(OrderError::Refused(why));
    }
    if let Some(member) = status.members.iter().find(|member| member.node == node) {
        // What else is said of a member is where it was when it was brought in; it is reached elsewhere.
        if member.info.region == info.region {
            return Ok(());
        }
        let why =
            format!("node {} is a member for region `{}`; take it out first", node.0, member.info.region);
        return Err(OrderError::Refused(why));
    }
    members(group, expected, Members::AddNodes(BTreeMap::from([(node.0, info)]))).await
}

/// Each voter must be a member in an allowed region, and a new one caught up.
fn may_vote(
    voters: &BTreeSet<NodeId>,
    status: &PartitionStatus,
    settings: &GroupSettings,
) -> Result<(), OrderError> {
    for node in voters {
        let member = status.members.iter().find(|member| member.node == *node);
        let member = member.ok_or_else(|| OrderError::Refused(format!("node {} is no member", node.0)))?;
        allowed(*node, &member.info, settings)?;
        if !member.voter {
            caught_up(*node, status)?;
            // It holds the membership that brought it in, and so all that it needs to vote (ADR 0034).
            if member.matched < status.membership.map(|position| position.index) {
                let lag_entries = member.matched.map(|matched| status.last.saturating_sub(matched));
                return Err(OrderError::NotCaughtUp { node: *node, lag_entries });
            }
        }
    }
    Ok(())
}

fn caught_up(node: NodeId, status: &PartitionStatus) -> Result<(), OrderError> {
    let member = status.members.iter().find(|member| member.node == node && !member.went_back);
    let lag_entries = member
        .filter(|member| member.contact_ms.is_some())
        .and_then(|member| member.matched)
        .map(|matched| status.last.saturating_sub(matched));
    if lag_entries.is_some_and(|lag| lag <= CAUGHT_UP_LAG_MAX) {
        return Ok(());
    }
    Err(OrderError::NotCaughtUp { node, lag_entries })
}

async fn members(group: &Group, expected: Option<LogPosition>, change: Members) -> Result<(), OrderError> {
    let last_membership_log_id = expected.map(|at| log_id(at.term, at.index));
    let condition = Precondition::LastMembershipLogId { last_membership_log_id };
    // Who loses its vote stays without one, until it is taken out.
    let changed = group.raft.change_membership_if(change, true, [condition]).await;
    changed.map(|_| ()).map_err(|cause| refused(group, cause))
}

fn refused(group: &Group, cause: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> OrderError {
    match cause {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            not_leader(group, forward.leader_id.map(NodeId))
        }
        RaftError::APIError(ClientWriteError::PreconditionFailed(_)) => {
            OrderError::StaleMembership { current: group.status().membership }
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(cause)) => match cause {
            ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_) => {
                OrderError::InProgress
            }
            ChangeMembershipError::EmptyMembership(_)
            | ChangeMembershipError::LearnerNotFound(_)
            | ChangeMembershipError::UnsupportedMembershipTransition(_)
            | ChangeMembershipError::NodeMetadataChanged(_) => OrderError::Refused(cause.to_string()),
        },
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) | RaftError::Fatal(_) => {
            OrderError::Unknown(cause.to_string())
        }
    }
}

async fn transfer(group: &Group, to: NodeId, status: &PartitionStatus) -> Result<(), OrderError> {
    if to == group.node {
        return Ok(());
    }
    if !status.voters.contains(&to) {
        return Err(OrderError::Refused(format!("node {} has no vote", to.0)));
    }
    caught_up(to, status)?;
    let stopped = |cause: &dyn std::fmt::Display| OrderError::Unknown(cause.to_string());
    let mut metrics = group.raft.server_metrics();
    group.raft.trigger().transfer_leader(to.0).await.map_err(|cause| stopped(&cause))?;
    let moved = wait_for_leader(group, to, status, &mut metrics);
    // By then another election is over.
    let patience = 2 * group.timers.election_max();
    timeout(patience, moved).await.unwrap_or_else(|_| Err(stopped(&"it did not take over in time")))
}

async fn wait_for_leader(
    group: &Group,
    to: NodeId,
    status: &PartitionStatus,
    metrics: &mut ServerMetrics,
) -> Result<(), OrderError> {
    let stopped = |cause: &dyn std::fmt::Display| OrderError::Unknown(cause.to_string());
    loop {
        let (leader, term) = {
            let seen = metrics.borrow_and_update();
            (seen.current_leader.map(NodeId), seen.vote.leader_id.term)
        };
        match leader {
            Some(leader) if leader == to => return Ok(()),
            // Another won: the leadership moved, but not as ordered.
            Some(leader) if leader != group.node => return Err(not_leader(group, Some(leader))),
            Some(_) if term > status.term => return Err(OrderError::Unknown("elected again".to_owned())),
            Some(_) | None => metrics.changed().await.map_err(|cause| stopped(&cause))?,
        }
    }
}

async fn update(group: &Group, wanted: GroupSettings, current: &GroupSettings) -> Result<(), OrderError> {
    if wanted == *current {
        return Ok(());
    }
    let stale = |current| OrderError::StaleGeneration { current };
    if wanted.generation <= current.generation {
        return Err(stale(current.generation));
    }
    if wanted.generation - current.generation > GENERATION_STEP_MAX {
        let why = format!("generation {} is too far from {}", wanted.generation, current.generation);
        return Err(OrderError::Refused(why));
    }
    let unknown = |why: &str| OrderError::Unknown(why.to_owned());
    match group.write(Command::Settings(Arc::new(wanted))).await {
        Some(Ok(written)) => match written.data {
            Reply::Conflict(_) => Err(stale(group.settings_in_force().generation)),
            Reply::Applied(_) | Reply::None => Ok(()),
        },
        Some(Err(ClientWriteError::ForwardToLeader(forward))) => {
            Err(not_leader(group, forward.leader_id.map(NodeId)))
        }
        Some(Err(cause)) => Err(OrderError::Unknown(cause.to_string())),
        None => Err(unknown("the group is busy or stopped")),
    }
}

/// Moves the leadership to the best voter that is caught up; true if this replica leads no more.
pub(crate) async fn hand_over(group: &Group, wait: Duration) -> bool {
    let moving = async {
        // Who was caught up may be gone by now: then the next.
        let status = group.status();
        for heir in heirs(group, &status) {
            if !group.claims_leadership() {
                return;
            }
            if transfer(group, heir, &status).await.is_ok() {
                return;
            }
        }
    };
    // What is not moved by then stays; the others elect.
    let _ = timeout(wait, moving).await;
    !group.claims_leadership()
}

/// Voters that are caught up, most wanted first.
fn heirs(group: &Group, status: &PartitionStatus) -> Vec<NodeId> {
    let settings = group.settings_in_force();
    let preferred = &settings.placement.preferred_leader_regions;
    let able = status
        .members
        .iter()
        .filter(|member| member.voter && member.node != group.node && caught_up(member.node, status).is_ok());
    let mut able: Vec<_> = able.collect();
    able.sort_by_key(|member| {
        let rank = preferred.iter().position(|region| *region == member.info.region);
        let silent =
            member.contact_ms.is_none_or(|ms| u128::from(ms) > group.timers.election_max().as_millis());
        (silent, rank.unwrap_or(usize::MAX), std::cmp::Reverse(member.matched), member.node)
    });
    able.into_iter().map(|member| member.node).collect()
}
