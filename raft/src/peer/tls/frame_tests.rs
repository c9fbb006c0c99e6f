//! The frame decoder against everything that may come.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tokio_util::codec::Decoder as _;

use super::frame::{Frame, FrameDecoder, FrameError, Kind, put_head};

const BODY_MAX: usize = 1_000;

fn kinds() -> impl Strategy<Value = Kind> {
    proptest::sample::select(vec![
        Kind::Hello,
        Kind::Request,
        Kind::Answer,
        Kind::Refusal,
        Kind::Ping,
        Kind::Pong,
        Kind::Header,
        Kind::Chunk,
        Kind::End,
    ])
}

fn encode(frame: &Frame) -> BytesMut {
    let mut out = BytesMut::new();
    put_head(&mut out, frame.kind, frame.id, frame.body.len());
    out.extend_from_slice(&frame.body);
    out
}

proptest! {
    #[test]
    fn frames_read_back_however_the_bytes_are_cut(
        frames in prop::collection::vec((kinds(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..BODY_MAX)), 0..8),
        cuts in prop::collection::vec(1usize..64, 1..16),
    ) {
        let frames: Vec<Frame> =
            frames.into_iter().map(|(kind, id, body)| Frame { kind, id, body: Bytes::from(body) }).collect();
        let wire: Vec<u8> = frames.iter().flat_map(encode).collect();
        let (mut decoder, mut buffer, mut read) = (FrameDecoder::new(BODY_MAX), BytesMut::new(), Vec::new());
        let (mut rest, mut cuts) = (wire.as_slice(), cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            rest = left;
            buffer.extend_from_slice(piece);
            while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
                read.push(frame);
            }
        }
        prop_assert_eq!(read, frames);
    }

    #[test]
    fn bytes_from_anywhere_give_frames_within_bounds_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..4_096)) {
        let (mut decoder, mut buffer) = (FrameDecoder::new(BODY_MAX), BytesMut::from(bytes.as_slice()));
        while let Ok(Some(frame)) = decoder.decode(&mut buffer) {
            prop_assert!(frame.body.len() <= BODY_MAX);
        }
    }

    #[test]
    fn one_changed_byte_is_never_a_panic(
        body in prop::collection::vec(any::<u8>(), 0..64), at in 0usize..14, byte in any::<u8>(),
    ) {
        let mut wire = encode(&Frame { kind: Kind::Request, id: 7, body: Bytes::from(body) });
        wire[at] = byte;
        let _ = FrameDecoder::new(BODY_MAX).decode(&mut wire);
    }
}

#[test]
fn a_long_frame_is_refused_before_its_bytes_come_and_nothing_is_allocated_for_it() {
    let mut head = BytesMut::new();
    put_head(&mut head, Kind::Request, 1, BODY_MAX + 1);
    let before = head.capacity();
    assert!(matches!(FrameDecoder::new(BODY_MAX).decode(&mut head), Err(FrameError::TooLong(BODY_MAX))));
    assert_eq!(head.capacity(), before);
}

#[test]
fn unknown_formats_and_kinds_and_short_frames_are_refused_by_name() {
    let wire = |bytes: &[u8]| {
        let mut out = BytesMut::new();
        out.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
        out.extend_from_slice(bytes);
        FrameDecoder::new(BODY_MAX).decode(&mut out)
    };
    assert!(matches!(wire(&[2, 1, 0, 0, 0, 0, 0, 0, 0, 0]), Err(FrameError::UnknownFormat(2))));
    assert!(matches!(wire(&[1, 99, 0, 0, 0, 0, 0, 0, 0, 0]), Err(FrameError::UnknownKind(99))));
    assert!(matches!(wire(&[1, 2, 0]), Err(FrameError::TooShort(3))));
}
