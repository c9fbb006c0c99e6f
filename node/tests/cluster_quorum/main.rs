//! A quorum that is gone, of a partition or of the directory: what needs it is refused in time and told,
//! all else goes on.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "real processes are waited for in real time"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

#[path = "../cluster_guest/mod.rs"]
mod cluster_guest;
#[path = "../cluster_support/mod.rs"]
mod cluster_support;
mod endpoints;
#[path = "../oidc_support/mod.rs"]
mod oidc_support;

use std::time::{Duration, Instant};

use cluster_guest::{Guest, Reply, ada, browser};
use cluster_support::{Cluster, LOOK, Signal, partition};
use endpoints::{Gone, Named};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Requests end within this.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// A leader who has a quorum again serves within this.
const SERVES_AFTER_LEADER_MAX: Duration = Duration::from_secs(2);
/// Until there is one, on a machine that does much else.
const BACK_MAX: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_quorum_that_is_gone_is_refused_in_time_and_all_else_goes_on() {
    // Three nodes hold the tenant that is to lose its quorum; the other's and the directory's voters are
    // spread over regions, so that they stay.
    let places = ["eu-central/a", "eu-central/b", "eu-central/c", "us-east/a", "ap-south/a"];
    let mut cluster = Cluster::hosts(&places);
    cluster.assemble().await;
    let pinned = json!({"regions": ["eu-central"], "survive": "zone"});
    let lost = Guest::create(&cluster, "lost", &pinned, 3, &ada()).await;
    let spread = json!({"regions": ["eu-central", "us-east", "ap-south"], "survive": "region"});
    let kept = Guest::create(&cluster, "kept", &spread, 3, &ada()).await;

    let voters = lost.voters(&cluster, 3).await;
    let needed = kept.voters(&cluster, 3).await;
    // One that stands still, and one that is gone: neither is what the other tenant's quorum stands on.
    let mut gone: Vec<usize> = voters.iter().copied().filter(|host| !needed.contains(host)).collect();
    gone.truncate(2);
    assert_eq!(gone.len(), 2, "{voters:?} and {needed:?}");
    let left = voters.iter().copied().find(|host| !gone.contains(host)).unwrap();
    // A leader without a quorum may still look at what it is sent; the one that stays shall not be one.
    lead(&cluster, &lost, gone[0]).await;
    let mut visitor = browser(&cluster, &lost, &[left]);
    let callback = lost.log_in(&mut visitor, "").await;
    let tokens = lost.redeem(&cluster, left, &callback).await;
    let other = cluster_tokens(&cluster, &kept, 3).await;

    let seen = cluster.get(left, "/v1/cluster").await.unwrap();
    let named = Named {
        guest: lost.clone(),
        session: lost.a_session(&cluster, left).await,
        access_token: tokens.text("access_token"),
        node: cluster.node_of(&seen, left),
    };

    cluster.signal(gone[0], Signal::STOP);
    cluster.kill(gone[1]);
    for host in [left, 3] {
        refused_in_time(&cluster, &lost, host, &tokens).await;
        documents_are_served(&cluster, &lost, host).await;
        endpoints::do_what_the_page_says(&cluster, host, &named, Gone::Home).await;
    }
    untouched(&cluster, &kept, &other).await;
    told(&cluster, left, lost.partition).await;

    cluster.signal(gone[0], Signal::CONT);
    let token = tokens.text("refresh_token");
    let (led, (served, next)) = tokio::join!(
        has_a_leader(&cluster, left, lost.partition),
        serves_again(&cluster, &lost, left, &token),
    );
    let after = served.saturating_duration_since(led);
    println!("serving again {after:?} after the partition had a leader");
    assert!(after < SERVES_AFTER_LEADER_MAX, "{after:?}");
    lost.go_on(&mut visitor).await;
    assert_eq!(lost.introspect(&cluster, 3, &next.text("access_token")).await.body["active"], true);
    cluster.start(gone[1]);
    cluster.ready(gone[1]).await;

    // Two of five are left for the directory, and two of three for the tenant.
    for host in [gone[0], 3, 4] {
        cluster.kill(host);
    }
    directory_has_no_leader(&cluster, left).await;
    let (status, text) = cluster.management(left, "/readyz?verbose").await;
    assert_eq!(status, 200, "tenants go on without the directory: {text}");
    lost.log_in(&mut browser(&cluster, &lost, &[left, gone[1]]), "").await;
    for host in [left, gone[1]] {
        endpoints::do_what_the_page_says(&cluster, host, &named, Gone::Directory).await;
    }
}

/// Has `host` lead the guest's home.
async fn lead(cluster: &Cluster, guest: &Guest, host: usize) {
    let id = cluster.node_of(&cluster.get(host, "/v1/cluster").await.unwrap(), host);
    let of = guest.partition.to_string();
    cluster.ok(host, &["partition", "transfer-leader", &of, "--to", &id.to_string()]);
    for seen_by in [host, 3] {
        cluster.until(seen_by, |seen| partition(seen, guest.partition)["leader"] == id).await;
    }
}

/// When the host says that the partition answers.
async fn has_a_leader(cluster: &Cluster, turn: usize, partition: u64) -> Instant {
    let began = Instant::now();
    let line = format!("[+] partition {partition}:");
    while !cluster.management(turn, "/readyz?verbose").await.1.contains(&line) {
        assert!(began.elapsed() < BACK_MAX, "no leader after {:?}", began.elapsed());
        tokio::time::sleep(LOOK / 4).await;
    }
    Instant::now()
}

/// When it does answer what needs a quorum, and with what; until then it refuses.
async fn serves_again(cluster: &Cluster, guest: &Guest, turn: usize, token: &str) -> (Instant, Reply) {
    let began = Instant::now();
    loop {
        let next = guest.refresh(cluster, turn, token).await.unwrap();
        if next.status == StatusCode::OK {
            return (Instant::now(), next);
        }
        assert_eq!(next.status, StatusCode::SERVICE_UNAVAILABLE, "{}", next.body);
        assert!(began.elapsed() < BACK_MAX, "not back after {:?}", began.elapsed());
    }
}

async fn directory_has_no_leader(cluster: &Cluster, turn: usize) {
    let telling = async {
        while !cluster.management(turn, "/readyz?verbose").await.1.contains("[-] partition 0:") {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(BACK_MAX, telling).await.expect("the directory has lost its quorum");
}

async fn cluster_tokens(cluster: &Cluster, guest: &Guest, turn: usize) -> Reply {
    let callback = guest.log_in(&mut browser(cluster, guest, &[turn]), "").await;
    guest.redeem(cluster, turn, &callback).await
}

async fn refused_in_time(cluster: &Cluster, guest: &Guest, turn: usize, tokens: &Reply) {
    let user = json!({"username": "nobody", "password": "correct horse battery staple"});
    let began = Instant::now();
    let admin = |method, path, body| guest.admin(cluster, turn, method, path, None, body);
    let asked = tokio::join!(
        admin(Method::POST, "/users", Some(&user)),
        admin(Method::GET, "/users", None::<&Value>),
        guest.refresh(cluster, turn, "rt_unknown"),
    );
    assert!(began.elapsed() < ANSWER_MAX, "{:?}", began.elapsed());
    let programs = [asked.0.unwrap(), asked.1.unwrap()];
    programs.iter().chain([&asked.2.unwrap()]).for_each(refused);
    // What was fresh when the quorum went may be told until the bound, 5 s, is over.
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        let shown = guest.introspect(cluster, turn, &tokens.text("access_token")).await;
        assert!(asked.elapsed() < ANSWER_MAX, "{:?}", asked.elapsed());
        if shown.status != StatusCode::OK {
            refused(&shown);
            break;
        }
        assert!(asked.duration_since(began) < Duration::from_secs(5), "{}", shown.body);
        tokio::time::sleep(LOOK).await;
    }
}

/// Told to come back, in a problem document (RFC 9457): whoever asks, it is the node that has no quorum.
fn refused(reply: &Reply) {
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{}", reply.body);
    assert!(!reply.header("retry-after").is_empty(), "{:?}", reply.headers);
    assert_eq!(reply.header("content-type"), "application/problem+json", "{}", reply.body);
}

async fn documents_are_served(cluster: &Cluster, guest: &Guest, turn: usize) {
    let discovery = guest.fetch(cluster, turn, "/.well-known/openid-configuration", None).await;
    assert_eq!(discovery.expect(StatusCode::OK).text("issuer"), guest.issuer);
    let jwks = guest.fetch(cluster, turn, "/oauth2/jwks", None).await.expect(StatusCode::OK);
    assert!(!jwks.body["keys"].as_array().unwrap().is_empty(), "{}", jwks.body);
}

async fn untouched(cluster: &Cluster, guest: &Guest, tokens: &Reply) {
    let next = guest.refresh(cluster, 3, &tokens.text("refresh_token")).await.unwrap().expect(StatusCode::OK);
    for turn in [3, 4] {
        let shown = guest.introspect(cluster, turn, &next.text("access_token")).await;
        assert_eq!(shown.expect(StatusCode::OK).body["active"], true);
    }
    let user = json!({"username": "bob", "password": "correct horse battery staple"});
    let made = guest.admin(cluster, 4, Method::POST, "/users", None, Some(&user)).await.unwrap();
    made.expect(StatusCode::CREATED);
    guest.log_in(&mut browser(cluster, guest, &[3, 4]), "").await;
}

/// Which partition and why; the others stand.
async fn told(cluster: &Cluster, turn: usize, partition: u64) {
    let line = |text: &str, id: u64| {
        let found = text.lines().find(|line| line.contains(&format!("partition {id}:")));
        found.unwrap_or_default().to_owned()
    };
    let telling = async {
        loop {
            let (status, text) = cluster.management(turn, "/readyz?verbose").await;
            let (mine, directory) = (line(&text, partition), line(&text, 0));
            assert_eq!(status, 200, "it serves the other tenants: {text}");
            if mine.starts_with("[-]") && directory.starts_with("[+]") {
                return mine;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let told = tokio::time::timeout(ANSWER_MAX, telling).await.expect("it tells which partition");
    assert!(told.contains("quorum") || told.contains("no leader"), "{told}");
}
