//! What the handlers stand on.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use domicile_iam::service::Iam;

use super::cluster_control::ClusterControl;
use super::operator_tokens::OperatorTokens;
use crate::egress::Fetch;

/// Shared by all handlers; cheap to clone.
#[derive(Clone)]
pub struct AdminState {
    /// The domain.
    pub iam: Iam,
    /// From [`token_sha256`]. The token itself is not kept.
    pub admin_token_sha256: [u8; 32],
    /// Knows operators by their access tokens.
    pub operators: Arc<OperatorTokens>,
    /// Scheme, host and port of the public listener, without a final slash: new tenants get the
    /// issuer `<public_url>/t/<slug>`.
    pub public_url: Arc<str>,
    /// The cluster.
    pub cluster: Arc<dyn ClusterControl>,
    /// Requests to addresses that clients' metadata names.
    pub fetch: Arc<dyn Fetch>,
    /// A longer request body is 413.
    pub body_bytes_max: usize,
    /// How long a write may take, retries inside the node included.
    pub write_deadline: Duration,
}

/// What [`AdminState`] keeps of the admin token.
pub fn token_sha256(token: &str) -> [u8; 32] {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    sha256
}
