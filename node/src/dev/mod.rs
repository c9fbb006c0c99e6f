//! `domicile dev`: one node on an embedded store, seeded, with no set-up.

mod credentials;
mod node;
mod ready;
mod seed;
mod settings;

use std::sync::Arc;

use anyhow::Context as _;
use domicile_raft::{Clock, SystemClock};

use crate::cli::{DevArgs, output};
use crate::serve;
use crate::telemetry;

pub use credentials::{Credentials, CredentialsError};
pub use ready::Ready;
pub use seed::SeedError;

/// Runs the node until `SIGTERM` or `SIGINT`; returns once it drained, synced and closed.
///
/// # Errors
/// What kept it from starting, or from being told when to stop.
pub fn run(arguments: &DevArgs) -> anyhow::Result<()> {
    let config = settings::config(arguments, std::env::vars())?;
    telemetry::init_log(&config.log)?;
    // One of an earlier run would tell others to go where nobody is, or somebody else.
    forget_ready(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before anything is opened, so that a signal during the start is not lost.
        let mut shutdown = std::pin::pin!(serve::shutdown_signal());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let started = tokio::select! {
            signal = shutdown.as_mut() => {
                tracing::info!(signal = signal?, "stopped while starting");
                return Ok(());
            }
            started = node::start(config, clock.clone()) => started?,
        };
        let ready = started.ready();
        if let Some(path) = &arguments.ready_file {
            ready.write(path).with_context(|| format!("cannot write {}", path.display()))?;
        }
        output::offer(format_args!("{}", ready.banner(clock.as_ref())));
        let signal = shutdown.await?;
        tracing::info!(signal, "draining");
        if let Err(error) = forget_ready(arguments) {
            tracing::warn!(%error, "the ready file stays");
        }
        started.stop().await;
        tracing::info!("stopped");
        Ok(())
    })
}

fn forget_ready(arguments: &DevArgs) -> anyhow::Result<()> {
    let Some(path) = &arguments.ready_file else { return Ok(()) };
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(cause).with_context(|| format!("cannot remove {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
