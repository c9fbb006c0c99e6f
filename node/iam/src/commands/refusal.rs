//! Why a command is refused. Every refusal is a value and a read; nothing was written.

use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::InvalidSetting;

/// A tenant command is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum TenantRefusal {
    /// No such tenant.
    #[error("no such tenant")]
    NotFound,
    /// The revision the change was made for is not the current one.
    #[error("changed meanwhile: the revision is {current}")]
    Stale {
        /// The current revision.
        current: u64,
    },
    /// Not 2 to 40 of `a-z`, `0-9` and inner `-`.
    #[error("slug is not 2 to 40 of a-z, 0-9 and inner hyphens")]
    InvalidSlug,
    /// Another tenant has it, or a creation of it is under way.
    #[error("slug is taken")]
    SlugTaken,
    /// Not 1 to 200 characters.
    #[error("display name is not 1 to 200 characters")]
    InvalidDisplayName,
    /// Not an absolute http(s) URL without query and fragment (OpenID Connect Discovery §3).
    #[error("issuer is not an absolute http(s) URL without query and fragment")]
    InvalidIssuer,
    /// A setting is out of its bounds.
    #[error(transparent)]
    InvalidSetting(#[from] InvalidSetting),
    /// The reservation ran out before the tenant was made; start again.
    #[error("the reservation ran out")]
    ReservationExpired,
    /// The placement asked for cannot be had; says why.
    #[error("{0}")]
    Placement(String),
    /// The tenant of operators stays.
    #[error("the tenant of operators cannot be deleted")]
    Protected,
    /// Clients are registered for an algorithm that would be kept no more.
    #[error("{count} clients are registered for an algorithm that would be kept no more")]
    AlgorithmInUse {
        /// How many.
        count: u64,
        /// The `client_id`s of the first of them.
        clients: Vec<String>,
    },
}

/// A command of the directory about the cluster is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ClusterRefusal {
    /// `init` was never run on this data.
    #[error("the cluster is not initialised")]
    NotInitialised,
    /// It was run before.
    #[error("the cluster is initialised already")]
    AlreadyInitialised,
    /// No such region, node, partition or token.
    #[error("no such {0}")]
    NotFound(String),
    /// A placement that the nodes there are cannot give, with the reason.
    #[error("{0}")]
    Impossible(String),
    /// The region is there already.
    #[error("region `{0}` exists")]
    RegionExists(String),
    /// A value is out of its bounds.
    #[error("`{field}` {rule}")]
    Invalid {
        /// Which.
        field: String,
        /// What it breaks.
        rule: String,
    },
    /// The revision that the change was made for is not the current one.
    #[error("changed meanwhile: the revision is {current}")]
    Stale {
        /// The current revision.
        current: u64,
    },
    /// Never issued, or revoked.
    #[error("the join token is not known")]
    TokenUnknown,
    /// Its time is over.
    #[error("the join token has expired")]
    TokenExpired,
    /// Another node joined with it.
    #[error("the join token was used")]
    TokenUsed,
    /// It lets nodes into another region.
    #[error("the join token is for region `{token}`, not `{joiner}`")]
    ForeignRegion {
        /// The token's.
        token: String,
        /// Where the joiner runs.
        joiner: String,
    },
    /// The node was decommissioned: its id is spent.
    #[error("the node was decommissioned; join again for a new id")]
    NodeGone,
    /// The node was started more often than it says: its disk went back in time, or this came late.
    #[error("the node's boot counter was {known} before")]
    OldBoot {
        /// The highest seen.
        known: u64,
    },
    /// Made for another generation of the placement.
    #[error("the placement changed meanwhile: its generation is {current}")]
    StaleGeneration {
        /// The current one.
        current: u64,
    },
    /// The node that was asked may not ask for this; says which may.
    #[error("{0}")]
    NotAllowed(String),
    /// The last node that may hold replicas cannot go.
    #[error("the last active node cannot go")]
    LastNode,
    /// Without it a partition would have no quorum for good.
    #[error(
        "partition {partition} would lose its quorum: drain the node and wait until others vote in its place"
    )]
    QuorumNeedsIt {
        /// The first such partition.
        partition: u64,
    },
}

/// What a password breaks (OWASP ASVS 5 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRule {
    /// Fewer characters than the tenant asks for.
    #[error("password is shorter than {min} characters")]
    TooShort {
        /// The tenant's setting.
        min: u16,
    },
    /// Over 1024 bytes.
    #[error("password is longer than {max_bytes} bytes")]
    TooLong {
        /// The bound.
        max_bytes: usize,
    },
    /// An imported hash is of no known kind, malformed, or dearer to check than the bound.
    #[error("password hash is not an argon2, bcrypt, scrypt or PBKDF2 string within bounds")]
    UnusableHash,
}

/// A user command is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserRefusal {
    /// No such user, or erased.
    #[error("no such user")]
    NotFound,
    /// The revision the change was made for is not the current one.
    #[error("changed meanwhile: the revision is {current}")]
    Stale {
        /// The current revision.
        current: u64,
    },
    /// Not a PRECIS username (RFC 8265 §3.3) of 1 to 255 bytes.
    #[error("username is not usable")]
    InvalidUsername,
    /// Another user has this login name.
    #[error("username is taken")]
    UsernameTaken,
    /// Not an e-mail address of at most 254 bytes.
    #[error("e-mail address is malformed")]
    InvalidEmail,
    /// Another user has this address and the tenant wants them unique.
    #[error("e-mail address is taken")]
    EmailTaken,
    /// Not E.164 with an optional RFC 3966 extension.
    #[error("phone number is malformed")]
    InvalidPhoneNumber,
    /// Not 1 to 255 printable ASCII characters (OpenID Connect Core §2).
    #[error("subject is not 1 to 255 ASCII characters")]
    InvalidSubject,
    /// A user has or had this subject.
    #[error("subject is taken")]
    SubjectTaken,
    /// A claim of the wrong type or of no standard name (OpenID Connect Core §5.1).
    #[error("claim `{name}` {rule}")]
    InvalidClaim {
        /// Its name.
        name: String,
        /// What it breaks.
        rule: &'static str,
    },
    /// The password breaks a rule.
    #[error(transparent)]
    Password(#[from] PasswordRule),
    /// The current password given is wrong.
    #[error("current password is wrong")]
    WrongPassword,
    /// The hashing pool is full.
    #[error("too many passwords are being checked")]
    Busy {
        /// Seconds to wait.
        retry_after_s: u64,
    },
}

/// An enrolment is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrolmentRefusal {
    /// Never given, used, or its time is over.
    #[error("the enrolment is not known, was used, or its time is over")]
    Unknown,
    /// The user cannot be made; the enrolment is not used up.
    #[error(transparent)]
    User(#[from] UserRefusal),
}

/// A client command is refused; the kinds are those of RFC 7591 §3.2.2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientRefusal {
    /// No such client, or deleted.
    #[error("no such client")]
    NotFound,
    /// The revision the change was made for is not the current one.
    #[error("changed meanwhile: the revision is {current}")]
    Stale {
        /// The current revision.
        current: u64,
    },
    /// Not 1 to 255 of the characters of RFC 6749 appendix A.1.
    #[error("client id is not 1 to 255 printable ASCII characters")]
    InvalidClientId,
    /// Another client has it.
    #[error("client id is taken")]
    ClientIdTaken,
    /// `invalid_redirect_uri`.
    #[error("redirect URI `{uri}` {rule}")]
    InvalidRedirectUri {
        /// As given.
        uri: String,
        /// What it breaks.
        rule: &'static str,
    },
    /// `invalid_client_metadata`.
    #[error("`{field}` {rule}")]
    InvalidClientMetadata {
        /// Which.
        field: String,
        /// What it breaks.
        rule: &'static str,
    },
    /// Public clients and those with keys of their own have none.
    #[error("a client of this `token_endpoint_auth_method` has no secret")]
    NoSecret,
}

/// A registration without an operator is refused (RFC 7591 §3.2.2, RFC 7592 §2).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationRefusal {
    /// The tenant lets nobody but operators make clients.
    #[error("registration is closed")]
    Closed,
    /// An initial access token is needed.
    #[error("an initial access token is needed")]
    TokenNeeded,
    /// Not a token that counts: unknown, ended, used up, revoked, or of another client.
    #[error("the token is not valid")]
    InvalidToken,
    /// The user may not register clients, or has as many as anybody may.
    #[error("no further client may be registered")]
    NotAllowed,
    /// No such initial access token, or revoked.
    #[error("no such token")]
    NotFound,
    /// A lifetime, number of uses or policy out of its bounds.
    #[error("`{field}` {rule}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What it breaks.
        rule: &'static str,
    },
    /// The metadata is refused.
    #[error(transparent)]
    Client(#[from] ClientRefusal),
}

/// A session command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionRefusal {
    /// No such session.
    #[error("no such session")]
    NotFound,
    /// It ended, by time or by command.
    #[error("the session is over")]
    Over,
    /// The user is disabled, erased, or changed the password after this authentication.
    #[error("the user may not log in")]
    UserRefused,
}

/// A code is refused at the authorization endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizeRefusal {
    /// The session is over: log in again.
    #[error("the session is over")]
    SessionOver,
    /// The client is disabled or gone.
    #[error("the client may do nothing")]
    ClientRefused,
    /// The grant does not cover the request: ask for consent.
    #[error("consent is needed")]
    ConsentNeeded,
    /// The pushed request is not the client's, ran out, or a code was issued for it (RFC 9126 §4).
    #[error("the pushed request was taken or ran out")]
    RequestTaken,
}

/// A step of a device authorization is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceRefusal {
    /// The client is disabled, gone, or not registered for devices.
    #[error("the client may not do this")]
    ClientRefused,
    /// Nothing waits under this code, or not for this answer.
    #[error("nothing waits under this code")]
    Unknown,
    /// No code is free: ask again.
    #[error("no user code is free")]
    NoCode,
}

/// Why a code or refresh token is `invalid_grant` (RFC 6749 §5.2). For logs; clients see one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGrant {
    /// Never issued, ended, or not authentic.
    #[error("unknown or expired")]
    Unknown,
    /// Issued to another client. The code is not used up.
    #[error("issued to another client")]
    OtherClient,
    /// Used before: what it gave is revoked by this (RFC 6749 §4.1.2, RFC 9700 §4.14.2).
    #[error("used before; what it gave is revoked")]
    Reused,
    /// The redirect URI differs from the request's (RFC 6749 §4.1.3).
    #[error("redirect URI differs")]
    RedirectUri,
    /// PKCE: verifier missing or wrong, or given without a challenge (RFC 9700 §2.1.1).
    #[error("PKCE verification failed")]
    Pkce,
    /// User, client, session, grant or family is over.
    #[error("revoked")]
    Revoked,
    /// Bound to a key that the request did not show to hold (RFC 9449 §5, §10).
    #[error("bound to another key")]
    OtherKey,
}

/// A code or refresh token is refused at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// `invalid_grant`.
    #[error("invalid grant: {0}")]
    InvalidGrant(#[from] InvalidGrant),
    /// `invalid_scope`: more than was granted (RFC 6749 §6).
    #[error("scope exceeds what was granted")]
    InvalidScope,
    /// `invalid_target`: for another resource than was granted (RFC 8707 §2.2).
    #[error("resource exceeds what was granted")]
    InvalidTarget,
    /// `unauthorized_client`: the client may not use this grant type.
    #[error("the client may not use this grant type")]
    UnauthorizedClient,
    /// `invalid_dpop_proof`: the proof was used before, or ran out on its way (RFC 9449 §11.1).
    #[error("the proof of possession was used")]
    ProofUsed,
}

/// A key command is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// No such key, or it is gone.
    #[error("no such key")]
    NotFound,
    /// Not in the phase for this step.
    #[error("no key in the phase for this step")]
    WrongPhase,
    /// The tenant's settings do not name the algorithm.
    #[error("the tenant keeps no keys of this algorithm")]
    NotKept,
    /// The algorithm has as many keys as it may: remove the others first, by revoking them.
    #[error("too many keys of this algorithm")]
    TooMany,
}

/// A login is refused. Which of name and password was wrong is not said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginRefusal {
    /// Wrong name or password, or the user may not log in.
    #[error("wrong name or password")]
    BadCredentials,
    /// Too many wrong passwords.
    #[error("locked until {}", .0.0)]
    LockedUntil(Timestamp),
    /// The hashing pool is full: 503.
    #[error("too many passwords are being checked")]
    Busy {
        /// Seconds to wait.
        retry_after_s: u64,
    },
    /// The store could not be read or written.
    #[error("{0}")]
    Unavailable(String),
}
