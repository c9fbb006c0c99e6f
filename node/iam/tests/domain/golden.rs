//! One fixture for each revision of each event, kept for ever: bytes that were written once must be
//! read as they were meant.
//!
//! A new revision gets its fixture with `DOMICILE_GOLDEN=write cargo test -p domicile-iam golden`, which
//! writes what is missing and never touches what is there.

mod cluster_exemplars;
mod exemplars;
mod registration_exemplars;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use domicile_iam::streams::session::SessionEvent;
use domicile_iam::streams::{DomainEvent, RawEvent, decode_event, encode_event};

use exemplars::{Exemplar, all, session_started_v1, types};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/events")
}

fn file(event_type: &str, schema: u16) -> String {
    format!("{event_type}.v{schema}.hex")
}

fn to_hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").unwrap();
        digits
    });
    let lines: Vec<&str> =
        digits.as_bytes().chunks(100).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join("\n") + "\n"
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The fixture; writes it first if it is missing and that is asked for.
fn fixture(event_type: &str, schema: u16, bytes: &[u8]) -> Vec<u8> {
    let path = folder().join(file(event_type, schema));
    if !path.exists() && std::env::var("DOMICILE_GOLDEN").is_ok_and(|mode| mode == "write") {
        fs::write(&path, to_hex(bytes)).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()));
    from_hex(&text)
}

pub(crate) fn check<E: DomainEvent + PartialEq + std::fmt::Debug>(event: &E) {
    let (event_type, schema) = (event.event_type(), event.schema());
    let stored = fixture(event_type, schema, &encode_event(event).unwrap());
    assert_eq!(
        to_hex(&encode_event(event).unwrap()),
        to_hex(&stored),
        "{event_type} v{schema} is written otherwise"
    );
    let raw = RawEvent { event_type, schema, body: &stored };
    assert_eq!(&decode_event::<E>(raw).unwrap(), event, "{event_type} v{schema} is read otherwise");
}

#[test]
fn every_event_is_written_and_read_as_its_fixture_says() {
    for exemplar in all() {
        exemplar.check();
    }
}

#[test]
fn every_event_type_has_an_exemplar() {
    let shown: BTreeMap<&str, u16> = all().iter().map(Exemplar::name).collect();
    assert_eq!(shown, types().into_iter().collect());
}

#[test]
fn every_fixture_is_of_a_known_event_and_no_revision_lacks_one() {
    let current: BTreeMap<&str, u16> = types().into_iter().collect();
    let wanted: BTreeSet<String> =
        current.iter().flat_map(|(name, schema)| (1..=*schema).map(|schema| file(name, schema))).collect();
    let found: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn session_started_v1_reads_as_a_list_of_one_authentication() {
    let (written, expected) = session_started_v1();
    let stored = fixture("session.started", 1, &written);
    assert_eq!(to_hex(&written), to_hex(&stored));
    let raw = RawEvent { event_type: "session.started", schema: 1, body: &stored };
    assert_eq!(decode_event::<SessionEvent>(raw).unwrap(), expected);
}

#[test]
fn clients_of_revision_1_keep_no_secret_that_can_be_read() {
    use domicile_iam::model::AuthMethod;
    use domicile_iam::streams::client::ClientEvent;
    let read = |event_type: &str| {
        let body = fixture(event_type, 1, &[]);
        decode_event::<ClientEvent>(RawEvent { event_type, schema: 1, body: &body }).unwrap()
    };
    let ClientEvent::Registered(registered) = read("client.registered") else { panic!("another event") };
    assert_eq!(registered.metadata.token_endpoint_auth_method, AuthMethod::ClientSecretPost);
    assert!(registered.credentials.iter().all(|credential| credential.secret.is_none()));
    let ClientEvent::CredentialAdded(added) = read("client.credential.added") else {
        panic!("another event")
    };
    assert_eq!((added.credential.secret, added.expiries.len()), (None, 1));
    let ClientEvent::MetadataChanged(changed) = read("client.metadata.changed") else {
        panic!("another event")
    };
    assert_eq!(changed.metadata.unwrap().after.client_name.as_deref(), Some("New"));
}

#[test]
fn tenants_of_revision_1_have_the_defaults_of_what_came_later() {
    use domicile_iam::model::{Edge, TenantSettings};
    use domicile_iam::streams::tenant::TenantEvent;
    let read = |event_type: &str| {
        let body = fixture(event_type, 1, &[]);
        decode_event::<TenantEvent>(RawEvent { event_type, schema: 1, body: &body }).unwrap()
    };
    let TenantEvent::Created(created) = read("tenant.created") else { panic!("another event") };
    let defaults = TenantSettings::default();
    assert_eq!((created.placement, created.settings.edge), (None, Edge::Any));
    assert_eq!(created.settings.token_staleness_ms, defaults.token_staleness_ms);
    let TenantEvent::Changed(changed) = read("tenant.changed") else { panic!("another event") };
    let settings = changed.settings.unwrap();
    assert_eq!(settings.before.service_token_lifetime_ms, defaults.service_token_lifetime_ms);
    assert_ne!(settings.before, settings.after);
}

#[test]
fn a_used_join_token_of_revision_1_keeps_only_the_hash_of_the_joiners_secret() {
    use domicile_iam::streams::cluster::JoinTokenEvent;
    let body = fixture("join_token.redeemed", 1, &[]);
    let raw = RawEvent { event_type: "join_token.redeemed", schema: 1, body: &body };
    let JoinTokenEvent::Redeemed(redeemed) = decode_event(raw).unwrap() else { panic!("another event") };
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &[2; 32]);
    assert_eq!(redeemed.joiner.as_slice(), hash.as_ref());
}

#[test]
fn the_issuer_of_a_routed_tenant_is_read_and_may_be_absent() {
    use domicile_iam::streams::directory::{DirectoryTenantActivated, DirectoryTenantEvent, SignedEntry};
    let signed = SignedEntry { entry: vec![2; 40], signature: vec![2; 64] };
    for issuer in [None, Some("https://id.example".to_owned())] {
        let activated = DirectoryTenantActivated { root_public_key: [1; 32], signed: signed.clone(), issuer };
        let event = DirectoryTenantEvent::Activated(activated);
        let body = encode_event(&event).unwrap();
        let raw = RawEvent { event_type: "directory.tenant.activated", schema: 1, body: &body };
        assert_eq!(decode_event::<DirectoryTenantEvent>(raw).unwrap(), event);
    }
}

#[test]
fn a_family_bound_to_a_key_and_to_resources_is_read_back_and_needs_no_new_revision() {
    use domicile_iam::streams::family::{FamilyCreated, FamilyEvent};
    let body = fixture("family.created", 1, &[]);
    let raw = RawEvent { event_type: "family.created", schema: 1, body: &body };
    let FamilyEvent::Created(old) = decode_event(raw).unwrap() else { panic!("another event") };
    assert!(old.dpop_jkt.is_none() && old.resources.is_empty() && old.mode.is_rotate());
    let bound = FamilyEvent::Created(FamilyCreated {
        dpop_jkt: Some("jkt".to_owned()),
        resources: ["https://api.example".to_owned()].into(),
        mode: domicile_iam::model::FamilyMode::Static,
        ..old
    });
    let body = encode_event(&bound).unwrap();
    let raw = RawEvent { event_type: "family.created", schema: 1, body: &body };
    assert_eq!(decode_event::<FamilyEvent>(raw).unwrap(), bound);
}

#[test]
fn registrations_that_turn_something_on_are_read_back_and_older_ones_have_it_off() {
    use domicile_iam::streams::client::{ClientEvent, ClientRegistered};
    let body = fixture("client.registered", 1, &[]);
    let raw = RawEvent { event_type: "client.registered", schema: 1, body: &body };
    let ClientEvent::Registered(old) = decode_event(raw).unwrap() else { panic!("another event") };
    let mut metadata = old.metadata.clone();
    assert!(!metadata.require_pushed_authorization_requests && !metadata.dpop_bound_access_tokens);
    metadata.require_pushed_authorization_requests = true;
    metadata.dpop_bound_access_tokens = true;
    metadata.userinfo_signed_response_alg = Some(domicile_iam::model::SigningAlgorithm::EdDSA);
    metadata.introspection_signed_response_alg = Some(domicile_iam::model::SigningAlgorithm::ES256);
    let new = ClientEvent::Registered(ClientRegistered { metadata, ..old });
    let body = encode_event(&new).unwrap();
    let raw = RawEvent { event_type: "client.registered", schema: new.schema(), body: &body };
    assert_eq!(decode_event::<ClientEvent>(raw).unwrap(), new);
}

#[test]
fn a_resource_server_with_scopes_is_read_back_and_an_older_one_takes_any() {
    use domicile_iam::streams::client::{ClientEvent, ClientRegistered};
    for schema in [1, 2] {
        let body = fixture("client.registered", schema, &[]);
        let raw = RawEvent { event_type: "client.registered", schema, body: &body };
        let ClientEvent::Registered(old) = decode_event(raw).unwrap() else { panic!("another event") };
        assert_eq!(old.metadata.resource_scopes(), None, "schema {schema}");
        let mut metadata = old.metadata.clone();
        metadata.extra.insert("resource_scopes".to_owned(), serde_json::json!(["read"]));
        let new = ClientEvent::Registered(ClientRegistered { metadata, ..old });
        let body = encode_event(&new).unwrap();
        let raw = RawEvent { event_type: "client.registered", schema: new.schema(), body: &body };
        let read = decode_event::<ClientEvent>(raw).unwrap();
        assert_eq!(read, new);
        let ClientEvent::Registered(read) = read else { panic!("another event") };
        assert_eq!(read.metadata.resource_scopes(), Some(BTreeSet::from(["read".to_owned()])));
    }
}

#[test]
fn a_key_of_an_algorithm_that_came_later_is_read_back_and_needs_no_new_revision() {
    use domicile_iam::ids::{DataKeyId, Id as _};
    use domicile_iam::model::SigningAlgorithm;
    use domicile_iam::streams::signing_key::{PublicKey, SigningKeyCreated, SigningKeyEvent};
    let rsa = PublicKey::Rsa { n: vec![1; 256], e: vec![1, 0, 1] };
    let point = PublicKey::P384 { x: vec![1; 48], y: vec![2; 48] };
    for (algorithm, public_key) in [(SigningAlgorithm::PS256, rsa), (SigningAlgorithm::ES384, point)] {
        let private_key = DataKeyId::from_bytes([2; 16]);
        let event = SigningKeyEvent::Created(SigningKeyCreated { algorithm, public_key, private_key });
        let body = encode_event(&event).unwrap();
        let raw = RawEvent { event_type: "signing_key.created", schema: 1, body: &body };
        assert_eq!(decode_event::<SigningKeyEvent>(raw).unwrap(), event);
    }
}

#[test]
fn a_schema_or_type_that_never_was_is_an_error() {
    let body = encode_event(&session_started_v1().1).unwrap();
    for (event_type, schema) in [("session.started", 3), ("session.started", 0), ("session.danced", 1)] {
        let raw = RawEvent { event_type, schema, body: &body };
        assert!(decode_event::<SessionEvent>(raw).is_err(), "{event_type} v{schema}");
    }
}
