//! JWT assertions that somebody else signed (RFC 7523 §3, RFC 7521 §5): to prove a client, or as a grant.
//!
//! Read first, judged next, verified last: what an assertion says decides whose keys are asked for, and what
//! is expired or for another server costs no key and no signature.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domicile_iam::keys::ForeignKeys;
use domicile_iam::model::AssertionAlgorithm;
use serde::Deserialize;
use serde_json::Value;

use crate::Timestamp;

/// Bytes of an assertion at most.
pub const BYTES_MAX: usize = 16 * 1024;
/// How far the clocks of others may be from ours, in seconds (RFC 7523 §3).
pub const SKEW_S: u64 = 30;
/// Bytes of `jti` at most.
const JTI_MAX: usize = 256;
/// RFC 7518 §3.2: a key of HS256 has 256 bits at least.
const HMAC_KEY_MIN: usize = 32;

/// Why an assertion proves nothing. For logs; its sender learns one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionFault {
    /// Not a compact JWS of bounded size with the claims that every assertion has.
    #[error("not an assertion")]
    Malformed,
    /// `crit`, or a `typ` that says it is something else (RFC 8725 §3.11).
    #[error("header is not an assertion's")]
    Header,
    /// Not an algorithm that is registered for its issuer.
    #[error("algorithm is not the registered one")]
    Algorithm,
    /// Issuer or subject is another one.
    #[error("issuer or subject is another")]
    Party,
    /// For another server.
    #[error("audience is not this server, or not this server alone")]
    Audience,
    /// Past `exp`.
    #[error("expired")]
    Expired,
    /// `nbf` or `iat` is in the future.
    #[error("not valid yet")]
    Early,
    /// `exp` is further away than is accepted.
    #[error("lives too long")]
    Lifetime,
    /// No `jti`, or a very long one.
    #[error("without a usable jti")]
    Jti,
    /// No such key.
    #[error("no key fits")]
    Key,
    /// The signature does not verify.
    #[error("bad signature")]
    Signature,
}

/// What an assertion must say.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `sub`; `None` where anybody may be named.
    pub subject: Option<&'a str>,
    /// `aud`: any of these, as a text or as a list (RFC 7519 §4.1.3).
    pub audiences: &'a [&'a str],
    /// Whether the list may have others besides. If not, it has one member.
    pub audience_among_others: bool,
    /// `typ` besides none and `JWT`.
    pub typ: &'a str,
    /// How far `exp` may be away, in seconds.
    pub lifetime_max_s: u64,
    /// How long one counts from its `iat` on, whatever its `exp`, in seconds: so long its `jti` is kept. Without `iat`,
    /// how far `exp` may be away.
    pub age_max_s: Option<u64>,
    /// Whether there must be a `jti`.
    pub needs_jti: bool,
}

/// An assertion as it was sent. Nothing is proved by it yet.
pub struct Assertion {
    algorithm: AssertionAlgorithm,
    kid: Option<String>,
    typ: Option<String>,
    claims: Claims,
    all_claims: Value,
    message: String,
    signature: Vec<u8>,
}

/// Without the signature, which makes it worth something.
impl std::fmt::Debug for Assertion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assertion").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// That an assertion was used: kept until it would be refused for its age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Unique for its issuer.
    pub jti: String,
    /// Seconds since 1970.
    pub until_s: u64,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    iat: Option<f64>,
    #[serde(default)]
    jti: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Assertion {
    /// Reads one.
    ///
    /// # Errors
    /// [`AssertionFault`]: `Malformed`, `Header`, `Algorithm` for one that is not supported (`none` above all).
    pub fn parse(token: &str) -> Result<Self, AssertionFault> {
        if token.len() > BYTES_MAX {
            return Err(AssertionFault::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(AssertionFault::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(AssertionFault::Malformed)?;
        let header: Header = serde_json::from_slice(&part(header)?).map_err(|_| AssertionFault::Malformed)?;
        if header.crit.is_some() {
            return Err(AssertionFault::Header);
        }
        let algorithm = AssertionAlgorithm::from_name(&header.alg).ok_or(AssertionFault::Algorithm)?;
        let all_claims: Value =
            serde_json::from_slice(&part(claims)?).map_err(|_| AssertionFault::Malformed)?;
        let claims = Claims::deserialize(&all_claims).map_err(|_| AssertionFault::Malformed)?;
        Ok(Self {
            algorithm,
            kid: header.kid,
            typ: header.typ,
            claims,
            all_claims,
            message: message.to_owned(),
            signature: part(signature)?,
        })
    }

    /// `alg`.
    pub fn algorithm(&self) -> AssertionAlgorithm {
        self.algorithm
    }

    /// `iss`, as it says.
    pub fn issuer(&self) -> &str {
        &self.claims.iss
    }

    /// `sub`, as it says.
    pub fn subject(&self) -> &str {
        &self.claims.sub
    }

    /// A further claim, as it says.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.all_claims.get(name)
    }

    /// Compares what it says with what it must say.
    ///
    /// # Errors
    /// [`AssertionFault`].
    pub fn check(&self, rules: &Rules<'_>, now: Timestamp) -> Result<Option<Use>, AssertionFault> {
        if !self.typ.as_deref().is_none_or(|typ| is_typ(typ, "JWT") || is_typ(typ, rules.typ)) {
            return Err(AssertionFault::Header);
        }
        if self.claims.iss != rules.issuer || rules.subject.is_some_and(|sub| sub != self.claims.sub) {
            return Err(AssertionFault::Party);
        }
        let named = match &self.claims.aud {
            Audience::One(one) => std::slice::from_ref(one),
            Audience::Many(many) if rules.audience_among_others || many.len() == 1 => many.as_slice(),
            Audience::Many(_) => &[],
        };
        if !named.iter().any(|audience| rules.audiences.contains(&audience.as_str())) {
            return Err(AssertionFault::Audience);
        }
        let now_s = now.seconds();
        let ends_s = self.ends_s(rules, now_s)?;
        if ends_s.saturating_add(SKEW_S) <= now_s {
            return Err(AssertionFault::Expired);
        }
        for start in [self.claims.nbf, self.claims.iat].into_iter().flatten() {
            if seconds(start)? > now_s.saturating_add(SKEW_S) {
                return Err(AssertionFault::Early);
            }
        }
        match &self.claims.jti {
            Some(jti) if (1..=JTI_MAX).contains(&jti.len()) => {
                Ok(Some(Use { jti: jti.clone(), until_s: ends_s.saturating_add(SKEW_S) }))
            }
            None if !rules.needs_jti => Ok(None),
            Some(_) | None => Err(AssertionFault::Jti),
        }
    }

    /// Until when it counts, in seconds since 1970 (RFC 7523 §3 (4), (6): one whose `exp` or `iat` is unreasonably far
    /// away may be refused).
    fn ends_s(&self, rules: &Rules<'_>, now_s: u64) -> Result<u64, AssertionFault> {
        let expires_s = seconds(self.claims.exp)?;
        let issued_s = self.claims.iat.map(seconds).transpose()?;
        let (ends_s, away_max_s) = match (rules.age_max_s, issued_s) {
            (None, _) => (expires_s, rules.lifetime_max_s),
            (Some(age_s), None) => (expires_s, age_s.min(rules.lifetime_max_s)),
            (Some(age_s), Some(issued_s)) => {
                (expires_s.min(issued_s.saturating_add(age_s)), rules.lifetime_max_s)
            }
        };
        if expires_s > now_s.saturating_add(away_max_s + SKEW_S) {
            return Err(AssertionFault::Lifetime);
        }
        Ok(ends_s)
    }

    /// Whether a set that was kept has a key for it. If not, a new one may.
    pub fn has_key(&self, keys: &ForeignKeys) -> bool {
        keys.has(self.kid.as_deref(), self.algorithm)
    }

    /// Verifies the signature with one of these keys.
    ///
    /// # Errors
    /// [`AssertionFault::Key`] and [`AssertionFault::Signature`].
    pub fn verify(&self, keys: &ForeignKeys) -> Result<(), AssertionFault> {
        if !self.has_key(keys) {
            return Err(AssertionFault::Key);
        }
        let holds =
            keys.verify(self.kid.as_deref(), self.algorithm, self.message.as_bytes(), &self.signature);
        if holds { Ok(()) } else { Err(AssertionFault::Signature) }
    }

    /// Verifies an HS256 signature with one of these secrets (OpenID Connect Core §10.1: their UTF-8 bytes).
    ///
    /// # Errors
    /// [`AssertionFault::Key`] and [`AssertionFault::Signature`].
    pub fn verify_hmac<S: AsRef<str>>(&self, secrets: &[S]) -> Result<(), AssertionFault> {
        if self.algorithm != AssertionAlgorithm::HS256 {
            return Err(AssertionFault::Algorithm);
        }
        let mut usable = secrets.iter().map(|secret| secret.as_ref().as_bytes());
        let holds = |secret: &[u8]| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            secret.len() >= HMAC_KEY_MIN
                && hmac::verify(&key, self.message.as_bytes(), &self.signature).is_ok()
        };
        if secrets.is_empty() {
            return Err(AssertionFault::Key);
        }
        if usable.any(holds) { Ok(()) } else { Err(AssertionFault::Signature) }
    }
}

/// NumericDate (RFC 7519 §2): seconds, perhaps with a fraction.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "within the bounds that were just checked"
)]
fn seconds(value: f64) -> Result<u64, AssertionFault> {
    /// The year 9999.
    const MAX: f64 = 253_402_300_799.0;
    if (0.0..=MAX).contains(&value) { Ok(value as u64) } else { Err(AssertionFault::Malformed) }
}

fn is_typ(typ: &str, name: &str) -> bool {
    let short = match typ.get(..12) {
        Some(prefix) if prefix.eq_ignore_ascii_case("application/") => typ.get(12..).unwrap_or_default(),
        Some(_) | None => typ,
    };
    short.eq_ignore_ascii_case(name)
}

fn part(text: &str) -> Result<Vec<u8>, AssertionFault> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| AssertionFault::Malformed)
}

#[cfg(test)]
mod tests;
