//! A node's part in its cluster. The commands are there; what they need is being built.

use std::path::Path;

use anyhow::bail;
use domicile_raft::NodeId;

use crate::cli::{InitArgs, JoinArgs, StartArgs};

const NOT_YET: &str = "this version makes no clusters yet";

/// `domicile init`.
///
/// # Errors
/// Always.
pub fn init(_: &InitArgs) -> anyhow::Result<()> {
    bail!(NOT_YET)
}

/// `domicile join`.
///
/// # Errors
/// Always.
pub fn join(_: &JoinArgs) -> anyhow::Result<()> {
    bail!(NOT_YET)
}

/// `domicile start`.
///
/// # Errors
/// Always.
pub fn start(_: &StartArgs) -> anyhow::Result<()> {
    bail!(NOT_YET)
}

/// The id of the node in a data directory.
///
/// # Errors
/// Always.
pub fn node_id(_: &Path) -> anyhow::Result<NodeId> {
    bail!(NOT_YET)
}
