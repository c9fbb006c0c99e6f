//! What operators ask of the cluster through any node's admin API.

use std::sync::Arc;
use std::time::Duration;

use domicile_iam::model::NodeState;
use domicile_raft::peer::tls::AuthorityCertificate;
use domicile_raft::placement::Duty;
use domicile_raft::{BoxFuture, Change, Clock, NodeId, Order, OrderError, PartitionId, Timestamp};

use super::catalog::Catalog;
use super::directory::{Directory, DirectoryError};
use super::files::Membership;
use super::join_desk::sha256;
use super::links::Links;
use super::overview::{self, Survey, best_word, replicas_of};
use super::service::chain;
use super::survey::survey;
use super::token::JoinToken;
use crate::admin::{
    ClusterControl, ClusterDocument, ControlError, JoinTokenDocument, NewJoinToken, WantedDuty, rfc3339,
};

/// How long an overview waits for nodes.
const ANSWER: Duration = Duration::from_secs(1);
/// From the request's arrival at the directory's leader; it has 4.8 s from its arrival anywhere.
const ORDER: Duration = Duration::from_millis(3_500);
/// How long a join token is tried for, and the wait between two tries.
const TOKEN: Duration = Duration::from_secs(4);
const TOKEN_AGAIN: Duration = Duration::from_millis(200);
/// Addresses in a token: more would make it long, fewer could be down.
const TOKEN_ADDRESSES_MAX: usize = 5;

/// The cluster's [`ClusterControl`].
pub(crate) struct Control {
    pub(crate) membership: Membership,
    pub(crate) directory: Directory,
    pub(crate) links: Arc<Links>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Control {
    async fn catalog(&self) -> Result<Catalog, ControlError> {
        self.directory.catalog().await.map_err(ControlError::Unavailable)
    }

    async fn duty(&self, node: NodeId, duty: WantedDuty) -> Result<(), ControlError> {
        let state = match duty {
            WantedDuty::Active => NodeState::Active,
            WantedDuty::Draining => NodeState::Draining,
            WantedDuty::Decommissioned => NodeState::Decommissioned,
        };
        if !self.catalog().await?.nodes.contains_key(&node) {
            return Err(ControlError::NotFound);
        }
        if duty == WantedDuty::Decommissioned {
            self.check_dispensable(node).await?;
        }
        self.directory.set_state(node, state).await.map_err(refused)
    }

    /// Refuses to lose the node's vote where those that are left and answer are no majority. The directory
    /// counts votes itself, but does not know who answers.
    async fn check_dispensable(&self, node: NodeId) -> Result<(), ControlError> {
        let catalog = self.catalog().await?;
        let seen = survey(&self.links, self.clock.as_ref(), &catalog, ANSWER).await;
        match catalog.partitions.keys().find(|id| needs(&catalog, &seen, **id, node)) {
            None => Ok(()),
            Some(id) => Err(ControlError::Conflict(format!(
                "partition {} would lose its quorum: too few of its other voters answer. Bring them back, or \
                 drain node {} first",
                id.0, node.0
            ))),
        }
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
            Err(error) => Err(ControlError::Unavailable(error.to_string())),
        }
    }

    /// Has the directory remember a token. Right after a join its members change and its leader may, so
    /// that one try is not enough; a token promised twice is one that nobody has.
    async fn promise(
        &self,
        secret_sha256: [u8; 32],
        new: &NewJoinToken,
        new_region: bool,
    ) -> Result<Timestamp, DirectoryError> {
        let began = self.clock.monotonic();
        loop {
            let made =
                self.directory.create_token(secret_sha256, &new.region, new_region, new.lifetime).await;
            let spent = self.clock.monotonic().saturating_sub(began);
            match made {
                Err(DirectoryError::Unavailable(reason)) if spent < TOKEN => {
                    tracing::debug!(reason, "a join token could not be promised yet");
                    tokio::time::sleep(TOKEN_AGAIN).await;
                }
                made => return made,
            }
        }
    }

    /// A token is answered by nodes of its own region, since only they have the authority's key; one for
    /// a new region by the nodes of this one.
    async fn token(&self, new: NewJoinToken) -> Result<JoinTokenDocument, ControlError> {
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
        let mut secret = vec![0_u8; 32];
        self.clock.fill_random(&mut secret);
        let expires_at = self.promise(sha256(&secret), &new, new_region).await.map_err(refused)?;
        let token = JoinToken {
            cluster: self.membership.cluster.clone(),
            region: new.region.clone(),
            new_region,
            addresses,
            pin: authority.pin().0.to_vec(),
            secret,
            expires_at,
        };
        let text = token
            .encode()
            .ok_or_else(|| ControlError::Unavailable("the token cannot be written".to_owned()))?;
        Ok(JoinTokenDocument { token: text.to_string(), region: new.region, expires_at: rfc3339(expires_at) })
    }
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

fn refused(error: DirectoryError) -> ControlError {
    match error {
        DirectoryError::Refused(reason) => ControlError::Conflict(reason),
        DirectoryError::Unavailable(reason) => ControlError::Unavailable(reason),
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

    fn set_duty(&self, node: NodeId, duty: WantedDuty) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(self.duty(node, duty))
    }

    fn transfer_leader(
        &self,
        partition: PartitionId,
        to: Option<NodeId>,
    ) -> BoxFuture<'_, Result<NodeId, ControlError>> {
        Box::pin(self.transfer(partition, to))
    }

    fn create_join_token(&self, new: NewJoinToken) -> BoxFuture<'_, Result<JoinTokenDocument, ControlError>> {
        Box::pin(self.token(new))
    }
}
