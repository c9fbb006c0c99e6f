//! Verification of tokens that we signed, and of nothing else (RFC 8725 §3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{KeySet, algorithm_name};

/// Bytes of a token at most.
pub const BYTES_MAX: usize = 16 * 1024;

/// What a token is for, so that none is taken for another (RFC 8725 §3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// An access token (RFC 9068 §2.1).
    AccessToken,
    /// An ID token.
    IdToken,
    /// A userinfo answer (OpenID Connect Core §5.3.2). Never read by us.
    UserInfo,
    /// An introspection answer (RFC 9701 §5). Never read by us.
    Introspection,
    /// A logout token (OpenID Connect Back-Channel Logout §2.4). Never read by us.
    Logout,
}

impl TokenType {
    /// The `typ` header value.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessToken => "at+jwt",
            Self::IdToken | Self::UserInfo => "JWT",
            Self::Introspection => "token-introspection+jwt",
            Self::Logout => "logout+jwt",
        }
    }

    fn fits(self, typ: &str) -> bool {
        let short = match typ.get(..12) {
            Some(prefix) if prefix.eq_ignore_ascii_case("application/") => typ.get(12..).unwrap_or_default(),
            Some(_) | None => typ,
        };
        short.eq_ignore_ascii_case(self.name())
    }
}

/// Why a token is none of ours. For our eyes: clients only learn `invalid_token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not three base64url parts of bounded size with a JSON header.
    #[error("not a compact JWS")]
    Malformed,
    /// Header says what we never write: `crit`, another `typ`, an algorithm that is not the key's.
    #[error("header is not one of ours")]
    Header,
    /// No such key.
    #[error("unknown key")]
    UnknownKey,
    /// The signature does not verify.
    #[error("bad signature")]
    Signature,
    /// Claims are not those of this token type, or of another issuer.
    #[error("claims are not ours")]
    Claims,
    /// Past its `exp`.
    #[error("expired")]
    Expired,
    /// Authentic, but some of its members are sealed, and the keys for those are not at hand.
    #[error("members are sealed")]
    Sealed,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

/// Checks header and signature and reads the claims. The caller checks those.
///
/// # Errors
/// [`TokenFault`].
pub fn verify<T: DeserializeOwned>(
    token: &str,
    token_type: TokenType,
    keys: &KeySet,
) -> Result<T, TokenFault> {
    serde_json::from_slice(&payload(token, token_type, keys)?).map_err(|_| TokenFault::Claims)
}

/// Checks header and signature, and gives what was signed.
///
/// # Errors
/// [`TokenFault`].
pub fn payload(token: &str, token_type: TokenType, keys: &KeySet) -> Result<Vec<u8>, TokenFault> {
    if token.len() > BYTES_MAX {
        return Err(TokenFault::Malformed);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(TokenFault::Malformed)?;
    let header: Header = serde_json::from_slice(&part(header)?).map_err(|_| TokenFault::Malformed)?;
    if header.crit.is_some() || !token_type.fits(&header.typ) {
        return Err(TokenFault::Header);
    }
    let key = keys.key(&header.kid).ok_or(TokenFault::UnknownKey)?;
    if header.alg != algorithm_name(key.alg()) {
        return Err(TokenFault::Header);
    }
    if !key.verify(message.as_bytes(), &part(signature)?) {
        return Err(TokenFault::Signature);
    }
    part(claims)
}

/// The key id that a token names, for a caller that looks keys up one by one. Nothing is verified.
pub fn kid(token: &str) -> Option<String> {
    let (header, _) = token.get(..token.len().min(BYTES_MAX))?.split_once('.')?;
    serde_json::from_slice::<Header>(&part(header).ok()?).ok().map(|header| header.kid)
}

fn part(text: &str) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenFault::Malformed)
}
