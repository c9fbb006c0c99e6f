//! Typed values that the protocol layer and the domain share.

mod client;
mod page;
mod tenant;
mod token;
mod user;

pub use client::{
    ApplicationType, AuthMethod, ClientMetadata, ClientView, CredentialView, GrantType, SigningAlgorithm,
};
pub use page::{Page, PageRequest};
pub use tenant::{InvalidSetting, TenantContext, TenantSettings, TenantView, is_scope_token};
pub use token::{
    AccessTokenClaims, Authentication, AuthorizedCode, ClaimRequest, ClaimsRequest, CodeRequest, GrantView,
    Issue, PkceChallenge, SessionView,
};
pub use user::{ProfileClaims, UserView};
