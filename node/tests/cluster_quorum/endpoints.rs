//! Every endpoint of docs/consistency.md while a quorum is gone.

use std::time::Instant;

use domicile::cluster::{Class, ENDPOINTS, Endpoint};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::ANSWER_MAX;
use crate::cluster_guest::{Guest, Reply};
use crate::cluster_support::{Cluster, TOKEN};

/// Whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// That of the tenant's home. The staleness bound is over.
    Home,
    /// That of the directory.
    Directory,
}

/// What stands in paths.
pub struct Named {
    pub guest: Guest,
    pub session: String,
    pub access_token: String,
    /// A node that is there.
    pub node: u64,
}

impl Named {
    fn path(&self, endpoint: &Endpoint) -> String {
        let id = if endpoint.path.contains("/nodes/") { self.node } else { self.guest.partition };
        endpoint
            .path
            .replace("{tenant}", &self.guest.slug)
            .replace("{slug}", &self.guest.slug)
            .replace("{user_id}", &self.guest.user)
            .replace("{client_id}", &self.guest.client.0)
            .replace("{session_id}", &self.session)
            .replace("{token_id}", "iat_00000000000000000000000000")
            .replace("{name}", "eu-central")
            .replace("{id}", &id.to_string())
    }

    async fn ask(&self, cluster: &Cluster, turn: usize, endpoint: &Endpoint) -> Reply {
        let path = self.path(endpoint);
        let admin = path.starts_with("/v1/") || path == "/openapi.json";
        let door = if admin { cluster.admin(turn) } else { cluster.public(turn) };
        let method = Method::from_bytes(endpoint.method.as_bytes()).unwrap();
        let mut request = cluster.http.request(method.clone(), format!("{door}{path}"));
        if admin {
            request = request.bearer_auth(TOKEN);
            if method != Method::GET {
                request = request.json(&match endpoint.path {
                    "/v1/tenants" => json!({"slug": "third", "display_name": "Third"}),
                    "/v1/join-tokens" => json!({"region": "eu-central"}),
                    _ => json!({}),
                });
            }
        } else if path.ends_with("/userinfo") {
            request = request.bearer_auth(&self.access_token);
        } else if method == Method::POST {
            let (id, secret) = &self.guest.client;
            request = request.basic_auth(id, Some(secret)).form(&[("token", &self.access_token)]);
        }
        let asked = Instant::now();
        let reply = Reply::of(request.send().await.unwrap()).await.unwrap();
        assert!(asked.elapsed() < ANSWER_MAX, "{method} {path} took {:?}", asked.elapsed());
        reply
    }
}

/// What the page says, in terms of what comes back. What is served may be refused for what it says, as an
/// empty form is.
fn fits(endpoint: &Endpoint, gone: Gone, reply: &Reply) -> bool {
    let served = !reply.status.is_server_error();
    let refused = reply.status == StatusCode::SERVICE_UNAVAILABLE && !reply.header("retry-after").is_empty();
    match (endpoint.class, gone) {
        // The home of what names no tenant is the directory. What is asked for changes nothing.
        (Class::Write, Gone::Directory) if endpoint.is_of_directory() => refused,
        (Class::Write, Gone::Home) if endpoint.is_of_directory() => served,
        (Class::Documents | Class::Local, _) => reply.status == StatusCode::OK,
        (Class::Bounded | Class::Read | Class::Write, Gone::Directory) | (Class::Anywhere, Gone::Home) => {
            served
        }
        (Class::Anywhere, Gone::Directory) if endpoint.method == "GET" => served || refused,
        // Taking this node out would cost the tenants their quorum too, and nobody has its place.
        (Class::Anywhere, Gone::Directory)
            if endpoint.path.ends_with("/decommission") || endpoint.path.ends_with("/drain") =>
        {
            refused || reply.status == StatusCode::CONFLICT
        }
        (Class::Bounded | Class::Read | Class::Write, Gone::Home) | (Class::Anywhere, Gone::Directory) => {
            refused
        }
    }
}

/// No tenant is missing: of one whose home does not answer there is what the directory knows.
fn all_are_listed(reply: &Reply, lost: &Guest) {
    let items = reply.body["items"].as_array().unwrap();
    let of = |slug: &str| items.iter().find(|item| item["slug"] == slug);
    let unanswered = of(&lost.slug).unwrap_or_else(|| panic!("{}", reply.body));
    assert_eq!(unanswered["available"], false, "{unanswered}");
    assert_eq!(unanswered["partition"], lost.partition, "{unanswered}");
    assert!(of("kept").is_some_and(|kept| kept["issuer"].is_string()), "{}", reply.body);
}

/// Asks for everything at once and compares with the page.
pub async fn do_what_the_page_says(cluster: &Cluster, turn: usize, named: &Named, gone: Gone) {
    let asked = ENDPOINTS.iter().filter(|endpoint| {
        // These would be done: nodes are what the other partitions stand on; a deletion goes on later.
        let done = endpoint.class == Class::Anywhere && endpoint.path.contains('{');
        // The home of a new tenant is another partition, whose leader may be on the node that stands still.
        let elsewhere = gone == Gone::Home && (endpoint.method, endpoint.path) == ("POST", "/v1/tenants");
        !(done && (gone == Gone::Home || endpoint.path.contains("{slug}")))
            && !elsewhere
            && endpoint.path != "/v1/partitions/{id}/transfer-leader"
            // It is for nodes that have a replica; one of those asked has none.
            && endpoint.path != "/v1/partitions/{id}/snapshot"
    });
    let asked: Vec<&Endpoint> = asked.collect();
    assert!(asked.len() > 50, "{}", asked.len());
    let replies = asked.iter().map(|endpoint| named.ask(cluster, turn, endpoint));
    let replies = futures::future::join_all(replies).await;
    let wrong: Vec<String> = asked
        .iter()
        .zip(&replies)
        .filter(|(endpoint, reply)| !fits(endpoint, gone, reply))
        .map(|(endpoint, reply)| {
            format!(
                "{} {} {:?}: {} {}",
                endpoint.method, endpoint.path, endpoint.class, reply.status, reply.body
            )
        })
        .collect();
    assert!(wrong.is_empty(), "host {turn}, {gone:?} without a quorum:\n{}", wrong.join("\n"));
    if gone == Gone::Home {
        let list = |endpoint: &&Endpoint| (endpoint.method, endpoint.path) == ("GET", "/v1/tenants");
        all_are_listed(&replies[asked.iter().position(list).unwrap()], &named.guest);
    }
}
