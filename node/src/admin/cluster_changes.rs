//! What operators change of the cluster itself: its settings, a region's law, where a partition should be.
//!
//! The directory's leader carries these out, and writes them down under the operator's id and request.

use axum::extract::State;
use domicile_iam::commands::{ChangePlacement, ClusterRefusal, SetJurisdiction, UpdateCluster};
use domicile_iam::execute::ExecuteError;
use domicile_iam::model::{ClusterView, PartitionView, PlacementDocument as WantedPlacement, RegionsWanted};
use domicile_iam::query::Consistency;
use domicile_iam::streams::cluster::SettingsPatch;
use domicile_raft::PartitionId;
use domicile_raft::placement::{Impossible, Placement, Regions, SurvivalGoal};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::cluster::number;
use super::cluster_documents::PlacementDocument;
use super::error::{refused, unread};
use super::members::invalid;
use super::request::{Fresh, Segments, Write};
use super::state::AdminState;
use super::tenants::ATTEMPTS_MAX;
use crate::problem::Problem;

/// Members of a change of settings.
const SETTINGS: [&str; 3] = ["name", "dead_after_ms", "default_placement"];
/// Members of a change of placement.
const PLACEMENT: [&str; 4] = ["regions", "survive", "preferred_leader_regions", "read_replicas"];

/// The cluster's settings.
#[derive(Serialize, ToSchema)]
pub(super) struct ClusterSettingsDocument {
    /// Shown to operators.
    name: String,
    /// After so long a silence a node's replicas are made again elsewhere, in ms.
    dead_after_ms: u64,
    /// Where tenants go that ask for nothing.
    #[schema(value_type = Object)]
    default_placement: WantedPlacement,
    /// Grows with each change; also the entity tag.
    revision: u64,
}

impl From<ClusterView> for ClusterSettingsDocument {
    fn from(view: ClusterView) -> Self {
        let ClusterView { name, dead_after_ms, default_placement, revision, .. } = view;
        Self { name, dead_after_ms, default_placement: default_placement.into(), revision }
    }
}

/// As the directory is here, and no older than a write that the caller names: shown without a quorum too.
fn here(Fresh(wanted): Fresh) -> Consistency {
    if matches!(wanted, Consistency::AtLeast(_)) { wanted } else { Consistency::Local }
}

async fn settings(state: &AdminState, wanted: &Consistency) -> Result<ClusterSettingsDocument, Problem> {
    let view = state.iam.cluster(wanted).await.map_err(|error| unread(&error))?;
    view.map(ClusterSettingsDocument::from).ok_or_else(Problem::not_found)
}

async fn partition(
    state: &AdminState,
    id: PartitionId,
    wanted: &Consistency,
) -> Result<PartitionView, Problem> {
    let all = state.iam.partitions(wanted).await.map_err(|error| unread(&error))?;
    all.into_iter().find(|partition| partition.id == id).ok_or_else(Problem::not_found)
}

/// What was read of a write that was done: one that cannot be shown must not be called not done.
fn after_writing<T>(read: Result<T, Problem>) -> Result<T, Problem> {
    read.map_err(|_| refused(&ExecuteError::<ClusterRefusal>::Unknown))
}

/// Shows the cluster's settings
#[utoipa::path(
    get, path = "/cluster/settings", tag = "cluster",
    responses((status = 200, body = ClusterSettingsDocument))
)]
pub(super) async fn get_cluster_settings(
    State(state): State<AdminState>,
    fresh: Fresh,
) -> Result<Answer<ClusterSettingsDocument>, Problem> {
    let document = settings(&state, &here(fresh)).await?;
    let revision = document.revision;
    Ok(Answer::ok(document).revision(revision))
}

/// Changes the cluster's settings
///
/// Absent members stay as they are. 422 with the reason for a default placement that the nodes there are cannot
/// give. Tenants that there are stay where they are.
#[utoipa::path(
    patch, path = "/cluster/settings", tag = "cluster",
    request_body(content = ref("#/components/schemas/ClusterSettingsChange"), content_type = "application/json"),
    responses((status = 200, body = ClusterSettingsDocument))
)]
pub(super) async fn update_cluster_settings(
    State(state): State<AdminState>,
    write: Write,
) -> Result<Answer<ClusterSettingsDocument>, Problem> {
    let mut members = write.members()?;
    let name = members.not_null("name", "a string")?;
    let dead_after_ms = members.not_null("dead_after_ms", "a number of milliseconds")?;
    let default_placement: Option<WantedPlacement> = members.not_null("default_placement", "a placement")?;
    members.finish(SETTINGS)?;
    let default_placement = default_placement.map(Placement::from);
    let patch = SettingsPatch { name, dead_after_ms, default_placement, public_origin: None };
    let update = UpdateCluster { patch, if_revision: write.if_revision };
    let written = state.iam.directory(&write.context_without_tenant(), &update).await;
    let written = written.map_err(|error| refused(&error))?;
    let seen = Consistency::AtLeast(written.consistency);
    let document = after_writing(settings(&state, &seen).await)?;
    let revision = document.revision;
    Ok(Answer::ok(document).revision(revision).written(&written))
}

/// Changes a region
///
/// Whose law holds there: what its first node said, until this. No replica moves for it.
#[utoipa::path(
    patch, path = "/regions/{name}", tag = "cluster",
    request_body(content = ref("#/components/schemas/RegionChange"), content_type = "application/json"),
    responses((status = 204))
)]
pub(super) async fn update_region(
    State(state): State<AdminState>,
    Segments(region): Segments<String>,
    write: Write,
) -> Result<Answer<()>, Problem> {
    let mut members = write.members()?;
    let jurisdiction: String = members.required("jurisdiction", "a string")?;
    members.finish(["jurisdiction"])?;
    write.unconditional()?;
    let command = SetJurisdiction { region, jurisdiction };
    let written = state.iam.directory(&write.context_without_tenant(), &command).await;
    Ok(Answer::done(&written.map_err(|error| refused(&error))?))
}

/// Shows the placement that is wanted of a partition
///
/// The partition itself shows the one in force; the controller brings it here step by step.
#[utoipa::path(
    get, path = "/partitions/{id}/placement", tag = "cluster",
    responses((status = 200, body = PlacementDocument))
)]
pub(super) async fn get_placement(
    State(state): State<AdminState>,
    Segments(id): Segments<String>,
    fresh: Fresh,
) -> Result<Answer<PlacementDocument>, Problem> {
    let view = partition(&state, PartitionId(number(&id)?), &here(fresh)).await?;
    let document = PlacementDocument::of(&view.placement, view.generation);
    Ok(Answer::ok(document).revision(view.generation))
}

/// Changes the placement that is wanted of a partition
///
/// Within its regions: where its leader should be, what it survives, and whether it has read replicas. Absent
/// members stay as they are. It holds for every tenant inside; none gets less than it was promised. The entity
/// tag is the generation.
#[utoipa::path(
    patch, path = "/partitions/{id}/placement", tag = "cluster",
    request_body(content = ref("#/components/schemas/PlacementChange"), content_type = "application/json"),
    responses((status = 200, body = PlacementDocument))
)]
pub(super) async fn update_placement(
    State(state): State<AdminState>,
    Segments(id): Segments<String>,
    write: Write,
) -> Result<Answer<PlacementDocument>, Problem> {
    let id = PartitionId(number(&id)?);
    let change = PlacementChange::of(&write)?;
    let context = write.context_without_tenant();
    for _ in 0..ATTEMPTS_MAX {
        let current = partition(&state, id, &Consistency::Linearizable).await?;
        let placement = change.on(&current)?;
        // A repeat with its key is answered before generations are compared.
        let generation = write.if_revision.unwrap_or(current.generation);
        let command = ChangePlacement { partition: id, generation, placement };
        match state.iam.directory(&context, &command).await {
            Ok(written) => {
                let seen = Consistency::AtLeast(written.consistency);
                let view = after_writing(partition(&state, id, &seen).await)?;
                let document = PlacementDocument::of(&view.placement, view.generation);
                return Ok(Answer::ok(document).revision(view.generation).written(&written));
            }
            Err(ExecuteError::Refused(ClusterRefusal::StaleGeneration { .. }))
                if write.if_revision.is_none() => {}
            Err(error) => return Err(refused(&error)),
        }
    }
    Err(Problem::conflict("it keeps changing; try again"))
}

/// What is to be another than it is.
struct PlacementChange {
    regions: Option<Regions>,
    survive: Option<SurvivalGoal>,
    preferred_leader_regions: Option<Vec<String>>,
    read_replicas: Option<bool>,
}

impl PlacementChange {
    fn of(write: &Write) -> Result<Self, Problem> {
        let mut members = write.members()?;
        let regions: Option<RegionsWanted> = members.not_null("regions", "`any` or a list of regions")?;
        let change = Self {
            regions: regions.map(|regions| match regions {
                RegionsWanted::Word(_) => Regions::Any,
                RegionsWanted::List(named) => Regions::Only(named),
            }),
            survive: members.not_null("survive", "`zone` or `region`")?,
            preferred_leader_regions: members.not_null("preferred_leader_regions", "a list of regions")?,
            read_replicas: members.not_null("read_replicas", "a boolean")?,
        };
        members.finish(PLACEMENT)?;
        Ok(change)
    }

    /// The whole placement, made of what is and what is wanted.
    fn on(&self, current: &PartitionView) -> Result<Placement, Problem> {
        let before = &current.placement;
        if self.regions.as_ref().is_some_and(|regions| *regions != before.regions) {
            return Err(invalid("regions", "stays as it is: moving to other regions comes later"));
        }
        let placement = Placement {
            regions: before.regions.clone(),
            survive: self.survive.unwrap_or(before.survive),
            preferred_leader_regions: self
                .preferred_leader_regions
                .clone()
                .unwrap_or_else(|| before.preferred_leader_regions.clone()),
            read_replicas: self.read_replicas.unwrap_or(before.read_replicas),
        };
        let outside = placement.preferred_leader_regions.iter().find(|region| !placement.allows(region));
        if let Some(outside) = outside {
            let reason = Impossible::PreferredOutside(outside.clone()).to_string();
            return Err(Problem::unprocessable(reason).with("member", "preferred_leader_regions"));
        }
        let is_directory = current.id == PartitionId::DIRECTORY;
        if is_directory && placement.survive != before.survive {
            return Err(invalid("survive", "of the directory stays as it is: it survives what it can"));
        }
        if is_directory && placement.read_replicas != before.read_replicas {
            return Err(invalid("read_replicas", "of the directory stays as it is: every node keeps it"));
        }
        Ok(placement)
    }
}

#[cfg(test)]
mod tests {
    use domicile_iam::model::{MemberHints, PartitionState};
    use domicile_raft::Incarnation;

    use super::*;

    const NOTHING: PlacementChange =
        PlacementChange { regions: None, survive: None, preferred_leader_regions: None, read_replicas: None };

    fn only(regions: &[&str]) -> Regions {
        Regions::Only(regions.iter().map(|region| (*region).to_owned()).collect())
    }

    fn view(id: u64) -> PartitionView {
        PartitionView {
            id: PartitionId(id),
            incarnation: Incarnation(1),
            placement: Placement {
                regions: only(&["eu", "us"]),
                survive: SurvivalGoal::Zone,
                preferred_leader_regions: vec!["eu".to_owned()],
                read_replicas: false,
            },
            generation: 3,
            state: PartitionState::Ready,
            members: MemberHints::default(),
            founder: None,
            revision: 9,
        }
    }

    fn refusal(change: &PlacementChange, id: u64) -> String {
        let problem = change.on(&view(id)).unwrap_err();
        assert_eq!(problem.status().as_u16(), 422);
        serde_json::to_value(problem).unwrap()["detail"].as_str().unwrap().to_owned()
    }

    #[test]
    fn what_a_change_leaves_out_stays_as_it_is() {
        let before = view(4).placement;
        assert_eq!(NOTHING.on(&view(4)).unwrap(), before);
        let named = PlacementChange { regions: Some(only(&["us", "eu"])), ..NOTHING };
        assert_eq!(named.on(&view(4)).unwrap(), before);
        let led = PlacementChange { preferred_leader_regions: Some(vec!["us".to_owned()]), ..NOTHING };
        let wanted = Placement { preferred_leader_regions: vec!["us".to_owned()], ..before.clone() };
        assert_eq!(led.on(&view(4)).unwrap(), wanted);
        let more = PlacementChange {
            survive: Some(SurvivalGoal::Region),
            read_replicas: Some(true),
            preferred_leader_regions: Some(Vec::new()),
            ..NOTHING
        };
        let wanted = Placement {
            survive: SurvivalGoal::Region,
            read_replicas: true,
            preferred_leader_regions: Vec::new(),
            ..before
        };
        assert_eq!(more.on(&view(4)).unwrap(), wanted);
    }

    #[test]
    fn other_regions_are_refused_with_the_reason() {
        for regions in [Regions::Any, only(&["eu"]), only(&["eu", "us", "ap"])] {
            let moved = PlacementChange { regions: Some(regions), ..NOTHING };
            assert!(refusal(&moved, 4).ends_with("moving to other regions comes later"));
        }
        let outside = PlacementChange { preferred_leader_regions: Some(vec!["ap".to_owned()]), ..NOTHING };
        assert!(refusal(&outside, 4).contains("not among the placement's regions"));
    }

    #[test]
    fn of_the_directory_only_the_leaders_region_can_be_wished() {
        let led = PlacementChange { preferred_leader_regions: Some(vec!["us".to_owned()]), ..NOTHING };
        assert!(led.on(&view(0)).is_ok());
        let goal = PlacementChange { survive: Some(SurvivalGoal::Region), ..NOTHING };
        assert!(refusal(&goal, 0).contains("survives what it can"));
        let readers = PlacementChange { read_replicas: Some(true), ..NOTHING };
        assert!(refusal(&readers, 0).contains("every node keeps it"));
    }
}
