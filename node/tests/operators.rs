//! Operators on a real cluster: enrolled by the code that `init` printed, signed in by `domicile login`,
//! known by their tokens on every node.
#![allow(clippy::disallowed_methods, reason = "real processes are waited for in real time")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a failed step is a failed test")]

#[path = "oidc_support/browser.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod browser;
mod cluster_support;
#[path = "oidc_support/html.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod html;

/// What the browser needs of its node.
mod node {
    /// Who can log in.
    #[derive(Clone, Debug)]
    pub struct Person {
        pub username: String,
        pub password: String,
    }
}

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use browser::{Browser, Callback, Page};
use cluster_support::{Cluster, settled};
use node::Person;
use reqwest::Method;
use serde_json::{Value, json};

const HOSTS: usize = 3;
const PASSWORD: &str = "correct horse battery staple";
/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT: &str = "http://127.0.0.1:1/callback";

fn person(username: &str) -> Person {
    Person { username: username.to_owned(), password: PASSWORD.to_owned() }
}

/// Three nodes, the enrolment code, and nobody enrolled.
struct World {
    cluster: Cluster,
    code: String,
    home: tempfile::TempDir,
    http: reqwest::Client,
}

impl World {
    async fn up() -> Self {
        let mut cluster = Cluster::hosts(&["eu-central/a", "eu-central/b", "eu-central/c"]);
        let made: Value = serde_json::from_str(&cluster.ok(0, &["init", "--json"])).unwrap();
        let origin = format!("http://127.0.0.1:{}", cluster.hosts[0].public);
        assert_eq!(made["enrolment_url"], format!("{origin}/t/system/enrol"));
        let code = made["enrolment_code"].as_str().unwrap().to_owned();
        cluster.start(0);
        cluster.ready(0).await;
        for turn in 1..HOSTS {
            let token = cluster.token(0, "eu-central");
            cluster.ok(turn, &["join", &token]);
            cluster.start(turn);
        }
        for turn in 1..HOSTS {
            cluster.ready(turn).await;
        }
        // While a replica is being added, the node that gets it may have to say that it cannot tell yet.
        let ready = |cluster: &Value| {
            let alive = cluster["nodes"].as_array().unwrap().iter().filter(|node| node["alive"] == true);
            let whole = |partition: &Value| {
                let voters = partition["voters"].as_array().unwrap().len();
                voters == HOSTS && settled(cluster, partition["id"].as_u64().unwrap())
            };
            alive.count() == HOSTS && cluster["partitions"].as_array().unwrap().iter().all(whole)
        };
        cluster.until(0, ready).await;
        Self { cluster, code, home: tempfile::tempdir().unwrap(), http: reqwest::Client::new() }
    }

    fn public(&self, turn: usize) -> String {
        format!("http://127.0.0.1:{}", self.cluster.hosts[turn].public)
    }

    /// A browser whose every request goes to the next node.
    fn browser(&self) -> Browser {
        let nodes: Vec<String> = (0..HOSTS).map(|turn| self.public(turn)).collect();
        let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
        Browser::balanced(&self.public(0), &nodes)
    }

    /// Fills the enrolment page in.
    async fn enrol(&self, code: &str, username: &str, passwords: [&str; 2]) -> Page {
        let mut browser = self.browser();
        let page = browser.open(&format!("{}/t/system/enrol", self.public(0))).await.page();
        assert_eq!(page.status, 200);
        let [password, password_again] = passwords;
        let fields = [
            ("code", code),
            ("username", username),
            ("password", password),
            ("password_again", password_again),
        ];
        browser.submit(&page, &fields, "").await.page()
    }

    /// The program as an operator runs it, whose only token is what `login` kept.
    fn command(&self, turn: usize, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_domicile"));
        command.args(arguments).env("XDG_CONFIG_HOME", self.home.path()).stdin(Stdio::null());
        command.env_remove("DOMICILE_ADMIN_TOKEN").env_remove("DOMICILE_ADMIN_TOKEN_FILE");
        command.env("DOMICILE_ADMIN_URL", format!("http://127.0.0.1:{}", self.cluster.hosts[turn].admin));
        command
    }

    /// `domicile login` with a browser that signs `who` in.
    async fn login(&self, who: &str) -> Output {
        let mut command = self.command(0, &["login", "--url", &self.public(0)]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let address = address(&mut child);
        let callback = self.browser().approve(&address, &person(who)).await;
        let forged = self.http.get(&callback.uri).query(&[("code", "x"), ("state", "forged")]);
        assert_eq!(forged.send().await.unwrap().status(), 400);
        let answered = self.http.get(&callback.uri).query(&callback.parameters).send().await.unwrap();
        assert!(answered.status().is_success());
        tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap()
    }

    /// Status and challenge of a request of the admin API.
    async fn call(&self, turn: usize, path: &str, token: &str) -> (u16, String) {
        let url = format!("http://127.0.0.1:{}{path}", self.cluster.hosts[turn].admin);
        let answer = self.http.request(Method::GET, url).bearer_auth(token).send().await.unwrap();
        let challenge =
            answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), challenge.unwrap_or_default())
    }

    async fn tokens(&self, tenant: &str, form: &[(&str, &str)]) -> Value {
        let url = format!("{}/t/{tenant}/oauth2/token", self.public(0));
        let answer = self.http.post(url).form(form).send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{status} {body}");
        body
    }

    /// The access token of a new service client of `tenant` with this scope.
    async fn service_token(&self, tenant: &str, scope: &str) -> String {
        let client = json!({
            "grant_types": ["client_credentials"],
            "response_types": [],
            "token_endpoint_auth_method": "client_secret_post",
            "access_token_signed_response_alg": "ES256",
            "scope": scope,
        });
        let made = self.cluster.write(&[0], &format!("/v1/tenants/{tenant}/clients"), &client).await;
        let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        let (id, secret) = (text("client_id"), text("client_secret"));
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &id),
            ("client_secret", &secret),
            ("scope", scope),
        ];
        self.tokens(tenant, &form).await["access_token"].as_str().unwrap().to_owned()
    }

    /// What the command line's client gets for `who`, without the command line.
    async fn user_token(&self, who: &str) -> Value {
        let mut url = url::Url::parse(&format!("{}/t/system/oauth2/authorize", self.public(0))).unwrap();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", "domicile-cli")
            .append_pair("redirect_uri", REDIRECT)
            .append_pair("scope", "openid domicile:admin")
            .append_pair("state", "s")
            .append_pair("code_challenge", CHALLENGE)
            .append_pair("code_challenge_method", "S256");
        let callback: Callback = self.browser().approve(url.as_str(), &person(who)).await;
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", "domicile-cli"),
            ("code", callback.get("code")),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ];
        self.tokens("system", &form).await
    }

    fn stored(&self) -> Value {
        let path = self.home.path().join("domicile/token");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }
}

/// The address that `login` prints. The rest of its output is left in the pipe.
fn address(child: &mut Child) -> String {
    let mut lines = BufReader::with_capacity(1, child.stdout.as_mut().unwrap());
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        if line.starts_with("http") {
            return line.trim().to_owned();
        }
        line.clear();
    }
    let mut said = String::new();
    child.stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
    panic!("no address: {said}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn ok(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

async fn enrolment(world: &World) {
    let page = world.enrol("guess", "olive", [PASSWORD; 2]).await;
    assert!(page.html.contains("role=\"alert\"") && page.html.contains("href=\"#code\""), "{}", page.html);
    let page = world.enrol(&world.code, "olive", [PASSWORD, "another"]).await;
    assert!(page.html.contains("href=\"#password_again\""), "{}", page.html);
    let page = world.enrol(&world.code, "olive", ["short"; 2]).await;
    assert!(page.html.contains("href=\"#password\""), "{}", page.html);
    assert!(!page.html.contains(&world.code), "the code is not shown again");
    let page = world.enrol(&world.code, "olive", [PASSWORD; 2]).await;
    assert!(page.html.contains("You are an operator"), "{}", page.html);
    let page = world.enrol(&world.code, "oscar", [PASSWORD; 2]).await;
    assert!(page.html.contains("href=\"#code\""), "a code is good once: {}", page.html);
    let elsewhere = world.http.get(format!("{}/t/acme/enrol", world.public(0))).send().await.unwrap();
    assert_eq!(elsewhere.status(), 404, "there are operators in the tenant `system` only");
    let forged = world.http.post(format!("{}/t/system/enrol", world.public(0)));
    let forged = forged.form(&[("code", "x"), ("username", "x")]).send().await.unwrap();
    assert_eq!(forged.status(), 403, "a form that is not of our page");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_enrolled_once_signs_in_and_is_known_on_every_node() {
    let world = World::up().await;
    world.cluster.write(&[0, 1, 2], "/v1/tenants", &json!({"slug": "acme"})).await;
    enrolment(&world).await;

    let refused = world.command(1, &["tenant", "list"]).output().unwrap();
    assert!(text(&refused.stderr).contains("domicile login"), "{}", text(&refused.stderr));
    let signed_in = world.login("olive").await;
    assert!(signed_in.status.success(), "{}{}", text(&signed_in.stdout), text(&signed_in.stderr));
    let token = world.stored()["access_token"].as_str().unwrap().to_owned();
    assert!(!text(&signed_in.stdout).contains(&token));
    for turn in 0..HOSTS {
        assert!(ok(&mut world.command(turn, &["tenant", "list"])).contains("acme"));
        assert!(ok(&mut world.command(turn, &["status"])).contains("3 of 3 nodes answer"));
    }
    ok(&mut world.command(2, &["user", "create", "--tenant", "acme", "ada"]));
    let log = world.cluster.get(0, "/v1/tenants/acme/events").await.unwrap();
    let log = log["items"].as_array().unwrap();
    let made = log.iter().find(|event| event["type"] == "user.created").unwrap();
    let actor = made["actor"].to_string();
    assert!(actor.contains("usr_"), "the log names the operator: {actor}");

    // A token that is about to end is exchanged for its successor.
    let path = world.home.path().join("domicile/token");
    let mut old = world.stored();
    old["expires_at_s"] = json!(1);
    std::fs::write(&path, old.to_string()).unwrap();
    assert!(ok(&mut world.command(1, &["tenant", "list"])).contains("acme"));
    assert_ne!(world.stored()["access_token"], token.as_str());

    nobody_else_is_let_in(&world).await;
    revoked_everywhere(&world, &token).await;
}

async fn nobody_else_is_let_in(world: &World) {
    let service = world.service_token("system", "domicile:admin").await;
    assert_eq!(world.call(2, "/v1/cluster", &service).await.0, 200, "a service of the operators' tenant");
    let invalid = (401, "Bearer error=\"invalid_token\"".to_owned());
    let foreign = world.service_token("acme", "domicile:admin").await;
    for turn in 0..HOSTS {
        assert_eq!(world.call(turn, "/v1/cluster", &foreign).await, invalid, "another tenant's scope");
    }
    let mut forged = service.clone();
    forged.truncate(forged.len() - 4);
    assert_eq!(world.call(1, "/v1/cluster", &(forged + "AAAA")).await, invalid);

    let mallory = json!({"username": "mallory", "password": PASSWORD});
    world.cluster.write(&[0, 1, 2], "/v1/tenants/system/users", &mallory).await;
    let given = world.user_token("mallory").await;
    assert_eq!(given["scope"], "openid", "the scope is left out for who is no operator");
    let lacks = (403, "Bearer error=\"insufficient_scope\", scope=\"domicile:admin\"".to_owned());
    let token = given["access_token"].as_str().unwrap();
    for turn in 0..HOSTS {
        assert_eq!(world.call(turn, "/v1/tenants/acme", token).await, lacks);
    }
    let refused = world.login("mallory").await;
    assert!(text(&refused.stderr).contains("no operator"), "{}", text(&refused.stderr));
}

/// Within the bound of userinfo, 5 s.
async fn revoked_everywhere(world: &World, token: &str) {
    assert_eq!(world.call(1, "/v1/cluster", token).await.0, 200);
    let users = world.cluster.get(0, "/v1/tenants/system/users").await.unwrap();
    let users = users["items"].as_array().unwrap();
    let olive = users.iter().find(|user| user["username"] == "olive").unwrap()["id"].as_str().unwrap();
    let admin = world.cluster.hosts[0].admin;
    let url = format!("http://127.0.0.1:{admin}/v1/tenants/system/users/{olive}");
    let erased = world.http.delete(url).bearer_auth(token).send().await.unwrap();
    assert!(erased.status().is_success(), "{}", erased.status());
    for turn in 0..HOSTS {
        let refused = async {
            while world.call(turn, "/v1/cluster", token).await.0 != 401 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(10), refused).await;
        assert!(seen.is_ok(), "host {turn} still lets a revoked operator in");
    }
}
