//! A stand-in for the partition's cipher: hides and binds, protects nothing.

use crate::{CipherError, EntryCipher};

/// XOR with a key byte and a 64-bit check over key, context and plaintext. For tests only.
#[derive(Clone, Copy, Debug)]
pub struct ToyCipher {
    key: u8,
}

impl ToyCipher {
    /// Two ciphers with unequal keys do not open each other's entries.
    #[must_use]
    pub fn new(key: u8) -> Self {
        Self { key }
    }

    /// FNV-1a over words of eight bytes: by single bytes it would outweigh the rest of a proposal.
    fn check(self, context: &[u8], plaintext: &[u8]) -> [u8; 8] {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut mix = |word: u64| hash = (hash.rotate_left(32) ^ word).wrapping_mul(0x0100_0000_01b3);
        mix(u64::from(self.key));
        for part in [context, plaintext] {
            mix(part.len() as u64);
            let (words, rest) = part.as_chunks::<8>();
            for word in words {
                mix(u64::from_le_bytes(*word));
            }
            for byte in rest {
                mix(u64::from(*byte));
            }
        }
        hash.to_le_bytes()
    }
}

impl EntryCipher for ToyCipher {
    fn seal(&self, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = self.check(context, plaintext).to_vec();
        sealed.extend(plaintext.iter().map(|byte| byte ^ self.key ^ 0x5a));
        sealed
    }

    fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CipherError> {
        let (check, body) = sealed.split_first_chunk::<8>().ok_or(CipherError)?;
        let plaintext: Vec<u8> = body.iter().map(|byte| byte ^ self.key ^ 0x5a).collect();
        if self.check(context, &plaintext) == *check { Ok(plaintext) } else { Err(CipherError) }
    }
}
