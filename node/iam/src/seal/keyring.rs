//! Unwrapped keys, in a bounded cache.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use domicile_raft::{Clock, Timestamp};
use domicile_storage::Engine;
use zeroize::Zeroizing;

use super::aead::{self, SealError};
use super::genesis::{Genesis, RootKey};
use super::partition::PartitionKey;
use super::value::{self, Place};
use super::wrapped::{KeyPurpose, WrappedBy, WrappedKey};
use crate::cache::Cache;
use crate::ids::{DataKeyId, TenantId};
use crate::personal::Sealed;
use crate::proposal::TenantKeys;
use crate::seen::{Found, Seen};
use crate::tables;

/// An unwrapped key.
#[derive(Clone)]
pub struct DataKey {
    purpose: KeyPurpose,
    bytes: Arc<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({:?})", self.purpose)
    }
}

impl DataKey {
    /// A key in clear.
    #[must_use]
    pub fn new(purpose: KeyPurpose, bytes: Zeroizing<Vec<u8>>) -> Self {
        Self { purpose, bytes: Arc::new(bytes) }
    }

    /// What it is for.
    pub fn purpose(&self) -> KeyPurpose {
        self.purpose
    }

    /// Its bytes: 32, or a private key's.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn key32(&self) -> Result<&[u8; 32], SealError> {
        <&[u8; 32]>::try_from(self.bytes.as_slice()).map_err(|_| SealError::KeyLength)
    }

    pub(super) fn data(&self, id: DataKeyId) -> Result<&[u8; 32], SealError> {
        if self.purpose == KeyPurpose::Data { self.key32() } else { Err(SealError::Purpose(id)) }
    }
}

type CacheKey = (TenantId, DataKeyId);

/// Keys in the cache; about 200 bytes each.
const KEYS_MAX: usize = 4_096;

/// A key that was unwrapped before.
struct Unwrapped {
    /// Of the row that it was wrapped in.
    nonce: [u8; 12],
    key: DataKey,
    /// Of that row, and of the key that it is wrapped under.
    found: Found,
}

/// Unwraps the keys of one partition.
///
/// INVARIANT: the wrapped row is read at every use but while nothing was committed since it was last found
/// (docs/adr/0032), so a destroyed key is gone at once, cache or not.
pub struct Keyring {
    partition: PartitionKey,
    cache: Cache<CacheKey, Unwrapped>,
}

impl Keyring {
    /// The keyring of a partition.
    #[must_use]
    pub fn new(partition: PartitionKey) -> Arc<Self> {
        Arc::new(Self { partition, cache: Cache::new(KEYS_MAX) })
    }

    fn wrapper(&self) -> Result<Zeroizing<[u8; 32]>, SealError> {
        self.partition.subkey(b"domicile tenant wrap v1", b"")
    }

    /// Keys for a tenant that does not exist yet.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn genesis(&self, tenant: TenantId, at: Timestamp, clock: &dyn Clock) -> Result<Genesis, SealError> {
        Genesis::generate(tenant, at, clock, &*self.wrapper()?, self.partition.version())
    }

    /// The keys of a tenant that lives in the partition; None if it does not.
    ///
    /// # Errors
    /// [`SealError::State`].
    pub fn tenant(
        self: &Arc<Self>,
        engine: Arc<dyn Engine>,
        tenant: TenantId,
    ) -> Result<Option<TenantKeyring>, SealError> {
        let row =
            tables::tenant_row(&*engine, tenant).map_err(|cause| SealError::State(cause.to_string()))?;
        Ok(row.map(|row| self.of_tenant(engine, tenant, row.keys)))
    }

    /// The keys of a tenant that lives in the partition, of which it is known which key does what.
    pub(crate) fn of_tenant(
        self: &Arc<Self>,
        engine: Arc<dyn Engine>,
        tenant: TenantId,
        ids: TenantKeys,
    ) -> TenantKeyring {
        TenantKeyring { keyring: Arc::clone(self), engine, tenant, ids, overlay: HashMap::new() }
    }

    /// The keys of a tenant that `genesis` is about to create.
    #[must_use]
    pub fn unborn(
        self: &Arc<Self>,
        engine: Arc<dyn Engine>,
        tenant: TenantId,
        genesis: &Genesis,
    ) -> TenantKeyring {
        let entry = |(id, purpose, bytes): &(DataKeyId, KeyPurpose, Zeroizing<Vec<u8>>)| {
            (*id, DataKey::new(*purpose, bytes.clone()))
        };
        let overlay = genesis.plain().iter().map(entry).collect();
        TenantKeyring { keyring: Arc::clone(self), engine, tenant, ids: genesis.ids, overlay }
    }

    /// The key, if its row was found there.
    fn unchanged(&self, key: &CacheKey, seen: Seen) -> Option<DataKey> {
        self.cache.look(key, |entry| entry.found.is_in(seen).then(|| entry.key.clone()))
    }

    /// The key that was wrapped with this nonce, whose row was found there.
    fn current(&self, key: &CacheKey, nonce: &[u8; 12], seen: Seen) -> Option<DataKey> {
        self.cache.look(key, |entry| {
            (entry.nonce == *nonce).then(|| {
                entry.found.set(seen);
                entry.key.clone()
            })
        })
    }

    fn remember(&self, key: CacheKey, nonce: [u8; 12], data: DataKey, seen: Seen) {
        self.cache.put(key, Unwrapped { nonce, key: data, found: Found::new(seen) });
    }
}

/// The keys of one tenant.
pub struct TenantKeyring {
    keyring: Arc<Keyring>,
    engine: Arc<dyn Engine>,
    tenant: TenantId,
    ids: TenantKeys,
    overlay: HashMap<DataKeyId, DataKey>,
}

impl TenantKeyring {
    /// Whose.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Which key does what.
    pub fn ids(&self) -> TenantKeys {
        self.ids
    }

    /// An unwrapped key; None once it is destroyed.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn key(&self, id: DataKeyId) -> Result<Option<DataKey>, SealError> {
        if let Some(key) = self.overlay.get(&id) {
            return Ok(Some(key.clone()));
        }
        let place = (self.tenant, id);
        let seen = Seen::of(&*self.engine);
        if let Some(key) = self.keyring.unchanged(&place, seen) {
            return Ok(Some(key));
        }
        let row = tables::wrapped_key(&*self.engine, self.tenant, id);
        let Some(row) = row.map_err(|cause| SealError::State(cause.to_string()))? else {
            return Ok(None);
        };
        let wrapped = WrappedKey::from_bytes(&row)?;
        let cached = || self.keyring.current(&place, &wrapped.nonce, seen);
        let plain = match (wrapped.wrapped_by, wrapped.purpose) {
            (WrappedBy::Partition(version), _) => {
                if let Some(key) = cached() {
                    return Ok(Some(key));
                }
                if version != self.keyring.partition.version() {
                    return Err(SealError::UnknownVersion(version));
                }
                wrapped.open(&*self.keyring.wrapper()?, self.tenant, id)?
            }
            // No tenant key is wrapped by another, so this ends after one step.
            (WrappedBy::Tenant(_), KeyPurpose::Tenant) => return Err(SealError::Purpose(id)),
            (WrappedBy::Tenant(by), _) => {
                // Looked up before the cache: with the tenant key gone, what it wrapped is gone too.
                let over = self.of(by, KeyPurpose::Tenant)?;
                if let Some(key) = cached() {
                    return Ok(Some(key));
                }
                wrapped.open(over.key32()?, self.tenant, id)?
            }
        };
        let key = DataKey::new(wrapped.purpose, plain);
        self.keyring.remember(place, wrapped.nonce, key.clone(), seen);
        Ok(Some(key))
    }

    fn of(&self, id: DataKeyId, purpose: KeyPurpose) -> Result<DataKey, SealError> {
        let key = self.key(id)?.ok_or(SealError::Missing(id))?;
        if key.purpose == purpose { Ok(key) } else { Err(SealError::Purpose(id)) }
    }

    /// The lookup key.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn lookup(&self) -> Result<DataKey, SealError> {
        self.of(self.ids.lookup, KeyPurpose::Lookup)
    }

    /// A subkey of the token key for the purpose `label`.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn token_subkey(&self, label: &str) -> Result<Zeroizing<[u8; 32]>, SealError> {
        let key = self.of(self.ids.token, KeyPurpose::Token)?;
        aead::derive(key.key32()?, b"", &[b"domicile token subkey v1", label.as_bytes()])
    }

    /// The key that signs for the tenant.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn root(&self) -> Result<RootKey, SealError> {
        RootKey::from_seed(self.of(self.ids.root, KeyPurpose::Root)?.bytes())
    }

    /// Opens a personal value; None once its key is destroyed.
    ///
    /// # Errors
    /// [`SealError::NotAuthentic`] if it belongs elsewhere.
    pub fn open(&self, place: &Place<'_>, sealed: &Sealed) -> Result<Option<Zeroizing<String>>, SealError> {
        self.key(sealed.key)?.map(|key| value::open_value(&key, self.tenant, place, sealed)).transpose()
    }

    /// Wraps a new key under the tenant's.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn wrap(
        &self,
        id: DataKeyId,
        purpose: KeyPurpose,
        nonce: [u8; 12],
        plain: &[u8],
    ) -> Result<WrappedKey, SealError> {
        let wrapper = self.of(self.ids.tenant, KeyPurpose::Tenant)?;
        let by = WrappedBy::Tenant(self.ids.tenant);
        WrappedKey::wrap(wrapper.key32()?, by, self.tenant, id, purpose, nonce, plain)
    }

    /// Seals bytes with a subkey of the token key (replies, cookies, opaque tokens): 12 bytes of
    /// nonce, then ciphertext and tag.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal_token(
        &self,
        label: &str,
        context: &[u8],
        nonce: [u8; 12],
        plain: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let mut out = nonce.to_vec();
        out.extend_from_slice(&aead::seal(&*self.token_subkey(label)?, nonce, context, plain)?);
        Ok(out)
    }

    /// Opens what [`TenantKeyring::seal_token`] gave for the same label and context.
    ///
    /// # Errors
    /// [`SealError::NotAuthentic`].
    pub fn open_token(
        &self,
        label: &str,
        context: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, body) = sealed.split_first_chunk::<12>().ok_or(SealError::NotAuthentic)?;
        aead::open(&*self.token_subkey(label)?, *nonce, context, body)
    }
}
