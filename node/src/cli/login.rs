//! `domicile login`: an operator signs in with a browser, and the other commands have a token
//! (RFC 8252: authorization code with PKCE to a loopback address).

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use aws_lc_rs::digest;
use axum::body::Body;
use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use domicile_iam::commands::SYSTEM_SLUG;
use domicile_iam::model::{ADMIN_SCOPE, CLI_CLIENT_ID};
use domicile_oidc::endpoint;
use domicile_raft::{Clock, SystemClock};
use serde_json::Value;
use tokio::net::TcpListener;
use url::Url;

use super::callback::{self, Expected};
use super::host;
use super::site::Site;
use super::stored_token;
use super::token_endpoint::TokenEndpoint;
use crate::config::Config;
use crate::random_text::random_text;

/// How long the browser may take.
const SIGN_IN_MAX: Duration = Duration::from_mins(10);

/// Flags of `login`.
#[derive(Clone, Debug, Args)]
pub struct LoginArgs {
    /// Public origin of the cluster, as browsers see it [default: that of this host's settings, else
    /// `http://127.0.0.1:8080`]
    #[arg(long, env = "DOMICILE_URL", value_name = "URL")]
    url: Option<String>,
    /// Settings of the node on this host [default: `/etc/domicile/domicile.toml`, where there is one]
    #[arg(long, env = "DOMICILE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Certificates (PEM) to trust for an https URL [default: the system's, and the node's own]
    #[arg(long, env = "DOMICILE_ADMIN_CA", value_name = "FILE")]
    admin_ca: Option<PathBuf>,
}

#[allow(clippy::struct_field_names, reason = "the word is the flag's")]
/// What discovery says of the tenant of operators.
struct Issuer {
    issuer: String,
    authorize: Url,
    token: String,
}

/// Signs in.
///
/// # Errors
/// What a person should read on standard error.
pub(super) fn run(arguments: &LoginArgs) -> anyhow::Result<()> {
    let path = stored_token::path().context("neither XDG_CONFIG_HOME nor HOME says where to keep a token")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(sign_in(arguments, &path, &SystemClock::new()))?;
    println!("Signed in. The token is in {}.", path.display());
    Ok(())
}

async fn sign_in(arguments: &LoginArgs, path: &Path, clock: &dyn Clock) -> anyhow::Result<()> {
    let settings = match &arguments.url {
        Some(_) => None,
        None => host::settings(arguments.config.as_deref())?,
    };
    let trust = &host::public_trust(settings.as_ref(), arguments.admin_ca.as_deref());
    let found = discover(&Site::new(&public_url(arguments, settings.as_ref()), trust)?).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on loopback")?;
    let redirect_uri = format!("http://{}{}", listener.local_addr()?, callback::PATH);
    let (state, verifier) = (random_text(clock, 16), random_text(clock, 32));
    let address = authorization_request(&found.authorize, &redirect_uri, &state, &verifier);
    println!("Open this address in a browser on this machine and sign in:\n\n{address}\n");
    let expected = Expected { state, issuer: found.issuer };
    let code = tokio::time::timeout(SIGN_IN_MAX, callback::wait(listener, expected)).await;
    let code = code.context("nobody signed in within 10 minutes")??;
    let endpoint = TokenEndpoint::at(&found.token, trust)?;
    let token = endpoint.redeem(&code, &redirect_uri, &verifier, clock.now()).await?;
    token.store(path)
}

/// What was given, else what the settings of this host say.
fn public_url(arguments: &LoginArgs, settings: Option<&Config>) -> String {
    let own = || settings.and_then(|settings| settings.public_origin.as_ref()).map(ToString::to_string);
    arguments.url.clone().or_else(own).unwrap_or_else(|| host::DEV_URL.to_owned())
}

async fn discover(site: &Site) -> anyhow::Result<Issuer> {
    let path = format!("/t/{SYSTEM_SLUG}{}", endpoint::OPENID_CONFIGURATION);
    let (status, bytes) = site.send(Method::GET, &path, &[], Body::empty()).await?;
    anyhow::ensure!(status.is_success(), "{status}: there is no tenant of operators at {}", site.url());
    let document: Value = serde_json::from_slice(&bytes).context("the node's answer is not JSON")?;
    issuer(&document, site.url())
}

/// RFC 8414 §3.3: who answers must be who was asked, or a token could go to somebody else.
fn issuer(document: &Value, asked: &Url) -> anyhow::Result<Issuer> {
    let text = |name| document.get(name).and_then(Value::as_str);
    let url = |name| text(name).and_then(|text| Url::parse(text).ok());
    let issuer = url("issuer").context("discovery names no issuer")?;
    let own = issuer.origin();
    anyhow::ensure!(
        own == asked.origin(),
        "the cluster calls itself {0}: give --url {0}",
        own.ascii_serialization()
    );
    let authorize = url("authorization_endpoint").filter(|url| url.origin() == own);
    let token = url("token_endpoint").filter(|url| url.origin() == own);
    Ok(Issuer {
        issuer: text("issuer").unwrap_or_default().to_owned(),
        authorize: authorize.context("discovery names no authorization endpoint of the issuer")?,
        token: token.context("discovery names no token endpoint of the issuer")?.to_string(),
    })
}

fn authorization_request(authorize: &Url, redirect_uri: &str, state: &str, verifier: &str) -> Url {
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    let mut url = authorize.clone();
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", CLI_CLIENT_ID)
        .append_pair("redirect_uri", redirect_uri)
        .append_pair("scope", &format!("openid {ADMIN_SCOPE}"))
        .append_pair("state", state)
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    url
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rfc8414_s3_3_another_origins_documents_are_refused() {
        let asked = Url::parse("https://id.example").unwrap();
        let document = |issuer: &str, token: &str| {
            json!({
                "issuer": issuer,
                "authorization_endpoint": "https://id.example/t/system/oauth2/authorize",
                "token_endpoint": token,
            })
        };
        let own = "https://id.example/t/system";
        assert!(issuer(&document(own, "https://id.example/t/system/oauth2/token"), &asked).is_ok());
        for (named, token) in [
            ("https://evil.example/t/system", "https://id.example/t/system/oauth2/token"),
            (own, "https://evil.example/token"),
            ("", ""),
        ] {
            assert!(issuer(&document(named, token), &asked).is_err(), "{named} {token}");
        }
    }

    #[test]
    fn rfc7636_appendix_b_the_challenge_is_the_verifiers_digest() {
        let authorize = Url::parse("https://id.example/t/system/oauth2/authorize").unwrap();
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let url = authorization_request(&authorize, "http://127.0.0.1:9/callback", "s", verifier);
        let challenge = url.query_pairs().find(|(name, _)| name == "code_challenge").unwrap().1.into_owned();
        assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
