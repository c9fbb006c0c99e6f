//! The digest of a replica here, for who compares replicas.

use std::fmt::Write as _;

use domicile_raft::{DigestError, PartitionId, RaftNode};

use super::service::chain;
use crate::admin::{ControlError, ReplicaDigestDocument};

/// Of what this node's replica has applied.
///
/// # Errors
/// `NotFound` without a running replica, else `Unavailable`.
pub(super) async fn of(
    raft: &RaftNode,
    partition: PartitionId,
) -> Result<ReplicaDigestDocument, ControlError> {
    let made = raft.digest(partition).await.map_err(|error| match error {
        DigestError::NoReplica => ControlError::NotFound,
        // Each of them passes.
        DigestError::Empty | DigestError::Busy | DigestError::Stopped | DigestError::State(_) => {
            ControlError::Unavailable(chain(error))
        }
    })?;
    Ok(ReplicaDigestDocument {
        node: raft.identity().id,
        partition,
        incarnation: made.incarnation.0,
        applied_index: made.applied.index,
        applied_term: made.applied.term,
        digest: hexadecimal(&made.digest),
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_two_digits() {
        assert_eq!(hexadecimal(&[0, 10, 255]), "000aff");
    }
}
