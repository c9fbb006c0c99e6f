//! What a development node made up for itself, kept in `dev.json` beside its data, mode 0600.

use std::fs;
use std::path::{Path, PathBuf};

use domicile_raft::Clock;
use serde::{Deserialize, Serialize};

use crate::private_file;
use crate::random_text::random_text;

const FILE: &str = "dev.json";
const FORMAT: u8 = 1;

/// The credentials file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Reading or writing failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Not what this program wrote.
    #[error("{} is not a credentials file of this version", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
    /// A newer program wrote it.
    #[error("{} has format {found}, this program knows {FORMAT}", path.display())]
    Format {
        /// Which.
        path: PathBuf,
        /// What it says.
        found: u8,
    },
}

/// Credentials of the demo tenant and of the admin API.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    format: u8,
    /// The tenant's slug.
    pub tenant: String,
    /// Login name of the demo user.
    pub username: String,
    /// Their password.
    pub password: String,
    /// The demo client.
    pub client_id: String,
    /// Its secret; none until the client was registered.
    #[serde(default)]
    pub client_secret: Option<String>,
    /// Opens the admin API.
    pub admin_token: String,
}

impl Credentials {
    /// Those of `data_dir`; made up and stored on the first start. Everything but the client's secret
    /// is decided before seeding begins, so that an interrupted seeding can be resumed.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn load_or_make(data_dir: &Path, clock: &dyn Clock) -> Result<Self, CredentialsError> {
        let path = data_dir.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => Self::parse(&bytes, path),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                // Of two first starts one wins; both read what it made.
                let text = Self::make(clock).text(&path)?;
                let failed = |action| {
                    let path = path.clone();
                    move |cause| CredentialsError::Io { action, path, cause }
                };
                private_file::create(&path, &text).map_err(failed("write"))?;
                let found = fs::read(&path).map_err(failed("read"))?;
                Self::parse(&found, path)
            }
            Err(cause) => Err(CredentialsError::Io { action: "read", path, cause }),
        }
    }

    /// Replaces the file, whole or not at all.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn store(&self, data_dir: &Path) -> Result<(), CredentialsError> {
        let path = data_dir.join(FILE);
        let text = self.text(&path)?;
        private_file::replace(&path, &text).map_err(|cause| CredentialsError::Io {
            action: "write",
            path,
            cause,
        })
    }

    fn text(&self, path: &Path) -> Result<Vec<u8>, CredentialsError> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|cause| CredentialsError::Malformed { path: path.to_owned(), cause })?;
        text.push(b'\n');
        Ok(text)
    }

    fn parse(bytes: &[u8], path: PathBuf) -> Result<Self, CredentialsError> {
        let found: Self = match serde_json::from_slice(bytes) {
            Ok(found) => found,
            Err(cause) => return Err(CredentialsError::Malformed { path, cause }),
        };
        if found.format == FORMAT {
            Ok(found)
        } else {
            Err(CredentialsError::Format { path, found: found.format })
        }
    }

    fn make(clock: &dyn Clock) -> Self {
        let demo = || "demo".to_owned();
        Self {
            format: FORMAT,
            tenant: demo(),
            username: demo(),
            password: random_text(clock, 12),
            client_id: demo(),
            client_secret: None,
            admin_token: random_text(clock, 32),
        }
    }
}

#[cfg(test)]
mod tests {
    use domicile_raft::Timestamp;
    use domicile_raft::testing::ManualClock;

    use super::*;

    #[test]
    fn a_second_start_reuses_what_the_first_made_up() {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(Timestamp(0), 1);
        let mut first = Credentials::load_or_make(directory.path(), &clock).unwrap();
        assert!(first.password.len() >= 16 && first.admin_token.len() >= 43);
        first.client_secret = Some("s".to_owned());
        first.store(directory.path()).unwrap();
        let second = Credentials::load_or_make(directory.path(), &clock).unwrap();
        assert!(second == first);
    }

    #[test]
    fn a_damaged_or_newer_file_is_named_and_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let clock = ManualClock::new(Timestamp(0), 1);
        fs::write(&path, "{").unwrap();
        let error = Credentials::load_or_make(directory.path(), &clock).err().unwrap();
        assert_eq!(
            error.to_string(),
            format!("{} is not a credentials file of this version", path.display())
        );
        let mut newer = Credentials::make(&clock);
        newer.format = 2;
        newer.store(directory.path()).unwrap();
        let error = Credentials::load_or_make(directory.path(), &clock).err().unwrap();
        assert_eq!(error.to_string(), format!("{} has format 2, this program knows 1", path.display()));
    }
}
