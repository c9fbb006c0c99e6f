//! The bounded pool: so many hashes at once, so many waiting, the rest is told to come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use domicile_raft::Clock;
use tokio::sync::Semaphore;

use super::{Argon2Cost, is_outdated, matches};
use crate::commands::PlainPassword;

/// Bounds of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashingLimits {
    /// Cost of new hashes.
    pub cost: Argon2Cost,
    /// Hashes at once; each takes a thread and its memory.
    pub threads: usize,
    /// Hashes waiting at most; over that the caller gets [`HashingFault::Busy`].
    pub queue_max: usize,
}

impl Default for HashingLimits {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self { cost: Argon2Cost::default(), threads, queue_max: 16 * threads }
    }
}

/// No hash was made or checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashingFault {
    /// The queue is full: answer 503.
    #[error("the hashing queue is full")]
    Busy {
        /// Seconds to wait.
        retry_after_s: u64,
    },
    /// The parameters are unusable or the thread died.
    #[error("hashing failed")]
    Failed,
}

/// What checking a password came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Whether the password is right.
    pub matches: bool,
    /// Whether it is right, but its hash should be made anew.
    pub outdated: bool,
}

/// Makes and checks password hashes.
#[derive(Clone)]
pub struct PasswordHasher {
    limits: HashingLimits,
    slots: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    clock: Arc<dyn Clock>,
    decoy: Arc<str>,
}

impl PasswordHasher {
    /// An idle pool. Makes one hash, to check against where there is no user.
    ///
    /// # Errors
    /// [`HashingFault::Failed`] if the cost is out of Argon2's bounds.
    pub fn new(limits: HashingLimits, clock: Arc<dyn Clock>) -> Result<Self, HashingFault> {
        let mut salt = [0; 16];
        clock.fill_random(&mut salt);
        let decoy = limits.cost.hash("", salt)?.into();
        Ok(Self {
            limits,
            slots: Arc::new(Semaphore::new(limits.threads.max(1))),
            waiting: Arc::new(AtomicUsize::new(0)),
            clock,
            decoy,
        })
    }

    /// The PHC string of `password` under a fresh salt.
    ///
    /// # Errors
    /// [`HashingFault`].
    pub async fn hash(&self, password: &PlainPassword) -> Result<String, HashingFault> {
        let mut salt = [0; 16];
        self.clock.fill_random(&mut salt);
        let (cost, password) = (self.limits.cost, password.clone());
        self.run(move || cost.hash(password.text(), salt)).await?
    }

    /// Checks `password` against `hash`. Without a hash the same work is done and nothing matches.
    ///
    /// # Errors
    /// [`HashingFault`].
    pub async fn verify(
        &self,
        password: &PlainPassword,
        hash: Option<String>,
    ) -> Result<Verification, HashingFault> {
        let (cost, password, decoy) = (self.limits.cost, password.clone(), Arc::clone(&self.decoy));
        self.run(move || {
            if let Some(hash) = hash {
                let matches = matches(password.text(), &hash);
                Verification { matches, outdated: matches && is_outdated(&hash, cost) }
            } else {
                std::hint::black_box(matches(password.text(), &decoy));
                Verification { matches: false, outdated: false }
            }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashingFault> {
        let permit = if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            permit
        } else {
            let _place = Place::take(&self.waiting, self.limits.queue_max)?;
            Arc::clone(&self.slots).acquire_owned().await.map_err(|_| HashingFault::Failed)?
        };
        // The permit goes with the work: a caller that gives up does not free the slot early.
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.map_err(|_| HashingFault::Failed)
    }
}

/// A place in the queue, given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(waiting: &Arc<AtomicUsize>, max: usize) -> Result<Self, HashingFault> {
        let taken = waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < max).then_some(n + 1));
        match taken {
            Ok(_) => Ok(Self(Arc::clone(waiting))),
            Err(_) => Err(HashingFault::Busy { retry_after_s: 1 }),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use domicile_raft::SystemClock;

    use super::*;

    #[tokio::test]
    async fn where_there_is_no_user_a_hash_of_the_same_cost_is_checked_and_nothing_matches() {
        let cost = Argon2Cost { memory_kib: 64, passes: 3, lanes: 1 };
        let limits = HashingLimits { cost, threads: 1, queue_max: 0 };
        let hasher = PasswordHasher::new(limits, Arc::new(SystemClock::new())).unwrap();
        let password = PlainPassword::new("correct horse");
        let made = hasher.hash(&password).await.unwrap();
        let parameters = |hash: &str| hash.rsplitn(3, '$').last().unwrap().to_owned();
        assert_eq!(parameters(&made), "$argon2id$v=19$m=64,t=3,p=1");
        assert_eq!(parameters(&hasher.decoy), parameters(&made));
        // The empty password is the one that it was made of.
        for password in [password, PlainPassword::new("")] {
            let checked = hasher.verify(&password, None).await.unwrap();
            assert_eq!(checked, Verification { matches: false, outdated: false });
        }
    }
}
