//! What a decision reads, remembered as the read set of its proposal.

use std::collections::BTreeMap;
use std::sync::Arc;

use domicile_raft::Timestamp;
use domicile_storage::codec::{self, CodecError};
use domicile_storage::{Engine, EngineError};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::fresh::Fresh;
use super::latch::{LatchGuard, LatchKey, LatchMode, LatchSet};
use crate::blind::{self, NormaliseError};
use crate::ids::{DataKeyId, Id, TenantId};
use crate::personal::Personal;
use crate::proposal::{ClaimKey, ClaimKind, RangeKey, ReadSet, RecordKey, RecordKind, TenantKeys};
use crate::seal::{DataKey, Place, SealError, TenantKeyring};
use crate::streams::{Aggregate, StreamRef};
use crate::tables::{self, DecodedStates, RECORD_FORMAT, TableFault};

/// Why state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    /// A row cannot be read.
    #[error("state")]
    Table(#[from] TableFault),
    /// The engine failed.
    #[error("state engine")]
    Engine(#[from] EngineError),
    /// A stored body does not decode.
    #[error("stored value")]
    Decode(#[from] CodecError),
    /// A sealed value does not open.
    #[error("sealed value")]
    Seal(#[from] SealError),
    /// The key that a value needs was destroyed.
    #[error("data key {0} is gone")]
    KeyGone(DataKeyId),
    /// A value to look up has no normal form; validate it before.
    #[error("value has no normal form")]
    NotNormal(#[from] NormaliseError),
    /// Another command holds the latch; the executor starts again with a larger set.
    #[error("latch is held")]
    LatchHeld,
}

/// A state with the version it was read at.
#[derive(Clone, Debug)]
pub struct Versioned<A> {
    /// Revision of the last event.
    pub version: u64,
    /// The state, shared with others who read it.
    pub state: Arc<A>,
}

/// A record with the version it was read at.
#[derive(Clone, Debug)]
pub struct RecordRow<T> {
    /// Log index that wrote it.
    pub version: u64,
    /// When it stops to count.
    pub expires_at: Timestamp,
    /// Its body.
    pub body: T,
}

/// What [`super::Command::latches`] may use: names, no state.
pub struct Scope<'a> {
    pub(super) keys: &'a TenantKeyring,
}

impl Scope<'_> {
    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.keys.tenant()
    }

    /// The stored key of a claim.
    ///
    /// # Errors
    /// [`ReadFault::NotNormal`].
    pub fn claim(&self, kind: ClaimKind, value: &str) -> Result<ClaimKey, ReadFault> {
        claim_key(self.keys, kind, value)
    }
}

pub(super) fn claim_key(keys: &TenantKeyring, kind: ClaimKind, value: &str) -> Result<ClaimKey, ReadFault> {
    if kind == ClaimKind::Slug {
        return Ok(blind::public_claim_key(kind, value)?);
    }
    Ok(blind::claim_key(&keys.lookup()?, kind, value)?)
}

/// Applied state for one decision. Every read takes a shared latch and joins the read set.
pub struct Reads<'a> {
    pub(super) engine: &'a dyn Engine,
    decoded: &'a DecodedStates,
    pub(super) keys: &'a TenantKeyring,
    exists: bool,
    pub(super) at: Timestamp,
    latches: &'a mut LatchGuard,
    wanted: &'a mut LatchSet,
    streams: BTreeMap<StreamRef, u64>,
    claims: BTreeMap<ClaimKey, Option<StreamRef>>,
    pub(super) records: BTreeMap<RecordKey, Option<u64>>,
    ranges: BTreeMap<RangeKey, u64>,
}

impl<'a> Reads<'a> {
    pub(super) fn new(
        (engine, decoded): (&'a dyn Engine, &'a DecodedStates),
        keys: &'a TenantKeyring,
        exists: bool,
        at: Timestamp,
        latches: &'a mut LatchGuard,
        wanted: &'a mut LatchSet,
    ) -> Self {
        Self {
            engine,
            decoded,
            keys,
            exists,
            at,
            latches,
            wanted,
            streams: BTreeMap::new(),
            claims: BTreeMap::new(),
            records: BTreeMap::new(),
            ranges: BTreeMap::new(),
        }
    }

    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.keys.tenant()
    }

    /// Whether the tenant lives in this partition already.
    pub fn tenant_exists(&self) -> bool {
        self.exists
    }

    /// The tenant's key ids and root public key.
    pub fn tenant_keys(&self) -> TenantKeys {
        self.keys.ids()
    }

    /// Log time of this decision.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The applied state, for projections; take part in conflicts through [`Reads::range`].
    pub fn engine(&self) -> &'a dyn Engine {
        self.engine
    }

    pub(super) fn latch(&mut self, key: LatchKey, mode: LatchMode) -> Result<(), ReadFault> {
        self.wanted.add(key, mode);
        if self.latches.try_extend(key, mode) { Ok(()) } else { Err(ReadFault::LatchHeld) }
    }

    /// A stream's state.
    ///
    /// # Errors
    /// [`ReadFault`].
    pub fn stream<A: Aggregate>(&mut self, id: A::Id) -> Result<Option<Versioned<A>>, ReadFault> {
        let stream = StreamRef::of::<A>(id);
        self.latch(LatchKey::Stream(self.tenant(), stream), LatchMode::Shared)?;
        let found = self.decoded.stream::<A>(self.engine, self.tenant(), id)?;
        self.streams.insert(stream, found.as_ref().map_or(0, |(version, _)| *version));
        Ok(found.map(|(version, state)| Versioned { version, state }))
    }

    /// Who holds a value.
    ///
    /// # Errors
    /// [`ReadFault`]; [`ReadFault::NotNormal`] if the value can never be held.
    pub fn claim(&mut self, kind: ClaimKind, value: &str) -> Result<Option<StreamRef>, ReadFault> {
        let key = claim_key(self.keys, kind, value)?;
        self.latch(LatchKey::Claim(self.tenant(), key), LatchMode::Shared)?;
        let owner = tables::claim_owner(self.engine, self.tenant(), key)?;
        self.claims.insert(key, owner);
        Ok(owner)
    }

    /// A record that is not expired at [`Reads::at`].
    ///
    /// # Errors
    /// [`ReadFault`].
    pub fn record<T: DeserializeOwned>(
        &mut self,
        kind: RecordKind,
        key: [u8; 32],
    ) -> Result<Option<RecordRow<T>>, ReadFault> {
        let key = RecordKey { kind, key };
        self.latch(LatchKey::Record(self.tenant(), key), LatchMode::Shared)?;
        let row = tables::record(self.engine, self.tenant(), key, self.at)?;
        self.records.insert(key, row.as_ref().map(|row| row.version));
        let decode = |row: tables::RecordRowStored| -> Result<RecordRow<T>, CodecError> {
            let (_, body) = codec::split_format(&row.body, &[RECORD_FORMAT])?;
            Ok(RecordRow {
                version: row.version,
                expires_at: row.expires_at,
                body: codec::decode_open(body)?,
            })
        };
        Ok(row.map(decode).transpose()?)
    }

    /// Depends on a range: if it changes before the proposal is applied, that conflicts. Call it
    /// before reading the rows of the range.
    ///
    /// # Errors
    /// [`ReadFault`].
    pub fn range(&mut self, key: RangeKey) -> Result<u64, ReadFault> {
        self.latch(LatchKey::Range(self.tenant(), key), LatchMode::Shared)?;
        let counter = tables::range_counter(self.engine, self.tenant(), key)?;
        self.ranges.insert(key, counter);
        Ok(counter)
    }

    /// Opens a personal value of a stream.
    ///
    /// # Errors
    /// [`ReadFault::KeyGone`] after erasure; [`ReadFault::Seal`] if it was sealed for another place.
    pub fn open(
        &self,
        stream: StreamRef,
        field: &str,
        value: &Personal,
    ) -> Result<Zeroizing<String>, ReadFault> {
        match value {
            Personal::Plain(text) => Ok(text.clone()),
            Personal::Sealed(sealed) => {
                let place = Place::Stream { stream, revision: sealed.revision, field };
                self.keys.open(&place, sealed)?.ok_or(ReadFault::KeyGone(sealed.key))
            }
        }
    }

    /// Opens a personal value of a record.
    ///
    /// # Errors
    /// As [`Reads::open`].
    pub fn open_record(
        &self,
        record: RecordKey,
        field: &str,
        value: &Personal,
    ) -> Result<Zeroizing<String>, ReadFault> {
        match value {
            Personal::Plain(text) => Ok(text.clone()),
            Personal::Sealed(sealed) => {
                let place = Place::Record { record, field };
                self.keys.open(&place, sealed)?.ok_or(ReadFault::KeyGone(sealed.key))
            }
        }
    }

    /// Seals a personal value for a record, under `subject` (None: the tenant's data key).
    ///
    /// # Errors
    /// [`ReadFault::KeyGone`] if that key was destroyed.
    pub fn seal_record(
        &self,
        fresh: &mut Fresh,
        record: RecordKey,
        field: &str,
        subject: Option<DataKeyId>,
        text: &str,
    ) -> Result<Personal, ReadFault> {
        let id = subject.unwrap_or_else(|| self.keys.ids().data);
        let key = self.key(id)?.ok_or(ReadFault::KeyGone(id))?;
        let place = Place::Record { record, field };
        let sealed =
            crate::seal::seal_value(&key, id, self.tenant(), &place, fresh.bytes(), text.as_bytes())?;
        Ok(Personal::Sealed(sealed))
    }

    /// An unwrapped key of the tenant; None once it was destroyed.
    ///
    /// # Errors
    /// [`ReadFault::Seal`].
    pub fn key(&self, id: DataKeyId) -> Result<Option<DataKey>, ReadFault> {
        Ok(self.keys.key(id)?)
    }

    /// A subkey of the tenant's token key for the purpose `label`, such as `refresh token v1`.
    ///
    /// # Errors
    /// [`ReadFault::Seal`].
    pub fn token_subkey(&self, label: &str) -> Result<Zeroizing<[u8; 32]>, ReadFault> {
        Ok(self.keys.token_subkey(label)?)
    }

    /// Seals bytes with a subkey of the tenant's token key, under a fresh nonce.
    ///
    /// # Errors
    /// [`ReadFault::Seal`].
    pub fn seal_token(
        &self,
        label: &str,
        context: &[u8],
        fresh: &mut Fresh,
        plain: &[u8],
    ) -> Result<Vec<u8>, ReadFault> {
        Ok(self.keys.seal_token(label, context, fresh.bytes(), plain)?)
    }

    /// The tenant's keys, to open what they sealed.
    pub(crate) fn keyring(&self) -> &'a TenantKeyring {
        self.keys
    }

    /// What was read so far.
    pub(super) fn read_set(&self) -> ReadSet {
        ReadSet {
            streams: self.streams.iter().map(|(k, v)| (*k, *v)).collect(),
            claims: self.claims.iter().map(|(k, v)| (*k, *v)).collect(),
            records: self.records.iter().map(|(k, v)| (*k, *v)).collect(),
            ranges: self.ranges.iter().map(|(k, v)| (*k, *v)).collect(),
        }
    }
}

/// The id of the aggregate that a claim leads to, if it is of the kind `A`.
#[must_use]
pub fn owner_id<A: Aggregate>(owner: StreamRef) -> Option<A::Id> {
    (owner.kind == A::KIND).then(|| A::Id::from_bytes(owner.id))
}
