//! The token endpoint (RFC 6749 §3.2, §4.1.3, §4.4.2, §6; OpenID Connect Core §3.1.3, §12).

mod grant;
mod issue;

pub use grant::{TokenRequest, parse};
pub use issue::{Issuer, asserted, client_credentials, exchanged, issued};

#[cfg(test)]
mod tests;
