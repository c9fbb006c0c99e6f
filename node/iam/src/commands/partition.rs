//! Partitions: asked for by placement, made by the controller, on the directory.

use std::collections::BTreeSet;

use domicile_raft::placement::{Placement, Regions, check};
use domicile_raft::{Incarnation, PartitionId};
use domicile_storage::codec::CodecError;
use serde::{Deserialize, Serialize};

use super::ClusterRefusal;
use super::cluster::{Decided, NODES, PARTITIONS, REGIONS, existing, next_number, refuse, written};
use crate::execute::{Command, DecideError, Decision, Draft, Fresh, ReadFault, Reads};
use crate::ids::PartitionStreamId;
use crate::model::{MemberHints, PartitionState};
use crate::projections::Projection;
use crate::query::{QueryError, cluster as views};
use crate::streams::cluster::{
    Cluster, ClusterPartition, ClusterPartitionEvent, PartitionRequested, check_name, cluster_stream,
    decide_members, decide_placement, decide_ready, partition_stream,
};

/// Regions that a placement can name.
const REGIONS_NAMED_MAX: usize = 64;

fn unreadable(error: &QueryError) -> ReadFault {
    ReadFault::from(CodecError::Malformed(error.to_string()))
}

/// Whether the cluster there is can give a placement.
fn feasible(reads: &mut Reads<'_>, placement: &Placement) -> Result<(), DecideError<ClusterRefusal>> {
    if let Regions::Only(named) = &placement.regions {
        if named.len() > REGIONS_NAMED_MAX {
            let rule = "names over 64 regions".to_owned();
            return refuse(ClusterRefusal::Invalid { field: "placement.regions".to_owned(), rule });
        }
        for region in named {
            check_name("placement.regions", region).map_err(DecideError::Refused)?;
        }
    }
    for region in placement.preferred_leader_regions.iter().take(REGIONS_NAMED_MAX) {
        check_name("placement.preferred_leader_regions", region).map_err(DecideError::Refused)?;
    }
    reads.range(REGIONS)?;
    reads.range(NODES)?;
    let regions = views::regions(reads.engine()).map_err(|error| unreadable(&error))?;
    let regions: BTreeSet<String> = regions.into_iter().map(|region| region.name).collect();
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
    /// Refuse a placement that the nodes there are cannot give. Off only while a cluster is made.
    pub must_be_possible: bool,
}

impl Command for RequestPartition {
    type Reply = PartitionChoice;
    type Refusal = ClusterRefusal;
    const NAME: &'static str = "partition.request";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<PartitionChoice> {
        if reads.stream::<Cluster>(cluster_stream())?.is_none() {
            return refuse(ClusterRefusal::NotInitialised);
        }
        reads.range(PARTITIONS)?;
        let all = views::partitions(reads.engine()).map_err(|error| unreadable(&error))?;
        let same = all
            .iter()
            .filter(|known| known.id != PartitionId::DIRECTORY && known.placement == self.placement)
            .min_by_key(|known| (known.state != PartitionState::Ready, known.id));
        if let Some(known) = same {
            return Ok(Decision::Answer(PartitionChoice { partition: known.id, state: known.state }));
        }
        if self.must_be_possible {
            feasible(reads, &self.placement)?;
        }
        let number = next_number::<PartitionStreamId>(reads, PARTITIONS, Projection::ClusterPartitions)?;
        let partition = PartitionId(number);
        let requested = PartitionRequested {
            incarnation: Incarnation(1),
            placement: self.placement.clone(),
            generation: 1,
        };
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

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let id = partition_stream(self.partition);
        let found = existing::<ClusterPartition>(reads, id, "partition")?;
        let event =
            decide_placement(&found.state, self.generation, &self.placement).map_err(DecideError::Refused)?;
        if event.is_some() {
            feasible(reads, &self.placement)?;
        }
        Ok(written::<ClusterPartition>(id, found.version, event, Some(PARTITIONS)))
    }
}
