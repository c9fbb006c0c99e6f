//! Compares settings with each other once all are read.

use std::time::Duration;

use super::error::ConfigError;
use super::keys::{Draft, Halves};
use super::{Config, Tls};

/// Of `limits.request_timeout` in a cluster.
pub(crate) const REQUEST_TIMEOUT_MIN: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(30);

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
        if self.node.region.is_none() {
            return together("`node.region` is needed, such as `eu-central`");
        }
        if self.node.zone.is_none() {
            return together("`node.zone` is needed, such as `a`");
        }
        self.check_peers()?;
        self.check_request_timeout()?;
        self.check_transport()
    }

    /// Others must be able to reach this node, and delays are for one machine only.
    fn check_peers(&self) -> Result<(), ConfigError> {
        let listens = self.listen.peer;
        if self.advertise.peer.is_none() && listens.ip().is_unspecified() {
            return together(&format!(
                "`advertise.peer` is needed, such as `node1.example.org:{}`: `listen.peer` = {listens} is no \
                 address that others can reach",
                listens.port()
            ));
        }
        if !self.peers.delays.is_empty() && !listens.ip().to_canonical().is_loopback() {
            return together("`peers.delay_ms` is for nodes on loopback only");
        }
        Ok(())
    }

    /// A request is followed from node to node for 5 s at the most; less would cut it in the middle, and
    /// much more only holds what nobody waits for.
    fn check_request_timeout(&self) -> Result<(), ConfigError> {
        let timeout = self.limits.request_timeout;
        if (REQUEST_TIMEOUT_MIN..=REQUEST_TIMEOUT_MAX).contains(&timeout) {
            return Ok(());
        }
        together(&format!(
            "`limits.request_timeout` must be between {}s and {}s in a cluster",
            REQUEST_TIMEOUT_MIN.as_secs(),
            REQUEST_TIMEOUT_MAX.as_secs()
        ))
    }

    /// `host:port` where other nodes reach this one.
    pub fn peer_address(&self) -> String {
        self.advertise.peer.clone().unwrap_or_else(|| self.listen.peer.to_string())
    }

    /// Plain HTTP is for loopback only; for probes and figures also where that is said to be meant.
    ///
    /// # Errors
    /// [`ConfigError::Together`] if a listener would be reached in clear from outside.
    pub fn check_transport(&self) -> Result<(), ConfigError> {
        let (public, admin) = (self.listen.public, self.listen.admin);
        for (key, address) in [("listen.public", public), ("listen.admin", admin)] {
            if self.tls.is_none() && !address.ip().to_canonical().is_loopback() {
                return together(&format!(
                    "`{key}` = {address} needs `tls.cert` and `tls.key`: plain HTTP is for loopback only"
                ));
            }
        }
        let management = self.listen.management;
        if !self.listen.management_open && !management.ip().to_canonical().is_loopback() {
            return together(&format!(
                "`listen.management` = {management} needs `listen.management_open = \"on\"`: it is plain HTTP, and \
                 asks nobody who they are"
            ));
        }
        Ok(())
    }
}

fn together<T>(message: &str) -> Result<T, ConfigError> {
    Err(ConfigError::Together(message.to_owned()))
}
