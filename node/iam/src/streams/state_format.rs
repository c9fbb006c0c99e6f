//! States whose first format is still the only one.

use domicile_storage::codec::{self, CodecError};
use serde::de::DeserializeOwned;

/// Decodes a state of format 1.
///
/// # Errors
/// [`CodecError`].
pub(crate) fn decode_first_format<T: DeserializeOwned>(format: u8, body: &[u8]) -> Result<T, CodecError> {
    if format == 1 {
        codec::decode_open(body)
    } else {
        Err(CodecError::UnknownFormat { found: format, known: &[1] })
    }
}
