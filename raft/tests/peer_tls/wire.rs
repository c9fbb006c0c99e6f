//! What comes over the wire from somebody who does not keep to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use domicile_raft::peer::tls::RegionAuthority;
use domicile_raft::peer::{Lane, PeerTransport as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{CLUSTER, Echo, LONG, World, identity};

/// Passes bytes on until told to swallow them; then the connection stays open and says nothing.
pub struct Relay {
    pub address: SocketAddr,
    swallowing: Arc<AtomicBool>,
}

impl Relay {
    pub async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, swallowing) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let flag = Arc::clone(&swallowing);
        tokio::spawn(async move {
            let (near, _) = listener.accept().await.unwrap();
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = TcpStream::connect(to).await.unwrap().into_split();
            tokio::join!(
                pass(near_read, far_write, Arc::clone(&flag)),
                pass(far_read, near_write, Arc::clone(&flag))
            )
        });
        Self { address, swallowing }
    }

    pub fn swallow(&self) {
        self.swallowing.store(true, Ordering::SeqCst);
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    swallowing: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        if !swallowing.load(Ordering::SeqCst) && to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}

/// Believes any server: the test is about what the server believes.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

struct Wish<'a> {
    version: &'static rustls::SupportedProtocolVersion,
    alpn: &'a [u8],
    certificate: Option<&'a RegionAuthority>,
}

async fn connect(
    address: SocketAddr,
    wish: &Wish<'_>,
    world: &World,
) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_protocol_versions(&[wish.version]).unwrap();
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(Gullible));
    let mut config = match wish.certificate {
        None => config.with_no_client_auth(),
        Some(authority) => {
            let leaf = authority.issue(&identity(9, "eu"), LONG, world.clock.now()).unwrap();
            let (chain, key) = leaf.into_parts();
            config.with_client_auth_cert(vec![chain], PrivateKeyDer::Pkcs8(key)).unwrap()
        }
    };
    config.alpn_protocols = vec![wish.alpn.to_vec()];
    let tcp = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect("x.invalid".try_into().unwrap(), tcp).await
}

/// The connection is closed, sooner or later, and not one byte comes over it before.
async fn closed(stream: std::io::Result<TlsStream<TcpStream>>) -> bool {
    let Ok(mut stream) = stream else { return true };
    let mut byte = [0; 1];
    !matches!(tokio::time::timeout(LONG, stream.read(&mut byte)).await.unwrap(), Ok(1))
}

#[tokio::test]
async fn only_tls13_with_a_certificate_and_a_known_protocol_gets_in() {
    use rustls::version::{TLS12, TLS13};
    let world = World::new(&["eu"]);
    let node = world.node(1, "eu");
    let listener = node.listen(Arc::new(Echo::default()));
    let (address, authority) = (listener.addresses()[0], Some(&*world.authorities["eu"]));
    let raft = b"domicile-raft/1".as_slice();
    let old = connect(address, &Wish { version: &TLS12, alpn: raft, certificate: authority }, &world).await;
    assert!(old.is_err());
    let unknown = Wish { version: &TLS13, alpn: b"domicile-raft/2", certificate: authority };
    assert!(connect(address, &unknown, &world).await.is_err());
    for alpn in [raft, b"domicile-stream/1", b"domicile-http/1"] {
        let nobody = Wish { version: &TLS13, alpn, certificate: None };
        assert!(closed(connect(address, &nobody, &world).await).await);
    }
    assert_eq!(node.peers.counts().len(), 0);
}

/// A hello as version 1 writes it, for a control lane.
fn hello() -> Vec<u8> {
    let mut body = vec![1];
    let fixed = bincode::config::standard().with_fixed_int_encoding();
    bincode::encode_into_std_write((1u16, 1u16, CLUSTER, 0u32), &mut body, fixed).unwrap();
    frame(1, &body)
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(10 + body.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(&[1, kind, 0, 0, 0, 0, 0, 0, 0, 7]);
    out.extend_from_slice(body);
    out
}

/// Sends bytes after the TLS handshake, and gives all that comes until the other side closes.
async fn exchange(bytes: &[u8]) -> (Vec<u8>, usize) {
    let world = World::new(&["eu"]);
    let (node, echo) = (world.node(1, "eu"), Arc::new(Echo::default()));
    let listener = node.listen(Arc::clone(&echo) as _);
    let authority = Some(&*world.authorities["eu"]);
    let wish = Wish { version: &rustls::version::TLS13, alpn: b"domicile-raft/1", certificate: authority };
    let mut stream = connect(listener.addresses()[0], &wish, &world).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    // A connection dropped without a farewell is an error; what came before it counts.
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut answer)).await.unwrap();
    let seen = echo.seen.lock().unwrap().len();
    (answer, seen)
}

#[tokio::test]
async fn bytes_that_are_no_frames_close_the_connection_and_reach_no_service() {
    let too_long = (16u32 << 20).to_be_bytes().to_vec();
    let answers_where_requests_belong = frame(3, b"answer");
    for bad in [too_long, frame(200, b""), answers_where_requests_belong, frame(1, b"")] {
        let (answer, seen) = exchange(&[hello(), bad.clone()].concat()).await;
        // The listener's own hello came: this one was understood.
        assert!(!answer.is_empty() && seen == 0, "{bad:?}");
    }
    let (answer, seen) = exchange(&frame(2, b"request before hello")).await;
    assert_eq!((answer.len(), seen), (0, 0));
    let (answer, seen) = exchange(&[hello(), frame(2, b"request"), frame(200, b"")].concat()).await;
    assert!(!answer.is_empty() && seen == 1);
}

#[tokio::test]
async fn a_peer_cut_off_in_the_middle_of_a_frame_harms_nobody() {
    let world = World::new(&["eu"]);
    let (a, b) = (world.node(1, "eu"), world.node(2, "eu"));
    let listener = b.listen(Arc::new(Echo::default()));
    a.meet(&b, &listener);
    let authority = Some(&*world.authorities["eu"]);
    let wish = Wish { version: &rustls::version::TLS13, alpn: b"domicile-raft/1", certificate: authority };
    let mut cut = connect(listener.addresses()[0], &wish, &world).await.unwrap();
    cut.write_all(&hello()).await.unwrap();
    cut.write_all(&frame(2, &[0; 100])[..50]).await.unwrap();
    cut.flush().await.unwrap();
    drop(cut);
    let answer = a.peers.call(b.id, Lane::Data, Bytes::from_static(b"on"), LONG).await;
    assert_eq!(answer.unwrap().as_ref(), b"on");
}
