//! Apply: deterministic, all or nothing, one winner.

use std::sync::Arc;

use domicile_iam::ids::{DataKeyId, Id, ProposalId, RequestId, TenantId, UserId};
use domicile_iam::proposal::{
    ActorKind, ActorRef, Append, ApplyReply, ClaimChange, ClaimKey, ClaimKind, ConflictReason, KeyChange,
    LogCommand, Proposal, ProposedEvent, RangeKey, RangeKind, ReadSet, RecordChange, RecordKey, RecordKind,
    TenantKeys,
};
use domicile_iam::streams::{StreamRef, encode_event};
use domicile_iam::tables;
use domicile_raft::testing::SoloPartition;
use domicile_raft::{Outcome, Partition, Timestamp};
use proptest::prelude::*;

use crate::streams::{Account, AccountEvent, Hit};
use crate::world::{START, dump, solo};

fn tenant() -> TenantId {
    TenantId::new(START, [1; 10])
}

fn stream(n: u8) -> StreamRef {
    StreamRef::of::<Account>(UserId::new(START, [n; 10]))
}

fn proposal(id: u32) -> Proposal {
    let mut random = [0; 10];
    random[..4].copy_from_slice(&id.to_be_bytes());
    Proposal {
        tenant: tenant(),
        epoch: 1,
        id: ProposalId::new(START, random),
        request_hash: None,
        decided_at: START,
        actor: ActorRef { kind: ActorKind::System, id: String::new() },
        request_id: RequestId::new(START, [0; 10]),
        actor_details: None,
        genesis: None,
        reads: ReadSet::default(),
        appends: Vec::new(),
        claims: Vec::new(),
        records: Vec::new(),
        ranges: Vec::new(),
        keys: Vec::new(),
        reply: None,
    }
}

fn genesis() -> Proposal {
    let key = |n| DataKeyId::new(START, [n; 10]);
    let ids = TenantKeys {
        tenant: key(1),
        data: key(2),
        lookup: key(3),
        token: key(4),
        root: key(5),
        root_public: [0; 32],
    };
    Proposal { genesis: Some(ids), ..proposal(u32::MAX) }
}

fn hit(n: u8, expected_version: u64) -> Append {
    let body = encode_event(&AccountEvent::Hit(Hit { by: 1 })).unwrap();
    let event = ProposedEvent { event_type: "account.hit".to_owned(), schema: 1, body };
    Append { stream: stream(n), expected_version, events: vec![event] }
}

fn claim(n: u8) -> ClaimKey {
    ClaimKey { kind: ClaimKind::LoginName, blind: [n; 32] }
}

fn code(n: u8) -> RecordKey {
    RecordKey { kind: RecordKind::AuthorizationCode, key: [n; 32] }
}

fn put(key: RecordKey, expires_at: Timestamp) -> RecordChange {
    RecordChange::Put { key, expected: None, body: vec![1, 0xc0], expires_at }
}

fn born() -> Arc<SoloPartition> {
    let partition = solo();
    send(&partition, genesis());
    partition
}

fn send(partition: &SoloPartition, proposal: Proposal) -> Outcome {
    partition.apply(&LogCommand::Propose(Box::new(proposal)).encode().unwrap()).unwrap()
}

fn applied(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Applied { reply, .. } => ApplyReply::decode(reply).unwrap() == ApplyReply::Done,
        _ => false,
    }
}

fn conflict(outcome: &Outcome) -> Option<ConflictReason> {
    match outcome {
        Outcome::Conflict { detail, .. } => Some(ConflictReason::decode(detail).unwrap()),
        _ => None,
    }
}

/// Each proposal changes something that a later one depends on, and must conflict for that reason.
#[test]
fn every_kind_of_dependency_that_moved_conflicts_and_changes_nothing() {
    let partition = born();
    let range = RangeKey { kind: RangeKind::UserSessions, id: [1; 16] };
    let key = DataKeyId::new(START, [50; 10]);
    let owner = stream(1);
    send(
        &partition,
        Proposal {
            appends: vec![hit(1, 0)],
            claims: vec![ClaimChange::Take { key: claim(1), owner }],
            records: vec![put(code(1), START.plus_ms(10))],
            ranges: vec![range],
            keys: vec![KeyChange::Put { id: key, wrapped: vec![1] }],
            ..proposal(1)
        },
    );
    let reads = |reads| Proposal { reads, appends: vec![hit(9, 0)], ..proposal(2) };
    let none = ReadSet::default;
    let cases = [
        (reads(ReadSet { streams: vec![(owner, 0)], ..none() }), ConflictReason::Stream(owner)),
        (reads(ReadSet { claims: vec![(claim(1), None)], ..none() }), ConflictReason::Claim(claim(1))),
        (reads(ReadSet { records: vec![(code(1), None)], ..none() }), ConflictReason::Record(code(1))),
        (reads(ReadSet { ranges: vec![(range, 0)], ..none() }), ConflictReason::Range(range)),
        (Proposal { appends: vec![hit(1, 0)], ..proposal(2) }, ConflictReason::Stream(owner)),
        (
            Proposal { claims: vec![ClaimChange::Take { key: claim(1), owner: stream(2) }], ..proposal(2) },
            ConflictReason::Claim(claim(1)),
        ),
        (
            Proposal {
                claims: vec![ClaimChange::Release { key: claim(1), owner: stream(2) }],
                ..proposal(2)
            },
            ConflictReason::Claim(claim(1)),
        ),
        (Proposal { records: vec![put(code(1), START)], ..proposal(2) }, ConflictReason::Record(code(1))),
        (
            Proposal { keys: vec![KeyChange::Put { id: key, wrapped: vec![2] }], ..proposal(2) },
            ConflictReason::Key(key),
        ),
        (Proposal { epoch: 2, ..proposal(2) }, ConflictReason::Epoch),
        (genesis_again(), ConflictReason::Epoch),
        (Proposal { tenant: TenantId::new(START, [3; 10]), ..proposal(2) }, ConflictReason::Epoch),
    ];
    for (proposal, reason) in cases {
        let before = dump(&*partition.state());
        assert_eq!(conflict(&send(&partition, proposal)), Some(reason));
        assert_eq!(dump(&*partition.state()), before);
    }
}

fn genesis_again() -> Proposal {
    Proposal { id: proposal(2).id, ..genesis() }
}

#[test]
fn a_claim_can_be_released_and_taken_by_another_in_one_proposal() {
    let partition = born();
    let (one, two) = (stream(1), stream(2));
    send(
        &partition,
        Proposal { claims: vec![ClaimChange::Take { key: claim(1), owner: one }], ..proposal(1) },
    );
    let swap = vec![
        ClaimChange::Release { key: claim(1), owner: one },
        ClaimChange::Take { key: claim(1), owner: two },
    ];
    assert!(applied(&send(&partition, Proposal { claims: swap, ..proposal(2) })));
    assert_eq!(tables::claim_owner(&*partition.state(), tenant(), claim(1)).unwrap(), Some(two));
}

#[test]
fn log_time_never_goes_back_and_expiry_is_judged_by_it() {
    let partition = born();
    let late = START.plus_ms(1_000);
    send(&partition, Proposal { records: vec![put(code(1), late)], ..proposal(1) });
    send(&partition, Proposal { decided_at: late, ..proposal(2) });
    // Decided while the code was valid by its proposer's clock, applied when it no longer is.
    let take = RecordChange::Take { key: code(1), expected: 2 };
    let outcome = send(&partition, Proposal { records: vec![take], ..proposal(3) });
    assert_eq!(conflict(&outcome), Some(ConflictReason::Record(code(1))));
    assert_eq!(tables::log_time(&*partition.state()).unwrap(), late);
}

#[test]
fn a_sweep_removes_the_oldest_first_and_no_more_than_it_names() {
    let partition = born();
    for (id, n) in [(1, 3), (2, 1), (3, 2), (4, 9)] {
        let records = vec![put(code(n), START.plus_ms(u64::from(n)))];
        send(&partition, Proposal { records, ..proposal(id) });
    }
    let sweep = LogCommand::Sweep { cutoff: START.plus_ms(3), count: 2 }.encode().unwrap();
    let swept = |outcome| match outcome {
        Outcome::Applied { reply, .. } => ApplyReply::decode(&reply).unwrap(),
        other => panic!("{other:?}"),
    };
    let left = |partition: &SoloPartition| -> Vec<u8> {
        let state = partition.state();
        let there = |n: &u8| {
            let key = tables::record_key(tenant(), code(*n));
            state.get(&key).unwrap().is_some()
        };
        (1..=9).filter(there).collect()
    };
    assert_eq!(swept(partition.apply(&sweep).unwrap()), ApplyReply::Swept { removed: 2 });
    assert_eq!(left(&partition), [3, 9]);
    assert_eq!(swept(partition.apply(&sweep).unwrap()), ApplyReply::Swept { removed: 1 });
    assert_eq!(left(&partition), [9]);
    assert_eq!(tables::log_time(&*partition.state()).unwrap(), START.plus_ms(3));
}

#[test]
fn an_unknown_apply_version_stops_the_partition_instead_of_being_skipped() {
    let partition = born();
    partition.apply(&LogCommand::SetApplyVersion(1).encode().unwrap()).unwrap();
    assert!(partition.apply(&LogCommand::SetApplyVersion(2).encode().unwrap()).is_err());
}

#[test]
fn bytes_that_are_no_command_stop_the_partition() {
    for bytes in [&b""[..], &[9], &[1], &[1, 0xff, 0xff, 0xff, 0xff]] {
        assert!(solo().apply(bytes).is_err(), "{bytes:?}");
    }
}

#[derive(Clone, Debug)]
enum Op {
    Append { stream: u8, expected: u64, id: u32 },
    Claim { claim: u8, owner: u8, take: bool, id: u32 },
    Put { code: u8, lives_ms: u64, id: u32 },
    Take { code: u8, version: u64, id: u32 },
    Sweep { after_ms: u64, count: u32 },
    Wait { ms: u64, id: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    // Few ids, so that some proposals come twice.
    let id = 0..40_u32;
    prop_oneof![
        (0..3_u8, 0..4_u64, id.clone()).prop_map(|(stream, expected, id)| Op::Append {
            stream,
            expected,
            id
        }),
        (0..3_u8, 0..3_u8, any::<bool>(), id.clone()).prop_map(|(claim, owner, take, id)| Op::Claim {
            claim,
            owner,
            take,
            id
        }),
        (0..3_u8, 0..50_u64, id.clone()).prop_map(|(code, lives_ms, id)| Op::Put { code, lives_ms, id }),
        (0..3_u8, 0..30_u64, id.clone()).prop_map(|(code, version, id)| Op::Take { code, version, id }),
        (0..100_u64, 0..4_u32).prop_map(|(after_ms, count)| Op::Sweep { after_ms, count }),
        (0..100_u64, id).prop_map(|(ms, id)| Op::Wait { ms, id }),
    ]
}

fn entry(op: &Op) -> Vec<u8> {
    let command = match *op {
        Op::Append { stream, expected, id } => {
            Proposal { appends: vec![hit(stream, expected)], ..proposal(id) }
        }
        Op::Claim { claim: n, owner, take, id } => {
            let (key, owner) = (claim(n), stream(owner));
            let change =
                if take { ClaimChange::Take { key, owner } } else { ClaimChange::Release { key, owner } };
            Proposal { claims: vec![change], ..proposal(id) }
        }
        Op::Put { code: n, lives_ms, id } => {
            Proposal { records: vec![put(code(n), START.plus_ms(lives_ms))], ..proposal(id) }
        }
        Op::Take { code: n, version, id } => {
            Proposal { records: vec![RecordChange::Take { key: code(n), expected: version }], ..proposal(id) }
        }
        Op::Sweep { after_ms, count } => {
            return LogCommand::Sweep { cutoff: START.plus_ms(after_ms), count }.encode().unwrap();
        }
        Op::Wait { ms, id } => Proposal { decided_at: START.plus_ms(ms), ..proposal(id) },
    };
    LogCommand::Propose(Box::new(command)).encode().unwrap()
}

fn shuffled(count: usize) -> impl Strategy<Value = Vec<usize>> {
    Just((0..count).collect::<Vec<_>>()).prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn replaying_a_log_gives_equal_bytes(ops in prop::collection::vec(op(), 0..60)) {
        let (one, two) = (born(), born());
        let mut outcomes = Vec::new();
        for op in &ops {
            outcomes.push(one.apply(&entry(op)).unwrap());
        }
        for (op, first) in ops.iter().zip(&outcomes) {
            prop_assert_eq!(&two.apply(&entry(op)).unwrap(), first);
        }
        prop_assert_eq!(dump(&*one.state()), dump(&*two.state()));
    }

    #[test]
    fn of_conflicting_proposals_in_any_order_exactly_one_wins(order in shuffled(6)) {
        let partition = born();
        send(&partition, Proposal { records: vec![put(code(1), START.plus_ms(99))], ..proposal(100) });
        let take = RecordChange::Take { key: code(1), expected: 2 };
        // All want the same claim, record and stream version; some only two of the three.
        let rivals: Vec<Proposal> = (0..6_u8).map(|n| {
            let rival = proposal(u32::from(n));
            let claims = vec![ClaimChange::Take { key: claim(1), owner: stream(n) }];
            match n % 3 {
                0 => Proposal { claims, appends: vec![hit(7, 0)], records: vec![take.clone()], ..rival },
                1 => Proposal { claims, records: vec![take.clone()], ..rival },
                _ => Proposal { claims, appends: vec![hit(7, 0)], ..rival },
            }
        }).collect();
        let winners = order.iter().filter(|&&n| applied(&send(&partition, rivals[n].clone()))).count();
        prop_assert_eq!(winners, 1);
    }

    #[test]
    fn a_record_is_taken_once_however_often_it_is_tried(ids in prop::collection::vec(0..8_u32, 1..30)) {
        let partition = born();
        send(&partition, Proposal { records: vec![put(code(1), START.plus_ms(99))], ..proposal(100) });
        let take = RecordChange::Take { key: code(1), expected: 2 };
        let taken = ids
            .iter()
            .filter(|&&id| applied(&send(&partition, Proposal { records: vec![take.clone()], ..proposal(id) })))
            .count();
        prop_assert_eq!(taken, 1);
    }

    #[test]
    fn a_proposal_that_comes_again_is_answered_as_the_first_time_and_not_applied(
        ids in prop::collection::vec(0..5_u32, 1..40),
    ) {
        let partition = born();
        let mut first = std::collections::BTreeMap::new();
        for id in ids {
            let version = first.len() as u64;
            let hash = Some([7; 32]);
            let again = first.contains_key(&id);
            let attempt = Proposal { appends: vec![hit(1, version)], request_hash: hash, reply: Some(vec![9]), ..proposal(id) };
            let Outcome::Applied { index, reply } = send(&partition, attempt) else {
                return Err(TestCaseError::fail("conflict"));
            };
            let reply = ApplyReply::decode(&reply).unwrap();
            if again {
                let expected = ApplyReply::Replayed { index: first[&id], same_request: true, reply: Some(vec![9]) };
                prop_assert_eq!(reply, expected);
            } else {
                prop_assert_eq!(reply, ApplyReply::Done);
                first.insert(id, index);
            }
        }
        let row = tables::stream_row(&*partition.state(), tenant(), stream(1)).unwrap().unwrap();
        prop_assert_eq!(row.version, first.len() as u64);
    }
}
