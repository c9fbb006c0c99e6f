//! The one place where values become bytes and back.
//!
//! Two encodings, chosen by how a value evolves (docs/adr/0003):
//! *fixed* (bincode, positional) for envelopes whose shape a format version names, and *open*
//! (MessagePack maps, named fields) for what gains optional fields: event bodies, stream states and
//! record bodies. Both put one format-version byte first. No decoder trusts a length it reads: input
//! is bounded by the slice it came in.

use bincode::config::{Configuration, Fixint, LittleEndian, NoLimit};

/// Bytes that do not decode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// There is no format byte.
    #[error("empty value")]
    Empty,
    /// The format byte is not one this version reads.
    #[error("format {found} is not one of {known:?}")]
    UnknownFormat {
        /// The byte found.
        found: u8,
        /// What this reader knows.
        known: &'static [u8],
    },
    /// The bytes are not a value of the type.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The value cannot be written, such as a personal value that is not sealed.
    #[error("not encodable: {0}")]
    NotEncodable(String),
}

const FIXED: Configuration<LittleEndian, Fixint, NoLimit> = bincode::config::standard().with_fixed_int_encoding();

/// `format` followed by the positional encoding of `value`.
///
/// # Errors
/// [`CodecError::NotEncodable`].
pub fn encode_fixed<T: bincode::Encode>(format: u8, value: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = vec![format];
    bincode::encode_into_std_write(value, &mut out, FIXED).map_err(|e| CodecError::NotEncodable(e.to_string()))?;
    Ok(out)
}

/// Splits the format byte from the body and checks that it is one of `known`.
///
/// # Errors
/// [`CodecError::Empty`] and [`CodecError::UnknownFormat`].
pub fn split_format<'b>(bytes: &'b [u8], known: &'static [u8]) -> Result<(u8, &'b [u8]), CodecError> {
    let (&found, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    if known.contains(&found) { Ok((found, body)) } else { Err(CodecError::UnknownFormat { found, known }) }
}

/// Decodes the body that follows a format byte, all of it.
///
/// # Errors
/// [`CodecError::Malformed`], also when bytes are left over.
pub fn decode_fixed<T: bincode::Decode<()>>(body: &[u8]) -> Result<T, CodecError> {
    let (value, read) =
        bincode::decode_from_slice(body, FIXED).map_err(|e| CodecError::Malformed(e.to_string()))?;
    if read == body.len() { Ok(value) } else { Err(CodecError::Malformed(format!("{} bytes left over", body.len() - read))) }
}

/// `format` followed by the self-describing encoding of `value`.
///
/// # Errors
/// [`CodecError::NotEncodable`].
pub fn encode_open<T: serde::Serialize>(format: u8, value: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = vec![format];
    rmp_serde::encode::write_named(&mut out, value).map_err(|e| CodecError::NotEncodable(e.to_string()))?;
    Ok(out)
}

/// Decodes the self-describing body that follows a format byte.
///
/// # Errors
/// [`CodecError::Malformed`].
pub fn decode_open<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, CodecError> {
    rmp_serde::from_slice(body).map_err(|e| CodecError::Malformed(e.to_string()))
}
