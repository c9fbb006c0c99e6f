//! Personal values: plain only in memory, between a request and the proposal; sealed everywhere else.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::ids::DataKeyId;

/// A personal value under a data key: AES-256-GCM, with the tenant, stream, revision and field (or
/// tenant, record kind and record key) as associated data, so that it opens nowhere else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The key of the person it is about (or the tenant's, for what is about nobody).
    #[serde(rename = "k")]
    pub key: DataKeyId,
    /// The stream revision it was sealed for. Copies in later events keep it.
    #[serde(rename = "r")]
    pub revision: u64,
    /// 96 random bits.
    #[serde(rename = "n", with = "serde_bytes")]
    pub nonce: [u8; 12],
    /// Ciphertext and the 16-byte tag.
    #[serde(rename = "c", with = "serde_bytes")]
    pub ciphertext: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({}, {} bytes)", self.key, self.ciphertext.len())
    }
}

/// A personal value. `decide` works on plain ones; the executor seals them before proposing.
///
/// INVARIANT: a plain value cannot be serialised; encoding one is an error, not a leak.
#[derive(Clone, PartialEq, Eq)]
pub enum Personal {
    /// Not sealed yet.
    Plain(Zeroizing<String>),
    /// As stored.
    Sealed(Sealed),
}

impl Personal {
    /// A value to be sealed.
    #[must_use]
    pub fn plain(text: impl Into<String>) -> Self {
        Self::Plain(Zeroizing::new(text.into()))
    }
}

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("Plain(..)"),
            Self::Sealed(sealed) => sealed.fmt(f),
        }
    }
}

impl Serialize for Personal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(_) => Err(serde::ser::Error::custom("personal value is not sealed")),
            Self::Sealed(sealed) => sealed.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Personal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Sealed::deserialize(deserializer).map(Self::Sealed)
    }
}
