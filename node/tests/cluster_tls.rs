//! A cluster under TLS, as on real hosts: the certificate names the service and no host, and nobody tells the commands
//! where the admin API is.
#![allow(clippy::disallowed_methods, reason = "real processes are waited for in real time")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod cluster_support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use cluster_support::{Cluster, LOOK};
use serde_json::Value;
use tempfile::TempDir;

const SERVICE: &str = "id.example.org";
const WAIT_MAX: Duration = Duration::from_mins(2);

/// A certificate for the service, and its key.
fn certificate(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed([SERVICE.to_owned()]).unwrap();
    let (cert, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (cert, key)
}

/// The program as an operator on a host runs it: told of the settings and of nothing else.
fn operator(cluster: &Cluster, turn: usize, home: &TempDir, more: &[(&str, &str)], words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_domicile"));
    for name in ["URL", "TOKEN", "TOKEN_FILE", "CA"] {
        command.env_remove(format!("DOMICILE_ADMIN_{name}"));
    }
    command.env("XDG_CONFIG_HOME", home.path()).env("DOMICILE_CONFIG", cluster.config(turn));
    command.args(words).envs(more.iter().copied()).stdin(Stdio::null()).output().unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn what_init_prints_is_all_that_a_host_needs_under_tls() {
    let (files, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (cert, key) = certificate(files.path(), "own");
    let tls = format!("[tls]\ncert = {cert:?}\nkey = {key:?}\n");
    let mut cluster = Cluster::hosts_with(&["eu-central/a", "eu-central/b"], &tls);
    for turn in 0..2 {
        cluster.set(turn, "DOMICILE__PUBLIC_ORIGIN", &format!("https://{SERVICE}"));
    }
    cluster.set(0, "DOMICILE__NODE__JURISDICTION", "de");
    let printed = cluster.ok(0, &["init"]);
    let config = cluster.config(0).display().to_string();
    let line = format!("domicile token create --config {config} --region eu-central");
    assert!(printed.contains(&line), "{printed}");
    cluster.start(0);
    cluster.ready(0).await;
    let words = ["token", "create", "--config", &config, "--region", "eu-central", "--json"];
    let made = json(&operator(&cluster, 0, &home, &[], &words));
    let joined = cluster.ok(1, &["join", made["token"].as_str().unwrap(), "--json"]);
    let joined: Value = serde_json::from_str(&joined).unwrap();
    assert_eq!((&joined["node_id"], &joined["zone"]), (&2.into(), &"b".into()));
    cluster.start(1);
    cluster.ready(1).await;
    let began = Instant::now();
    let nodes = loop {
        let seen = json(&operator(&cluster, 1, &home, &[], &["status", "--json"]));
        let nodes = seen["nodes"].as_array().unwrap().clone();
        if nodes.len() == 2 {
            break nodes;
        }
        assert!(began.elapsed() < WAIT_MAX, "{seen:#}");
        tokio::time::sleep(LOOK).await;
    };
    assert!(nodes.iter().all(|node| node["admin_url"].as_str().unwrap().starts_with("https://127.0.0.1:")));

    let regions = json(&operator(&cluster, 1, &home, &[], &["region", "list", "--json"]));
    assert_eq!((&regions[0]["name"], &regions[0]["jurisdiction"]), (&"eu-central".into(), &"de".into()));

    // Somebody else in the node's place, with a certificate of the same name, is not spoken to.
    let (other, _) = certificate(files.path(), "other");
    let other = [("DOMICILE__TLS__CERT", other.to_str().unwrap())];
    let refused = operator(&cluster, 0, &home, &other, &["status"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("TLS failed"), "{said}");
}
