//! `domicile logout`: gives the token of `domicile login` back (RFC 7009), and removes it here.

use anyhow::Context as _;
use clap::Args;

use super::host;
use super::issuer::{Issuer, IssuerArgs};
use super::oauth_form::FormEndpoint;
use super::output;
use super::sign_ins::{Kept, SignIns, Wanted};
use super::stored_token::StoredToken;
use super::trust::Trust;

/// Flags of `logout`.
#[derive(Clone, Debug, Args)]
pub struct LogoutArgs {
    /// Where.
    #[command(flatten)]
    place: IssuerArgs,
    /// Remove the token here though the cluster cannot be told: it counts until it ends by itself
    #[arg(long)]
    forget: bool,
}

/// Signs out.
///
/// # Errors
/// What a person should read on standard error.
pub(super) fn run(arguments: &LogoutArgs) -> anyhow::Result<()> {
    let settings = arguments.place.settings()?;
    let own = settings.as_ref().and_then(|settings| settings.public_origin.as_ref());
    let wanted = match (&arguments.place.url, own) {
        (Some(url), _) => Wanted::At(url),
        (None, Some(origin)) => Wanted::At(origin.as_str()),
        (None, None) => Wanted::Reaching(host::DEV_URL),
    };
    let sign_ins =
        SignIns::of_user().context("neither XDG_CONFIG_HOME nor HOME says where tokens are kept")?;
    let kept = sign_ins.find(wanted)?.context("nobody is signed in there")?;
    if !arguments.forget {
        let trust = arguments.place.trust(settings.as_ref());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let told = runtime.block_on(give_back(&kept, &trust));
        told.context(
            "the cluster could not be told, and nothing was removed (--forget removes the token here)",
        )?;
    }
    kept.forget()?;
    output::line(format_args!("Signed out of {}.", kept.token.origin()?))?;
    Ok(())
}

/// With the refresh token end all access tokens that came of it.
async fn give_back(kept: &Kept, trust: &Trust) -> anyhow::Result<()> {
    let StoredToken { access_token, refresh_token, .. } = &kept.token;
    let found = Issuer::discover(&kept.token.origin()?, trust).await?;
    let revoke = found.revoke.context("the cluster takes no tokens back")?;
    let fields = match refresh_token {
        Some(token) => [("token", token.as_str()), ("token_type_hint", "refresh_token")],
        None => [("token", access_token.as_str()), ("token_type_hint", "access_token")],
    };
    FormEndpoint::at(revoke.as_str(), trust)?.post(&fields).await?.good()?;
    Ok(())
}
