//! Sealed values open in their place only, and only while their key is there.

use std::sync::Arc;

use domicile_iam::blind;
use domicile_iam::event::StoredEvent;
use domicile_iam::execute::user_key;
use domicile_iam::ids::{Id, ProposalId, TenantId, UserId};
use domicile_iam::personal::Personal;
use domicile_iam::proposal::{ClaimKind, RecordKey, RecordKind};
use domicile_iam::seal::{
    FixedKek, Kek, Keyring, PartitionCipher, PartitionKey, Place, SealError, WrappedPartitionKey, open_value,
    seal_value,
};
use domicile_iam::streams::{StreamKind, StreamRef, encode_event};
use domicile_iam::tables;
use domicile_raft::testing::ManualClock;
use domicile_raft::{Clock, EntryCipher, PartitionId};
use proptest::prelude::*;

use crate::streams::{AccountEvent, Opened};
use crate::world::{Erase, START, World};

#[test]
fn a_plain_personal_value_cannot_be_encoded() {
    let event = AccountEvent::Opened(Opened { name: Personal::plain("Ada") });
    assert!(encode_event(&event).is_err());
}

#[tokio::test]
async fn no_personal_value_reaches_the_state_in_clear() {
    let world = World::new().await;
    world.opened("lovelace").await;
    for (key, value) in world.dump() {
        for clear in ["lovelace", "Olga", "192.0.2.1"] {
            let found = |bytes: &[u8]| bytes.windows(clear.len()).any(|window| window == clear.as_bytes());
            assert!(!found(&key) && !found(&value), "{clear} in table {:?}", key.first());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_sealed_value_opens_nowhere_else(text in "\\PC{0,40}", flip in 0..200_usize) {
        let clock = ManualClock::new(START, 3);
        let keyring = Keyring::new(PartitionKey::generate(PartitionId(1), &clock));
        let tenant = TenantId::new(START, [1; 10]);
        let genesis = keyring.genesis(tenant, START, &clock).unwrap();
        let keys = keyring.unborn(Arc::new(domicile_storage::MemoryEngine::new()), tenant, &genesis);
        let id = keys.ids().data;
        let key = keys.key(id).unwrap().unwrap();
        let stream = StreamRef { kind: StreamKind::User, id: [1; 16] };
        let place = Place::Stream { stream, revision: 4, field: "name" };
        let mut sealed = seal_value(&key, id, tenant, &place, [5; 12], text.as_bytes()).unwrap();
        prop_assert_eq!(&*open_value(&key, tenant, &place, &sealed).unwrap(), &text);
        let record = RecordKey { kind: RecordKind::Lockout, key: [0; 32] };
        let elsewhere = [
            Place::Stream { stream: StreamRef { id: [2; 16], ..stream }, revision: 4, field: "name" },
            Place::Stream { stream: StreamRef { kind: StreamKind::Client, ..stream }, revision: 4, field: "name" },
            Place::Stream { stream, revision: 5, field: "name" },
            Place::Stream { stream, revision: 4, field: "email" },
            Place::Record { record, field: "name" },
            Place::Actor { proposal: ProposalId::from_bytes([1; 16]) },
        ];
        for place in elsewhere {
            prop_assert_eq!(open_value(&key, tenant, &place, &sealed).err(), Some(SealError::NotAuthentic));
        }
        let other = TenantId::new(START, [2; 10]);
        prop_assert_eq!(open_value(&key, other, &place, &sealed).err(), Some(SealError::NotAuthentic));
        let at = flip % sealed.ciphertext.len();
        sealed.ciphertext[at] ^= 1;
        prop_assert_eq!(open_value(&key, tenant, &place, &sealed).err(), Some(SealError::NotAuthentic));
    }

    #[test]
    fn a_log_entry_opens_with_its_key_and_context_only(body in prop::collection::vec(any::<u8>(), 0..200), flip in any::<usize>()) {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(START, 4));
        let key = PartitionKey::generate(PartitionId(1), &*clock);
        let cipher = PartitionCipher::new(key, Vec::new(), Arc::clone(&clock));
        let mut sealed = cipher.seal(b"group 1 index 2", &body);
        prop_assert_eq!(&cipher.open(b"group 1 index 2", &sealed).unwrap(), &body);
        prop_assert!(cipher.open(b"group 1 index 3", &sealed).is_err());
        let other = PartitionCipher::new(PartitionKey::generate(PartitionId(1), &*clock), Vec::new(), clock);
        prop_assert!(other.open(b"group 1 index 2", &sealed).is_err());
        let at = flip % sealed.len();
        sealed[at] ^= 1;
        prop_assert!(cipher.open(b"group 1 index 2", &sealed).is_err());
        prop_assert!(cipher.open(b"group 1 index 2", &sealed[..at]).is_err());
    }
}

#[tokio::test]
async fn destroying_a_wrapped_key_makes_what_it_sealed_unopenable_though_it_is_cached() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    let keys = world.executor.keyring().tenant(world.executor.engine(), world.tenant).unwrap().unwrap();
    assert!(keys.key(user_key(user)).unwrap().is_some());
    world.run(&Erase { user }).await.unwrap();
    assert!(keys.key(user_key(user)).unwrap().is_none());
    let row = tables::wrapped_key(&*world.executor.engine(), world.tenant, user_key(user)).unwrap();
    assert_eq!(row, None);
}

#[tokio::test]
async fn without_the_tenant_key_nothing_it_wrapped_opens_though_it_is_cached() {
    let world = World::new().await;
    let user = world.opened("ada").await;
    let engine = world.executor.engine();
    let keys = world.executor.keyring().tenant(Arc::clone(&engine), world.tenant).unwrap().unwrap();
    assert!(keys.key(user_key(user)).unwrap().is_some());
    let top = keys.ids().tenant;
    let gone = domicile_storage::Write::Delete { key: tables::key_key(world.tenant, top) };
    engine.commit(domicile_storage::Batch { writes: vec![gone] }).unwrap();
    assert_eq!(keys.key(user_key(user)).err(), Some(SealError::Missing(top)));
}

#[tokio::test]
async fn a_wrapped_key_opens_under_its_own_id_and_partition_only() {
    let world = World::new().await;
    let (ada, bob) = (world.opened("ada").await, world.opened("bob").await);
    let engine = world.executor.engine();
    let row = tables::wrapped_key(&*engine, world.tenant, user_key(ada)).unwrap().unwrap();
    let swapped =
        domicile_storage::Write::Put { key: tables::key_key(world.tenant, user_key(bob)), value: row };
    engine.commit(domicile_storage::Batch { writes: vec![swapped] }).unwrap();
    let keys = world.executor.keyring().tenant(Arc::clone(&engine), world.tenant).unwrap().unwrap();
    assert_eq!(keys.key(user_key(bob)).err(), Some(SealError::NotAuthentic));
    let stranger = Keyring::new(PartitionKey::generate(PartitionId(1), &*world.clock));
    let keys = stranger.tenant(engine, world.tenant).unwrap().unwrap();
    assert_eq!(keys.lookup().err(), Some(SealError::NotAuthentic));
}

#[test]
fn a_partition_key_unwraps_with_the_kek_that_wrapped_it() {
    let clock = ManualClock::new(START, 5);
    let kek = |version, byte| Kek::from_bytes(version, &[byte; 32]).unwrap();
    let (old, new) = (FixedKek::new(kek(1, 1), Vec::new()), FixedKek::new(kek(2, 2), vec![kek(1, 1)]));
    let wrapped = PartitionKey::generate(PartitionId(3), &clock).wrap(&old, &clock).unwrap();
    let wrapped = WrappedPartitionKey::from_bytes(&wrapped.to_bytes().unwrap()).unwrap();
    assert!(wrapped.unwrap_with(&old).is_ok());
    let rewrapped = wrapped.unwrap_with(&new).unwrap().wrap(&new, &clock).unwrap();
    assert_eq!(rewrapped.kek_version, 2);
    assert_eq!(rewrapped.unwrap_with(&old).err(), Some(SealError::UnknownVersion(2)));
    let elsewhere = WrappedPartitionKey { partition: PartitionId(4), ..wrapped };
    assert_eq!(elsewhere.unwrap_with(&old).err(), Some(SealError::NotAuthentic));
}

#[test]
fn a_kek_is_32_bytes_or_64_digits() {
    let digits = format!("{}\n", "0a".repeat(32));
    assert!(Kek::from_bytes(1, digits.as_bytes()).is_ok());
    for bad in [&b""[..], &[0; 31], &[0; 33], "zz".repeat(32).as_bytes()] {
        assert_eq!(Kek::from_bytes(1, bad).err(), Some(SealError::KeyLength));
    }
}

#[tokio::test]
async fn tenants_blind_the_same_value_differently() {
    let world = World::new().await;
    let other = TenantId::new(START, [6; 10]);
    let context = domicile_iam::execute::RequestContext { tenant: other, ..world.context() };
    world.executor.execute(&context, &crate::world::CreateTenant).await.unwrap();
    let blinded = |tenant| {
        let keys = world.executor.keyring().tenant(world.executor.engine(), tenant).unwrap().unwrap();
        blind::claim_key(&keys.lookup().unwrap(), ClaimKind::LoginName, "ada").unwrap()
    };
    assert_ne!(blinded(world.tenant), blinded(other));
}

#[tokio::test]
async fn every_event_says_who_when_and_by_which_request() {
    let world = World::new().await;
    let user: UserId = world.opened("ada").await;
    let stored = world.executor.engine().get(&tables::event_key(world.tenant, 1)).unwrap().unwrap();
    let event = StoredEvent::decode(&stored).unwrap();
    let context = world.context();
    assert_eq!((event.stream.id, event.revision, event.sequence), (user.bytes(), 1, 1));
    assert_eq!((event.actor, event.request_id, event.at), (context.actor.who, context.request_id, START));
    let sealed = domicile_iam::seal::decode_sealed(&event.actor_details.unwrap()).unwrap();
    let keys = world.executor.keyring().tenant(world.executor.engine(), world.tenant).unwrap().unwrap();
    let details = keys.open(&Place::Actor { proposal: event.proposal }, &sealed).unwrap().unwrap();
    assert_eq!(*details, r#"{"name":"Olga Operator","address":"192.0.2.1"}"#);
}
