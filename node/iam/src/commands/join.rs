//! Tokens to join the cluster, on the directory.

use domicile_raft::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::cluster::{Decided, NODES, REGIONS, add_node, add_region, existing, next_number, refuse, written};
use super::{ClusterRefusal, sha256};
use crate::execute::{Command, DecideError, Decision, Draft, Fresh, ReadFault, Reads};
use crate::ids::{JoinTokenId, NodeStreamId};
use crate::model::NodeAddresses;
use crate::projections::Projection;
use crate::streams::cluster::{
    Cluster, ClusterNode, JoinToken, JoinTokenCreated, JoinTokenEvent, JoinTokenRedeemed, Joiner, NodeJoined,
    Redemption, Region, check_addresses, check_certificate, check_name, cluster_stream, decide_redeem,
    decide_revoke_token, join_token_stream, node_stream, region_stream,
};

/// The longest life of a token: 7 days.
const LIFETIME_MS_MAX: u64 = 7 * 24 * 3_600_000;

/// Lets one node join one region, once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreateJoinToken {
    /// SHA-256 of its 256 random bits, which never come here.
    #[serde(with = "serde_bytes")]
    pub secret_sha256: [u8; 32],
    /// Which region.
    pub region: String,
    /// Whether that region is made by who joins.
    pub new_region: bool,
    /// How long it can be used: at most 7 days.
    pub lifetime_ms: u64,
}

impl Command for CreateJoinToken {
    type Reply = Timestamp;
    type Refusal = ClusterRefusal;
    const NAME: &'static str = "join_token.create";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<Timestamp> {
        check_name("region", &self.region).map_err(DecideError::Refused)?;
        if !(1_000..=LIFETIME_MS_MAX).contains(&self.lifetime_ms) {
            let rule = "is not 1 s to 7 days".to_owned();
            return refuse(ClusterRefusal::Invalid { field: "lifetime".to_owned(), rule });
        }
        if reads.stream::<Cluster>(cluster_stream())?.is_none() {
            return refuse(ClusterRefusal::NotInitialised);
        }
        let id = join_token_stream(&self.secret_sha256);
        if let Some(token) = reads.stream::<JoinToken>(id)? {
            return Ok(Decision::Answer(token.state.expires_at));
        }
        let known = reads.stream::<Region>(region_stream(&self.region))?.is_some();
        if known && self.new_region {
            return refuse(ClusterRefusal::RegionExists(self.region.clone()));
        }
        if !known && !self.new_region {
            return refuse(ClusterRefusal::NotFound(format!("region `{}`", self.region)));
        }
        let expires_at = fresh.at().plus_ms(self.lifetime_ms);
        let created = JoinTokenCreated {
            secret_sha256: self.secret_sha256,
            region: self.region.clone(),
            new_region: self.new_region,
            expires_at,
        };
        let mut draft = Draft::new();
        draft.append::<JoinToken>(id, 0, JoinTokenEvent::Created(created));
        Ok(Decision::Propose(draft, expires_at))
    }
}

/// Takes a token back that was not used.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct RevokeJoinToken {
    /// Which.
    pub id: JoinTokenId,
}

impl Command for RevokeJoinToken {
    type Reply = ();
    type Refusal = ClusterRefusal;
    const NAME: &'static str = "join_token.revoke";

    fn decide(&self, reads: &mut Reads<'_>, _fresh: &mut Fresh) -> Decided<()> {
        let token = existing::<JoinToken>(reads, self.id, "join token")?;
        Ok(written::<JoinToken>(self.id, token.version, decide_revoke_token(&token.state), None))
    }
}

/// A node joins: the token is used and the id is given in one proposal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RedeemJoinToken {
    /// SHA-256 of the token's secret.
    #[serde(with = "serde_bytes")]
    pub secret_sha256: [u8; 32],
    /// 256 random bits of this attempt: the same joiner asks again and gets the same id.
    #[serde(with = "serde_bytes")]
    pub joiner: [u8; 32],
    /// Where the node runs.
    pub region: String,
    /// Where in the region.
    pub zone: String,
    /// For a new region: its jurisdiction.
    pub jurisdiction: Option<String>,
    /// For a new region: the certificate of its authority, DER.
    pub certificate: Option<serde_bytes::ByteBuf>,
    /// Where the node is reached.
    pub addresses: NodeAddresses,
    /// Version of its program.
    pub version: String,
}

impl RedeemJoinToken {
    /// Makes the region that the token says the joiner brings.
    fn new_region(
        &self,
        reads: &mut Reads<'_>,
        draft: &mut Draft,
    ) -> Result<(), DecideError<ClusterRefusal>> {
        let missing = |field: &str| ClusterRefusal::Invalid {
            field: field.to_owned(),
            rule: "is needed for a new region".to_owned(),
        };
        let jurisdiction = self.jurisdiction.as_deref().ok_or_else(|| missing("jurisdiction"));
        let jurisdiction = jurisdiction.map_err(DecideError::Refused)?;
        let certificate = self.certificate.as_ref().ok_or_else(|| missing("certificate"));
        let certificate = certificate.map_err(DecideError::Refused)?;
        check_name("jurisdiction", jurisdiction).map_err(DecideError::Refused)?;
        check_certificate(certificate).map_err(DecideError::Refused)?;
        if reads.stream::<Region>(region_stream(&self.region))?.is_some() {
            return refuse(ClusterRefusal::RegionExists(self.region.clone()));
        }
        reads.range(REGIONS)?;
        add_region(draft, &self.region, jurisdiction, certificate);
        Ok(())
    }
}

impl RedeemJoinToken {
    /// Whether the region has the certificate that the joiner shows again.
    fn brought(&self, reads: &mut Reads<'_>) -> Result<bool, ReadFault> {
        let region = reads.stream::<Region>(region_stream(&self.region))?;
        Ok(region.is_some_and(|region| {
            self.certificate.as_ref().is_some_and(|shown| region.state.certificates.contains(shown))
        }))
    }
}

impl Command for RedeemJoinToken {
    type Reply = NodeId;
    type Refusal = ClusterRefusal;
    const NAME: &'static str = "join_token.redeem";

    fn decide(&self, reads: &mut Reads<'_>, fresh: &mut Fresh) -> Decided<NodeId> {
        check_name("zone", &self.zone).map_err(DecideError::Refused)?;
        check_addresses(&self.addresses).map_err(DecideError::Refused)?;
        let id = join_token_stream(&self.secret_sha256);
        let Some(token) = reads.stream::<JoinToken>(id)? else {
            return refuse(ClusterRefusal::TokenUnknown);
        };
        let before = match &token.state.used {
            Some(used) => reads.stream::<ClusterNode>(node_stream(used.node))?.map(|node| node.state),
            None => None,
        };
        let joiner_sha256 = sha256(&self.joiner);
        let joiner = Joiner {
            token_sha256: &self.secret_sha256,
            joiner_sha256: &joiner_sha256,
            region: &self.region,
            zone: &self.zone,
        };
        let redemption = decide_redeem(&token.state, &joiner, before.as_deref(), fresh.at());
        match redemption.map_err(DecideError::Refused)? {
            Redemption::Known(node) => {
                if token.state.new_region && !self.brought(reads)? {
                    return refuse(ClusterRefusal::TokenUsed);
                }
                return Ok(Decision::Answer(node));
            }
            Redemption::Join => {}
        }
        let mut draft = Draft::new();
        if token.state.new_region {
            self.new_region(reads, &mut draft)?;
        }
        let node = NodeId(next_number::<NodeStreamId>(reads, NODES, Projection::ClusterNodes)?);
        let redeemed = JoinTokenRedeemed { node, joiner: joiner_sha256 };
        draft.append::<JoinToken>(id, token.version, JoinTokenEvent::Redeemed(redeemed));
        let member = NodeJoined {
            region: self.region.clone(),
            zone: self.zone.clone(),
            addresses: self.addresses.clone(),
            version: self.version.chars().take(100).collect(),
        };
        add_node(&mut draft, node, member);
        Ok(Decision::Propose(draft, node))
    }
}
