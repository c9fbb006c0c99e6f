//! The cluster's settings.

use domicile_raft::Timestamp;
use domicile_raft::placement::{Placement, Regions, SurvivalGoal};
use serde::{Deserialize, Serialize};

use super::aggregate;
use crate::commands::ClusterRefusal;
use crate::ids::ClusterStreamId;
use crate::streams::event_set::{Change, Payload, event_set};

/// Bounds of `dead_after`, milliseconds: 5 s, as at `init`, to 7 days.
const DEAD_AFTER_MS: std::ops::RangeInclusive<u64> = 5_000..=7 * 24 * 3_600_000;

event_set! {
    /// Events of the cluster's settings.
    ClusterEvent {
        /// The cluster exists from here on.
        Initialised(ClusterInitialised) => "cluster.initialised", 1;
        /// Other settings.
        SettingsChanged(ClusterSettingsChanged) => "cluster.settings.changed", 1;
    }
}

/// `cluster.initialised`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterInitialised {
    /// The trust domain of its certificates.
    pub cluster_id: String,
    /// Shown to operators.
    pub name: String,
    /// Origin of issuers that are given none.
    pub public_origin: String,
    /// Where tenants go that ask for nothing.
    pub default_placement: Placement,
    /// Milliseconds of silence after which a node counts as dead.
    pub dead_after_ms: u64,
}

impl Payload for ClusterInitialised {}

/// `cluster.settings.changed`: only what changed is present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSettingsChanged {
    /// Shown to operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Change<String>>,
    /// Origin of issuers that are given none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_origin: Option<Change<String>>,
    /// Where tenants go that ask for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_placement: Option<Change<Placement>>,
    /// Milliseconds of silence after which a node counts as dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_after_ms: Option<Change<u64>>,
}

impl Payload for ClusterSettingsChanged {}

/// The cluster's settings as their events made them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// The trust domain of its certificates.
    pub cluster_id: String,
    /// Shown to operators.
    pub name: String,
    /// Origin of issuers that are given none.
    pub public_origin: String,
    /// Where tenants go that ask for nothing.
    pub default_placement: Placement,
    /// Milliseconds of silence after which a node counts as dead.
    pub dead_after_ms: u64,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Cluster {
    pub(crate) fn evolve(state: Option<Self>, event: &ClusterEvent, at: Timestamp) -> Self {
        let mut cluster = state.unwrap_or_else(|| Self {
            cluster_id: String::new(),
            name: String::new(),
            public_origin: String::new(),
            default_placement: Placement {
                regions: Regions::Any,
                survive: SurvivalGoal::Zone,
                preferred_leader_regions: Vec::new(),
                read_replicas: false,
            },
            dead_after_ms: *DEAD_AFTER_MS.end(),
            created_at: at,
        });
        match event {
            ClusterEvent::Initialised(made) => {
                cluster.cluster_id.clone_from(&made.cluster_id);
                cluster.name.clone_from(&made.name);
                cluster.public_origin.clone_from(&made.public_origin);
                cluster.default_placement = made.default_placement.clone();
                cluster.dead_after_ms = made.dead_after_ms;
            }
            ClusterEvent::SettingsChanged(changed) => {
                if let Some(change) = &changed.name {
                    cluster.name.clone_from(&change.after);
                }
                if let Some(change) = &changed.public_origin {
                    cluster.public_origin.clone_from(&change.after);
                }
                if let Some(change) = &changed.default_placement {
                    cluster.default_placement = change.after.clone();
                }
                if let Some(change) = &changed.dead_after_ms {
                    cluster.dead_after_ms = change.after;
                }
            }
        }
        cluster
    }
}

aggregate!(Cluster, Cluster, ClusterStreamId, ClusterEvent);

/// Other settings; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsPatch {
    /// Shown to operators.
    pub name: Option<String>,
    /// Origin of issuers that are given none.
    pub public_origin: Option<String>,
    /// Where tenants go that ask for nothing.
    pub default_placement: Option<Placement>,
    /// Milliseconds of silence after which a node counts as dead: 5 s to 7 days.
    pub dead_after_ms: Option<u64>,
}

/// Changes settings; `None` if nothing differs.
///
/// # Errors
/// [`ClusterRefusal::Invalid`].
pub fn decide_settings(
    cluster: &Cluster,
    patch: &SettingsPatch,
) -> Result<Option<ClusterEvent>, ClusterRefusal> {
    let invalid = |field: &str, rule: &str| {
        Err(ClusterRefusal::Invalid { field: field.to_owned(), rule: rule.to_owned() })
    };
    if patch.dead_after_ms.is_some_and(|ms| !DEAD_AFTER_MS.contains(&ms)) {
        return invalid("dead_after_ms", "is not 5 s to 7 days");
    }
    if patch.name.as_ref().is_some_and(|name| name.is_empty() || name.len() > 200) {
        return invalid("name", "is not 1 to 200 bytes");
    }
    if patch.public_origin.as_ref().is_some_and(|origin| origin.is_empty() || origin.len() > 255) {
        return invalid("public_origin", "is not 1 to 255 bytes");
    }
    let between = |before: &String, after: &Option<String>| {
        after.clone().and_then(|after| Change::between(before.clone(), after))
    };
    let changed = ClusterSettingsChanged {
        name: between(&cluster.name, &patch.name),
        public_origin: between(&cluster.public_origin, &patch.public_origin),
        default_placement: patch
            .default_placement
            .clone()
            .and_then(|after| Change::between(cluster.default_placement.clone(), after)),
        dead_after_ms: patch.dead_after_ms.and_then(|after| Change::between(cluster.dead_after_ms, after)),
    };
    let differs = changed != ClusterSettingsChanged::default();
    Ok(differs.then_some(ClusterEvent::SettingsChanged(changed)))
}
