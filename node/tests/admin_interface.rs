//! What all routes of the admin API have in common.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod admin_support;
mod oidc_support;

use admin_support::Caller;
use oidc_support::node;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn rfc6750_s3_every_described_route_is_served_and_only_with_the_token() {
    let caller = Caller::new().await;
    let document = caller.send_open(Method::GET, "/openapi.json").await.expect(200).json;
    let mut seen = 0;
    for (template, item) in document["paths"].as_object().unwrap() {
        let path = template.replace("{slug}", "nobody").replace(['{', '}'], "");
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let refused = caller.send_open(method.clone(), &path).await.problem(401, "unauthorized");
            assert_eq!(refused.header("www-authenticate"), "Bearer realm=\"domicile\"", "{method} {path}");
            let answered = caller.send(method.clone(), &path, &[], None).await;
            assert!(![401, 405].contains(&answered.status), "{method} {path}: {answered:?}");
            assert_eq!(answered.header("cache-control"), "no-store", "{method} {path}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

#[tokio::test]
async fn what_is_not_there_or_not_offered_is_a_problem() {
    let caller = Caller::new().await;
    caller.get("/v1/nothing").await.problem(404, "not-found");
    caller.send_open(Method::GET, "/v1/nothing").await.problem(401, "unauthorized");
    caller.send(Method::PUT, "/v1/tenants", &[], None).await.problem(405, "method-not-allowed");
    for path in ["", "/users", "/clients", "/events", "/keys", "/users/usr_1", "/events/export"] {
        caller.get(&format!("/v1/tenants/nobody{path}")).await.problem(404, "not-found");
    }
    let unused = "0".repeat(26);
    for path in [
        "/users/usr_1".to_owned(),
        format!("/users/usr_{unused}"),
        format!("/users/cli_{unused}"),
        format!("/clients/cli_{unused}"),
        "/clients/no-such-client".to_owned(),
    ] {
        caller.get(&caller.at(&path)).await.problem(404, "not-found");
    }
    caller.delete(&caller.at(&format!("/sessions/ses_{unused}"))).await.problem(404, "not-found");
}

#[tokio::test]
async fn bodies_are_json_objects_within_bounds() {
    let caller = Caller::new().await;
    let users = caller.at("/users");
    let post = |content_type, body: &[u8]| caller.post_raw(&users, content_type, body.to_vec());
    post("text/plain", b"{}").await.problem(415, "unsupported-media-type");
    post("application/x-www-form-urlencoded", b"username=a").await.problem(415, "unsupported-media-type");
    post("application/json", b"{").await.problem(400, "bad-request");
    post("application/json", b"[]").await.problem(400, "bad-request");
    post("application/json", b"").await.problem(400, "bad-request");
    let plain = post("text/plain", b"{}").await;
    assert_eq!((plain.header("accept"), plain.header("accept-patch")), ("application/json", ""));

    let (patch, body) = (Method::PATCH, json!({ "display_name": "Demo" }));
    let headers = [("content-type", "application/merge-patch+json")];
    let merge = caller.send(patch.clone(), &caller.at(""), &headers, None).await;
    assert_eq!(merge.problem(415, "unsupported-media-type").header("accept-patch"), "application/json");
    let coded = caller.send(patch, &caller.at(""), &[("content-encoding", "gzip")], Some(&body)).await;
    assert_eq!(coded.problem(415, "unsupported-media-type").header("accept-encoding"), "identity");
}

/// Said from the head alone: the body is never sent, so that the answer cannot be lost with it.
#[tokio::test]
async fn a_body_that_says_it_is_too_long_is_refused_before_it_is_read() {
    let ready = &node::shared().await.ready;
    let address = ready.admin_url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/tenants HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 1000000000\r\n\r\n",
        ready.admin_token
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut status_line = [0_u8; 12];
    connection.read_exact(&mut status_line).await.unwrap();
    assert_eq!(&status_line, b"HTTP/1.1 413");
}

#[tokio::test]
async fn page_parameters_are_checked() {
    let caller = Caller::new().await;
    for query in ["page_size=0", "page_size=-1", "page_size=x", "page_token=!!!", "size=1"] {
        caller.get(&caller.at(&format!("/users?{query}"))).await.problem(400, "bad-request");
    }
    caller.get(&caller.at("/users?page_size=100000")).await.expect(200);
}

#[tokio::test]
async fn a_page_token_is_good_for_its_own_list_only() {
    let caller = Caller::new().await;
    for username in ["page-one", "page-two"] {
        caller.post(&caller.at("/users"), json!({ "username": username })).await.expect(201);
    }
    let first = caller.get(&caller.at("/users?page_size=1")).await.expect(200);
    let token = first.text_of("next_page_token");
    caller.get(&caller.at(&format!("/users?page_token={token}"))).await.expect(200);
    for list in ["/clients", "/events", "/initial-access-tokens"] {
        let elsewhere = caller.get(&caller.at(&format!("{list}?page_token={token}"))).await;
        elsewhere.problem(400, "bad-request");
    }
    for list in ["/v1/tenants", "/v1/nodes"] {
        caller.get(&format!("{list}?page_token={token}")).await.problem(400, "bad-request");
    }
    caller.post("/v1/tenants", json!({ "slug": "other-pages" })).await.expect(201);
    let elsewhere = caller.get(&format!("/v1/tenants/other-pages/users?page_token={token}")).await;
    elsewhere.problem(400, "bad-request");
}

#[tokio::test]
async fn an_idempotency_key_does_a_request_once() {
    let caller = Caller::new().await;
    let users = caller.at("/users");
    let body = json!({ "username": "once", "email": "once@example.org" });
    let headers = [("idempotency-key", "admin-test-1")];
    let first = caller.send(Method::POST, &users, &headers, Some(&body)).await.expect(201);
    let again = caller.send(Method::POST, &users, &headers, Some(&body)).await.expect(201);
    assert_eq!(first.json, again.json);
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));

    let other = json!({ "username": "twice", "email": "twice@example.org" });
    let mismatch = caller.send(Method::POST, &users, &headers, Some(&other)).await;
    mismatch.problem(422, "idempotency-mismatch");
    let long = "k".repeat(256);
    let unusable = caller.send(Method::POST, &users, &[("idempotency-key", &long)], Some(&other)).await;
    unusable.problem(400, "bad-request");
}

#[tokio::test]
async fn a_change_under_conditions_that_is_sent_again_with_its_key_is_applied_once() {
    let caller = Caller::new().await;
    let created = caller.post(&caller.at("/users"), json!({ "username": "repeated" })).await.expect(201);
    let user = caller.at(&format!("/users/{}", created.text_of("id")));
    for (turn, condition) in ["if-none-match", "if-match"].into_iter().enumerate() {
        let had = caller.get(&user).await.expect(200).header("etag").to_owned();
        // The second holds no more once it was applied.
        let value = if condition == "if-match" { format!("\"99\", {had}") } else { "\"99\"".to_owned() };
        let key = format!("conditional-{turn}");
        let headers = [("idempotency-key", key.as_str()), (condition, value.as_str())];
        let change = json!({ "nickname": format!("n{turn}") });
        let patch = async || caller.send(Method::PATCH, &user, &headers, Some(&change)).await.expect(200);
        let (first, again) = (patch().await, patch().await);
        assert_eq!(first.json, again.json, "{condition}");
        assert_eq!(
            (first.header("idempotency-replayed"), again.header("idempotency-replayed")),
            ("", "true")
        );
        let now = caller.get(&user).await.expect(200);
        assert_eq!((now.header("etag"), &now.json), (first.header("etag"), &first.json));
        assert_ne!(now.header("etag"), had);
    }
}

#[tokio::test]
async fn a_deletion_that_is_sent_again_with_its_key_spares_the_next_tenant_of_that_name() {
    let caller = Caller::new().await;
    let new = json!({ "slug": "one-name-two-lives" });
    let (path, key) = ("/v1/tenants/one-name-two-lives", [("idempotency-key", "delete-once")]);
    caller.post("/v1/tenants", new.clone()).await.expect(201);
    let first = caller.send(Method::DELETE, path, &key, None).await.expect(204);
    let again = caller.send(Method::DELETE, path, &key, None).await.expect(204);
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    let next = caller.post("/v1/tenants", new).await.expect(201);
    caller.send(Method::DELETE, path, &key, None).await.expect(204);
    assert_eq!(caller.get(path).await.expect(200).json["id"], next.json["id"]);
    caller.delete(path).await.expect(204);
    caller.delete(path).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_read_with_a_writes_token_sees_the_write() {
    let caller = Caller::new().await;
    let created = caller.post(&caller.at("/users"), json!({ "username": "fresh" })).await.expect(201);
    let token = created.header("domicile-consistency").to_owned();
    assert!(!token.is_empty());
    let user = caller.at(&format!("/users/{}", created.text_of("id")));
    let read = caller.send(Method::GET, &user, &[("domicile-consistency", &token)], None).await.expect(200);
    assert_eq!(read.json, created.json);
    let foreign = caller.send(Method::GET, &user, &[("domicile-consistency", "nonsense")], None).await;
    foreign.problem(400, "bad-request");
}

#[tokio::test]
async fn the_cluster_shows_its_node_and_both_partitions() {
    let caller = Caller::new().await;
    let cluster = caller.get("/v1/cluster").await.expect(200).json;
    let node = cluster["nodes"][0]["id"].as_u64().unwrap();
    let partitions = cluster["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 2, "{cluster}");
    for (place, partition) in partitions.iter().enumerate() {
        assert_eq!(partition["id"], place, "{partition}");
        assert_eq!(partition["leader"], node, "{partition}");
        assert_eq!(partition["voters"], json!([node]), "{partition}");
        assert_eq!(partition["learners"], json!([]), "{partition}");
        assert!(partition["term"].as_u64().unwrap() > 0, "{partition}");
        let (applied, committed) =
            (partition["applied"].as_u64().unwrap(), partition["committed"].as_u64().unwrap());
        assert!(0 < applied && applied <= committed, "{partition}");
        assert_eq!(partition["health"]["state"], "running", "{partition}");
    }
}
