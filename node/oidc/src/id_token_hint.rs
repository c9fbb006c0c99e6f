//! `id_token_hint`: an ID token of ours that comes back, perhaps expired (OpenID Connect Core §3.1.2.1).

use serde::Deserialize;

use crate::form::Form;
use crate::jws::{self, KeySet, TokenFault, TokenType};

/// Bytes of a hint at most.
pub const BYTES_MAX: usize = 16 * 1024;

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
    exp: u64,
    iat: u64,
    #[serde(default)]
    sid: Option<String>,
}

/// The id of the key that a request's hint names, if `keys` lacks it: its key may have ended since, and be known to
/// the caller. Nothing is verified.
#[must_use]
pub fn missing_key(form: &Form, keys: &KeySet) -> Option<String> {
    let hint = form.get_within("id_token_hint", BYTES_MAX).ok()??;
    jws::kid(hint).filter(|kid| keys.key(kid).is_none())
}

/// Reads a hint. It may have expired: a hint says who, it proves nothing. That it has times at all tells it from a signed
/// UserInfo answer, which has none and is of the same type (OpenID Connect Core §2, §5.3.2; RFC 8725 §3.12).
///
/// # Errors
/// [`TokenFault`] if it is not an ID token of this issuer under one of `keys`.
pub fn open(token: &str, issuer: &str, keys: &KeySet) -> Result<Hint, TokenFault> {
    let claims: Claims = jws::verify(token, TokenType::IdToken, keys)?;
    if claims.iss != issuer || claims.exp < claims.iat {
        return Err(TokenFault::Claims);
    }
    let clients = match claims.aud {
        Audience::One(client) => vec![client],
        Audience::Many(clients) => clients,
    };
    Ok(Hint { subject: claims.sub, clients, sid: claims.sid })
}
