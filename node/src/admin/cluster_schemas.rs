//! Schemas of what operators say of the cluster.

use serde_json::{Value, json};

use super::schemas::{closed, flag, text};

/// All of them, by name.
pub(super) fn all() -> [(&'static str, Value); 5] {
    [
        (
            "NewJoinToken",
            closed(
                &json!({
                    "region": text("The region of the node that will join."),
                    "lifetime_s": { "type": "integer", "minimum": 1, "maximum": 604_800, "default": 3_600 },
                }),
                &["region"],
            ),
        ),
        (
            "LeaderTransfer",
            closed(&json!({ "to": { "type": "integer", "description": "A voter's node id." } }), &[]),
        ),
        (
            "ClusterSettingsChange",
            closed(
                &json!({
                    "name": text("Shown to operators; 1 to 200 bytes."),
                    "dead_after_ms": {
                        "type": "integer", "format": "int64", "minimum": 5_000, "maximum": 604_800_000,
                        "description": "After so long a silence a node's replicas are made again elsewhere.",
                    },
                    "default_placement": placement(),
                }),
                &[],
            ),
        ),
        ("RegionChange", closed(&json!({ "jurisdiction": text("Such as `eu`.") }), &["jurisdiction"])),
        ("PlacementChange", closed(&placement_members(), &[])),
    ]
}

/// Where something may be, and what it survives.
pub(super) fn placement() -> Value {
    closed(&placement_members(), &["regions", "survive"])
}

fn placement_members() -> Value {
    let names = json!({ "type": "array", "items": { "type": "string" } });
    let regions = json!({ "oneOf": [{ "const": "any" }, names.clone()] });
    json!({
        "regions": regions,
        "survive": { "enum": ["zone", "region"] },
        "preferred_leader_regions": names,
        "read_replicas": flag("Whether regions without a voter get a read replica."),
    })
}
