//! Every endpoint of docs/consistency.md in each of the situations that the page has a column for.

use std::time::Instant;

use domicile::cluster::{Class, ENDPOINTS, Endpoint};
use futures::future::join_all;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::ANSWER_MAX;
use crate::cluster_guest::{Guest, Reply};
use crate::cluster_support::{Cluster, TOKEN};
use crate::consistency_page::{SITUATIONS, Says, says};

/// What is out of reach, in the order of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The leader of the tenant's home, since a moment ago.
    Leader,
    /// The quorum of the tenant's home. The staleness bound is over.
    Home,
    /// All of the home's regions, seen from elsewhere. The bound is over, and no replica is on this side.
    Regions,
    /// The quorum of the directory.
    Directory,
}

/// What stands in requests.
pub struct Named {
    pub guest: Guest,
    /// What the guest's tenant was created with.
    pub placement: Value,
    pub session: String,
    pub access_token: String,
    /// Of a write that every replica of the home has which is there.
    pub seen: String,
    /// A node that is there.
    pub node: u64,
}

/// What is asked.
struct Asked {
    endpoint: &'static Endpoint,
    /// Whether it names a write.
    with_token: bool,
}

/// Where, and for which tenant that is to be made.
struct At<'a> {
    cluster: &'a Cluster,
    http: &'a Client,
    turn: usize,
    new: String,
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

    async fn ask(&self, at: &At<'_>, asked: &Asked) -> Reply {
        let endpoint = asked.endpoint;
        let path = self.path(endpoint);
        let admin = path.starts_with("/v1/") || path == "/openapi.json";
        let door = if admin { at.cluster.admin(at.turn) } else { at.cluster.public(at.turn) };
        let method = Method::from_bytes(endpoint.method.as_bytes()).unwrap();
        let mut request = at.http.request(method.clone(), format!("{door}{path}"));
        if admin {
            request = request.bearer_auth(TOKEN);
            if asked.with_token {
                request = request.header("domicile-consistency", &self.seen);
            }
            if method != Method::GET {
                request = request.json(&match endpoint.path {
                    "/v1/tenants" => {
                        json!({"slug": at.new, "display_name": "New", "placement": self.placement})
                    }
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
        let began = Instant::now();
        let reply = Reply::of(request.send().await.unwrap()).await.unwrap();
        assert!(began.elapsed() < ANSWER_MAX, "{method} {path} took {:?}", began.elapsed());
        reply
    }
}

/// What is served may be refused for what it says, as an empty form is.
fn is_served(endpoint: &Endpoint, reply: &Reply) -> bool {
    match endpoint.class {
        Class::Documents | Class::Local => reply.status.is_success(),
        Class::Bounded | Class::Read | Class::Write | Class::Anywhere => !reply.status.is_server_error(),
    }
}

/// What the page says, in terms of what comes back.
fn fits(asked: &Asked, gone: Gone, reply: &Reply) -> bool {
    let endpoint = asked.endpoint;
    let served = is_served(endpoint, reply);
    let refused = reply.status == StatusCode::SERVICE_UNAVAILABLE && !reply.header("retry-after").is_empty();
    if endpoint.is_of_directory() && gone != Gone::Directory {
        // The home of what names no tenant is the directory, which lacks nothing. What is asked for changes nothing.
        return served;
    }
    match says(endpoint.class.name(), SITUATIONS[gone as usize]) {
        Says::Served => served,
        Says::ServedByNextLeader => served || refused,
        Says::Refused => refused,
        Says::ServedWithToken => {
            let reached = asked.with_token && gone == Gone::Home;
            if reached { served } else { refused }
        }
        Says::RefusedWhereHomeIsNeeded => {
            if makes_a_tenant(endpoint) {
                refused
            } else {
                served
            }
        }
        Says::RefusedOfDirectory => {
            if endpoint.is_of_directory() {
                refused
            } else {
                served
            }
        }
        Says::ChangesRefused => refused || (endpoint.method == "GET" && served),
    }
}

fn makes_a_tenant(endpoint: &Endpoint) -> bool {
    (endpoint.method, endpoint.path) == ("POST", "/v1/tenants")
}

/// Everything that can be asked then and leaves the cluster as it is.
fn all_that_is_asked(gone: Gone) -> Vec<Asked> {
    let endpoints = ENDPOINTS.iter().filter(|endpoint| {
        // These would be done: nodes are what the other partitions stand on; a deletion goes on later.
        let deletes = endpoint.class == Class::Anywhere && endpoint.path.contains("{slug}");
        let moves = endpoint.path.starts_with("/v1/nodes/{id}/") && gone != Gone::Directory;
        !(deletes || moves)
            && endpoint.path != "/v1/partitions/{id}/transfer-leader"
            // These are for nodes that have a replica; one of those asked has none.
            && endpoint.path != "/v1/partitions/{id}/digest"
            && endpoint.path != "/v1/partitions/{id}/snapshot"
    });
    let mut all: Vec<Asked> = endpoints.map(|endpoint| Asked { endpoint, with_token: false }).collect();
    assert!(all.len() > 50, "{}", all.len());
    if matches!(gone, Gone::Home | Gone::Regions) {
        let reads = ENDPOINTS.iter().filter(|endpoint| endpoint.class == Class::Read);
        let of_operators = reads.filter(|endpoint| endpoint.path.starts_with("/v1/"));
        all.extend(of_operators.map(|endpoint| Asked { endpoint, with_token: true }));
    }
    all
}

/// A redirect is an answer; where it leads may be what is gone.
fn client() -> Client {
    Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

fn described(asked: &Asked, reply: &Reply) -> String {
    let Asked { endpoint, with_token } = asked;
    let Endpoint { method, path, class, .. } = endpoint;
    let with = if *with_token { " with a token" } else { "" };
    format!("{method} {path}{with} {class:?}: {} {}", reply.status, reply.body)
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

/// What came back otherwise than it should.
fn unfit(all: &[Asked], replies: &[Reply], fits: impl Fn(&Asked, &Reply) -> bool) -> String {
    let answered = all.iter().zip(replies);
    let unfit = answered.filter(|&(asked, reply)| !fits(asked, reply));
    let lines: Vec<String> = unfit.map(|(asked, reply)| described(asked, reply)).collect();
    lines.join("\n")
}

/// Asks for everything at once and compares with the page.
pub async fn do_what_the_page_says(cluster: &Cluster, turn: usize, named: &Named, gone: Gone) {
    let (http, all) = (client(), all_that_is_asked(gone));
    let at = At { cluster, http: &http, turn, new: format!("new-{turn}-{}", gone as usize) };
    let replies = join_all(all.iter().map(|asked| named.ask(&at, asked))).await;
    let wrong = unfit(&all, &replies, |asked, reply| fits(asked, gone, reply));
    assert!(wrong.is_empty(), "host {turn}, {gone:?} gone:\n{wrong}");
    if matches!(gone, Gone::Home | Gone::Regions) {
        let lists = |asked: &Asked| (asked.endpoint.method, asked.endpoint.path) == ("GET", "/v1/tenants");
        all_are_listed(&replies[all.iter().position(lists).unwrap()], &named.guest);
    }
}

/// Asks for everything at once right after the home's leader was lost, half of it at one host and half at the
/// other, and compares with the page; once another leads, the other way around, and then all of it is served.
pub async fn do_what_the_page_says_of_a_lost_leader(
    cluster: &Cluster,
    turns: [usize; 2],
    named: &Named,
    led_again: impl Future<Output = ()>,
) {
    let (http, all) = (client(), all_that_is_asked(Gone::Leader));
    let at = turns.map(|turn| At { cluster, http: &http, turn, new: "new-leader".to_owned() });
    let replies = halves(named, &at, &all, 0).await;
    let wrong = unfit(&all, &replies, |asked, reply| fits(asked, Gone::Leader, reply));
    assert!(wrong.is_empty(), "hosts {turns:?}, right after the leader was lost:\n{wrong}");
    led_again.await;
    let replies = halves(named, &at, &all, 1).await;
    let wrong = unfit(&all, &replies, |asked, reply| is_served(asked.endpoint, reply));
    assert!(wrong.is_empty(), "hosts {turns:?}, with the next leader:\n{wrong}");
}

/// Each at one of two hosts in turn, beginning with the `first`.
async fn halves(named: &Named, at: &[At<'_>; 2], all: &[Asked], first: usize) -> Vec<Reply> {
    let asked = all.iter().enumerate().map(|(turn, asked)| named.ask(&at[(first + turn) % 2], asked));
    join_all(asked).await
}
