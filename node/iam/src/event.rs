//! Events as stored, and the hash chain over them.

use aws_lc_rs::digest;
use domicile_raft::Timestamp;
use domicile_storage::codec::{self, CodecError};

use crate::ids::{ProposalId, RequestId, TenantId};
use crate::proposal::ActorRef;
use crate::streams::{EventMeta, RawEvent, StreamRef};

const FORMAT: u8 = 1;
const CHAIN_LABEL: &[u8] = b"domicile chain v1";

/// A committed event: append-only, personal values sealed.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct StoredEvent {
    /// Whose.
    pub tenant: TenantId,
    /// Its place in the tenant's chain; the first is 1.
    pub sequence: u64,
    /// In which stream.
    pub stream: StreamRef,
    /// Its place in the stream; the first is 1.
    pub revision: u64,
    /// Wire name.
    pub event_type: String,
    /// Shape revision.
    pub schema: u16,
    /// Log time.
    pub at: Timestamp,
    /// Who caused it.
    pub actor: ActorRef,
    /// By which request.
    pub request_id: RequestId,
    /// By which proposal.
    pub proposal: ProposalId,
    /// Actor's name, address and agent, sealed.
    pub actor_details: Option<Vec<u8>>,
    /// Format byte and MessagePack map.
    pub body: Vec<u8>,
}

impl StoredEvent {
    /// The stored bytes, which the chain covers.
    ///
    /// # Errors
    /// [`CodecError::NotEncodable`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode_fixed(FORMAT, self)
    }

    /// From the stored bytes.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_fixed(codec::split_format(bytes, &[FORMAT])?.1)
    }

    /// What `evolve` sees beside the body.
    #[must_use]
    pub fn meta(&self) -> EventMeta {
        EventMeta {
            tenant: self.tenant,
            stream: self.stream,
            revision: self.revision,
            at: self.at,
            actor: self.actor.clone(),
            request_id: self.request_id,
            proposal: self.proposal,
        }
    }

    /// Its type, schema and body.
    #[must_use]
    pub fn raw(&self) -> RawEvent<'_> {
        RawEvent { event_type: &self.event_type, schema: self.schema, body: &self.body }
    }
}

/// The chain's hash before the first event.
pub const CHAIN_START: [u8; 32] = [0; 32];

/// The chain's hash after an event: `SHA-256("domicile chain v1" || previous || stored bytes)`.
#[must_use]
pub fn chain(previous: &[u8; 32], stored: &[u8]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(CHAIN_LABEL);
    context.update(previous);
    context.update(stored);
    let mut out = [0_u8; 32];
    out.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    out
}
