//! `id_token_hint`: an ID token of ours that comes back, perhaps expired (OpenID Connect Core §3.1.2.1).

use serde::Deserialize;

use crate::jws::{self, KeySet, TokenFault, TokenType};

/// What a hint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Whom it is about.
    pub subject: String,
    /// Whom it was issued to.
    pub clients: Vec<String>,
    /// The session it belongs to, as that client knows it.
    pub sid: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    #[serde(default)]
    sid: Option<String>,
}

/// Reads a hint. `exp` is not looked at: a hint says who, it proves nothing.
///
/// # Errors
/// [`TokenFault`] if it is not an ID token of this issuer under a key that is still published.
pub fn open(token: &str, issuer: &str, keys: &KeySet) -> Result<Hint, TokenFault> {
    let claims: Claims = jws::verify(token, TokenType::IdToken, keys)?;
    if claims.iss != issuer {
        return Err(TokenFault::Claims);
    }
    let clients = match claims.aud {
        Audience::One(client) => vec![client],
        Audience::Many(clients) => clients,
    };
    Ok(Hint { subject: claims.sub, clients, sid: claims.sid })
}
