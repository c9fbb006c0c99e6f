use std::sync::Arc;
use std::time::Duration;

use domicile_raft::peer::tls::{NodeCertificate, TlsOptions, TrustBundle};
use domicile_raft::testing::ManualClock;
use domicile_raft::{Clock, SystemClock, Timestamp};

use crate::support::{CLUSTER, Echo, LONG, Node, World, identity, unreachable, until_answered};

/// What a call from `a` to `b` says when the two are to disbelieve each other.
async fn refusal(a: &Node, b: &Node) -> String {
    let echo = Arc::new(Echo::default());
    let listener = b.listen(Arc::clone(&echo) as _);
    a.meet(b, &listener);
    let answer = a.ask(b, "hello").await;
    assert!(echo.seen.lock().unwrap().is_empty());
    unreachable(&answer).to_owned()
}

#[tokio::test]
async fn an_authority_that_is_not_in_the_bundle_is_refused_by_the_dialler() {
    let (world, foreign) = (World::new(&["eu"]), World::new(&["eu"]));
    let (a, b) = (world.node(1, "eu"), foreign.node(2, "eu"));
    // The other side would believe: only the dialler refuses.
    b.trust.update(world.trust()).unwrap();
    let reason = refusal(&a, &b).await;
    assert!(reason.contains("not signed by an authority") || reason.contains("Chain"), "{reason}");
}

#[tokio::test]
async fn an_authority_that_is_not_in_the_bundle_is_refused_by_the_listener() {
    let (world, foreign) = (World::new(&["eu"]), World::new(&["eu"]));
    let (a, b) = (foreign.node(1, "eu"), world.node(2, "eu"));
    a.trust.update(world.trust()).unwrap();
    let reason = refusal(&a, &b).await;
    assert!(!reason.contains("Chain"), "{reason}");
    assert_eq!(b.peers.counts().get(&a.id), None);
}

#[tokio::test]
async fn an_authority_speaks_for_its_own_region_only() {
    // The authority of `us` of this cluster signs a name in `eu`: a world in which it is `eu`'s.
    let (world, forged) = (World::new(&["eu", "us"]), World::new(&["eu"]));
    let mut bundle = TrustBundle::new(CLUSTER);
    bundle.insert(world.authorities["us"].certificate().clone()).unwrap();
    let (a, b) = (world.node(1, "us"), forged.node(2, "eu"));
    a.trust.update(bundle).unwrap();
    b.trust.update(world.trust()).unwrap();
    let reason = refusal(&a, &b).await;
    assert!(reason.contains("eu"), "{reason}");
}

#[tokio::test]
async fn a_node_number_is_believed_in_its_own_region_only() {
    let world = World::new(&["eu", "us"]);
    // Both believe both authorities; node 2 is of eu, and us signed one of the same number.
    let (a, impostor) = (world.node(1, "eu"), world.node(2, "us"));
    let listener = impostor.listen(Arc::new(Echo::default()));
    a.meet_at(impostor.id, "eu", listener.addresses()[0]);
    let answer = a.ask(&impostor, "hello").await;
    assert!(unreachable(&answer).contains("Other"), "{answer:?}");
    // The other way round: who dials.
    let echo = Arc::new(Echo::default());
    let own = a.listen(Arc::clone(&echo) as _);
    impostor.meet(&a, &own);
    unreachable(&impostor.ask(&a, "hello").await);
    assert!(echo.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn another_node_at_the_address_is_not_taken_for_the_wanted_one() {
    let world = World::new(&["eu"]);
    let (a, b, c) = (world.node(1, "eu"), world.node(2, "eu"), world.node(3, "eu"));
    let listener = c.listen(Arc::new(Echo::default()));
    a.meet_at(b.id, "eu", listener.addresses()[0]);
    let answer = a.ask(&b, "hello").await;
    assert!(unreachable(&answer).contains("Other"), "{answer:?}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_until_it_is_renewed_without_a_restart() {
    let clock = Arc::new(ManualClock::new(SystemClock::new().now(), 1));
    let world = World::with_clock(&["eu"], Arc::clone(&clock) as _);
    let hour = Duration::from_hours(1);
    let a = world.node_with(1, "eu", TlsOptions::default(), 48 * hour);
    let b = world.node_with(2, "eu", TlsOptions::default(), hour);
    let listener = b.listen(Arc::new(Echo::default()));
    a.meet(&b, &listener);
    clock.advance(hour + Duration::from_secs(2));
    let answer = a.ask(&b, "hello").await;
    assert!(unreachable(&answer).contains("Expired"), "{answer:?}");
    assert!(b.certificate.renew_if_due().unwrap());
    // The back-off is on the clock that stands still.
    clock.advance(hour / 2);
    assert_eq!(a.ask(&b, "hello").await.unwrap().as_ref(), b"hello");
}

#[tokio::test]
async fn renewal_happens_at_two_thirds_and_open_connections_live_on() {
    let clock = Arc::new(ManualClock::new(SystemClock::new().now(), 1));
    let world = World::with_clock(&["eu"], Arc::clone(&clock) as _);
    let minute = Duration::from_mins(1);
    let lifetime = 30 * minute;
    let (a, b) = (
        world.node_with(1, "eu", TlsOptions::default(), lifetime),
        world.node_with(2, "eu", TlsOptions::default(), lifetime),
    );
    let listener = b.listen(Arc::new(Echo::default()));
    a.meet(&b, &listener);
    a.ask(&b, "hello").await.unwrap();
    clock.advance(19 * minute);
    assert!(!b.certificate.renew_if_due().unwrap());
    let before = b.certificate.expires();
    clock.advance(minute);
    assert!(b.certificate.renew_if_due().unwrap());
    assert_eq!(b.certificate.expires(), before.plus_ms(20 * 60_000));
    // Past the end of the certificates with which the connection was made.
    clock.advance(11 * minute);
    a.ask(&b, "hello").await.unwrap();
    assert_eq!(a.peers.counts()[&b.id].connects, 1);
}

#[tokio::test]
async fn the_renewal_task_renews_by_itself() {
    let world = World::new(&["eu"]);
    let certificate = NodeCertificate::issue(
        Arc::clone(&world.authorities["eu"]),
        identity(1, "eu"),
        Duration::from_millis(300),
        Arc::clone(&world.clock),
    );
    let certificate = certificate.unwrap();
    let first = certificate.expires();
    let _task = certificate.keep_renewed();
    let renewed = async {
        while certificate.expires() == first {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, renewed).await.unwrap();
}

#[tokio::test]
async fn a_bundle_put_in_force_counts_for_the_next_handshake() {
    let (world, other) = (World::new(&["eu"]), World::new(&["us"]));
    let (a, b) = (world.node(1, "eu"), other.node(2, "us"));
    assert!(refusal(&a, &b).await.contains("us"));
    let mut both = world.trust();
    both.insert(other.authorities["us"].certificate().clone()).unwrap();
    a.trust.update(both.clone()).unwrap();
    b.trust.update(both).unwrap();
    let listener = b.listen(Arc::new(Echo::default()));
    a.meet(&b, &listener);
    assert_eq!(until_answered(&a, &b).await.as_ref(), b"again");
    assert!(a.trust.update(TrustBundle::new("c2")).is_err());
}

#[tokio::test]
async fn a_replaced_authority_signs_the_next_certificate() {
    let world = World::new(&["eu"]);
    let next = World::new(&["eu"]);
    let (a, b) = (world.node(1, "eu"), world.node(2, "eu"));
    let mut both = world.trust();
    both.insert(next.authorities["eu"].certificate().clone()).unwrap();
    a.trust.update(both).unwrap();
    b.certificate.replace_authority(Arc::clone(&next.authorities["eu"])).unwrap();
    let listener = b.listen(Arc::new(Echo::default()));
    a.meet(&b, &listener);
    assert_eq!(a.ask(&b, "hello").await.unwrap().as_ref(), b"hello");
    // A name of another region is not signed, and the old certificate stays.
    let foreign = World::new(&["us"]);
    assert!(b.certificate.replace_authority(Arc::clone(&foreign.authorities["us"])).is_err());
    assert!(b.certificate.expires() > Timestamp(0));
}

#[tokio::test]
async fn what_a_node_connected_is_closed_when_it_is_taken_out_of_the_book() {
    let world = World::new(&["eu"]);
    let (a, b) = (world.node(1, "eu"), world.node(2, "eu"));
    let (listener, own) = (b.listen(Arc::new(Echo::default())), a.listen(Arc::new(Echo::default())));
    a.meet(&b, &listener);
    b.meet(&a, &own);
    a.ask(&b, "before").await.unwrap();
    // Another node's coming and going closes nothing.
    b.meet_at(domicile_raft::NodeId(3), "eu", own.addresses()[0]);
    b.peers.book().remove(domicile_raft::NodeId(3));
    a.ask(&b, "beside").await.unwrap();
    assert_eq!(a.peers.counts()[&b.id].connects, 1);
    b.peers.book().remove(a.id);
    let closed = async {
        while a.peers.counts()[&b.id].connects < 2 {
            until_answered(&a, &b).await;
        }
    };
    tokio::time::timeout(LONG, closed).await.unwrap();
}

#[tokio::test]
async fn what_a_node_connected_is_closed_when_its_authority_is_believed_no_more() {
    let world = World::new(&["eu", "us"]);
    let (a, b) = (world.node(1, "us"), world.node(2, "eu"));
    let listener = b.listen(Arc::new(Echo::default()));
    a.meet(&b, &listener);
    a.ask(&b, "before").await.unwrap();
    let mut without = TrustBundle::new(CLUSTER);
    without.insert(world.authorities["eu"].certificate().clone()).unwrap();
    b.trust.update(without).unwrap();
    let refused = async {
        while a.ask(&b, "after").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, refused).await.unwrap();
}
