//! Nodes with certificates, on loopback.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use domicile_raft::peer::tls::{
    AddressBook, NodeCertificate, PeerAddress, PeerHandlers, PeerListener, RegionAuthority, TlsOptions,
    TlsPeers, TlsPeersConfig, TrustBundle, TrustStore,
};
use domicile_raft::peer::{
    Lane, PeerError, PeerIdentity, PeerRefusal, PeerService, PeerTransport, StreamReceiver,
};
use domicile_raft::{BoxFuture, Clock, NodeId, SystemClock};
use tokio::sync::Notify;

pub const CLUSTER: &str = "c1";
/// Long enough that only a defect reaches it.
pub const LONG: Duration = Duration::from_secs(20);

/// Echoes; some messages ask for something else. Notes what came, in order.
#[derive(Default)]
pub struct Echo {
    pub seen: Mutex<Vec<(PeerIdentity, Lane, Bytes)>>,
    pub release: Notify,
    pub streams: Mutex<Vec<Result<usize, PeerError>>>,
    pub stream_done: Notify,
}

impl PeerService for Echo {
    fn serve(
        &self,
        from: &PeerIdentity,
        lane: Lane,
        message: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, PeerRefusal>> {
        self.seen.lock().unwrap().push((from.clone(), lane, message.clone()));
        Box::pin(async move {
            match message.as_ref() {
                b"refuse" => Err(PeerRefusal::NoReplica),
                b"hang" => std::future::pending().await,
                _ => Ok(message),
            }
        })
    }

    fn serve_stream(
        &self,
        _from: &PeerIdentity,
        header: Bytes,
        _chunks: Box<dyn StreamReceiver>,
    ) -> BoxFuture<'static, Result<Bytes, PeerRefusal>> {
        Box::pin(async move { Err(PeerRefusal::Malformed(format!("{header:?}"))) })
    }
}

/// Reads streams and notes how they ended.
pub struct Streams(pub Arc<Echo>);

impl PeerService for Streams {
    fn serve(
        &self,
        from: &PeerIdentity,
        lane: Lane,
        message: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, PeerRefusal>> {
        self.0.serve(from, lane, message)
    }

    fn serve_stream(
        &self,
        _from: &PeerIdentity,
        header: Bytes,
        mut chunks: Box<dyn StreamReceiver>,
    ) -> BoxFuture<'static, Result<Bytes, PeerRefusal>> {
        let echo = Arc::clone(&self.0);
        Box::pin(async move {
            if header.as_ref() == b"refuse" {
                return Err(PeerRefusal::Forbidden("not here".to_owned()));
            }
            let mut bytes = 0;
            let end = loop {
                match chunks.next().await {
                    Ok(Some(chunk)) => bytes += chunk.len(),
                    Ok(None) => break Ok(bytes),
                    Err(cause) => break Err(cause),
                }
            };
            echo.streams.lock().unwrap().push(end.clone());
            echo.stream_done.notify_one();
            end.map(|bytes| Bytes::from(bytes.to_string())).map_err(|e| PeerRefusal::Failed(e.to_string()))
        })
    }
}

/// Authorities of one cluster, made once a test.
pub struct World {
    pub authorities: BTreeMap<&'static str, Arc<RegionAuthority>>,
    pub clock: Arc<dyn Clock>,
}

impl World {
    pub fn new(regions: &[&'static str]) -> Self {
        Self::with_clock(regions, Arc::new(SystemClock::new()))
    }

    pub fn with_clock(regions: &[&'static str], clock: Arc<dyn Clock>) -> Self {
        let make = |region: &&'static str| {
            (*region, Arc::new(RegionAuthority::generate(CLUSTER, region, clock.now()).unwrap()))
        };
        Self { authorities: regions.iter().map(make).collect(), clock }
    }

    pub fn trust(&self) -> TrustBundle {
        let mut bundle = TrustBundle::new(CLUSTER);
        for authority in self.authorities.values() {
            bundle.insert(authority.certificate().clone()).unwrap();
        }
        bundle
    }

    pub fn node(&self, id: u64, region: &'static str) -> Node {
        self.node_with(id, region, TlsOptions::default(), Duration::from_hours(1))
    }

    pub fn node_with(&self, id: u64, region: &'static str, options: TlsOptions, lifetime: Duration) -> Node {
        let peer = identity(id, region);
        let authority = Arc::clone(&self.authorities[region]);
        let certificate = NodeCertificate::issue(authority, peer, lifetime, Arc::clone(&self.clock)).unwrap();
        let (trust, book) = (Arc::new(TrustStore::new(self.trust())), Arc::new(AddressBook::default()));
        let peers = TlsPeers::new(TlsPeersConfig {
            certificate: Arc::clone(&certificate),
            trust: Arc::clone(&trust),
            book,
            clock: Arc::clone(&self.clock),
            options,
        });
        Node { id: NodeId(id), region, peers: peers.unwrap(), trust, certificate }
    }
}

pub fn identity(id: u64, region: &str) -> PeerIdentity {
    PeerIdentity { node: NodeId(id), region: region.to_owned(), zone: "a".to_owned() }
}

pub struct Node {
    pub id: NodeId,
    pub region: &'static str,
    pub peers: TlsPeers,
    pub trust: Arc<TrustStore>,
    pub certificate: Arc<NodeCertificate>,
}

impl Node {
    pub fn listen(&self, service: Arc<dyn PeerService>) -> PeerListener {
        self.listen_on("127.0.0.1:0".parse().unwrap(), service)
    }

    pub fn listen_on(&self, address: SocketAddr, service: Arc<dyn PeerService>) -> PeerListener {
        self.peers.listen(&[address], PeerHandlers { service, http: None, join: None }).unwrap()
    }

    /// Tells this node where `other` is.
    pub fn meet(&self, other: &Node, listener: &PeerListener) {
        self.meet_at(other.id, other.region, listener.addresses()[0]);
    }

    pub fn meet_at(&self, id: NodeId, region: &str, address: SocketAddr) {
        let address = PeerAddress { addresses: vec![address.to_string()], region: region.to_owned() };
        self.peers.book().set(id, address);
    }

    pub async fn ask(&self, to: &Node, text: &'static str) -> Result<Bytes, PeerError> {
        self.peers.call(to.id, Lane::Control, Bytes::from_static(text.as_bytes()), LONG).await
    }
}

/// Asks again until it is answered; the test's own deadline ends it.
pub async fn until_answered(from: &Node, to: &Node) -> Bytes {
    let asking = async {
        loop {
            if let Ok(answer) = from.ask(to, "again").await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, asking).await.unwrap()
}

pub fn lost(result: &Result<Bytes, PeerError>) -> &str {
    match result {
        Err(PeerError::Lost { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

pub fn unreachable(result: &Result<Bytes, PeerError>) -> &str {
    match result {
        Err(PeerError::Unreachable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}
