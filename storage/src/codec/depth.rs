//! How deep MessagePack bytes nest, without decoding or recursing.

/// What a marker byte announces.
enum Item {
    /// This many bytes follow it.
    Bytes(usize),
    /// This many values are inside it.
    Container(usize),
}

/// Whether no array or map of `bytes` lies inside more than `depth_max - 1` others, and the bytes are
/// one whole value.
pub(super) fn is_within(mut bytes: &[u8], depth_max: usize) -> bool {
    // Values still missing in each container that is open.
    let mut open: Vec<usize> = Vec::new();
    loop {
        match next(&mut bytes) {
            Some(Item::Bytes(length)) => match bytes.get(length..) {
                Some(rest) => bytes = rest,
                None => return false,
            },
            Some(Item::Container(values)) => {
                if open.len() >= depth_max {
                    return false;
                }
                open.push(values);
            }
            None => return false,
        }
        while open.last() == Some(&0) {
            open.pop();
        }
        match open.last_mut() {
            Some(missing) => *missing -= 1,
            None => return bytes.is_empty(),
        }
    }
}

/// Reads a marker with its length.
fn next(bytes: &mut &[u8]) -> Option<Item> {
    let (&marker, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(match marker {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => Item::Bytes(0),
        0x80..=0x8f => Item::Container(2 * usize::from(marker & 0x0f)),
        0x90..=0x9f => Item::Container(usize::from(marker & 0x0f)),
        0xa0..=0xbf => Item::Bytes(usize::from(marker & 0x1f)),
        0xc4 | 0xd9 => Item::Bytes(length(bytes, 1)?),
        0xc5 | 0xda => Item::Bytes(length(bytes, 2)?),
        0xc6 | 0xdb => Item::Bytes(length(bytes, 4)?),
        // An extension has a byte for its type.
        0xc7 => Item::Bytes(length(bytes, 1)?.checked_add(1)?),
        0xc8 => Item::Bytes(length(bytes, 2)?.checked_add(1)?),
        0xc9 => Item::Bytes(length(bytes, 4)?.checked_add(1)?),
        0xcc | 0xd0 => Item::Bytes(1),
        0xcd | 0xd1 | 0xd4 => Item::Bytes(2),
        0xd5 => Item::Bytes(3),
        0xca | 0xce | 0xd2 => Item::Bytes(4),
        0xd6 => Item::Bytes(5),
        0xcb | 0xcf | 0xd3 => Item::Bytes(8),
        0xd7 => Item::Bytes(9),
        0xd8 => Item::Bytes(17),
        0xdc => Item::Container(length(bytes, 2)?),
        0xdd => Item::Container(length(bytes, 4)?),
        0xde => Item::Container(length(bytes, 2)?.checked_mul(2)?),
        0xdf => Item::Container(length(bytes, 4)?.checked_mul(2)?),
        0xc1 => return None,
    })
}

/// A big-endian length of `width` bytes.
fn length(bytes: &mut &[u8], width: usize) -> Option<usize> {
    let (length, rest) = bytes.split_at_checked(width)?;
    *bytes = rest;
    Some(length.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[derive(serde::Serialize)]
    struct Everything {
        unsigned: (u8, u16, u32, u64),
        signed: (i8, i16, i32, i64),
        others: (f32, f64, bool, Option<u8>),
        texts: [String; 4],
        bytes: Vec<Bytes>,
        lists: [Vec<u8>; 3],
        map: std::collections::BTreeMap<u32, u8>,
    }

    struct Bytes(usize);

    impl serde::Serialize for Bytes {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&vec![0xc1; self.0])
        }
    }

    #[test]
    fn every_kind_of_value_is_stepped_over_exactly() {
        let value = Everything {
            unsigned: (200, 60_000, 1 << 31, u64::MAX),
            signed: (-100, -30_000, i32::MIN, i64::MIN),
            others: (1.5, 2.5, true, None),
            texts: [1, 40, 300, 70_000].map(|n| "x".repeat(n)),
            bytes: vec![Bytes(3), Bytes(300), Bytes(70_000)],
            lists: [1, 20, 70_000].map(|n| vec![1; n]),
            map: (0..70_000).map(|n| (n, 1)).collect(),
        };
        let mut bytes = rmp_serde::to_vec_named(&value).unwrap();
        assert!(is_within(&bytes, 3));
        assert!(!is_within(&bytes, 2));
        assert!(!is_within(&bytes[..bytes.len() - 1], 3));
        bytes.push(0);
        assert!(!is_within(&bytes, 3));
    }

    #[test]
    fn an_empty_container_counts_and_ends() {
        assert!(is_within(&[0x92, 0x90, 0x80], 2));
        assert!(!is_within(&[0x92, 0x90, 0x80], 1));
        assert!(is_within(&[0x90], 1));
        assert!(!is_within(&[], 1));
    }
}
