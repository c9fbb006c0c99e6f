//! A node whose clock is wrong, by libfaketime (Debian `faketime`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cluster_guest::{Guest, ada, browser};
use crate::cluster_support::{Cluster, LOOK, partition, whole};
use crate::{alone, zones};

const WRONG: usize = 1;
const ALL: [usize; 3] = [0, 1, 2];
/// Far less than the hour, and more than any step takes.
const NEAR: Duration = Duration::from_mins(3);
const TELL_MAX: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_is_an_hour_off_gives_up_leadership_and_poisons_nothing() {
    let Some(library) = libfaketime() else {
        let required = std::env::var("DOMICILE_TOOLS").is_ok_and(|value| value == "required");
        assert!(!required, "libfaketime is not installed (Debian's `faketime`)");
        eprintln!("SKIPPED: it needs libfaketime (Debian's `faketime`)");
        return;
    };
    let _one = alone().await;
    let mut cluster = Cluster::hosts(&["eu-central/a", "eu-central/b", "eu-central/c"]);
    let clock = faked(&mut cluster, &library);
    shows(&clock, "+0");
    cluster.assemble().await;
    let guest = Guest::create(&cluster, "acme", &zones(), 3, &ada()).await;
    let seen = cluster.until(0, |seen| whole(seen, guest.partition)).await;
    let wrong = cluster.node_of(&seen, WRONG);
    led_by(&cluster, &guest, wrong).await;
    let mut visitor = browser(&cluster, &guest, &ALL);
    let callback = guest.log_in(&mut visitor, "").await;
    let tokens = guest.redeem(&cluster, WRONG, &callback).await;
    created(&cluster, &guest, WRONG, "before").await;

    // It runs, and leads, when the clock jumps.
    shows(&clock, "+3600");
    leads_nothing(&cluster, wrong).await;
    says(&cluster, "the clock is").await;
    for turn in ALL {
        created(&cluster, &guest, turn, &format!("during-{turn}")).await;
        let shown = guest.introspect(&cluster, turn, &tokens.text("access_token")).await;
        assert_eq!(shown.expect(StatusCode::OK).body["active"], true, "host {turn}");
    }
    guest.go_on(&mut visitor).await;
    let tokens = guest.refresh(&cluster, WRONG, &tokens.text("refresh_token")).await.unwrap();
    let tokens = tokens.expect(StatusCode::OK);

    // It starts with the wrong clock, and one of the two others is gone: only the third may lead.
    assert_eq!(cluster.stop(WRONG).await, Some(0));
    cluster.start(WRONG);
    says(&cluster, "the clock is").await;
    cluster.until(0, |seen| whole(seen, guest.partition)).await;
    let gone = guest.voters(&cluster, 0).await[0];
    let left = ALL.into_iter().find(|turn| ![WRONG, gone].contains(turn)).unwrap();
    cluster.kill(gone);
    let third = cluster.node_of(&seen, left);
    cluster.until(left, |seen| partition(seen, guest.partition)["leader"] == third).await;
    created(&cluster, &guest, left, "after").await;
    cluster.start(gone);
    cluster.ready(gone).await;

    // Put right, it is as good as the others.
    shows(&clock, "+0");
    cluster.ready(WRONG).await;
    cluster.until(0, |seen| whole(seen, guest.partition)).await;
    led_by(&cluster, &guest, wrong).await;
    created(&cluster, &guest, WRONG, "again").await;
    let shown = guest.introspect(&cluster, WRONG, &tokens.text("access_token")).await;
    assert_eq!(shown.expect(StatusCode::OK).body["active"], true);
}

fn libfaketime() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    libraries.find(|path| path.exists())
}

/// Has the host's wall clock follow the file that this gives; its monotonic clock stays.
fn faked(cluster: &mut Cluster, library: &Path) -> PathBuf {
    let file = cluster.folder(WRONG).join("clock");
    cluster.set(WRONG, "LD_PRELOAD", library.to_str().unwrap());
    cluster.set(WRONG, "FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap());
    for (name, value) in
        [("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("FAKETIME_CACHE_DURATION", "1"), ("NO_FAKE_STAT", "1")]
    {
        cluster.set(WRONG, name, value);
    }
    file
}

fn shows(clock: &Path, offset: &str) {
    let fresh = clock.with_extension("new");
    std::fs::write(&fresh, format!("{offset}\n")).unwrap();
    std::fs::rename(fresh, clock).unwrap();
}

/// Orders the node to lead the tenant's partition, until it does.
async fn led_by(cluster: &Cluster, guest: &Guest, node: u64) {
    let path = format!("/v1/partitions/{}/transfer-leader", guest.partition);
    let moving = async {
        while cluster.post(0, &path, &json!({"to": node})).await.is_err() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(TELL_MAX, moving).await.expect("it does not come to lead");
    cluster.until(0, |seen| partition(seen, guest.partition)["leader"] == node).await;
}

async fn leads_nothing(cluster: &Cluster, node: u64) {
    cluster
        .until(0, |seen| {
            let partitions = seen["partitions"].as_array().unwrap();
            partitions.iter().all(|one| one["leader"].is_u64() && one["leader"] != node)
        })
        .await;
}

/// Until its readiness says so.
async fn says(cluster: &Cluster, words: &str) {
    let url = format!("http://{}/readyz?verbose", cluster.at(cluster.hosts[WRONG].management));
    let saying = async {
        loop {
            if let Ok(answer) = cluster.http.get(&url).send().await
                && answer.status() == StatusCode::SERVICE_UNAVAILABLE
                && answer.text().await.unwrap().contains(words)
            {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(TELL_MAX, saying).await.expect("it does not say so");
}

/// Makes a user; what it says of the time is log time.
async fn created(cluster: &Cluster, guest: &Guest, turn: usize, name: &str) {
    let user = json!({"username": name});
    let making = async {
        loop {
            let made =
                guest.admin(cluster, turn, Method::POST, "/users", Some(name), Some(&user)).await.unwrap();
            if made.status == StatusCode::CREATED {
                return made;
            }
            assert_eq!(made.status, StatusCode::SERVICE_UNAVAILABLE, "{}", made.body);
            tokio::time::sleep(LOOK).await;
        }
    };
    let made = tokio::time::timeout(TELL_MAX, making).await.expect("nobody takes the write");
    near_now(&made.body["created_at"]);
}

fn near_now(told: &Value) {
    let told = OffsetDateTime::parse(told.as_str().unwrap(), &Rfc3339).unwrap();
    let away = (told - OffsetDateTime::now_utc()).abs();
    assert!(away < NEAR, "log time is {told}");
}
