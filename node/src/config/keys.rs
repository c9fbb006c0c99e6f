//! The one list of keys: how each is read and bounded.

use std::path::PathBuf;

use url::Url;

use super::names;
use super::units;
use super::{Config, ForwardedHeader, Kek, LogFormat, Network, Rates, Secret};

/// A value before its key gave it meaning.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    /// A string, or anything from the environment.
    Text(String),
    /// A number.
    Integer(u64),
    /// A list of strings.
    List(Vec<String>),
}

/// Parts of settings that only make sense together; `check.rs` joins them.
#[derive(Default)]
pub(super) struct Halves {
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) keks: Vec<Kek>,
}

/// What is being read.
pub(super) struct Draft {
    pub(super) config: Config,
    pub(super) halves: Halves,
}

/// One key.
pub(super) struct KeySpec {
    /// With its section.
    pub(super) path: &'static str,
    /// Whether `<path>_file` names a file that holds the value.
    pub(super) secret: bool,
    /// Reads it.
    pub(super) set: fn(&mut Draft, &Raw) -> Result<(), String>,
}

const fn key(path: &'static str, set: fn(&mut Draft, &Raw) -> Result<(), String>) -> KeySpec {
    KeySpec { path, secret: false, set }
}

/// All keys of the file and of the environment.
pub(super) const KEYS: &[KeySpec] = &[
    key("public_origin", |draft, raw| {
        draft.config.public_origin = Some(origin(raw.text()?)?);
        Ok(())
    }),
    key("aliases", |draft, raw| {
        draft.config.aliases = raw.list()?.iter().map(|text| origin(text)).collect::<Result<_, _>>()?;
        Ok(())
    }),
    key("node.region", |draft, raw| {
        draft.config.node.region = Some(names::place(raw.text()?)?);
        Ok(())
    }),
    key("node.zone", |draft, raw| {
        draft.config.node.zone = Some(names::place(raw.text()?)?);
        Ok(())
    }),
    key("node.jurisdiction", |draft, raw| {
        draft.config.node.jurisdiction = Some(names::place(raw.text()?)?);
        Ok(())
    }),
    key("trusted_proxies", |draft, raw| {
        raw.networks().map(|networks| draft.config.trusted_proxies = networks)
    }),
    key("forwarded_header", |draft, raw| {
        draft.config.forwarded_header = match raw.text()? {
            "x-forwarded-for" => ForwardedHeader::XForwardedFor,
            "forwarded" => ForwardedHeader::Forwarded,
            other => return Err(format!("`{other}` is not `x-forwarded-for` or `forwarded`")),
        };
        Ok(())
    }),
    key("listen.public", |draft, raw| raw.address().map(|address| draft.config.listen.public = address)),
    key("listen.admin", |draft, raw| raw.address().map(|address| draft.config.listen.admin = address)),
    key("listen.management", |draft, raw| {
        raw.address().map(|address| draft.config.listen.management = address)
    }),
    key("listen.management_open", |draft, raw| {
        draft.config.listen.management_open = match raw.text()? {
            "on" => true,
            "off" => false,
            other => return Err(format!("`{other}` is not `on` or `off`")),
        };
        Ok(())
    }),
    key("listen.peer", |draft, raw| raw.address().map(|address| draft.config.listen.peer = address)),
    key("advertise.peer", |draft, raw| {
        draft.config.advertise.peer = Some(names::authority(raw.text()?)?);
        Ok(())
    }),
    key("advertise.public", |draft, raw| {
        draft.config.advertise.public = Some(origin(raw.text()?)?);
        Ok(())
    }),
    key("advertise.admin", |draft, raw| {
        draft.config.advertise.admin = Some(origin(raw.text()?)?);
        Ok(())
    }),
    key("advertise.management", |draft, raw| {
        draft.config.advertise.management = Some(names::http_origin(raw.text()?)?);
        Ok(())
    }),
    key("cluster.dead_after", |draft, raw| {
        draft.config.cluster.dead_after = units::duration(raw.text()?, &(5_000..=86_400_000))?;
        Ok(())
    }),
    key("cluster.join_file", |draft, raw| raw.path().map(|path| draft.config.cluster.join_file = Some(path))),
    key("peers.delay_ms", |draft, raw| {
        let delays = raw.list()?;
        draft.config.peers.delays = delays.iter().map(|text| names::delay(text)).collect::<Result<_, _>>()?;
        Ok(())
    }),
    key("peers.certificate_lifetime", |draft, raw| {
        draft.config.peers.certificate_lifetime = units::duration(raw.text()?, &(60_000..=2_592_000_000))?;
        Ok(())
    }),
    key("tls.cert", |draft, raw| raw.path().map(|path| draft.halves.tls_cert = Some(path))),
    key("tls.key", |draft, raw| raw.path().map(|path| draft.halves.tls_key = Some(path))),
    key("storage.data_dir", |draft, raw| raw.path().map(|path| draft.config.storage.data_dir = path)),
    key("storage.cache", |draft, raw| {
        draft.config.storage.cache_bytes = units::size(raw.text()?, &(8 << 20..=64 << 30))?;
        Ok(())
    }),
    key("storage.log_entries", |draft, raw| {
        draft.config.storage.log_entries = raw.integer(100, 10_000_000)?;
        Ok(())
    }),
    key("kek.file", |draft, raw| raw.path().map(|path| draft.halves.keks.push(Kek::File(path)))),
    key("kek.env", |draft, raw| {
        draft.halves.keks.push(Kek::Env(not_empty(raw.text()?)?.to_owned()));
        Ok(())
    }),
    key("kek.command", |draft, raw| {
        let words = raw.list()?;
        if words.first().is_none_or(String::is_empty) {
            return Err("must name a program".to_owned());
        }
        draft.halves.keks.push(Kek::Command(words));
        Ok(())
    }),
    key("egress.allow_networks", |draft, raw| {
        raw.networks().map(|networks| draft.config.egress.allow_networks = networks)
    }),
    key("egress.ca_file", |draft, raw| raw.path().map(|path| draft.config.egress.ca_file = Some(path))),
    KeySpec {
        path: "admin.token",
        secret: true,
        set: |draft, raw| {
            let token = raw.text()?;
            if token.len() < 32 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err("must be at least 32 printable ASCII characters without spaces".to_owned());
            }
            draft.config.admin.token = Some(Secret::new(token));
            Ok(())
        },
    },
    key("limits.headers", |draft, raw| {
        draft.config.limits.header_bytes = units::size(raw.text()?, &(8 << 10..=1 << 20))?;
        Ok(())
    }),
    key("limits.body", |draft, raw| {
        draft.config.limits.body_bytes = units::size(raw.text()?, &(16 << 10..=16 << 20))?;
        Ok(())
    }),
    key("limits.header_read_timeout", |draft, raw| {
        draft.config.limits.header_read_timeout = units::duration(raw.text()?, &(100..=300_000))?;
        Ok(())
    }),
    key("limits.request_timeout", |draft, raw| {
        draft.config.limits.request_timeout = units::duration(raw.text()?, &(1_000..=120_000))?;
        Ok(())
    }),
    key("limits.drain_timeout", |draft, raw| {
        draft.config.limits.drain_timeout = units::duration(raw.text()?, &(0..=300_000))?;
        Ok(())
    }),
    key("limits.connections", |draft, raw| {
        draft.config.limits.connections = raw.integer(16, 1_000_000)?;
        Ok(())
    }),
    key("limits.rates", |draft, raw| {
        draft.config.limits.rates = match raw.text()? {
            "on" => Some(draft.config.limits.rates.unwrap_or_default()),
            "off" => None,
            other => return Err(format!("`{other}` is not `on` or `off`")),
        };
        Ok(())
    }),
    key("limits.login_per_address", |draft, raw| rate(draft, raw, |rates| &mut rates.login_per_address)),
    key("limits.login_per_name", |draft, raw| rate(draft, raw, |rates| &mut rates.login_per_name)),
    key("limits.token_per_address", |draft, raw| rate(draft, raw, |rates| &mut rates.token_per_address)),
    key("limits.token_per_client", |draft, raw| rate(draft, raw, |rates| &mut rates.token_per_client)),
    key("limits.registration_per_address", |draft, raw| {
        rate(draft, raw, |rates| &mut rates.registration_per_address)
    }),
    key("log.format", |draft, raw| {
        draft.config.log.format = match raw.text()? {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => return Err(format!("`{other}` is not `text` or `json`")),
        };
        Ok(())
    }),
    key("log.filter", |draft, raw| {
        let text = raw.text()?;
        text.parse::<tracing_subscriber::EnvFilter>()
            .map_err(|_| format!("`{text}` is not a filter such as `info` or `domicile=debug,info`"))?;
        text.clone_into(&mut draft.config.log.filter);
        Ok(())
    }),
];

fn rate(draft: &mut Draft, raw: &Raw, field: fn(&mut Rates) -> &mut u64) -> Result<(), String> {
    let value = raw.integer(1, 10_000_000)?;
    *field(draft.config.limits.rates.get_or_insert_default()) = value;
    Ok(())
}

fn not_empty(text: &str) -> Result<&str, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text) }
}

/// An origin: `https`, or `http` on loopback; no path, query, fragment or user.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn origin(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|cause| format!("`{text}` is not a URL: {cause}"))?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !bare || !url.username().is_empty() || url.password().is_some() || url.host().is_none() {
        return Err(format!("`{text}` is not an origin such as `https://id.example.org`"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(format!("`{text}` needs https: plain HTTP is for loopback only")),
        other => Err(format!("`{other}` is not `https`")),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

impl Raw {
    fn text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Integer(number) => Err(format!("expected text in quotes, found the number {number}")),
            Self::List(_) => Err("expected text, found a list".to_owned()),
        }
    }

    fn integer(&self, low: u64, high: u64) -> Result<u64, String> {
        let value = match self {
            Self::Integer(number) => *number,
            Self::Text(text) => text.parse().map_err(|_| format!("`{text}` is not a whole number"))?,
            Self::List(_) => return Err("expected a number, found a list".to_owned()),
        };
        if (low..=high).contains(&value) {
            Ok(value)
        } else {
            Err(format!("{value} is not between {low} and {high}"))
        }
    }

    /// A list; text is split at commas, so that the environment can give one.
    fn list(&self) -> Result<Vec<String>, String> {
        match self {
            Self::List(items) => Ok(items.clone()),
            Self::Text(text) if text.is_empty() => Ok(Vec::new()),
            Self::Text(text) => Ok(text.split(',').map(|item| item.trim().to_owned()).collect()),
            Self::Integer(number) => Err(format!("expected a list, found the number {number}")),
        }
    }

    fn networks(&self) -> Result<Vec<Network>, String> {
        let parse = |text: &String| text.parse().map_err(|cause| format!("`{text}` is {cause}"));
        self.list()?.iter().map(parse).collect()
    }

    fn address(&self) -> Result<std::net::SocketAddr, String> {
        let text = self.text()?;
        text.parse().map_err(|_| {
            format!("`{text}` is not an address and port such as `127.0.0.1:8443` or `[::]:8443`")
        })
    }

    fn path(&self) -> Result<PathBuf, String> {
        not_empty(self.text()?).map(PathBuf::from)
    }
}
