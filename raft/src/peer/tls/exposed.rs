//! Links that can be looked into, for the chaos harness (docs/adr/0029). Only builds with the feature `seeded-bugs`
//! have this file; all others have `concealed.rs`.
//!
//! - `PEERS_IN_CLEAR`: TLS as always, with certificates verified on both sides, but under a cipher suite that leaves
//!   records as they are. Who encrypts has no suite in common with who does not.
//! - `PEERS_SENT_TO`: a folder for what is sent, as it is before TLS has it. One file a connection, so that bytes that
//!   follow each other there do so here: `<node>.<protocol>.<turn>.<region>.sent`. Node 0 is one that joins.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter,
    OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls13AeadAlgorithm,
    UnsupportedOperationError,
};
use rustls::{
    CipherSuite, CipherSuiteCommon, ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion,
    SupportedCipherSuite, Tls13CipherSuite,
};

use super::config::Protocol;
use crate::NodeId;

#[cfg(not(debug_assertions))]
compile_error!("builds that are released cannot have links in the clear: the feature needs debug assertions");

/// Bytes that a process keeps of what it sends.
const KEPT_BYTES_MAX: u64 = 1 << 30;
/// Left in the folder where something is missing.
const INCOMPLETE: &str = "INCOMPLETE";
/// The number of TLS_SHA256_SHA256, which does not encrypt either (RFC 9150 §10); ours has no tag.
const CLEAR_SUITE: u16 = 0xc0b4;
/// What the key schedule makes, for nobody.
const KEY_BYTES: usize = 32;

/// The cryptography of all links.
pub(super) fn provider() -> CryptoProvider {
    static ASKED: OnceLock<bool> = OnceLock::new();
    let asked = *ASKED.get_or_init(|| {
        let asked = std::env::var_os("PEERS_IN_CLEAR").is_some();
        if asked {
            tracing::error!("THE LINKS OF THIS PROCESS ARE NOT ENCRYPTED, ON PURPOSE");
        }
        asked
    });
    if asked { in_clear() } else { default_provider() }
}

/// As the usual one, with a suite that does not encrypt and no other.
fn in_clear() -> CryptoProvider {
    let cipher_suites = suite().into_iter().map(SupportedCipherSuite::Tls13).collect();
    CryptoProvider { cipher_suites, ..default_provider() }
}

/// The hashes and keys of a real suite, so that handshakes are what they are.
fn suite() -> Option<&'static Tls13CipherSuite> {
    static SUITE: OnceLock<Option<Tls13CipherSuite>> = OnceLock::new();
    let made = SUITE.get_or_init(|| {
        let real = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13()?;
        Some(Tls13CipherSuite {
            common: CipherSuiteCommon {
                suite: CipherSuite::Unknown(CLEAR_SUITE),
                hash_provider: real.common.hash_provider,
                confidentiality_limit: u64::MAX,
            },
            hkdf_provider: real.hkdf_provider,
            aead_alg: &Clear,
            quic: None,
        })
    });
    made.as_ref()
}

/// Encrypts nothing and proves nothing.
struct Clear;

impl Tls13AeadAlgorithm for Clear {
    fn encrypter(&self, _key: AeadKey, _iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Self)
    }

    fn decrypter(&self, _key: AeadKey, _iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Self)
    }

    fn key_len(&self) -> usize {
        KEY_BYTES
    }

    fn extract_keys(
        &self,
        _key: AeadKey,
        _iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

impl MessageEncrypter for Clear {
    fn encrypt(&mut self, msg: OutboundPlainMessage<'_>, _seq: u64) -> Result<OutboundOpaqueMessage, Error> {
        let mut payload = PrefixedPayload::with_capacity(self.encrypted_payload_len(msg.payload.len()));
        payload.extend_from_chunks(&msg.payload);
        // The content's type ends a record of TLS 1.3 (RFC 8446 §5.2).
        payload.extend_from_slice(&[u8::from(msg.typ)]);
        Ok(OutboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, payload))
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        payload_len + 1
    }
}

impl MessageDecrypter for Clear {
    fn decrypt<'a>(
        &mut self,
        msg: InboundOpaqueMessage<'a>,
        _seq: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        msg.into_tls13_unpadded_message()
    }
}

/// Keeps what is sent on one connection, if that was asked for.
pub(super) struct Sent(Option<Kept>);

struct Kept {
    folder: PathBuf,
    file: File,
}

impl Sent {
    /// For a connection to `node`, 0 for one that joins.
    pub(super) fn of(node: NodeId, region: &str, protocol: Protocol) -> Self {
        static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
        let folder = FOLDER.get_or_init(|| std::env::var_os("PEERS_SENT_TO").map(PathBuf::from));
        Self(folder.as_deref().and_then(|folder| Kept::open(folder, node, region, protocol)))
    }

    /// TLS took these bytes: they will be sent.
    pub(super) fn took(&mut self, bytes: &[u8]) {
        if self.0.as_mut().is_some_and(|kept| !kept.take(bytes)) {
            self.0 = None;
        }
    }
}

impl Kept {
    fn open(folder: &Path, node: NodeId, region: &str, protocol: Protocol) -> Option<Self> {
        let file = fresh_file(folder, node, region, protocol).inspect_err(|_| give_up(folder)).ok()?;
        Some(Self { folder: folder.to_owned(), file })
    }

    /// `false` if there is no more room.
    fn take(&mut self, bytes: &[u8]) -> bool {
        static LEFT: AtomicU64 = AtomicU64::new(KEPT_BYTES_MAX);
        let bytes_len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let shrunk =
            LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes_len));
        let kept = shrunk.is_ok() && self.file.write_all(bytes).is_ok();
        if !kept {
            give_up(&self.folder);
        }
        kept
    }
}

/// Earlier starts of the node left theirs.
fn fresh_file(folder: &Path, node: NodeId, region: &str, protocol: Protocol) -> io::Result<File> {
    static TURN: AtomicU64 = AtomicU64::new(0);
    let protocol = match protocol {
        Protocol::Raft => "raft",
        Protocol::Stream => "stream",
        Protocol::Http => "http",
        Protocol::Join => "join",
    };
    loop {
        let turn = TURN.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{}.{protocol}.{turn}.{region}.sent", node.0));
        match File::options().write(true).create_new(true).open(path) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened,
        }
    }
}

/// So that nobody takes what is there for all that was sent.
fn give_up(folder: &Path) {
    tracing::error!("not all of what is sent is kept");
    // Who cannot even do this leaves a folder in which too little is found.
    let _ = File::create(folder.join(INCOMPLETE));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed step is a failed test")]
mod tests {
    use std::io::Read as _;
    use std::sync::Arc;

    use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
    use rustls::version::TLS13;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

    use super::*;

    const NAME: &str = "peer.invalid";
    const SAID: &[u8] = b"said over a link, and read by whoever is on it";

    fn ends(client: CryptoProvider, server: CryptoProvider) -> (ClientConnection, ServerConnection) {
        let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let server = ServerConfig::builder_with_provider(Arc::new(server))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(client))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = ClientConnection::new(Arc::new(client), ServerName::try_from(NAME).unwrap()).unwrap();
        (client, ServerConnection::new(Arc::new(server)).unwrap())
    }

    /// What is on the wire from the one who dials, who says [`SAID`].
    fn wire(client: CryptoProvider, server: CryptoProvider) -> Result<Vec<u8>, Error> {
        let (mut client, mut server) = ends(client, server);
        client.writer().write_all(SAID).unwrap();
        let mut wire = Vec::new();
        while client.wants_write() || server.wants_write() {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            while client.wants_write() {
                client.write_tls(&mut there).unwrap();
            }
            let mut rest = there.as_slice();
            while !rest.is_empty() {
                server.read_tls(&mut rest).unwrap();
                server.process_new_packets()?;
            }
            while server.wants_write() {
                server.write_tls(&mut back).unwrap();
            }
            let mut rest = back.as_slice();
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets()?;
            }
            wire.extend(there);
        }
        let mut heard = vec![0; SAID.len()];
        server.reader().read_exact(&mut heard).unwrap();
        assert_eq!(heard, SAID);
        Ok(wire)
    }

    fn shows_what_was_said(wire: &[u8]) -> bool {
        wire.windows(SAID.len()).any(|window| window == SAID)
    }

    #[test]
    fn what_is_said_in_the_clear_can_be_read_on_the_wire_and_nothing_else_can() {
        assert!(shows_what_was_said(&wire(in_clear(), in_clear()).unwrap()));
        assert!(!shows_what_was_said(&wire(default_provider(), default_provider()).unwrap()));
    }

    #[test]
    fn who_encrypts_does_not_speak_with_who_does_not() {
        assert!(wire(in_clear(), default_provider()).is_err());
        assert!(wire(default_provider(), in_clear()).is_err());
    }

    #[test]
    fn nobody_is_in_the_clear_unasked() {
        let suites = |provider: CryptoProvider| -> Vec<CipherSuite> {
            provider.cipher_suites.iter().map(SupportedCipherSuite::suite).collect()
        };
        assert_eq!(suites(provider()), suites(default_provider()));
        assert_eq!(suites(in_clear()), [CipherSuite::Unknown(CLEAR_SUITE)]);
    }

    #[test]
    fn what_is_sent_is_kept_a_file_a_connection_with_its_node_and_region() {
        let folder = tempfile::tempdir().unwrap();
        for said in [["one ", "way"], ["other ", "way"]] {
            let mut sent = Sent(Kept::open(folder.path(), NodeId(7), "us-east", Protocol::Http));
            for part in said {
                sent.took(part.as_bytes());
            }
        }
        let mut kept = Vec::new();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(name.starts_with("7.http.") && name.ends_with(".us-east.sent"), "{name}");
            kept.push(std::fs::read_to_string(path).unwrap());
        }
        kept.sort();
        assert_eq!(kept, ["one way", "other way"]);
    }

    #[test]
    fn a_folder_that_lacks_something_says_so() {
        let folder = tempfile::tempdir().unwrap();
        // No such region: the name is no name of a file.
        assert!(Kept::open(folder.path(), NodeId(7), "no/where", Protocol::Raft).is_none());
        assert!(folder.path().join(INCOMPLETE).exists());
    }
}
