//! TLS as this cluster speaks it: 1.3 only, certificates verified at every connection, no session kept.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use super::certificate::NodeCertificate;
use super::exposed::provider;
use super::verify::{PeerVerifier, PinVerifier};
use crate::Clock;

/// What a connection is for; its ALPN name carries the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Raft,
    Stream,
    Http,
    Join,
}

impl Protocol {
    const ALL: [Self; 4] = [Self::Raft, Self::Stream, Self::Http, Self::Join];

    pub(super) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Raft => b"domicile-raft/1",
            Self::Stream => b"domicile-stream/1",
            Self::Http => b"domicile-http/1",
            Self::Join => b"domicile-join/1",
        }
    }

    pub(super) fn of_alpn(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.alpn() == name)
    }
}

struct ClockTime(Arc<dyn Clock>);

impl fmt::Debug for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockTime")
    }
}

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.now().0)))
    }
}

/// What accepts: peers with certificates, and joiners without.
pub(super) struct ServerConfigs {
    pub(super) peer: Arc<ServerConfig>,
    pub(super) join: Arc<ServerConfig>,
}

pub(super) fn server(
    certificate: &Arc<NodeCertificate>,
    verifier: Arc<PeerVerifier>,
    clock: &Arc<dyn Clock>,
) -> Result<ServerConfigs, rustls::Error> {
    let builder = || {
        ServerConfig::builder_with_details(Arc::new(provider()), Arc::new(ClockTime(Arc::clone(clock))))
            .with_protocol_versions(&[&TLS13])
    };
    let mut peer =
        builder()?.with_client_cert_verifier(verifier).with_cert_resolver(Arc::clone(certificate) as _);
    peer.alpn_protocols =
        [Protocol::Raft, Protocol::Stream, Protocol::Http].map(|p| p.alpn().to_vec()).into();
    let mut join = builder()?.with_no_client_auth().with_cert_resolver(Arc::clone(certificate) as _);
    join.alpn_protocols = vec![Protocol::Join.alpn().to_vec()];
    for config in [&mut peer, &mut join] {
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    }
    Ok(ServerConfigs { peer: Arc::new(peer), join: Arc::new(join) })
}

/// What dials peers, one for each protocol.
pub(super) struct ClientConfigs {
    raft: Arc<ClientConfig>,
    stream: Arc<ClientConfig>,
    http: Arc<ClientConfig>,
}

impl ClientConfigs {
    pub(super) fn new(
        certificate: &Arc<NodeCertificate>,
        verifier: &Arc<PeerVerifier>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, rustls::Error> {
        let one = |protocol: Protocol| {
            let config = client(Arc::clone(verifier) as _, clock)?;
            let config = config.with_client_cert_resolver(Arc::clone(certificate) as _);
            Ok::<_, rustls::Error>(finish(config, protocol))
        };
        Ok(Self { raft: one(Protocol::Raft)?, stream: one(Protocol::Stream)?, http: one(Protocol::Http)? })
    }

    pub(super) fn of(&self, protocol: Protocol) -> &Arc<ClientConfig> {
        match protocol {
            Protocol::Raft | Protocol::Join => &self.raft,
            Protocol::Stream => &self.stream,
            Protocol::Http => &self.http,
        }
    }
}

/// What a joining node dials with.
pub(super) fn joiner(
    verifier: PinVerifier,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    Ok(finish(client(Arc::new(verifier), clock)?.with_no_client_auth(), Protocol::Join))
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn client(verifier: Arc<dyn ServerCertVerifier>, clock: &Arc<dyn Clock>) -> Result<Builder, rustls::Error> {
    let time = Arc::new(ClockTime(Arc::clone(clock)));
    let builder = ClientConfig::builder_with_details(Arc::new(provider()), time);
    Ok(builder.with_protocol_versions(&[&TLS13])?.dangerous().with_custom_certificate_verifier(verifier))
}

fn finish(mut config: ClientConfig, protocol: Protocol) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![protocol.alpn().to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Arc::new(config)
}
