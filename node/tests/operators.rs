//! Operators on a real cluster: enrolled by the code that `init` printed, signed in by `domicile login`,
//! known by their tokens on every node, also on one that has no replica of theirs.
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
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use browser::{Browser, Callback, Page, PageKind};
use cluster_support::{Cluster, members, settled};
use node::Person;
use reqwest::Method;
use serde_json::{Value, json};

const HOSTS: usize = 4;
/// One host has the directory alone.
const VOTERS: usize = 3;
const PASSWORD: &str = "correct horse battery staple";
/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT: &str = "http://127.0.0.1:1/callback";

fn person(username: &str) -> Person {
    Person { username: username.to_owned(), password: PASSWORD.to_owned() }
}

/// Four nodes, the enrolment code, and nobody enrolled.
struct World {
    cluster: Cluster,
    code: String,
    home: tempfile::TempDir,
    http: reqwest::Client,
}

impl World {
    async fn up() -> Self {
        let mut cluster = Cluster::hosts(&["eu-central/a", "eu-central/b", "eu-central/c", "eu-central/a"]);
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
                voters == VOTERS && settled(cluster, partition["id"].as_u64().unwrap())
            };
            alive.count() == HOSTS && cluster["partitions"].as_array().unwrap().iter().all(whole)
        };
        let seen = cluster.until(0, ready).await;
        let homes = seen["partitions"].as_array().unwrap().iter().filter(|partition| partition["id"] != 0);
        let holders: Vec<Value> = homes.flat_map(members).collect();
        let outside = seen["nodes"].as_array().unwrap().iter().filter(|node| !holders.contains(&node["id"]));
        assert_eq!(outside.count(), HOSTS - VOTERS, "a node without a replica of a tenant: {seen:#}");
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
        let address = until(&mut child, |line| line.starts_with("http")).pop().unwrap();
        let callback = self.browser().approve(&address, &person(who)).await;
        let forged = self.http.get(&callback.uri).query(&[("code", "x"), ("state", "forged")]);
        assert_eq!(forged.send().await.unwrap().status(), 400);
        let answered = self.http.get(&callback.uri).query(&callback.parameters).send().await.unwrap();
        assert!(answered.status().is_success());
        tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap()
    }

    /// `domicile login --device` with a browser that signs `who` in and answers with `word`.
    async fn login_by_device(&self, who: &str, word: &str) -> Output {
        let mut command = self.command(0, &["login", "--device", "--url", &self.public(0)]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = until(&mut child, |line| line.contains("user_code="));
        let complete = said.last().unwrap().clone();
        let code = complete.rsplit_once("user_code=").unwrap().1.to_owned();
        let page = format!("{}/t/system/device", self.public(0));
        assert!(said.contains(&page) && said.contains(&code), "{said:?}");
        let mut browser = self.browser();
        let typed = browser.open(&complete).await.page();
        let login = browser.submit(&typed, &[], "").await.page();
        let consent = browser.log_in(&login, &person(who)).await.page();
        assert_eq!(consent.kind, PageKind::Consent, "{}", consent.html);
        browser.submit(&consent, &[], word).await.page();
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

    /// The id of a new service client of `tenant`, and its access token with this scope.
    async fn service(&self, tenant: &str, scope: &str, format: &str) -> (String, String) {
        self.service_with(tenant, scope, &json!({ "access_token_format": format })).await
    }

    /// The same with more metadata.
    async fn service_with(&self, tenant: &str, scope: &str, more: &Value) -> (String, String) {
        let mut client = json!({
            "grant_types": ["client_credentials"],
            "response_types": [],
            "token_endpoint_auth_method": "client_secret_post",
            "access_token_signed_response_alg": "ES256",
            "scope": scope,
        });
        client.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.cluster.write(&[0], &format!("/v1/tenants/{tenant}/clients"), &client).await;
        let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        let (id, secret) = (text("client_id"), text("client_secret"));
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &id),
            ("client_secret", &secret),
            ("scope", scope),
        ];
        let token = self.tokens(tenant, &form).await["access_token"].as_str().unwrap().to_owned();
        (id, token)
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

    /// Where `login` keeps its token: a file for each cluster.
    fn kept(&self) -> PathBuf {
        let name = self.public(0).replace(':', "%3A").replace('/', "%2F") + ".json";
        self.home.path().join("domicile/tokens").join(name)
    }

    fn stored(&self) -> Value {
        assert_eq!(std::fs::metadata(self.kept()).unwrap().permissions().mode() & 0o777, 0o600);
        serde_json::from_slice(&std::fs::read(self.kept()).unwrap()).unwrap()
    }

    /// That the token opens nothing any more on any node: within the bound of userinfo, 5 s.
    async fn refused_everywhere(&self, token: &str) {
        for turn in 0..HOSTS {
            let refused = async {
                while self.call(turn, "/v1/cluster", token).await.0 != 401 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            let seen = tokio::time::timeout(Duration::from_secs(10), refused).await;
            assert!(seen.is_ok(), "host {turn} still lets a revoked token in");
        }
    }
}

/// What `login` prints, up to the line that is looked for. The rest of its output is left in the pipe.
fn until(child: &mut Child, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut lines = BufReader::with_capacity(1, child.stdout.as_mut().unwrap());
    let (mut seen, mut line) = (Vec::new(), String::new());
    while lines.read_line(&mut line).unwrap() > 0 {
        seen.push(line.trim().to_owned());
        if wanted(&line) {
            return seen;
        }
        line.clear();
    }
    let mut said = String::new();
    child.stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
    panic!("not printed: {seen:?} {said}");
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
        assert!(ok(&mut world.command(turn, &["status"])).contains("4 of 4 nodes answer"));
    }
    ok(&mut world.command(2, &["user", "create", "--tenant", "acme", "ada"]));
    let log = world.cluster.get(0, "/v1/tenants/acme/events").await.unwrap();
    let log = log["items"].as_array().unwrap();
    let made = log.iter().find(|event| event["type"] == "user.created").unwrap();
    let actor = made["actor"].to_string();
    assert!(actor.contains("usr_"), "the log names the operator: {actor}");

    // A token that is about to end is exchanged for its successor.
    let mut old = world.stored();
    old["expires_at_s"] = json!(1);
    std::fs::write(world.kept(), old.to_string()).unwrap();
    assert!(ok(&mut world.command(1, &["tenant", "list"])).contains("acme"));
    assert_ne!(world.stored()["access_token"], token.as_str());

    nobody_else_is_let_in(&world).await;
    an_opaque_token_opens_what_a_readable_one_does(&world).await;
    a_token_with_sealed_members_opens_the_same(&world).await;
    revoked_everywhere(&world, &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc8628_an_operator_signs_in_without_a_browser_and_out_again() {
    let world = World::up().await;
    world.enrol(&world.code, "olive", [PASSWORD; 2]).await;
    let no = world.login_by_device("olive", "deny").await;
    assert!(text(&no.stderr).contains("the sign-in was refused"), "{}", text(&no.stderr));
    assert!(!world.kept().exists());

    let yes = world.login_by_device("olive", "allow").await;
    assert!(yes.status.success(), "{}{}", text(&yes.stdout), text(&yes.stderr));
    let token = world.stored()["access_token"].as_str().unwrap().to_owned();
    assert!(!text(&yes.stdout).contains(&token));
    for turn in 0..HOSTS {
        assert!(ok(&mut world.command(turn, &["status"])).contains("4 of 4 nodes answer"));
    }

    let elsewhere = world.command(0, &["logout", "--url", "http://127.0.0.1:1"]).output().unwrap();
    assert!(text(&elsewhere.stderr).contains("nobody is signed in there"), "{}", text(&elsewhere.stderr));
    let out = ok(&mut world.command(0, &["logout", "--url", &world.public(0)]));
    assert!(out.contains("Signed out of"), "{out}");
    assert!(!world.kept().exists());
    world.refused_everywhere(&token).await;
    let refused = world.command(1, &["status"]).output().unwrap();
    assert!(text(&refused.stderr).contains("domicile login"), "{}", text(&refused.stderr));
}

async fn an_opaque_token_opens_what_a_readable_one_does(world: &World) {
    let (client, token) = world.service("system", "domicile:admin", "opaque").await;
    let (_, weak) = world.service("system", "stock:read", "opaque").await;
    let (_, foreign) = world.service("acme", "domicile:admin", "opaque").await;
    assert!([&token, &weak, &foreign].iter().all(|token| token.starts_with("dat_")), "{token}");
    let invalid = (401, "Bearer error=\"invalid_token\"".to_owned());
    let lacks = (403, "Bearer error=\"insufficient_scope\", scope=\"domicile:admin\"".to_owned());
    let forged = token[..token.len() - 4].to_owned() + "AAAA";
    for turn in 0..HOSTS {
        assert_eq!(world.call(turn, "/v1/cluster", &token).await.0, 200, "host {turn}");
        assert_eq!(world.call(turn, "/v1/cluster", &weak).await, lacks, "host {turn}");
        assert_eq!(world.call(turn, "/v1/cluster", &foreign).await, invalid, "host {turn}: another tenant's");
        assert_eq!(world.call(turn, "/v1/cluster", &forged).await, invalid, "host {turn}");
        // The way between nodes is on no listener.
        let host = &world.cluster.hosts[turn];
        for port in [host.admin, host.public] {
            let url = format!("http://127.0.0.1:{port}/peer/system/operator-token");
            let asked = world.http.get(url).bearer_auth(&token).send().await.unwrap();
            assert_eq!(asked.status(), 404, "host {turn}");
        }
    }
    let url = format!("http://127.0.0.1:{}/v1/tenants/system/clients/{client}", world.cluster.hosts[0].admin);
    let deleted = world.http.delete(url).bearer_auth(&token).send().await.unwrap();
    assert!(deleted.status().is_success(), "{}", deleted.status());
    world.refused_everywhere(&token).await;
}

/// Also where the keys are not that open them.
async fn a_token_with_sealed_members_opens_the_same(world: &World) {
    let pairwise = json!({"subject_type": "pairwise", "redirect_uris": ["https://one.example.org/cb"]});
    let (_, token) = world.service_with("system", "domicile:admin", &pairwise).await;
    let (_, weak) = world.service_with("system", "stock:read", &pairwise).await;
    assert!([&token, &weak].iter().all(|token| token.split('.').count() == 3));
    let forged = token[..token.len() - 4].to_owned() + "AAAA";
    for turn in 0..HOSTS {
        assert_eq!(world.call(turn, "/v1/cluster", &token).await.0, 200, "host {turn}");
        assert_eq!(world.call(turn, "/v1/cluster", &weak).await.0, 403, "host {turn}");
        assert_eq!(world.call(turn, "/v1/cluster", &forged).await.0, 401, "host {turn}");
    }
}

async fn nobody_else_is_let_in(world: &World) {
    let (_, service) = world.service("system", "domicile:admin", "jwt").await;
    assert_eq!(world.call(2, "/v1/cluster", &service).await.0, 200, "a service of the operators' tenant");
    let invalid = (401, "Bearer error=\"invalid_token\"".to_owned());
    let (_, foreign) = world.service("acme", "domicile:admin", "jwt").await;
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
    world.refused_everywhere(token).await;
}
