//! `domicile login`: an operator signs in, and the other commands have a token. With a browser on this machine
//! (RFC 8252: authorization code with PKCE to a loopback address), or anywhere else (`device_login.rs`).

use std::time::Duration;

use anyhow::Context as _;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use domicile_iam::model::{ADMIN_SCOPE, CLI_CLIENT_ID};
use domicile_raft::{Clock, SystemClock};
use tokio::net::TcpListener;
use url::Url;

use super::callback::{self, Expected};
use super::device_login;
use super::issuer::{Issuer, IssuerArgs};
use super::output;
use super::sign_ins::SignIns;
use super::stored_token::StoredToken;
use super::token_endpoint::TokenEndpoint;
use super::trust::Trust;
use crate::random_text::random_text;

/// How long the browser may take.
const SIGN_IN_MAX: Duration = Duration::from_mins(10);

/// Flags of `login`.
#[derive(Clone, Debug, Args)]
pub struct LoginArgs {
    /// Where.
    #[command(flatten)]
    place: IssuerArgs,
    /// Show an address and a code for a browser on any machine, where there is none on this one
    #[arg(long)]
    device: bool,
}

/// Signs in.
///
/// # Errors
/// What a person should read on standard error.
pub(super) fn run(arguments: &LoginArgs) -> anyhow::Result<()> {
    let sign_ins =
        SignIns::of_user().context("neither XDG_CONFIG_HOME nor HOME says where to keep a token")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let token = runtime.block_on(sign_in(arguments, &SystemClock::new()))?;
    let path = sign_ins.keep(&token)?;
    output::line(format_args!("Signed in. The token is in {}.", path.display()))?;
    Ok(())
}

async fn sign_in(arguments: &LoginArgs, clock: &dyn Clock) -> anyhow::Result<StoredToken> {
    let settings = arguments.place.settings()?;
    let trust = arguments.place.trust(settings.as_ref());
    let found = Issuer::discover(&arguments.place.public_url(settings.as_ref()), &trust).await?;
    if arguments.device {
        return device_login::sign_in(&found, &trust, clock).await;
    }
    with_browser(&found, &trust, clock).await
}

/// With a browser on this machine.
async fn with_browser(found: &Issuer, trust: &Trust, clock: &dyn Clock) -> anyhow::Result<StoredToken> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on loopback")?;
    let redirect_uri = format!("http://{}{}", listener.local_addr()?, callback::PATH);
    let (state, verifier) = (random_text(clock, 16), random_text(clock, 32));
    let address = authorization_request(&found.authorize, &redirect_uri, &state, &verifier);
    output::line(format_args!("Open this address in a browser on this machine and sign in:\n\n{address}\n"))?;
    output::line(format_args!("(With a browser elsewhere: domicile login --device)"))?;
    let expected = Expected { state, issuer: found.issuer.clone() };
    let code = tokio::time::timeout(SIGN_IN_MAX, callback::wait(listener, expected)).await;
    let code = code.context("nobody signed in within 10 minutes")??;
    let endpoint = TokenEndpoint::at(found.token.as_str(), trust)?;
    endpoint.redeem(&code, &redirect_uri, &verifier, clock.now()).await
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
    use super::*;

    #[test]
    fn rfc7636_appendix_b_the_challenge_is_the_verifiers_digest() {
        let authorize = Url::parse("https://id.example/t/system/oauth2/authorize").unwrap();
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let url = authorization_request(&authorize, "http://127.0.0.1:9/callback", "s", verifier);
        let challenge = url.query_pairs().find(|(name, _)| name == "code_challenge").unwrap().1.into_owned();
        assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
