//! `domicile demo`: a real cluster of processes on loopback, with tenants to try. Every step is one that
//! an operator would take: `init`, `token create`, `join`, `start`.

mod latency;
mod layout;
mod lock;
mod process;
mod ready;
mod seed;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::http::Method;
use domicile_raft::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::cli::{AdminClient, DemoArgs, output, status_text};
use crate::config::Secret;
use crate::serve;

use layout::{DemoNode, Layout};
use process::Running;
use ready::{Made, Ready};

/// Between two looks at the processes.
const WATCH: Duration = Duration::from_millis(500);
/// How long the directory may take to spread over the nodes.
const SPREAD_MAX: Duration = Duration::from_mins(2);

/// Runs the cluster until `SIGTERM` or `SIGINT`; returns once all processes ended.
///
/// # Errors
/// What kept it from starting.
pub fn run(arguments: &DemoArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut shutdown = std::pin::pin!(serve::shutdown_signal());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        // Before anything of a demo that runs there is touched.
        let _lock = lock::take(&std::path::absolute(&arguments.data_dir)?)?;
        forget_ready(arguments)?;
        let mut demo = Demo { layout: Layout::load_or_make(arguments, clock.as_ref())?, running: Vec::new() };
        let up = tokio::select! {
            signal = shutdown.as_mut() => {
                output::offer(format_args!("{}: stopping", signal?));
                return demo.stop().await;
            }
            up = demo.bring_up(arguments) => up,
        };
        if let Err(error) = up {
            demo.stop().await?;
            return Err(error);
        }
        loop {
            tokio::select! {
                signal = shutdown.as_mut() => {
                    output::offer(format_args!("{}: stopping", signal?));
                    break;
                }
                () = tokio::time::sleep(WATCH) => demo.watch()?,
            }
        }
        forget_ready(arguments)?;
        demo.stop().await
    })
}

struct Demo {
    layout: Layout,
    /// In the order of the layout's nodes; `None` where one ended.
    running: Vec<Option<Running>>,
}

impl Demo {
    async fn bring_up(&mut self, arguments: &DemoArgs) -> anyhow::Result<()> {
        self.layout.write_settings()?;
        let total = self.layout.nodes.len();
        let members = self.layout.nodes.iter().filter(|node| node.id.is_some()).count();
        if members == 0 {
            let first = self.node(0)?;
            step("init", &format!("{} makes a cluster in {}/{}", first.name, first.region, first.zone));
            // What a crash left there is no cluster yet.
            process::init(&self.layout, &first).await?;
            self.member(0, 1)?;
        }
        let members = members.max(1);
        // All at once: a quorum of them is needed before any of them is ready.
        for turn in 0..members {
            let node = self.node(turn)?;
            step("start", &format!("{} ({}/{}) at {}", node.name, node.region, node.zone, node.public_url()));
            self.running.push(Some(Running::start(&self.layout, &node)?));
        }
        self.all_ready().await?;
        for turn in members..total {
            self.join(turn).await?;
        }
        self.all_ready().await?;
        step("wait", "until the directory has spread");
        self.spread().await?;
        let made = self.seed().await?;
        self.tell(arguments, &made).await
    }

    fn node(&self, turn: usize) -> anyhow::Result<DemoNode> {
        self.layout.nodes.get(turn).cloned().context("no such node")
    }

    fn admin(&self) -> anyhow::Result<AdminClient> {
        let token = Secret::new(self.layout.admin_token.as_str());
        Ok(AdminClient::new(&self.node(0)?.admin_url(), token, None)?)
    }

    fn member(&mut self, turn: usize, id: u64) -> anyhow::Result<()> {
        if let Some(node) = self.layout.nodes.get_mut(turn) {
            node.id = Some(id);
        }
        self.layout.store()
    }

    async fn join(&mut self, turn: usize) -> anyhow::Result<()> {
        let node = self.node(turn)?;
        step(
            "join",
            &format!("{} ({}/{}) with a token for {}", node.name, node.region, node.zone, node.region),
        );
        let data = self.layout.data_dir(&node);
        if !data.join("CLUSTER").exists() {
            let body = json!({ "region": node.region });
            let made = seed::persist(&self.admin()?, "/v1/join-tokens", &body).await?;
            let made = made.context("no join token was made")?;
            let token = made.get("token").and_then(Value::as_str).context("no join token came back")?;
            process::join(&self.layout, &node, token.to_owned()).await?;
        }
        let id = crate::cluster::node_id(&data)?;
        self.member(turn, id.0)?;
        step("start", &format!("{} ({}/{}) at {}", node.name, node.region, node.zone, node.public_url()));
        let mut running = Running::start(&self.layout, &node)?;
        running.ready(&self.layout, &node).await?;
        self.running.push(Some(running));
        Ok(())
    }

    async fn all_ready(&mut self) -> anyhow::Result<()> {
        for (running, node) in self.running.iter_mut().zip(&self.layout.nodes) {
            if let Some(running) = running {
                running.ready(&self.layout, node).await?;
            }
        }
        Ok(())
    }

    /// Until every node has the directory and every partition answers.
    async fn spread(&self) -> anyhow::Result<()> {
        let admin = self.admin()?;
        let total = self.layout.nodes.len();
        let spreading = async {
            loop {
                if let Ok(cluster) = admin.call(Method::GET, "/v1/cluster", None).await
                    && has_spread(&cluster, total)
                {
                    return;
                }
                tokio::time::sleep(WATCH / 2).await;
            }
        };
        tokio::time::timeout(SPREAD_MAX, spreading).await.context("the directory does not reach all nodes")
    }

    async fn seed(&mut self) -> anyhow::Result<Vec<Made>> {
        let admin = self.admin()?;
        let mut made = Vec::new();
        for turn in 0..self.layout.tenants.len() {
            let slug = self.layout.tenants.get(turn).map(|tenant| tenant.slug.clone()).unwrap_or_default();
            match seed::seed(&admin, &mut self.layout, turn).await? {
                Ok(tenant) => {
                    step("tenant", &format!("{slug} lives on partition {}", tenant.partition));
                    made.push(tenant);
                }
                Err(reason) => step("tenant", &format!("{slug} cannot be placed: {reason}")),
            }
        }
        Ok(made)
    }

    async fn tell(&self, arguments: &DemoArgs, made: &[Made]) -> anyhow::Result<()> {
        let pids: Vec<u32> =
            self.running.iter().map(|running| running.as_ref().map_or(0, Running::pid)).collect();
        let ready = Ready::new(&self.layout, &pids, made);
        let cluster = self.admin()?.call(Method::GET, "/v1/cluster", None).await?;
        output::offer(format_args!("\n{}\n{}", status_text(&cluster), ready.tenants_text()));
        output::offer(format_args!("admin token  {}", self.layout.admin_token));
        output::offer(format_args!("admin API    {}/v1", self.node(0)?.admin_url()));
        output::offer(format_args!("\nCtrl-C stops all nodes; everything is kept."));
        if let Some(path) = &arguments.ready_file {
            ready.write(path).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Tells of processes that ended by themselves. They are not started again: a demo is for trying
    /// what the others do then.
    fn watch(&mut self) -> anyhow::Result<()> {
        for (slot, node) in self.running.iter_mut().zip(&self.layout.nodes) {
            let Some(running) = slot else { continue };
            if let Some(status) = running.ended()? {
                let config = self.layout.config_file(node);
                let back = format!("domicile start --config {}", config.display());
                step("ended", &format!("{} ({status}); `{back}` brings it back", node.name));
                *slot = None;
            }
        }
        Ok(())
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        let mut running: Vec<Running> = self.running.drain(..).flatten().collect();
        running.iter_mut().for_each(Running::ask_to_stop);
        let ends = futures::future::join_all(running.into_iter().map(Running::stopped)).await;
        for ended in ends {
            let status = ended?;
            if !status.success() {
                bail!("a node did not stop in order: {status}");
            }
        }
        output::offer(format_args!("stopped"));
        Ok(())
    }
}

fn has_spread(cluster: &Value, total: usize) -> bool {
    let list = |name: &str| cluster.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let alive = list("nodes").iter().filter(|node| node["alive"] == true).count();
    let partitions = list("partitions");
    let members = |partition: &Value| {
        ["voters", "learners"]
            .iter()
            .filter_map(|name| partition[name].as_array())
            .map(Vec::len)
            .sum::<usize>()
    };
    let directory = partitions.iter().find(|partition| partition["id"] == 0);
    alive >= total
        && directory.is_some_and(|directory| members(directory) >= total)
        && partitions.iter().all(|partition| partition["available"] == true)
}

fn step(name: &str, text: &str) {
    output::offer(format_args!("{name:<7} {text}"));
}

fn forget_ready(arguments: &DemoArgs) -> anyhow::Result<()> {
    let Some(path) = &arguments.ready_file else { return Ok(()) };
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(cause).with_context(|| format!("cannot remove {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
