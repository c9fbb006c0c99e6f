use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domicile_raft::peer::{Lane, PeerTransport as _};
use domicile_raft::{Clock as _, SystemClock};
use futures::future::join_all;

use crate::support::{Echo, LONG, World};

#[tokio::test]
async fn a_delayed_region_hears_later_and_in_order() {
    let world = World::new(&["eu", "us"]);
    let (a, b, echo) = (world.node(1, "eu"), world.node(2, "us"), Arc::new(Echo::default()));
    let listener = b.listen(Arc::clone(&echo) as _);
    a.meet(&b, &listener);
    let delay = Duration::from_millis(40);
    a.peers.set_delay("us", delay);
    b.peers.set_delay("eu", delay);
    a.ask(&b, "connect").await.unwrap();
    let clock = SystemClock::new();
    let message = |n: u32| Bytes::copy_from_slice(&n.to_be_bytes());
    let calls = (0..100).map(|n| a.peers.call(b.id, Lane::Control, message(n), LONG));
    let answers = join_all(calls).await;
    // There and back.
    assert!(clock.monotonic() >= 2 * delay);
    assert!(answers.into_iter().zip(0..).all(|(answer, n)| answer.unwrap() == message(n)));
    let seen: Vec<Bytes> = echo.seen.lock().unwrap().iter().skip(1).map(|(_, _, m)| m.clone()).collect();
    assert_eq!(seen, (0..100).map(message).collect::<Vec<_>>());
}
