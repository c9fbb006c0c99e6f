//! The wire format of what goes through the log (docs/adr/0005).

use domicile_raft::Timestamp;
use domicile_storage::codec::{self, CodecError};

use crate::ids::{DataKeyId, ProposalId, RequestId, TenantId};
use crate::streams::{StreamRef, wire_enum};

/// The format byte of a log command.
pub const LOG_FORMAT: u8 = 1;
const LOG_FORMATS: &[u8] = &[LOG_FORMAT];

/// One entry of a partition's log. The order of the variants is stored.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum LogCommand {
    /// A decided write.
    Propose(Box<Proposal>),
    /// Removes at most `count` rows that expired at or before `cutoff`, in order of expiry. Moves log
    /// time to `cutoff`.
    Sweep {
        /// Log time to sweep to.
        cutoff: Timestamp,
        /// Rows at most.
        count: u32,
    },
    /// Switches the behaviour of apply; proposed only when every replica knows it.
    SetApplyVersion(u16),
}

impl LogCommand {
    /// The bytes that are proposed.
    ///
    /// # Errors
    /// [`CodecError::NotEncodable`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode_fixed(LOG_FORMAT, self)
    }

    /// Reads the bytes of a log entry.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let (_, body) = codec::split_format(bytes, LOG_FORMATS)?;
        codec::decode_fixed(body)
    }
}

wire_enum! {
    /// What kind of caller acts.
    ActorKind {
        /// The node itself: rotation, sweeps, seeding.
        System = 1,
        /// An operator with an admin token.
        Operator = 2,
        /// A user of the tenant.
        User = 3,
        /// A client of the tenant.
        Client = 4,
        /// Nobody proven: a login in progress.
        Anonymous = 5,
    }
}

/// Who caused a write. Ids only, never a name or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, bincode::Encode, bincode::Decode)]
pub struct ActorRef {
    /// What kind.
    pub kind: ActorKind,
    /// Its id's text; empty where there is none.
    pub id: String,
}

wire_enum! {
    /// Namespaces of uniqueness reservations.
    ClaimKind {
        /// PRECIS UsernameCaseMapped (RFC 8265).
        LoginName = 1,
        /// E-mail address.
        Email = 2,
        /// OAuth `client_id`, exact.
        ClientId = 3,
        /// A tenant's name in the directory, under a public key.
        Slug = 4,
        /// `sub`, exact.
        Subject = 5,
        /// `(idp, sub)`; reserved.
        ExternalIdentity = 6,
        /// An identifier of a resource server (RFC 8707), exact.
        ResourceIdentifier = 7,
    }
}

/// A claim: its kind and blinded value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
pub struct ClaimKey {
    /// Namespace.
    pub kind: ClaimKind,
    /// HMAC of the normalised value.
    pub blind: [u8; 32],
}

wire_enum! {
    /// Kinds of short-lived state. Extend at the end; a number is never used again.
    RecordKind {
        /// An authorization code, also once spent.
        AuthorizationCode = 1,
        /// A refresh token's rotation state.
        RefreshToken = 2,
        /// A revoked access token's `jti`.
        RevokedToken = 3,
        /// An account's lock-out.
        Lockout = 4,
        /// A reservation of the directory.
        Reservation = 5,
        /// When a session was last used.
        SessionUse = 6,
        /// An invitation of an operator that was not taken yet.
        Enrolment = 7,
        /// A pushed authorization request (RFC 9126), or that one was taken.
        PushedRequest = 8,
        /// A DPoP proof that was used by a request that wrote (RFC 9449 §11.1).
        UsedProof = 9,
        /// What waits under a user code (RFC 8628).
        UserCode = 10,
        /// A logout that a client has still to be told of (OpenID Connect Back-Channel Logout).
        LogoutNotice = 12,
        /// The time step of the last one-time code that counted (RFC 6238 §5.2).
        TotpStep = 13,
        /// A session whose end by itself a client wants to hear of, under the time to look at it.
        SessionWatch = 14,
    }
}

/// Names a record inside a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
pub struct RecordKey {
    /// What it is.
    pub kind: RecordKind,
    /// Usually a SHA-256.
    pub key: [u8; 32],
}

wire_enum! {
    /// Sets of rows whose change a decision may depend on. Extend at the end.
    RangeKind {
        /// A tenant's signing keys.
        SigningKeys = 1,
        /// A user's sessions.
        UserSessions = 2,
        /// A user's grants.
        UserGrants = 3,
        /// A user's token families.
        UserFamilies = 4,
        /// A session's token families.
        SessionFamilies = 5,
        /// A client's grants and families.
        ClientGrants = 6,
        /// All tenants of the directory.
        Tenants = 7,
        /// All regions of the directory.
        Regions = 8,
        /// All nodes of the directory.
        Nodes = 9,
        /// All partitions of the directory.
        Partitions = 10,
        /// The clients that a user registered.
        OwnedClients = 11,
    }
}

/// Names a range inside a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
pub struct RangeKey {
    /// Which set.
    pub kind: RangeKind,
    /// Whose; zeroes for the tenant's own.
    pub id: [u8; 16],
}

/// Everything a decision read besides the streams it appends to.
///
/// INVARIANT: each list is sorted and without duplicates, so equal decisions give equal bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct ReadSet {
    /// Streams with the version seen; 0 is absent.
    pub streams: Vec<(StreamRef, u64)>,
    /// Claims with the owner seen.
    pub claims: Vec<(ClaimKey, Option<StreamRef>)>,
    /// Records with the version seen; None is absent or expired.
    pub records: Vec<(RecordKey, Option<u64>)>,
    /// Ranges with the counter seen.
    pub ranges: Vec<(RangeKey, u64)>,
}

/// One event to append.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct ProposedEvent {
    /// Wire name.
    pub event_type: String,
    /// Shape revision.
    pub schema: u16,
    /// Format byte and MessagePack map; personal values sealed.
    pub body: Vec<u8>,
}

/// Events for one stream.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Append {
    /// Which stream.
    pub stream: StreamRef,
    /// Its version before; 0 creates it.
    pub expected_version: u64,
    /// At least one.
    pub events: Vec<ProposedEvent>,
}

/// A change of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum ClaimChange {
    /// Must be free, or already the owner's.
    Take {
        /// Which.
        key: ClaimKey,
        /// For whom.
        owner: StreamRef,
    },
    /// Must be the owner's.
    Release {
        /// Which.
        key: ClaimKey,
        /// Whose.
        owner: StreamRef,
    },
}

/// A change of a record.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum RecordChange {
    /// Writes it.
    Put {
        /// Which.
        key: RecordKey,
        /// The version it must have; None: absent or expired.
        expected: Option<u64>,
        /// Format byte and body.
        body: Vec<u8>,
        /// When it stops to count, in log time.
        expires_at: Timestamp,
    },
    /// Single use: it must exist with this version and not be expired; then it is gone.
    Take {
        /// Which.
        key: RecordKey,
        /// The version it must have.
        expected: u64,
    },
}

/// A change of the key table.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum KeyChange {
    /// Stores a wrapped key; its id must be free.
    Put {
        /// Its id.
        id: DataKeyId,
        /// The stored form of `seal::WrappedKey`, opaque to apply.
        wrapped: Vec<u8>,
    },
    /// Deletes the row: what it sealed can never be opened again.
    Destroy {
        /// Its id.
        id: DataKeyId,
    },
}

/// Which keys of a tenant do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct TenantKeys {
    /// Wraps all others of the tenant.
    pub tenant: DataKeyId,
    /// Seals what is about nobody.
    pub data: DataKeyId,
    /// Blinds lookups.
    pub lookup: DataKeyId,
    /// Seals replies, cookies and opaque tokens, through subkeys.
    pub token: DataKeyId,
    /// Ed25519 seed that signs checkpoints and directory entries.
    pub root: DataKeyId,
    /// Its public key.
    pub root_public: [u8; 32],
}

/// A decided write: everything apply needs, and nothing it has to decide.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Proposal {
    /// Whose data. The directory's own is [`crate::tables::directory_tenant`].
    pub tenant: TenantId,
    /// The tenant's epoch here; raised when it moves. The first is 1.
    pub epoch: u64,
    /// For deduplication, 24 h of log time.
    pub id: ProposalId,
    /// SHA-256 of the request, where the caller gave an idempotency key.
    pub request_hash: Option<[u8; 32]>,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// Who.
    pub actor: ActorRef,
    /// Which request.
    pub request_id: RequestId,
    /// Actor's name, address and agent, a stored `Sealed` under the actor's key.
    pub actor_details: Option<Vec<u8>>,
    /// Present if this creates the tenant in this partition.
    pub genesis: Option<TenantKeys>,
    /// What else it depends on.
    pub reads: ReadSet,
    /// Events.
    pub appends: Vec<Append>,
    /// Claims.
    pub claims: Vec<ClaimChange>,
    /// Records.
    pub records: Vec<RecordChange>,
    /// Ranges whose counter goes up.
    pub ranges: Vec<RangeKey>,
    /// Wrapped keys.
    pub keys: Vec<KeyChange>,
    /// The sealed reply, kept for a replay where there is an idempotency key.
    pub reply: Option<Vec<u8>>,
}

/// Why apply changed nothing. The order of the variants is stored in replies only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum ConflictReason {
    /// The tenant is not here, or is already, or lives in another epoch.
    Epoch,
    /// A stream has another version.
    Stream(StreamRef),
    /// A claim has another owner.
    Claim(ClaimKey),
    /// A record has another version, is gone or expired.
    Record(RecordKey),
    /// A range changed.
    Range(RangeKey),
    /// A key id is in use.
    Key(DataKeyId),
}

/// What apply answers to the proposer.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum ApplyReply {
    /// The proposal took effect now.
    Done,
    /// The same proposal id took effect before.
    Replayed {
        /// Where.
        index: u64,
        /// Whether the request hashes are equal.
        same_request: bool,
        /// The sealed reply it left.
        reply: Option<Vec<u8>>,
    },
    /// A sweep removed so many rows.
    Swept {
        /// Rows removed.
        removed: u32,
    },
}

const REPLY_FORMAT: u8 = 1;

impl ApplyReply {
    /// For `Verdict::Applied`.
    ///
    /// # Errors
    /// [`CodecError::NotEncodable`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode_fixed(REPLY_FORMAT, self)
    }

    /// From `Outcome::Applied`.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_fixed(codec::split_format(bytes, &[REPLY_FORMAT])?.1)
    }
}

impl ConflictReason {
    /// For `Verdict::Conflict`.
    ///
    /// # Errors
    /// [`CodecError::NotEncodable`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode_fixed(REPLY_FORMAT, self)
    }

    /// From `Outcome::Conflict`.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode_fixed(codec::split_format(bytes, &[REPLY_FORMAT])?.1)
    }
}
