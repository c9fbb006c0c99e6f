//! `domicile join`: makes an empty data directory a node's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use domicile_iam::model::NodeAddresses;
use domicile_raft::peer::ClusterId;
use domicile_raft::peer::tls::{Pin, RegionAuthority, join_call};
use domicile_raft::{Clock, DataDir, NodeId};

use super::files::{KnownPeers, Membership, REGION_CA, joiner_id, store_region_ca};
use super::join_wire::{self, JoinAnswer, JoinRequest, Joined};
use super::token::JoinToken;
use crate::boot;
use crate::config::Config;

/// Reaching a node, and its writes to the directory.
const DEADLINE: Duration = Duration::from_secs(30);
/// A directory that is electing answers soon.
const TRIES: u32 = 5;
const AGAIN: Duration = Duration::from_secs(1);

/// Joins with a token. After it the data directory holds a node that `start` runs.
pub(crate) async fn join(config: &Config, token: &str, clock: &Arc<dyn Clock>) -> anyhow::Result<Membership> {
    let token = JoinToken::parse(token)?;
    let (region, zone) = place(config)?;
    if token.region != region {
        bail!("the token is for region {}, the settings place this node in {region}", token.region);
    }
    if clock.now() >= token.expires_at {
        bail!("the join token has expired: make another with `domicile token create`");
    }
    let root = config.storage.data_dir.as_path();
    Membership::none_in(root)?;
    boot::make_data_dir(root)?;
    let authority = if token.new_region {
        Some(own_authority(root, &token.cluster, region, clock.as_ref())?)
    } else {
        None
    };
    let request = JoinRequest {
        secret: token.secret.clone(),
        joiner: joiner_id(root, clock.as_ref())?,
        region: region.to_owned(),
        zone: zone.to_owned(),
        jurisdiction: config.node.jurisdiction.clone(),
        addresses: own_addresses(config),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        authority: authority
            .as_ref()
            .map(|authority| serde_bytes::ByteBuf::from(authority.certificate().der().to_vec())),
    };
    let joined = ask(&token, &request, clock).await?;
    if joined.cluster != token.cluster {
        bail!("the node that answered is of cluster {}, the token of {}", joined.cluster, token.cluster);
    }
    settle(root, region, zone, joined)
}

async fn ask(token: &JoinToken, request: &JoinRequest, clock: &Arc<dyn Clock>) -> anyhow::Result<Joined> {
    let pin: [u8; 32] = token.pin.as_slice().try_into().map_err(|_| anyhow!("the token's pin is cut"))?;
    let bytes = Bytes::from(join_wire::encode(request)?);
    let mut told = String::new();
    for _ in 0..TRIES {
        // The same question may be asked again: the directory knows this host by what it made up.
        match join_call(&token.addresses, Pin(pin), bytes.clone(), DEADLINE, clock).await {
            Ok(answer) => match join_wire::decode(&answer).context("the answer is of another version")? {
                JoinAnswer::Joined(joined) => return Ok(*joined),
                JoinAnswer::Refused(reason) => bail!("the cluster refused: {reason}"),
                JoinAnswer::Later(reason) => told = reason,
            },
            Err(error) => told = error.to_string(),
        }
        tokio::time::sleep(AGAIN).await;
    }
    bail!("joining failed: {told}")
}

/// Writes the node's files; the last one makes it a node.
fn settle(root: &Path, region: &str, zone: &str, joined: Joined) -> anyhow::Result<Membership> {
    let Joined { cluster, node, region_authority, authorities, peers } = joined;
    if let Some(pem) = region_authority {
        store_region_ca(root, &pem.0)?;
    }
    let authorities: BTreeMap<String, Vec<Vec<u8>>> = authorities
        .into_iter()
        .map(|(name, all)| (name, all.into_iter().map(serde_bytes::ByteBuf::into_vec).collect()))
        .collect();
    KnownPeers::new(&authorities, peers).store(root)?;
    adopt(root, node, &cluster)?;
    let membership = Membership::new(&cluster, node, region, zone);
    membership.store(root)?;
    Ok(membership)
}

/// Makes the data directory that of node `node`.
pub(crate) fn adopt(root: &Path, node: NodeId, cluster: &str) -> anyhow::Result<()> {
    Ok(DataDir::open(root)?.adopt(node, &ClusterId::new(cluster)?)?)
}

/// The authority of a region that this node is the first of; one made by an earlier try is used again.
fn own_authority(
    root: &Path,
    cluster: &str,
    region: &str,
    clock: &dyn Clock,
) -> anyhow::Result<RegionAuthority> {
    let path = root.join(REGION_CA);
    if path.exists() {
        return Ok(RegionAuthority::load(&path, clock.now())?);
    }
    let made = RegionAuthority::generate(cluster, region, clock.now())?;
    made.store(&path)?;
    Ok(made)
}

/// Where the settings place this node.
pub(crate) fn place(config: &Config) -> anyhow::Result<(&str, &str)> {
    let region = config.node.region.as_deref().context("`node.region` is needed")?;
    let zone = config.node.zone.as_deref().context("`node.zone` is needed")?;
    Ok((region, zone))
}

/// Where the settings say that this node is reached.
pub(crate) fn own_addresses(config: &Config) -> NodeAddresses {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let origin = |given: &Option<url::Url>, listens: std::net::SocketAddr, scheme: &str| {
        let given = given.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned());
        let told = || (!listens.ip().is_unspecified()).then(|| format!("{scheme}://{listens}"));
        given.or_else(told)
    };
    let public = origin(&config.advertise.public, config.listen.public, scheme);
    NodeAddresses {
        peer: vec![config.peer_address()],
        public: public.or_else(|| {
            config.public_origin.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned())
        }),
        admin: origin(&config.advertise.admin, config.listen.admin, scheme),
        management: origin(&config.advertise.management, config.listen.management, "http"),
    }
}

/// Joins with the token in `cluster.join_file`, on a data directory that holds no node yet.
pub(crate) async fn join_with_file(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<()> {
    let Some(file) = &config.cluster.join_file else { return Ok(()) };
    if Membership::none_in(&config.storage.data_dir).is_err() {
        return Ok(());
    }
    let token = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let membership = join(config, &token, clock).await?;
    tracing::info!(node = membership.node.0, cluster = membership.cluster, "joined");
    Ok(())
}
