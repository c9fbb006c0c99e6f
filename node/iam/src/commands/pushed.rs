//! Pushed authorization requests (RFC 9126): kept sealed until one is taken, when its code is issued.
//!
//! What a client pushed that proved itself is a record under the hash of its reference. A public client
//! proves nothing, and who proves nothing makes us write nothing: its reference is the sealed request
//! itself, and only that it was taken becomes a record, along with the code.

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::AuthorizeRefusal;
use super::digest::{base64url, from_base64url, sha256};
use crate::execute::{Command, DecideError, Decision, Draft, Fresh, Reads};
use crate::ids::{ClientId, Id, TenantId};
use crate::proposal::RecordKind;
use crate::seal::TenantKeyring;
use crate::streams::client::Client;

/// How long after it was pushed a request can be opened, in milliseconds (RFC 9126 §2.2: `expires_in`).
pub const PUSHED_REQUEST_MS: u64 = 60_000;
/// How long its pages may then stay open until the code is issued.
const PAGES_MS: u64 = 30 * 60_000;
/// Bytes of a public client's request at most: its reference must pass in a URL.
pub const CARRIED_BYTES_MAX: usize = 4 * 1024;
/// Bytes of a reference at most.
const REFERENCE_MAX: usize = 8 * 1024;

const LABEL: &str = "pushed request v1";
const STORED_LEN: usize = 32;

/// A pushed request, opened.
#[derive(Clone, PartialEq, Eq)]
pub struct PushedRequest {
    /// Who pushed it.
    pub client: ClientId,
    /// Its parameters, form-encoded.
    pub form: Zeroizing<Vec<u8>>,
    opens_until: Timestamp,
}

impl std::fmt::Debug for PushedRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushedRequest").field("client", &self.client).finish_non_exhaustive()
    }
}

impl PushedRequest {
    fn bytes(client: ClientId, opens_until: Timestamp, form: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([&client.bytes()[..], &opens_until.0.to_be_bytes(), form].concat())
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (client, rest) = bytes.split_first_chunk::<16>()?;
        let (opens_until, form) = rest.split_first_chunk::<8>()?;
        Some(Self {
            client: ClientId::from_bytes(*client),
            form: Zeroizing::new(form.to_vec()),
            opens_until: Timestamp(u64::from_be_bytes(*opens_until)),
        })
    }

    /// Whether an authorization request may still begin with it.
    #[must_use]
    pub fn opens_at(&self, now: Timestamp) -> bool {
        now < self.opens_until
    }

    /// When nothing of it counts any more.
    fn ends_at(&self) -> Timestamp {
        self.opens_until.plus_ms(PAGES_MS)
    }
}

/// The record of a reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PushedRecord {
    /// Not taken yet. Parameters may name people, so they are sealed, bound to the reference.
    Waiting {
        /// The request.
        #[serde(with = "serde_bytes")]
        sealed: Vec<u8>,
    },
    /// Of a reference that carries its request: a code was issued for it.
    Taken {},
}

/// What stands for a pushed request: the part of a `request_uri` that we made.
pub(crate) struct Reference {
    bytes: Vec<u8>,
}

impl Reference {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = from_base64url(text).filter(|bytes| bytes.len() >= STORED_LEN)?;
        (text.len() <= REFERENCE_MAX).then_some(Self { bytes })
    }

    /// Where its record is.
    pub(crate) fn record_key(&self) -> [u8; 32] {
        sha256(&self.bytes)
    }

    fn is_stored(&self) -> bool {
        self.bytes.len() == STORED_LEN
    }

    /// The request, given its record.
    pub(crate) fn open(
        &self,
        keys: &TenantKeyring,
        tenant: TenantId,
        record: Option<&PushedRecord>,
    ) -> Option<PushedRequest> {
        let opened = match (self.is_stored(), record) {
            (true, Some(PushedRecord::Waiting { sealed })) => {
                keys.open_token(LABEL, &self.record_key(), sealed)
            }
            (false, None) => keys.open_token(LABEL, &tenant.bytes(), &self.bytes),
            (_, Some(PushedRecord::Taken {} | PushedRecord::Waiting { .. })) | (true, None) => return None,
        };
        PushedRequest::parse(&opened.ok()?)
    }
}

/// The reference that carries a public client's request.
pub(crate) fn carry(
    keys: &TenantKeyring,
    tenant: TenantId,
    request: (ClientId, &[u8]),
    (now, nonce): (Timestamp, [u8; 12]),
) -> Result<String, crate::seal::SealError> {
    let plain = PushedRequest::bytes(request.0, now.plus_ms(PUSHED_REQUEST_MS), request.1);
    Ok(base64url(&keys.seal_token(LABEL, &tenant.bytes(), nonce, &plain)?))
}

/// Keeps the request of a client that proved itself.
#[derive(Clone)]
pub struct PushRequest {
    /// The authenticated client.
    pub client: ClientId,
    /// Its parameters, form-encoded; without what it authenticated by.
    pub form: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for PushRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushRequest").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Command for PushRequest {
    type Reply = String;
    type Refusal = AuthorizeRefusal;
    const NAME: &'static str = "request.push";

    fn decide(
        &self,
        reads: &mut Reads<'_>,
        fresh: &mut Fresh,
    ) -> Result<Decision<String>, DecideError<AuthorizeRefusal>> {
        let client = reads.stream::<Client>(self.client)?;
        if client.is_none_or(|client| client.state.usable().is_none()) {
            return Err(DecideError::Refused(AuthorizeRefusal::ClientRefused));
        }
        let secret = fresh.secret();
        let key = sha256(secret.as_slice());
        let opens_until = fresh.at().plus_ms(PUSHED_REQUEST_MS);
        let plain = PushedRequest::bytes(self.client, opens_until, &self.form);
        let sealed = reads.seal_token(LABEL, &key, fresh, &plain)?;
        let mut draft = Draft::new();
        let record = PushedRecord::Waiting { sealed };
        draft.put_record(RecordKind::PushedRequest, key, &record, opens_until.plus_ms(PAGES_MS));
        Ok(Decision::Propose(draft, base64url(secret.as_slice())))
    }
}

/// Takes the request of `reference`, which must be `client`'s: of all that try, one succeeds.
pub(super) fn take(
    reads: &mut Reads<'_>,
    draft: &mut Draft,
    reference: &str,
    client: ClientId,
) -> Result<(), DecideError<AuthorizeRefusal>> {
    let refused = || DecideError::Refused(AuthorizeRefusal::RequestTaken);
    let reference = Reference::parse(reference).ok_or_else(refused)?;
    let key = reference.record_key();
    let record = reads.record::<PushedRecord>(RecordKind::PushedRequest, key)?.map(|row| row.body);
    let request = reference.open(reads.keyring(), reads.tenant(), record.as_ref()).ok_or_else(refused)?;
    if request.client != client || request.ends_at() <= reads.at() {
        return Err(refused());
    }
    match record {
        Some(_) => draft.take_record(RecordKind::PushedRequest, key),
        None => {
            draft.put_record(RecordKind::PushedRequest, key, &PushedRecord::Taken {}, request.ends_at());
        }
    }
    Ok(())
}
