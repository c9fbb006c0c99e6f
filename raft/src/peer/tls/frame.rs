//! Frames: `length u32 | format u8 | kind u8 | id u64 | body`, integers big-endian; the length counts
//! what follows it.

use std::io;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio_util::codec::{Decoder, LengthDelimitedCodec, LengthDelimitedCodecError};

const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 10;
/// What a frame costs besides its body.
pub(super) const FRAME_OVERHEAD_BYTES: usize = 4 + HEAD_BYTES;
/// Bodies from here on are written from where they lie.
const COPY_BYTES_MAX: usize = 16 << 10;
/// As much is gathered before it is written: TLS makes four records of it and one system call.
pub(super) const BATCH_BYTES: usize = 64 << 10;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hello,
    Request,
    Answer,
    Refusal,
    Ping,
    Pong,
    Header,
    Chunk,
    End,
}

impl Kind {
    const ALL: [(Self, u8); 9] = [
        (Self::Hello, 1),
        (Self::Request, 2),
        (Self::Answer, 3),
        (Self::Refusal, 4),
        (Self::Ping, 5),
        (Self::Pong, 6),
        (Self::Header, 7),
        (Self::Chunk, 8),
        (Self::End, 9),
    ];

    fn to_byte(self) -> u8 {
        Self::ALL.into_iter().find(|(kind, _)| *kind == self).map_or(0, |(_, byte)| byte)
    }

    fn of_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == byte).map(|(kind, _)| kind)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) id: u64,
    pub(super) body: Bytes,
}

/// Bytes that are no frame, or none any more. The connection is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame is longer than {0} bytes")]
    TooLong(usize),
    #[error("a frame of {0} bytes is too short")]
    TooShort(usize),
    #[error("a frame of format {0}; this version reads {FORMAT}")]
    UnknownFormat(u8),
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u8),
    #[error("a {0:?} frame where none belongs")]
    OutOfPlace(Kind),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads frames with bodies of at most `body_max` bytes; compares before it allocates.
#[derive(Debug)]
pub(super) struct FrameDecoder {
    lengths: LengthDelimitedCodec,
    body_max: usize,
}

impl FrameDecoder {
    pub(super) fn new(body_max: usize) -> Self {
        let lengths = LengthDelimitedCodec::builder()
            .length_field_length(4)
            .max_frame_length(HEAD_BYTES + body_max)
            .new_codec();
        Self { lengths, body_max }
    }
}

impl Decoder for FrameDecoder {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let decoded = self.lengths.decode(source).map_err(|cause| {
            match cause.get_ref().and_then(|inner| inner.downcast_ref::<LengthDelimitedCodecError>()) {
                Some(_) => FrameError::TooLong(self.body_max),
                None => FrameError::Io(cause),
            }
        });
        let Some(frame) = decoded? else { return Ok(None) };
        let mut frame = frame.freeze();
        if frame.len() < HEAD_BYTES {
            return Err(FrameError::TooShort(frame.len()));
        }
        let format = frame.get_u8();
        if format != FORMAT {
            return Err(FrameError::UnknownFormat(format));
        }
        let byte = frame.get_u8();
        let kind = Kind::of_byte(byte).ok_or(FrameError::UnknownKind(byte))?;
        let id = frame.get_u64();
        Ok(Some(Frame { kind, id, body: frame }))
    }
}

/// Appends a frame's head; `body_bytes` follow it.
pub(super) fn put_head(out: &mut BytesMut, kind: Kind, id: u64, body_bytes: usize) {
    out.put_u32(u32::try_from(HEAD_BYTES + body_bytes).unwrap_or(u32::MAX));
    out.put_u8(FORMAT);
    out.put_u8(kind.to_byte());
    out.put_u64(id);
}

/// Gathers frames and writes many at once.
#[derive(Debug)]
pub(super) struct FrameWriter<W> {
    io: W,
    batch: BytesMut,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(super) fn new(io: W) -> Self {
        Self { io, batch: BytesMut::new() }
    }

    /// Takes a frame; writes when enough is gathered.
    pub(super) async fn push(&mut self, kind: Kind, id: u64, body: &[u8]) -> io::Result<()> {
        put_head(&mut self.batch, kind, id, body.len());
        if body.len() <= COPY_BYTES_MAX {
            self.batch.extend_from_slice(body);
        } else {
            self.io.write_all(&self.batch).await?;
            self.batch.clear();
            self.io.write_all(body).await?;
        }
        if self.batch.len() >= BATCH_BYTES {
            self.io.write_all(&self.batch).await?;
            self.batch.clear();
        }
        Ok(())
    }

    /// Writes what was gathered.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if !self.batch.is_empty() {
            self.io.write_all(&self.batch).await?;
            self.batch.clear();
        }
        self.io.flush().await
    }

    /// Tells the peer that nothing more comes.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.io.shutdown().await
    }
}
