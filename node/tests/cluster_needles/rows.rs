//! What stands for a tenant's people in its partition's state: sealed values, wrapped keys, blinded
//! lookups, ids, replies.

use std::fmt;
use std::fs::{copy, create_dir_all, read_dir, read_to_string};
use std::path::Path;

use domicile_iam::event::StoredEvent;
use domicile_iam::ids::TenantId;
use domicile_iam::tables::{OutcomeRow, RecordRowStored, StreamRow, Table, tenant_table_prefix};
use domicile_storage::codec;
use domicile_storage::{Engine as _, KeyRange, Order, Pair, SledEngine, SledOptions};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Needles;

/// Table byte and tenant id.
const PREFIX: usize = 17;
/// What ids have that is random, and so is nobody else's: their end.
const ID_TAIL: usize = 10;

/// Taken from the state in the data directory of a node that is stopped.
pub fn inside(data: &Path, partition: u64, tenant: TenantId) -> Needles {
    let copy = tempfile::tempdir().unwrap();
    let from = data.join(format!("partitions/{partition}"));
    let current = read_to_string(from.join("CURRENT")).unwrap();
    copy_folder(&from.join(current.trim()), copy.path());
    let state = SledEngine::open(copy.path(), &SledOptions::default()).unwrap();
    let rows = |table| -> Vec<Pair> {
        let range = KeyRange::prefix(&tenant_table_prefix(table, tenant));
        state.scan(&range, Order::Ascending, usize::MAX).unwrap()
    };
    let mut needles = Needles::default();
    for (key, _) in rows(Table::Claims) {
        needles.bytes("blind-index value", &key[key.len() - 24..]);
    }
    for (_, value) in rows(Table::Keys) {
        needles.bytes("wrapped key", &value[value.len() - 24..]);
    }
    for (key, value) in rows(Table::Streams) {
        if let Some(name) = name_of(key[PREFIX]) {
            needles.bytes(name, &key[key.len() - ID_TAIL..]);
        }
        sealed(&mut needles, "sealed value", &StreamRow::decode_row(&value).unwrap().state);
    }
    for (_, value) in rows(Table::Records) {
        sealed(&mut needles, "sealed value of a record", &RecordRowStored::decode_row(&value).unwrap().body);
    }
    for (_, value) in rows(Table::Events) {
        let event = StoredEvent::decode(&value).unwrap();
        sealed(&mut needles, "sealed value", &event.body);
        if let Some(details) = event.actor_details {
            needles.bytes("sealed address and agent of an actor", &details[details.len() - 24..]);
        }
    }
    for (_, value) in rows(Table::Outcomes) {
        if let Some(reply) = OutcomeRow::decode_row(&value).unwrap().reply {
            needles.bytes("sealed reply", &reply[reply.len() - 24..]);
        }
    }
    let kinds = needles.kinds();
    let wanted = ["blind-index value", "wrapped key", "user id", "session id", "sealed value"];
    for kind in wanted.into_iter().chain(["sealed address and agent of an actor"]) {
        assert!(kinds.contains(kind), "no {kind} inside, only {kinds:?}");
    }
    needles
}

/// What opens the partition on one node: its key-encryption key, and the partition's key under it. No two nodes
/// have the same.
pub fn keys(data: &Path, partition: u64) -> Needles {
    let mut needles = Needles::default();
    for (name, file) in [
        ("key-encryption key", data.join("node.kek")),
        ("partition's key, wrapped", data.join(format!("partitions/{partition}/KEY"))),
    ] {
        let bytes = std::fs::read(file).unwrap();
        needles.bytes(name, &bytes[bytes.len() - 24..]);
    }
    needles
}

/// Ids that must stay inside; those of tenants and keys may be known everywhere.
fn name_of(stream_kind: u8) -> Option<&'static str> {
    match stream_kind {
        2 => Some("user id"),
        3 => Some("client's id"),
        4 => Some("session id"),
        5 => Some("grant id"),
        6 => Some("family id"),
        _ => None,
    }
}

/// The ciphertexts in a stored body.
fn sealed(needles: &mut Needles, name: &str, body: &[u8]) {
    let Walked(ciphertexts) = codec::decode_open(&body[1..]).unwrap();
    for ciphertext in ciphertexts {
        needles.bytes(name, &ciphertext);
    }
}

/// Every byte string under a key `c`, at any depth: what sealed values call their ciphertext.
struct Walked(Vec<Vec<u8>>);

/// A node of the body: byte strings right here, and those found below.
struct Walk {
    here: Option<Vec<u8>>,
    below: Vec<Vec<u8>>,
}

impl<'de> Deserialize<'de> for Walked {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(Walk::deserialize(from)?.below))
    }
}

impl<'de> Deserialize<'de> for Walk {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Walker)
    }
}

struct Walker;

const NOTHING: Walk = Walk { here: None, below: Vec::new() };

impl<'de> Visitor<'de> for Walker {
    type Value = Walk;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Walk, E> {
        Ok(NOTHING)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Walk, E> {
        Ok(NOTHING)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Walk, E> {
        Ok(NOTHING)
    }

    fn visit_str<E>(self, _: &str) -> Result<Walk, E> {
        Ok(NOTHING)
    }

    fn visit_unit<E>(self) -> Result<Walk, E> {
        Ok(NOTHING)
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Walk, E> {
        Ok(Walk { here: Some(bytes.to_vec()), below: Vec::new() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Walk, A::Error> {
        let mut below = Vec::new();
        while let Some(mut one) = all.next_element::<Walk>()? {
            below.append(&mut one.below);
        }
        Ok(Walk { here: None, below })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Walk, A::Error> {
        let mut below = Vec::new();
        while let Some(key) = all.next_key::<Key>()? {
            let mut one = all.next_value::<Walk>()?;
            below.append(&mut one.below);
            if key.0 == "c" {
                below.extend(one.here);
            }
        }
        Ok(Walk { here: None, below })
    }
}

/// A map's key; one that is no text has no name.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, name: &str) -> Result<Key, E> {
                Ok(Key(name.to_owned()))
            }

            fn visit_bytes<E>(self, _: &[u8]) -> Result<Key, E> {
                Ok(Key(String::new()))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Key, E> {
                Ok(Key(String::new()))
            }
        }
        from.deserialize_any(Name)
    }
}

fn copy_folder(from: &Path, to: &Path) {
    create_dir_all(to).unwrap();
    for entry in read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            copy(&path, &target).unwrap();
        }
    }
}
