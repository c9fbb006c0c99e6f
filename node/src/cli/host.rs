//! What the settings of a node on this host say about where the cluster is: what nobody has to say again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;

use super::trust::Trust;
use crate::config::{self, Config};

/// Where packages put the settings.
const SETTINGS: &str = "/etc/domicile/domicile.toml";
/// Where `domicile dev` listens unless it is told otherwise.
pub(super) const DEV_URL: &str = "http://127.0.0.1:8080";

/// The settings in `given`, or those of a package where there are any.
///
/// # Errors
/// Settings that cannot be used.
pub(super) fn settings(given: Option<&Path>) -> anyhow::Result<Option<Config>> {
    let packaged = || Some(Path::new(SETTINGS)).filter(|path| path.exists());
    let Some(path) = given.or_else(packaged) else { return Ok(None) };
    let read = config::load(Some(path), std::env::vars(), Config::default());
    read.map(Some).context("the settings of this host's node cannot be used (--admin-url goes without them)")
}

/// The admin listener of this host's node.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Admin {
    /// With a name that the node answers for.
    pub(super) url: String,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// Who it must be, under https.
    pub(super) trust: Trust,
}

impl Admin {
    /// As `settings` say. It is reached where it listens, whatever others are told (`advertise.admin`).
    pub(super) fn of(settings: &Config, authorities: Option<&Path>) -> Self {
        let listens = settings.listen.admin;
        let ip = match listens.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
        };
        let scheme = if settings.tls.is_some() { "https" } else { "http" };
        let trust = match (authorities, &settings.tls) {
            (None, Some(tls)) => Trust::Exactly(tls.cert.clone()),
            (given, _) => Trust::given(given),
        };
        Self {
            url: format!("{scheme}://localhost:{}", listens.port()),
            address: SocketAddr::new(ip, listens.port()),
            trust,
        }
    }
}

/// Whom to believe at the public origin: also a certificate of no known authority, where it is the node's own.
pub(super) fn public_trust(settings: Option<&Config>, authorities: Option<&Path>) -> Trust {
    let own = || settings.and_then(|settings| settings.tls.as_ref()).map(|tls| tls.cert.clone());
    authorities.map_or_else(|| Trust::System(own()), |file| Trust::Authorities(file.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Config {
        config::load_text(Path::new("t"), text, std::iter::empty(), Config::default()).unwrap()
    }

    #[test]
    fn the_admin_listener_is_reached_where_it_listens_under_the_certificate_of_the_settings() {
        let tls = "[tls]\ncert = \"/c.pem\"\nkey = \"/k.pem\"\n";
        let exactly = || Trust::Exactly("/c.pem".into());
        for (settings, url, address, trust) in [
            (String::new(), "http://localhost:8444", "127.0.0.1:8444", Trust::System(None)),
            (tls.to_owned(), "https://localhost:8444", "127.0.0.1:8444", exactly()),
            (
                format!("[listen]\nadmin = \"[::1]:9444\"\n{tls}"),
                "https://localhost:9444",
                "[::1]:9444",
                exactly(),
            ),
            (
                format!("[listen]\nadmin = \"[::]:9444\"\n{tls}"),
                "https://localhost:9444",
                "[::1]:9444",
                exactly(),
            ),
            (
                format!("[advertise]\nadmin = \"https://admin.example.org\"\n{tls}"),
                "https://localhost:8444",
                "127.0.0.1:8444",
                exactly(),
            ),
        ] {
            let expected = Admin { url: url.to_owned(), address: address.parse().unwrap(), trust };
            assert_eq!(Admin::of(&read(&settings), None), expected, "{settings}");
        }
        let given = Path::new("/ca.pem");
        assert_eq!(Admin::of(&read(tls), Some(given)).trust, Trust::Authorities(given.to_owned()));
    }

    #[test]
    fn settings_that_were_named_are_needed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("domicile.toml");
        let refused = format!("{:#}", settings(Some(&path)).unwrap_err());
        assert!(refused.contains("--admin-url") && refused.contains("domicile.toml"), "{refused}");
        std::fs::write(&path, "[listen]\nadmin = \"127.0.0.1:9\"\n").unwrap();
        let found = settings(Some(&path)).unwrap().unwrap();
        assert_eq!(found.listen.admin.port(), 9);
    }
}
