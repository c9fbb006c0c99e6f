//! Which node may ask for which step: one table over all of them.
//!
//! A certificate proves the region of the node that asks, since only that region's authority signs for it.
//! It proves which node of the region less well: every node there holds the authority's key. So a right that
//! is given to a node is, against a thief of one node's disk, given to its region.

use std::time::Duration;

use domicile_raft::placement::Placement;
use domicile_raft::{NodeId, PartitionId};

use super::Iam;
use super::remote::{Ask, encode_answer};
use super::steps::RemoteCommand;
use crate::commands::{ClusterRefusal, SYSTEM_SLUG, TenantRefusal};
use crate::execute::{ExecuteError, Executor, RequestContext};
use crate::ids::TenantId;
use crate::model::{Edge, NodeState};
use crate::query::{QueryError, cluster};
use crate::streams::directory::{DirectoryTenant, EntryPhase};

/// How long the directory here may take to catch up before a step is refused for what it says.
const CATCH_UP: Duration = Duration::from_secs(2);

/// Another node of the cluster, as its certificate names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Which.
    pub node: NodeId,
    /// Where it runs.
    pub region: String,
}

/// What a node needs to be, to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Right {
    /// Only the node that runs it may want it.
    Nobody,
    /// Every node: what it asks for is proved otherwise, or harms nobody.
    Anyone,
    /// This one.
    Node(NodeId),
    /// Of this region.
    Region(String),
    /// A voter of the directory. It could write there without asking, so that nothing is given away.
    Voter,
    /// In a region that may hold the tenant, by what the directory says of its home.
    Holder(TenantId),
    /// Any, while the tenant is being created; later one that may see it.
    Creation,
    /// In a region that may hold the tenant, or any where it lets others handle its requests.
    Sight,
    /// In a region that may hold the tenant; any once its name was given back.
    End,
}

#[allow(clippy::match_same_arms, reason = "one arm a reason, even where the right is the same")]
fn right(ask: &Ask) -> Right {
    let command = match ask {
        Ask::Prepare => return Right::Creation,
        Ask::View => return Right::Sight,
        Ask::Step(command) => command,
    };
    match &**command {
        RemoteCommand::InitCluster(_) | RemoteCommand::RepointIssuer(_) => Right::Nobody,
        RemoteCommand::UpdateNode(update) => Right::Node(update.node),
        // The controller runs on the directory's leader.
        RemoteCommand::ReadyPartition(_)
        | RemoteCommand::RecordMembers(_)
        | RemoteCommand::ChooseFounder(_) => Right::Voter,
        // What operators ask for.
        // Who proves to be of the region did so with a certificate that chains to the authority there is, so
        // that only those who hold that one can put another beside it.
        RemoteCommand::AddRegionCertificate(add) => Right::Region(add.region.clone()),
        RemoteCommand::UpdateCluster(_)
        | RemoteCommand::RemoveRegionCertificate(_)
        | RemoteCommand::SetNodeState(_)
        | RemoteCommand::CreateJoinToken(_)
        | RemoteCommand::RevokeJoinToken(_)
        | RemoteCommand::ChangePlacement(_)
        | RemoteCommand::SetJurisdiction(_) => Right::Voter,
        RemoteCommand::RequestPartition(request) if !request.must_be_possible => Right::Nobody,
        // A token's secret, the time, a signature by a pinned key prove what they do; names are free to all.
        RemoteCommand::RequestPartition(_)
        | RemoteCommand::RedeemJoinToken(_)
        | RemoteCommand::ReserveTenant(_)
        | RemoteCommand::ChooseDeletion(_)
        | RemoteCommand::ExpireReservation(_)
        | RemoteCommand::ActivateTenant(_)
        | RemoteCommand::PublishEntry(_) => Right::Anyone,
        RemoteCommand::ReleaseTenant(release) => Right::Holder(release.tenant),
        RemoteCommand::CreateHome(_) | RemoteCommand::SignEntry(_) => Right::Creation,
        RemoteCommand::DeleteHome(_) => Right::End,
    }
}

/// Why a node is not answered.
pub(super) enum Denied {
    /// A command about the cluster.
    Cluster(String),
    /// A step of a tenant.
    Tenant(TenantRefusal),
    /// It could not be found out, or the question makes no sense.
    Failed(ExecuteError<TenantRefusal>),
}

impl Denied {
    pub(super) fn answer(self) -> Vec<u8> {
        match self {
            Self::Cluster(reason) => encode_answer::<(), ClusterRefusal>(Err(ExecuteError::Refused(
                ClusterRefusal::NotAllowed(reason),
            ))),
            Self::Tenant(refusal) => encode_answer::<(), _>(Err(ExecuteError::Refused(refusal))),
            Self::Failed(error) => encode_answer::<(), _>(Err(error)),
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "shape of `map_err`")]
fn unreadable(error: QueryError) -> Denied {
    Denied::Failed(ExecuteError::Fault(error.to_string()))
}

fn outside(from: &Asker) -> Denied {
    let reason = format!("region `{}` is outside the tenant's placement: ask a node inside it", from.region);
    Denied::Tenant(TenantRefusal::Placement(reason))
}

/// What the group's own log says of where it may be; `None` before its first settings.
pub(super) fn group_placement(executor: &Executor) -> Option<Placement> {
    executor.partition().status().settings.map(|settings| settings.placement)
}

impl Iam {
    /// Whether `from` may have this node run `ask` for `ctx.tenant` on the partition of `executor`.
    pub(super) async fn permit(
        &self,
        from: &Asker,
        executor: &Executor,
        ctx: &RequestContext,
        ask: &Ask,
    ) -> Result<(), Denied> {
        match right(ask) {
            Right::Anyone => Ok(()),
            Right::Nobody => {
                Err(Denied::Failed(ExecuteError::Fault("this runs only where it is asked for".to_owned())))
            }
            Right::Node(node) if node == from.node => self.is_member(from),
            Right::Node(node) => {
                Err(Denied::Cluster(format!("node {} does not speak for node {}", from.node.0, node.0)))
            }
            Right::Region(region) if region == from.region => self.is_member(from),
            Right::Region(region) => Err(Denied::Cluster(format!(
                "node {} is not of region `{region}`: ask one that is",
                from.node.0
            ))),
            Right::Voter if executor.partition().status().voters.contains(&from.node) => self.is_member(from),
            Right::Voter => Err(Denied::Cluster(format!(
                "node {} has no vote in the directory: ask one that has",
                from.node.0
            ))),
            Right::Holder(tenant) => self.may_hold(from, tenant),
            Right::Creation => self.may_create(from, executor, ctx.tenant).await,
            Right::Sight => self.may_see(from, executor, ctx.tenant),
            Right::End => self.may_end(from, executor, ctx.tenant).await,
        }
    }

    /// The directory knows the node, in the region that its certificate names.
    fn is_member(&self, from: &Asker) -> Result<(), Denied> {
        let node = cluster::node(&*self.inner.directory.engine(), from.node).map_err(unreadable)?;
        let fits = |node: &crate::model::NodeView| {
            node.region == from.region && node.state != NodeState::Decommissioned
        };
        if node.as_ref().is_some_and(fits) {
            return Ok(());
        }
        Err(Denied::Cluster(format!("node {} is not one of region `{}`", from.node.0, from.region)))
    }

    fn may_hold(&self, from: &Asker, tenant: TenantId) -> Result<(), Denied> {
        let Some((_, entry)) = self.directory_tenant(tenant).map_err(unreadable)? else { return Ok(()) };
        let engine = self.inner.directory.engine();
        let home = cluster::partition(&*engine, entry.home).map_err(unreadable)?;
        if home.is_some_and(|home| home.placement.allows(&from.region)) { Ok(()) } else { Err(outside(from)) }
    }

    /// By the group's own settings; without them only the region of this very replica.
    fn is_inside(&self, from: &Asker, executor: &Executor) -> bool {
        match group_placement(executor) {
            Some(placement) => placement.allows(&from.region),
            None => self.inner.locality.region.as_deref() == Some(from.region.as_str()),
        }
    }

    async fn may_create(&self, from: &Asker, executor: &Executor, tenant: TenantId) -> Result<(), Denied> {
        let entry = self.entry_such(tenant, |phase| *phase != EntryPhase::Released).await?;
        let Some(entry) = entry.filter(|entry| entry.home == executor.partition().id()) else {
            return Err(Denied::Tenant(TenantRefusal::NotFound));
        };
        match entry.phase {
            EntryPhase::Reserved { .. } => Ok(()),
            EntryPhase::Active { .. } => self.may_see(from, executor, tenant),
            EntryPhase::Released => Err(Denied::Tenant(TenantRefusal::ReservationExpired)),
        }
    }

    fn may_see(&self, from: &Asker, executor: &Executor, tenant: TenantId) -> Result<(), Denied> {
        if self.is_inside(from, executor) {
            return Ok(());
        }
        // Nodes elsewhere handle its requests and pass its answers on; they may as well see it.
        let state = self.tenant_at(executor, tenant).map_err(unreadable)?;
        let open = state.is_none_or(|state| state.settings.edge == Edge::Any);
        if open { Ok(()) } else { Err(outside(from)) }
    }

    async fn may_end(&self, from: &Asker, executor: &Executor, tenant: TenantId) -> Result<(), Denied> {
        let inside = self.is_inside(from, executor);
        let enough = |phase: &EntryPhase| match phase {
            EntryPhase::Released => true,
            EntryPhase::Active { .. } => inside,
            EntryPhase::Reserved { .. } => false,
        };
        let entry = self.entry_such(tenant, enough).await?;
        let Some(entry) = entry.filter(|entry| entry.home == executor.partition().id()) else {
            return Err(Denied::Tenant(TenantRefusal::NotFound));
        };
        match entry.phase {
            EntryPhase::Released => Ok(()),
            EntryPhase::Active { .. } if entry.slug == SYSTEM_SLUG => {
                Err(Denied::Tenant(TenantRefusal::Protected))
            }
            EntryPhase::Active { .. } if inside => Ok(()),
            EntryPhase::Active { .. } => Err(outside(from)),
            EntryPhase::Reserved { .. } => {
                Err(Denied::Failed(ExecuteError::Fault("the tenant is being created".to_owned())))
            }
        }
    }

    /// The directory's entry as it is here; brought up to date first where it is not `as_needed`.
    async fn entry_such(
        &self,
        tenant: TenantId,
        as_needed: impl Fn(&EntryPhase) -> bool,
    ) -> Result<Option<DirectoryTenant>, Denied> {
        let here = || self.directory_tenant(tenant).map(|entry| entry.map(|(_, entry)| entry));
        let entry = here().map_err(unreadable)?;
        if entry.as_ref().is_some_and(|entry| as_needed(&entry.phase)) {
            return Ok(entry);
        }
        let directory = self.inner.directory.partition();
        let read = directory.read(domicile_raft::Consistency::Linearizable, CATCH_UP).await;
        read.map_err(|_| {
            let reason = "the directory here could not catch up";
            Denied::Failed(ExecuteError::Unavailable { retry_after_s: 1, reason })
        })?;
        here().map_err(unreadable)
    }
}

/// Whether a step is of the partition's kind: the directory's, or a home's.
pub(super) fn fits(partition: PartitionId, ask: &Ask) -> bool {
    let for_directory = match ask {
        Ask::Step(command) => command.is_for_directory(),
        Ask::Prepare | Ask::View => false,
    };
    for_directory == (partition == PartitionId::DIRECTORY)
}
