//! Log lines on standard error: text for people, JSON for programs.

use std::fmt;
use std::panic::PanicHookInfo;

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FmtSpan, Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::request;
use super::trace::Trace;
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
        // It would tell standard error that nobody reads standard error, and panic over that.
        .log_internal_errors(false)
        .with_span_events(FmtSpan::NONE);
    let set = match settings.format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            let named = |format: Format<Full>| Named { lines: format.with_ansi(colours), json: false };
            builder.with_ansi(colours).map_event_format(named).try_init()
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_span_list(false);
            builder.map_event_format(|lines| Named { lines, json: true }).try_init()
        }
    };
    set.map_err(|_| LogInitError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Lines that name the request they are about.
struct Named<F> {
    lines: F,
    json: bool,
}

impl<S, N, F> FormatEvent<S, N> for Named<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some((id, trace)) = request::current() else {
            return self.lines.format_event(context, writer, event);
        };
        let trace = trace.as_ref().map(Trace::id);
        let mut line = String::new();
        self.lines.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end_matches('\n');
        // Nothing in an id needs an escape.
        match (line.strip_prefix('{').filter(|_| self.json), trace) {
            (Some(fields), Some(trace)) => {
                writeln!(writer, "{{\"request_id\":\"{id}\",\"trace_id\":\"{trace}\",{fields}")
            }
            (Some(fields), None) => writeln!(writer, "{{\"request_id\":\"{id}\",{fields}"),
            (None, Some(trace)) => writeln!(writer, "{line} request_id={id} trace_id={trace}"),
            (None, None) => writeln!(writer, "{line} request_id={id}"),
        }
    }
}

/// Only a literal message is logged: a formatted one may hold somebody's data.
fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let message =
        info.payload().downcast_ref::<&'static str>().copied().unwrap_or("(formatted message withheld)");
    tracing::error!(place, message, "panic");
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use domicile_iam::ids::{Id as _, RequestId};
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Kept {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    impl Kept {
        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines().map(str::to_owned).collect()
        }
    }

    /// What of openraft's reaches the log unless the settings say otherwise: places as in its 0.10.0-alpha.37.
    #[test]
    fn of_a_peer_that_is_gone_openraft_says_nothing_and_its_other_warnings_stay() {
        let kept = Kept::default();
        let filter: EnvFilter = crate::config::DEFAULT_LOG_FILTER.parse().unwrap();
        let text =
            tracing_subscriber::fmt().with_env_filter(filter).with_writer(kept.clone()).with_ansi(false);
        let guard = tracing::subscriber::set_default(text.finish());
        tracing::warn!(target: "openraft::core::heartbeat::worker", "failed to send a heartbeat");
        tracing::warn!(target: "openraft::replication", "recv RPCError");
        tracing::error!(target: "openraft::raft::stream_append", "RaftCore stopped");
        tracing::info!(target: "openraft::engine", "for its developers");
        tracing::error!(target: "openraft::core::heartbeat::worker", "kept: no core");
        tracing::warn!(target: "openraft::replication::stream_state", "kept: no entries");
        tracing::warn!(target: "openraft::replication::snapshot_transmitter", "kept: no snapshot");
        tracing::warn!(target: "openraft::proposer::leader", "kept: a warning");
        tracing::error!(target: "openraft::raft::raft_inner", "kept: an error");
        tracing::info!(target: "domicile_raft::vigil", "kept: ours");
        drop(guard);
        let lines = kept.lines();
        assert!(lines.len() == 6 && lines.iter().all(|line| line.contains("kept:")), "{lines:#?}");
    }

    async fn say_three_things(id: RequestId) {
        tracing::info!(status = 404, "outside");
        request::within_request(id, None, async { tracing::info!(status = 404, "inside") }).await;
        let trace = TRACEPARENT.parse().ok();
        request::within_request(id, trace, async { tracing::info!("traced") }).await;
    }

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[tokio::test]
    async fn a_line_names_the_request_it_is_about() {
        let id = RequestId::from_bytes([7; 16]);
        let kept = Kept::default();
        let text = tracing_subscriber::fmt()
            .with_writer(kept.clone())
            .with_ansi(false)
            .map_event_format(|lines| Named { lines, json: false });
        let guard = tracing::subscriber::set_default(text.finish());
        say_three_things(id).await;
        drop(guard);
        let lines = kept.lines();
        assert!(lines.len() == 3 && !lines[0].contains("request_id"), "{lines:?}");
        assert!(lines[1].ends_with(&format!("inside status=404 request_id={id}")), "{lines:?}");
        assert!(lines[2].ends_with(&format!("traced request_id={id} trace_id={TRACE_ID}")), "{lines:?}");
    }

    #[tokio::test]
    async fn a_json_line_stays_one_object_with_the_request_in_it() {
        let id = RequestId::from_bytes([7; 16]);
        let kept = Kept::default();
        let json = tracing_subscriber::fmt().with_writer(kept.clone()).json().flatten_event(true);
        let json = json.map_event_format(|lines| Named { lines, json: true });
        let guard = tracing::subscriber::set_default(json.finish());
        say_three_things(id).await;
        drop(guard);
        let lines: Vec<serde_json::Value> =
            kept.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), lines[0].get("request_id")), (3, None));
        assert_eq!(lines[1]["request_id"], id.to_string());
        assert_eq!((&lines[1]["status"], &lines[1]["message"]), (&404.into(), &"inside".into()));
        assert_eq!((lines[1].get("trace_id"), &lines[2]["trace_id"]), (None, &TRACE_ID.into()));
    }
}
