//! Logins and tokens from each region, with the demo's delays between regions.

use std::time::Duration;

use domicile_raft::{Clock as _, SystemClock};

use crate::demo::{Demo, list};
use crate::http1::{Http1, Request};
use crate::load;
use crate::tenant::{Tenant, Tokens};
use crate::{Sizes, wait_for};

const REGIONS: &str = "eu-central,us-east,ap-south";
const OPERATIONS: [&str; 4] = ["login", "refresh", "introspection", "userinfo"];

pub async fn run(sizes: &Sizes) {
    let demo = Demo::start(&["--regions", REGIONS, "--nodes-per-region", "3", "--latency"]).await;
    println!(
        "\n| tenant | leader in | asked in | login | refresh | first introspection | introspection | userinfo | failed |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let slugs: Vec<String> =
        list(&demo.ready, "tenants").iter().map(|one| one["slug"].as_str().unwrap().to_owned()).collect();
    for slug in slugs {
        let partition = demo.tenant(&slug)["partition"].as_u64().unwrap();
        for region in REGIONS.split(',') {
            let leads = wait_for("a leader", async || {
                let cluster = demo.get(0, "/v1/cluster").await.ok()?;
                let found = list(&cluster, "partitions").iter().find(|one| one["id"] == partition)?;
                found["leader"].is_u64().then(|| demo.turn_of(&found["leader"]))
            })
            .await;
            let node = in_region(&demo, region, leads);
            let mut probe = Probe::new(&demo, &slug, node).await;
            let mut first = Vec::new();
            probe.introspect(&sizes.clock, &mut first).await;
            let mut samples: [Vec<Duration>; 4] = Default::default();
            for round in 0..sizes.samples {
                probe.round(&sizes.clock, &mut samples, round % 4 == 0).await;
            }
            let cells = samples.iter_mut().map(|samples| {
                format!("{:.1} / {:.1}", load::quantile(samples, 0.5), load::quantile(samples, 0.99))
            });
            let mut cells: Vec<String> = cells.collect();
            cells.insert(2, format!("{:.1}", load::quantile(&mut first, 0.5)));
            println!(
                "| {slug} | {} | {region} | {} | {} |",
                demo.region(leads),
                cells.join(" | "),
                probe.failed.len()
            );
            for told in probe.failed.iter().take(2) {
                eprintln!("{slug} from {region}: {told}");
            }
        }
    }
    println!("\np50 / p99 in ms; {} samples each, a quarter of that of logins", sizes.samples);
}

/// A node of that region that does not lead, if there is one.
fn in_region(demo: &Demo, region: &str, leads: usize) -> usize {
    (0..demo.nodes()).filter(|turn| demo.region(*turn) == region).max_by_key(|turn| *turn != leads).unwrap()
}

/// Somebody in one region at one tenant.
struct Probe {
    tenant: Tenant,
    public_url: String,
    to: Http1,
    tokens: Tokens,
    failed: Vec<String>,
}

impl Probe {
    async fn new(demo: &Demo, slug: &str, node: usize) -> Self {
        let tenant = Tenant::of(demo, slug);
        // Consent is given here, so that the logins that are measured show one page.
        let tokens = tenant.families(demo, node, 1).await.remove(0);
        let public_url = demo.public_url(node).to_owned();
        Self { tenant, public_url, to: Http1::to(demo.public(node)), tokens, failed: Vec::new() }
    }

    /// Each operation once, as [`OPERATIONS`] names them.
    async fn round(&mut self, clock: &SystemClock, samples: &mut [Vec<Duration>; 4], login: bool) {
        let [logins, refreshes, introspections, userinfos] = samples;
        if login {
            let mut browser = self.tenant.browser(&self.public_url);
            let began = clock.monotonic();
            let code = self.tenant.log_in(&mut browser, "").await;
            logins.push(clock.monotonic().saturating_sub(began));
            assert!(!code.is_empty(), "{}", OPERATIONS[0]);
        }
        let began = clock.monotonic();
        match self.tenant.rotate(&mut self.to, &self.tokens.refresh).await {
            Ok(tokens) => {
                refreshes.push(clock.monotonic().saturating_sub(began));
                self.tokens = tokens;
            }
            Err(told) => self.failed.push(format!("{}: {told}", OPERATIONS[1])),
        }
        self.introspect(clock, introspections).await;
        let userinfo = self.tenant.userinfo(&self.to.address, &self.tokens.access);
        self.timed(clock, OPERATIONS[3], &userinfo, "\"sub\":", userinfos).await;
    }

    /// The first at a replica that nobody asked lately waits for its proof of freshness; later ones find it.
    async fn introspect(&mut self, clock: &SystemClock, samples: &mut Vec<Duration>) {
        let form = format!("token={}", self.tokens.access);
        let introspection = self.tenant.form("introspect", &self.to.address, &form);
        self.timed(clock, OPERATIONS[2], &introspection, "\"active\":true", samples).await;
    }

    async fn timed(
        &mut self,
        clock: &SystemClock,
        name: &str,
        request: &Request,
        wanted: &str,
        samples: &mut Vec<Duration>,
    ) {
        let began = clock.monotonic();
        let answer = self.to.send(request).await.and_then(crate::http1::Answer::good);
        let took = clock.monotonic().saturating_sub(began);
        match answer.map(|answer| String::from_utf8_lossy(&answer.body).into_owned()) {
            Ok(body) if body.contains(wanted) => samples.push(took),
            Ok(told) | Err(told) => self.failed.push(format!("{name}: {told}")),
        }
    }
}
