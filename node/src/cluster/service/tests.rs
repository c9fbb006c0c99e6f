use std::future::poll_fn;
use std::sync::Mutex;
use std::task::Poll;

use super::*;
use crate::cluster::testing::{Alone, only_in};

fn status(id: u64, at: Option<(u64, u64)>) -> PartitionStatus {
    PartitionStatus {
        leader: Some(NodeId(1)),
        voters: vec![NodeId(1), NodeId(2)],
        learners: vec![NodeId(3)],
        membership: at.map(|(term, index)| LogPosition { term, index }),
        ..PartitionStatus::new(PartitionId(id))
    }
}

#[test]
fn a_replica_that_its_group_names_closes_only_by_a_newer_membership() {
    let at = |term, index| Some(LogPosition { term, index });
    let status = status(4, Some((3, 20)));
    for node in [2, 3] {
        assert!(named_since(NodeId(node), &status, at(3, 20)));
        assert!(named_since(NodeId(node), &status, at(2, 90)));
        assert!(named_since(NodeId(node), &status, None));
        assert!(!named_since(NodeId(node), &status, at(3, 21)));
    }
    assert!(!named_since(NodeId(9), &status, None));
}

#[test]
fn orders_come_from_voters_of_the_directory_and_keys_go_to_members_and_active_nodes() {
    let directory = status(0, None);
    assert!(orders_from(NodeId(2), Some(&directory)).is_ok());
    assert!(orders_from(NodeId(3), Some(&directory)).is_err());
    assert!(orders_from(NodeId(1), None).is_err());
    let home = status(4, None);
    assert!(keys_for(NodeId(9), Duty::Active, Some(&home)).is_ok());
    assert!(keys_for(NodeId(9), Duty::Draining, Some(&home)).is_err());
    assert!(keys_for(NodeId(3), Duty::Draining, Some(&home)).is_ok());
    assert!(keys_for(NodeId(9), Duty::Draining, Some(&directory)).is_ok());
    assert!(keys_for(NodeId(9), Duty::Active, None).is_err());
}

fn local(alone: &Alone) -> LocalNode {
    LocalNode::new(Arc::clone(&alone.replicas), Arc::clone(&alone.clock), Arc::default())
}

#[tokio::test]
async fn no_key_is_made_or_asked_for_where_the_partition_may_not_be() {
    let (alone, partition) = (Alone::of("us"), PartitionId(4));
    let node = local(&alone);
    let refusal = "partition 4 may not be held in region us";
    assert_eq!(node.found(partition, only_in("eu")).await, Err(refusal.to_owned()));
    let open = OpenReplica {
        partition,
        incarnation: domicile_raft::Incarnation(1),
        settings: only_in("eu"),
        members: vec![NodeId(2)],
        point: None,
    };
    assert_eq!(node.open(open).await, Err(refusal.to_owned()));
    assert!(alone.replicas.key(partition).unwrap().is_none());
}

#[derive(Default)]
struct Told(Mutex<Vec<PartitionId>>);

impl DomainService for Told {
    fn serve(&self, _: Asker, _: PartitionId, _: Vec<u8>, _: Duration) -> BoxFuture<'static, Reply> {
        Box::pin(async { refused("nothing is asked here") })
    }
    fn opened(&self, partition: PartitionId) {
        self.0.lock().unwrap().push(partition);
    }
    fn closing(&self, _: PartitionId) {}
    fn stopping(&self) {}
}

#[tokio::test]
async fn an_order_is_carried_out_whole_by_whomever_it_is_given_up() {
    let alone = Alone::of("us");
    let (node, domain) = (Arc::new(local(&alone)), Arc::new(Told::default()));
    assert!(node.domain.set(domain.clone()).is_ok());
    // Given up later each time.
    for looks in 1..20 {
        let partition = PartitionId(looks);
        alone.replicas.make_key(partition).unwrap();
        let (incarnation, settings) = (domicile_raft::Incarnation(1), only_in("us"));
        let open = OpenReplica { partition, incarnation, settings, members: Vec::new(), point: None };
        let mut order = node.answer_own(Ask::OpenReplica(open));
        for _ in 0..looks {
            if let Poll::Ready(reply) = poll_fn(|cx| Poll::Ready(order.as_mut().poll(cx))).await {
                assert!(matches!(reply, Reply::Done));
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(order);
        let known = async {
            while !domain.0.lock().unwrap().contains(&partition) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), known).await.unwrap();
        assert!(alone.replicas.executor(partition).is_some());
    }
}

#[tokio::test]
async fn a_key_is_handed_out_to_the_regions_of_the_partitions_own_log() {
    let (alone, partition) = (Alone::of("eu"), PartitionId(4));
    assert!(alone.found(partition, only_in("eu")).await.is_ok());
    let node = local(&alone);
    let ask = |region: &str| node.hand_out_key(region, partition, &TransferKey(vec![7; 32]));
    assert!(matches!(ask("eu"), Ok(Reply::PartitionKey(_))));
    let Err(refused) = ask("us") else { panic!("a key left its placement") };
    assert_eq!(refused, "partition 4 may not be held in region us");
}
