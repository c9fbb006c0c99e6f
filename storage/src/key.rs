//! Keys whose byte order is the order of their parts.
//!
//! A key is a table byte followed by parts of fixed types. Numbers are big-endian, ids are raw, byte
//! strings are escaped: `00` becomes `00 ff`, the end is `00 01`. So no part needs a length, a shorter
//! string sorts before its extensions, and parts that follow compare only between equals.

/// A key that does not read as expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key ends inside a part.
    #[error("the key ends inside a part")]
    Short,
    /// A byte string holds an escape that is never written.
    #[error("unknown escape `00 {0:02x}`")]
    Escape(u8),
    /// Bytes follow the last part.
    #[error("{0} bytes left over")]
    LeftOver(usize),
    /// The key is of another table.
    #[error("table {found:02x}, not {expected:02x}")]
    Table {
        /// The table byte found.
        found: u8,
        /// The one wanted.
        expected: u8,
    },
}

const ESCAPE: u8 = 0;
const ESCAPED_ZERO: u8 = 0xff;
const END: u8 = 1;

/// Builds a key, part by part. A key built so far is also the prefix of all keys that continue it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct KeyWriter {
    bytes: Vec<u8>,
}

impl KeyWriter {
    /// A key of `table`.
    pub fn new(table: u8) -> Self {
        Self { bytes: vec![table] }
    }

    /// Adds one byte, such as a kind.
    pub fn u8(mut self, part: u8) -> Self {
        self.bytes.push(part);
        self
    }

    /// Adds a number.
    pub fn u32(mut self, part: u32) -> Self {
        self.bytes.extend_from_slice(&part.to_be_bytes());
        self
    }

    /// Adds a number.
    pub fn u64(mut self, part: u64) -> Self {
        self.bytes.extend_from_slice(&part.to_be_bytes());
        self
    }

    /// Adds a 128-bit id.
    pub fn id(mut self, part: &[u8; 16]) -> Self {
        self.bytes.extend_from_slice(part);
        self
    }

    /// Adds a byte string of any length.
    pub fn bytes(mut self, part: &[u8]) -> Self {
        for &byte in part {
            self.bytes.push(byte);
            if byte == ESCAPE {
                self.bytes.push(ESCAPED_ZERO);
            }
        }
        self.bytes.extend_from_slice(&[ESCAPE, END]);
        self
    }

    /// The key.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Takes a key apart in the order it was written.
#[derive(Clone, Debug)]
pub struct KeyReader<'k> {
    rest: &'k [u8],
}

impl<'k> KeyReader<'k> {
    /// Begins after the table byte, which must be `table`.
    ///
    /// # Errors
    /// [`KeyError::Short`] and [`KeyError::Table`].
    pub fn new(key: &'k [u8], table: u8) -> Result<Self, KeyError> {
        let (&found, rest) = key.split_first().ok_or(KeyError::Short)?;
        if found == table { Ok(Self { rest }) } else { Err(KeyError::Table { found, expected: table }) }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], KeyError> {
        let (part, rest) = self.rest.split_first_chunk().ok_or(KeyError::Short)?;
        self.rest = rest;
        Ok(*part)
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`KeyError::Short`].
    pub fn u8(&mut self) -> Result<u8, KeyError> {
        self.take().map(u8::from_be_bytes)
    }

    /// The next number.
    ///
    /// # Errors
    /// [`KeyError::Short`].
    pub fn u32(&mut self) -> Result<u32, KeyError> {
        self.take().map(u32::from_be_bytes)
    }

    /// The next number.
    ///
    /// # Errors
    /// [`KeyError::Short`].
    pub fn u64(&mut self) -> Result<u64, KeyError> {
        self.take().map(u64::from_be_bytes)
    }

    /// The next id.
    ///
    /// # Errors
    /// [`KeyError::Short`].
    pub fn id(&mut self) -> Result<[u8; 16], KeyError> {
        self.take()
    }

    /// The next byte string.
    ///
    /// # Errors
    /// [`KeyError::Short`] and [`KeyError::Escape`].
    pub fn bytes(&mut self) -> Result<Vec<u8>, KeyError> {
        let mut out = Vec::new();
        loop {
            match self.u8()? {
                ESCAPE => match self.u8()? {
                    END => return Ok(out),
                    ESCAPED_ZERO => out.push(ESCAPE),
                    other => return Err(KeyError::Escape(other)),
                },
                byte => out.push(byte),
            }
        }
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`KeyError::LeftOver`].
    pub fn finish(self) -> Result<(), KeyError> {
        if self.rest.is_empty() { Ok(()) } else { Err(KeyError::LeftOver(self.rest.len())) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    type Parts = (u8, Vec<u8>, u64, [u8; 16], u32, Vec<u8>);

    fn write(parts: &Parts) -> Vec<u8> {
        let (kind, name, number, id, small, tail) = parts;
        KeyWriter::new(7).u8(*kind).bytes(name).u64(*number).id(id).u32(*small).bytes(tail).finish()
    }

    fn read(key: &[u8]) -> Result<Parts, KeyError> {
        let mut reader = KeyReader::new(key, 7)?;
        let parts =
            (reader.u8()?, reader.bytes()?, reader.u64()?, reader.id()?, reader.u32()?, reader.bytes()?);
        reader.finish()?;
        Ok(parts)
    }

    /// Few distinct bytes, so that prefixes and equal parts are common.
    fn name() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(vec![0, 1, 2, 0xfe, 0xff]), 0..5)
    }

    fn parts() -> impl Strategy<Value = Parts> {
        (0..2u8, name(), prop_oneof![0..3u64, any::<u64>()], any::<[u8; 16]>(), any::<u32>(), name())
    }

    proptest! {
        #[test]
        fn keys_sort_as_their_parts(a in parts(), b in parts()) {
            prop_assert_eq!(write(&a).cmp(&write(&b)), a.cmp(&b));
        }

        #[test]
        fn keys_round_trip(parts in parts()) {
            prop_assert_eq!(read(&write(&parts)), Ok(parts));
        }

        #[test]
        fn any_bytes_read_or_fail_without_a_panic(key in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(parts) = read(&key) {
                prop_assert_eq!(write(&parts), key);
            }
        }
    }

    #[test]
    fn a_key_built_so_far_is_the_prefix_of_its_continuations_only() {
        let prefix = KeyWriter::new(7).bytes(b"ab");
        let longer = KeyWriter::new(7).bytes(b"abc").finish();
        assert!(prefix.clone().u64(1).finish().starts_with(&prefix.clone().finish()));
        assert!(!longer.starts_with(&prefix.finish()));
    }

    #[test]
    fn another_table_and_leftovers_are_refused() {
        assert_eq!(read(&[8]), Err(KeyError::Table { found: 8, expected: 7 }));
        assert_eq!(read(&[]), Err(KeyError::Short));
        let mut key = write(&(0, vec![], 0, [0; 16], 0, vec![]));
        key.push(0);
        assert_eq!(read(&key), Err(KeyError::LeftOver(1)));
    }
}
