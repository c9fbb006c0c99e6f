//! A leader, a quorum of a partition or of the directory, or all of a partition's regions that are gone: what needs
//! them is refused in time and told, all else goes on. Every endpoint does what docs/consistency.md says.
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
#[path = "../consistency_page/mod.rs"]
mod consistency_page;
mod endpoints;
#[path = "../oidc_support/mod.rs"]
mod oidc_support;

use std::time::{Duration, Instant};

use cluster_guest::{CALLBACK, Guest, Reply, ada, browser};
use cluster_support::{Cluster, LOOK, Signal, partition, settled};
use endpoints::{Gone, Named};
use oidc_support::browser::Browser;
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
    lead_from_afar(&cluster, &kept).await;
    its_leader_is_lost(&mut cluster, &lost, &pinned, gone[1], [left, 3]).await;

    // A leader without a quorum may still look at what it is sent; the one that stays shall not be one.
    lead(&cluster, lost.partition, gone[0]).await;
    let mut visitor = browser(&cluster, &lost, &[left]);
    let (named, tokens) = log_in(&cluster, &lost, &mut visitor, &pinned, left).await;
    let other = cluster_tokens(&cluster, &kept, 3).await;
    cluster.signal(gone[0], Signal::STOP);
    for host in [left, 3] {
        refused_in_time(&cluster, &lost, host, &tokens).await;
        documents_are_served(&cluster, &lost, host).await;
        endpoints::do_what_the_page_says(&cluster, host, &named, Gone::Home).await;
    }
    untouched(&cluster, &kept, &other).await;
    told(&cluster, left, lost.partition).await;
    its_regions_are_cut_off(&cluster, &kept, &named, left).await;

    cluster.signal(gone[0], Signal::CONT);
    is_back(&cluster, &lost, left, &mut visitor, &tokens.text("refresh_token")).await;
    cluster.start(gone[1]);
    cluster.ready(gone[1]).await;
    the_directory_is_lost(&mut cluster, &lost, &named, [gone[0], 3, 4], [left, gone[1]]).await;
}

/// Kills the leader of the tenant's home; the others elect another.
async fn its_leader_is_lost(
    cluster: &mut Cluster,
    lost: &Guest,
    placement: &Value,
    dead: usize,
    rest: [usize; 2],
) {
    let expendable = somebody_else(cluster, lost, rest[0]).await;
    let mut visitor = browser(cluster, &expendable, &rest);
    let (named, _) = log_in(cluster, &expendable, &mut visitor, placement, rest[0]).await;
    lead(cluster, lost.partition, dead).await;
    let leader = cluster.node_of(&cluster.get(rest[0], "/v1/cluster").await.unwrap(), dead);
    cluster.kill(dead);
    let cluster = &*cluster;
    let led_again = async {
        for host in rest {
            is_led_by_others(cluster, host, &[lost.partition], leader).await;
        }
    };
    endpoints::do_what_the_page_says_of_a_lost_leader(cluster, rest, &named, led_again).await;
}

/// The last voter of the tenant's home falls silent too, which is all of its region: for the others that is cut
/// off. Returns when the voter, which goes on then, takes part again.
async fn its_regions_are_cut_off(cluster: &Cluster, kept: &Guest, named: &Named, left: usize) {
    cluster.signal(left, Signal::STOP);
    is_led_by_others(cluster, 3, &[0, kept.partition], named.node).await;
    documents_are_served(cluster, &named.guest, 3).await;
    endpoints::do_what_the_page_says(cluster, 3, named, Gone::Regions).await;
    kept.log_in(&mut browser(cluster, kept, &[3, 4]), "").await;
    cluster.signal(left, Signal::CONT);
    cluster.until(left, |seen| partition(seen, 0)["available"] == true).await;
}

/// A quorum of the tenant's home is there again.
async fn is_back(cluster: &Cluster, lost: &Guest, left: usize, visitor: &mut Browser, token: &str) {
    let (led, (served, next)) =
        tokio::join!(has_a_leader(cluster, left, lost.partition), serves_again(cluster, lost, left, token),);
    let after = served.saturating_duration_since(led);
    println!("serving again {after:?} after the partition had a leader");
    assert!(after < SERVES_AFTER_LEADER_MAX, "{after:?}");
    lost.go_on(visitor).await;
    assert_eq!(lost.introspect(cluster, 3, &next.text("access_token")).await.body["active"], true);
}

/// Two of five nodes are left, and with them one voter of three for the directory, two of three for the tenant.
async fn the_directory_is_lost(
    cluster: &mut Cluster,
    lost: &Guest,
    named: &Named,
    dead: [usize; 3],
    rest: [usize; 2],
) {
    for host in dead {
        cluster.kill(host);
    }
    directory_has_no_leader(cluster, rest[0]).await;
    let (status, text) = cluster.management(rest[0], "/readyz?verbose").await;
    assert_eq!(status, 200, "tenants go on without the directory: {text}");
    lost.log_in(&mut browser(cluster, lost, &rest), "").await;
    for host in rest {
        endpoints::do_what_the_page_says(cluster, host, named, Gone::Directory).await;
    }
}

/// A user of the same tenant with an application, which may be done away with.
async fn somebody_else(cluster: &Cluster, guest: &Guest, turn: usize) -> Guest {
    let (name, password) = ("expendable", "correct horse battery staple");
    let user = json!({"username": name, "password": password});
    let user = guest.admin(cluster, turn, Method::POST, "/users", None, Some(&user)).await.unwrap();
    let client = json!({
        "client_name": name,
        "redirect_uris": [CALLBACK],
        "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "client_secret_basic",
        "require_pkce": false,
    });
    let client = guest.admin(cluster, turn, Method::POST, "/clients", None, Some(&client)).await.unwrap();
    let client = client.expect(StatusCode::CREATED);
    Guest {
        user: user.expect(StatusCode::CREATED).text("id"),
        person: (name.to_owned(), password.to_owned()),
        client: (client.text("client_id"), client.text("client_secret")),
        ..guest.clone()
    }
}

/// What requests name then, and the tokens.
async fn log_in(
    cluster: &Cluster,
    guest: &Guest,
    visitor: &mut Browser,
    placement: &Value,
    turn: usize,
) -> (Named, Reply) {
    let user = json!({"username": format!("seen-by-{}", guest.person.0)});
    let seen = guest.admin(cluster, turn, Method::POST, "/users", None, Some(&user)).await.unwrap();
    let seen = seen.expect(StatusCode::CREATED).header("domicile-consistency").to_owned();
    // With the entries of these every voter hears that the one before is committed.
    let callback = guest.log_in(visitor, "").await;
    let tokens = guest.redeem(cluster, turn, &callback).await;
    let named = Named {
        guest: guest.clone(),
        placement: placement.clone(),
        session: guest.a_session(cluster, turn).await,
        access_token: tokens.text("access_token"),
        seen,
        node: cluster.node_of(&cluster.get(turn, "/v1/cluster").await.unwrap(), turn),
    };
    (named, tokens)
}

/// Has the directory and the tenant that is kept led from where nothing is lost: both have a voter in each region.
async fn lead_from_afar(cluster: &Cluster, kept: &Guest) {
    for id in [0, kept.partition] {
        let votes = |seen: &Value, host: usize| {
            let voters = partition(seen, id)["voters"].as_array().unwrap();
            voters.iter().any(|voter| cluster.host_of(seen, voter) == host)
        };
        cluster.until(3, |seen| settled(seen, id) && votes(seen, 3) && votes(seen, 4)).await;
        lead(cluster, id, 3).await;
    }
}

/// Has `host` lead a partition.
async fn lead(cluster: &Cluster, id: u64, host: usize) {
    let node = cluster.node_of(&cluster.get(host, "/v1/cluster").await.unwrap(), host);
    cluster.ok(host, &["partition", "transfer-leader", &id.to_string(), "--to", &node.to_string()]);
    for seen_by in [host, 3] {
        cluster.until(seen_by, |seen| partition(seen, id)["leader"] == node).await;
    }
}

/// Waits until partitions have a leader that answers, and that is not `node`.
async fn is_led_by_others(cluster: &Cluster, turn: usize, partitions: &[u64], node: u64) {
    let led = |seen: &Value, id: u64| {
        let found = partition(seen, id);
        found["available"] == true && found["leader"] != node
    };
    cluster.until(turn, |seen| partitions.iter().all(|id| led(seen, *id))).await;
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
