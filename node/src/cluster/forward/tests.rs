//! Which node answers, and when a request is sent again.

mod world;

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use domicile_iam::ids::{Id as _, RequestId};
use domicile_iam::model::Edge;
use domicile_raft::PartitionId;
use domicile_raft::peer::PeerIdentity;

use futures::FutureExt as _;

use super::forwarder::DEADLINE;
use super::inbound;
use crate::telemetry::Trace;
use world::{Fault, N1, N2, N3, World, cluster, cluster_of, request};

fn token(body: &'static str) -> Request {
    request("POST", "/t/acme/oauth2/token", &[], body)
}

fn users(headers: &[(&str, &str)]) -> Request {
    request("POST", "/v1/tenants/acme/users", headers, "user")
}

#[tokio::test]
async fn a_write_is_answered_by_the_leader_whichever_node_is_asked() {
    let cluster = cluster();
    for node in [N1, N2, N3] {
        assert_eq!(cluster.says(node, token("code")).await, "200 1 192.0.2.9 false");
    }
    assert_eq!(cluster.sent(), [N1, N1]);
    assert!(cluster.done.lock().unwrap().iter().all(|(_, body)| body == "code"));
}

#[tokio::test]
async fn an_order_of_an_operator_is_carried_out_by_the_leader_of_the_directory() {
    let cluster = cluster();
    let order = || request("POST", "/v1/partitions/7/transfer-leader", &[], "order");
    for node in [N1, N2, N3] {
        assert_eq!(cluster.says(node, order()).await, "200 1 192.0.2.9 false");
    }
    assert_eq!(cluster.sent(), [N1, N1]);
}

#[tokio::test]
async fn documents_come_from_the_node_that_is_asked() {
    let cluster = cluster();
    for node in [N1, N2, N3] {
        assert_eq!(cluster.says(node, request("GET", "/t/acme/oauth2/jwks", &[], "")).await, "200 documents");
    }
    assert_eq!(cluster.sent(), []);
}

#[tokio::test]
async fn a_bounded_read_is_answered_by_the_replica_that_can_show_its_staleness() {
    let cluster = cluster();
    let introspect = || request("POST", "/t/acme/oauth2/introspect", &[], "token");
    assert_eq!(cluster.says(N2, introspect()).await, "200 2 192.0.2.9 false");
    assert_eq!(cluster.sent(), []);
    cluster.replicas[&N2].proves(Some(101));
    assert_eq!(cluster.says(N2, introspect()).await, "200 1 192.0.2.9 false");
    cluster.replicas[&N1].proves(None);
    cluster.replicas[&N2].proves(Some(100));
    assert_eq!(cluster.says(N3, introspect()).await, "200 2 192.0.2.9 false");
}

#[tokio::test]
async fn what_is_known_of_a_person_has_a_bound_of_its_own() {
    let cluster = cluster();
    let ask = |path| cluster.says(N2, request("POST", path, &[], "token"));
    cluster.replicas[&N2].proves(Some(50));
    assert_eq!(ask("/t/acme/oauth2/userinfo").await, "200 2 192.0.2.9 false");
    cluster.replicas[&N2].proves(Some(51));
    assert_eq!(ask("/t/acme/oauth2/userinfo").await, "200 1 192.0.2.9 false");
    assert_eq!(ask("/t/acme/oauth2/introspect").await, "200 2 192.0.2.9 false");
}

#[tokio::test]
async fn the_trace_of_a_request_goes_with_it_to_the_node_that_answers() {
    let cluster = cluster();
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for node in [N1, N3] {
        let mut traced = request("POST", "/t/acme/oauth2/revoke", &[], "token");
        traced.extensions_mut().insert(given.parse::<Trace>().unwrap());
        assert_eq!(cluster.says(node, traced).await, format!("200 {given}"));
        let plain = request("POST", "/t/acme/oauth2/revoke", &[], "token");
        assert_eq!(cluster.says(node, plain).await, "200 none");
    }
    assert_eq!(cluster.sent(), [N1, N1]);
}

#[tokio::test(start_paused = true)]
async fn past_the_bound_everywhere_a_read_is_refused_within_five_seconds() {
    let cluster = cluster();
    cluster.replicas[&N1].proves(Some(101));
    cluster.replicas[&N2].proves(None);
    let (status, headers, body) =
        cluster.ask(N2, request("POST", "/t/acme/oauth2/introspect", &[], "token")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(headers["retry-after"], "1");
    assert!(body.contains("\"partition\":1") && body.contains("temporarily_unavailable"), "{body}");
    assert_eq!(cluster.done(), 0);
}

#[tokio::test]
async fn a_new_leader_is_followed_from_the_old_one_and_remembered() {
    let cluster = cluster();
    assert_eq!(cluster.says(N3, token("a")).await, "200 1 192.0.2.9 false");
    cluster.replicas[&N1].leads(false, Some(N2));
    cluster.replicas[&N2].leads(true, Some(N2));
    cluster.sent();
    assert_eq!(cluster.says(N3, token("b")).await, "200 2 192.0.2.9 false");
    assert_eq!(cluster.sent(), [N1, N2]);
    assert_eq!(cluster.says(N3, token("c")).await, "200 2 192.0.2.9 false");
    assert_eq!(cluster.sent(), [N2]);
    assert_eq!(cluster.done(), 3);
}

#[tokio::test]
async fn leadership_lost_before_anything_is_done_is_followed() {
    let cluster = cluster();
    let deposed = request("POST", "/t/acme/oauth2/token", &[("deposed-at", "1")], "code");
    cluster.replicas[&N2].leads(true, Some(N2));
    assert_eq!(cluster.says(N1, deposed).await, "200 2 192.0.2.9 false");
    assert_eq!(cluster.done.lock().unwrap().as_slice(), [(N2, "code".to_owned())]);
}

#[tokio::test]
async fn an_election_shows_as_latency() {
    let cluster = cluster();
    cluster.replicas[&N1].leads(false, None);
    cluster.replicas[&N2].leads(false, None);
    let elected = async {
        tokio::task::yield_now().await;
        while cluster.net.sent.lock().unwrap().len() < 4 {
            tokio::task::yield_now().await;
        }
        cluster.replicas[&N2].leads(true, Some(N2));
    };
    let (answer, ()) = tokio::join!(cluster.says(N3, token("code")), elected);
    assert_eq!(answer, "200 2 192.0.2.9 false");
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_a_write_is_refused_and_nothing_was_done() {
    let cluster = cluster();
    cluster.replicas[&N1].leads(false, None);
    for node in [N1, N2, N3] {
        let (status, _, body) = cluster.ask(node, users(&[])).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("problem:unavailable") && body.contains("nothing was done"), "{body}");
    }
    assert_eq!(cluster.done(), 0);
}

#[tokio::test]
async fn a_node_that_is_not_reached_is_passed_over() {
    let cluster = cluster();
    cluster.fault(N1, Fault::Unreachable);
    cluster.replicas[&N2].leads(true, Some(N2));
    assert_eq!(cluster.says(N3, token("code")).await, "200 2 192.0.2.9 false");
    assert_eq!(cluster.sent(), [N1, N2]);
    assert_eq!(cluster.says(N3, token("code")).await, "200 2 192.0.2.9 false");
}

#[tokio::test]
async fn a_lost_answer_of_a_write_without_a_key_is_unknown_and_done_once() {
    let cluster = cluster();
    for request in [token("code"), users(&[])] {
        cluster.fault(N1, Fault::LosesAnswer);
        let answer = cluster.says(N3, request).await;
        assert!(answer.starts_with("503") && answer.contains("outcome-unknown"), "{answer}");
    }
    assert_eq!(cluster.done(), 2);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_where_that_is_safe() {
    let cluster = cluster();
    for request in [
        users(&[("idempotency-key", "once")]),
        request("GET", "/v1/tenants/acme/users", &[], ""),
        request("POST", "/t/acme/login", &[], "form"),
        request("POST", "/t/acme/oauth2/introspect", &[], "token"),
    ] {
        cluster.fault(N1, Fault::LosesAnswer);
        cluster.fault(N2, Fault::LosesAnswer);
        assert!(cluster.says(N3, request).await.starts_with("200 "));
    }
}

#[tokio::test]
async fn what_comes_from_another_node_goes_no_further() {
    let cluster = cluster();
    cluster.replicas[&N1].leads(false, Some(N3));
    cluster.replicas[&N2].leads(false, Some(N1));
    let forwarded = tokio::time::timeout(Duration::from_millis(300), cluster.says(N3, token("code"))).await;
    assert!(forwarded.is_err(), "node 3 goes on looking");
    // Each request is one message: nobody passed one on.
    let sent = cluster.sent();
    assert!(sent.len() >= 2 && sent.windows(2).all(|pair| pair[0] != pair[1]), "{sent:?}");
    assert_eq!(cluster.done(), 0);
}

#[tokio::test]
async fn an_envelope_from_outside_is_not_believed() {
    let cluster = cluster();
    let mut headers = HeaderMap::new();
    let envelope = super::envelope::Envelope {
        id: RequestId::from_bytes([1; 16]),
        address: "203.0.113.1".parse().unwrap(),
        secure: true,
        deadline_ms: 60_000,
        home: PartitionId(7),
        epoch: 9,
        trace: None,
    };
    envelope.put(&mut headers);
    for node in [N1, N3] {
        let mut forged = token("code");
        forged.headers_mut().extend(headers.clone());
        assert_eq!(cluster.says(node, forged).await, "200 1 192.0.2.9 false");
    }
    // And without one, nothing is answered on the connections between nodes.
    let routes = cluster.net.nodes.get().unwrap().get(&N1).cloned();
    let from = PeerIdentity { node: N3, region: "us".to_owned(), zone: "a".to_owned() };
    let response = inbound::answer(routes, from, token("code")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(cluster.done(), 2);
}

#[tokio::test]
async fn outside_the_placement_only_documents_are_served() {
    let cluster = cluster_of(World { edge: Edge::Placement, known_at_once: true });
    assert_eq!(cluster.says(N3, request("GET", "/t/acme/oauth2/jwks", &[], "")).await, "200 documents");
    let (status, headers, body) = cluster.ask(N3, token("code")).await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(headers["link"], "<https://eu.example/t/acme/oauth2/token>; rel=\"alternate\"");
    assert!(body.contains("\"home_origin\":\"https://eu.example\""), "{body}");
    assert_eq!(cluster.says(N2, token("code")).await, "200 1 192.0.2.9 false");
    assert_eq!((cluster.sent(), cluster.done()), (vec![N1], 1));
}

#[tokio::test]
async fn outside_the_placement_a_tenant_is_not_deleted_either() {
    let cluster = cluster_of(World { edge: Edge::Placement, known_at_once: true });
    let deletion = || request("DELETE", "/v1/tenants/acme", &[], "");
    let (status, headers, _) = cluster.ask(N3, deletion()).await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(headers["link"], "<https://eu.example/v1/tenants/acme>; rel=\"alternate\"");
    assert_eq!(cluster.done(), 0);
    // Inside, each of its steps finds its leader by itself.
    assert_eq!(cluster.says(N2, deletion()).await, "200 2 192.0.2.9 false");
    assert_eq!(cluster.sent(), []);
}

#[tokio::test]
async fn a_tenant_younger_than_this_nodes_directory_is_found() {
    let cluster = cluster_of(World { edge: Edge::Any, known_at_once: false });
    assert_eq!(cluster.says(N3, token("code")).await, "200 1 192.0.2.9 false");
    let looked = |node| cluster.nodes[&node].refreshed.load(Ordering::SeqCst);
    assert_eq!((looked(N3), looked(N1)), (1, 1));
    let unknown = request("POST", "/t/other/oauth2/token", &[], "code");
    assert_eq!(
        cluster.says(N3, unknown).await,
        "200 3 192.0.2.9 false",
        "the handler says that it is unknown"
    );
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_body_counts_against_the_one_deadline() {
    let cluster = cluster();
    let begun = tokio::time::Instant::now();
    let mut endless = token("");
    *endless.body_mut() = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    assert!(cluster.says(N3, endless).await.starts_with("408 "));
    assert!(begun.elapsed() <= DEADLINE);
    cluster.fault(N1, Fault::HoldsItsAnswer(Duration::from_secs(2)));
    let begun = tokio::time::Instant::now();
    let mut slow = users(&[]);
    let late =
        tokio::time::sleep(Duration::from_secs(4)).map(|()| Ok::<_, std::io::Error>(Bytes::from("user")));
    *slow.body_mut() = Body::from_stream(late.into_stream());
    let answer = cluster.says(N3, slow).await;
    assert!(answer.starts_with("503") && answer.contains("outcome-unknown"), "{answer}");
    assert!(begun.elapsed() <= DEADLINE, "{:?}", begun.elapsed());
    assert_eq!(cluster.done(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_slowly_gets_what_is_left_of_the_time_not_all_of_it_again() {
    let cluster = cluster();
    cluster.fault(N1, Fault::SlowAnswer(Duration::from_secs(3)));
    let begun = tokio::time::Instant::now();
    let answer = cluster.says(N3, users(&[])).await;
    assert!(answer.contains("outcome-unknown"), "{answer}");
    assert!(begun.elapsed() <= DEADLINE, "{:?}", begun.elapsed());
}

/// Classes that no other node is asked for are within the same time.
#[tokio::test(start_paused = true)]
async fn what_asks_leaders_by_itself_is_answered_within_five_seconds_too() {
    let cluster = cluster();
    let begun = tokio::time::Instant::now();
    for (method, path) in
        [("POST", "/v1/tenants"), ("DELETE", "/v1/tenants/other"), ("POST", "/v1/join-tokens")]
    {
        let mut endless = request(method, path, &[], "");
        *endless.body_mut() = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let begun = tokio::time::Instant::now();
        assert!(cluster.says(N3, endless).await.starts_with("408 "), "{method} {path}");
        assert!(begun.elapsed() <= DEADLINE, "{method} {path}: {:?}", begun.elapsed());
    }
    assert_eq!(cluster.done(), 0);
    assert!(begun.elapsed() > DEADLINE, "the bodies were waited for");
    for (method, path, said) in
        [("POST", "/v1/join-tokens", "outcome-unknown"), ("GET", "/v1/tenants", "unavailable")]
    {
        let begun = tokio::time::Instant::now();
        let answer = cluster.says(N3, request(method, path, &[], "")).await;
        assert!(answer.starts_with("503") && answer.contains(said), "{method} {path}: {answer}");
        assert!(begun.elapsed() <= DEADLINE, "{method} {path}: {:?}", begun.elapsed());
    }
}

/// As a token that another node has to be asked about does.
#[tokio::test(start_paused = true)]
async fn what_went_before_forwarding_counts_against_the_one_deadline() {
    let cluster = cluster();
    tokio::time::advance(Duration::from_secs(10)).await;
    let late = Duration::from_secs(2);
    for path in ["/v1/tenants/acme/users", "/v1/join-tokens"] {
        let mut endless = request("POST", path, &[], "");
        *endless.body_mut() = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let begun = tokio::time::Instant::now();
        let (status, ..) = cluster.ask_late(N3, endless, late).await;
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT, "{path}");
        assert!(begun.elapsed() + late <= DEADLINE, "{path}: {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_told_how_much_of_the_time_is_left() {
    let cluster = cluster();
    tokio::time::advance(Duration::from_secs(10)).await;
    let whole = DEADLINE.as_millis();
    for (node, path) in
        [(N3, "/v1/tenants"), (N1, "/v1/tenants/acme/clients"), (N3, "/v1/tenants/acme/clients")]
    {
        let (_, _, said) =
            cluster.ask_late(node, request("POST", path, &[], "{}"), Duration::from_secs(2)).await;
        let left: u128 = said.parse().unwrap();
        assert!(left > 0 && left < whole - 2_000, "{path} at node {}: {left} ms", node.0);
    }
}

#[tokio::test]
async fn a_body_over_the_bound_is_413_and_stays_here() {
    let cluster = cluster();
    let long = request(
        "POST",
        "/t/acme/oauth2/token",
        &[],
        "sixty-five bytes are one more than what this test's nodes will take",
    );
    assert!(cluster.says(N3, long).await.starts_with("413 "));
    assert_eq!(cluster.sent(), []);
}

#[test]
fn the_guard_of_a_cluster_leaves_a_request_its_whole_time() {
    assert!(DEADLINE < crate::config::REQUEST_TIMEOUT_MIN);
}
