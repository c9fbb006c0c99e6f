//! The token that `domicile login` keeps for the other commands: `$XDG_CONFIG_HOME/domicile/token`, else
//! `~/.config/domicile/token`, for its owner only.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};

use super::token_endpoint::TokenEndpoint;
use super::trust::Trust;
use crate::config::Secret;
use crate::private_file;

const FORMAT: u32 = 1;
/// A token that ends sooner is exchanged first: the command should end before the token.
const MARGIN_MS: u64 = 30_000;

/// What is kept. A secret: never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredToken {
    pub(super) format: u32,
    /// Where a successor is given.
    pub(super) token_endpoint: String,
    pub(super) access_token: String,
    pub(super) refresh_token: Option<String>,
    /// Seconds since 1970.
    pub(super) expires_at_s: u64,
}

impl StoredToken {
    /// What the token endpoint answered at `now`.
    pub(super) fn new(
        token_endpoint: &str,
        access_token: String,
        refresh_token: Option<String>,
        expires_at: Timestamp,
    ) -> Self {
        Self {
            format: FORMAT,
            token_endpoint: token_endpoint.to_owned(),
            access_token,
            refresh_token,
            expires_at_s: expires_at.seconds(),
        }
    }

    fn load(path: &Path) -> anyhow::Result<Option<Self>> {
        let bytes = match std::fs::read(path) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let stored: Self = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is damaged: run `domicile login`", path.display()))?;
        anyhow::ensure!(
            stored.format == FORMAT,
            "{} is of another version: run `domicile login`",
            path.display()
        );
        Ok(Some(stored))
    }

    /// Keeps it for later commands.
    pub(super) fn store(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(parent) = path.parent() {
            let mut folder = std::fs::DirBuilder::new();
            let made = folder.recursive(true).mode(0o700).create(parent);
            made.with_context(|| format!("cannot make {}", parent.display()))?;
        }
        let stored = private_file::replace(path, &serde_json::to_vec(self)?);
        stored.with_context(|| format!("cannot write {}", path.display()))
    }

    fn ends_soon(&self, now: Timestamp) -> bool {
        now.plus_ms(MARGIN_MS).seconds() >= self.expires_at_s
    }
}

/// Where it is kept; `None` without a home.
pub(super) fn path() -> Option<PathBuf> {
    path_in(std::env::var_os("XDG_CONFIG_HOME").map(Into::into), std::env::var_os("HOME").map(Into::into))
}

/// XDG Base Directory Specification: a path that is not absolute is ignored.
fn path_in(xdg: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let config = xdg.filter(|path| path.is_absolute());
    let config = config.or_else(|| home.filter(|home| home.is_absolute()).map(|home| home.join(".config")));
    config.map(|config| config.join("domicile").join("token"))
}

/// The token to use now, exchanged for its successor if it is about to end; `None` if nobody signed in.
pub(super) async fn current(now: Timestamp, trust: &Trust) -> anyhow::Result<Option<Secret>> {
    let Some(path) = path() else { return Ok(None) };
    let Some(stored) = StoredToken::load(&path)? else { return Ok(None) };
    if !stored.ends_soon(now) {
        return Ok(Some(Secret::new(stored.access_token)));
    }
    let refresh_token = stored.refresh_token.context("the sign-in has ended: run `domicile login`")?;
    let endpoint = TokenEndpoint::at(&stored.token_endpoint, trust)?;
    let refreshed = endpoint.refresh(&refresh_token, now).await;
    let fresh = refreshed.context("the sign-in cannot be renewed: run `domicile login`")?;
    fresh.store(&path)?;
    Ok(Some(Secret::new(fresh.access_token)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_file_is_below_the_configuration_directory() {
        let path = |xdg: Option<&str>, home: Option<&str>| {
            path_in(xdg.map(Into::into), home.map(Into::into)).map(|path| path.display().to_string())
        };
        assert_eq!(path(Some("/x"), Some("/h")), Some("/x/domicile/token".to_owned()));
        assert_eq!(path(None, Some("/h")), Some("/h/.config/domicile/token".to_owned()));
        assert_eq!(path(Some("relative"), Some("/h")), Some("/h/.config/domicile/token".to_owned()));
        assert_eq!(path(Some(""), None), None);
    }

    #[test]
    fn a_token_is_kept_for_its_owner_and_known_to_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/domicile/token");
        assert!(StoredToken::load(&path).unwrap().is_none());
        let token = StoredToken::new("http://x/token", "a".to_owned(), None, Timestamp(100_000));
        token.store(&path).unwrap();
        assert!(StoredToken::load(&path).unwrap() == Some(token.clone()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!token.ends_soon(Timestamp(69_000)) && token.ends_soon(Timestamp(70_000)));
        std::fs::write(&path, "{}").unwrap();
        assert!(StoredToken::load(&path).is_err());
    }
}
