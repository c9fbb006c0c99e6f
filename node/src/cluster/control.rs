//! What operators ask of the cluster through any node's admin API.

use std::sync::Arc;
use std::time::Duration;

use domicile_iam::commands::ClusterRefusal;
use domicile_iam::execute::{ExecuteError, RequestContext, Written};
use domicile_iam::model::NodeState;
use domicile_raft::peer::tls::AuthorityCertificate;
use domicile_raft::placement::{Duty, loss_without};
use domicile_raft::{
    BoxFuture, Change, Clock, LogCut, LogCutError, NodeId, Order, OrderError, PartitionId, Timestamp,
};

use super::catalog::Catalog;
use super::directory::{Directory, Ordered};
use super::files::Membership;
use super::join_desk::sha256;
use super::join_secrets::JoinSecrets;
use super::links::Links;
use super::overview::{self, Asked, Survey, best_word, replicas_of};
use super::replica_digest;
use super::service::chain;
use super::survey::survey;
use super::token::JoinToken;
use crate::admin::{
    ClusterControl, ClusterDocument, ControlError, JoinTokenDocument, LogCutDocument, NewJoinToken,
    ReplicaDigestDocument, WantedDuty, rfc3339,
};

/// How long an overview waits for nodes.
const ANSWER: Duration = Duration::from_secs(1);
/// From the request's arrival at the directory's leader; it has 4.5 s from its arrival anywhere.
const ORDER: Duration = Duration::from_millis(3_500);
/// Between two tries to have a join token promised.
const TOKEN_AGAIN: Duration = Duration::from_millis(200);
/// Addresses in a token: more would make it long, fewer could be down.
const TOKEN_ADDRESSES_MAX: usize = 5;

/// The cluster's [`ClusterControl`].
pub(crate) struct Control {
    pub(crate) membership: Membership,
    pub(crate) directory: Directory,
    pub(crate) links: Arc<Links>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) secrets: JoinSecrets,
}

impl Control {
    /// `ctx` with what is left of its deadline.
    fn left(&self, ctx: &RequestContext, began: Duration) -> RequestContext {
        let spent = self.clock.monotonic().saturating_sub(began);
        RequestContext { deadline: ctx.deadline.saturating_sub(spent), ..ctx.clone() }
    }

    async fn catalog(&self) -> Result<Catalog, ControlError> {
        self.directory.catalog().await.map_err(ControlError::Unavailable)
    }

    async fn duty(
        &self,
        ctx: RequestContext,
        node: NodeId,
        duty: WantedDuty,
    ) -> Result<Written<()>, ControlError> {
        let began = self.clock.monotonic();
        let (state, wanted) = match duty {
            WantedDuty::Active => (NodeState::Active, Duty::Active),
            WantedDuty::Draining => (NodeState::Draining, Duty::Draining),
            WantedDuty::Decommissioned => (NodeState::Decommissioned, Duty::Decommissioned),
        };
        let catalog = self.catalog().await?;
        let known = catalog.nodes.get(&node).ok_or(ControlError::NotFound)?;
        // A repeat is answered as it was, whatever became of the others since.
        if wanted != Duty::Active && known.duty != wanted {
            let seen = survey(&self.links, self.clock.as_ref(), &catalog, ANSWER).await;
            check_dispensable(&catalog, &seen, node, wanted).map_err(ControlError::Conflict)?;
        }
        self.directory.set_state(&self.left(&ctx, began), node, state).await.map_err(refused)
    }

    async fn transfer(&self, partition: PartitionId, to: Option<NodeId>) -> Result<NodeId, ControlError> {
        let catalog = self.catalog().await?;
        let seen = survey(&self.links, self.clock.as_ref(), &catalog, ANSWER).await;
        let replicas = replicas_of(&seen, partition);
        let Some((teller, word)) = best_word(&replicas) else { return Err(ControlError::NotFound) };
        let leader = word.leader.filter(|leader| *leader == teller);
        let leader = leader.ok_or_else(|| ControlError::Unavailable("no leader answers".to_owned()))?;
        let able = overview::situation(&catalog, &seen, word, None).members.caught_up;
        let caught_up = |id: &NodeId| *id != leader && able.contains(id);
        let to = match to {
            Some(to) if to == leader => return Ok(leader),
            Some(to) if overview::stops(&seen, to) => {
                return Err(ControlError::Conflict(format!(
                    "node {} is to lead nothing: it is stopping, or its clock is wrong",
                    to.0
                )));
            }
            Some(to) => to,
            None => word
                .voters
                .iter()
                .copied()
                .find(|id| caught_up(id))
                .ok_or_else(|| ControlError::Conflict("no other voter has caught up".to_owned()))?,
        };
        let generation = word.settings.as_ref().map_or(0, |settings| settings.generation);
        let change = Change::TransferLeader { to };
        let order = Order { partition, incarnation: word.incarnation, generation, change };
        match self.links.raft.order(leader, order, ORDER).await {
            Ok(_) => Ok(to),
            Err(error @ (OrderError::Refused(_) | OrderError::NotCaughtUp { .. })) => {
                Err(ControlError::Conflict(error.to_string()))
            }
            // Leadership may have moved all the same.
            Err(OrderError::Unknown(_)) => Err(ControlError::Unknown),
            Err(error) => Err(ControlError::Unavailable(error.to_string())),
        }
    }

    async fn cut(&self, partition: PartitionId) -> Result<LogCutDocument, ControlError> {
        let node = self.links.raft.identity().id;
        let cut = self.links.raft.cut_log(partition, ORDER).await;
        let LogCut { snapshot, purged } = cut.map_err(|error| match error {
            LogCutError::NoReplica => ControlError::NotFound,
            LogCutError::Empty => ControlError::Conflict(error.to_string()),
            LogCutError::Late | LogCutError::Stopped => ControlError::Unknown,
        })?;
        tracing::info!(partition = partition.0, snapshot, purged, "the log was cut on order");
        Ok(LogCutDocument { node, snapshot, purged })
    }

    /// Has the directory remember a token. Right after a join its members change and its leader may, so
    /// that one try is not enough; a token promised twice is one that nobody has.
    async fn promise(
        &self,
        ctx: &RequestContext,
        secret_sha256: [u8; 32],
        new: &NewJoinToken,
        new_region: bool,
    ) -> Ordered<Timestamp> {
        let (began, mut uncertain) = (self.clock.monotonic(), false);
        loop {
            let left = self.left(ctx, began);
            let made = self
                .directory
                .create_token(&left, secret_sha256, &new.region, new_region, new.lifetime)
                .await;
            let error = match made {
                Ok(_) | Err(ExecuteError::Refused(_) | ExecuteError::IdempotencyMismatch) => return made,
                Err(error) => error,
            };
            uncertain |= matches!(error, ExecuteError::Unknown);
            if left.deadline <= TOKEN_AGAIN {
                return Err(if uncertain { ExecuteError::Unknown } else { error });
            }
            tracing::debug!(%error, "a join token could not be promised yet");
            tokio::time::sleep(TOKEN_AGAIN).await;
        }
    }

    /// A token is answered by nodes of its own region, since only they have the authority's key; one for
    /// a new region by the nodes of this one.
    async fn token(
        &self,
        ctx: RequestContext,
        new: NewJoinToken,
    ) -> Result<Written<JoinTokenDocument>, ControlError> {
        let began = self.clock.monotonic();
        let catalog = self.catalog().await?;
        let new_region = !catalog.regions.contains_key(&new.region);
        let contacted = if new_region { &self.membership.region } else { &new.region };
        let addresses: Vec<String> = catalog
            .members()
            .filter(|(_, node)| node.region == *contacted && node.duty == Duty::Active)
            .map(|(_, node)| node.peer_address.clone())
            .take(TOKEN_ADDRESSES_MAX)
            .collect();
        if addresses.is_empty() {
            return Err(ControlError::Conflict(format!(
                "no active node of region {contacted} could admit one"
            )));
        }
        let authority = catalog.regions.get(contacted).and_then(|all| all.last());
        let authority = authority.ok_or_else(|| {
            ControlError::Unavailable("the region's authority is not known here yet".to_owned())
        })?;
        let authority = AuthorityCertificate::from_der(authority)
            .map_err(|error| ControlError::Unavailable(chain(error)))?;
        let of_own_region = new.region == self.membership.region;
        let secret = self.secrets.of(&ctx, of_own_region, self.clock.as_ref());
        let hash = sha256(secret.as_slice());
        let promised = self.promise(&self.left(&ctx, began), hash, &new, new_region).await;
        let promised = promised.map_err(refused)?;
        if ctx.idempotency.is_some() {
            self.check_usable(&hash, &promised).await?;
        }
        let expires_at = promised.reply;
        let token = JoinToken {
            cluster: self.membership.cluster.clone(),
            region: new.region.clone(),
            new_region,
            addresses,
            pin: authority.pin().0.to_vec(),
            secret: secret.to_vec(),
            expires_at,
        };
        let text = token
            .encode()
            .ok_or_else(|| ControlError::Unavailable("the token cannot be written".to_owned()))?;
        let reply = JoinTokenDocument {
            token: text.to_string(),
            region: new.region,
            expires_at: rfc3339(expires_at),
        };
        Ok(Written { reply, consistency: promised.consistency, replayed: promised.replayed })
    }

    /// The answer to an earlier request may be for a secret that nodes of another region derive, or that nobody
    /// does; and the one that is derived here for the same key may have been used since.
    async fn check_usable(&self, hash: &[u8; 32], promised: &Written<Timestamp>) -> Result<(), ControlError> {
        if promised.reply > self.clock.now() {
            let known = self.directory.knows_token(hash, promised.consistency).await;
            if known.map_err(ControlError::Unavailable)? {
                return Ok(());
            }
        }
        Err(ControlError::Conflict(
            "the token of this `Idempotency-Key` was told by a node of another region or for another region, has a \
             key of fewer than 16 bytes, was used, or is over: what was not received runs out by itself, and \
             another key makes another token"
                .to_owned(),
        ))
    }
}

/// Refuses to lose what the node's votes are needed for. The directory counts votes itself, but knows neither
/// who answers nor where a vote could go.
fn check_dispensable(catalog: &Catalog, seen: &Survey, node: NodeId, wanted: Duty) -> Result<(), String> {
    let gone = wanted == Duty::Decommissioned;
    if gone && let Some(id) = catalog.partitions.keys().find(|id| needs(catalog, seen, **id, node)) {
        return Err(format!(
            "partition {} would lose its quorum: too few of its other voters answer. Bring them back, or drain \
             node {} first",
            id.0, node.0
        ));
    }
    // Without one that does not answer nothing is lost that was not lost already.
    if gone && !matches!(seen.get(&node), Some(Asked::Told { .. })) {
        return Ok(());
    }
    for id in catalog.partitions.keys() {
        let replicas = replicas_of(seen, *id);
        let Some((_, word)) = best_word(&replicas) else { continue };
        if let Some(loss) = loss_without(&overview::situation(catalog, seen, word, None), node) {
            let way =
                if gone { ". Add one, or stop it first if it is lost anyway" } else { ". Add one first" };
            return Err(format!(
                "no other node can take the place of node {} in partition {}, which would come down to {loss}{way}",
                node.0, id.0
            ));
        }
    }
    Ok(())
}

/// Whether the voters of a partition that answer and stay are no majority without `node`, which has a vote.
fn needs(catalog: &Catalog, seen: &Survey, id: PartitionId, node: NodeId) -> bool {
    let replicas = replicas_of(seen, id);
    let Some((_, word)) = best_word(&replicas) else { return false };
    let stays = |voter: &NodeId| {
        *voter != node
            && replicas.iter().any(|(answering, _)| answering == voter)
            && catalog.nodes.get(voter).is_some_and(|known| known.duty != Duty::Decommissioned)
    };
    word.voters.contains(&node)
        && word.voters.iter().filter(|voter| stays(voter)).count() <= word.voters.len() / 2
}

fn refused(error: ExecuteError<ClusterRefusal>) -> ControlError {
    match error {
        ExecuteError::Refused(refusal @ (ClusterRefusal::Invalid { .. } | ClusterRefusal::Impossible(_))) => {
            ControlError::Invalid(refusal.to_string())
        }
        ExecuteError::Refused(refusal) => ControlError::Conflict(refusal.to_string()),
        ExecuteError::Unknown => ControlError::Unknown,
        ExecuteError::IdempotencyMismatch => ControlError::KeyUsed,
        ExecuteError::Unavailable { .. }
        | ExecuteError::NotLeader { .. }
        | ExecuteError::Overloaded(_)
        | ExecuteError::Fault(_)
        | ExecuteError::TenantErased
        | ExecuteError::KeyGone => ControlError::Unavailable(error.to_string()),
    }
}

impl ClusterControl for Control {
    fn overview(&self) -> BoxFuture<'_, ClusterDocument> {
        Box::pin(async move {
            let catalog = self.catalog().await.unwrap_or_default();
            let seen = survey(&self.links, self.clock.as_ref(), &catalog, ANSWER).await;
            let own = self.links.raft.identity().id;
            overview::document(&self.membership.cluster, own, &catalog, &seen)
        })
    }

    fn set_duty(
        &self,
        ctx: RequestContext,
        node: NodeId,
        duty: WantedDuty,
    ) -> BoxFuture<'_, Result<Written<()>, ControlError>> {
        Box::pin(self.duty(ctx, node, duty))
    }

    fn transfer_leader(
        &self,
        partition: PartitionId,
        to: Option<NodeId>,
    ) -> BoxFuture<'_, Result<NodeId, ControlError>> {
        Box::pin(self.transfer(partition, to))
    }

    fn cut_log(&self, partition: PartitionId) -> BoxFuture<'_, Result<LogCutDocument, ControlError>> {
        Box::pin(self.cut(partition))
    }

    fn digest(&self, partition: PartitionId) -> BoxFuture<'_, Result<ReplicaDigestDocument, ControlError>> {
        Box::pin(replica_digest::of(&self.links.raft, partition))
    }

    fn create_join_token(
        &self,
        ctx: RequestContext,
        new: NewJoinToken,
    ) -> BoxFuture<'_, Result<Written<JoinTokenDocument>, ControlError>> {
        Box::pin(self.token(ctx, new))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domicile_iam::streams::cluster::check_name;
    use domicile_raft::placement::GroupSettings;
    use domicile_raft::{PartitionStatus, TimerProfile};

    use super::*;
    use crate::cluster::catalog::{CatalogPartition, tests::node};
    use crate::cluster::messages::NodeReport;

    const HOME: PartitionId = PartitionId(4);

    /// So many nodes in a zone each; the first three vote.
    fn catalog(nodes: u64) -> Catalog {
        let home = CatalogPartition {
            placement: GroupSettings::anywhere(TimerProfile::Zone).placement,
            generation: 1,
            ready: true,
            founder: None,
            voters: [1, 2, 3].map(NodeId).into(),
            learners: BTreeSet::new(),
        };
        let zones = (1..=nodes).zip(["a", "b", "c", "d"]);
        Catalog {
            nodes: zones.map(|(id, zone)| (NodeId(id), node("eu", zone))).collect(),
            partitions: [(HOME, home)].into(),
            ..Catalog::default()
        }
    }

    fn seen(nodes: u64, silent: &[u64]) -> Survey {
        let word = PartitionStatus {
            leader: Some(NodeId(1)),
            voters: [1, 2, 3].map(NodeId).into(),
            settings: Some(GroupSettings::anywhere(TimerProfile::Zone)),
            ..PartitionStatus::new(HOME)
        };
        let asked = |id: u64| {
            if silent.contains(&id) {
                return Asked::Silent("silent".to_owned());
            }
            let partitions = if id <= 3 { vec![word.clone()] } else { Vec::new() };
            let report = NodeReport { partitions, ..NodeReport::default() };
            Asked::Told { report, round_trip: Duration::ZERO }
        };
        (1..=nodes).map(|id| (NodeId(id), asked(id))).collect()
    }

    #[test]
    fn a_value_that_breaks_a_rule_is_told_from_a_state_that_does_not_allow_it() {
        let name = check_name("region", "Bad Region!").unwrap_err();
        assert!(
            matches!(refused(ExecuteError::Refused(name)), ControlError::Invalid(text) if text.contains("region"))
        );
        let gone = refused(ExecuteError::Refused(ClusterRefusal::NodeGone));
        assert_eq!(gone, ControlError::Conflict(ClusterRefusal::NodeGone.to_string()));
    }

    #[test]
    fn a_node_whose_place_nobody_can_take_is_not_sent_away() {
        for wanted in [Duty::Draining, Duty::Decommissioned] {
            let refused = check_dispensable(&catalog(3), &seen(3, &[]), NodeId(2), wanted).unwrap_err();
            assert!(refused.contains("the place of node 2 in partition 4"), "{refused}");
            assert!(refused.contains("tolerance none with 2 of its 3 voters, 1 zone before"), "{refused}");
            assert_eq!(check_dispensable(&catalog(4), &seen(4, &[]), NodeId(2), wanted), Ok(()));
            assert_eq!(check_dispensable(&catalog(4), &seen(4, &[]), NodeId(4), wanted), Ok(()));
        }
    }

    #[test]
    fn a_node_that_is_lost_can_be_given_up_while_the_others_have_a_quorum() {
        let gone = Duty::Decommissioned;
        assert_eq!(check_dispensable(&catalog(3), &seen(3, &[3]), NodeId(3), gone), Ok(()));
        let refused = check_dispensable(&catalog(3), &seen(3, &[3]), NodeId(2), gone).unwrap_err();
        assert!(refused.contains("would lose its quorum"), "{refused}");
    }
}
