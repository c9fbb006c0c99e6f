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
        if keys.iter().all(|key| is_fast(key.alg())) {
            return work().map_err(logged);
        }
        let (reply, signed) = oneshot::channel();
        let job = move || {
            // Nobody waits once the request was given up.
            if !reply.is_closed() {
                drop(reply.send(work()));
            }
        };
        self.queue.put(Box::new(job))?;
        signed.await.map_err(|_| Fault::Internal)?.map_err(logged)
    }
}

impl Drop for SigningPool {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.filled.notify_all();
    }
}

impl Queue {
    // Nothing panics under the lock; a poisoned one holds whole jobs all the same.
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(self: &Arc<Self>, job: Job) -> Result<(), Fault> {
        let mut waiting = self.lock();
        if waiting.jobs.len() >= WAITING_MAX {
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
        waiting.jobs.push_back(job);
        drop(waiting);
        self.filled.notify_one();
        Ok(())
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

    #[tokio::test]
    async fn a_job_that_panics_takes_no_thread_with_it() {
        let pool = SigningPool::new();
        for _ in 0..100 {
            pool.queue.put(Box::new(|| panic!("a broken key"))).unwrap();
        }
        let (reply, done) = oneshot::channel();
        pool.queue.put(Box::new(move || reply.send(()).unwrap())).unwrap();
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
        let refused = (0..2 * WAITING_MAX).find_map(|_| pool.queue.put(block()).err());
        assert!(matches!(refused, Some(Fault::Unavailable { retry_after_s: 1 })));
        let queue = Arc::downgrade(&pool.queue);
        drop(pool);
        drop(open);
        while queue.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
}
