//! The region's key-encryption key, from a file, the environment or a command.

use std::fmt;

use zeroize::Zeroizing;

use super::aead::SealError;

/// A key-encryption key and its version.
#[derive(Clone)]
pub struct Kek {
    version: u32,
    key: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kek(version {})", self.version)
    }
}

impl Kek {
    /// From what a file, variable or command gave: 32 raw bytes, or 64 hexadecimal digits with
    /// white space around them.
    ///
    /// # Errors
    /// [`SealError::KeyLength`] for anything else.
    pub fn from_bytes(version: u32, bytes: &[u8]) -> Result<Self, SealError> {
        if let Ok(raw) = <[u8; 32]>::try_from(bytes) {
            return Ok(Self { version, key: Zeroizing::new(raw) });
        }
        let digits = bytes.trim_ascii();
        if digits.len() != 64 {
            return Err(SealError::KeyLength);
        }
        let mut key = Zeroizing::new([0_u8; 32]);
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let mut value = 0_u8;
            for digit in pair {
                let digit = char::from(*digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
                value = (value << 4) | digit.ok_or(SealError::KeyLength)?;
            }
            *byte = value;
        }
        Ok(Self { version, key })
    }

    /// Its version, stored beside what it wraps.
    pub fn version(&self) -> u32 {
        self.version
    }

    pub(super) fn key(&self) -> &[u8; 32] {
        &self.key
    }
}

/// Where key-encryption keys come from. Reading files and running commands is the node's.
pub trait KekSource: Send + Sync {
    /// The key to wrap with.
    ///
    /// # Errors
    /// [`SealError`] if it cannot be had.
    fn current(&self) -> Result<Kek, SealError>;

    /// The key that wrapped something earlier.
    ///
    /// # Errors
    /// [`SealError::UnknownVersion`].
    fn version(&self, version: u32) -> Result<Kek, SealError>;
}

/// Keys held in memory: the last one is current.
#[derive(Clone, Debug)]
pub struct FixedKek {
    current: Kek,
    older: Vec<Kek>,
}

impl FixedKek {
    /// Wraps with `current`; still opens what `older` keys wrapped.
    #[must_use]
    pub fn new(current: Kek, older: Vec<Kek>) -> Self {
        Self { current, older }
    }
}

impl KekSource for FixedKek {
    fn current(&self) -> Result<Kek, SealError> {
        Ok(self.current.clone())
    }

    fn version(&self, version: u32) -> Result<Kek, SealError> {
        std::iter::once(&self.current)
            .chain(&self.older)
            .find(|kek| kek.version == version)
            .cloned()
            .ok_or(SealError::UnknownVersion(version))
    }
}
