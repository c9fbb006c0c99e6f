//! What a tenant's placement promises: nothing of it on a node of another region, though its people log in
//! through that node. Not its words, and not what stands for them inside either.
//!
//! Tenant ids, slugs and key ids are in the directory, which is everywhere.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "real processes are waited for in real time"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod cluster_guest;
mod cluster_needles;
mod cluster_support;
mod oidc_support;

use std::path::Path;

use cluster_guest::{Guest, browser};
use cluster_needles::{Needles, inside, keys};
use cluster_support::{Cluster, partition};
use oidc_support::browser::Browser;
use reqwest::{Method, StatusCode};
use serde_json::json;

const INSIDE: [usize; 3] = [0, 1, 2];
const OUTSIDE: [usize; 2] = [3, 4];

const PLACES: [&str; 5] = ["eu-central/a", "eu-central/b", "eu-central/c", "us-east/a", "ap-south/a"];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_pinned_tenant_is_on_a_node_of_another_region() {
    let mut cluster = Cluster::hosts(&PLACES);
    cluster.assemble().await;
    let user = json!({
        "username": "canary-zephyrine",
        "password": "canary passphrase 7191",
        "email": "canary.mail@quetzal.example",
        "name": "Zephyrine Canarybird",
        "given_name": "Zephyrine-Given",
        "phone_number": "+4930555719133",
    });
    let placement = json!({"regions": ["eu-central"], "survive": "zone"});
    let guest = Guest::create(&cluster, "pinned", &placement, 3, &user).await;
    let home = cluster.get(0, "/v1/cluster").await.unwrap();
    let mut voters: Vec<usize> = partition(&home, guest.partition)["voters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| cluster.host_of(&home, node))
        .collect();
    voters.sort_unstable();
    assert_eq!(voters, INSIDE);

    let mut words = Needles::default();
    for name in ["username", "password", "email", "name", "given_name", "phone_number"] {
        words.word(name, user[name].as_str().unwrap());
    }
    let mut ids = Needles::default();
    ids.word("user id", &guest.user);
    words.word("client secret", &guest.client.1);
    for turn in 0..PLACES.len() {
        visit(&cluster, &guest, turn, &mut words).await;
    }
    let metrics = metrics(&cluster).await;

    for turn in 0..PLACES.len() {
        assert_eq!(cluster.stop(turn).await, Some(0));
    }
    let tenant = guest.id.parse().unwrap();
    // Taken from a copy: opening a state writes to it.
    let rows = inside(&cluster.data(0), guest.partition, tenant);
    for turn in OUTSIDE {
        let replica = cluster.data(turn).join(format!("partitions/{}", guest.partition));
        assert!(!replica.exists(), "{} is there", replica.display());
    }
    prove_that_the_scan_finds(&cluster, &words, &rows);
    prove_that_the_scan_finds(&cluster, &ids, &Needles::default());
    let keys = INSIDE.map(|turn| keys(&cluster.data(turn), guest.partition));
    for (turn, keys) in INSIDE.into_iter().zip(&keys) {
        let missing = keys.missing(&keys.found(&cluster.folder(turn)));
        assert!(missing.is_empty(), "host {turn}: not found inside: {missing:?}");
    }
    for turn in OUTSIDE {
        for keys in &keys {
            keys.absent(&cluster.folder(turn));
            keys.absent_in("metrics", metrics[turn].as_bytes());
        }
        ids.absent(&cluster.folder(turn));
        ids.absent_in("metrics", metrics[turn].as_bytes());
        words.absent(&cluster.folder(turn));
        rows.absent(&cluster.folder(turn));
        words.absent_in("metrics", metrics[turn].as_bytes());
        rows.absent_in("metrics", metrics[turn].as_bytes());
    }
    // No word is in clear on the nodes that hold it, either; an id is.
    for turn in INSIDE {
        words.absent(&cluster.folder(turn));
        words.absent_in("metrics", metrics[turn].as_bytes());
    }
}

/// What people, programs and operators do, all through one node.
async fn visit(cluster: &Cluster, guest: &Guest, turn: usize, words: &mut Needles) {
    let mut visitor: Browser = browser(cluster, guest, &[turn]);
    let state = format!("canary-state-{turn}-5519");
    let callback = guest.log_in(&mut visitor, &format!("&state={state}")).await;
    words.word("state", &state);
    words.word("code", callback.get("code"));
    for (name, value) in &visitor.cookies {
        words.word(name, value);
    }
    let tokens = guest.redeem(cluster, turn, &callback).await;
    let refresh = tokens.text("refresh_token");
    let next = guest.refresh(cluster, turn, &refresh).await.unwrap().expect(StatusCode::OK);
    let access = next.text("access_token");
    for (name, token) in [
        ("refresh token", refresh),
        ("next one", next.text("refresh_token")),
        ("access token", access.clone()),
    ] {
        words.word(name, &token);
    }
    let shown = guest.introspect(cluster, turn, &access).await.expect(StatusCode::OK);
    assert_eq!(shown.body["active"], true, "{}", shown.body);
    let userinfo = guest.fetch(cluster, turn, "/oauth2/userinfo", Some(&access)).await.expect(StatusCode::OK);
    // The needles are what is really there.
    assert_eq!(userinfo.text("email"), "canary.mail@quetzal.example");
    assert_eq!(userinfo.text("name"), "Zephyrine Canarybird");
    let admin = |method, path, body| guest.admin(cluster, turn, method, path, None, body);
    let user = format!("/users/{}", guest.user);
    let found = admin(Method::GET, &user, None).await.unwrap().expect(StatusCode::OK);
    assert_eq!(found.text("username"), "canary-zephyrine");
    // What is refused is told without the words as well.
    let twin = json!({"username": "canary-zephyrine", "password": "canary passphrase 7191"});
    admin(Method::POST, "/users", Some(&twin)).await.unwrap().expect(StatusCode::CONFLICT);
    guest.refresh(cluster, turn, "rt_canary-nonsense-8841").await.unwrap().expect(StatusCode::BAD_REQUEST);
    words.word("no token", "rt_canary-nonsense-8841");
}

async fn metrics(cluster: &Cluster) -> Vec<String> {
    let mut out = Vec::new();
    for turn in 0..PLACES.len() {
        let (status, text) = cluster.management(turn, "/metrics").await;
        assert_eq!(status, 200);
        let (_, ready) = cluster.management(turn, "/readyz?verbose").await;
        out.push(text + &ready);
    }
    out
}

/// A scan that finds nothing anywhere shows nothing: words, which nobody keeps in clear, are planted beside
/// an inside node's files; what stands for them is found in the files of every inside node.
fn prove_that_the_scan_finds(cluster: &Cluster, words: &Needles, rows: &Needles) {
    let planted = cluster.folder(0).join("planted");
    std::fs::create_dir(&planted).unwrap();
    words.plant(&planted.join("words"));
    let found = words.found(&planted);
    assert!(words.missing(&found).is_empty(), "planted, not found: {:?}", words.missing(&found));
    std::fs::remove_dir_all(planted).unwrap();
    for turn in INSIDE {
        let folder: &Path = &cluster.folder(turn);
        let missing = rows.missing(&rows.found(folder));
        assert!(missing.is_empty(), "host {turn}: not found inside: {missing:?}");
    }
}
