//! Stored formats as they are for ever (docs/adr/0005): each file decodes, means what it meant, and
//! encodes to the same bytes. `DOMICILE_GOLDEN=write` adds missing files; it never changes one.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use domicile_iam::audit::{Checkpoint, SignedCheckpoint};
use domicile_iam::blind;
use domicile_iam::event::{CHAIN_START, StoredEvent, chain};
use domicile_iam::execute::ConsistencyToken;
use domicile_iam::ids::{DataKeyId, Id, ProposalId, RequestId, TenantId};
use domicile_iam::proposal::{
    ActorKind, ActorRef, Append, ApplyReply, ClaimChange, ClaimKey, ClaimKind, KeyChange, LogCommand,
    Proposal, ProposedEvent, RangeKey, RangeKind, ReadSet, RecordChange, RecordKey, RecordKind, TenantKeys,
};
use domicile_iam::seal::{
    FixedKek, Kek, Keyring, PartitionCipher, PartitionKey, Place, RootKey, TenantKeyring, WrappedKey,
    WrappedPartitionKey, decode_sealed, encode_sealed, seal_value,
};
use domicile_iam::streams::{StreamKind, StreamRef};
use domicile_iam::tables::{self, ClaimRow, OutcomeRow, RecordRowStored, StreamRow, TenantRow};
use domicile_raft::testing::ManualClock;
use domicile_raft::{Clock, EntryCipher, Incarnation, PartitionId};
use domicile_storage::{Batch, Engine, MemoryEngine, Write};

use crate::world::START;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/formats").join(format!("{name}.hex"))
}

/// 32 bytes a line.
fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (n, byte) in bytes.iter().enumerate() {
        if n > 0 && n % 32 == 0 {
            out.push('\n');
        }
        write!(out, "{byte:02x}").unwrap();
    }
    out.push('\n');
    out
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The fixture's bytes. `make` is only for a file that is not there yet.
fn golden(name: &str, make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let path = path(name);
    if !path.exists() && std::env::var("DOMICILE_GOLDEN").is_ok_and(|mode| mode == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, hex(&make())).unwrap();
    }
    unhex(&std::fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display())))
}

fn tenant() -> TenantId {
    TenantId::new(START, [1; 10])
}

fn stream() -> StreamRef {
    StreamRef { kind: StreamKind::User, id: [2; 16] }
}

fn data_key(n: u8) -> DataKeyId {
    DataKeyId::new(START, [n; 10])
}

fn actor() -> ActorRef {
    ActorRef { kind: ActorKind::Operator, id: "op".to_owned() }
}

fn keys() -> TenantKeys {
    TenantKeys {
        tenant: data_key(1),
        data: data_key(2),
        lookup: data_key(3),
        token: data_key(4),
        root: data_key(5),
        root_public: [6; 32],
    }
}

fn proposal() -> Proposal {
    let claim = ClaimKey { kind: ClaimKind::Email, blind: [7; 32] };
    let record = RecordKey { kind: RecordKind::RefreshToken, key: [8; 32] };
    let range = RangeKey { kind: RangeKind::UserSessions, id: [9; 16] };
    let event = ProposedEvent { event_type: "user.created".to_owned(), schema: 1, body: vec![1, 0x80] };
    Proposal {
        tenant: tenant(),
        epoch: 1,
        id: ProposalId::new(START, [3; 10]),
        request_hash: Some([4; 32]),
        decided_at: START,
        actor: actor(),
        request_id: RequestId::new(START, [5; 10]),
        actor_details: Some(vec![1, 0xc0]),
        genesis: Some(keys()),
        reads: ReadSet {
            streams: vec![(stream(), 3)],
            claims: vec![(claim, None), (ClaimKey { kind: ClaimKind::Subject, ..claim }, Some(stream()))],
            records: vec![(record, Some(12))],
            ranges: vec![(range, 2)],
        },
        appends: vec![Append { stream: stream(), expected_version: 3, events: vec![event] }],
        claims: vec![
            ClaimChange::Take { key: claim, owner: stream() },
            ClaimChange::Release { key: claim, owner: stream() },
        ],
        records: vec![
            RecordChange::Put {
                key: record,
                expected: None,
                body: vec![1, 0xc0],
                expires_at: START.plus_ms(60_000),
            },
            RecordChange::Take { key: record, expected: 12 },
        ],
        ranges: vec![range],
        keys: vec![
            KeyChange::Put { id: data_key(2), wrapped: vec![1, 2] },
            KeyChange::Destroy { id: data_key(9) },
        ],
        reply: Some(vec![10, 11]),
    }
}

fn event() -> StoredEvent {
    StoredEvent {
        tenant: tenant(),
        sequence: 258,
        stream: stream(),
        revision: 4,
        event_type: "user.created".to_owned(),
        schema: 1,
        at: START,
        actor: actor(),
        request_id: RequestId::new(START, [5; 10]),
        proposal: ProposalId::new(START, [3; 10]),
        actor_details: Some(vec![1, 0xc0]),
        body: vec![1, 0x80],
    }
}

#[test]
fn log_commands() {
    let commands = [
        ("log-propose", LogCommand::Propose(Box::new(proposal()))),
        ("log-sweep", LogCommand::Sweep { cutoff: START, count: 256 }),
        ("log-apply-version", LogCommand::SetApplyVersion(2)),
    ];
    for (name, command) in commands {
        let bytes = golden(name, || command.encode().unwrap());
        assert_eq!(LogCommand::decode(&bytes).unwrap(), command, "{name}");
        assert_eq!(hex(&command.encode().unwrap()), hex(&bytes), "{name}");
    }
}

#[test]
fn apply_replies() {
    let reply = ApplyReply::Replayed { index: 5, same_request: true, reply: Some(vec![1, 2]) };
    let bytes = golden("apply-replayed", || reply.encode().unwrap());
    assert_eq!(ApplyReply::decode(&bytes).unwrap(), reply);
    assert_eq!(reply.encode().unwrap(), bytes);
}

#[test]
fn stored_events_and_their_chain() {
    let bytes = golden("stored-event", || event().encode().unwrap());
    assert_eq!(StoredEvent::decode(&bytes).unwrap(), event());
    assert_eq!(hex(&event().encode().unwrap()), hex(&bytes));
    let hash = golden("chain-hash", || chain(&CHAIN_START, &bytes).to_vec());
    assert_eq!(chain(&CHAIN_START, &bytes).to_vec(), hash);
}

#[test]
fn rows() {
    macro_rules! row {
        ($name:literal, $row:ty, $value:expr) => {
            let value: $row = $value;
            let bytes = golden($name, || value.encode_row().unwrap());
            assert_eq!(<$row>::decode_row(&bytes).unwrap(), value);
            assert_eq!(value.encode_row().unwrap(), bytes);
        };
    }
    row!("row-tenant", TenantRow, TenantRow { epoch: 1, sequence: 258, head: [3; 32], keys: keys() });
    row!("row-stream", StreamRow, StreamRow { version: 4, state: vec![1, 0x80] });
    row!("row-claim", ClaimRow, ClaimRow { owner: stream() });
    row!(
        "row-record",
        RecordRowStored,
        RecordRowStored { version: 12, expires_at: START, body: vec![1, 0xc0] }
    );
    row!(
        "row-outcome",
        OutcomeRow,
        OutcomeRow { request_hash: Some([4; 32]), index: 12, expires_at: START, reply: Some(vec![10]) }
    );
}

#[test]
fn consistency_tokens() {
    let token = ConsistencyToken {
        tenant: tenant(),
        epoch: 1,
        partition: PartitionId(2),
        incarnation: Incarnation(1),
        index: 77,
    };
    let text = String::from_utf8(golden("consistency-token", || token.to_string().into_bytes())).unwrap();
    assert_eq!(text.parse::<ConsistencyToken>().unwrap(), token);
    assert_eq!(token.to_string(), text);
}

#[test]
fn signed_checkpoints() {
    let root = RootKey::from_seed(&[7; 32]).unwrap();
    let checkpoint = Checkpoint { tenant: tenant(), sequence: 258, head: [3; 32], at: START };
    let signed = SignedCheckpoint::sign(checkpoint, &root).unwrap();
    let bytes = golden("signed-checkpoint", || signed.encode().unwrap());
    assert!(SignedCheckpoint::decode(&bytes).unwrap().is_signed_by(&root.public()));
    assert_eq!(signed.encode().unwrap(), bytes);
}

/// How the fixtures of keys were made; they are read, not made, from then on.
fn made() -> (PartitionKey, TenantKeys, Vec<(DataKeyId, WrappedKey)>, TenantKeyring) {
    let clock = ManualClock::new(START, 42);
    let partition = PartitionKey::generate(PartitionId(2), &clock);
    let keyring = Keyring::new(partition.clone());
    let genesis = keyring.genesis(tenant(), START, &clock).unwrap();
    let keys = keyring.unborn(Arc::new(MemoryEngine::new()), tenant(), &genesis);
    (partition, genesis.ids, genesis.wrapped().to_vec(), keys)
}

fn kek() -> FixedKek {
    FixedKek::new(Kek::from_bytes(1, &[1; 32]).unwrap(), Vec::new())
}

const NAMES: [&str; 5] =
    ["wrapped-tenant", "wrapped-data", "wrapped-lookup", "wrapped-token", "wrapped-root"];

/// The tenant of the fixtures, from nothing but the fixtures and the key-encryption key.
fn restored() -> (PartitionKey, TenantKeyring) {
    let clock = ManualClock::new(START, 43);
    let wrapped = golden("partition-key", || made().0.wrap(&kek(), &clock).unwrap().to_bytes().unwrap());
    let decoded = WrappedPartitionKey::from_bytes(&wrapped).unwrap();
    assert_eq!(decoded.to_bytes().unwrap(), wrapped);
    let partition = decoded.unwrap_with(&kek()).unwrap();
    let row = golden("row-tenant-of-keys", || {
        TenantRow { epoch: 1, sequence: 0, head: CHAIN_START, keys: made().1 }.encode_row().unwrap()
    });
    let ids = TenantRow::decode_row(&row).unwrap().keys;
    let mut writes = vec![Write::Put { key: tables::tenant_key(tenant()), value: row }];
    for (n, (name, id)) in
        NAMES.iter().zip([ids.tenant, ids.data, ids.lookup, ids.token, ids.root]).enumerate()
    {
        let value = golden(name, || made().2[n].1.to_bytes().unwrap());
        assert_eq!(WrappedKey::from_bytes(&value).unwrap().to_bytes().unwrap(), value, "{name}");
        writes.push(Write::Put { key: tables::key_key(tenant(), id), value });
    }
    let engine = Arc::new(MemoryEngine::new());
    engine.commit(Batch { writes }).unwrap();
    let keys = Keyring::new(partition.clone()).tenant(engine, tenant()).unwrap().unwrap();
    (partition, keys)
}

#[test]
fn the_key_hierarchy_opens_a_sealed_value() {
    let (_, keys) = restored();
    let place = Place::Stream { stream: stream(), revision: 4, field: "name" };
    let id = keys.ids().data;
    let bytes = golden("sealed", || {
        let key = made().3.key(id).unwrap().unwrap();
        encode_sealed(&seal_value(&key, id, tenant(), &place, [12; 12], b"Ada Lovelace").unwrap()).unwrap()
    });
    let sealed = decode_sealed(&bytes).unwrap();
    assert_eq!(encode_sealed(&sealed).unwrap(), bytes);
    assert_eq!(*keys.open(&place, &sealed).unwrap().unwrap(), "Ada Lovelace");
    assert_eq!(keys.root().unwrap().public(), keys.ids().root_public);
}

#[test]
fn blind_values() {
    let (_, keys) = restored();
    let values = [
        ("blind-login-name", ClaimKind::LoginName, "Ada"),
        ("blind-email", ClaimKind::Email, "Straße@Bücher.example"),
        ("blind-client-id", ClaimKind::ClientId, "https://app.example/Client"),
    ];
    for (name, kind, value) in values {
        let blind =
            |keys: &TenantKeyring| blind::claim_key(&keys.lookup().unwrap(), kind, value).unwrap().blind;
        assert_eq!(golden(name, || blind(&made().3).to_vec()), blind(&keys), "{name}");
    }
    let slug = blind::public_claim_key(ClaimKind::Slug, "acme").unwrap().blind;
    assert_eq!(golden("blind-slug", || slug.to_vec()), slug);
}

#[test]
fn sealed_log_entries_and_tokens() {
    let (partition, keys) = restored();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(START, 44));
    let cipher = PartitionCipher::new(partition, Vec::new(), clock);
    let entry = golden("log-entry", || cipher.seal(b"context", b"entry"));
    assert_eq!(cipher.open(b"context", &entry).unwrap(), b"entry");
    let token =
        golden("sealed-token", || keys.seal_token("label v1", b"context", [13; 12], b"token").unwrap());
    assert_eq!(*keys.open_token("label v1", b"context", &token).unwrap(), b"token");
}

#[test]
fn directory_entries_of_both_formats_are_read_as_they_were_meant() {
    use domicile_iam::model::{Edge, SigningAlgorithm};
    use domicile_iam::streams::directory::DirectoryEntry;
    let (slug, issuer) = ("acme".to_owned(), "https://id.example/t/acme".to_owned());
    let (home, root_public_key) = (PartitionId(3), [7_u8; 32]);
    // Positional, as the first writers did.
    let first = (tenant(), slug.clone(), issuer.clone(), home, 1_u64, 4_u64, root_public_key);
    let stored = golden("directory-entry-v1", || domicile_storage::codec::encode_fixed(1, &first).unwrap());
    let read = DirectoryEntry::decode(&stored).unwrap();
    assert_eq!((&read.slug, &read.issuer, read.home, read.revision), (&slug, &issuer, home, 4));
    let entry = DirectoryEntry {
        tenant: tenant(),
        slug,
        issuer,
        home,
        epoch: 1,
        revision: 40,
        root_public_key,
        jwks: Some("{\"keys\":[]}".to_owned()),
        signing_algorithms: vec![SigningAlgorithm::RS256, SigningAlgorithm::EdDSA],
        scopes: vec!["openid".to_owned()],
        acr_values: vec!["urn:example".to_owned()],
        disabled: true,
        edge: Edge::Placement,
        placement: None,
        home_origin: Some("https://eu.example".to_owned()),
        // Later than the fixture, which stays: false is absent.
        require_pushed_authorization_requests: false,
        self_registration: false,
        registration: domicile_iam::model::Registration::Closed,
    };
    let stored = golden("directory-entry-v2", || entry.encode().unwrap());
    assert_eq!(DirectoryEntry::decode(&stored).unwrap(), entry);
    assert_eq!(hex(&entry.encode().unwrap()), hex(&stored));
}
