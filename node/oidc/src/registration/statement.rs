//! Software statements (RFC 7591 §2.3): metadata that somebody else vouches for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::keys::ForeignKeys;
use domicile_iam::model::{AssertionAlgorithm, StatementIssuer};
use serde_json::{Map, Value};

use crate::Timestamp;
use crate::assertion::{BYTES_MAX, SKEW_S};

/// Claims of the token itself, which are no metadata (RFC 7519 §4.1).
const OF_THE_TOKEN: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

/// Why a software statement is not followed (RFC 7591 §3.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementFault {
    /// `invalid_software_statement`: no JWS, expired, or its signature does not hold.
    #[error("the software statement is not valid")]
    Invalid,
    /// `unapproved_software_statement`: of an issuer that is not trusted here.
    #[error("the software statement is of an issuer that is not trusted here")]
    Unapproved,
}

/// The metadata in a software statement, once it is verified.
///
/// # Errors
/// [`StatementFault`].
pub fn statement(
    text: &str,
    issuers: &[StatementIssuer],
    now: Timestamp,
) -> Result<Map<String, Value>, StatementFault> {
    let (message, signature) =
        text.rsplit_once('.').filter(|_| text.len() <= BYTES_MAX).ok_or(StatementFault::Invalid)?;
    let (header, claims) = message.split_once('.').ok_or(StatementFault::Invalid)?;
    let (header, mut claims) = (object(header)?, object(claims)?);
    let issuer = claims.get("iss").and_then(Value::as_str).ok_or(StatementFault::Invalid)?;
    let issuer = issuers.iter().find(|known| known.issuer == issuer).ok_or(StatementFault::Unapproved)?;
    if header.contains_key("crit") {
        return Err(StatementFault::Invalid);
    }
    let name = |member: &str| header.get(member).and_then(Value::as_str);
    let algorithm = name("alg").and_then(AssertionAlgorithm::from_name).ok_or(StatementFault::Invalid)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| StatementFault::Invalid)?;
    let keys = ForeignKeys::parse(&issuer.jwks).map_err(|_| StatementFault::Invalid)?;
    if !keys.verify(name("kid"), algorithm, message.as_bytes(), &signature) || !is_in_time(&claims, now) {
        return Err(StatementFault::Invalid);
    }
    claims.retain(|name, value| !OF_THE_TOKEN.contains(&name.as_str()) && !value.is_null());
    Ok(claims)
}

fn object(part: &str) -> Result<Map<String, Value>, StatementFault> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| StatementFault::Invalid)?;
    serde_json::from_slice(&bytes).map_err(|_| StatementFault::Invalid)
}

/// `exp` and `nbf` count where they are there; a statement need not end.
fn is_in_time(claims: &Map<String, Value>, now: Timestamp) -> bool {
    let now_s = now.seconds();
    let seconds = |name: &str| claims.get(name).map(Value::as_u64);
    let open = match seconds("exp") {
        None => true,
        Some(end) => end.is_some_and(|end| now_s < end.saturating_add(SKEW_S)),
    };
    let begun = match seconds("nbf") {
        None => true,
        Some(start) => start.is_some_and(|start| start <= now_s.saturating_add(SKEW_S)),
    };
    open && begun
}
