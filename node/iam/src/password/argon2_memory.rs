//! Argon2 in memory that goes back to the operating system after each hash.

use argon2::password_hash::{self, Decimal, Ident, Output, ParamsString, PasswordHash, PasswordHasher, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

/// glibc keeps what it may need again: after the first freed block of 19 MiB it serves the next from its
/// heap and holds that for good. It never does so with blocks of this size or more, and what is reserved
/// but not touched takes no memory.
const RESERVED_BYTES: usize = 33 << 20;

/// Hashes as [`Argon2`] does, but for where it works.
#[derive(Default)]
pub(super) struct Frugal {
    algorithm: Algorithm,
    version: Version,
    params: Params,
}

impl Frugal {
    pub(super) fn argon2id(params: Params) -> Self {
        Self { algorithm: Algorithm::Argon2id, version: Version::V0x13, params }
    }
}

impl PasswordHasher for Frugal {
    type Params = Params;

    fn hash_password<'a>(
        &self,
        password: &[u8],
        salt: impl Into<Salt<'a>>,
    ) -> password_hash::Result<PasswordHash<'a>> {
        let (salt, params) = (salt.into(), &self.params);
        let mut decoded = [0; Salt::MAX_LENGTH];
        let salt_bytes = salt.decode_b64(&mut decoded)?;
        let mut blocks = Vec::with_capacity(params.block_count().max(RESERVED_BYTES / Block::SIZE));
        blocks.resize(params.block_count(), Block::new());
        let engine = Argon2::new(self.algorithm, self.version, params.clone());
        let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
        let hash = Output::init_with(length, |out| {
            Ok(engine.hash_password_into_with_memory(password, salt_bytes, out, &mut blocks)?)
        })?;
        Ok(PasswordHash {
            algorithm: self.algorithm.ident(),
            version: Some(self.version.into()),
            params: ParamsString::try_from(params)?,
            salt: Some(salt),
            hash: Some(hash),
        })
    }

    fn hash_password_customized<'a>(
        &self,
        password: &[u8],
        algorithm: Option<Ident<'a>>,
        version: Option<Decimal>,
        params: Params,
        salt: impl Into<Salt<'a>>,
    ) -> password_hash::Result<PasswordHash<'a>> {
        let algorithm = algorithm.map(Algorithm::try_from).transpose()?.unwrap_or_default();
        let version = version.map(Version::try_from).transpose()?.unwrap_or_default();
        Self { algorithm, version, params }.hash_password(password, salt)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
    use argon2::password_hash::{PasswordVerifier as _, SaltString};

    use super::*;

    #[test]
    fn it_gives_the_hashes_of_argon2_and_takes_them() {
        let salt = SaltString::encode_b64(b"sixteen bytes---").unwrap();
        for algorithm in [Algorithm::Argon2id, Algorithm::Argon2i, Algorithm::Argon2d] {
            for (params, version) in [
                (Params::new(64, 3, 2, None).unwrap(), Version::V0x13),
                (Params::new(256, 1, 1, Some(24)).unwrap(), Version::V0x10),
            ] {
                let theirs = Argon2::new(algorithm, version, params.clone());
                let ours = Frugal { algorithm, version, params };
                let hash = theirs.hash_password(b"a password", &salt).unwrap();
                assert_eq!(ours.hash_password(b"a password", &salt).unwrap(), hash);
                assert!(Frugal::default().verify_password(b"a password", &hash).is_ok());
                assert!(Frugal::default().verify_password(b"b password", &hash).is_err());
            }
        }
    }
}
