//! What nodes of different versions say to each other, as it is for ever: a fixture for each kind of ask and
//! answer. `DOMICILE_GOLDEN=write` adds missing ones; it never changes one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test")]

use std::path::PathBuf;
use std::time::Duration;

use domicile_raft::placement::{Placement, Regions, SurvivalGoal};
use domicile_raft::{Incarnation, NodeId, PartitionId};

use super::remote::{Ask, decode_answer, decode_request, encode_answer, encode_request};
use super::steps::RemoteCommand;
use crate::commands::{
    ActivateTenant, ChooseDeletion, CreateHome, DeleteHome, ReserveTenant, RootSigned, SetNodeState,
    SignEntry, TenantRefusal,
};
use crate::execute::{Actor, ConsistencyToken, ExecuteError, IdempotencyKey, RequestContext, Written};
use crate::ids::{Id, RequestId, TenantId};
use crate::model::{NodeState, TenantSettings};
use crate::proposal::{ActorKind, ActorRef};
use crate::streams::directory::SignedEntry;

fn golden(name: &str, made: &[u8]) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/remote");
    let path = folder.join(format!("{name}.hex"));
    if !path.exists() && std::env::var("DOMICILE_GOLDEN").is_ok_and(|mode| mode == "write") {
        std::fs::create_dir_all(&folder).unwrap();
        let digits: Vec<String> = made.iter().map(|byte| format!("{byte:02x}")).collect();
        let lines: Vec<String> = digits.chunks(50).map(<[String]>::concat).collect();
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()));
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn context() -> RequestContext {
    RequestContext {
        tenant: TenantId::from_bytes([1; 16]),
        actor: Actor {
            who: ActorRef { kind: ActorKind::Operator, id: "op".to_owned() },
            key: None,
            name: Some("Olive".to_owned()),
        },
        request_id: RequestId::from_bytes([2; 16]),
        idempotency: Some(IdempotencyKey { key: "k".to_owned(), request_hash: [3; 32] }),
        deadline: Duration::from_secs(5),
        address: Some("192.0.2.7".to_owned()),
        agent: Some("agent".to_owned()),
    }
}

fn asks() -> Vec<(&'static str, Ask)> {
    let tenant = TenantId::from_bytes([1; 16]);
    let step = |command| Ask::Step(Box::new(command));
    let signed = SignedEntry { entry: vec![4; 40], signature: vec![5; 64] };
    let home = CreateHome {
        slug: "acme".to_owned(),
        display_name: "Acme".to_owned(),
        issuer: "https://acme.example".to_owned(),
        settings: TenantSettings::default(),
        placement: Some(Placement {
            regions: Regions::Only(["eu".to_owned()].into()),
            survive: SurvivalGoal::Zone,
            preferred_leader_regions: vec!["eu".to_owned()],
            read_replicas: false,
        }),
    };
    let reserve = ReserveTenant { tenant, slug: "acme".to_owned(), home: PartitionId(1), placement: None };
    let activate = ActivateTenant { tenant, signed: RootSigned { signed, root_public_key: [6; 32] } };
    let sign = SignEntry { home: PartitionId(1), home_origin: Some("https://eu.example".to_owned()) };
    let choose = ChooseDeletion { slug: "acme".to_owned() };
    let duty = SetNodeState { node: NodeId(2), state: NodeState::Draining };
    vec![
        ("ask-prepare", Ask::Prepare),
        ("ask-view", Ask::View),
        ("ask-reserve-tenant", step(RemoteCommand::ReserveTenant(reserve))),
        ("ask-create-home", step(RemoteCommand::CreateHome(home))),
        ("ask-sign-entry", step(RemoteCommand::SignEntry(sign))),
        ("ask-activate-tenant", step(RemoteCommand::ActivateTenant(activate))),
        ("ask-delete-home", step(RemoteCommand::DeleteHome(DeleteHome { if_revision: Some(3) }))),
        ("ask-choose-deletion", step(RemoteCommand::ChooseDeletion(choose))),
        ("ask-set-node-state", step(RemoteCommand::SetNodeState(duty))),
    ]
}

#[test]
fn asks_are_written_and_read_as_their_fixtures_say() {
    for (name, ask) in asks() {
        let made = encode_request(&context(), Duration::from_secs(4), ask).unwrap();
        let stored = golden(name, &made);
        assert_eq!(made, stored, "{name} is written otherwise");
        let (read, ask) = decode_request(&stored).unwrap();
        let again = encode_request(&read, read.deadline, ask).unwrap();
        assert_eq!(again, stored, "{name} is read otherwise");
    }
}

#[test]
fn answers_are_written_and_read_as_their_fixtures_say() {
    type Outcome = Result<Written<u64>, ExecuteError<TenantRefusal>>;
    let consistency = ConsistencyToken {
        tenant: TenantId::from_bytes([1; 16]),
        epoch: 1,
        partition: PartitionId(1),
        incarnation: Incarnation(1),
        index: 9,
    };
    let partition = PartitionId(1);
    let outcomes: [(&str, Outcome); 10] = [
        ("answer-done", Ok(Written { reply: 7, consistency, replayed: true })),
        ("answer-refused", Err(ExecuteError::Refused(TenantRefusal::SlugTaken))),
        ("answer-idempotency-mismatch", Err(ExecuteError::IdempotencyMismatch)),
        ("answer-not-leader", Err(ExecuteError::NotLeader { partition, leader: Some(NodeId(3)) })),
        ("answer-unknown", Err(ExecuteError::Unknown)),
        ("answer-unavailable", Err(ExecuteError::Unavailable { retry_after_s: 2, reason: "why" })),
        ("answer-overloaded", Err(ExecuteError::Overloaded("disk full"))),
        ("answer-fault", Err(ExecuteError::Fault("cause".to_owned()))),
        ("answer-tenant-erased", Err(ExecuteError::TenantErased)),
        ("answer-key-gone", Err(ExecuteError::KeyGone)),
    ];
    for (name, outcome) in outcomes {
        let made = encode_answer(outcome);
        let stored = golden(name, &made);
        assert_eq!(made, stored, "{name} is written otherwise");
        let read = encode_answer::<u64, TenantRefusal>(decode_answer(partition, &stored));
        assert_eq!(read, stored, "{name} is read otherwise");
    }
}

#[test]
fn a_full_leader_is_told_by_its_reason_also_where_the_reason_is_not_known() {
    let read = |bytes: &[u8]| decode_answer::<u64, TenantRefusal>(PartitionId(1), bytes);
    let told = |what: &'static str| {
        let answer = encode_answer::<u64, TenantRefusal>(Err(ExecuteError::Overloaded(what)));
        let Err(ExecuteError::Overloaded(what)) = read(&answer) else { panic!("another outcome") };
        what
    };
    for known in ["disk full", "apply lag", "bytes in flight", "latches are contended"] {
        assert_eq!(told(known), known);
    }
    assert_eq!(told("a bound of later versions"), "the partition's leader is overloaded");
    // As nodes wrote it that gave no reason: the bare word.
    let bare = [&[0x01, 0xaa][..], b"Overloaded"].concat();
    assert!(matches!(read(&bare), Err(ExecuteError::Overloaded("the partition's leader is overloaded"))));
}

/// What nodes read that do not know of reasons: the same outcome, without it.
#[test]
fn a_node_that_knows_no_reasons_reads_that_nothing_was_done() {
    #[derive(serde::Deserialize)]
    enum Before {
        Unavailable { retry_after_s: u32 },
    }
    let answer = encode_answer::<u64, TenantRefusal>(Err(ExecuteError::Overloaded("disk full")));
    let (_, body) = domicile_storage::codec::split_format(&answer, &[1]).unwrap();
    let Before::Unavailable { retry_after_s } = domicile_storage::codec::decode_open(body).unwrap();
    assert_eq!(retry_after_s, 1);
}
