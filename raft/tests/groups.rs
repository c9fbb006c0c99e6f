//! Proposals and reads through groups of one voter.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use domicile_raft::{
    Consistency, GroupConfig, Health, NodeId, OpenError, Outcome, PROPOSAL_BYTES_MAX, PartitionId, RaftNode,
    ReadError, Start, UnknownReason,
};
use support::{WAIT, applied, disk_node, group, memory_node, propose, value};

async fn two_groups_take_proposals_and_answer_reads(node: RaftNode) {
    let directory = node.open_group(group(0)).await.unwrap();
    let home = node.open_group(group(1)).await.unwrap();
    for partition in [&directory, &home] {
        assert!(partition.leadership().borrow().leads, "{:?}", partition.status());
        let index = applied(&**partition, "a=1").await;
        assert!(partition.read(Consistency::AtLeast(index), WAIT).await.unwrap() >= index);
        assert!(partition.read(Consistency::Linearizable, WAIT).await.unwrap() >= index);
        assert!(partition.read(Consistency::BoundedMs(5_000), WAIT).await.unwrap() >= index);
        assert_eq!(partition.read(Consistency::Local, WAIT).await.unwrap(), partition.applied());
        assert_eq!(value(&**partition, "a").as_deref(), Some("1"));
    }
    applied(&*home, "b=2").await;
    assert_eq!(value(&*directory, "b"), None);
    assert_eq!(
        node.partitions().iter().map(|p| p.id()).collect::<Vec<_>>(),
        [PartitionId(0), PartitionId(1)]
    );
    node.shutdown().await;
}

#[tokio::test]
async fn two_groups_in_memory_take_proposals_and_answer_reads() {
    two_groups_take_proposals_and_answer_reads(memory_node()).await;
}

#[tokio::test]
async fn two_groups_on_disk_take_proposals_and_answer_reads() {
    let temp = tempfile::tempdir().unwrap();
    two_groups_take_proposals_and_answer_reads(disk_node(temp.path())).await;
}

#[tokio::test]
async fn a_conflict_changes_nothing_and_tells_its_index() {
    let node = memory_node();
    let partition = node.open_group(group(1)).await.unwrap();
    let first = applied(&*partition, "name=ada").await;
    let conflict = propose(&*partition, "name?bob").await;
    assert_eq!(conflict, Outcome::Conflict { index: first + 1, detail: b"taken".to_vec() });
    assert_eq!(value(&*partition, "name").as_deref(), Some("ada"));
    assert_eq!(support::count(&*partition), 1);
    assert_eq!(partition.applied(), first + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_claims_exactly_one_wins_also_inside_one_batch() {
    let node = memory_node();
    let partition = node.open_group(group(1)).await.unwrap();
    let claims = (0..64).map(|who| {
        let partition = Arc::clone(&partition);
        tokio::spawn(async move { propose(&*partition, &format!("name?{who}")).await })
    });
    let outcomes = futures::future::join_all(claims).await;
    let won = outcomes.iter().filter(|o| matches!(o, Ok(Outcome::Applied { .. }))).count();
    let lost = outcomes.iter().filter(|o| matches!(o, Ok(Outcome::Conflict { .. }))).count();
    assert_eq!((won, lost, support::count(&*partition)), (1, 63, 1));
}

#[tokio::test]
async fn status_names_leader_voters_term_and_positions() {
    let node = memory_node();
    let partition = node.open_group(group(3)).await.unwrap();
    let index = applied(&*partition, "a=1").await;
    let status = partition.status();
    assert_eq!(status.id, PartitionId(3));
    assert_eq!(
        (status.leader, status.voters, status.learners),
        (Some(NodeId(1)), vec![NodeId(1)], Vec::new())
    );
    assert_eq!((status.applied, status.health), (index, Health::Running));
    assert!(status.committed >= index && status.term >= 1);
}

#[tokio::test]
async fn a_proposal_over_one_mebibyte_is_refused_before_the_log() {
    let node = memory_node();
    let partition = node.open_group(group(1)).await.unwrap();
    let before = partition.applied();
    let mut body = b"a=".to_vec();
    body.resize(PROPOSAL_BYTES_MAX, b'x');
    assert!(matches!(partition.propose(body.clone(), WAIT).await, Outcome::Applied { .. }));
    body.push(b'x');
    assert!(matches!(partition.propose(body, WAIT).await, Outcome::Overloaded(_)));
    assert_eq!(partition.applied(), before + 1);
}

#[tokio::test]
async fn a_read_of_an_index_not_yet_there_ends_at_its_deadline() {
    let node = memory_node();
    let partition = node.open_group(group(1)).await.unwrap();
    let ahead = partition.applied() + 1;
    let early = partition.read(Consistency::AtLeast(ahead), Duration::from_millis(20)).await;
    assert_eq!(early, Err(ReadError::Timeout));
    let (read, index) =
        tokio::join!(partition.read(Consistency::AtLeast(ahead), WAIT), applied(&*partition, "a=1"));
    assert_eq!((read.unwrap(), index), (ahead, ahead));
}

#[tokio::test]
async fn a_stopped_group_answers_unknown_and_stopped() {
    let node = memory_node();
    let partition = node.open_group(group(1)).await.unwrap();
    node.shutdown().await;
    assert_eq!(propose(&*partition, "a=1").await, Outcome::Unknown(UnknownReason::Fatal));
    assert_eq!(partition.read(Consistency::Linearizable, WAIT).await, Err(ReadError::Stopped));
    assert!(!partition.leadership().borrow().leads);
}

#[tokio::test]
async fn a_group_is_open_once() {
    let node = memory_node();
    let _first = node.open_group(group(1)).await.unwrap();
    assert!(matches!(node.open_group(group(1)).await.err(), Some(OpenError::AlreadyOpen(1))));
}

#[tokio::test]
async fn a_replica_that_waits_to_be_brought_in_leads_nothing() {
    let node = memory_node();
    let partition = node.open_group(GroupConfig { start: Start::Join, ..group(1) }).await.unwrap();
    assert_eq!(propose(&*partition, "a=1").await, Outcome::NotLeader { leader: None });
    for consistency in [Consistency::Linearizable, Consistency::BoundedMs(60_000)] {
        let read = partition.read(consistency, WAIT).await;
        assert_eq!(read, Err(ReadError::NotLeader { leader: None }));
    }
    assert_eq!(partition.read(Consistency::Local, WAIT).await, Ok(0));
    assert_eq!(partition.status().voters, Vec::new());
}
