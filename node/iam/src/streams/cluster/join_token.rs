//! A token that lets one node join one region, once.

use domicile_raft::{NodeId, Timestamp};
use domicile_storage::codec::{self, CodecError};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::{ClusterNode, aggregate};
use crate::commands::{ClusterRefusal, sha256};
use crate::ids::JoinTokenId;
use crate::model::NodeState;
use crate::streams::event_set::{Payload, event_set};

event_set! {
    /// Events of a join token.
    JoinTokenEvent {
        /// It can be used from here on.
        Created(JoinTokenCreated) => "join_token.created", 1;
        /// A node joined with it.
        Redeemed(JoinTokenRedeemed) => "join_token.redeemed", 2;
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
    /// SHA-256 of what it made up for this attempt, so that it can ask for a lost answer again.
    #[serde(with = "serde_bytes")]
    pub joiner: [u8; 32],
}

/// Revision 1 held the secret itself.
impl Payload for JoinTokenRedeemed {
    fn upcast(schema: u16, body: &[u8]) -> Result<Self, CodecError> {
        if schema != 1 {
            return Err(CodecError::Malformed(format!("unknown event schema {schema}")));
        }
        let old: Self = codec::decode_open(body)?;
        Ok(Self { joiner: sha256(&old.joiner), ..old })
    }
}

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

/// Who wants to join.
#[derive(Clone, Copy, Debug)]
pub struct Joiner<'a> {
    /// SHA-256 of the token's secret.
    pub token_sha256: &'a [u8; 32],
    /// SHA-256 of its own secret.
    pub joiner_sha256: &'a [u8; 32],
    /// Where it runs.
    pub region: &'a str,
    /// Where in the region.
    pub zone: &'a str,
}

/// Whether a token lets a node join; `joined` is the node that joined with it. A lost answer may be asked
/// for again, by the same joiner, as long as the token lasts and the node has not started: after that the
/// token is spent, whoever has read it.
///
/// # Errors
/// [`ClusterRefusal`] of the token.
pub fn decide_redeem(
    token: &JoinToken,
    joiner: &Joiner<'_>,
    before: Option<&ClusterNode>,
    now: Timestamp,
) -> Result<Redemption, ClusterRefusal> {
    if !bool::from(token.secret_sha256.ct_eq(joiner.token_sha256)) {
        return Err(ClusterRefusal::TokenUnknown);
    }
    if let Some(used) = &token.used {
        let waits = before.is_some_and(|node| {
            node.boot_counter == 0 && node.state == NodeState::Active && node.zone == joiner.zone
        });
        let same = bool::from(used.joiner.ct_eq(joiner.joiner_sha256)) && token.region == joiner.region;
        let again = same && waits && now < token.expires_at;
        return if again { Ok(Redemption::Known(used.node)) } else { Err(ClusterRefusal::TokenUsed) };
    }
    if token.revoked {
        return Err(ClusterRefusal::TokenUnknown);
    }
    if now >= token.expires_at {
        return Err(ClusterRefusal::TokenExpired);
    }
    if token.region != joiner.region {
        let (token, joiner) = (token.region.clone(), joiner.region.to_owned());
        return Err(ClusterRefusal::ForeignRegion { token, joiner });
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
    use crate::model::NodeAddresses;

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

    fn node() -> ClusterNode {
        ClusterNode {
            region: "eu".to_owned(),
            zone: "a".to_owned(),
            addresses: NodeAddresses::default(),
            version: String::new(),
            boot_counter: 0,
            state: NodeState::Active,
            joined_at: Timestamp(0),
        }
    }

    fn joiner<'a>(joiner_sha256: &'a [u8; 32], region: &'a str) -> Joiner<'a> {
        Joiner { token_sha256: &[1; 32], joiner_sha256, region, zone: "a" }
    }

    fn redeem(token: &JoinToken, of: u8, region: &str, now: u64) -> Result<Redemption, ClusterRefusal> {
        decide_redeem(token, &joiner(&[of; 32], region), Some(&node()), Timestamp(now))
    }

    fn used() -> JoinToken {
        JoinToken { used: Some(JoinTokenRedeemed { node: NodeId(4), joiner: [7; 32] }), ..token() }
    }

    #[test]
    fn a_token_lets_one_joiner_into_one_region_before_it_ends() {
        assert_eq!(redeem(&token(), 7, "eu", 99), Ok(Redemption::Join));
        assert_eq!(redeem(&token(), 7, "eu", 100), Err(ClusterRefusal::TokenExpired));
        assert!(matches!(redeem(&token(), 7, "us", 0), Err(ClusterRefusal::ForeignRegion { .. })));
        assert_eq!(redeem(&used(), 8, "eu", 0), Err(ClusterRefusal::TokenUsed));
        let revoked = JoinToken { revoked: true, ..token() };
        assert_eq!(redeem(&revoked, 7, "eu", 0), Err(ClusterRefusal::TokenUnknown));
        let other = Joiner { token_sha256: &[2; 32], ..joiner(&[7; 32], "eu") };
        let other = decide_redeem(&token(), &other, None, Timestamp(0));
        assert_eq!(other, Err(ClusterRefusal::TokenUnknown));
    }

    #[test]
    fn a_used_token_tells_its_joiner_the_id_until_the_token_ends_or_the_node_starts() {
        let again = |node: &ClusterNode, now| {
            decide_redeem(&used(), &joiner(&[7; 32], "eu"), Some(node), Timestamp(now))
        };
        assert_eq!(again(&node(), 99), Ok(Redemption::Known(NodeId(4))));
        assert_eq!(again(&node(), 100), Err(ClusterRefusal::TokenUsed));
        let started = ClusterNode { boot_counter: 1, ..node() };
        assert_eq!(again(&started, 0), Err(ClusterRefusal::TokenUsed));
        let gone = ClusterNode { state: NodeState::Decommissioned, ..node() };
        assert_eq!(again(&gone, 0), Err(ClusterRefusal::TokenUsed));
        let elsewhere = ClusterNode { zone: "b".to_owned(), ..node() };
        assert_eq!(again(&elsewhere, 0), Err(ClusterRefusal::TokenUsed));
        let unknown = decide_redeem(&used(), &joiner(&[7; 32], "eu"), None, Timestamp(0));
        assert_eq!(unknown, Err(ClusterRefusal::TokenUsed));
    }
}
