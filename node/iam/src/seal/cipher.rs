//! Seals log entries with the partition's key.

use std::sync::Arc;

use domicile_raft::{CipherError, Clock, EntryCipher};

use super::aead::{self, SealError};
use super::partition::PartitionKey;

const FORMAT: u8 = 1;
const SALT: usize = 16;
const NONCE: usize = 12;
const HEADER: usize = 1 + 4 + SALT + NONCE;

/// Envelope: format byte, key version (u32, big-endian), salt 16, nonce 12, ciphertext and tag. The
/// header is authenticated with the context. Each entry has its own subkey, so that the number of
/// entries under one partition key is not bounded by the nonce's 96 bits.
pub struct PartitionCipher {
    current: PartitionKey,
    older: Vec<PartitionKey>,
    clock: Arc<dyn Clock>,
}

impl PartitionCipher {
    /// Seals with `current`; still opens what `older` keys sealed.
    pub fn new(current: PartitionKey, older: Vec<PartitionKey>, clock: Arc<dyn Clock>) -> Self {
        Self { current, older, clock }
    }

    fn try_seal(&self, context: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut random = [0_u8; SALT + NONCE];
        self.clock.fill_random(&mut random);
        let mut out = Vec::with_capacity(HEADER + plaintext.len() + 16);
        out.push(FORMAT);
        out.extend_from_slice(&self.current.version().to_be_bytes());
        out.extend_from_slice(&random);
        let (salt, nonce) = random.split_at(SALT);
        let key = self.current.subkey(b"domicile log v1", salt)?;
        let nonce = <[u8; NONCE]>::try_from(nonce).map_err(|_| SealError::Refused)?;
        let sealed = aead::seal(&key, nonce, &aead::associated(&[&out, context]), plaintext)?;
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    fn try_open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (header, body) = sealed.split_at_checked(HEADER).ok_or(SealError::NotAuthentic)?;
        let (format, rest) = header.split_first().ok_or(SealError::NotAuthentic)?;
        if *format != FORMAT {
            return Err(SealError::Malformed(format!("log entry format {format}")));
        }
        let (version, rest) = rest.split_first_chunk::<4>().ok_or(SealError::NotAuthentic)?;
        let (salt, nonce) = rest.split_first_chunk::<SALT>().ok_or(SealError::NotAuthentic)?;
        let nonce = <[u8; NONCE]>::try_from(nonce).map_err(|_| SealError::NotAuthentic)?;
        let version = u32::from_be_bytes(*version);
        let key = std::iter::once(&self.current)
            .chain(&self.older)
            .find(|key| key.version() == version)
            .ok_or(SealError::UnknownVersion(version))?
            .subkey(b"domicile log v1", salt)?;
        Ok(aead::open(&key, nonce, &aead::associated(&[header, context]), body)?.to_vec())
    }
}

impl EntryCipher for PartitionCipher {
    fn seal(&self, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
        match self.try_seal(context, plaintext) {
            Ok(sealed) => sealed,
            Err(cause) => {
                // An entry that cannot be sealed must not reach the disk, and none could after it.
                tracing::error!(%cause, "log entry cannot be sealed");
                std::process::abort();
            }
        }
    }

    fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CipherError> {
        self.try_open(context, sealed).map_err(|_| CipherError)
    }
}
