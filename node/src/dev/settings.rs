//! Settings of a development node: flags over built-in ones, the environment over both.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::anyhow;

use crate::cli::DevArgs;
use crate::config::{self, Config, DEFAULT_LOG_FILTER, Listen, Log, LogFormat, Tls};

/// Where management listens unless the system is to choose.
const MANAGEMENT_PORT: u16 = 9090;

/// Checked settings. Rate limits are off unless the environment sets one, and clients may be on this machine: what
/// they publish is fetched from loopback too, unless the environment says which networks.
pub(super) fn config(
    arguments: &DevArgs,
    env: impl Iterator<Item = (String, String)>,
) -> anyhow::Result<Config> {
    let mut defaults = Config::default();
    let management_port = if arguments.listen.port() == 0 { 0 } else { MANAGEMENT_PORT };
    defaults.listen = Listen {
        public: arguments.listen,
        admin: arguments.listen,
        management: SocketAddr::from((Ipv4Addr::LOCALHOST, management_port)),
        management_open: defaults.listen.management_open,
        peer: defaults.listen.peer,
    };
    defaults.storage.data_dir.clone_from(&arguments.data_dir);
    defaults.limits.rates = None;
    defaults.egress.allow_networks = vec!["127.0.0.0/8".parse()?, "::1".parse()?];
    defaults.log = Log { format: LogFormat::Text, filter: DEFAULT_LOG_FILTER.to_owned() };
    if let Some(origin) = &arguments.public_origin {
        let origin = config::parse_origin(origin).map_err(|reason| anyhow!("--public-origin: {reason}"))?;
        defaults.public_origin = Some(origin);
    }
    if let (Some(cert), Some(key)) = (arguments.tls_cert.clone(), arguments.tls_key.clone()) {
        defaults.tls = Some(Tls { cert, key });
    }
    let config = config::load_text(Path::new("(none)"), "", env, defaults)?;
    config.check_transport()?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn read(line: &str, env: &[(&str, &str)]) -> Result<Config, String> {
        let Command::Dev(arguments) = Cli::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("not dev")
        };
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        config(&arguments, env).map_err(|error| error.to_string())
    }

    #[test]
    fn dev_has_no_rate_limits_and_listens_on_loopback() {
        let config = read("domicile dev", &[]).unwrap();
        assert!(config.limits.rates.is_none());
        assert_eq!(config.listen.public.to_string(), "127.0.0.1:8080");
        assert_eq!(config.listen.management.to_string(), "127.0.0.1:9090");
        let config =
            read("domicile dev --listen 127.0.0.1:0", &[("DOMICILE__LIMITS__LOGIN_PER_NAME", "3")]).unwrap();
        assert_eq!(config.listen.management.port(), 0);
        assert_eq!(config.limits.rates.map(|rates| rates.login_per_name), Some(3));
    }

    #[test]
    fn loopback_and_nothing_else_of_what_is_private_is_fetched_from_in_dev_only() {
        let named = |config: &Config| {
            config.egress.allow_networks.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(named(&read("domicile dev", &[]).unwrap()), ["127.0.0.0/8", "::1/128"]);
        assert!(Config::default().egress.allow_networks.is_empty());
        for (networks, expected) in [("", &[][..]), ("10.7.0.0/16", &["10.7.0.0/16"][..])] {
            let env = [("DOMICILE__EGRESS__ALLOW_NETWORKS", networks)];
            assert_eq!(named(&read("domicile dev", &env).unwrap()), expected);
        }
    }

    #[test]
    fn dev_is_plain_on_loopback_only() {
        let refused = read("domicile dev --listen 0.0.0.0:8080", &[]).unwrap_err();
        assert!(refused.contains("plain HTTP is for loopback only"), "{refused}");
        read(
            "domicile dev --listen 0.0.0.0:8443 --public-origin https://id.example --tls-cert c --tls-key k",
            &[],
        )
        .unwrap();
        let refused = read("domicile dev --public-origin http://id.example", &[]).unwrap_err();
        assert!(refused.starts_with("--public-origin: "), "{refused}");
    }
}
