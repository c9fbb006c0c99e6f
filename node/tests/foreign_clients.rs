//! Clients that nobody here wrote, from the npm registry and PyPI, against the real binary: what
//! `node/tests/foreign/README.md` tells of. Where the libraries are not installed the tests say so and are
//! skipped; with `DOMICILE_FOREIGN=required`, as in CI, they fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod oidc_support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oidc_support::node::{Shared, shared};

/// Seconds for all steps of one program: a debug build on a busy machine.
const RUN_MAX: &str = "180";

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign")
}

/// Where `install` put the libraries: beside the builds.
fn installed() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_domicile"));
    binary.ancestors().nth(2).unwrap().join("foreign")
}

/// Whether the libraries are there. If they have to be, they are.
fn is_installed(what: &Path, name: &str) -> bool {
    if what.exists() && installed().join("ready").exists() {
        return true;
    }
    let how = format!("`bash node/tests/foreign/install {}`", installed().display());
    let required = std::env::var("DOMICILE_FOREIGN").is_ok_and(|value| value == "required");
    assert!(!required, "{name} is not installed: {how}");
    eprintln!("\nSKIPPED: {name} is not installed, so nothing was tested with it. To install: {how}\n");
    false
}

/// Runs a program to its end and looks for these lines.
async fn run(shared: &Shared, program: &Path, script: &Path, wanted: &[&str]) {
    let ready = &shared.ready;
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=5", RUN_MAX])
        .args([program, script])
        .env("DOMICILE_ISSUER", &ready.issuer)
        .env("DOMICILE_ADMIN_URL", &ready.admin_url)
        .env("DOMICILE_ADMIN_TOKEN", &ready.admin_token)
        .env("DOMICILE_TENANT", &ready.tenant)
        .env("DOMICILE_USERNAME", &shared.person.username)
        .env("DOMICILE_PASSWORD", &shared.person.password)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // The node is on loopback, without TLS.
        .env("AUTHLIB_INSECURE_TRANSPORT", "1")
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}\n{log}", output.status);
    for step in wanted {
        assert!(said.lines().any(|line| line == *step), "`{step}` was not done:\n{said}");
    }
}

/// A program of ours, beside the libraries: modules are looked for from where it is.
async fn javascript(name: &str, wanted: &[&str]) {
    let folder = installed().join("npm");
    if !is_installed(&folder.join("node_modules"), name) {
        return;
    }
    let place = tempfile::Builder::new().prefix(name).tempdir_in(&folder).unwrap();
    for file in ["browser.mjs", name] {
        std::fs::copy(sources().join(file), place.path().join(file)).unwrap();
    }
    run(shared().await, Path::new("node"), &place.path().join(name), wanted).await;
}

#[tokio::test]
async fn npm_openid_client_goes_from_discovery_to_logout() {
    let wanted = [
        "ok discovery",
        "ok code with PKCE and an ID token",
        "ok userinfo",
        "ok introspection",
        "ok refresh",
        "ok pushed authorization request",
        "ok code of a pushed request",
        "ok logout by the relying party",
        "ok DPoP: code, with the nonce that the node asked for",
        "ok DPoP: userinfo",
        "ok DPoP: refresh",
        "ok client credentials with private_key_jwt",
        "done",
    ];
    javascript("openid_client.mjs", &wanted).await;
}

#[tokio::test]
async fn npm_oauth4webapi_finds_every_answer_in_order() {
    let wanted = [
        "ok discovery (oauth2)",
        "ok discovery (oidc)",
        "ok code with PKCE and an ID token",
        "ok userinfo",
        "ok introspection",
        "ok signed introspection (RFC 9701)",
        "ok refresh",
        "ok code of a pushed request",
        "ok a resource server's check of the JWT access token (RFC 9068)",
        "ok logout by the relying party",
        "ok DPoP: pushed request and code",
        "ok DPoP: userinfo",
        "ok DPoP: refresh",
        "ok client credentials with private_key_jwt",
        "done",
    ];
    javascript("oauth4webapi.mjs", &wanted).await;
}

#[tokio::test]
async fn pypi_authlib_goes_from_discovery_to_logout() {
    let python = installed().join("venv/bin/python");
    if !is_installed(&python, "authlib") {
        return;
    }
    let wanted = [
        "ok discovery",
        "ok code with PKCE and an ID token",
        "ok userinfo",
        "ok introspection",
        "ok refresh",
        "ok revocation",
        "ok a revoked refresh token is refused",
        "ok logout by the relying party",
        "ok client credentials with private_key_jwt",
        "done",
    ];
    run(shared().await, &python, &sources().join("authlib_client.py"), &wanted).await;
}

/// Seconds that `schemathesis` may spend on the admin API.
const SCHEMATHESIS_S: &str = "45";
/// What it looks at in each answer, a refusal too. Not whether data are refused: much of that only the domain can tell.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

#[tokio::test]
async fn pypi_schemathesis_finds_the_admin_api_as_its_document_says() {
    let program = installed().join("schemathesis/bin/schemathesis");
    if !is_installed(&program, "schemathesis") {
        return;
    }
    let ready = &shared().await.ready;
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=5", RUN_MAX])
        .arg(program)
        .arg("run")
        .arg(format!("{}/openapi.json", ready.admin_url))
        .arg("--header")
        .arg(format!("Authorization: Bearer {}", ready.admin_token))
        .args(["--checks", CHECKS])
        .args(["--phases", "coverage,fuzzing", "--max-examples", "20", "--max-time", SCHEMATHESIS_S])
        .args(["--seed", "1", "--request-timeout", "30", "--no-shrink", "--max-failures", "5"])
        // A RSA key takes long to make.
        .args(["--suppress-health-check", "all", "--warnings", "off"])
        .env("NO_COLOR", "1")
        .current_dir(place.path())
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}\n{said}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("passed") || said.contains("No issues"), "{said}");
}
