//! The keys of clients that sign assertions: registered inline, or fetched from their `jwks_uri`.
//!
//! A fetched set is kept for as long as its server says, within bounds. A `kid` that it lacks means that the
//! client has a new key: the set is fetched again then, at most once in [`REFETCH_AFTER`] whatever is sent, so
//! that nobody makes this node hammer others. A set that cannot be fetched anew goes on to count for
//! [`STALE_MAX`]: so long a key that its client withdrew may still be believed, and no longer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domicile_iam::ids::{ClientId, TenantId};
use domicile_iam::keys::ForeignKeys;
use domicile_iam::model::{ClientView, TrustedIssuer};
use domicile_oidc::assertion::Assertion;
use domicile_raft::Clock;
use serde_json::Value;
use url::Url;

use crate::egress::{EgressError, Errand, Fetch, Purpose};

/// A set is kept this long when its server says nothing.
const FRESH_DEFAULT: Duration = Duration::from_mins(5);
/// And not shorter or longer than this, whatever it says.
const FRESH_MIN: Duration = Duration::from_mins(1);
const FRESH_MAX: Duration = Duration::from_mins(15);
/// A set that cannot be fetched anew counts this long after it was fetched.
const STALE_MAX: Duration = Duration::from_hours(1);
/// A set is not asked for more often than this.
const REFETCH_AFTER: Duration = Duration::from_secs(10);
/// Sets held at most, of each sort. When full, all are dropped.
const SETS_MAX: usize = 2_048;

/// The keys cannot be had now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client's keys cannot be fetched")]
pub struct NoKeys;

/// Keys by client.
pub struct ClientKeys {
    fetch: Arc<dyn Fetch>,
    clock: Arc<dyn Clock>,
    inline: Mutex<HashMap<Registered, Inline>>,
    fetched: Mutex<HashMap<(TenantId, String), Arc<Remote>>>,
}

/// A set in a client's metadata: its own, or that of the issuer named, whom it trusts.
type Registered = (TenantId, ClientId, Option<String>);

struct Inline {
    revision: u64,
    keys: Arc<ForeignKeys>,
}

#[derive(Default)]
struct Remote {
    known: Mutex<Known>,
    /// Held while it is fetched, so that a crowd fetches once.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct Known {
    set: Option<FetchedSet>,
    tried_at: Option<Duration>,
}

#[derive(Clone)]
struct FetchedSet {
    keys: Arc<ForeignKeys>,
    at: Duration,
    fresh_for: Duration,
}

/// Why a fetch gave no set.
enum Unfetched {
    /// Its server was not even asked.
    Busy,
    Failed,
}

impl ClientKeys {
    /// Knows none yet.
    pub fn new(fetch: Arc<dyn Fetch>, clock: Arc<dyn Clock>) -> Self {
        Self { fetch, clock, inline: Mutex::default(), fetched: Mutex::default() }
    }

    /// The set that should hold the key of `assertion`. It may lack it all the same.
    ///
    /// # Errors
    /// [`NoKeys`] if there is no set, not even an old one.
    pub async fn of(
        &self,
        tenant: TenantId,
        client: &ClientView,
        assertion: &Assertion,
    ) -> Result<Arc<ForeignKeys>, NoKeys> {
        match client.metadata.jwks_uri() {
            Some(uri) => self.at(tenant, uri, assertion).await,
            None => Ok(self.registered(tenant, client, None, client.metadata.jwks())),
        }
    }

    /// The set of an issuer that a client trusts.
    ///
    /// # Errors
    /// As [`ClientKeys::of`].
    pub async fn of_issuer(
        &self,
        tenant: TenantId,
        client: &ClientView,
        issuer: &TrustedIssuer,
        assertion: &Assertion,
    ) -> Result<Arc<ForeignKeys>, NoKeys> {
        match (&issuer.jwks_uri, &issuer.jwks) {
            (Some(uri), _) => self.at(tenant, uri, assertion).await,
            (None, set @ Some(_)) => {
                Ok(self.registered(tenant, client, Some(issuer.issuer.clone()), set.as_ref()))
            }
            (None, None) => Err(NoKeys),
        }
    }

    /// `set`, which is in the metadata of `client` at this revision; parsed once for each.
    fn registered(
        &self,
        tenant: TenantId,
        client: &ClientView,
        issuer: Option<String>,
        set: Option<&Value>,
    ) -> Arc<ForeignKeys> {
        let key = (tenant, client.id, issuer);
        let mut inline = self.inline.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = inline.get(&key).filter(|known| known.revision == client.revision) {
            return Arc::clone(&known.keys);
        }
        let keys = Arc::new(set.and_then(|set| ForeignKeys::parse(set).ok()).unwrap_or_default());
        if inline.len() >= SETS_MAX {
            inline.clear();
        }
        inline.insert(key, Inline { revision: client.revision, keys: Arc::clone(&keys) });
        keys
    }

    /// The set at a URL of a tenant's choice.
    ///
    /// # Errors
    /// As [`ClientKeys::of`].
    pub async fn at(
        &self,
        tenant: TenantId,
        uri: &str,
        assertion: &Assertion,
    ) -> Result<Arc<ForeignKeys>, NoKeys> {
        let remote = self.remote(tenant, uri);
        let now = self.clock.monotonic();
        let known = remote.known();
        match known.usable(now) {
            Some(set) if assertion.has_key(&set.keys) => {
                if now < set.at + set.fresh_for || !known.may_try(now) {
                    return Ok(Arc::clone(&set.keys));
                }
                // One of those who come now waits for the new set; the others go on with this one.
                if let Ok(_fetching) = remote.fetching.try_lock() {
                    self.refetch(&remote, tenant, uri).await;
                }
            }
            Some(_) | None => {
                let _fetching = remote.fetching.lock().await;
                let now = self.clock.monotonic();
                let known = remote.known();
                let has = known.usable(now).is_some_and(|set| assertion.has_key(&set.keys));
                if !has && known.may_try(now) {
                    self.refetch(&remote, tenant, uri).await;
                }
            }
        }
        let known = remote.known();
        known.usable(self.clock.monotonic()).map(|set| Arc::clone(&set.keys)).ok_or(NoKeys)
    }

    fn remote(&self, tenant: TenantId, uri: &str) -> Arc<Remote> {
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tenant, uri.to_owned());
        if !fetched.contains_key(&key) && fetched.len() >= SETS_MAX {
            fetched.clear();
        }
        Arc::clone(fetched.entry(key).or_default())
    }

    /// If that fails, the set known before stays.
    async fn refetch(&self, remote: &Remote, tenant: TenantId, uri: &str) {
        let now = self.clock.monotonic();
        let tried_before = remote.known().tried_at;
        // Before it is asked: whoever hangs up meanwhile has asked all the same.
        remote.change(|known| known.tried_at = Some(now));
        match self.fetch_set(tenant, uri).await {
            Ok((keys, max_age)) => {
                let fresh_for = max_age.unwrap_or(FRESH_DEFAULT).clamp(FRESH_MIN, FRESH_MAX);
                let set = FetchedSet { keys: Arc::new(keys), at: now, fresh_for };
                remote.change(|known| known.set = Some(set));
            }
            // Nobody was asked: the next one may be.
            Err(Unfetched::Busy) => remote.change(|known| known.tried_at = tried_before),
            Err(Unfetched::Failed) => {}
        }
    }

    async fn fetch_set(
        &self,
        tenant: TenantId,
        uri: &str,
    ) -> Result<(ForeignKeys, Option<Duration>), Unfetched> {
        let url = Url::parse(uri).map_err(|_| Unfetched::Failed)?;
        let host = url.host_str().unwrap_or_default();
        let fetched = self.fetch.get(Errand::new(tenant, Purpose::KeySet), &url).await.map_err(|cause| {
            tracing::warn!(host, %cause, "a client's key set cannot be fetched");
            if cause == EgressError::Busy { Unfetched::Busy } else { Unfetched::Failed }
        })?;
        let keys = serde_json::from_slice(&fetched.body).ok().and_then(|set| ForeignKeys::parse(&set).ok());
        let Some(keys) = keys else {
            tracing::warn!(host, "what a client's jwks_uri gives is no key set");
            return Err(Unfetched::Failed);
        };
        Ok((keys, fetched.max_age))
    }
}

impl Remote {
    fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Known {
    fn usable(&self, now: Duration) -> Option<&FetchedSet> {
        self.set.as_ref().filter(|set| now < set.at + STALE_MAX)
    }

    fn may_try(&self, now: Duration) -> bool {
        self.tried_at.is_none_or(|tried| now >= tried + REFETCH_AFTER)
    }
}

#[cfg(test)]
mod tests;
