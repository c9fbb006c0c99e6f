//! The signals that end a node.

use tokio::signal::unix::{SignalKind, signal};

/// The operating system refuses a signal handler.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for signals")]
pub struct SignalError(#[from] std::io::Error);

/// Waits for `SIGTERM` or `SIGINT`; gives its name.
///
/// # Errors
/// [`SignalError`].
pub async fn shutdown_signal() -> Result<&'static str, SignalError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
