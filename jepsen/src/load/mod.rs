//! Load without faults, by an open loop: requests start when the schedule says, whether earlier ones were
//! answered or not, and each counts from when it should have started. A stall therefore shows in every
//! request that it held up (no coordinated omission).

mod figures;
mod plot;
mod scenario;
mod site;
mod target;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use figures::Figures;
pub use scenario::Scenario;
pub use target::{Target, TargetArgs};

use crate::random::Random;
use site::Site;

/// Answers waited for at the end at most.
const TAIL_MAX: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Requests under way at most; those beyond wait, and their waiting counts.
const IN_FLIGHT_MAX: usize = 20_000;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What each request is.
    pub scenario: Scenario,
    /// Requests a second.
    pub rate: u32,
    /// For how long.
    pub duration: Duration,
    /// What chance draws.
    pub seed: u64,
    /// Where `.hgrm` and SVG go; none for no files.
    pub out: Option<PathBuf>,
}

/// Runs the load and prints what came out.
///
/// # Errors
/// The target could not be prepared, no request went well, or files could not be written.
pub async fn run(target: &Target, plan: &Plan) -> anyhow::Result<Figures> {
    let http = crate::client::Http::new(TIMEOUT)?;
    println!("load     {} on {}", plan.scenario.name(), target.issuer);
    let site = Arc::new(Site::prepare(http, target, plan).await.context("cannot prepare the load")?);
    println!("rate     {} a second for {} s, open loop", plan.rate, plan.duration.as_secs());
    let figures = drive(&site, plan).await?;
    print!("{}", figures.text());
    if let Some(out) = &plan.out {
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        let name = plan.scenario.name();
        for (ending, text) in [("hgrm", figures.hgrm()), ("svg", plot::svg(&figures, name))] {
            let path = out.join(format!("{name}.{ending}"));
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("wrote    {}", path.display());
        }
    }
    anyhow::ensure!(figures.answered() > 0, "no request went well");
    Ok(figures)
}

async fn drive(site: &Arc<Site>, plan: &Plan) -> anyhow::Result<Figures> {
    let mut figures = Figures::new()?;
    let room = Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT_MAX));
    let mut random = Random::fork(plan.seed, "load");
    let total = u64::from(plan.rate) * plan.duration.as_secs();
    let mut running = JoinSet::new();
    let began = Instant::now();
    for turn in 0..total {
        let due = began + due_after(turn, plan.rate);
        tokio::time::sleep_until(due).await;
        let (site, room) = (site.clone(), room.clone());
        let (action, turn_seed) = (plan.scenario.draw(&mut random), random.next());
        running.spawn(async move {
            let _room = room.acquire_owned().await;
            let ended = site.act(action, turn_seed).await;
            (due.elapsed(), ended)
        });
        while let Some(done) = running.try_join_next() {
            let (took, ended) = done?;
            figures.record(took, ended);
        }
    }
    let tail = async {
        while let Some(done) = running.join_next().await {
            let (took, ended) = done?;
            figures.record(took, ended);
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(TAIL_MAX, tail).await {
        Ok(ended) => ended?,
        Err(_) => figures.give_up(total, began.elapsed()),
    }
    figures.took = began.elapsed();
    Ok(figures)
}

/// When a request is due: at the whole ms in which it falls, the finest that the timer knows.
fn due_after(turn: u64, rate: u32) -> Duration {
    Duration::from_millis((turn * 1_000).div_ceil(u64::from(rate.max(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_the_rate() {
        assert_eq!(due_after(0, 50), Duration::ZERO);
        assert_eq!(due_after(50, 50), Duration::from_secs(1));
        assert_eq!(due_after(3_000, 3_000), Duration::from_secs(1));
        assert_eq!(due_after(1, 3_000), Duration::from_millis(1));
    }
}
