//! Links as proxies on loopback: every node is reached by others through a proxy, which holds bytes back
//! or not at all. Needs no rights. It moves bytes of connections, not packets: see [`ProxyNet::LACKS`].

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::tape::{Tape, Tapes};
use super::{Link, Links, owner};

/// Bytes that wait for their time on one direction of one connection.
const WAITING_MAX: usize = 1 << 20;
const CHUNK: usize = 16 << 10;

/// The process of each node, as far as it runs.
type Processes = Arc<Mutex<Vec<Option<u32>>>>;

/// What passed, since the beginning.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// Pieces that were held back longer than the distance of their link.
    pub(super) slowed: AtomicU64,
    /// Bytes of connections whose process was not found, which no link holds back.
    pub(super) stray_bytes: AtomicU64,
}

/// What is known of one direction of a connection, and what is kept of it.
struct Direction {
    link: Option<watch::Receiver<Link>>,
    tape: Option<Tape>,
    /// Whether its process was not found.
    is_stray: bool,
    passed: Arc<Passed>,
}

/// Running proxies; they end with the program.
#[derive(Clone, Debug)]
pub struct ProxyNet {
    /// The state of the links.
    pub links: Links,
    /// Where each node is reached by others.
    pub doors: Vec<SocketAddr>,
    /// What passed.
    pub(super) passed: Arc<Passed>,
    processes: Processes,
}

impl ProxyNet {
    /// What proxies cannot do, for the report.
    pub const LACKS: &[&str] = &[
        "loss, duplication and reordering of packets: bytes of a connection arrive in order or not at all",
        "disks that fail, clocks that jump, processors that are busy: these need namespaces and mounts",
        "limits of the rate",
        "connections across a cut are accepted and then silent, where a network would drop the first packet",
        "links between clients and nodes: clients reach every node whose process runs",
        "a connection whose process cannot be found (the command `join`) is never held back; a fault of links while one \
         carries something is unknown",
    ];

    /// A proxy for each node; `behind` is where the nodes listen. What passes goes into the folder `tapes`, if there is
    /// one.
    ///
    /// # Errors
    /// No free port, or no such folder.
    pub async fn start(links: Links, behind: &[SocketAddr], tapes: Option<&Path>) -> std::io::Result<Self> {
        let tapes = tapes.map(Tapes::new).transpose()?;
        let processes: Processes = Arc::new(Mutex::new(vec![None; behind.len()]));
        let passed = Arc::new(Passed::default());
        let mut doors = Vec::new();
        for (node, address) in behind.iter().enumerate() {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            doors.push(listener.local_addr()?);
            let ends = (node, *address);
            let known = (links.clone(), processes.clone(), passed.clone());
            drop(tokio::spawn(serve(listener, ends, known, tapes.clone())));
        }
        Ok(Self { links, doors, passed, processes })
    }

    /// A node's process started or ended.
    pub fn set_process(&self, node: usize, process: Option<u32>) {
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = processes.get_mut(node) {
            *slot = process;
        }
    }
}

async fn serve(
    listener: TcpListener,
    (to, behind): (usize, SocketAddr),
    (links, processes, passed): (Links, Processes, Arc<Passed>),
    tapes: Option<Tapes>,
) {
    loop {
        let Ok((stream, address)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let (links, processes, passed) = (links.clone(), processes.clone(), passed.clone());
        let [tape_there, tape_back] = match &tapes {
            Some(tapes) => tapes.of(to).map(Some),
            None => [None, None],
        };
        drop(tokio::spawn(async move {
            let running: Vec<(usize, u32)> = {
                let processes = processes.lock().unwrap_or_else(PoisonError::into_inner);
                processes.iter().enumerate().filter_map(|(node, one)| Some((node, (*one)?))).collect()
            };
            let Ok(here) = stream.local_addr() else { return };
            let found = tokio::task::spawn_blocking(move || owner::owner_of(address, here, &running)).await;
            let from = found.ok().flatten();
            let direction =
                |link, tape| Direction { link, tape, is_stray: from.is_none(), passed: passed.clone() };
            let there = direction(from.and_then(|from| links.watch(from, to)), tape_there);
            let back = direction(from.and_then(|from| links.watch(to, from)), tape_back);
            join(stream, behind, there, back).await;
        }));
    }
}

/// Moves bytes both ways until either side is done.
async fn join(near: TcpStream, behind: SocketAddr, there: Direction, back: Direction) {
    let Ok(far) = TcpStream::connect(behind).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    tokio::join!(one_way(near_read, far_write, there), one_way(far_read, near_write, back));
}

/// Reads as bytes come, writes each when its time has come and the link is whole. An end travels like
/// bytes do.
async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, direction: Direction) {
    let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut held = 0_usize;
    let mut ended = false;
    let mut buffer = vec![0_u8; CHUNK];
    let Direction { mut link, mut tape, is_stray, passed } = direction;
    loop {
        if ended && waiting.is_empty() {
            whole(&mut link).await;
            let _ = to.shutdown().await;
            return;
        }
        let due = waiting.front().map(|(due, _)| *due);
        tokio::select! {
            read = from.read(&mut buffer), if !ended && held < WAITING_MAX => match read {
                Ok(0) | Err(_) => ended = true,
                Ok(count) => {
                    let now = link.as_ref().map_or_else(Link::default, |link| *link.borrow());
                    passed.slowed.fetch_add(u64::from(now.more_ms > 0), Ordering::Relaxed);
                    held += count;
                    let bytes = buffer.get(..count).unwrap_or_default().to_vec();
                    // It left, whether it arrives or not.
                    if let Some(tape) = &mut tape {
                        tape.take(&bytes);
                    }
                    waiting.push_back((Instant::now() + Duration::from_millis(now.delay_ms), bytes));
                }
            },
            () = async { tokio::time::sleep_until(due.unwrap_or_else(Instant::now)).await; whole(&mut link).await }, if due.is_some() => {
                let Some((_, bytes)) = waiting.pop_front() else { continue };
                held -= bytes.len();
                if is_stray {
                    let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    passed.stray_bytes.fetch_add(count, Ordering::Relaxed);
                }
                if to.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Waits until the link is not cut.
async fn whole(link: &mut Option<watch::Receiver<Link>>) {
    if let Some(link) = link {
        let _ = link.wait_for(|link| !link.cut).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        address
    }

    /// This process is node 0; node 1 echoes.
    async fn joined() -> (ProxyNet, TcpStream) {
        joined_with(None).await
    }

    async fn joined_with(tapes: Option<&Path>) -> (ProxyNet, TcpStream) {
        let links = Links::new(&"eu2".parse().unwrap());
        let net = ProxyNet::start(links, &[echo().await, echo().await], tapes).await.unwrap();
        net.set_process(0, Some(std::process::id()));
        let stream = TcpStream::connect(net.doors[1]).await.unwrap();
        (net, stream)
    }

    async fn round(stream: &mut TcpStream) -> Duration {
        let began = Instant::now();
        stream.write_all(b"ping").await.unwrap();
        let mut back = [0_u8; 4];
        stream.read_exact(&mut back).await.unwrap();
        began.elapsed()
    }

    #[tokio::test]
    async fn a_slow_link_holds_bytes_back_in_its_direction() {
        let (net, mut stream) = joined().await;
        round(&mut stream).await;
        net.links.slow(1, 0, 60);
        assert!(round(&mut stream).await >= Duration::from_millis(60));
        net.links.slow(0, 1, 60);
        assert!(round(&mut stream).await >= Duration::from_millis(120));
    }

    #[tokio::test]
    async fn what_is_held_back_is_counted_and_so_is_what_nobody_owns() {
        let (net, mut stream) = joined().await;
        round(&mut stream).await;
        let counts =
            || (net.passed.slowed.load(Ordering::Relaxed), net.passed.stray_bytes.load(Ordering::Relaxed));
        assert_eq!(counts(), (0, 0));
        net.links.slow(0, 1, 5);
        round(&mut stream).await;
        assert_eq!(counts(), (1, 0));
        net.set_process(0, None);
        let mut stray = TcpStream::connect(net.doors[1]).await.unwrap();
        round(&mut stray).await;
        assert_eq!(counts(), (1, 8), "four bytes there and four back");
    }

    #[tokio::test]
    async fn a_cut_direction_is_silent_until_it_is_healed() {
        let (net, mut stream) = joined().await;
        round(&mut stream).await;
        net.links.cut(1, 0);
        let silent = tokio::time::timeout(Duration::from_millis(150), round(&mut stream)).await;
        assert!(silent.is_err());
        net.links.heal(1, 0);
        let mut back = [0_u8; 4];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"ping", "what was on its way arrives after all");
    }

    #[tokio::test]
    async fn what_passes_is_kept_by_direction() {
        let folder = tempfile::tempdir().unwrap();
        let (_net, mut stream) = joined_with(Some(folder.path())).await;
        stream.write_all(b"ping").await.unwrap();
        stream.read_exact(&mut [0; 4]).await.unwrap();
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        assert_eq!((read("0-n2.there"), read("0-n2.back")), (b"ping".to_vec(), b"ping".to_vec()));
    }
}
