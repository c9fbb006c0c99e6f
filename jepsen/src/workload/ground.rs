//! What all clients of a run share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::client::Http;
use crate::cluster::{Cluster, Tenant};
use crate::history::Journal;

/// A node answers within 5 s of a request's last byte; a client waits a little longer.
const TIMEOUT: Duration = Duration::from_secs(8);
const HASTE: Duration = Duration::from_millis(1_500);
/// Unexpected answers kept; the rest is counted.
const ODD_MAX: usize = 200;

/// The cluster, the tenant, the history, and numbers that are given out once.
#[derive(Debug)]
pub struct Ground {
    /// Where.
    pub cluster: Cluster,
    /// As whom.
    pub tenant: Tenant,
    /// What happens.
    pub journal: Journal,
    /// With the patience of a client.
    pub http: Http,
    /// With less of it, so that a node that is cut off does not hold its clients up.
    pub hasty: Http,
    /// For answers that may be long.
    pub patient: Http,
    pub(super) seed: u64,
    closed: AtomicBool,
    next: AtomicU64,
    numbers: Mutex<BTreeMap<String, u64>>,
    astray: Mutex<Vec<usize>>,
    disk_fails: AtomicBool,
    pub(super) registers: Mutex<Vec<Arc<super::registers::Register>>>,
    odd: Mutex<Vec<String>>,
}

impl Ground {
    /// Open for clients.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn new(cluster: Cluster, tenant: Tenant, journal: Journal, seed: u64) -> anyhow::Result<Self> {
        Ok(Self {
            cluster,
            tenant,
            journal,
            http: Http::new(TIMEOUT)?,
            hasty: Http::new(HASTE)?,
            patient: Http::patient(TIMEOUT)?,
            seed,
            closed: AtomicBool::new(false),
            next: AtomicU64::new(1),
            numbers: Mutex::default(),
            astray: Mutex::default(),
            disk_fails: AtomicBool::new(false),
            registers: Mutex::default(),
            odd: Mutex::default(),
        })
    }

    /// Clients finish what they do and end.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// These nodes lost the majority of the others from now on, and can be reached.
    pub fn set_astray(&self, nodes: Vec<usize>) {
        *lock(&self.astray) = nodes;
    }

    /// Whether a disk fails on purpose from now on, here or there: its node cannot but say that something went wrong.
    pub fn set_disk_fails(&self, fails: bool) {
        self.disk_fails.store(fails, Ordering::Relaxed);
    }

    /// Those that serve the tenant.
    pub(super) fn astray(&self) -> Vec<usize> {
        let serves = |node: &usize| self.tenant.doors.contains(node);
        lock(&self.astray).iter().copied().filter(serves).collect()
    }

    /// A number that nobody had: a value, a key, a client.
    pub(super) fn fresh(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of a text, so that secrets and ids are not in the history.
    pub(super) fn number_of(&self, text: &str) -> u64 {
        let mut numbers = lock(&self.numbers);
        if let Some(known) = numbers.get(text) {
            return *known;
        }
        let number = self.fresh();
        numbers.insert(text.to_owned(), number);
        number
    }

    /// Codes and tokens that were handed out, as they are.
    pub fn secrets(&self) -> Vec<String> {
        let is_secret = |text: &&String| text.len() >= 24 && !text.contains(' ');
        lock(&self.numbers).keys().filter(is_secret).cloned().collect()
    }

    /// Whether a write through this node goes well now.
    pub async fn write_goes_well(&self, node: usize) -> bool {
        let number = self.fresh();
        let body = serde_json::json!({ "username": format!("probe-{number}") });
        let path = self.tenant.path("/users");
        let request = crate::cluster::AdminRequest {
            method: reqwest::Method::POST,
            path: &path,
            key: None,
            consistency: None,
            body: Some(&body),
        };
        let answer = self.cluster.admin(&self.http, node, request).await;
        answer.is_ok_and(|answer| answer.is_success())
    }

    /// An answer that no client should get, whatever the faults.
    pub(super) fn odd(&self, told: String) {
        let mut odd = lock(&self.odd);
        if odd.len() < ODD_MAX && !odd.contains(&told) {
            odd.push(told);
        }
    }

    /// An answer that says that something broke: odd, unless a disk does on purpose.
    pub(super) fn broke(&self, told: String) {
        if !self.disk_fails.load(Ordering::Relaxed) {
            self.odd(told);
        }
    }

    /// Those answers, each once.
    pub fn odd_answers(&self) -> Vec<String> {
        lock(&self.odd).clone()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
