//! Proofs of possession, each good for one write (RFC 9449 §11.1).

use serde::{Deserialize, Serialize};

use domicile_raft::Timestamp;

use super::TokenRefusal;
use super::digest::sha256;
use crate::execute::{DecideError, Draft, Reads};
use crate::model::KeyProof;
use crate::proposal::RecordKind;

impl KeyProof {
    /// Of a proof that counts until `ends_at_s`, in seconds.
    #[must_use]
    pub fn new(jkt: &str, jti: &str, ends_at_s: u64) -> Self {
        // A thumbprint has a fixed length, so the two cannot run into each other.
        let id = sha256(format!("{jkt}.{jti}").as_bytes());
        Self { jkt: jkt.to_owned(), id, ends_at: Timestamp(ends_at_s.saturating_mul(1_000)) }
    }
}

/// That a proof was used is all there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct UsedProof {}

/// Remembers a proof's use along with what else is written; refuses its second.
pub(super) fn use_once(
    reads: &mut Reads<'_>,
    draft: &mut Draft,
    proof: Option<&KeyProof>,
) -> Result<(), DecideError<TokenRefusal>> {
    let Some(proof) = proof else { return Ok(()) };
    let used = reads.record::<UsedProof>(RecordKind::UsedProof, proof.id)?.is_some();
    if used || proof.ends_at <= reads.at() {
        return Err(DecideError::Refused(TokenRefusal::ProofUsed));
    }
    draft.put_record(RecordKind::UsedProof, proof.id, &UsedProof {}, proof.ends_at);
    Ok(())
}
