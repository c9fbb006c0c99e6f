//! The nginx gateway of `deploy/nginx` in front of an API, against the real binary (Debian's `nginx-light`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use oidc_support::browser::Browser;
use oidc_support::node::{Admin, CALLBACK, Registered, Shared, shared};
use oidc_support::relying_party::{Answer, Method, RelyingParty, part};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

const API: &str = "https://api.example.org";
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/nginx/phantom-token.conf");
/// The default bound on revocations (5 s), and what a busy machine takes to notice.
const BOUND: Duration = Duration::from_secs(15);

/// nginx, which ends with this value.
struct Nginx {
    child: Child,
    url: String,
    _dir: TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the example says, and what this test says instead.
fn adapted(changes: &[(&str, String)]) -> String {
    let mut text = fs::read_to_string(EXAMPLE).unwrap();
    for (example, own) in changes {
        assert_eq!(text.matches(example).count(), 1, "the example names `{example}` once");
        text = text.replace(example, own);
    }
    text
}

async fn start_nginx(site: &str, dir: TempDir, port: u16) -> Nginx {
    fs::write(dir.path().join("site.conf"), site).unwrap();
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {}/{kind};\n", dir.path().display()))
        .collect::<Vec<String>>()
        .concat();
    let main = format!(
        "daemon off;\nworker_processes 1;\npid {0}/pid;\nerror_log stderr warn;\nevents {{}}\n\
         http {{ access_log off;\n{temp} include {0}/site.conf;\n}}\n",
        dir.path().display()
    );
    let file = dir.path().join("nginx.conf");
    fs::write(&file, main).unwrap();
    let mut command = Command::new(program());
    let child = command.arg("-p").arg(dir.path()).arg("-c").arg(&file).args(["-e", "stderr"]);
    // One process: it ends with its parent's `kill`.
    let child = child.args(["-g", "master_process off;"]).stdin(Stdio::null()).spawn();
    let child = child.unwrap();
    let nginx = Nginx { child, url: format!("http://127.0.0.1:{port}/orders"), _dir: dir };
    let mut look = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..500 {
        look.tick().await;
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return nginx;
        }
    }
    panic!("nginx does not listen")
}

/// Not in the path of everybody.
fn program() -> &'static str {
    if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" }
}

/// Whether nginx is here. With `DOMICILE_TOOLS=required`, as in CI, it has to be.
fn has_nginx() -> bool {
    let mut asked = Command::new(program());
    let asked = asked.arg("-v").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let found = asked.status().is_ok();
    let required = std::env::var("DOMICILE_TOOLS").is_ok_and(|value| value == "required");
    assert!(found || !required, "nginx is not installed (Debian's `nginx-light`)");
    if !found {
        eprintln!("SKIPPED: nginx is not installed (Debian's `nginx-light`), so the gateway was not tried");
    }
    found
}

/// A port that nobody has.
async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// An API that answers with the `Authorization` header that reached it.
async fn api() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 32 * 1024];
            let length = stream.read(&mut request).await.unwrap_or_default();
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            let shown = text.lines().find_map(|line| line.strip_prefix("Authorization: ")).unwrap_or("none");
            let body = json!({ "authorization": shown }).to_string();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

/// The node behind a door that counts what passes: with one request a connection, introspections.
async fn counted(node: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let node = node.clone();
            tokio::spawn(async move {
                let mut to = TcpStream::connect(node).await.unwrap();
                let _ = copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    (address, count)
}

async fn register(shared: &Shared, body: Value) -> RelyingParty {
    let answer = Admin::of(&shared.ready).create("clients", body).await;
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    let registered = Registered { client_id: text("client_id"), client_secret: text("client_secret") };
    RelyingParty::discover(&shared.ready.issuer, &registered, Method::Basic).await
}

/// Tokens of a user, opaque, for the API.
async fn log_in(shared: &Shared, app: &RelyingParty) -> Answer {
    let mut browser = Browser::new(&shared.ready.public_url);
    let wanted = [("scope", "openid"), ("resource", API), ("prompt", "consent")];
    let callback = browser.approve(&app.request(&wanted), &shared.person).await;
    let issued = app.redeem(&callback, &[]).await;
    assert_eq!(issued.status, 200, "{}", issued.body);
    issued
}

struct Gateway {
    nginx: Nginx,
    asked: Arc<AtomicUsize>,
    http: reqwest::Client,
}

impl Gateway {
    async fn start(shared: &Shared, gateway: &RelyingParty) -> Self {
        use base64::Engine as _;
        let Registered { client_id, client_secret } = &gateway.client;
        let credentials =
            base64::engine::general_purpose::STANDARD.encode(format!("{client_id}:{client_secret}"));
        let host = shared.ready.public_url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let (door, asked) = counted(host.clone()).await;
        let (dir, port) = (TempDir::new().unwrap(), free_port().await);
        let path = gateway.endpoint("introspection_endpoint").split_once(&host).unwrap().1.to_owned();
        let site = adapted(&[
            ("/run/nginx-phantom", dir.path().join("cache").display().to_string()),
            ("127.0.0.1:8080", door),
            ("keepalive 16;", String::new()),
            ("127.0.0.1:9000", api().await),
            ("127.0.0.1:8000", format!("127.0.0.1:{port}")),
            ("id.example.org", host),
            ("Z2F0ZXdheTpzZWNyZXQ=", credentials),
            ("/t/acme/oauth2/introspect", path),
        ]);
        Self { nginx: start_nginx(&site, dir, port).await, asked, http: reqwest::Client::new() }
    }

    async fn get(&self, authorization: Option<&str>) -> Answer {
        let request = self.http.get(&self.nginx.url);
        let request =
            authorization.into_iter().fold(request, |request, value| request.header("authorization", value));
        Answer::of(request.send().await.unwrap()).await
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn an_nginx_gateway_hands_the_api_the_jwt_behind_an_opaque_token_until_it_is_revoked() {
    if !has_nginx() {
        return;
    }
    let shared = shared().await;
    let gateway = json!({
        "client_name": "Gateway", "grant_types": ["client_credentials"], "response_types": [],
        "resource_identifiers": [API],
    });
    let gateway = register(shared, gateway).await;
    let app = json!({
        "client_name": "App", "redirect_uris": [CALLBACK], "access_token_format": "opaque",
        "access_token_signed_response_alg": "ES256",
    });
    let app = register(shared, app).await;
    let issued = log_in(shared, &app).await;
    let token = issued.text("access_token");
    assert!(token.starts_with("dat_"), "{}", issued.body);
    let door = Gateway::start(shared, &gateway).await;
    let bearer = format!("Bearer {token}");

    let first = door.get(Some(&bearer)).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let jwt = first.text("authorization").strip_prefix("Bearer ").unwrap().to_owned();
    assert_eq!((part(&jwt, 0)["typ"].as_str(), part(&jwt, 1)["aud"].clone()), (Some("at+jwt"), json!([API])));
    // Kept: of several requests in the time that the answer may be kept, not each asks.
    let (mut requests, before) = (0, door.asked());
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until || requests < 5 {
        assert_eq!(door.get(Some(&bearer)).await.status, 200);
        requests += 1;
    }
    assert!(door.asked() - before < requests, "{} for {requests}", door.asked() - before);

    for refused in [None, Some("Bearer dat_AAAA"), Some("Basic YTpi"), Some("Bearer eyJ.a.b")] {
        let answer = door.get(refused).await;
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (401, "Bearer error=\"invalid_token\"")
        );
    }
    // The JWT is for the API: it is not a way in from outside.
    assert_eq!(door.get(Some(&format!("Bearer {jwt}"))).await.status, 401);

    assert_eq!(app.call("revocation_endpoint", &[("token", token)]).await.status, 200);
    let revoked = Instant::now();
    while door.get(Some(&bearer)).await.status != 401 {
        assert!(revoked.elapsed() < BOUND, "a revoked token still passes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
