//! Where clients run: threads of their own for each region, in the namespace of its clients, so that all
//! their sockets are there.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use tokio::runtime::{Builder, Handle, Runtime};

use super::space;
use crate::client::place;

/// Threads of each region's clients. Copies are of the same; they end with the last.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    regions: Arc<Vec<Region>>,
}

#[derive(Debug)]
struct Region {
    /// Always there; taken when it ends.
    runtime: Option<Runtime>,
}

impl Drop for Region {
    fn drop(&mut self) {
        // It may be dropped within another one, where waiting is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Clients {
    /// Threads in each of these namespaces.
    pub(super) fn start(spaces: &[impl AsRef<Path>]) -> anyhow::Result<Self> {
        let regions = spaces.iter().enumerate().map(|(turn, path)| region(turn, path.as_ref()));
        Ok(Self { regions: Arc::new(regions.collect::<anyhow::Result<_>>()?) })
    }

    /// Where client `turn` runs: the regions take turns. Here, if there are no regions.
    pub fn runtime(&self, turn: usize) -> Handle {
        let region = self.regions.get(turn % self.regions.len().max(1));
        region
            .and_then(|region| region.runtime.as_ref())
            .map_or_else(Handle::current, |one| one.handle().clone())
    }
}

fn region(turn: usize, path: &Path) -> anyhow::Result<Region> {
    let (path, failed) = (path.to_owned(), Arc::new(Mutex::new(None)));
    let told = failed.clone();
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(format!("clients-{turn}"))
        .on_thread_start(move || match space::enter(&path) {
            Ok(()) => place::set(turn + 1),
            Err(error) => *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error),
        })
        .enable_all()
        .build()?;
    // Threads start at once; a task on one of them is proof that it did.
    let (sender, started) = std::sync::mpsc::channel();
    drop(runtime.spawn(async move { sender.send(place::here()) }));
    let here = started.recv().context("the clients' threads do not start")?;
    if let Some(error) = failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(error).context("cannot enter the clients' namespace");
    }
    anyhow::ensure!(here == turn + 1, "the clients' threads are elsewhere");
    Ok(Region { runtime: Some(runtime) })
}
