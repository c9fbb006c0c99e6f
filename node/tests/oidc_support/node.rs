//! The real binary, started as a person starts it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// A debug build makes its RSA key before it serves; on a busy machine that takes a while.
const START_MAX: Duration = Duration::from_mins(2);

/// Refused requests are what many tests make: only errors are worth a line among their output.
const LOG_FILTER: (&str, &str) = ("DOMICILE__LOG__FILTER", "error");

/// What the ready file says.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Ready {
    pub issuer: String,
    pub public_url: String,
    pub admin_url: String,
    pub management_url: String,
    pub admin_token: String,
    pub tenant: String,
    pub client_id: String,
    pub client_secret: String,
    pub redirect_uris: Vec<String>,
    pub username: String,
    pub password: String,
    pub pid: u32,
}

/// A node that lives as long as this value.
pub struct Node {
    pub ready: Ready,
    child: Child,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Node {
    /// Starts one on `data_dir`, at `listen`.
    pub async fn start(data_dir: &Path, listen: &str) -> Self {
        Self::start_with(data_dir, listen, &[]).await
    }

    /// The same with settings in its environment.
    pub async fn start_with(data_dir: &Path, listen: &str, settings: &[(&str, &str)]) -> Self {
        let ready_file = data_dir.join("ready.json");
        let _ = std::fs::remove_file(&ready_file);
        let mut command = Command::new(env!("CARGO_BIN_EXE_domicile"));
        command.args(arguments(&data_dir.join("data"), listen, &ready_file));
        command.envs(settings.iter().copied());
        let mut child = command
            .env(LOG_FILTER.0, LOG_FILTER.1)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let ready = ready(&ready_file, &mut child).await;
        Self { ready, child }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn arguments(data_dir: &Path, listen: &str, ready_file: &Path) -> Vec<PathBuf> {
    let flag = PathBuf::from;
    let data_dir = data_dir.to_path_buf();
    let ready_file = ready_file.to_path_buf();
    vec![
        flag("dev"),
        flag("--data-dir"),
        data_dir,
        flag("--listen"),
        flag(listen),
        flag("--ready-file"),
        ready_file,
    ]
}

/// Waits until the file says that the node serves.
async fn ready(file: &Path, child: &mut Child) -> Ready {
    let mut poll = tokio::time::interval(Duration::from_millis(10));
    let waiting = async {
        loop {
            poll.tick().await;
            let known = std::fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if let Some(ready) = known {
                return ready;
            }
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the node ended before it served: {status}");
            }
        }
    };
    tokio::time::timeout(START_MAX, waiting).await.expect("the node does not serve")
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();

/// The node that all tests of a file share, with its clients and users.
pub struct Shared {
    pub ready: Ready,
    /// A person with every standard claim.
    pub person: Person,
    /// `client_secret_basic`.
    pub basic: Registered,
    /// Another `client_secret_basic`.
    pub other: Registered,
    /// `client_secret_post`.
    pub post: Registered,
    _watched: Child,
}

/// Who can log in.
#[derive(Clone, Debug)]
pub struct Person {
    pub username: String,
    pub password: String,
}

/// A client as its registration answered.
#[derive(Clone, Debug)]
pub struct Registered {
    pub client_id: String,
    pub client_secret: String,
}

/// Where the test clients expect their answers. Nothing listens there: the browser stops before.
pub const CALLBACK: &str = "https://rp.example.org/callback";
/// Where they are after logout.
pub const LOGGED_OUT: &str = "https://rp.example.org/bye";

/// The shared node. It ends with the test process: a shell waits for the end of a pipe that this
/// process holds, then kills it and removes its directory.
pub async fn shared() -> &'static Shared {
    shared_with(&[]).await
}

/// The same with settings in its environment. Whoever comes first says which.
pub async fn shared_with(settings: &[(&str, &str)]) -> &'static Shared {
    SHARED.get_or_init(|| start_shared(settings)).await
}

async fn start_shared(settings: &[(&str, &str)]) -> Shared {
    let dir = TempDir::new().unwrap().keep();
    let ready_file = dir.join("ready.json");
    let script =
        "dir=$1; shift; \"$@\" </dev/null >/dev/null & pid=$!; read _; kill -9 $pid; wait; rm -rf \"$dir\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(&dir).arg(env!("CARGO_BIN_EXE_domicile"));
    command.args(arguments(&dir.join("data"), "127.0.0.1:0", &ready_file));
    command.envs(settings.iter().copied());
    let mut watched =
        command.env(LOG_FILTER.0, LOG_FILTER.1).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let ready = ready(&ready_file, &mut watched).await;
    let admin = Admin::of(&ready);
    let person = Person { username: "ada".to_owned(), password: "correct horse battery".to_owned() };
    admin.create("users", full_profile(&person)).await;
    let basic = admin.client("Basic client", "client_secret_basic").await;
    let other = admin.client("Other client", "client_secret_basic").await;
    let post = admin.client("Post client", "client_secret_post").await;
    Shared { ready, person, basic, other, post, _watched: watched }
}

/// Every standard claim of OpenID Connect Core §5.1.
fn full_profile(person: &Person) -> Value {
    json!({
        "username": person.username,
        "password": person.password,
        "email": "ada@example.org",
        "email_verified": true,
        "phone_number": "+49 30 123456".replace(' ', ""),
        "phone_number_verified": false,
        "name": "Ada King",
        "given_name": "Ada",
        "family_name": "King",
        "middle_name": "Augusta",
        "nickname": "Ada",
        "preferred_username": "ada",
        "profile": "https://example.org/ada",
        "picture": "https://example.org/ada.png",
        "website": "https://ada.example.org",
        "gender": "female",
        "birthdate": "1815-12-10",
        "zoneinfo": "Europe/London",
        "locale": "en-GB",
        "address": {"formatted": "12 St James's Square\nLondon", "country": "UK"},
    })
}

/// The admin API, as far as tests need it.
pub struct Admin {
    ready: Ready,
    http: reqwest::Client,
}

impl Admin {
    /// Of a node.
    pub fn of(ready: &Ready) -> Self {
        Self { ready: ready.clone(), http: reqwest::Client::new() }
    }

    /// POSTs a resource of the demo tenant.
    pub async fn create(&self, kind: &str, body: Value) -> Value {
        let url = format!("{}/v1/tenants/{}/{kind}", self.ready.admin_url, self.ready.tenant);
        let answer =
            self.http.post(url).bearer_auth(&self.ready.admin_token).json(&body).send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{kind}: {status}: {body}");
        body
    }

    /// PATCHes a resource of the demo tenant.
    pub async fn change(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/v1/tenants/{}/{path}", self.ready.admin_url, self.ready.tenant);
        let answer =
            self.http.patch(url).bearer_auth(&self.ready.admin_token).json(&body).send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{path}: {status}: {body}");
        body
    }

    /// GETs a resource of the demo tenant.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(self.url(path)).bearer_auth(&self.ready.admin_token).send().await.unwrap();
        let status = answer.status();
        assert!(status.is_success(), "{path}: {status}");
        answer.json().await.unwrap()
    }

    /// DELETEs a resource of the demo tenant.
    pub async fn delete(&self, path: &str) {
        let request = self.http.delete(self.url(path)).bearer_auth(&self.ready.admin_token);
        let status = request.send().await.unwrap().status();
        assert!(status.is_success(), "{path}: {status}");
    }

    /// POSTs, and gives the status.
    pub async fn post(&self, path: &str, body: Value) -> u16 {
        let request = self.http.post(self.url(path)).bearer_auth(&self.ready.admin_token).json(&body);
        request.send().await.unwrap().status().as_u16()
    }

    /// Changes settings of the demo tenant.
    pub async fn settings(&self, change: Value) {
        let url = format!("{}/v1/tenants/{}", self.ready.admin_url, self.ready.tenant);
        let request = self.http.patch(url).bearer_auth(&self.ready.admin_token);
        let answer = request.json(&json!({ "settings": change })).send().await.unwrap();
        let status = answer.status();
        assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap());
    }

    fn url(&self, path: &str) -> String {
        format!("{}/v1/tenants/{}/{path}", self.ready.admin_url, self.ready.tenant)
    }

    /// POSTs what is not taken, and gives the problem.
    pub async fn refused(&self, kind: &str, body: Value) -> Value {
        let url = format!("{}/v1/tenants/{}/{kind}", self.ready.admin_url, self.ready.tenant);
        let answer =
            self.http.post(url).bearer_auth(&self.ready.admin_token).json(&body).send().await.unwrap();
        assert!(answer.status().is_client_error(), "{kind}: {}", answer.status());
        answer.json().await.unwrap()
    }

    /// Registers a client.
    pub async fn client(&self, name: &str, method: &str) -> Registered {
        let registered = self
            .create(
                "clients",
                json!({
                    "client_name": name,
                    "redirect_uris": [CALLBACK],
                    "post_logout_redirect_uris": [LOGGED_OUT],
                    "grant_types": ["authorization_code", "refresh_token"],
                    "response_types": ["code"],
                    "token_endpoint_auth_method": method,
                }),
            )
            .await;
        let text = |name: &str| registered[name].as_str().unwrap_or_default().to_owned();
        Registered { client_id: text("client_id"), client_secret: text("client_secret") }
    }
}
