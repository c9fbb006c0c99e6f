//! Clients at work: they create users with idempotency keys and exchange refresh tokens, and ask the next
//! host with the same words when one does not answer or says 503.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::cluster_guest::{Guest, Reply, browser};
use crate::cluster_support::{Cluster, Doors};

const CREATORS: usize = 2;
const REFRESHERS: usize = 2;
/// A failover takes a part of it.
const PROGRESS_MAX: Duration = Duration::from_mins(1);
/// Between two tries, so that those who wait do not take the processor from those who elect.
const PAUSE: Duration = Duration::from_millis(20);

struct Shared {
    /// What the login names of its users begin with.
    prefix: String,
    doors: Doors,
    guest: Guest,
    hosts: Vec<usize>,
    ended: AtomicBool,
    /// What each client finished.
    steps: Vec<AtomicU64>,
}

/// Running clients.
pub struct Load {
    shared: Arc<Shared>,
    creators: Vec<JoinHandle<Worked>>,
    refreshers: Vec<JoinHandle<Worked>>,
}

/// What one client was told.
#[derive(Default)]
struct Worked {
    /// Login name by id of the users that were made.
    users: BTreeMap<String, String>,
    /// The tokens that it has now.
    refresh: Option<String>,
    access: Option<String>,
    longest: Duration,
    /// Answers that a client which only repeats refused connections would have shown as failures.
    failures: Vec<String>,
}

/// What all were told.
pub struct Done {
    prefix: String,
    pub users: BTreeMap<String, String>,
    tokens: Vec<(String, String)>,
    /// The longest that anything took, all tries together.
    pub longest: Duration,
    /// Every answer but the wanted one, and every connection that broke; refused ones do not count when
    /// the next try went well.
    pub failures: Vec<String>,
}

impl Load {
    /// Each client has done something when this returns.
    pub async fn start(cluster: &Cluster, guest: &Guest, hosts: &[usize]) -> Self {
        static LOADS: AtomicU64 = AtomicU64::new(1);
        let doors: Doors = (**cluster).clone();
        let shared = Arc::new(Shared {
            prefix: format!("load{}-", LOADS.fetch_add(1, Ordering::Relaxed)),
            doors,
            guest: guest.clone(),
            hosts: hosts.to_vec(),
            ended: AtomicBool::new(false),
            steps: (0..CREATORS + REFRESHERS).map(|_| AtomicU64::new(0)).collect(),
        });
        let creators = (0..CREATORS).map(|turn| tokio::spawn(create(shared.clone(), turn))).collect();
        let mut refreshers = Vec::new();
        for turn in CREATORS..CREATORS + REFRESHERS {
            let callback = guest.log_in(&mut browser(cluster, guest, hosts), "").await;
            let tokens = guest.redeem(cluster, hosts[0], &callback).await;
            let token = tokens.text("refresh_token");
            refreshers.push(tokio::spawn(refresh(shared.clone(), turn, token)));
        }
        let mut load = Self { shared, creators, refreshers };
        load.goes_on(1).await;
        load
    }

    /// Until every client has done `more` things from now on.
    pub async fn goes_on(&mut self, more: u64) {
        let steps = || self.shared.steps.iter().map(|steps| steps.load(Ordering::Relaxed));
        let wanted: Vec<u64> = steps().map(|done| done + more).collect();
        let working = async {
            while !steps().zip(&wanted).all(|(done, wanted)| done >= *wanted) {
                tokio::time::sleep(PAUSE).await;
                let all = self.creators.iter().chain(&self.refreshers);
                assert!(!all.into_iter().any(JoinHandle::is_finished), "a client gave up");
            }
        };
        tokio::time::timeout(PROGRESS_MAX, working).await.unwrap_or_else(|_| panic!("no progress"));
    }

    pub async fn stop(self) -> Done {
        self.shared.ended.store(true, Ordering::Relaxed);
        let mut done = Done {
            prefix: self.shared.prefix.clone(),
            users: BTreeMap::new(),
            tokens: Vec::new(),
            longest: Duration::ZERO,
            failures: Vec::new(),
        };
        for client in self.creators.into_iter().chain(self.refreshers) {
            let worked = client.await.unwrap();
            done.users.extend(worked.users);
            done.tokens.extend(worked.refresh.zip(worked.access));
            done.longest = done.longest.max(worked.longest);
            done.failures.extend(worked.failures);
        }
        done
    }
}

impl Done {
    /// Everything that was answered is there, once, whichever host is asked.
    pub async fn holds(&self, doors: &Doors, guest: &Guest, hosts: &[usize]) {
        for turn in hosts {
            let there = everyone(doors, guest, *turn).await;
            for (id, name) in &self.users {
                assert_eq!(there.get(id), Some(name), "host {turn}");
            }
            let made = there.values().filter(|name| name.starts_with(&self.prefix)).count();
            assert_eq!(made, self.users.len(), "host {turn} has users that nobody was told of");
        }
        for (refresh, access) in &self.tokens {
            let shown = guest.introspect(doors, hosts[0], access).await;
            assert_eq!(shown.body["active"], true, "{} {}", shown.status, shown.body);
            guest.refresh(doors, hosts[0], refresh).await.unwrap().expect(StatusCode::OK);
        }
    }
}

async fn everyone(doors: &Doors, guest: &Guest, turn: usize) -> BTreeMap<String, String> {
    let (mut out, mut token) = (BTreeMap::new(), String::new());
    loop {
        let path = format!("/users?page_size=100{token}");
        let page =
            guest.admin(doors, turn, Method::GET, &path, None, None).await.unwrap().expect(StatusCode::OK);
        for user in page.body["items"].as_array().unwrap() {
            let text = |name: &str| user[name].as_str().unwrap().to_owned();
            out.insert(text("id"), text("username"));
        }
        match page.body["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => return out,
        }
    }
}

async fn create(shared: Arc<Shared>, client: usize) -> Worked {
    let mut worked = Worked::default();
    for turn in 0_usize.. {
        if shared.ended.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{}{client}-{turn}", shared.prefix);
        let made = shared.persist(&mut worked, client + turn, &Wish::User(&name)).await;
        let before = worked.users.insert(made.text("id"), name.clone());
        assert_eq!(before, None, "{name}");
        shared.steps[client].fetch_add(1, Ordering::Relaxed);
    }
    worked
}

async fn refresh(shared: Arc<Shared>, client: usize, first: String) -> Worked {
    let mut worked = Worked::default();
    let mut token = first;
    for turn in 0_usize.. {
        if shared.ended.load(Ordering::Relaxed) {
            break;
        }
        // The same token again gives the same successor for a while: the client's way to repeat.
        let next = shared.persist(&mut worked, client + turn, &Wish::Tokens(&token)).await;
        token = next.text("refresh_token");
        worked.access = Some(next.text("access_token"));
        worked.refresh = Some(token.clone());
        shared.steps[client].fetch_add(1, Ordering::Relaxed);
    }
    worked
}

/// What a client wants.
enum Wish<'a> {
    /// A user of this name, which is the key as well.
    User(&'a str),
    /// The successor of this refresh token.
    Tokens(&'a str),
}

impl Shared {
    async fn ask(&self, host: usize, wish: &Wish<'_>) -> Result<Reply, reqwest::Error> {
        match wish {
            Wish::User(name) => {
                // Without a password: its hash would be most of the work.
                let body = json!({"username": name});
                self.guest.admin(&self.doors, host, Method::POST, "/users", Some(name), Some(&body)).await
            }
            Wish::Tokens(token) => self.guest.refresh(&self.doors, host, token).await,
        }
    }

    /// Asks one host after another until one does it.
    async fn persist(&self, worked: &mut Worked, first: usize, wish: &Wish<'_>) -> Reply {
        let wanted = match wish {
            Wish::User(_) => StatusCode::CREATED,
            Wish::Tokens(_) => StatusCode::OK,
        };
        let began = Instant::now();
        let mut refused = 0;
        for turn in first.. {
            let host = self.hosts[turn % self.hosts.len()];
            match self.ask(host, wish).await {
                Ok(reply) if reply.status == wanted => {
                    worked.longest = worked.longest.max(began.elapsed());
                    return reply;
                }
                Ok(reply) => {
                    let told = format!("host {host}: {} {}", reply.status, reply.body);
                    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{told}");
                    worked.failures.push(told);
                }
                Err(error) if error.is_connect() && refused == 0 => refused += 1,
                Err(error) => worked.failures.push(format!("host {host}: {error:?}")),
            }
            assert!(began.elapsed() < PROGRESS_MAX, "nobody does it: {:?}", worked.failures);
            tokio::time::sleep(PAUSE).await;
        }
        unreachable!("numbers do not end")
    }
}
