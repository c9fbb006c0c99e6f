//! What a client says of itself, below its name.

use std::sync::Arc;

/// Logo, links and a warning; shown where a person is asked for something on a client's behalf.
#[derive(Clone, Debug, Default)]
pub struct AboutClient {
    /// The logo as a `data:` URL: the browser asks nobody for it.
    pub logo: Option<Arc<str>>,
    /// How the client uses data about people (`policy_uri`).
    pub policy: Option<String>,
    /// Its terms (`tos_uri`).
    pub terms: Option<String>,
    /// Whether nobody vouches for what it says of itself.
    pub self_made: bool,
}
