//! Typed values that the protocol layer and the domain share.

mod client;
mod token;
mod user;

pub use client::{
    ApplicationType, AuthMethod, ClientMetadata, ClientView, CredentialView, GrantType, SigningAlgorithm,
};
pub use token::{
    AccessTokenClaims, Authentication, AuthorizedCode, ClaimRequest, ClaimsRequest, CodeRequest, GrantView, Issue,
    PkceChallenge, SessionView,
};
pub use user::{ProfileClaims, UserView};
