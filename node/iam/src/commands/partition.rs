//! Partitions: asked for by placement, made by the controller, on the directory.

use std::collections::BTreeSet;

use domicile_raft::placement::{Placement, Regions, check, check_named};
use domicile_raft::{Incarnation, NodeId, PartitionId};
use serde::{Deserialize, Serialize};

use super::ClusterRefusal;
use super::cluster::{
    Decided, NODES, PARTITIONS, REGIONS, existing, next_number, refuse, tenants_of, unreadable, written,
};
use crate::execute::{
    Command, DecideError, Decision, Draft, Fresh, LatchKey, LatchSet, ReadFault, Reads, Scope,
};
use crate::ids::PartitionStreamId;
use crate::model::{MemberHints, PartitionState};
use crate::projections::Projection;
use crate::query::cluster as views;
use crate::streams::StreamRef;
use crate::streams::cluster::{
    Cluster, ClusterPartition, ClusterPartitionEvent, PartitionRequested, broken_promise, cluster_stream,
    decide_founder, decide_members, decide_placement, decide_ready, normal_placement, partition_stream,
};
use crate::streams::directory::{DirectoryEntry, EntryPhase};

/// Partitions that are asked for and not made yet.
const WANTED_MAX: usize = 16;

fn known_regions(reads: &mut Reads<'_>) -> Result<BTreeSet<String>, DecideError<ClusterRefusal>> {
    reads.range(REGIONS)?;
    let regions = views::regions(reads.engine()).map_err(|error| unreadable(&error))?;
    Ok(regions.into_iter().map(|region| region.name).collect())
}

/// Whether the cluster there is can give a placement.
pub(super) fn feasible(
    reads: &mut Reads<'_>,
    placement: &Placement,
) -> Result<(), DecideError<ClusterRefusal>> {
    let regions = known_regions(reads)?;
    reads.range(NODES)?;
    let nodes = views::nodes(reads.engine()).map_err(|error| unreadable(&error))?;
    check(placement, &regions, &views::plan_nodes(&nodes))
        .map_err(|reason| DecideError::Refused(ClusterRefusal::Impossible(reason.to_string())))
}

/// A partition of a placement class, and whether it takes tenants yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionChoice {
    /// Which.
    pub partition: PartitionId,
    /// How far its making came.
    pub state: PartitionState,
}

/// The partition of a placement class: the one there is, or a new one that the controller makes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RequestPartition {
    /// The class: equal placements share a partition.
    pub placement: Placement,
    /// Refuse a placement that the nodes there are cannot give. If off, that is passed over for the first
    /// home of a cluster that is being made; never for one that another node asks for.
    pub must_be_possible: bool,
    /// Nobody asked for this placement: it is the cluster's default, and the partition there is of it will do
    /// as it is.
    #[serde(default)]
    pub by_default: bool,
}

impl Command for RequestPartition {
    type Reply = PartitionChoice;
    type Refusal = ClusterRefusal;
    const NAME: &'static str = "partition.request";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<PartitionChoice> {
        let Some(cluster) = reads.stream::<Cluster>(cluster_stream())? else {
            return refuse(ClusterRefusal::NotInitialised);
        };
        let placement = normal_placement(&self.placement).map_err(DecideError::Refused)?;
        reads.range(PARTITIONS)?;
        let all = views::partitions(reads.engine()).map_err(|error| unreadable(&error))?;
        let mut homes = all.iter().filter(|known| known.id != PartitionId::DIRECTORY);
        let same = homes
            .clone()
            .filter(|known| known.placement == placement)
            .min_by_key(|known| (known.state != PartitionState::Ready, known.id));
        // The first home is made before there are the nodes that it wants, and takes who wants nothing. What
        // is asked for is to be had, also where a partition was promised it once.
        let unasked = self.by_default && placement == cluster.state.default_placement;
        let as_it_is = same.is_some() && (unasked || !self.must_be_possible);
        if !as_it_is && (self.must_be_possible || homes.next().is_some()) {
            feasible(reads, &placement)?;
        }
        if let Some(known) = same {
            return Ok(Decision::Answer(PartitionChoice { partition: known.id, state: known.state }));
        }
        let wanted = all.iter().filter(|known| known.state == PartitionState::Wanted).count();
        if wanted >= WANTED_MAX {
            let reason = format!("{wanted} partitions are being made: come again later");
            return refuse(ClusterRefusal::Impossible(reason));
        }
        let number = next_number::<PartitionStreamId>(reads, PARTITIONS, Projection::ClusterPartitions)?;
        let partition = PartitionId(number);
        let requested = PartitionRequested { incarnation: Incarnation(1), placement, generation: 1 };
        let mut draft = Draft::new();
        draft.append::<ClusterPartition>(
            partition_stream(partition),
            0,
            ClusterPartitionEvent::Requested(requested),
        );
        draft.touch_range(PARTITIONS);
        Ok(Decision::Propose(draft, PartitionChoice { partition, state: PartitionState::Wanted }))
    }
}

/// The controller made it: it takes tenants.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadyPartition {
    /// Which.
    pub partition: PartitionId,
    /// Of the placement that it was made for.
    pub generation: u64,
    /// Its members.
    pub members: MemberHints,
}

impl Command for ReadyPartition {
    type Reply = ();
    type Refusal = ClusterRefusal;
    const NAME: &'static str = "partition.ready";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let id = partition_stream(self.partition);
        let found = existing::<ClusterPartition>(reads, id, "partition")?;
        let event =
            decide_ready(&found.state, self.generation, &self.members).map_err(DecideError::Refused)?;
        Ok(written::<ClusterPartition>(id, found.version, event, Some(PARTITIONS)))
    }
}

/// Chooses the node that founds a partition; answers with the one chosen before, if there is one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChooseFounder {
    /// Which partition.
    pub partition: PartitionId,
    /// Of the placement that the choice was made for.
    pub generation: u64,
    /// Which node.
    pub node: NodeId,
}

impl Command for ChooseFounder {
    type Reply = NodeId;
    type Refusal = ClusterRefusal;
    const NAME: &'static str = "partition.founder.choose";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<NodeId> {
        let id = partition_stream(self.partition);
        let found = existing::<ClusterPartition>(reads, id, "partition")?;
        let (founder, event) = decide_founder(&found.state, self.node);
        let Some(event) = event else { return Ok(Decision::Answer(founder)) };
        if found.state.generation != self.generation {
            return refuse(ClusterRefusal::StaleGeneration { current: found.state.generation });
        }
        if found.state.state == PartitionState::Ready {
            return refuse(ClusterRefusal::Impossible("the partition was founded already".to_owned()));
        }
        let mut draft = Draft::new();
        draft.append::<ClusterPartition>(id, found.version, event);
        draft.touch_range(PARTITIONS);
        Ok(Decision::Propose(draft, founder))
    }
}

/// The controller saw other members.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordMembers {
    /// Which.
    pub partition: PartitionId,
    /// Of the placement that they are for.
    pub generation: u64,
    /// Its members.
    pub members: MemberHints,
}

impl Command for RecordMembers {
    type Reply = ();
    type Refusal = ClusterRefusal;
    const NAME: &'static str = "partition.members.record";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let id = partition_stream(self.partition);
        let found = existing::<ClusterPartition>(reads, id, "partition")?;
        let event =
            decide_members(&found.state, self.generation, &self.members).map_err(DecideError::Refused)?;
        Ok(written::<ClusterPartition>(id, found.version, event, Some(PARTITIONS)))
    }
}

/// What the tenants inside allow. Each keeps what it was promised: its partition may be in fewer regions and
/// survive more than it asked for, never the other way round.
fn tenants_allow(
    reads: &mut Reads<'_>,
    partition: PartitionId,
    before: &Placement,
    wanted: &Placement,
) -> Result<(), DecideError<ClusterRefusal>> {
    // A name whose reservation is still on its way here may be applied first.
    reads.range(tenants_of(partition))?;
    let tenants = views::tenants(reads.engine()).map_err(|error| unreadable(&error))?;
    for tenant in tenants.iter().filter(|tenant| tenant.home == partition) {
        let promised = match &tenant.phase {
            EntryPhase::Released => continue,
            // What it asked for is known at its home only; it covers what the partition has.
            EntryPhase::Reserved { .. } => Some(before.clone()),
            EntryPhase::Active { signed, .. } => {
                let entry = DirectoryEntry::decode(&signed.entry).map_err(ReadFault::from)?;
                entry.placement
            }
        };
        if let Some(broken) = promised.and_then(|promised| broken_promise(wanted, &promised)) {
            return refuse(ClusterRefusal::Impossible(format!("tenant `{}` {broken}", tenant.slug)));
        }
    }
    Ok(())
}

/// Another placement is wanted of a partition; raises its generation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChangePlacement {
    /// Which.
    pub partition: PartitionId,
    /// The generation that the caller saw.
    pub generation: u64,
    /// What is wanted.
    pub placement: Placement,
}

impl Command for ChangePlacement {
    type Reply = ();
    type Refusal = ClusterRefusal;
    const NAME: &'static str = "partition.placement.change";

    /// Alone from the start: a name that is being reserved here holds the partition shared until it is listed
    /// among the tenants. One whose outcome was not learnt in time holds nothing: it moves the range that is read.
    fn latches(&self, scope: &Scope<'_>) -> LatchSet {
        let partition = StreamRef::of::<ClusterPartition>(partition_stream(self.partition));
        LatchSet::default().exclusive(LatchKey::Stream(scope.tenant(), partition))
    }

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let id = partition_stream(self.partition);
        let found = existing::<ClusterPartition>(reads, id, "partition")?;
        let wanted = normal_placement(&self.placement).map_err(DecideError::Refused)?;
        if self.partition == PartitionId::DIRECTORY && wanted.regions != Regions::Any {
            let rule = "is not `any`: every node keeps the directory".to_owned();
            return refuse(ClusterRefusal::Invalid { field: "placement.regions".to_owned(), rule });
        }
        let event = decide_placement(&found.state, self.generation, &wanted).map_err(DecideError::Refused)?;
        if event.is_some() {
            let before = &found.state.placement;
            if before.regions == wanted.regions && before.survive == wanted.survive {
                // What it has and the nodes cannot give now is no reason to refuse another wish.
                let regions = known_regions(reads)?;
                check_named(&wanted, &regions)
                    .map_err(|reason| DecideError::Refused(ClusterRefusal::Impossible(reason.to_string())))?;
            } else {
                feasible(reads, &wanted)?;
            }
            tenants_allow(reads, self.partition, &found.state.placement, &wanted)?;
        }
        Ok(written::<ClusterPartition>(id, found.version, event, Some(PARTITIONS)))
    }
}
