//! Commands: what callers ask for, decided on applied state.
//!
//! The pure part of each decision is in [`crate::streams`]; a command reads what that needs, makes
//! ids and secrets from `Fresh`, and writes a draft.

mod algorithm_use;
mod authorize;
mod client;
mod cluster;
mod code;
mod developer;
mod device;
mod device_retry;
mod digest;
mod grant_id;
mod initial_access_token;
mod input;
mod join;
mod jurisdiction;
mod key_proof;
mod logout;
mod operator;
mod partition;
mod pushed;
mod recovery_code;
mod refresh;
mod refresh_token;
mod refusal;
mod registration;
mod resource;
mod second_factor;
mod session;
mod session_watch;
mod signing_key;
mod tenant;
mod tenant_deletion;
mod totp;
mod user;

pub use authorize::{IssueCode, RevokeGrant};
pub use client::{AddClientSecret, DeleteClient, RegisterClient, UpdateClient};
pub use cluster::{
    AddRegionCertificate, InitCluster, RemoveRegionCertificate, SetNodeState, UpdateCluster, UpdateNode,
};
pub use code::{CodeRecord, LiveCode, RedeemCode, TokenReply};
pub use developer::{
    DEVELOPER_CLIENTS_MAX, DeleteOwnClient, DeveloperRefusal, OwnClient, RegisterOwnClient, RotateOwnSecret,
    UpdateOwnClient,
};
pub use device::{DEVICE_CODE_MS, DenyDevice, DeviceCodes, StartDevice, normal_user_code};
pub(crate) use device::{DEVICE_SUBKEY, DeviceCode, UserCodeRecord, Word, user_code_key, yes_code};
pub use device_retry::SpentByDevice;
pub(crate) use digest::{base64url, from_base64url, sha256};
pub use grant_id::grant_id_for;
pub use initial_access_token::{
    CreateInitialAccessToken, INITIAL_ACCESS_TOKEN_MS_MAX, NewInitialAccessToken, RevokeInitialAccessToken,
};
pub use input::{
    AuthenticatedUser, ClientPatch, Consent, CreateTenant, CreateUser, NewSession, PlainPassword,
    TenantPatch, UserPatch,
};
pub use join::{CreateJoinToken, RedeemJoinToken, RevokeJoinToken};
pub use jurisdiction::SetJurisdiction;
pub use logout::{LOGOUT_NOTICE_MS, LogoutNotice, SettleLogouts, SettledLogout};
pub use operator::{CreateEnrolment, ENROLMENT_MS, RedeemEnrolment, SetOperator};
pub use partition::{
    ChangePlacement, ChooseFounder, PartitionChoice, ReadyPartition, RecordMembers, RequestPartition,
};
pub use pushed::{CARRIED_BYTES_MAX, PUSHED_REQUEST_MS, PushRequest, PushedRequest};
pub(crate) use pushed::{PushedRecord, Reference, carry};
pub use recovery_code::RECOVERY_CODES;
pub use refresh::{
    PreviousToken, RevokeAccessToken, RevokeRefreshToken, RevokedToken, RotateRefreshToken, Rotation,
};
pub(crate) use refresh::{refresh_record_key, revoked_record_key};
pub use refresh_token::{FamilySecret, RefreshToken};
pub use refusal::{
    AuthorizeRefusal, ClientRefusal, ClusterRefusal, DeviceRefusal, EnrolmentRefusal, InvalidGrant,
    KeyRefusal, LoginRefusal, PasswordRule, RegistrationRefusal, SessionRefusal, TenantRefusal, TokenRefusal,
    UserRefusal,
};
pub use registration::{
    DeleteRegistration, RegisterByRequest, RegistrationAuthority, RegistrationReply, UpdateRegistration,
};
pub use second_factor::{
    EnrolTotp, EnrolledTotp, ProveSecondFactor, RemoveSecondFactor, ReplaceRecoveryCodes, SecondFactorProof,
    SecondFactorRefusal,
};
pub(crate) use session::session_use_key;
pub use session::{EndSession, ReauthenticateSession, SessionUse, StartSession, TouchSession};
pub use session_watch::ExpireSession;
pub(crate) use session_watch::watch_due;
pub use signing_key::{AddSigningKey, KeyProgress, MoveKeys, NewKey, NewKeyUse, RevokeSigningKey};
pub(crate) use tenant::EntryPlace;
pub use tenant::{
    ActivateTenant, CreateHome, DeleteHome, ExpireReservation, PublishEntry, ReleaseTenant, RepointIssuer,
    Reservation, ReserveTenant, RootSigned, SYSTEM_SLUG, SignEntry, UpdateTenant, verify_entry,
};
pub use tenant_deletion::{ChooseDeletion, DeletionChoice};
pub(crate) use totp::{SECRET_BYTES, secret_text};
pub use totp::{STEP_S, otpauth_uri};
pub(crate) use user::parse_claims;
pub use user::{CreateUserCommand, EraseUser, LockUser, RehashPassword, SetPassword, UpdateUser};
