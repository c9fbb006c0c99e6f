//! Compares settings with each other once all are read.

use super::error::ConfigError;
use super::keys::{Draft, Halves};
use super::{Config, Tls};

pub(super) fn finish(draft: Draft) -> Result<Config, ConfigError> {
    let Draft { mut config, halves: Halves { tls_cert, tls_key, mut keks } } = draft;
    match (tls_cert, tls_key) {
        (Some(cert), Some(key)) => config.tls = Some(Tls { cert, key }),
        (Some(_), None) => return together("`tls.cert` needs `tls.key`"),
        (None, Some(_)) => return together("`tls.key` needs `tls.cert`"),
        (None, None) => {}
    }
    if keks.len() > 1 {
        return together("give one of `kek.file`, `kek.env` and `kek.command`");
    }
    if let Some(kek) = keks.pop() {
        config.kek = Some(kek);
    }
    Ok(config)
}

impl Config {
    /// What a node must be told before it can serve others than its own machine.
    ///
    /// # Errors
    /// [`ConfigError::Together`] naming what lacks.
    pub fn check_complete(&self) -> Result<(), ConfigError> {
        if self.public_origin.is_none() {
            return together("`public_origin` is needed: clients see it in every issuer");
        }
        if self.kek.is_none() {
            return together("one of `kek.file`, `kek.env` and `kek.command` is needed");
        }
        if self.admin.token.is_none() {
            return together("`admin.token_file` is needed");
        }
        self.check_transport()
    }

    /// Plain HTTP is for loopback only.
    ///
    /// # Errors
    /// [`ConfigError::Together`] if the public or admin listener would be reached in clear from outside.
    pub fn check_transport(&self) -> Result<(), ConfigError> {
        let (public, admin) = (self.listen.public, self.listen.admin);
        for (key, address) in [("listen.public", public), ("listen.admin", admin)] {
            if self.tls.is_none() && !address.ip().to_canonical().is_loopback() {
                return together(&format!(
                    "`{key}` = {address} needs `tls.cert` and `tls.key`: plain HTTP is for loopback only"
                ));
            }
        }
        Ok(())
    }
}

fn together<T>(message: &str) -> Result<T, ConfigError> {
    Err(ConfigError::Together(message.to_owned()))
}
