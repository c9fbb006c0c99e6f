//! The commands: settings in, a word to the person at the end.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use domicile_raft::{Clock, SystemClock};
use serde_json::json;

use super::init::init as make;
use super::join::{join as join_cluster, join_with_file};
use super::start::start as run_node;
use crate::cli::{ConfigArgs, InitArgs, JoinArgs, StartArgs, output};
use crate::config::{self, Config};
use crate::{serve, telemetry};

/// How long work on blocking threads may hold the exit.
const LAST_SYNC: Duration = Duration::from_millis(500);

fn settings(arguments: &ConfigArgs) -> anyhow::Result<Config> {
    let config = config::load(Some(&arguments.config), std::env::vars(), Config::default())?;
    config.check_complete()?;
    Ok(config)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// `domicile init`.
///
/// # Errors
/// What kept the cluster from being made.
pub fn init(arguments: &InitArgs) -> anyhow::Result<()> {
    let config = settings(&arguments.settings)?;
    telemetry::init_log(&config.log)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let made = runtime()?.block_on(make(&config, &clock))?;
    let (membership, enrolment) = (made.membership, made.enrolment);
    if arguments.json {
        let document = json!({
            "cluster_id": membership.cluster,
            "node_id": membership.node.0,
            "region": membership.region,
            "zone": membership.zone,
            "enrolment_url": enrolment.url,
            "enrolment_code": enrolment.code,
        });
        output::line(format_args!("{}", serde_json::to_string_pretty(&document)?))?;
        return Ok(());
    }
    output::line(format_args!(
        "cluster {} with node {} in region {}, zone {}",
        membership.cluster, membership.node.0, membership.region, membership.zone
    ))?;
    let settings = arguments.settings.config.display();
    output::line(format_args!("\nRun this node:          domicile start --config {settings}"))?;
    output::line(format_args!("Enrol as operator:      {}", enrolment.url))?;
    output::line(format_args!("  with the code         {}", enrolment.code))?;
    output::line(format_args!(
        "                        (once, within {} minutes, while the node runs)",
        enrolment.minutes
    ))?;
    output::line(format_args!("Sign in:                domicile login --config {settings}"))?;
    output::line(format_args!(
        "Let other hosts join:   domicile token create --config {settings} --region {}",
        membership.region
    ))?;
    output::line(format_args!("                        domicile join TOKEN, on each of them"))?;
    Ok(())
}

/// `domicile join`.
///
/// # Errors
/// What kept the host from joining.
pub fn join(arguments: &JoinArgs) -> anyhow::Result<()> {
    let config = settings(&arguments.settings)?;
    telemetry::init_log(&config.log)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut token = arguments.token.clone();
    if token == "-" {
        token.clear();
        std::io::stdin().take(8_192).read_to_string(&mut token).context("cannot read standard input")?;
    }
    let membership = runtime()?.block_on(join_cluster(&config, &token, &clock))?;
    if arguments.json {
        let document = json!({
            "cluster_id": membership.cluster,
            "node_id": membership.node.0,
            "region": membership.region,
            "zone": membership.zone,
        });
        output::line(format_args!("{}", serde_json::to_string_pretty(&document)?))?;
        return Ok(());
    }
    output::line(format_args!(
        "node {} of cluster {} in region {}, zone {}",
        membership.node.0, membership.cluster, membership.region, membership.zone
    ))?;
    output::line(format_args!("Run it: domicile start --config {}", arguments.settings.config.display()))?;
    Ok(())
}

/// `domicile start`: until `SIGTERM` or `SIGINT`; returns once it handed over, drained, synced and closed.
///
/// # Errors
/// What kept it from starting, or from being told when to stop.
pub fn start(arguments: &StartArgs) -> anyhow::Result<()> {
    let config = settings(&arguments.settings)?;
    telemetry::init_log(&config.log)?;
    let stdin = arguments.stop_with_stdin.then(stdin_ended);
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        // Before anything is opened, so that a signal during the start is not lost.
        let stop = async {
            match stdin {
                Some(ended) => tokio::select! {
                    signal = serve::shutdown_signal() => signal.map_err(anyhow::Error::from),
                    _ = ended => Ok("the end of standard input"),
                },
                None => Ok(serve::shutdown_signal().await?),
            }
        };
        let mut stop = std::pin::pin!(stop);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let joined = async {
            join_with_file(&config, &clock).await?;
            run_node(config, clock.clone()).await
        };
        let running = tokio::select! {
            signal = stop.as_mut() => {
                tracing::info!(signal = signal?, "stopped while starting");
                return Ok(());
            }
            running = joined => running?,
        };
        tracing::info!("serving");
        let signal = stop.await?;
        tracing::info!(signal, "stopping");
        running.stop().await;
        tracing::info!("stopped");
        Ok(())
    });
    // A sync that a slow disk holds must not hold the exit.
    runtime.shutdown_timeout(LAST_SYNC);
    ended
}

/// Ready once standard input ends. A thread of its own: such a read cannot be given up.
fn stdin_ended() -> tokio::sync::oneshot::Receiver<()> {
    let (end, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = end.send(());
    });
    ended
}
