//! Chance and time for one decision.

use aws_lc_rs::hmac;
use domicile_raft::Timestamp;
use zeroize::Zeroizing;

use crate::ids::Id;

/// Ids, secrets and the time of a decision, all from one seed: equal seeds decide equally.
pub struct Fresh {
    at: Timestamp,
    key: hmac::Key,
    counter: u64,
}

impl Fresh {
    /// Chance from `seed` (256 bits of a [`domicile_raft::Clock`]), time `at`.
    #[must_use]
    pub fn new(at: Timestamp, seed: &Zeroizing<[u8; 32]>) -> Self {
        Self { at, key: hmac::Key::new(hmac::HMAC_SHA256, seed.as_slice()), counter: 0 }
    }

    /// `decided_at`, log time.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// A new id.
    pub fn id<I: Id>(&mut self) -> I {
        I::new(self.at, self.bytes())
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0_u8; N];
        for chunk in out.chunks_mut(32) {
            self.counter += 1;
            let block = hmac::sign(&self.key, &self.counter.to_be_bytes());
            chunk.iter_mut().zip(block.as_ref()).for_each(|(to, from)| *to = *from);
        }
        out
    }

    /// 256 random bits that are wiped.
    pub fn secret(&mut self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.bytes())
    }
}
