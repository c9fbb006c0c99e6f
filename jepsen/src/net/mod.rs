//! The network between nodes, and between nodes and clients.
//!
//! ```text
//! link     the state of each direction of each link
//! proxy    loopback proxies: needs no rights
//! space    a network namespace for each node and each region's clients (root)
//! router   moves packets between namespaces; shaper: what a link does to them
//! clients  threads within the clients' namespaces
//! tape     what is on the wire, where it can be read
//! ```

mod clients;
mod link;
mod owner;
mod proxy;
mod router;
mod shaper;
mod space;
mod tape;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

pub use clients::Clients;
pub use link::{Link, Links};
pub use proxy::ProxyNet;
pub use shaper::Counts;
pub use space::SpaceNet;
pub(crate) use tape::{INCOMPLETE, Taped};

use crate::topology::Topology;

/// How nodes are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetKind {
    /// Network namespaces with a router for packets. Root only.
    Spaces,
    /// Proxies on loopback.
    Proxy,
}

/// A running network.
#[derive(Clone, Debug)]
pub struct Net {
    /// The state of the links.
    pub links: Links,
    /// Where clients run.
    pub clients: Clients,
    way: Way,
    addresses: Vec<Addresses>,
}

#[derive(Clone, Debug)]
enum Way {
    Spaces(SpaceNet),
    Proxy(ProxyNet),
}

/// Where a node listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// For browsers and apps.
    pub public: SocketAddr,
    /// For operators.
    pub admin: SocketAddr,
    /// For supervisors.
    pub management: SocketAddr,
    /// For other nodes.
    pub peer: SocketAddr,
    /// Where other nodes reach it.
    pub door: SocketAddr,
}

/// What was seen on links, since the beginning or since another moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Packets that did not pass since their link was cut; none where there are no packets to see.
    pub cut: Option<u64>,
    /// Packets, or pieces of what connections carry, that were late since their link was slow.
    pub slowed: u64,
    /// Bytes that passed on connections whose process was not found: no link holds them back.
    pub stray_bytes: u64,
}

impl Seen {
    /// What came after `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            cut: self.cut.zip(before.cut).map(|(now, before)| now.saturating_sub(before)),
            slowed: self.slowed.saturating_sub(before.slowed),
            stray_bytes: self.stray_bytes.saturating_sub(before.stray_bytes),
        }
    }
}

impl NetKind {
    /// As schedules name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spaces => "netns",
            Self::Proxy => "proxy",
        }
    }

    /// The one of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn of(name: &str) -> anyhow::Result<Self> {
        let known = [Self::Spaces, Self::Proxy].into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| anyhow::anyhow!("there is no network `{name}`"))
    }

    /// What it cannot do, for people.
    pub fn lacks(self) -> &'static [&'static str] {
        match self {
            Self::Spaces => SpaceNet::LACKS,
            Self::Proxy => ProxyNet::LACKS,
        }
    }
}

impl Net {
    /// Starts it. `seed` is what chance draws for packets. What is on the links goes into the folder `tapes`, if there is
    /// one.
    ///
    /// # Errors
    /// No rights, no free port, or tapes of a network that makes none.
    pub async fn start(
        kind: NetKind,
        topology: &Topology,
        seed: u64,
        tapes: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let links = Links::new(topology);
        match kind {
            NetKind::Spaces => {
                anyhow::ensure!(tapes.is_none(), "only proxies keep what is on the wire");
                let spaces = SpaceNet::start(&links, topology, seed)?;
                let addresses = (0..topology.total()).map(|node| {
                    let [public, admin, management, peer] = SpaceNet::addresses(node);
                    Addresses { public, admin, management, peer, door: peer }
                });
                let (clients, addresses) = (Clients::start(&spaces.clients)?, addresses.collect());
                Ok(Self { links, clients, way: Way::Spaces(spaces), addresses })
            }
            NetKind::Proxy => {
                let free = free_addresses(topology.total() * 4)?;
                let behind: Vec<SocketAddr> = free.iter().skip(3).step_by(4).copied().collect();
                let proxies = ProxyNet::start(links.clone(), &behind, tapes).await?;
                let mut addresses = Vec::new();
                for (ports, door) in free.chunks(4).zip(&proxies.doors) {
                    let [public, admin, management, peer] = *ports else { continue };
                    addresses.push(Addresses { public, admin, management, peer, door: *door });
                }
                Ok(Self { links, clients: Clients::default(), way: Way::Proxy(proxies), addresses })
            }
        }
    }

    /// Where each node listens.
    pub fn addresses(&self) -> &[Addresses] {
        &self.addresses
    }

    /// A node's process started or ended.
    pub fn set_process(&self, node: usize, process: Option<u32>) {
        match &self.way {
            Way::Proxy(proxies) => proxies.set_process(node, process),
            Way::Spaces(_) => {}
        }
    }

    /// The namespace in which a node runs.
    pub fn space_of(&self, node: usize) -> Option<&Path> {
        match &self.way {
            Way::Spaces(spaces) => spaces.of_node(node),
            Way::Proxy(_) => None,
        }
    }

    /// What was seen on links by now.
    pub fn seen(&self) -> Seen {
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
        match &self.way {
            Way::Spaces(spaces) => {
                let (cut, slowed) = (now(&spaces.counts.cut), now(&spaces.counts.slowed));
                Seen { cut: Some(cut), slowed, stray_bytes: 0 }
            }
            Way::Proxy(proxies) => {
                let (slowed, stray_bytes) = (now(&proxies.passed.slowed), now(&proxies.passed.stray_bytes));
                Seen { cut: None, slowed, stray_bytes }
            }
        }
    }

    /// What happened to packets; `None` where there are none to see.
    pub fn counts(&self) -> Option<&Counts> {
        match &self.way {
            Way::Spaces(spaces) => Some(&spaces.counts),
            Way::Proxy(_) => None,
        }
    }
}

/// Ports that nobody listens on now; all are held until the last is found.
fn free_addresses(count: usize) -> std::io::Result<Vec<SocketAddr>> {
    let bound = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let held: Vec<TcpListener> = bound.collect::<Result<_, _>>()?;
    held.iter().map(TcpListener::local_addr).collect()
}
