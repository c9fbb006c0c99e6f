//! How the commands reach the admin API, and as whom.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use domicile_raft::{Clock as _, SystemClock};

use super::admin_client::{AdminClient, WAIT_MAX};
use super::host;
use super::output;
use super::sign_ins::{self, Wanted};
use crate::config::{Config, Secret};

/// How to reach the admin API.
#[derive(Clone, Debug, Args)]
pub struct AdminAccess {
    /// Admin URL of a node, without `/v1` [default: that of this host's settings, else
    /// `http://127.0.0.1:8080`]
    #[arg(long, global = true, env = "DOMICILE_ADMIN_URL", value_name = "URL")]
    admin_url: Option<String>,
    /// Settings of the node on this host, which say where its admin API is and what certificate it has
    /// [default: `/etc/domicile/domicile.toml`, where there is one]
    #[arg(long, global = true, env = "DOMICILE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Bearer token. Others on this machine can see it here: prefer the environment or a file
    #[arg(long, global = true, env = "DOMICILE_ADMIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    admin_token: Option<String>,
    /// File that holds the bearer token
    #[arg(
        long,
        global = true,
        env = "DOMICILE_ADMIN_TOKEN_FILE",
        conflicts_with = "admin_token",
        value_name = "FILE"
    )]
    admin_token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust for an https admin URL [default: the node's own, else the system's]
    #[arg(long, global = true, env = "DOMICILE_ADMIN_CA", value_name = "FILE")]
    admin_ca: Option<PathBuf>,
    /// Public origin of the cluster whose sign-in is used, as `login` was told [default: that of this host's
    /// settings, else the one that fits the admin URL]
    #[arg(long, global = true, env = "DOMICILE_URL", value_name = "URL")]
    url: Option<String>,
    /// How long to wait for an answer, in s; a change is tried again in this time
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        default_value_t = WAIT_MAX.as_secs(),
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    timeout: u64,
    /// Print JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl AdminAccess {
    /// Of the node that is named, else of the one on this host. What it waits for it says on standard error.
    pub(super) async fn client(&self) -> anyhow::Result<AdminClient> {
        let tell = |text: &str| output::note(format_args!("{text}"));
        Ok(self.reaching().await?.waiting(Duration::from_secs(self.timeout), tell))
    }

    async fn reaching(&self) -> anyhow::Result<AdminClient> {
        let authorities = self.admin_ca.as_deref();
        if let Some(url) = &self.admin_url {
            return Ok(AdminClient::new(url, self.token(None, Wanted::Reaching(url)).await?, authorities)?);
        }
        if let Some(settings) = host::settings(self.config.as_deref())? {
            let own = settings.public_origin.as_ref();
            let wanted = own.map_or(Wanted::Reaching(host::DEV_URL), |origin| Wanted::At(origin.as_str()));
            let token = self.token(Some(&settings), wanted).await?;
            return Ok(AdminClient::of_this_host(&host::Admin::of(&settings, authorities), token)?);
        }
        let token = self.token(None, Wanted::Reaching(host::DEV_URL)).await?;
        Ok(AdminClient::new(host::DEV_URL, token, authorities)?)
    }

    /// The token that is given, else the one of `domicile login`, else that of this host's settings.
    async fn token(&self, settings: Option<&Config>, wanted: Wanted<'_>) -> anyhow::Result<Secret> {
        match (&self.admin_token, &self.admin_token_file) {
            (Some(token), _) => return Ok(Secret::new(token.as_str())),
            (None, Some(file)) => return read_secret(file),
            (None, None) => {}
        }
        let wanted = self.url.as_deref().map_or(wanted, Wanted::At);
        let trust = host::public_trust(settings, self.admin_ca.as_deref());
        let kept = sign_ins::current(SystemClock::new().now(), &trust, wanted).await?;
        kept.or_else(|| settings.and_then(|settings| settings.admin.token.clone()))
            .context("run `domicile login`, or give --admin-token-file or DOMICILE_ADMIN_TOKEN")
    }
}

/// What a file holds, `-` for standard input, without the end of its line.
pub(super) fn read_secret(path: &Path) -> anyhow::Result<Secret> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    } else {
        text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}
