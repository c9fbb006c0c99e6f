//! Dynamic client registration: what clients send and are told (RFC 7591, RFC 7592, OpenID Connect
//! Registration).

mod request;
mod respond;
mod statement;

pub use request::{BYTES_MAX, RegistrationRequest};
pub use respond::{Access, RegistrationError, deleted, information};
pub use statement::{StatementFault, statement};

#[cfg(test)]
mod tests;
