//! The OpenID Connect and OAuth 2.0 protocol as pure functions.
//!
//! Bytes of a request become a checked, typed command; a reply of the domain becomes bytes again. The
//! caller does everything between: `node` reads the socket, asks `iam`, and copies a [`Response`] out.
//!
//! Data flow of a login: [`form`] -> [`authorize`] -> [`flow`] (again after each page) -> [`respond`];
//! of a token: [`form`] -> [`client_auth`] -> [`token`] -> [`id_token`], [`access_token`] -> [`jws`].
//!
//! Invariants: **no function here panics on outside input; no error leads to a redirect target that was
//! not registered; no error text repeats what was sent; error codes and their status live in
//! [`error`] alone.**
//!
//! Deliberately absent: I/O, clocks, randomness, stores and HTTP types.

pub mod accept;
pub mod access_token;
pub mod assertion;
pub mod authorize;
pub mod bearer;
pub mod claims;
pub mod claims_locales;
pub mod client_auth;
pub mod device;
pub mod discovery;
pub mod dpop;
pub mod endpoint;
pub mod error;
pub mod exchange;
pub mod flow;
pub mod form;
pub mod id_token;
pub mod id_token_hint;
pub mod introspection;
pub mod jws;
pub mod jwt_bearer;
pub mod logout;
pub mod logout_token;
pub mod opaque;
pub mod pairwise;
pub mod par;
pub mod phantom;
pub mod pkce;
pub mod redirect_uri;
pub mod registration;
pub mod resource;
pub mod respond;
pub mod response;
pub mod revocation;
pub mod scope;
pub mod sealed_members;
pub mod signed;
pub mod token;
pub mod userinfo;

pub use domicile_raft::Timestamp;
pub use error::{ErrorCode, OAuthError};
pub use form::Form;
pub use response::Response;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod testing;
