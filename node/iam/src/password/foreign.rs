//! Hashes that other systems made: bcrypt, scrypt and PBKDF2. Checked, never made.

use std::num::NonZeroU32;

use argon2::password_hash::PasswordHash;
use aws_lc_rs::pbkdf2;
use subtle::ConstantTimeEq as _;

use crate::commands::PasswordRule;

/// About a second of one core.
const BCRYPT_COST_MAX: u32 = 14;
const SCRYPT_LOG_N_MAX: u8 = 18;
const SCRYPT_R_MAX: u32 = 16;
const SCRYPT_P_MAX: u32 = 16;
/// Memory: 128 N r bytes (RFC 7914 §2).
const SCRYPT_MEMORY_MAX: u64 = 64 << 20;
/// Work: N r p, four times what fills the memory bound.
const SCRYPT_WORK_MAX: u64 = 4 * SCRYPT_MEMORY_MAX / 128;
const PBKDF2_ROUNDS_MAX: u32 = 5_000_000;
const OUTPUT_LEN_MAX: usize = 64;

/// Whether `hash` looks like bcrypt's own format, which is not a PHC string.
pub(super) fn is_bcrypt(hash: &str) -> bool {
    ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix))
}

/// Checks form and cost.
pub(super) fn check_bcrypt(hash: &str) -> Result<(), PasswordRule> {
    let cost = hash.split('$').nth(2).and_then(|cost| cost.parse::<u32>().ok());
    let well_formed = hash.parse::<bcrypt::HashParts>().is_ok();
    if well_formed && cost.is_some_and(|cost| (4..=BCRYPT_COST_MAX).contains(&cost)) {
        Ok(())
    } else {
        Err(PasswordRule::UnusableHash)
    }
}

/// bcrypt itself looks at 72 bytes at most; that is how the hash was made.
pub(super) fn bcrypt_matches(password: &str, hash: &str) -> bool {
    check_bcrypt(hash).is_ok() && bcrypt::verify(password, hash).unwrap_or(false)
}

/// A key derivation with its parameters, from a PHC string.
pub(super) enum Kdf {
    Scrypt { log_n: u8, r: u32, p: u32 },
    Pbkdf2 { algorithm: pbkdf2::Algorithm, rounds: NonZeroU32 },
}

impl Kdf {
    /// Reads kind and cost; `None` if unknown or over a bound.
    pub(super) fn parse(hash: &PasswordHash<'_>) -> Option<Self> {
        let number = |name: &str| hash.params.get_decimal(name);
        match hash.algorithm.as_str() {
            "scrypt" => {
                let log_n =
                    u8::try_from(number("ln")?).ok().filter(|ln| (1..=SCRYPT_LOG_N_MAX).contains(ln))?;
                let r = number("r").filter(|r| (1..=SCRYPT_R_MAX).contains(r))?;
                let p = number("p").filter(|p| (1..=SCRYPT_P_MAX).contains(p))?;
                let blocks = u64::from(r) << log_n;
                let bounded = 128 * blocks <= SCRYPT_MEMORY_MAX && blocks * u64::from(p) <= SCRYPT_WORK_MAX;
                bounded.then_some(Self::Scrypt { log_n, r, p })
            }
            kind @ ("pbkdf2-sha256" | "pbkdf2-sha512" | "pbkdf2") => {
                let algorithm = match kind {
                    "pbkdf2" => pbkdf2::PBKDF2_HMAC_SHA1,
                    "pbkdf2-sha256" => pbkdf2::PBKDF2_HMAC_SHA256,
                    _ => pbkdf2::PBKDF2_HMAC_SHA512,
                };
                let rounds = number("i").filter(|i| *i <= PBKDF2_ROUNDS_MAX).and_then(NonZeroU32::new)?;
                Some(Self::Pbkdf2 { algorithm, rounds })
            }
            _ => None,
        }
    }

    /// Whether `password` gives the output of `hash`.
    pub(super) fn matches(&self, password: &str, hash: &PasswordHash<'_>) -> bool {
        let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else { return false };
        let mut salt_bytes = [0_u8; 64];
        let Ok(salt) = salt.decode_b64(&mut salt_bytes) else { return false };
        match self {
            Self::Scrypt { log_n, r, p } => {
                let mut output = [0_u8; OUTPUT_LEN_MAX];
                let Some(output) = output.get_mut(..expected.len()) else { return false };
                let Ok(params) = scrypt::Params::new(*log_n, *r, *p, expected.len()) else { return false };
                scrypt::scrypt(password.as_bytes(), salt, &params, output).is_ok()
                    && bool::from(output.ct_eq(expected.as_bytes()))
            }
            Self::Pbkdf2 { algorithm, rounds } => {
                pbkdf2::verify(*algorithm, *rounds, salt, password.as_bytes(), expected.as_bytes()).is_ok()
            }
        }
    }
}
