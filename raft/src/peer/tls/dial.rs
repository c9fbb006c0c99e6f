//! Dialling: every address of a peer, a quarter of a second apart; the first that proves to be it wins.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::select_ok;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::config::Protocol;
use super::counters::count;
use super::delay::{Delay, DelayedIo};
use super::endpoint::Shared;
use super::exposed::Sent;
use super::socket::{PeerSocket, PeerStream, tune};
use super::verify::wanted_name;
use crate::{BoxFuture, NodeId};

const ADDRESSES_MAX: usize = 8;
/// As Happy Eyeballs does (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);

/// Connects to `to` within `timeout`; the error is for people.
pub(super) async fn dial(
    shared: &Shared,
    to: NodeId,
    protocol: Protocol,
    timeout: Duration,
) -> Result<PeerStream, String> {
    let counters = shared.counters.of(to);
    let made = match tokio::time::timeout(timeout, attempt_all(shared, to, protocol)).await {
        Ok(made) => made,
        Err(_) => Err(format!("no connection within {} ms", timeout.as_millis())),
    };
    count(if made.is_ok() { &counters.connects } else { &counters.connect_failures }, 1);
    made.map(|tls| {
        // The certificate was verified for the region that the book says.
        let region = shared.book.region(to).unwrap_or_default();
        PeerStream::new(tls, counters, None, Sent::of(to, &region, protocol))
    })
}

type Tls = tokio_rustls::TlsStream<PeerSocket>;

async fn attempt_all(shared: &Shared, to: NodeId, protocol: Protocol) -> Result<Tls, String> {
    let peer = shared.book.get(to).ok_or("no address of it is known")?;
    let name = wanted_name(to).ok_or("its id cannot be a name")?;
    let attempts: Vec<BoxFuture<'_, Result<Tls, String>>> = (0u32..)
        .zip(peer.addresses.iter().take(ADDRESSES_MAX))
        .map(|(turn, address)| {
            let (name, config) = (name.clone(), Arc::clone(shared.clients.of(protocol)));
            let delay = shared.delays.any().then(|| shared.delays.to(&peer.region));
            let attempt = async move {
                if turn > 0 {
                    tokio::time::sleep(STAGGER * turn).await;
                }
                let made = connect(shared, address, name, config, delay).await;
                made.map_err(|cause| format!("{address}: {cause}"))
            };
            Box::pin(attempt) as BoxFuture<'_, _>
        })
        .collect();
    if attempts.is_empty() {
        return Err("no address of it is known".to_owned());
    }
    select_ok(attempts).await.map(|(made, _)| made)
}

/// Whether some process listens at an address of `to`: true if one does, false if every one of them
/// refuses.
pub(super) async fn knock(shared: &Shared, to: NodeId) -> Option<bool> {
    let peer = shared.book.get(to)?;
    // The way there and back takes its time here too.
    tokio::time::sleep(2 * shared.delays.to(&peer.region)).await;
    let tries = peer.addresses.iter().take(ADDRESSES_MAX).map(TcpStream::connect);
    let answers = futures::future::join_all(tries).await;
    if answers.iter().any(Result::is_ok) {
        return Some(true);
    }
    let refused = |answer: &io::Result<TcpStream>| {
        answer.as_ref().is_err_and(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
    };
    (!answers.is_empty() && answers.iter().all(refused)).then_some(false)
}

async fn connect(
    shared: &Shared,
    address: &str,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    delay: Option<Duration>,
) -> io::Result<Tls> {
    let tcp = TcpStream::connect(address).await?;
    tune(&tcp)?;
    let socket = match delay {
        None => PeerSocket::Direct(tcp),
        Some(by) => {
            let delay = Delay::default();
            delay.set(by);
            PeerSocket::Delayed(DelayedIo::new(tcp, delay, Arc::clone(&shared.clock)))
        }
    };
    Ok(TlsConnector::from(config).connect(name, socket).await?.into())
}
