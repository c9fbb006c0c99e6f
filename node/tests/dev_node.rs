//! `domicile dev` as other programs see it: start, files, signals, crash, the CLI against it, what it writes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use support::{DevNode, Start};

/// Files are looked at every few seconds.
const RELOAD_MAX: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(100);

async fn get(url: &str) -> (u16, String) {
    let response = reqwest::get(url).await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

fn serve(directory: &tempfile::TempDir) -> DevNode {
    Start::on(&directory.path().join("data")).serve()
}

#[tokio::test]
async fn a_node_says_where_it_is_and_serves_there() {
    let directory = tempfile::tempdir().unwrap();
    let node = serve(&directory);
    assert_eq!(node.text("issuer"), format!("{}/t/demo", node.text("public_url")));
    assert_eq!(node.ready["redirect_uris"][0], "http://127.0.0.1:9999/cb");
    let (status, body) = get(&format!("{}/.well-known/openid-configuration", node.text("issuer"))).await;
    assert_eq!(status, 200, "{body}");
    let discovery: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(discovery["issuer"], node.text("issuer"));
    let (status, checks) = get(&format!("{}/readyz?verbose", node.text("management_url"))).await;
    assert!(
        status == 200 && checks.contains("[+] partition 0: leader 1") && checks.ends_with("ready\n"),
        "{checks}"
    );
    let (_, metrics) = get(&format!("{}/metrics", node.text("management_url"))).await;
    assert!(metrics.contains("domicile_partition_has_leader{partition=\"1\"} 1"), "{metrics}");
    assert!(metrics.contains("route=\"/t/{tenant}/.well-known/openid-configuration\""), "{metrics}");
}

/// The last log index that is applied to the partition of the node's tenant.
async fn applied(node: &DevNode) -> u64 {
    let (_, metrics) = get(&format!("{}/metrics", node.text("management_url"))).await;
    let gauge = "domicile_partition_applied_index{partition=\"1\"} ";
    metrics.lines().find_map(|line| line.strip_prefix(gauge)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn opaque_access_tokens_are_issued_with_no_write_and_revoked_with_one_each() {
    const TOKENS: u64 = 100;
    let directory = tempfile::tempdir().unwrap();
    let node = serve(&directory);
    let http = reqwest::Client::new();
    let clients = format!("{}/v1/tenants/{}/clients", node.text("admin_url"), node.text("tenant"));
    let metadata = serde_json::json!({
        "client_name": "Service", "grant_types": ["client_credentials"], "response_types": [],
        "access_token_format": "opaque",
    });
    let made = http.post(clients).bearer_auth(node.text("admin_token")).json(&metadata).send().await.unwrap();
    let client: serde_json::Value = made.json().await.unwrap();
    let ask = async |path: &str, form: &[(&str, &str)]| {
        let request = http.post(format!("{}/oauth2/{path}", node.text("issuer")));
        let request =
            request.basic_auth(client["client_id"].as_str().unwrap(), client["client_secret"].as_str());
        let answer = request.form(form).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.text().await.unwrap()
    };
    let before = applied(&node).await;
    let mut tokens = Vec::new();
    for _ in 0..TOKENS {
        let answer = ask("token", &[("grant_type", "client_credentials")]).await;
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        tokens.push(answer["access_token"].as_str().unwrap().to_owned());
    }
    assert!(tokens.iter().all(|token| token.starts_with("dat_")), "{tokens:?}");
    let issued = applied(&node).await;
    // The node's own keys and housekeeping write now and then.
    assert!(issued - before < TOKENS / 4, "{TOKENS} tokens took the log from {before} to {issued}");
    for token in &tokens {
        ask("revoke", &[("token", token.as_str())]).await;
    }
    let revoked = applied(&node).await;
    assert!(revoked - issued >= TOKENS, "{TOKENS} revocations took the log from {issued} to {revoked}");
}

#[tokio::test]
async fn everything_is_still_there_after_a_crash_and_after_a_stop() {
    let directory = tempfile::tempdir().unwrap();
    let first = serve(&directory);
    let (ok, _, errors) = first.cli(&["tenant", "create", "acme", "--display-name", "Acme"]);
    assert!(ok, "{errors}");
    let before = first.ready.clone();
    first.crash();

    let second = serve(&directory);
    for name in ["tenant", "client_id", "client_secret", "username", "password", "admin_token"] {
        assert_eq!(second.ready[name], before[name], "{name}");
    }
    let (_, tenants, _) = second.cli(&["tenant", "list"]);
    assert!(tenants.contains("acme") && tenants.contains("demo"), "{tenants}");
    let acme = format!("{}/t/acme", second.text("public_url"));
    assert!(tenants.contains(&acme), "issuers follow the address in dev: {tenants}");
    let (status, log) = second.stop("TERM");
    assert_eq!(status.code(), Some(0), "{log}");

    let third = serve(&directory);
    assert_eq!(third.ready["client_secret"], before["client_secret"]);
}

#[test]
fn sigterm_and_sigint_end_it_with_success_though_a_connection_is_open() {
    let directory = tempfile::tempdir().unwrap();
    for signal in ["TERM", "INT"] {
        let node = serve(&directory);
        let idle = std::net::TcpStream::connect(node.address()).unwrap();
        let (status, log) = node.stop(signal);
        assert_eq!(status.code(), Some(0), "{signal}: {log}");
        assert!(log.contains("draining") && log.contains("stopped"), "{signal}: {log}");
        assert!(!directory.path().join("data.ready.json").exists(), "nobody is ready any more");
        drop(idle);
    }
}

#[tokio::test]
async fn credentials_are_for_the_owner_only_and_never_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let node = serve(&directory);
    let data = directory.path().join("data");
    for file in [
        data.clone(),
        data.join("dev.json"),
        data.join("dev.kek"),
        data.join("partitions/1/KEY"),
        data.with_extension("ready.json"),
    ] {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", file.display());
    }
    let secrets = ["password", "client_secret", "admin_token"].map(|name| node.text(name).to_owned());
    let (_, log) = node.stop("TERM");
    for secret in secrets {
        assert!(!log.contains(&secret), "a secret is in the log");
    }
}

#[tokio::test]
async fn a_second_node_on_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let _node = serve(&directory);
    let data = directory.path().join("data");
    let second = std::process::Command::new(support::BINARY)
        .args(["dev", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&data)
        .output()
        .unwrap();
    assert!(!second.status.success());
    let message = String::from_utf8(second.stderr).unwrap();
    let data = data.display().to_string();
    assert!(message.contains("is open in another process") && message.contains(&data), "{message}");
}

#[tokio::test]
async fn the_command_line_creates_lists_shows_and_deletes() {
    let directory = tempfile::tempdir().unwrap();
    let node = serve(&directory);
    let run = |line: &str| {
        let (ok, out, errors) = node.cli(&line.split(' ').collect::<Vec<_>>());
        assert!(ok, "{line}: {errors}");
        out
    };
    run("tenant create acme");
    let user: serde_json::Value =
        serde_json::from_str(&run("user create --tenant acme alice --email alice@example.org --json"))
            .unwrap();
    let id = user["id"].as_str().unwrap();
    assert!(id.starts_with("usr_"));
    assert!(run("user list --tenant acme").contains("alice@example.org"));
    assert!(run(&format!("user show --tenant acme {id}")).contains("alice"));
    run(&format!("user delete --tenant acme {id}"));
    assert!(!run("user list --tenant acme").contains("alice"));
    let client = run("client create --tenant acme App --redirect-uri https://app.example/cb --json");
    let client: serde_json::Value = serde_json::from_str(&client).unwrap();
    assert_eq!(client["require_pkce"], true);
    assert!(run("client list --tenant acme").contains("client_secret_basic"));
    run("tenant delete acme");
    assert!(!run("tenant list").contains("acme"));
    let (ok, _, errors) = node.cli(&["tenant", "show", "acme"]);
    assert!(!ok && errors.starts_with("domicile: 404"), "{errors}");
}

/// A certificate for this machine, and its key.
fn certificate(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (cert, key)
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a real process is waited for in real time")]
fn a_certificate_that_is_replaced_is_served_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(directory.path(), "own");
    let flags = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let node = Start::on(&directory.path().join("data")).with(&flags).serve();
    let trusts = |ca: &Path| node.cli(&["tenant", "list", "--admin-ca", ca.to_str().unwrap()]).0;
    let (new, new_key) = certificate(directory.path(), "new");
    let old = directory.path().join("old.pem");
    std::fs::copy(&cert, &old).unwrap();
    assert!(trusts(&old) && !trusts(&new));
    // As ACME clients do it: each file is whole, whenever it is looked at.
    std::fs::copy(&new, directory.path().join("copy.pem")).unwrap();
    std::fs::rename(directory.path().join("copy.pem"), &cert).unwrap();
    std::fs::rename(new_key, &key).unwrap();
    let began = Instant::now();
    while !trusts(&new) {
        assert!(began.elapsed() < RELOAD_MAX, "the old certificate is still served");
        std::thread::sleep(LOOK);
    }
    assert!(!trusts(&old));
}

#[test]
fn under_tls_the_public_listener_and_the_command_line_speak_it() {
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = certificate(directory.path(), "own");
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let flags = ["--tls-cert", cert, "--tls-key", key];
    let node = Start::on(&directory.path().join("data")).with(&flags).serve();
    assert!(node.text("issuer").starts_with("https://127.0.0.1:"));
    let (ok, tenants, errors) = node.cli(&["tenant", "list", "--admin-ca", cert]);
    assert!(ok && tenants.contains("demo"), "{errors}");
    let (ok, _, errors) = node.cli(&["tenant", "list"]);
    assert!(!ok && errors.contains("--admin-ca"), "{errors}");
}
