//! This node's certificate: made at start, made again at two thirds of its life. Nothing is on disk.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::task::JoinHandle;

use super::TlsError;
use super::authority::RegionAuthority;
use crate::peer::PeerIdentity;
use crate::{Clock, Timestamp};

/// Seven days.
pub const LIFETIME_DEFAULT: Duration = Duration::from_hours(7 * 24);
/// How long the renewal sleeps at most: the wall clock may jump, the machine may be suspended.
const LOOK_EVERY_MAX: Duration = Duration::from_mins(1);
const LOOK_EVERY_MIN: Duration = Duration::from_millis(100);

struct Current {
    key: Arc<CertifiedKey>,
    made: Timestamp,
    expires: Timestamp,
}

/// The certificate in use. Handshakes take the current one; connections that are open live on.
pub struct NodeCertificate {
    current: ArcSwap<Current>,
    authority: ArcSwap<RegionAuthority>,
    identity: PeerIdentity,
    lifetime: Duration,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for NodeCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeCertificate").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl NodeCertificate {
    /// Makes the first certificate; `lifetime` has a precision of one second.
    ///
    /// # Errors
    /// As [`RegionAuthority::issue`].
    pub fn issue(
        authority: Arc<RegionAuthority>,
        identity: PeerIdentity,
        lifetime: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, TlsError> {
        let first = make(&authority, &identity, lifetime, clock.now())?;
        let current = ArcSwap::from_pointee(first);
        Ok(Arc::new(Self { current, authority: ArcSwap::new(authority), identity, lifetime, clock }))
    }

    /// Whom it names.
    #[must_use]
    pub fn identity(&self) -> &PeerIdentity {
        &self.identity
    }

    /// When the current one ends.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.current.load().expires
    }

    /// Makes a new one now, signed by `authority` from here on.
    ///
    /// # Errors
    /// As [`RegionAuthority::issue`]; the old one stays.
    pub fn replace_authority(&self, authority: Arc<RegionAuthority>) -> Result<(), TlsError> {
        let fresh = make(&authority, &self.identity, self.lifetime, self.clock.now())?;
        self.authority.store(authority);
        self.current.store(Arc::new(fresh));
        Ok(())
    }

    /// Makes a new one if two thirds of the current one's life are over, or if the wall clock is before it.
    ///
    /// # Errors
    /// As [`RegionAuthority::issue`]; the old one stays.
    pub fn renew_if_due(&self) -> Result<bool, TlsError> {
        let now = self.clock.now();
        let current = self.current.load();
        if now >= renewal(&current) || now < current.made {
            let fresh = make(&self.authority.load(), &self.identity, self.lifetime, now)?;
            tracing::info!(expires_ms = fresh.expires.0, "renewed this node's certificate");
            self.current.store(Arc::new(fresh));
            return Ok(true);
        }
        Ok(false)
    }

    /// Renews in time until the task is dropped. Needs a Tokio runtime.
    #[must_use]
    pub fn keep_renewed(self: &Arc<Self>) -> RenewalTask {
        let certificate = Arc::clone(self);
        RenewalTask(tokio::spawn(async move {
            loop {
                let left = renewal(&certificate.current.load()).since_ms(certificate.clock.now());
                tokio::time::sleep(Duration::from_millis(left).clamp(LOOK_EVERY_MIN, LOOK_EVERY_MAX)).await;
                if let Err(cause) = certificate.renew_if_due() {
                    tracing::error!(%cause, "this node's certificate is not renewed");
                }
            }
        }))
    }
}

/// Ends the renewal when dropped.
#[derive(Debug)]
pub struct RenewalTask(JoinHandle<()>);

impl Drop for RenewalTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn renewal(current: &Current) -> Timestamp {
    current.made.plus_ms(current.expires.since_ms(current.made) / 3 * 2)
}

fn make(
    authority: &RegionAuthority,
    identity: &PeerIdentity,
    lifetime: Duration,
    now: Timestamp,
) -> Result<Current, TlsError> {
    let leaf = authority.issue(identity, lifetime, now)?;
    let key = any_ecdsa_type(&PrivateKeyDer::Pkcs8(leaf.key))?;
    // The authority's certificate goes along for a joining node, which knows only its hash.
    let chain = vec![leaf.certificate, authority.certificate().certificate().clone()];
    Ok(Current { key: Arc::new(CertifiedKey::new(chain, key)), made: now, expires: leaf.expires })
}

impl ResolvesServerCert for NodeCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().key))
    }
}

impl ResolvesClientCert for NodeCertificate {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
