//! The one place where values become bytes and back.
//!
//! Two encodings, chosen by how a value evolves (docs/adr/0003):
//! *fixed* (bincode, positional) for envelopes whose shape a format version names, and *open*
//! (MessagePack maps, named fields) for what gains optional fields: event bodies, stream states and
//! record bodies. Both put one format-version byte first. No decoder trusts a length it reads: input
//! is bounded by the slice it came in.

mod depth;

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};

/// The longest fixed encoding, in bytes. It also bounds what a hostile length can make a decoder
/// allocate before the bytes run out.
pub const FIXED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How deep an open value may nest. The decoder recurses, and its default of 1024 overflows the stack
/// of a thread in a debug build.
pub const OPEN_DEPTH_MAX: usize = 64;

/// How deep a value may nest to be written. Less than what is read, so that apply can put a value it
/// decoded into one a few levels deeper and still decode that.
pub const OPEN_DEPTH_WRITTEN_MAX: usize = OPEN_DEPTH_MAX - 8;

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

const FIXED: Configuration<LittleEndian, Fixint, Limit<FIXED_BYTES_MAX>> =
    bincode::config::standard().with_fixed_int_encoding().with_limit::<FIXED_BYTES_MAX>();

/// `format` followed by the positional encoding of `value`.
///
/// # Errors
/// [`CodecError::NotEncodable`], also beyond [`FIXED_BYTES_MAX`].
pub fn encode_fixed<T: bincode::Encode>(format: u8, value: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = vec![format];
    bincode::encode_into_std_write(value, &mut out, FIXED)
        .map_err(|e| CodecError::NotEncodable(e.to_string()))?;
    if out.len() > FIXED_BYTES_MAX {
        return Err(CodecError::NotEncodable(format!("{} bytes are too many", out.len())));
    }
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
    if read == body.len() {
        Ok(value)
    } else {
        Err(CodecError::Malformed(format!("{} bytes left over", body.len() - read)))
    }
}

/// Decodes the first fields of the body that follows a format byte, whatever comes after them.
///
/// # Errors
/// [`CodecError::Malformed`].
pub fn decode_fixed_start<T: bincode::Decode<()>>(body: &[u8]) -> Result<T, CodecError> {
    let decoded = bincode::decode_from_slice(body, FIXED);
    decoded.map(|(value, _)| value).map_err(|e| CodecError::Malformed(e.to_string()))
}

/// `format` followed by the self-describing encoding of `value`.
///
/// INVARIANT: what this writes, [`decode_open`] reads: a committed value always reaches apply.
///
/// # Errors
/// [`CodecError::NotEncodable`], also for arrays and maps nested deeper than
/// [`OPEN_DEPTH_WRITTEN_MAX`].
pub fn encode_open<T: serde::Serialize>(format: u8, value: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = vec![format];
    rmp_serde::encode::write_named(&mut out, value).map_err(|e| CodecError::NotEncodable(e.to_string()))?;
    if out.get(1..).is_none_or(|body| !depth::is_within(body, OPEN_DEPTH_WRITTEN_MAX)) {
        let reason = format!("nested deeper than {OPEN_DEPTH_WRITTEN_MAX}");
        return Err(CodecError::NotEncodable(reason));
    }
    Ok(out)
}

/// Decodes the self-describing body that follows a format byte.
///
/// # Errors
/// [`CodecError::Malformed`], also when bytes are left over.
pub fn decode_open<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, CodecError> {
    let mut rest = body;
    let mut decoder = rmp_serde::Deserializer::new(&mut rest);
    decoder.set_max_depth(OPEN_DEPTH_MAX);
    let value = T::deserialize(&mut decoder).map_err(|e| CodecError::Malformed(e.to_string()))?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(CodecError::Malformed(format!("{} bytes left over", rest.len())))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, bincode::Encode, bincode::Decode, serde::Serialize, serde::Deserialize)]
    struct Sample {
        id: [u8; 16],
        name: String,
        parts: Vec<(u64, Vec<u8>)>,
        map: BTreeMap<String, Option<u32>>,
    }

    fn sample() -> impl Strategy<Value = Sample> {
        let parts = prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..9)), 0..4);
        let map = prop::collection::btree_map("[a-z]{0,3}", any::<Option<u32>>(), 0..4);
        (any::<[u8; 16]>(), ".{0,8}", parts, map).prop_map(|(id, name, parts, map)| Sample {
            id,
            name,
            parts,
            map,
        })
    }

    proptest! {
        #[test]
        fn both_encodings_round_trip_and_refuse_leftovers_and_cuts(value in sample(), cut in 1..9usize) {
            let mut fixed = encode_fixed(3, &value).unwrap();
            let (format, body) = split_format(&fixed, &[2, 3]).unwrap();
            prop_assert_eq!(format, 3);
            prop_assert_eq!(&decode_fixed::<Sample>(body).unwrap(), &value);
            prop_assert_eq!(&decode_fixed_start::<[u8; 16]>(body).unwrap(), &value.id);
            prop_assert!(decode_fixed_start::<[u8; 16]>(&body[..15]).is_err());
            prop_assert!(decode_fixed::<Sample>(&body[..body.len() - cut]).is_err());
            fixed.push(0);
            prop_assert!(decode_fixed::<Sample>(&fixed[1..]).is_err());

            let mut open = encode_open(1, &value).unwrap();
            prop_assert_eq!(&decode_open::<Sample>(&open[1..]).unwrap(), &value);
            prop_assert!(decode_open::<Sample>(&open[1..open.len() - cut]).is_err());
            open.push(0xc0);
            prop_assert!(decode_open::<Sample>(&open[1..]).is_err());
        }

        #[test]
        fn any_bytes_decode_or_fail_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_fixed::<Sample>(&bytes);
            let _ = decode_open::<Sample>(&bytes);
            let _ = decode_open::<Vec<Vec<String>>>(&bytes);
        }
    }

    #[test]
    fn a_hostile_length_is_refused_before_memory_is_taken() {
        // Far more elements than memory; a decoder that trusted it would abort the process.
        for length in [u64::MAX, 1 << 40, FIXED_BYTES_MAX as u64 + 1] {
            let bytes = length.to_le_bytes();
            assert!(decode_fixed::<Vec<u8>>(&bytes).is_err());
            assert!(decode_fixed::<Vec<[u64; 8]>>(&bytes).is_err());
            assert!(decode_fixed::<String>(&bytes).is_err());
        }
        // MessagePack: array32, map32, bin32 and str32 that claim four thousand million elements.
        for marker in [0xdd, 0xdf, 0xc6, 0xdb] {
            let bytes = [marker, 0xff, 0xff, 0xff, 0xff];
            assert!(decode_open::<Vec<u64>>(&bytes).is_err());
            assert!(decode_open::<BTreeMap<String, u64>>(&bytes).is_err());
            assert!(decode_open::<String>(&bytes).is_err());
        }
    }

    #[test]
    fn nesting_without_end_is_refused_without_overflowing_the_stack() {
        // An array of an array of an array, in a field that nobody asked for.
        let mut bytes = vec![0x81, 0xa5];
        bytes.extend_from_slice(b"extra");
        bytes.extend(std::iter::repeat_n(0x91, 1 << 20));
        assert!(decode_open::<Sample>(&bytes).is_err());
    }

    /// A value of any shape, as a claim or a setting may be.
    #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
    #[serde(untagged)]
    enum Tree {
        Leaf(u32),
        List(Vec<Tree>),
        Map(BTreeMap<String, Tree>),
    }

    fn nested(levels: usize, maps: u64) -> Tree {
        (0..levels).fold(Tree::Leaf(7), |tree, level| {
            if maps >> (level % 64) & 1 == 1 {
                Tree::Map(BTreeMap::from([("a".to_owned(), Tree::Leaf(1)), ("k".to_owned(), tree)]))
            } else {
                Tree::List(vec![Tree::Leaf(300), tree, Tree::Leaf(70_000)])
            }
        })
    }

    proptest! {
        #[test]
        fn whatever_open_encodes_it_decodes_also_one_level_deeper(
            levels in 0..2 * OPEN_DEPTH_MAX,
            maps in any::<u64>(),
        ) {
            let tree = nested(levels, maps);
            let encoded = encode_open(1, &tree);
            prop_assert_eq!(encoded.is_ok(), levels <= OPEN_DEPTH_WRITTEN_MAX);
            if let Ok(bytes) = encoded {
                prop_assert_eq!(&decode_open::<Tree>(&bytes[1..]).unwrap(), &tree);
                let mut deeper = vec![0x91];
                deeper.extend_from_slice(&bytes[1..]);
                prop_assert_eq!(decode_open::<Tree>(&deeper).unwrap(), Tree::List(vec![tree]));
            }
        }
    }

    #[test]
    fn what_nests_too_deep_to_be_read_is_not_written() {
        let refused = encode_open(1, &nested(OPEN_DEPTH_MAX, 0));
        assert!(matches!(refused, Err(CodecError::NotEncodable(_))));
    }

    #[test]
    fn a_value_beyond_the_bound_is_not_written() {
        let value = vec![0u8; FIXED_BYTES_MAX];
        assert!(matches!(encode_fixed(1, &value), Err(CodecError::NotEncodable(_))));
    }

    #[test]
    fn an_unknown_format_is_named() {
        assert_eq!(split_format(&[], &[1]), Err(CodecError::Empty));
        assert_eq!(split_format(&[9, 1], &[1]), Err(CodecError::UnknownFormat { found: 9, known: &[1] }));
    }
}
