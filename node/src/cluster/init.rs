//! `domicile init`: makes a cluster of one node on an empty data directory. Every step may be the last
//! before a crash: run again, it goes on with what is there.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use domicile_iam::commands::InitCluster;
use domicile_iam::seal::KekSource;
use domicile_raft::peer::tls::RegionAuthority;
use domicile_raft::placement::{GroupSettings, Placement, Regions, SurvivalGoal};
use domicile_raft::{
    Clock, DataDir, DiskOptions, Incarnation, NodeId, NodeInfo, PartitionId, RaftNode, Start, TimerProfile,
};

use super::directory::{Directory, jurisdiction_of};
use super::files::{KnownPeer, KnownPeers, Membership, REGION_CA};
use super::join::{adopt, own_addresses, place};
use super::operator::{self, Enrolment};
use super::replicas::Replicas;
use super::start::alone;
use crate::boot;
use crate::config::Config;

/// The partition of tenants that ask for nothing; the operators' tenant too.
pub(crate) const FIRST_HOME: PartitionId = PartitionId(1);
/// The first node.
const FIRST: NodeId = NodeId(1);

/// What `init` made.
pub(crate) struct Made {
    pub(crate) membership: Membership,
    pub(crate) enrolment: Enrolment,
}

/// Replicas in all regions, voters over three of them or more where there are.
pub(crate) fn directory_placement() -> Placement {
    Placement {
        regions: Regions::Any,
        survive: SurvivalGoal::Region,
        preferred_leader_regions: Vec::new(),
        read_replicas: true,
    }
}

/// Where tenants go that ask for nothing.
fn default_placement() -> Placement {
    Placement { survive: SurvivalGoal::Zone, ..directory_placement() }
}

/// Makes the cluster.
pub(crate) async fn init(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Made> {
    let (region, zone) = place(config)?;
    let root = config.storage.data_dir.as_path();
    Membership::none_in(root)?;
    boot::make_data_dir(root)?;
    let cluster = cluster_id(root, clock.as_ref())?;
    adopt(root, FIRST, &cluster)?;
    let authority = authority(root, &cluster, region, clock.as_ref())?;
    let certificate = authority.certificate().der().to_vec();
    let own = KnownPeer { region: region.to_owned(), zone: zone.to_owned(), address: config.peer_address() };
    KnownPeers::new(&[(region.to_owned(), vec![certificate.clone()])].into(), [(FIRST.0, own)].into())
        .store(root)?;

    let kek: Arc<dyn KekSource> = Arc::new(boot::node_kek(config.kek.as_ref(), root, clock.as_ref())?);
    let mut options = DiskOptions::default();
    options.state.cache_bytes = config.storage.cache_bytes / 2;
    let raft = Arc::new(RaftNode::open_on_disk(root, options, clock.clone())?);
    let (log_entries, here) = (config.storage.log_entries, region.to_owned());
    let replicas = Replicas::new(raft.clone(), root.to_owned(), kek, clock.clone(), here, log_entries);
    let replicas = Arc::new(replicas);
    let info = NodeInfo {
        region: region.to_owned(),
        zone: zone.to_owned(),
        addresses: [("peer".to_owned(), config.peer_address())].into(),
    };
    for (partition, placement) in
        [(PartitionId::DIRECTORY, directory_placement()), (FIRST_HOME, default_placement())]
    {
        // One node is in one region: the short timers, until the controller sees others.
        let settings = GroupSettings { generation: 1, timers: TimerProfile::Zone, placement };
        replicas.make_key(partition)?;
        replicas.open(partition, Incarnation(1), settings, Start::Bootstrap(info.clone())).await?;
    }
    let iam = alone(&replicas, clock)?;
    let directory = Directory::new(iam.clone(), raft.clone(), clock.clone(), Arc::default());
    let public_origin = config.public_origin.as_ref().context("`public_origin` is needed")?;
    let public_origin = public_origin.as_str().trim_end_matches('/');
    let command = InitCluster {
        cluster_id: cluster.clone(),
        name: cluster.clone(),
        public_origin: public_origin.to_owned(),
        default_placement: default_placement(),
        directory_placement: directory_placement(),
        dead_after_ms: u64::try_from(config.cluster.dead_after.as_millis())?,
        region: region.to_owned(),
        jurisdiction: config.node.jurisdiction.clone().unwrap_or_else(|| jurisdiction_of(region)),
        zone: zone.to_owned(),
        certificate,
        addresses: own_addresses(config),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    directory.init(command, default_placement()).await?;
    let enrolment = operator::make(&iam, public_origin, clock.as_ref()).await?;
    drop((directory, iam));
    replicas.forget_all();
    raft.shutdown().await;
    let membership = Membership::new(&cluster, FIRST, region, zone);
    membership.store(root)?;
    Ok(Made { membership, enrolment })
}

/// Random; the one of an earlier try is used again.
fn cluster_id(root: &Path, clock: &dyn Clock) -> anyhow::Result<String> {
    if let Some((_, Some(cluster))) = DataDir::open(root)?.owner()? {
        return Ok(cluster.as_str().to_owned());
    }
    let mut random = [0_u8; 8];
    clock.fill_random(&mut random);
    Ok(format!("domicile-{:016x}", u64::from_be_bytes(random)))
}

fn authority(root: &Path, cluster: &str, region: &str, clock: &dyn Clock) -> anyhow::Result<RegionAuthority> {
    let path = root.join(REGION_CA);
    if path.exists() {
        return Ok(RegionAuthority::load(&path, clock.now())?);
    }
    let made = RegionAuthority::generate(cluster, region, clock.now())?;
    made.store(&path)?;
    Ok(made)
}
