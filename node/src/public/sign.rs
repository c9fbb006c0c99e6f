//! Where tokens are signed.
//!
//! ES256 and EdDSA take some 20 to 40 us, ES384 some 100, and are signed where they are asked for: a hop to another
//! thread costs half of that again. RS256 and PS256 take 1 to 1.5 ms, and a burst of it on the threads
//! that also serve consensus would hold up heartbeats by its length; it goes to threads of its own, one
//! a processor. They take the next signature from a queue themselves: handed out slot by slot through
//! the runtime, each waits for two switches between threads while its processor has nothing to do.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use domicile_iam::keys::SigningKey;
use domicile_iam::model::{SigningAlgorithm, TenantContext};
use domicile_oidc::jws::SignFault;
use tokio::sync::oneshot;

use super::error::Fault;
use super::state::Shared;

/// Slow signatures that may wait; some seconds of work. More are answered 503.
const WAITING_MAX: usize = 4_096;

/// Makes signatures, the slow ones on threads of its own.
pub struct SigningPool {
    queue: Arc<Queue>,
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Places that are kept for jobs to come.
    kept: usize,
    closed: bool,
    /// Threads that were started; none before the first slow signature.
    threads: usize,
}

impl SigningPool {
    /// Starts no thread yet.
    pub fn new() -> Self {
        Self { queue: Arc::default() }
    }

    /// Runs `work`, which signs with `keys`.
    ///
    /// # Errors
    /// [`Fault::Internal`] if a key refuses, [`Fault::Unavailable`] if too many wait.
    pub async fn run<T, F>(&self, keys: &[&SigningKey], work: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, SignFault> + Send + 'static,
    {
        self.place(keys)?.run(work).await
    }

    /// Keeps a place for a signature with `keys`, before something is used up for it.
    ///
    /// # Errors
    /// [`Fault::Unavailable`] if too many wait.
    pub fn place(&self, keys: &[&SigningKey]) -> Result<Place, Fault> {
        if keys.iter().all(|key| is_fast(key.alg())) {
            return Ok(Place { queue: None });
        }
        self.queue.keep()?;
        Ok(Place { queue: Some(Arc::clone(&self.queue)) })
    }
}

impl Drop for SigningPool {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.filled.notify_all();
    }
}

/// The right to one signature, whoever comes after. Given back when dropped.
pub struct Place {
    /// `None` where the keys are fast.
    queue: Option<Arc<Queue>>,
}

impl Place {
    /// Runs `work`, which signs with the keys that the place was kept for, or with some of them.
    ///
    /// # Errors
    /// [`Fault::Internal`] if a key refuses.
    pub async fn run<T, F>(mut self, work: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, SignFault> + Send + 'static,
    {
        let Some(queue) = self.queue.take() else { return work().map_err(logged) };
        let (reply, signed) = oneshot::channel();
        let job = move || {
            // Nobody waits once the request was given up.
            if !reply.is_closed() {
                drop(reply.send(work()));
            }
        };
        queue.fill(Box::new(job));
        drop(queue);
        signed.await.map_err(|_| Fault::Internal)?.map_err(logged)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            let mut waiting = queue.lock();
            waiting.kept = waiting.kept.saturating_sub(1);
        }
    }
}

impl Queue {
    // Nothing panics under the lock; a poisoned one holds whole jobs all the same.
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a place for a job.
    fn keep(self: &Arc<Self>) -> Result<(), Fault> {
        let mut waiting = self.lock();
        if waiting.jobs.len() + waiting.kept >= WAITING_MAX {
            return Err(Fault::Unavailable { retry_after_s: 1 });
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        while waiting.threads < processors {
            let queue = Arc::clone(self);
            let thread = std::thread::Builder::new().name("sign".to_owned());
            match thread.spawn(move || queue.serve()) {
                Ok(_) => waiting.threads += 1,
                // Those that are there will do; the next signature tries again.
                Err(_) if waiting.threads > 0 => break,
                Err(error) => {
                    tracing::error!(%error, "no thread to sign on");
                    return Err(Fault::Unavailable { retry_after_s: 1 });
                }
            }
        }
        waiting.kept += 1;
        Ok(())
    }

    /// Puts a job in a place that was kept.
    fn fill(&self, job: Job) {
        let mut waiting = self.lock();
        waiting.kept = waiting.kept.saturating_sub(1);
        waiting.jobs.push_back(job);
        drop(waiting);
        self.filled.notify_one();
    }

    /// Signs until the pool is dropped.
    fn serve(&self) {
        let mut waiting = self.lock();
        while !waiting.closed {
            if let Some(job) = waiting.jobs.pop_front() {
                drop(waiting);
                // A panic is its request's alone, which hears that its reply is gone.
                drop(catch_unwind(AssertUnwindSafe(job)));
                waiting = self.lock();
            } else {
                waiting = self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

fn is_fast(algorithm: SigningAlgorithm) -> bool {
    match algorithm {
        SigningAlgorithm::RS256 | SigningAlgorithm::PS256 => false,
        SigningAlgorithm::ES256 | SigningAlgorithm::EdDSA | SigningAlgorithm::ES384 => true,
    }
}

fn logged(fault: SignFault) -> Fault {
    tracing::error!(%fault, "a token could not be signed");
    Fault::Internal
}

impl Shared {
    /// The key that signs with `algorithm` now.
    ///
    /// # Errors
    /// [`Fault::Unavailable`] while there is none yet: RSA keys are made in the background.
    pub async fn signing_key(
        &self,
        tenant: &TenantContext,
        algorithm: SigningAlgorithm,
    ) -> Result<Arc<SigningKey>, Fault> {
        let key = self.iam.signing_key(tenant.id, algorithm).await?;
        key.ok_or(Fault::Unavailable { retry_after_s: 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(pool: &SigningPool, job: Job) -> Result<(), Fault> {
        pool.queue.keep()?;
        pool.queue.fill(job);
        Ok(())
    }

    #[tokio::test]
    async fn a_place_that_was_kept_is_there_however_many_come_after_and_is_given_back() {
        let pool = SigningPool::new();
        let kept = || pool.queue.keep().map(|()| Place { queue: Some(Arc::clone(&pool.queue)) });
        let mut places: Vec<Place> = (0..WAITING_MAX).map(|_| kept().unwrap()).collect();
        assert!(matches!(kept(), Err(Fault::Unavailable { retry_after_s: 1 })), "all places are taken");
        let mine = places.pop().unwrap();
        assert_eq!(mine.run(|| Ok(7)).await, Ok(7), "a full pool serves who has a place");
        drop(places);
        assert_eq!(pool.queue.lock().kept, 0);
        assert_eq!(kept().unwrap().run(|| Ok(8)).await, Ok(8));
        let broken = kept().unwrap().run(|| -> Result<(), SignFault> { panic!("a broken key") });
        assert_eq!(broken.await, Err(Fault::Internal));
    }

    #[tokio::test]
    async fn a_job_that_panics_takes_no_thread_with_it() {
        let pool = SigningPool::new();
        for _ in 0..100 {
            put(&pool, Box::new(|| panic!("a broken key"))).unwrap();
        }
        let (reply, done) = oneshot::channel();
        put(&pool, Box::new(move || reply.send(()).unwrap())).unwrap();
        done.await.unwrap();
    }

    #[tokio::test]
    async fn signatures_beyond_the_bound_are_refused_and_a_dropped_pool_ends_its_threads() {
        let pool = SigningPool::new();
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let block = || {
            let gate = gate.clone();
            // Ends when the other side is dropped.
            Box::new(move || {
                gate.lock().unwrap().recv().unwrap_err();
            })
        };
        // However many the threads have taken already, the queue is full before twice its bound.
        let refused = (0..2 * WAITING_MAX).find_map(|_| put(&pool, block()).err());
        assert!(matches!(refused, Some(Fault::Unavailable { retry_after_s: 1 })));
        let queue = Arc::downgrade(&pool.queue);
        drop(pool);
        drop(open);
        while queue.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
