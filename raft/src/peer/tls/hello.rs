//! The first frame of each side: which protocol versions it speaks, of which cluster it is.

use std::io;

use domicile_storage::codec::{decode_fixed, encode_fixed, split_format};
use futures::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::FramedRead;

use super::frame::{Frame, FrameDecoder, FrameError, FrameWriter, Kind};
use crate::peer::Lane;

const FORMAT: u8 = 1;
const VERSION_MIN: u16 = 1;
const VERSION_MAX: u16 = 1;

/// What the connection is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub(super) enum Purpose {
    Control,
    Data,
    Stream,
}

impl Purpose {
    pub(super) fn of(lane: Lane) -> Self {
        match lane {
            Lane::Control => Self::Control,
            Lane::Data => Self::Data,
        }
    }

    pub(super) fn lane(self) -> Option<Lane> {
        match self {
            Self::Control => Some(Lane::Control),
            Self::Data => Some(Lane::Data),
            Self::Stream => None,
        }
    }
}

#[derive(Clone, Debug, bincode::Encode, bincode::Decode)]
struct Hello {
    version_min: u16,
    version_max: u16,
    cluster: String,
    purpose: Purpose,
}

/// A peer that cannot be spoken with.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelloError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the connection was closed before the first frame")]
    Closed,
    #[error("the first frame cannot be read: {0}")]
    Malformed(String),
    #[error("the peer speaks protocol versions {0} to {1}, this node {VERSION_MIN} to {VERSION_MAX}")]
    Versions(u16, u16),
    #[error("the peer is of another cluster")]
    Cluster,
    #[error("the peer takes the connection for another purpose")]
    Purpose,
}

impl From<io::Error> for HelloError {
    fn from(cause: io::Error) -> Self {
        Self::Frame(FrameError::Io(cause))
    }
}

/// Sends this side's hello.
pub(super) async fn send<W: AsyncWrite + Unpin>(
    writer: &mut FrameWriter<W>,
    cluster: &str,
    purpose: Purpose,
) -> Result<(), HelloError> {
    let hello =
        Hello { version_min: VERSION_MIN, version_max: VERSION_MAX, cluster: cluster.to_owned(), purpose };
    let body = encode_fixed(FORMAT, &hello).map_err(|e| HelloError::Malformed(e.to_string()))?;
    writer.push(Kind::Hello, 0, &body).await?;
    Ok(writer.flush().await?)
}

/// Waits for the other side's hello and checks it.
pub(super) async fn receive<R: AsyncRead + Unpin>(
    frames: &mut FramedRead<R, FrameDecoder>,
    cluster: &str,
) -> Result<Purpose, HelloError> {
    let Frame { kind, body, .. } = frames.next().await.ok_or(HelloError::Closed)??;
    if kind != Kind::Hello {
        return Err(FrameError::OutOfPlace(kind).into());
    }
    let malformed = |e: domicile_storage::codec::CodecError| HelloError::Malformed(e.to_string());
    let (_, body) = split_format(&body, &[FORMAT]).map_err(malformed)?;
    let hello: Hello = decode_fixed(body).map_err(malformed)?;
    if hello.version_min > VERSION_MAX || hello.version_max < VERSION_MIN {
        return Err(HelloError::Versions(hello.version_min, hello.version_max));
    }
    if hello.cluster != cluster {
        return Err(HelloError::Cluster);
    }
    Ok(hello.purpose)
}
