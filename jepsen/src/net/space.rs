//! Network namespaces, each with one TUN device whose other end the router holds. They live in the
//! enclosure of this program and end with it.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tun_rs::{DeviceBuilder, SyncDevice};

use super::Links;
use super::router::{self, address_of};
use super::shaper::Counts;
use crate::topology::Topology;

/// Where `ip` keeps names of namespaces.
const NAMES: &str = "/run/netns";
const DEVICE: &str = "wire";
const MTU: u16 = 1_500;
/// Ports of every node; the addresses differ.
const PORTS: [u16; 4] = [8080, 8081, 9090, 7000];

/// Running namespaces; they end with the program.
#[derive(Clone, Debug)]
pub struct SpaceNet {
    /// What the router did to packets.
    pub counts: Arc<Counts>,
    nodes: Vec<PathBuf>,
    /// Of each region's clients, in the topology's order.
    pub(super) clients: Vec<PathBuf>,
}

impl SpaceNet {
    /// What namespaces with a router cannot do, for the report.
    pub const LACKS: &[&str] = &["links within a region take no time, and no link is faster than the router"];

    /// Makes all namespaces and starts the router. Only in an enclosure, as root.
    pub(super) fn start(links: &Links, topology: &Topology, seed: u64) -> anyhow::Result<Self> {
        std::fs::create_dir_all(NAMES)?;
        run("mount", &["-t", "tmpfs", "domicile-chaos", NAMES])?;
        let nodes: Vec<String> = (1..=topology.total()).map(|turn| format!("n{turn}")).collect();
        let clients: Vec<String> =
            topology.regions.iter().map(|region| format!("clients-{}", region.name)).collect();
        let mut devices = Vec::new();
        for (end, name) in nodes.iter().chain(&clients).enumerate() {
            devices.push(space(name, end).with_context(|| format!("namespace {name}"))?);
        }
        // The harness itself stays where it is: the namespace of the enclosure.
        let own = device()?;
        connect(&[], links.ends() - 1)?;
        devices.push(own);
        let counts = Arc::new(Counts::default());
        router::start(links.clone(), devices, seed, counts.clone())?;
        let path = |name: &String| Path::new(NAMES).join(name);
        Ok(Self {
            counts,
            nodes: nodes.iter().map(path).collect(),
            clients: clients.iter().map(path).collect(),
        })
    }

    /// The namespace of a node.
    pub(super) fn of_node(&self, node: usize) -> Option<&Path> {
        self.nodes.get(node).map(PathBuf::as_path)
    }

    /// Where a node listens: public, admin, management, peers.
    pub(super) fn addresses(node: usize) -> [SocketAddr; 4] {
        PORTS.map(|port| SocketAddr::from((address_of(node), port)))
    }
}

/// Moves the calling thread, and no other, into a namespace.
pub(super) fn enter(space: &Path) -> std::io::Result<()> {
    let file = File::open(space)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}

fn space(name: &str, end: usize) -> anyhow::Result<SyncDevice> {
    run("ip", &["netns", "add", name])?;
    let path = Path::new(NAMES).join(name);
    let making = std::thread::spawn(move || {
        enter(&path)?;
        device()
    });
    let Ok(made) = making.join() else { bail!("cannot make a device there") };
    connect(&["-n", name], end)?;
    made
}

/// A device in the namespace of this thread.
fn device() -> anyhow::Result<SyncDevice> {
    let device = DeviceBuilder::new().name(DEVICE).mtu(MTU).inherit_enable_state().build_sync();
    let device = device.context("no TUN device (is /dev/net/tun there?)")?;
    // Packets of the loopback network may enter and leave here.
    std::fs::write(format!("/proc/sys/net/ipv4/conf/{DEVICE}/route_localnet"), "1")?;
    Ok(device)
}

/// Gives a namespace its address, and a way to all others.
fn connect(space: &[&str], end: usize) -> anyhow::Result<()> {
    let address = format!("{}/16", address_of(end));
    let ip = |arguments: &[&str]| run("ip", &[space, arguments].concat());
    ip(&["link", "set", "lo", "up"])?;
    ip(&["addr", "add", &address, "dev", DEVICE])?;
    ip(&["link", "set", "dev", DEVICE, "up"])?;
    // 127.0.0.1 stays; the rest of the network is behind the device.
    ip(&["route", "del", "table", "local", "local", "127.0.0.0/8", "dev", "lo"])
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
