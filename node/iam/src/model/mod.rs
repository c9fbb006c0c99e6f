//! Typed values that the protocol layer and the domain share.

mod assertion;
mod assurance;
mod client;
mod cluster;
mod exchange_policy;
mod family_mode;
mod listed_tenant;
mod origins;
mod page;
mod registration;
mod resource_scopes;
mod second_factor;
mod tenant;
mod token;
mod token_format;
mod trusted_issuer;
mod user;

pub use assertion::{AssertionAlgorithm, AssertionAudience};
pub use assurance::{ACR_PASSWORD, ACR_TWO_FACTORS, Assurance, METHOD_OTP};
pub use client::{
    ApplicationType, AuthMethod, ClientMetadata, ClientView, CredentialView, GrantType, SigningAlgorithm,
    SubjectType,
};
pub use cluster::{
    AnyWord, ClusterView, Edge, MemberHints, NodeAddresses, NodeState, NodeView, PartitionState,
    PartitionView, PlacementDocument, RegionView, RegionsWanted,
};
pub use exchange_policy::{ExchangePolicy, MAY_ACT, TOKEN_EXCHANGE};
pub use family_mode::{FamilyMode, REFRESH_TOKEN_MODE};
pub use listed_tenant::{KnownTenant, ListedTenant};
pub use origins::{ORIGINS_MAX, is_origin};
pub use page::{Page, PageRequest};
pub use registration::{
    ACCESS_TOKEN_LIFETIME, ALLOWED_ORIGINS, Delegate, Delegation, InitialAccessTokenView, Registration,
    RegistrationPolicy, SECTOR_IDENTIFIER_URI, SOFTWARE_STATEMENT, StatementIssuer,
};
pub use resource_scopes::RESOURCE_SCOPES;
pub use second_factor::{SecondFactorKind, SecondFactorPolicy, SecondFactorView};
pub use tenant::{
    ADMIN_SCOPE, CLI_CLIENT_ID, InvalidSetting, JWKS_CACHE_MS, TenantContext, TenantSettings, TenantView,
    is_scope_token,
};
pub use token::{
    AccessTokenClaims, Authentication, AuthorizedCode, ClaimRequest, ClaimsRequest, CodeRequest,
    Confirmation, GrantView, Issue, KeyProof, PkceChallenge, SessionOrigin, SessionView, TokenSource,
};
pub use token_format::{ACCESS_TOKEN_FORMAT, AccessTokenFormat};
pub use trusted_issuer::{SubjectKind, TRUSTED_ISSUERS, TrustedIssuer};
pub use user::{ProfileClaims, UserView};
