//! A DPoP proof (RFC 9449 §4.2), checked by the list of §4.3.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::Nonces;
use super::key::{algorithm, parse, thumbprint};
use crate::Timestamp;

/// Bytes of a proof at most: an RSA key of 8192 bits and its signature fit.
const BYTES_MAX: usize = 8 * 1024;
/// Bytes of a `jti` at most.
const JTI_MAX: usize = 256;
/// How far the client's clock may be off, in seconds. Freshness is the nonce's to show (§11.1).
const CLOCK_S: u64 = 300;
/// Why a proof is refused. For our eyes: clients learn `invalid_dpop_proof` or `use_dpop_nonce`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    /// Not one compact JWS of bounded size with a JSON header and claims.
    #[error("not a compact JWS")]
    Malformed,
    /// `typ`, `alg` or `crit` is not that of a proof.
    #[error("header is not that of a proof")]
    Header,
    /// `jwk` is not one public key that fits `alg`.
    #[error("key is not a usable public key")]
    Key,
    /// The signature does not verify.
    #[error("bad signature")]
    Signature,
    /// A claim is missing or of the wrong type.
    #[error("claims are not those of a proof")]
    Claims,
    /// `htm` or `htu` is another request's.
    #[error("made for another request")]
    Request,
    /// `iat` is too far from now, or `exp` or `nbf` leaves now out.
    #[error("made too long ago, or in the future")]
    Time,
    /// `ath` is missing or another token's, or the token is bound to another key.
    #[error("made for another access token")]
    Token,
    /// No nonce, or one that does not count: a new one is given.
    #[error("no current nonce")]
    Nonce,
}

/// The request that a proof came with.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// The endpoint's URL, without query and fragment.
    pub url: &'a str,
    /// The access token that is presented along, if one is.
    pub access_token: Option<&'a str>,
    /// Now.
    pub now: Timestamp,
}

/// What a good proof shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The key's thumbprint (RFC 7638), base64url of SHA-256.
    pub jkt: String,
    /// The proof's own id.
    pub jti: String,
    /// When it counts no more, so that its use may be forgotten, in seconds.
    pub ends_at_s: u64,
}

#[derive(Deserialize)]
struct Header {
    typ: String,
    alg: String,
    jwk: Map<String, Value>,
    #[serde(default)]
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: f64,
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    ath: Option<String>,
    #[serde(default)]
    nonce: Option<String>,
}

/// Checks the value of a `DPoP` header.
///
/// # Errors
/// [`ProofFault`]; [`ProofFault::Nonce`] only for a proof that is good otherwise.
pub fn verify(proof: &str, expected: Expected<'_>, nonces: &Nonces) -> Result<Proof, ProofFault> {
    let (jkt, claims) = open(proof)?;
    if claims.htm != expected.method || !same_url(&claims.htu, expected.url) {
        return Err(ProofFault::Request);
    }
    if claims.jti.is_empty() || claims.jti.len() > JTI_MAX {
        return Err(ProofFault::Claims);
    }
    if !is_current(&claims, expected.now) {
        return Err(ProofFault::Time);
    }
    if let Some(token) = expected.access_token
        && claims.ath.as_deref() != Some(&hash(token.as_bytes()))
    {
        return Err(ProofFault::Token);
    }
    let nonce = claims.nonce.as_deref().ok_or(ProofFault::Nonce)?;
    let ends_at_s = nonces.ends_at_s(nonce, expected.now).ok_or(ProofFault::Nonce)?;
    Ok(Proof { jkt, jti: claims.jti, ends_at_s })
}

/// Thumbprint and claims of a proof whose signature verifies under its own key.
fn open(proof: &str) -> Result<(String, Claims), ProofFault> {
    if proof.len() > BYTES_MAX {
        return Err(ProofFault::Malformed);
    }
    let (message, signature) = proof.rsplit_once('.').ok_or(ProofFault::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(ProofFault::Malformed)?;
    let header: Value = json_part(header)?;
    let header: Header = serde_json::from_value(header).map_err(|_| ProofFault::Header)?;
    if header.typ != "dpop+jwt" || header.crit.is_some() {
        return Err(ProofFault::Header);
    }
    let algorithm = algorithm(&header.alg).ok_or(ProofFault::Header)?;
    let key = parse(&header.jwk, algorithm).ok_or(ProofFault::Key)?;
    let jkt = thumbprint(&header.jwk).ok_or(ProofFault::Key)?;
    if !key.verify(message.as_bytes(), &part(signature)?) {
        return Err(ProofFault::Signature);
    }
    let claims = serde_json::from_value(json_part(claims)?).map_err(|_| ProofFault::Claims)?;
    Ok((jkt, claims))
}

fn part(text: &str) -> Result<Vec<u8>, ProofFault> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| ProofFault::Malformed)
}

fn json_part(text: &str) -> Result<Value, ProofFault> {
    serde_json::from_slice(&part(text)?).map_err(|_| ProofFault::Malformed)
}

/// Base64url of SHA-256.
pub(super) fn hash(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes))
}

/// Whether text is a thumbprint of ours: 32 bytes as base64url (RFC 9449 §10).
#[must_use]
pub fn is_thumbprint(text: &str) -> bool {
    text.len() == 43 && URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

/// §4.3 (9): normalised by scheme and syntax (RFC 3986 §6.2.2, §6.2.3), without query and fragment.
fn same_url(given: &str, wanted: &str) -> bool {
    let bare = |text: &str| {
        let mut url = Url::parse(&plain_octets(text)).ok()?;
        url.set_query(None);
        url.set_fragment(None);
        Some(url)
    };
    given == wanted || bare(given).is_some_and(|given| bare(wanted) == Some(given))
}

/// RFC 3986 §6.2.2.1, §6.2.2.2: unreserved characters stand for themselves, other escapes have capital digits.
fn plain_octets(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let escaped = part
            .split_at_checked(2)
            .filter(|(digits, _)| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let octet = escaped.and_then(|(digits, rest)| Some((u8::from_str_radix(digits, 16).ok()?, rest)));
        match octet {
            Some((octet, rest)) if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) => {
                out.push(char::from(octet));
                out.push_str(rest);
            }
            Some((octet, rest)) => out.extend([format!("%{octet:02X}").as_str(), rest]),
            None => out.extend(["%", part]),
        }
    }
    out
}

/// A numeric date may have a fraction (RFC 7519 §2). A proof needs neither `exp` nor `nbf`; one that has them is
/// held to them (§4.1.4, §4.1.5), by the same leeway.
#[allow(clippy::cast_precision_loss, reason = "seconds of any date we meet are exact in 53 bits")]
fn is_current(claims: &Claims, now: Timestamp) -> bool {
    let (now, leeway) = (now.seconds() as f64, CLOCK_S as f64);
    (claims.iat - now).abs() <= leeway
        && claims.exp.is_none_or(|exp| now < exp + leeway)
        && claims.nbf.is_none_or(|nbf| nbf <= now + leeway)
}

#[cfg(test)]
mod tests;
