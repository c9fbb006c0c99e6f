//! The token that `domicile login` keeps for the other commands: a file for its owner only.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use anyhow::Context as _;
use domicile_raft::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

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
    /// What the token endpoint answered.
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

    /// The one in this file; `None` if there is no such file.
    pub(super) fn load(path: &Path) -> anyhow::Result<Option<Self>> {
        let bytes = match std::fs::read(path) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let stored: Self = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is damaged: remove it, and run `domicile login`", path.display()))?;
        anyhow::ensure!(
            stored.format == FORMAT,
            "{} is of another version: remove it, and run `domicile login`",
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

    /// The public origin of the cluster that gave it.
    pub(super) fn origin(&self) -> anyhow::Result<String> {
        origin(&self.token_endpoint)
    }

    /// Whether a successor is needed.
    pub(super) fn ends_soon(&self, now: Timestamp) -> bool {
        now.plus_ms(MARGIN_MS).seconds() >= self.expires_at_s
    }
}

/// Scheme, host and port of a URL, as browsers write them.
pub(super) fn origin(url: &str) -> anyhow::Result<String> {
    let parsed = Url::parse(url).ok().filter(Url::has_host);
    let parsed = parsed.with_context(|| format!("`{url}` is not an http or https URL"))?;
    Ok(parsed.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_kept_for_its_owner_and_known_to_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/domicile/token");
        assert!(StoredToken::load(&path).unwrap().is_none());
        let token = StoredToken::new("http://x:80/token", "a".to_owned(), None, Timestamp(100_000));
        assert_eq!(token.origin().unwrap(), "http://x");
        token.store(&path).unwrap();
        assert!(StoredToken::load(&path).unwrap() == Some(token.clone()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!token.ends_soon(Timestamp(69_000)) && token.ends_soon(Timestamp(70_000)));
        std::fs::write(&path, "{}").unwrap();
        assert!(StoredToken::load(&path).is_err());
    }
}
