//! Settings: one TOML file, overridden by `DOMICILE__SECTION__KEY`, every key known and bounded.
//!
//! `keys.rs` is the one list of keys; `source.rs` reads text into them; `check.rs` compares them with
//! each other. Nothing here reads a secret before the whole file is known to be well formed.

mod check;
#[cfg(test)]
pub(crate) use check::REQUEST_TIMEOUT_MIN;
mod error;
mod keys;
mod names;
mod network;
mod secret;
mod source;
mod units;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use domicile_raft::peer::tls::LIFETIME_DEFAULT;
use url::Url;

pub use error::{ConfigError, Origin, Problem};
pub use keys::origin as parse_origin;
pub use network::Network;
pub use secret::Secret;
pub use source::{load, load_text};

/// What is logged unless the settings say otherwise. openraft's `info` is for its developers, and its
/// core warns of every answer that comes after a vote changed, as at each first start.
///
/// It also warns of every heartbeat and append that a peer which is gone does not answer: the link says once that
/// the peer cannot be reached. That a stream of appends ended with its group is an error to it, though groups
/// also stop by order; one that stops by itself is reported with the reason.
pub const DEFAULT_LOG_FILTER: &str = "info,openraft=warn,openraft::core::raft_core=error,\
    openraft::core::heartbeat=error,openraft::replication=error,openraft::replication::stream_state=warn,\
    openraft::replication::snapshot_transmitter=warn,openraft::raft::stream_append=off";

/// All settings of a node, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The origin people and clients see: scheme, host and port, without a path.
    pub public_origin: Option<Url>,
    /// Further origins answered for: this node's own addresses, beside those of issuers.
    pub aliases: Vec<Url>,
    /// Where this node runs.
    pub node: NodePlace,
    /// Peers whose word about their clients' addresses is believed.
    pub trusted_proxies: Vec<Network>,
    /// The one header of theirs that is read. A client can send the other through them.
    pub forwarded_header: ForwardedHeader,
    /// Where the node listens.
    pub listen: Listen,
    /// Where others reach it.
    pub advertise: Advertise,
    /// The cluster that it is part of.
    pub cluster: Cluster,
    /// The links to other nodes.
    pub peers: Peers,
    /// Certificate of the public listener. Without one it is plain HTTP, on loopback only.
    pub tls: Option<Tls>,
    /// Where state lives.
    pub storage: Storage,
    /// The node's key-encryption key; `None` for one made at the first start, in the data directory.
    pub kek: Option<Kek>,
    /// Where requests that others cause may go.
    pub egress: Egress,
    /// The admin API.
    pub admin: Admin,
    /// Bounds on what a request may cost.
    pub limits: Limits,
    /// What is logged, and how.
    pub log: Log,
    /// Files that values were read from because they are secret.
    pub secret_files: Vec<PathBuf>,
}

/// How trusted proxies name their clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Addresses of the listeners.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    /// OIDC and pages.
    pub public: SocketAddr,
    /// Admin API. In `dev` it is on the public listener and this is unused.
    pub admin: SocketAddr,
    /// `/livez`, `/readyz`, `/metrics`; plain HTTP.
    pub management: SocketAddr,
    /// Whether that may be an address that other machines reach.
    pub management_open: bool,
    /// Other nodes, under mutual TLS 1.3. Unused in `dev`.
    pub peer: SocketAddr,
}

/// Where a node runs. Region and zone are needed in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodePlace {
    /// Such as `eu-central`.
    pub region: Option<String>,
    /// Such as `a`.
    pub zone: Option<String>,
    /// Whose law holds there, such as `eu`; noted with a region by its first node. What the region's name begins
    /// with if absent.
    pub jurisdiction: Option<String>,
}

/// Addresses by audience, where they are not those listened on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertise {
    /// `host:port` for other nodes.
    pub peer: Option<String>,
    /// Origin of this node's public listener.
    pub public: Option<Url>,
    /// Origin of its admin listener.
    pub admin: Option<Url>,
    /// Origin of its management listener.
    pub management: Option<Url>,
}

/// Settings of a node's part in its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// A voter unheard of for this long is replaced. Taken by `init` for the whole cluster; later the
    /// directory's counts.
    pub dead_after: Duration,
    /// A file with a join token: `start` on an empty data directory joins with it.
    pub join_file: Option<PathBuf>,
}

/// Settings of the links to other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    /// How long this node's certificate is good, 1 min to 30 days; it is renewed after two thirds of that.
    pub certificate_lifetime: Duration,
    /// Delay of each message to a region, in ms. For demonstrations and tests, on loopback only.
    pub delays: BTreeMap<String, u64>,
}

/// PEM files of the public listener; read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Certificate chain, leaf first.
    pub cert: PathBuf,
    /// Private key: PKCS#8, SEC 1 or PKCS#1.
    pub key: PathBuf,
}

/// The data directory and the memory given to it.
#[derive(Clone, Debug)]
pub struct Storage {
    /// One node's directory; never shared.
    pub data_dir: PathBuf,
    /// Bytes of cache over all partitions.
    pub cache_bytes: u64,
    /// Log entries of each partition that stay after they are in its state, so that a replica that was
    /// away for no longer is caught up with them; one that was gets a snapshot.
    pub log_entries: u64,
}

/// Where the 32-byte key-encryption key comes from. Exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kek {
    /// A file that holds it.
    File(PathBuf),
    /// The name of an environment variable that holds it.
    Env(String),
    /// A program and its arguments that print it.
    Command(Vec<String>),
}

/// Where requests go that clients' registrations cause (`jwks_uri`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// Networks beside the public internet. Plain HTTP is for these only.
    pub allow_networks: Vec<Network>,
    /// Certificate authorities (PEM) to verify servers by, in place of the system's.
    pub ca_file: Option<PathBuf>,
}

/// Settings of the admin API.
#[derive(Clone, Debug, Default)]
pub struct Admin {
    /// The bearer token that opens it.
    pub token: Option<Secret>,
}

/// Bounds on requests and connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of request line and headers; more is 431.
    pub header_bytes: u64,
    /// Bytes of a request body; more is 413.
    pub body_bytes: u64,
    /// A connection that sends no full header for this long is closed (also between requests).
    pub header_read_timeout: Duration,
    /// A request that takes longer is answered 503.
    pub request_timeout: Duration,
    /// Open connections a listener; more wait in the kernel's queue.
    pub connections: u64,
    /// How long requests in flight may go on after `SIGTERM`.
    pub drain_timeout: Duration,
    /// Node-local rate limits; `None` in `dev`.
    pub rates: Option<Rates>,
}

/// Node-local rate limits, in requests a minute; a whole minute's worth may come at once.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Login attempts from one address (one /64 of IPv6).
    pub login_per_address: u64,
    /// Login attempts for one login name, known or not.
    pub login_per_name: u64,
    /// Token requests from one address.
    pub token_per_address: u64,
    /// Token requests of one client.
    pub token_per_client: u64,
    /// Clients that register themselves without a token, from one address.
    pub registration_per_address: u64,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            login_per_address: 60,
            login_per_name: 10,
            token_per_address: 3_000,
            token_per_client: 6_000,
            registration_per_address: 10,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// A `tracing` filter: `info`, or `domicile=debug,info`.
    pub filter: String,
}

impl Default for Config {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            public_origin: None,
            aliases: Vec::new(),
            node: NodePlace::default(),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            listen: Listen {
                public: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8443)),
                admin: loopback(8444),
                management: loopback(9090),
                management_open: false,
                peer: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8445)),
            },
            advertise: Advertise::default(),
            cluster: Cluster { dead_after: Duration::from_mins(5), join_file: None },
            peers: Peers { certificate_lifetime: LIFETIME_DEFAULT, delays: BTreeMap::new() },
            tls: None,
            storage: Storage {
                data_dir: PathBuf::from("/var/lib/domicile"),
                cache_bytes: 64 << 20,
                log_entries: 100_000,
            },
            kek: None,
            egress: Egress::default(),
            admin: Admin::default(),
            limits: Limits {
                header_bytes: 32 << 10,
                body_bytes: 1 << 20,
                header_read_timeout: Duration::from_secs(30),
                request_timeout: Duration::from_secs(15),
                connections: 8_192,
                drain_timeout: Duration::from_secs(8),
                rates: Some(Rates::default()),
            },
            log: Log { format: LogFormat::Json, filter: DEFAULT_LOG_FILTER.to_owned() },
            secret_files: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
