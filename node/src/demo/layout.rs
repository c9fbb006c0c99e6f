//! What a demo made up on its first start, kept in `demo.json`, mode 0600, and each node's settings.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use domicile_raft::Clock;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::latency;
use crate::cli::DemoArgs;
use crate::private_file;
use crate::random_text::random_text;

const FILE: &str = "demo.json";
const FORMAT: u8 = 1;
const TOKEN_FILE: &str = "admin.token";
const REGIONS_MAX: usize = 5;

/// A demo cluster.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Layout {
    format: u8,
    #[serde(skip)]
    pub(super) root: PathBuf,
    /// Opens the admin API of every node.
    pub(super) admin_token: String,
    pub(super) latency: bool,
    pub(super) nodes: Vec<DemoNode>,
    pub(super) tenants: Vec<DemoTenant>,
}

/// One process.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct DemoNode {
    /// Its folder: `n1`.
    pub(super) name: String,
    pub(super) region: String,
    pub(super) zone: String,
    public_port: u16,
    admin_port: u16,
    management_port: u16,
    peer_port: u16,
    /// Its id, once it is a member.
    pub(super) id: Option<u64>,
}

/// A tenant to try, with a user and a client like those of `dev`.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct DemoTenant {
    pub(super) slug: String,
    /// The region that holds it; none for all.
    pub(super) region: Option<String>,
    pub(super) username: String,
    pub(super) password: String,
    pub(super) client_id: String,
    /// Known once the client is registered.
    pub(super) client_secret: Option<String>,
}

impl DemoTenant {
    /// Where it is, as the admin API takes it.
    pub(super) fn placement(&self) -> Value {
        let regions = self.region.as_ref().map_or_else(|| json!("any"), |region| json!([region]));
        json!({ "regions": regions, "survive": "zone" })
    }
}

impl DemoNode {
    pub(super) fn public_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.public_port)
    }

    pub(super) fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin_port)
    }

    pub(super) fn management_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.management_port)
    }

    pub(super) fn management_address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.management_port))
    }
}

impl Layout {
    /// The cluster of an earlier start, or a new one.
    pub(super) fn load_or_make(arguments: &DemoArgs, clock: &dyn Clock) -> anyhow::Result<Self> {
        let root = std::path::absolute(&arguments.data_dir)?;
        crate::boot::make_data_dir(&root)?;
        let path = root.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => {
                let found: Self = serde_json::from_slice(&bytes)
                    .with_context(|| format!("{} is not of this version", path.display()))?;
                if found.format != FORMAT {
                    bail!("{} has format {}, this program knows {FORMAT}", path.display(), found.format);
                }
                Ok(Self { root, latency: arguments.latency, ..found })
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                let made = Self::make(arguments, root, clock)?;
                made.store()?;
                Ok(made)
            }
            Err(cause) => Err(cause).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn make(arguments: &DemoArgs, root: PathBuf, clock: &dyn Clock) -> anyhow::Result<Self> {
        let places = places(arguments)?;
        let mut ports = free_ports(places.len() * 4)?.into_iter();
        let mut port = || ports.next().context("too few ports");
        let mut nodes = Vec::new();
        for (turn, (region, zone)) in places.into_iter().enumerate() {
            nodes.push(DemoNode {
                name: format!("n{}", turn + 1),
                region,
                zone,
                public_port: port()?,
                admin_port: port()?,
                management_port: port()?,
                peer_port: port()?,
                id: None,
            });
        }
        let tenant = |slug: &str, region: Option<&str>| DemoTenant {
            slug: slug.to_owned(),
            region: region.map(str::to_owned),
            username: "demo".to_owned(),
            password: random_text(clock, 12),
            client_id: "demo".to_owned(),
            client_secret: None,
        };
        let mut tenants: Vec<DemoTenant> =
            arguments.regions.iter().map(|region| tenant(region, Some(region))).collect();
        tenants.push(tenant("global", None));
        let admin_token = random_text(clock, 32);
        Ok(Self { format: FORMAT, root, admin_token, latency: arguments.latency, nodes, tenants })
    }

    /// Replaces the file, whole or not at all.
    pub(super) fn store(&self) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let path = self.root.join(FILE);
        private_file::replace(&path, &text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The regions with nodes, in order of their first node.
    pub(super) fn regions(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        self.nodes
            .iter()
            .map(|node| node.region.clone())
            .filter(|region| seen.insert(region.clone()))
            .collect()
    }

    pub(super) fn config_file(&self, node: &DemoNode) -> PathBuf {
        self.root.join(&node.name).join("domicile.toml")
    }

    pub(super) fn data_dir(&self, node: &DemoNode) -> PathBuf {
        self.root.join(&node.name).join("data")
    }

    pub(super) fn log_file(&self, node: &DemoNode) -> PathBuf {
        self.root.join(&node.name).join("node.log")
    }

    /// Writes what the nodes read. The origin of the first node is in every issuer; each node also
    /// answers under its own address.
    pub(super) fn write_settings(&self) -> anyhow::Result<()> {
        let token = self.root.join(TOKEN_FILE);
        private_file::replace(&token, format!("{}\n", self.admin_token).as_bytes())?;
        let origin = self.nodes.first().map(DemoNode::public_url).unwrap_or_default();
        let regions = self.regions();
        for node in &self.nodes {
            let path = self.config_file(node);
            std::fs::create_dir_all(self.root.join(&node.name))?;
            let text = self.settings(node, &origin, &regions, &token);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    fn settings(&self, node: &DemoNode, origin: &str, regions: &[String], token: &Path) -> String {
        let quoted = |path: &Path| toml::Value::from(path.display().to_string()).to_string();
        let (public, admin, management) = (node.public_url(), node.admin_url(), node.management_url());
        let mut out = String::from("# Written by `domicile demo`.\n");
        // Writing into a string cannot fail.
        let _ = writeln!(out, "public_origin = \"{origin}\"\naliases = [\"{public}\"]\n");
        let _ = writeln!(out, "[node]\nregion = \"{}\"\nzone = \"{}\"\n", node.region, node.zone);
        out.push_str("[listen]\n");
        for (name, port) in [
            ("public", node.public_port),
            ("admin", node.admin_port),
            ("management", node.management_port),
            ("peer", node.peer_port),
        ] {
            let _ = writeln!(out, "{name} = \"127.0.0.1:{port}\"");
        }
        let _ = writeln!(out, "\n[advertise]\npublic = \"{public}\"\nadmin = \"{admin}\"");
        let _ = writeln!(out, "management = \"{management}\"\n");
        let _ = writeln!(out, "[storage]\ndata_dir = {}\ncache = \"16MiB\"\n", quoted(&self.data_dir(node)));
        let _ = writeln!(out, "[admin]\ntoken_file = {}\n", quoted(token));
        out.push_str(
            "[cluster]\ndead_after = \"5m\"\n\n[limits]\nrates = \"off\"\n\n[log]\nformat = \"text\"\n",
        );
        if self.latency {
            let delays = latency::delays(&node.region, regions);
            let delays: Vec<String> =
                delays.iter().map(|(region, ms)| format!("\"{region}={ms}\"")).collect();
            let _ = writeln!(out, "\n[peers]\ndelay_ms = [{}]", delays.join(", "));
        }
        out
    }
}

/// Region and zone of each node: the first zones of all regions, then the second ones.
fn places(arguments: &DemoArgs) -> anyhow::Result<Vec<(String, String)>> {
    let regions = &arguments.regions;
    let distinct: BTreeSet<&String> = regions.iter().collect();
    if distinct.len() != regions.len() || regions.len() > REGIONS_MAX {
        bail!("--regions takes 1 to {REGIONS_MAX} different names");
    }
    let total = match arguments.nodes_per_region {
        Some(each) => usize::try_from(each)? * regions.len(),
        None => usize::try_from(arguments.nodes)?,
    };
    if total < regions.len() {
        bail!("{total} nodes are too few for {} regions", regions.len());
    }
    let zone = |round: usize| char::from(b'a' + u8::try_from(round).unwrap_or(25).min(25)).to_string();
    let turns = (0..total).map(|turn| (turn / regions.len(), regions.get(turn % regions.len())));
    Ok(turns.filter_map(|(round, region)| Some((region?.clone(), zone(round)))).collect())
}

/// Ports that nobody listens on now; all are held until the last is found.
fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()
        .context("cannot find free ports")?;
    Ok(held
        .iter()
        .map(TcpListener::local_addr)
        .map(|address| address.map(|at| at.port()))
        .collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use domicile_raft::Timestamp;
    use domicile_raft::testing::ManualClock;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::config::{self, Config};

    fn arguments(line: &str, root: &Path) -> DemoArgs {
        let line = format!("domicile demo {line} --data-dir {}", root.display());
        let Command::Demo(arguments) = Cli::try_parse_from(line.split_whitespace()).unwrap().command else {
            panic!("not demo")
        };
        arguments
    }

    fn layout(line: &str, root: &Path) -> anyhow::Result<Layout> {
        Layout::load_or_make(&arguments(line, root), &ManualClock::new(Timestamp(0), 1))
    }

    fn placed(layout: &Layout) -> Vec<String> {
        layout.nodes.iter().map(|node| format!("{}/{}", node.region, node.zone)).collect()
    }

    #[test]
    fn nodes_are_spread_over_regions_and_zones() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        assert_eq!(placed(&layout("", &at("a")).unwrap()), ["eu-central/a", "eu-central/b", "eu-central/c"]);
        let nine = layout("--regions x,y,z --nodes-per-region 3", &at("b")).unwrap();
        assert_eq!(nine.nodes.len(), 9);
        assert_eq!(placed(&nine).get(..4).unwrap(), ["x/a", "y/a", "z/a", "x/b"]);
        assert_eq!(nine.tenants.len(), 4);
        for line in ["--regions x,x", "--regions x,y,z --nodes 2", "--regions a,b,c,d,e,f --nodes 6"] {
            assert!(layout(line, &at("c")).is_err(), "{line}");
        }
    }

    #[test]
    fn a_second_start_finds_the_same_cluster_whatever_the_flags() {
        let root = tempfile::tempdir().unwrap();
        let first = layout("--regions x,y,z", root.path()).unwrap();
        let second = layout("--nodes 5 --latency", root.path()).unwrap();
        assert_eq!(placed(&first), placed(&second));
        assert_eq!(first.admin_token, second.admin_token);
        assert!(second.latency && !first.latency);
    }

    #[test]
    fn what_it_writes_is_a_whole_configuration() {
        let root = tempfile::tempdir().unwrap();
        let layout = layout("--regions eu-central,us-east,ap-south --latency", root.path()).unwrap();
        layout.write_settings().unwrap();
        for node in &layout.nodes {
            let config =
                config::load(Some(&layout.config_file(node)), std::iter::empty(), Config::default()).unwrap();
            config.check_complete().unwrap();
            assert_eq!(config.node.region.as_ref(), Some(&node.region));
            assert_eq!(config.peers.delays.len(), 2);
            assert!(config.limits.rates.is_none());
            assert_eq!(config.admin.token.unwrap().expose(), layout.admin_token);
        }
    }
}
