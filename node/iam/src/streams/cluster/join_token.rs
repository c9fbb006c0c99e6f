//! A token that lets one node join one region, once.

use domicile_raft::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::aggregate;
use crate::commands::ClusterRefusal;
use crate::ids::JoinTokenId;
use crate::streams::event_set::{Payload, event_set};

event_set! {
    /// Events of a join token.
    JoinTokenEvent {
        /// It can be used from here on.
        Created(JoinTokenCreated) => "join_token.created", 1;
        /// A node joined with it.
        Redeemed(JoinTokenRedeemed) => "join_token.redeemed", 1;
        /// It can be used no more.
        Revoked(JoinTokenRevoked) => "join_token.revoked", 1;
    }
}

/// `join_token.created`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokenCreated {
    /// Of its 256 random bits.
    #[serde(with = "serde_bytes")]
    pub secret_sha256: [u8; 32],
    /// Which region it is for.
    pub region: String,
    /// Whether that region is made by the node that joins.
    pub new_region: bool,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl Payload for JoinTokenCreated {}

/// `join_token.redeemed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokenRedeemed {
    /// Who joined.
    pub node: NodeId,
    /// What it made up for this attempt, so that a lost answer can be asked for again.
    #[serde(with = "serde_bytes")]
    pub joiner: [u8; 32],
}

impl Payload for JoinTokenRedeemed {}

/// `join_token.revoked`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokenRevoked {}

impl Payload for JoinTokenRevoked {}

/// A join token as its events made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Of its 256 random bits.
    #[serde(with = "serde_bytes")]
    pub secret_sha256: [u8; 32],
    /// Which region it is for.
    pub region: String,
    /// Whether that region is made by the node that joins.
    pub new_region: bool,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Who joined, once used.
    #[serde(default)]
    pub used: Option<JoinTokenRedeemed>,
    /// Whether it was revoked.
    #[serde(default)]
    pub revoked: bool,
}

impl JoinToken {
    pub(crate) fn evolve(state: Option<Self>, event: &JoinTokenEvent, at: Timestamp) -> Self {
        let mut token = state.unwrap_or_else(|| Self {
            secret_sha256: [0; 32],
            region: String::new(),
            new_region: false,
            expires_at: at,
            used: None,
            revoked: false,
        });
        match event {
            JoinTokenEvent::Created(created) => {
                token.secret_sha256 = created.secret_sha256;
                token.region.clone_from(&created.region);
                token.new_region = created.new_region;
                token.expires_at = created.expires_at;
            }
            JoinTokenEvent::Redeemed(redeemed) => token.used = Some(redeemed.clone()),
            JoinTokenEvent::Revoked(_) => token.revoked = true,
        }
        token
    }
}

aggregate!(JoinToken, JoinToken, JoinTokenId, JoinTokenEvent);

/// What a redemption comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redemption {
    /// The joiner gets an id.
    Join,
    /// It asks again: this is the id that it got.
    Known(NodeId),
}

/// Whether a token lets a node join `region`.
///
/// # Errors
/// [`ClusterRefusal`] of the token.
pub fn decide_redeem(
    token: &JoinToken,
    secret_sha256: &[u8; 32],
    joiner: &[u8; 32],
    region: &str,
    now: Timestamp,
) -> Result<Redemption, ClusterRefusal> {
    if !bool::from(token.secret_sha256.ct_eq(secret_sha256)) {
        return Err(ClusterRefusal::TokenUnknown);
    }
    if let Some(used) = &token.used {
        // The same joiner lost the answer; for it alone the token still says the same.
        let same = bool::from(used.joiner.ct_eq(joiner)) && token.region == region;
        return if same { Ok(Redemption::Known(used.node)) } else { Err(ClusterRefusal::TokenUsed) };
    }
    if token.revoked {
        return Err(ClusterRefusal::TokenUnknown);
    }
    if now >= token.expires_at {
        return Err(ClusterRefusal::TokenExpired);
    }
    if token.region != region {
        return Err(ClusterRefusal::ForeignRegion { token: token.region.clone(), joiner: region.to_owned() });
    }
    Ok(Redemption::Join)
}

/// Revokes a token that was not used; `None` if there is nothing to revoke.
pub fn decide_revoke_token(token: &JoinToken) -> Option<JoinTokenEvent> {
    (token.used.is_none() && !token.revoked).then_some(JoinTokenEvent::Revoked(JoinTokenRevoked {}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            secret_sha256: [1; 32],
            region: "eu".to_owned(),
            new_region: false,
            expires_at: Timestamp(100),
            used: None,
            revoked: false,
        }
    }

    #[test]
    fn a_token_lets_one_joiner_into_one_region_before_it_ends() {
        let redeem = |token: &JoinToken, joiner: u8, region: &str, now: u64| {
            decide_redeem(token, &[1; 32], &[joiner; 32], region, Timestamp(now))
        };
        assert_eq!(redeem(&token(), 7, "eu", 99), Ok(Redemption::Join));
        assert_eq!(redeem(&token(), 7, "eu", 100), Err(ClusterRefusal::TokenExpired));
        assert!(matches!(redeem(&token(), 7, "us", 0), Err(ClusterRefusal::ForeignRegion { .. })));
        let used = JoinTokenRedeemed { node: NodeId(4), joiner: [7; 32] };
        let used = JoinToken { used: Some(used), ..token() };
        assert_eq!(redeem(&used, 7, "eu", 500), Ok(Redemption::Known(NodeId(4))));
        assert_eq!(redeem(&used, 8, "eu", 0), Err(ClusterRefusal::TokenUsed));
        let revoked = JoinToken { revoked: true, ..token() };
        assert_eq!(redeem(&revoked, 7, "eu", 0), Err(ClusterRefusal::TokenUnknown));
        let other = decide_redeem(&token(), &[2; 32], &[7; 32], "eu", Timestamp(0));
        assert_eq!(other, Err(ClusterRefusal::TokenUnknown));
    }
}
