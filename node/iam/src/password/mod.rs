//! Passwords: Argon2id on a bounded pool; other hashes are read, never written.

mod argon2_memory;
mod foreign;
mod pool;

use argon2::Params;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};

use crate::commands::PasswordRule;

use argon2_memory::Frugal;

pub use pool::{HashingFault, HashingLimits, PasswordHasher, Verification};

/// Longest password, in bytes. Far over the 64 characters that OWASP ASVS 5 §6.2.9 wants allowed;
/// what is longer is refused, never truncated (§6.2.8).
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Memory that checking one imported hash may take, KiB: every hashing thread may be at one.
const ARGON2_MEMORY_MAX_KIB: u32 = 256 * 1024;
/// Passes and lanes that it may take.
const ARGON2_PASSES_MAX: u32 = 32;
const ARGON2_LANES_MAX: u32 = 16;
/// Memory in KiB times passes.
const ARGON2_WORK_MAX: u64 = 1 << 20;

/// Checks a new password's length in characters (§6.2.1).
///
/// # Errors
/// [`PasswordRule::TooShort`] and [`PasswordRule::TooLong`].
pub fn check_length(password: &str, min_characters: u16) -> Result<(), PasswordRule> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordRule::TooLong { max_bytes: PASSWORD_BYTES_MAX });
    }
    if password.chars().count() < usize::from(min_characters) {
        return Err(PasswordRule::TooShort { min: min_characters });
    }
    Ok(())
}

/// Cost of a new hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for Argon2Cost {
    /// OWASP Password Storage Cheat Sheet: 19 MiB, two passes, one lane.
    fn default() -> Self {
        Self { memory_kib: 19_456, passes: 2, lanes: 1 }
    }
}

impl Argon2Cost {
    fn engine(self) -> Result<Frugal, HashingFault> {
        let params =
            Params::new(self.memory_kib, self.passes, self.lanes, None).map_err(|_| HashingFault::Failed)?;
        Ok(Frugal::argon2id(params))
    }

    fn hash(self, password: &str, salt: [u8; 16]) -> Result<String, HashingFault> {
        let salt = SaltString::encode_b64(&salt).map_err(|_| HashingFault::Failed)?;
        let hash =
            self.engine()?.hash_password(password.as_bytes(), &salt).map_err(|_| HashingFault::Failed)?;
        Ok(hash.to_string())
    }
}

/// Whether an imported hash is of a known kind, well formed, and not dearer than the bounds.
///
/// # Errors
/// [`PasswordRule::UnusableHash`].
pub fn check_import(hash: &str) -> Result<(), PasswordRule> {
    if foreign::is_bcrypt(hash) {
        return foreign::check_bcrypt(hash);
    }
    let parsed = PasswordHash::new(hash).map_err(|_| PasswordRule::UnusableHash)?;
    let output = parsed.hash.ok_or(PasswordRule::UnusableHash)?;
    if parsed.salt.is_none() || output.len() < 16 {
        return Err(PasswordRule::UnusableHash);
    }
    match parsed.algorithm.as_str() {
        "argon2id" | "argon2i" | "argon2d" => {
            argon2_is_bounded(&parsed).then_some(()).ok_or(PasswordRule::UnusableHash)
        }
        _ => foreign::Kdf::parse(&parsed).map(|_| ()).ok_or(PasswordRule::UnusableHash),
    }
}

fn argon2_is_bounded(hash: &PasswordHash<'_>) -> bool {
    Params::try_from(hash).is_ok_and(|params| {
        let work = u64::from(params.m_cost()).saturating_mul(u64::from(params.t_cost()));
        params.m_cost() <= ARGON2_MEMORY_MAX_KIB
            && params.t_cost() <= ARGON2_PASSES_MAX
            && params.p_cost() <= ARGON2_LANES_MAX
            && work <= ARGON2_WORK_MAX
    })
}

/// Whether `password` gives `hash`. A hash that cannot be read, or that is dearer than the bounds,
/// never matches: one that an older version took in must not exhaust the node.
fn matches(password: &str, hash: &str) -> bool {
    if foreign::is_bcrypt(hash) {
        return foreign::bcrypt_matches(password, hash);
    }
    let Ok(parsed) = PasswordHash::new(hash) else { return false };
    match parsed.algorithm.as_str() {
        "argon2id" | "argon2i" | "argon2d" => {
            argon2_is_bounded(&parsed)
                && Frugal::default().verify_password(password.as_bytes(), &parsed).is_ok()
        }
        _ => foreign::Kdf::parse(&parsed).is_some_and(|kdf| kdf.matches(password, &parsed)),
    }
}

/// Whether `hash` is of another kind than new ones, or cheaper.
fn is_outdated(hash: &str, cost: Argon2Cost) -> bool {
    let Ok(parsed) = PasswordHash::new(hash) else { return true };
    if parsed.algorithm.as_str() != "argon2id" {
        return true;
    }
    Params::try_from(&parsed).map_or(true, |old| old.m_cost() < cost.memory_kib || old.t_cost() < cost.passes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owasp_asvs_6_2_1_a_password_has_eight_characters_at_least_not_bytes() {
        assert_eq!(check_length("äöüäöüä", 8), Err(PasswordRule::TooShort { min: 8 }));
        assert_eq!(check_length("äöüäöüäö", 8), Ok(()));
    }

    #[test]
    fn owasp_asvs_6_2_9_a_password_of_64_characters_and_more_is_taken() {
        assert_eq!(check_length(&"x".repeat(64), 8), Ok(()));
        assert_eq!(check_length(&"x".repeat(PASSWORD_BYTES_MAX), 8), Ok(()));
        assert!(check_length(&"x".repeat(PASSWORD_BYTES_MAX + 1), 8).is_err());
    }

    #[test]
    fn imports_that_would_cost_too_much_to_check_are_refused() {
        for hash in [
            "$argon2id$v=19$m=4194304,t=3,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
            "$argon2id$v=19$m=1048576,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
            "$argon2id$v=19$m=1024,t=1000,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
            "$argon2id$v=19$m=1024,t=1,p=64$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
            "$2b$15$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01234",
            "$scrypt$ln=18,r=8,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
            "$scrypt$ln=16,r=8,p=16$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
            "$2b$20$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01234",
            "$scrypt$ln=24,r=8,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
            "$pbkdf2-sha256$i=900000000,l=32$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
            "$md5$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
            "plain",
        ] {
            assert_eq!(check_import(hash), Err(PasswordRule::UnusableHash), "{hash}");
        }
    }

    #[test]
    fn imports_at_the_usual_costs_are_taken() {
        for hash in [
            "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
            "$argon2id$v=19$m=262144,t=4,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
            "$2b$14$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01234",
            "$scrypt$ln=16,r=8,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
            "$pbkdf2-sha256$i=600000,l=32$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
        ] {
            assert_eq!(check_import(hash), Ok(()), "{hash}");
        }
    }

    #[test]
    fn a_hash_over_the_bounds_that_is_stored_already_is_not_computed() {
        let dear = "$argon2id$v=19$m=4194304,t=3,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo";
        assert!(!matches("x", dear));
        assert!(!matches("x", "$2b$31$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyz01234"));
    }
}
