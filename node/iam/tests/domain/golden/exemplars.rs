//! One event of each type, with every field set.

use std::collections::BTreeMap;

use domicile_iam::ids::{ClientId, CredentialId, DataKeyId, GrantId, Id, SessionId, UserId};
use domicile_iam::model::{
    ApplicationType, AuthMethod, Authentication, ClaimRequest, ClaimsRequest, ClientMetadata, GrantType,
    SigningAlgorithm, TenantSettings,
};
use domicile_iam::personal::{Personal, Sealed};
use domicile_iam::streams::DomainEvent;
use domicile_iam::streams::client::{
    ClientCredentialAdded, ClientDeleted, ClientDisabled, ClientEnabled, ClientEvent, ClientMetadataChanged,
    ClientRegistered, Credential,
};
use domicile_iam::streams::cluster::{
    ClusterEvent, ClusterNodeEvent, ClusterPartitionEvent, JoinTokenEvent, RegionEvent,
};
use domicile_iam::streams::directory::{
    DirectoryTenantActivated, DirectoryTenantEntryChanged, DirectoryTenantEvent, DirectoryTenantReleased,
    DirectoryTenantReserved, ReleaseReason, SignedEntry,
};
use domicile_iam::streams::event_set::Change;
use domicile_iam::streams::family::{
    FamilyCreated, FamilyEvent, FamilyReuseDetected, FamilyRevocation, FamilyRevoked,
};
use domicile_iam::streams::grant::{Allowed, GrantChanged, GrantEvent, GrantGiven, GrantRevoked};
use domicile_iam::streams::initial_access_token::InitialAccessTokenEvent;
use domicile_iam::streams::session::{
    LogoutFailure, SessionClientJoined, SessionEndReason, SessionEnded, SessionEvent,
    SessionLogoutUndelivered, SessionReauthenticated, SessionStarted,
};
use domicile_iam::streams::signing_key::{
    PublicKey, SigningKeyActivated, SigningKeyCreated, SigningKeyEnded, SigningKeyEvent, SigningKeyPublished,
    SigningKeyRemoved, SigningKeyRetired,
};
use domicile_iam::streams::tenant::{
    TenantChanged, TenantCreated, TenantDeleted, TenantEvent, TenantIssuerRepointed,
};
use domicile_iam::streams::user::{
    UserCreated, UserDisabled, UserEnabled, UserErased, UserEvent, UserLocked, UserOperatorChanged,
    UserPasswordChanged, UserPasswordRehashed, UserProfileChanged, UserRecoveryCodeUsed,
    UserRecoveryCodesReplaced, UserTotpEnrolled, UserTotpRemoved,
};
use domicile_raft::{PartitionId, Timestamp};
use serde_bytes::ByteArray;
use serde_json::json;

use crate::support::set;

/// An event of any stream.
#[allow(clippy::large_enum_variant, reason = "test")]
pub enum Exemplar {
    Tenant(TenantEvent),
    User(UserEvent),
    Client(ClientEvent),
    Session(SessionEvent),
    Grant(GrantEvent),
    Family(FamilyEvent),
    SigningKey(SigningKeyEvent),
    Directory(DirectoryTenantEvent),
    Cluster(ClusterEvent),
    Region(RegionEvent),
    Node(ClusterNodeEvent),
    Partition(ClusterPartitionEvent),
    JoinToken(JoinTokenEvent),
    InitialAccessToken(InitialAccessTokenEvent),
}

fn name<E: DomainEvent>(event: &E) -> (&'static str, u16) {
    (event.event_type(), event.schema())
}

impl Exemplar {
    pub fn name(&self) -> (&'static str, u16) {
        match self {
            Self::Tenant(event) => name(event),
            Self::User(event) => name(event),
            Self::Client(event) => name(event),
            Self::Session(event) => name(event),
            Self::Grant(event) => name(event),
            Self::Family(event) => name(event),
            Self::SigningKey(event) => name(event),
            Self::Directory(event) => name(event),
            Self::Cluster(event) => name(event),
            Self::Region(event) => name(event),
            Self::Node(event) => name(event),
            Self::Partition(event) => name(event),
            Self::JoinToken(event) => name(event),
            Self::InitialAccessToken(event) => name(event),
        }
    }

    pub fn check(&self) {
        match self {
            Self::Tenant(event) => super::check(event),
            Self::User(event) => super::check(event),
            Self::Client(event) => super::check(event),
            Self::Session(event) => super::check(event),
            Self::Grant(event) => super::check(event),
            Self::Family(event) => super::check(event),
            Self::SigningKey(event) => super::check(event),
            Self::Directory(event) => super::check(event),
            Self::Cluster(event) => super::check(event),
            Self::Region(event) => super::check(event),
            Self::Node(event) => super::check(event),
            Self::Partition(event) => super::check(event),
            Self::JoinToken(event) => super::check(event),
            Self::InitialAccessToken(event) => super::check(event),
        }
    }
}

/// Every type of every stream, with its current schema.
pub fn types() -> Vec<(&'static str, u16)> {
    [
        TenantEvent::TYPES,
        UserEvent::TYPES,
        ClientEvent::TYPES,
        SessionEvent::TYPES,
        GrantEvent::TYPES,
        FamilyEvent::TYPES,
        SigningKeyEvent::TYPES,
        DirectoryTenantEvent::TYPES,
        ClusterEvent::TYPES,
        RegionEvent::TYPES,
        ClusterNodeEvent::TYPES,
        ClusterPartitionEvent::TYPES,
        JoinTokenEvent::TYPES,
        InitialAccessTokenEvent::TYPES,
    ]
    .concat()
}

pub fn all() -> Vec<Exemplar> {
    let mut all = Vec::new();
    all.extend(tenant().into_iter().map(Exemplar::Tenant));
    all.extend(user().into_iter().map(Exemplar::User));
    all.extend(client().into_iter().map(Exemplar::Client));
    all.extend(session().into_iter().map(Exemplar::Session));
    all.extend(grant().into_iter().map(Exemplar::Grant));
    all.extend(family().into_iter().map(Exemplar::Family));
    all.extend(signing_key().into_iter().map(Exemplar::SigningKey));
    all.extend(directory().into_iter().map(Exemplar::Directory));
    all.extend(super::cluster_exemplars::all());
    all.extend(super::registration_exemplars::all());
    all
}

fn sealed(byte: u8) -> Personal {
    Personal::Sealed(Sealed {
        key: DataKeyId::from_bytes([byte; 16]),
        revision: 1,
        nonce: [byte; 12],
        ciphertext: vec![byte; 20],
    })
}

fn change(before: Option<u8>, after: Option<u8>) -> Change<Option<Personal>> {
    Change { before: before.map(sealed), after: after.map(sealed) }
}

fn tenant() -> [TenantEvent; 4] {
    let settings = TenantSettings::default();
    let other = TenantSettings { refresh_grace_ms: 0, email_unique: false, ..settings.clone() };
    [
        TenantEvent::Created(TenantCreated {
            slug: "acme".to_owned(),
            display_name: "Acme".to_owned(),
            issuer: "https://id.example/t/acme".to_owned(),
            settings: settings.clone(),
            root_public_key: [1; 32],
            placement: Some(super::cluster_exemplars::placement()),
        }),
        TenantEvent::Changed(TenantChanged {
            display_name: Some(Change { before: "Acme".to_owned(), after: "Acme Ltd".to_owned() }),
            settings: Some(Change { before: settings, after: other }),
            disabled: Some(Change { before: false, after: true }),
        }),
        TenantEvent::IssuerRepointed(TenantIssuerRepointed {
            issuer: Change {
                before: "http://127.0.0.1:1".to_owned(),
                after: "http://127.0.0.1:2".to_owned(),
            },
        }),
        TenantEvent::Deleted(TenantDeleted {}),
    ]
}

fn hashes() -> Vec<ByteArray<32>> {
    vec![ByteArray::new([1; 32]), ByteArray::new([2; 32])]
}

fn user() -> [UserEvent; 13] {
    [
        UserEvent::Created(UserCreated {
            subject: sealed(1),
            username: sealed(2),
            email: Some(sealed(3)),
            email_verified: true,
            phone_number: Some(sealed(4)),
            phone_number_verified: false,
            claims: Some(sealed(5)),
            password: Some(sealed(6)),
        }),
        UserEvent::ProfileChanged(UserProfileChanged {
            username: Some(change(Some(2), Some(7))),
            email: Some(change(Some(3), Some(8))),
            email_verified: Some(Change { before: true, after: false }),
            email_held: Some(change(None, Some(3))),
            phone_number: Some(change(Some(4), None)),
            phone_number_verified: Some(Change { before: false, after: true }),
            claims: Some(change(None, Some(9))),
        }),
        UserEvent::PasswordChanged(UserPasswordChanged { password: sealed(6), had_password: true }),
        UserEvent::PasswordRehashed(UserPasswordRehashed { password: sealed(6) }),
        UserEvent::Locked(UserLocked {
            until: Change { before: Some(Timestamp(1)), after: Some(Timestamp(1_800_000_000_000)) },
        }),
        UserEvent::Disabled(UserDisabled {}),
        UserEvent::Enabled(UserEnabled {}),
        UserEvent::Erased(UserErased {}),
        UserEvent::OperatorChanged(UserOperatorChanged { operator: Change { before: false, after: true } }),
        UserEvent::TotpEnrolled(UserTotpEnrolled { totp: sealed(10), recovery_codes: hashes() }),
        UserEvent::TotpRemoved(UserTotpRemoved {}),
        UserEvent::RecoveryCodeUsed(UserRecoveryCodeUsed { sha256: ByteArray::new([1; 32]) }),
        UserEvent::RecoveryCodesReplaced(UserRecoveryCodesReplaced { recovery_codes: hashes() }),
    ]
}

fn metadata(name: &str) -> ClientMetadata {
    ClientMetadata {
        client_name: Some(name.to_owned()),
        redirect_uris: vec!["https://rp.example/cb".to_owned()],
        post_logout_redirect_uris: vec!["https://rp.example/bye".to_owned()],
        response_types: vec!["code".to_owned()],
        grant_types: vec![
            GrantType::AuthorizationCode,
            GrantType::RefreshToken,
            GrantType::ClientCredentials,
        ],
        token_endpoint_auth_method: AuthMethod::ClientSecretJwt,
        application_type: ApplicationType::Native,
        scope: Some("openid email".to_owned()),
        id_token_signed_response_alg: SigningAlgorithm::ES256,
        access_token_signed_response_alg: SigningAlgorithm::EdDSA,
        require_pkce: true,
        default_max_age: Some(3600),
        require_auth_time: true,
        default_acr_values: vec!["urn:acr".to_owned()],
        resource_identifiers: vec!["https://api.example".to_owned()],
        // Later than the fixtures, which stay: absent is as it was.
        require_pushed_authorization_requests: false,
        dpop_bound_access_tokens: false,
        userinfo_signed_response_alg: None,
        introspection_signed_response_alg: None,
        subject_type: None,
        backchannel_logout_uri: None,
        backchannel_logout_session_required: false,
        extra: BTreeMap::from([
            ("client_uri".to_owned(), json!("https://rp.example")),
            ("software".to_owned(), json!({"id": 7, "tags": ["a", null, true, 1.5]})),
        ]),
    }
}

fn client() -> [ClientEvent; 6] {
    let credential = Credential {
        id: CredentialId::from_bytes([1; 16]),
        secret_sha256: [2; 32],
        created_at: Timestamp(1_800_000_000_000),
        expires_at: Some(Timestamp(1_800_000_060_000)),
        secret: Some(sealed(4)),
    };
    [
        ClientEvent::Registered(ClientRegistered {
            client_id: "app".to_owned(),
            metadata: metadata("App"),
            contacts: Some(sealed(1)),
            credentials: vec![credential.clone()],
        }),
        ClientEvent::MetadataChanged(ClientMetadataChanged {
            metadata: Some(Change { before: metadata("App"), after: metadata("New") }),
            contacts: Some(change(Some(1), None)),
        }),
        ClientEvent::CredentialAdded(ClientCredentialAdded {
            credential: Credential { expires_at: None, ..credential.clone() },
            expiries: vec![(credential.id, Change { before: None, after: credential.expires_at })],
        }),
        ClientEvent::Disabled(ClientDisabled {}),
        ClientEvent::Enabled(ClientEnabled {}),
        ClientEvent::Deleted(ClientDeleted {}),
    ]
}

fn authentication() -> Authentication {
    Authentication { method: "pwd".to_owned(), at: Timestamp(1_800_000_000_000), acr: "urn:acr".to_owned() }
}

fn session_started() -> SessionStarted {
    SessionStarted {
        user: UserId::from_bytes([1; 16]),
        authentications: vec![authentication()],
        secret_sha256: [2; 32],
        replaces: Some(SessionId::from_bytes([3; 16])),
        expires_at: Timestamp(1_800_600_000_000),
    }
}

fn session() -> [SessionEvent; 6] {
    [
        SessionEvent::Started(session_started()),
        SessionEvent::Reauthenticated(SessionReauthenticated {
            authentication: authentication(),
            secret_sha256: [4; 32],
        }),
        SessionEvent::ClientJoined(SessionClientJoined {
            client: ClientId::from_bytes([5; 16]),
            sid: "sid".to_owned(),
        }),
        SessionEvent::Ended(SessionEnded { reason: SessionEndReason::Logout }),
        SessionEvent::Expired(domicile_iam::streams::session::SessionExpired {}),
        SessionEvent::LogoutUndelivered(SessionLogoutUndelivered {
            client: ClientId::from_bytes([5; 16]),
            reason: LogoutFailure::Attempts,
        }),
    ]
}

/// What the first schema wrote, and what it means.
pub fn session_started_v1() -> (Vec<u8>, SessionEvent) {
    #[derive(serde::Serialize)]
    struct V1 {
        user: UserId,
        method: String,
        at: Timestamp,
        acr: String,
        #[serde(with = "serde_bytes")]
        secret_sha256: [u8; 32],
        replaces: Option<SessionId>,
        expires_at: Timestamp,
    }
    let now = session_started();
    let Authentication { method, at, acr } = authentication();
    let (user, secret_sha256, replaces, expires_at) =
        (now.user, now.secret_sha256, now.replaces, now.expires_at);
    let old = V1 { user, method, at, acr, secret_sha256, replaces, expires_at };
    let written =
        domicile_storage::codec::encode_open(domicile_iam::streams::EVENT_BODY_FORMAT, &old).unwrap();
    (written, SessionEvent::Started(now))
}

fn grant() -> [GrantEvent; 3] {
    let allowed =
        Allowed { scopes: set(&["openid", "email"]), claims: set(&["nickname"]), ..Allowed::default() };
    let less = Allowed { scopes: set(&["openid"]), ..Allowed::default() };
    [
        GrantEvent::Given(GrantGiven {
            user: UserId::from_bytes([1; 16]),
            client: ClientId::from_bytes([2; 16]),
            allowed: allowed.clone(),
        }),
        GrantEvent::Changed(GrantChanged { allowed: Change { before: less, after: allowed } }),
        GrantEvent::Revoked(GrantRevoked {}),
    ]
}

fn family() -> [FamilyEvent; 3] {
    let wanted = ClaimRequest { essential: true, value: Some(json!("x")), values: vec![json!("y")] };
    [
        FamilyEvent::Created(FamilyCreated {
            grant: GrantId::from_bytes([1; 16]),
            session: SessionId::from_bytes([2; 16]),
            sid: "sid".to_owned(),
            user: UserId::from_bytes([3; 16]),
            client: ClientId::from_bytes([4; 16]),
            scopes: set(&["openid", "offline_access"]),
            claims: ClaimsRequest {
                userinfo: BTreeMap::from([("nickname".to_owned(), wanted)]),
                id_token: BTreeMap::from([("acr".to_owned(), ClaimRequest::default())]),
                locales: Vec::new(),
            },
            auth_time: Timestamp(1_800_000_000_000),
            auth_time_wanted: true,
            acr: Some("urn:acr".to_owned()),
            amr: vec!["pwd".to_owned()],
            offline: true,
            refreshable: true,
            expires_at: Timestamp(1_807_000_000_000),
            // Later than the fixture, which stays: absent is as it was.
            dpop_jkt: None,
            resources: set(&[]),
            mode: domicile_iam::model::FamilyMode::Rotate,
        }),
        FamilyEvent::ReuseDetected(FamilyReuseDetected { generation: 2, current: 9 }),
        FamilyEvent::Revoked(FamilyRevoked { reason: FamilyRevocation::TokenReused }),
    ]
}

fn signing_key() -> [SigningKeyEvent; 6] {
    [
        SigningKeyEvent::Created(SigningKeyCreated {
            algorithm: SigningAlgorithm::RS256,
            public_key: PublicKey::Rsa { n: vec![1; 256], e: vec![1, 0, 1] },
            private_key: DataKeyId::from_bytes([2; 16]),
        }),
        SigningKeyEvent::Published(SigningKeyPublished {}),
        SigningKeyEvent::Activated(SigningKeyActivated {}),
        SigningKeyEvent::Retired(SigningKeyRetired {}),
        SigningKeyEvent::Removed(SigningKeyRemoved {}),
        SigningKeyEvent::Ended(SigningKeyEnded {}),
    ]
}

fn directory() -> [DirectoryTenantEvent; 4] {
    let signed = |byte: u8| SignedEntry { entry: vec![byte; 40], signature: vec![byte; 64] };
    [
        DirectoryTenantEvent::Reserved(DirectoryTenantReserved {
            slug: "acme".to_owned(),
            home: PartitionId(1),
            expires_at: Timestamp(1_800_000_120_000),
        }),
        DirectoryTenantEvent::Activated(DirectoryTenantActivated {
            root_public_key: [1; 32],
            signed: signed(2),
            // Later than the fixture, which stays: absent is as it was.
            issuer: None,
        }),
        DirectoryTenantEvent::EntryChanged(DirectoryTenantEntryChanged {
            signed: Change { before: signed(2), after: signed(3) },
            issuer: None,
        }),
        DirectoryTenantEvent::Released(DirectoryTenantReleased { reason: ReleaseReason::Deleted }),
    ]
}
