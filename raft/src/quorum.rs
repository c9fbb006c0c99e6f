//! Whether a leader is still followed, as far as it can know.

use std::time::Duration;

use openraft::Instant as _;
use openraft::metrics::SerdeInstant;
use openraft::type_config::alias::InstantOf;

use crate::NodeId;
use crate::type_config::{StoredMembership, TypeConfig};

/// How much longer a leader may say that it leads: an election timeout after a quorum last answered it,
/// another may have been elected. `None` once that is over.
pub(crate) fn time_left(
    node: NodeId,
    membership: &StoredMembership,
    acknowledged: Option<SerdeInstant<InstantOf<TypeConfig>>>,
    election_max: Duration,
) -> Option<Duration> {
    let mut voters = membership.membership().voter_ids();
    if voters.next() == Some(node.0) && voters.next().is_none() {
        return Some(election_max);
    }
    let left = election_max.checked_sub(acknowledged?.into_inner().elapsed())?;
    (!left.is_zero()).then_some(left)
}
