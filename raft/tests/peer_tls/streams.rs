use std::sync::Arc;

use bytes::Bytes;
use domicile_raft::peer::{CHUNK_BYTES_MAX, PeerError, PeerRefusal, PeerTransport as _};

use crate::support::{Echo, LONG, Node, Streams, World};

fn pair() -> (Node, Node, Arc<Echo>) {
    let world = World::new(&["eu", "us"]);
    (world.node(1, "eu"), world.node(2, "us"), Arc::new(Echo::default()))
}

#[tokio::test]
async fn a_stream_brings_every_byte_and_the_answer_at_its_end() {
    let (a, b, echo) = pair();
    let listener = b.listen(Arc::new(Streams(echo)));
    a.meet(&b, &listener);
    let mut stream = a.peers.open_stream(b.id, Bytes::from_static(b"snapshot"), LONG).await.unwrap();
    for _ in 0..40 {
        stream.send(Bytes::from(vec![3; CHUNK_BYTES_MAX])).await.unwrap();
    }
    let answer = stream.finish(LONG).await.unwrap();
    assert_eq!(answer, (40 * CHUNK_BYTES_MAX).to_string());
}

#[tokio::test]
async fn a_stream_given_up_is_an_error_for_the_receiver_never_an_end() {
    let (a, b, echo) = pair();
    let listener = b.listen(Arc::new(Streams(Arc::clone(&echo))));
    a.meet(&b, &listener);
    let mut stream = a.peers.open_stream(b.id, Bytes::new(), LONG).await.unwrap();
    stream.send(Bytes::from_static(b"half")).await.unwrap();
    drop(stream);
    tokio::time::timeout(LONG, echo.stream_done.notified()).await.unwrap();
    let ends = echo.streams.lock().unwrap();
    assert!(matches!(ends.as_slice(), [Err(PeerError::Lost { .. })]), "{ends:?}");
}

#[tokio::test]
async fn a_refusal_in_the_middle_stops_the_sender() {
    let (a, b, echo) = pair();
    let listener = b.listen(Arc::new(Streams(echo)));
    a.meet(&b, &listener);
    let mut stream = a.peers.open_stream(b.id, Bytes::from_static(b"refuse"), LONG).await.unwrap();
    let sending = async {
        loop {
            if let Err(refused) = stream.send(Bytes::from(vec![0; 1_000])).await {
                return refused;
            }
        }
    };
    let refused = tokio::time::timeout(LONG, sending).await.unwrap();
    let refusal = PeerRefusal::Forbidden("not here".to_owned());
    assert_eq!(refused, PeerError::Refused { node: b.id, refusal });
}

#[tokio::test]
async fn a_chunk_over_the_bound_is_not_sent() {
    let (a, b, echo) = pair();
    let listener = b.listen(Arc::new(Streams(echo)));
    a.meet(&b, &listener);
    let mut stream = a.peers.open_stream(b.id, Bytes::new(), LONG).await.unwrap();
    let long = stream.send(Bytes::from(vec![0; CHUNK_BYTES_MAX + 1])).await;
    assert!(matches!(long, Err(PeerError::Refused { refusal: PeerRefusal::Malformed(_), .. })));
    assert_eq!(stream.finish(LONG).await.unwrap().as_ref(), b"0");
}
