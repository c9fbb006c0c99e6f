//! Who may be at the other end: a certificate that an authority of the very region it names has signed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible,
    SignatureScheme,
};
use webpki::{EndEntityCert, KeyUsage};

use super::addresses::AddressBook;
use super::identity::{IdentityError, SpiffeId};
use super::trust::{AuthorityCertificate, Pin, TrustStore};
use crate::peer::PeerIdentity;
use crate::{NodeId, Timestamp};

/// DER of id-kp-serverAuth and id-kp-clientAuth (RFC 5280 §4.2.1.12).
const EKU_SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
const EKU_CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];

/// What the certificate must be good for. Its extension must be there and say so.
#[derive(Clone, Copy, Debug)]
pub(super) enum Usage {
    Server,
    Client,
}

/// A certificate that is not believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Disbelief {
    #[error(transparent)]
    Name(#[from] IdentityError),
    #[error("of cluster `{0}`")]
    ForeignCluster(String),
    #[error("not signed by an authority of its region `{region}`: {cause}")]
    Chain { region: String, cause: webpki::Error },
    #[error("node {} of `{}` answered where {wanted} was wanted", .found.node.0, .found.region)]
    Other { found: PeerIdentity, wanted: String },
    #[error("no certificate with the pinned SHA-256 in the chain")]
    Pin,
}

impl From<Disbelief> for Error {
    fn from(cause: Disbelief) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(cause))))
    }
}

/// Checks signature, validity at `at` (since the Unix epoch) and usage; the chain has no intermediates.
pub(super) fn verify_chain<'a>(
    leaf: &CertificateDer<'_>,
    authorities: impl Iterator<Item = &'a AuthorityCertificate>,
    at: Duration,
    usage: Usage,
) -> Result<(), webpki::Error> {
    let mut anchors = Vec::new();
    for authority in authorities {
        anchors.push(webpki::anchor_from_trusted_cert(authority.certificate())?);
    }
    let oid = match usage {
        Usage::Server => EKU_SERVER_AUTH,
        Usage::Client => EKU_CLIENT_AUTH,
    };
    let at = UnixTime::since_unix_epoch(at);
    let required = KeyUsage::required(oid);
    let leaf = EndEntityCert::try_from(leaf)?;
    leaf.verify_for_usage(algorithms().all, &anchors, &[], at, required, None, None).map(|_| ())
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    aws_lc_rs::default_provider().signature_verification_algorithms
}

fn believe(
    trust: &TrustStore,
    leaf: &CertificateDer<'_>,
    now: UnixTime,
    usage: Usage,
) -> Result<PeerIdentity, Disbelief> {
    let id = SpiffeId::of_certificate(leaf)?;
    if id.cluster != trust.cluster() {
        return Err(Disbelief::ForeignCluster(id.cluster));
    }
    let bundle = trust.current();
    let at = Duration::from_secs(now.as_secs());
    match verify_chain(leaf, bundle.authorities(&id.peer.region), at, usage) {
        Ok(()) => Ok(id.peer),
        Err(cause) => Err(Disbelief::Chain { region: id.peer.region, cause }),
    }
}

/// Whether the certificate of an accepted connection is still believed.
pub(super) fn is_believed(trust: &TrustStore, leaf: &CertificateDer<'_>, now: Timestamp) -> bool {
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.seconds()));
    believe(trust, leaf, now, Usage::Client).is_ok()
}

/// The part of a verifier that rustls asks of both directions alike: signatures of TLS 1.3, none older.
macro_rules! tls13_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _cert: &CertificateDer<'_>,
            _dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(only_tls13())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, dss, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}

/// The verifier of both directions.
pub(super) struct PeerVerifier {
    trust: Arc<TrustStore>,
    book: Arc<AddressBook>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PeerVerifier {
    pub(super) fn new(trust: Arc<TrustStore>, book: Arc<AddressBook>) -> Self {
        Self { trust, book, algorithms: algorithms() }
    }
}

impl fmt::Debug for PeerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerVerifier").field("trust", &self.trust).finish_non_exhaustive()
    }
}

/// How a dialler tells the verifier which node it wants. Is not sent: SNI is off.
pub(super) fn wanted_name(node: NodeId) -> Option<ServerName<'static>> {
    ServerName::try_from(format!("node-{}.peer.invalid", node.0)).ok()
}

fn wanted_node(name: &ServerName<'_>) -> Option<NodeId> {
    let ServerName::DnsName(name) = name else { return None };
    let number = name.as_ref().strip_prefix("node-")?.strip_suffix(".peer.invalid")?;
    number.parse().ok().map(NodeId)
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = believe(&self.trust, end_entity, now, Usage::Server)?;
        let wanted = wanted_node(server_name);
        // The region too: an authority can sign any node number for its own region.
        let region = wanted.and_then(|node| self.book.region(node));
        if wanted != Some(found.node) || region.as_ref() != Some(&found.region) {
            let wanted = format!("{server_name:?} of {region:?}");
            return Err(Disbelief::Other { found, wanted }.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    tls13_signatures!();
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let found = believe(&self.trust, end_entity, now, Usage::Client)?;
        match self.book.region(found.node) {
            // A node that the book does not know yet may be new; whoever acts on its messages decides.
            None => Ok(ClientCertVerified::assertion()),
            Some(region) if region == found.region => Ok(ClientCertVerified::assertion()),
            Some(region) => {
                let wanted = format!("node {} of {region}", found.node.0);
                Err(Disbelief::Other { found, wanted }.into())
            }
        }
    }

    tls13_signatures!();
}

fn only_tls13() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered)
}

/// Believes the one server whose chain has the authority that a join token pinned.
#[derive(Debug)]
pub(super) struct PinVerifier {
    pin: Pin,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinVerifier {
    pub(super) fn new(pin: Pin) -> Self {
        Self { pin, algorithms: algorithms() }
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned = intermediates.iter().find(|der| Pin::of(der) == self.pin).ok_or(Disbelief::Pin)?;
        let authority = AuthorityCertificate::from_der(pinned)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let id = SpiffeId::of_certificate(end_entity).map_err(Disbelief::from)?;
        if id.cluster != authority.name().cluster {
            return Err(Disbelief::ForeignCluster(id.cluster).into());
        }
        let region = authority.name().region.clone();
        if id.peer.region != region {
            let wanted = format!("a node of {region}");
            return Err(Disbelief::Other { found: id.peer, wanted }.into());
        }
        let at = Duration::from_secs(now.as_secs());
        verify_chain(end_entity, std::iter::once(&authority), at, Usage::Server)
            .map_err(|cause| Disbelief::Chain { region, cause })?;
        Ok(ServerCertVerified::assertion())
    }

    tls13_signatures!();
}
