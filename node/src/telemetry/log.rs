//! Log lines on standard error: text for people, JSON for programs.

use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::{Log, LogFormat};

/// Logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogInitError {
    /// The filter does not parse.
    #[error("`{0}` is not a log filter")]
    Filter(String),
    /// Something else in this process set a global subscriber.
    #[error("logging was already set up")]
    Twice,
}

/// Sends `tracing` events to standard error and makes panics log lines. Once a process.
///
/// # Errors
/// [`LogInitError`].
pub fn init(settings: &Log) -> Result<(), LogInitError> {
    let filter: EnvFilter =
        settings.filter.parse().map_err(|_| LogInitError::Filter(settings.filter.clone()))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE);
    let set = match settings.format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).try_init(),
    };
    set.map_err(|_| LogInitError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Only a literal message is logged: a formatted one may hold somebody's data.
fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let message =
        info.payload().downcast_ref::<&'static str>().copied().unwrap_or("(formatted message withheld)");
    tracing::error!(place, message, "panic");
}
