//! What the handlers stand on.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use domicile_iam::service::Iam;
use domicile_raft::NodeId;
use serde::Serialize;
use utoipa::ToSchema;

/// Shared by all handlers; cheap to clone.
#[derive(Clone)]
pub struct AdminState {
    /// The domain.
    pub iam: Iam,
    /// From [`token_sha256`]. The token itself is not kept.
    pub admin_token_sha256: [u8; 32],
    /// Scheme, host and port of the public listener, without a final slash: new tenants get the
    /// issuer `<public_url>/t/<slug>`.
    pub public_url: Arc<str>,
    /// The nodes of the cluster.
    pub nodes: Arc<[NodeDescription]>,
    /// A longer request body is 413.
    pub body_bytes_max: usize,
    /// How long a write may take, retries inside the node included.
    pub write_deadline: Duration,
}

/// A node, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct NodeDescription {
    /// Its id; never reused.
    #[schema(value_type = u64)]
    pub id: NodeId,
    /// Where people and clients reach it.
    pub public_url: String,
    /// Version of its program.
    pub version: String,
}

/// What [`AdminState`] keeps of the admin token.
pub fn token_sha256(token: &str) -> [u8; 32] {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    sha256
}
