//! Who is not believed: other clusters, earlier starts, wiped disks, foreign regions.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domicile_raft::peer::{AppService, PeerError, PeerIdentity, PeerRefusal, PeerStanding};
use domicile_raft::{BoxFuture, Change, NodeConfig, NodeError, NodeId, Peers, RaftNode, Start, SystemClock};
use domicile_raft::{DataDir, DiskOptions};
use domicile_storage::MemoryLog;
use support::cluster::{Cluster, cluster_id, config, identity, start_node, until};
use support::{WAIT, applied};

const SOON: Duration = Duration::from_secs(2);

struct Echo;

impl AppService for Echo {
    fn serve(&self, from: &PeerIdentity, message: Bytes) -> BoxFuture<'static, Result<Bytes, PeerRefusal>> {
        let answer = format!("{} {}: {}", from.node.0, from.region, String::from_utf8_lossy(&message));
        Box::pin(async move { Ok(Bytes::from(answer)) })
    }
}

#[tokio::test]
async fn application_messages_arrive_with_the_identity_of_their_sender() {
    let cluster = Cluster::of(2);
    let early = cluster.node(1).call(NodeId(2), Bytes::from_static(b"hi"), SOON).await;
    assert!(matches!(early, Err(PeerError::Refused { refusal: PeerRefusal::Overloaded(_), .. })));
    cluster.node(2).set_app_service(Arc::new(Echo));
    let answer = cluster.node(1).call(NodeId(2), Bytes::from_static(b"hi"), SOON).await.unwrap();
    assert_eq!(answer, "1 r1: hi");
}

#[tokio::test]
async fn an_earlier_start_of_a_node_is_refused_once_a_later_one_was_seen() {
    let cluster = Cluster::of(2);
    cluster.node(2).set_app_service(Arc::new(Echo));
    let second = start_node(&cluster.board, 1, 2, Arc::new(MemoryLog::new()));
    second.call(NodeId(2), Bytes::new(), SOON).await.unwrap();
    let first = cluster.node(1).call(NodeId(2), Bytes::new(), SOON).await;
    let Err(PeerError::Refused { refusal, .. }) = first else { panic!("{first:?}") };
    assert_eq!(refusal, PeerRefusal::WentBack { seen: 2, sent: 1 });
    assert!(refusal.to_string().contains("decommission it, empty its data directory, and join again"));
}

#[tokio::test]
async fn a_wiped_disk_is_refused_under_its_old_id() {
    let cluster = Cluster::of(3);
    // Its third start, before the disk is lost.
    let third = start_node(&cluster.board, 3, 3, Arc::new(MemoryLog::new()));
    cluster.node(1).open_group(config(1, Start::Bootstrap(support::cluster::info(1)))).await.unwrap();
    third.open_group(config(1, Start::Join)).await.unwrap();
    cluster.add_learner(1, 1, 3).await.unwrap();
    cluster.caught_up(1, 1, 3).await;
    third.set_app_service(Arc::new(Echo));
    third.call(NodeId(1), Bytes::new(), SOON).await.unwrap_err();
    let wiped = start_node(&cluster.board, 3, 1, Arc::new(MemoryLog::new()));
    let refused = wiped.call(NodeId(1), Bytes::new(), SOON).await;
    assert!(matches!(
        refused,
        Err(PeerError::Refused { refusal: PeerRefusal::WentBack { seen: 3, sent: 1 }, .. })
    ));
}

#[tokio::test]
async fn a_member_whose_log_went_back_gets_nothing_more_and_the_leader_goes_on() {
    let cluster = Cluster::with_group(3).await;
    for n in 0..10 {
        applied(&*cluster.replica(1, 1), &format!("k{n}=x")).await;
    }
    cluster.caught_up(1, 1, 3).await;
    cluster.board.detach(NodeId(3));
    cluster.node(3).shutdown().await;
    // The same node id and a later start, but an empty log: an old image of the disk.
    let restored = start_node(&cluster.board, 3, 2, Arc::new(MemoryLog::new()));
    restored.open_group(config(1, Start::Join)).await.unwrap();
    let went_back = || {
        let status = cluster.status(1, 1);
        status.members.iter().any(|member| member.node == NodeId(3) && member.went_back)
    };
    until("noticed", went_back).await;
    applied(&*cluster.replica(1, 1), "after=1").await;
    let replica = restored.partition(support::cluster::P1).unwrap();
    assert_eq!(replica.applied(), 0, "it gets nothing under its old id");
}

#[tokio::test]
async fn what_a_member_lost_is_noticed_by_a_leader_of_a_later_term() {
    let cluster = Cluster::with_group(3).await;
    for n in 0..10 {
        applied(&*cluster.replica(1, 1), &format!("k{n}=x")).await;
    }
    for node in [2, 3] {
        cluster.caught_up(1, 1, node).await;
    }
    cluster.board.detach(NodeId(3));
    cluster.node(3).shutdown().await;
    // Away and back: node 1 leads in another term, and has no answer of node 3 in it.
    for (from, to) in [(1, 2), (2, 1)] {
        cluster.caught_up(1, from, to).await;
        cluster.order(from, 1, Change::TransferLeader { to: NodeId(to) }).await.unwrap();
        assert_eq!(cluster.leader(1, &[to]).await, to);
    }
    let restored = start_node(&cluster.board, 3, 2, Arc::new(MemoryLog::new()));
    restored.open_group(config(1, Start::Join)).await.unwrap();
    let went_back = || {
        let status = cluster.status(1, 1);
        status.members.iter().any(|member| member.node == NodeId(3) && member.went_back)
    };
    until("noticed", went_back).await;
    assert_eq!(restored.partition(support::cluster::P1).unwrap().applied(), 0);
}

#[tokio::test]
async fn an_answer_from_an_earlier_start_counts_for_nothing() {
    let cluster = Cluster::of(2);
    let second = start_node(&cluster.board, 2, 2, Arc::new(MemoryLog::new()));
    second.set_app_service(Arc::new(Echo));
    cluster.node(1).call(NodeId(2), Bytes::new(), SOON).await.unwrap();
    let first = start_node(&cluster.board, 2, 1, Arc::new(MemoryLog::new()));
    first.set_app_service(Arc::new(Echo));
    let answer = cluster.node(1).call(NodeId(2), Bytes::new(), SOON).await;
    let Err(PeerError::Lost { reason, .. }) = &answer else { panic!("{answer:?}") };
    assert!(reason.contains("its disk went back"), "{reason}");
}

#[tokio::test]
async fn a_decommissioned_node_is_refused_and_an_unknown_one_only_takes_part() {
    let cluster = Cluster::with_group(3).await;
    cluster.node(1).set_app_service(Arc::new(Echo));
    cluster.node(1).set_peer_policy(Arc::new(|node| match node.0 {
        2 => PeerStanding::Unknown,
        3 => PeerStanding::Decommissioned,
        _ => PeerStanding::Member,
    }));
    assert_eq!(cluster.node(3).banished(), None);
    for (node, why) in [(2, "not known here"), (3, "decommissioned")] {
        let refused = cluster.node(node).call(NodeId(1), Bytes::new(), SOON).await;
        let Err(PeerError::Refused { refusal, .. }) = refused else { panic!("{refused:?}") };
        assert!(refusal.to_string().contains(why), "{refusal}");
    }
    assert!(cluster.node(3).banished().unwrap().contains("decommissioned"));
    cluster.caught_up(1, 1, 2).await;
    cluster.order(1, 1, Change::TransferLeader { to: NodeId(2) }).await.unwrap();
    applied(&*cluster.replica(2, 1), "a=1").await;
    // It is brought up by a leader that it does not know yet.
    until("followed", || support::value(&*cluster.replica(1, 1), "a").is_some()).await;
}

#[tokio::test]
async fn who_speaks_for_another_node_or_cluster_is_refused() {
    let cluster = Cluster::of(2);
    cluster.node(2).set_app_service(Arc::new(Echo));
    let open = |sends_as: u64, name: &str| {
        let open_state: domicile_raft::OpenState =
            Arc::new(|_, _| Ok(Arc::new(domicile_storage::MemoryEngine::new())));
        let log = Arc::new(MemoryLog::new());
        let mut config = NodeConfig::new(None, log, open_state, Arc::new(SystemClock::new()));
        // Calls itself node 1.
        config.identity = None;
        let transport = cluster.board.transport(identity(sends_as));
        config.peers = Some(Peers { transport, cluster: domicile_raft::peer::ClusterId::new(name).unwrap() });
        RaftNode::open(config).unwrap()
    };
    for (node, is_expected) in [
        (open(3, "test"), (|r| matches!(r, PeerRefusal::Forbidden(_))) as fn(&PeerRefusal) -> bool),
        (open(1, "other"), |r| matches!(r, PeerRefusal::Stale(_))),
    ] {
        let refused = node.call(NodeId(2), Bytes::new(), SOON).await;
        let Err(PeerError::Refused { refusal, .. }) = refused else { panic!("{refused:?}") };
        assert!(is_expected(&refusal), "{refusal}");
    }
}

#[tokio::test]
async fn a_directory_that_belongs_to_nobody_never_starts_with_peers() {
    let temp = tempfile::tempdir().unwrap();
    let board = domicile_raft::testing::Switchboard::new();
    let open = || {
        let clock = Arc::new(SystemClock::new());
        let mut config = NodeConfig::on_disk(temp.path(), DiskOptions::default(), clock).unwrap();
        config.peers = Some(Peers { transport: board.transport(identity(4)), cluster: cluster_id() });
        RaftNode::open(config)
    };
    let refused = open().err().unwrap();
    assert!(matches!(refused, NodeError::NoIdentity(_)));
    assert!(refused.to_string().contains("`join`"));
    DataDir::open(temp.path()).unwrap().adopt(NodeId(4), &cluster_id()).unwrap();
    let node = open().unwrap();
    assert_eq!(node.identity().id, NodeId(4));
    node.open_group(config(1, Start::Join)).await.unwrap();
    let on_disk = node.replicas_on_disk().unwrap();
    assert_eq!((on_disk.len(), &on_disk[0].start), (1, &Start::Join));
    assert!(node.close_group(support::cluster::P1).await);
    assert_eq!(node.replicas_on_disk().unwrap().len(), 1, "closed, not removed");
    node.destroy_group(support::cluster::P1).await.unwrap();
    assert_eq!(node.replicas_on_disk().unwrap(), []);
    tokio::time::timeout(WAIT, node.shutdown()).await.unwrap();
}
