//! A development node from settings to serving, and back.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use domicile_iam::service::Iam;
use domicile_raft::Clock;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use url::Url;

use super::credentials::Credentials;
use super::ready::Ready;
use super::seed::{REDIRECT_URIS, Seeder};
use crate::admin::{self, AdminState, NodeDescription};
use crate::boot::{self, Node};
use crate::config::{Config, Limits};
use crate::limit::RateLimits;
use crate::problem::Problem;
use crate::public::{self, PublicState};
use crate::serve::{self, Bounds, Front, Hosts, Listener, Server, TlsFiles};
use crate::telemetry::Metrics;

/// How often signing keys are looked at.
const KEY_ROUND: Duration = Duration::from_secs(30);
/// Below the request timeout, so that the caller hears about the outcome.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// A node that serves.
pub(super) struct Started {
    node: Node,
    servers: Vec<JoinHandle<usize>>,
    draining: watch::Sender<bool>,
    background: JoinSet<()>,
    ready: Ready,
}

/// Opens, seeds and serves. The sockets come first: a busy port is said before data is touched.
pub(super) async fn start(config: Config, clock: Arc<dyn Clock>) -> anyhow::Result<Started> {
    let public_socket = Listener::bind(config.listen.public).await?;
    let management_socket = bind_management(config.listen.management).await?;
    let tls = config.tls.clone().map(TlsFiles::open).transpose()?;
    let public_url = public_url(&config, public_socket.address());
    let management_url = format!("http://{}", management_socket.address());

    let data_dir = config.storage.data_dir.clone();
    boot::make_data_dir(&data_dir)?;
    let mut credentials = Credentials::load_or_make(&data_dir, clock.as_ref())?;
    let kek = boot::development_kek(&data_dir, clock.as_ref())?;
    let node = Node::open(&config.storage, &kek, clock.clone()).await?;
    let seeder = Seeder { iam: &node.iam, clock: &clock, data_dir: &data_dir, public_url: &public_url };
    let tenant = seeder.run(&mut credentials).await?;

    let metrics = Arc::new(Metrics::new(node.partition_source()));
    let parts =
        Parts { config: &config, clock: &clock, metrics: &metrics, public_url: &public_url, node: &node };
    let router = parts.router(public_socket.address(), &credentials)?;
    let mut background = JoinSet::new();
    background.spawn(drive_keys(node.iam.clone()));
    background.spawn(node.housekeeper());
    node.sweepers().for_each(|sweeper| drop(background.spawn(sweeper)));
    let tls_config = tls.as_ref().map(TlsFiles::server_config).transpose()?;
    if let Some(files) = tls {
        background.spawn(files.follow());
    }

    let (draining, drained) = watch::channel(false);
    let management = serve::management_routes(metrics.clone(), node.readiness_source());
    let server = |name, router, tls| Server {
        tls,
        router,
        bounds: Bounds::from(&config.limits),
        connections_max: usize::try_from(config.limits.connections).unwrap_or(usize::MAX),
        open: metrics.http.connections(name),
    };
    let drain = config.limits.drain_timeout;
    let servers = vec![
        tokio::spawn(server("public", router, tls_config).run(public_socket, drained.clone(), drain)),
        tokio::spawn(server("management", management, None).run(management_socket, drained, drain)),
    ];
    let ready = Ready {
        issuer: tenant.issuer.clone(),
        admin_url: public_url.clone(),
        public_url,
        management_url,
        admin_token: credentials.admin_token,
        tenant: credentials.tenant,
        client_id: credentials.client_id,
        client_secret: credentials.client_secret.unwrap_or_default(),
        redirect_uris: REDIRECT_URIS.map(str::to_owned).to_vec(),
        username: credentials.username,
        password: credentials.password,
        pid: std::process::id(),
    };
    Ok(Started { node, servers, draining, background, ready })
}

impl Started {
    pub(super) fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Drains the listeners, ends background work, then closes the groups.
    pub(super) async fn stop(mut self) {
        self.draining.send_replace(true);
        for server in self.servers {
            match server.await {
                Ok(0) => {}
                Ok(cut) => tracing::warn!(cut, "connections cut when the drain time was over"),
                Err(error) => tracing::error!(%error, "a listener failed"),
            }
        }
        self.background.shutdown().await;
        self.node.shutdown().await;
    }
}

/// What the public router is made of.
struct Parts<'a> {
    config: &'a Config,
    clock: &'a Arc<dyn Clock>,
    metrics: &'a Arc<Metrics>,
    public_url: &'a str,
    node: &'a Node,
}

impl Parts<'_> {
    /// OIDC, pages and admin API behind the guard.
    fn router(&self, listens: SocketAddr, credentials: &Credentials) -> anyhow::Result<Router> {
        let limits: &Limits = &self.config.limits;
        let secure = self.public_url.starts_with("https:");
        let hosts = Hosts::new(secure, Some(listens.port()));
        hosts.serve(&Url::parse(self.public_url)?);
        let front = Front {
            hosts: Arc::new(hosts),
            trusted_proxies: self.config.trusted_proxies.clone(),
            forwarded_header: self.config.forwarded_header,
            body_bytes: limits.body_bytes,
            request_timeout: limits.request_timeout,
            secure,
            clock: self.clock.clone(),
            metrics: self.metrics.http.clone(),
        };
        let rates = Arc::new(RateLimits::new(limits.rates, self.clock.clone()));
        let iam: &Iam = &self.node.iam;
        let admin = AdminState {
            iam: iam.clone(),
            admin_token_sha256: admin::token_sha256(&credentials.admin_token),
            public_url: self.public_url.into(),
            nodes: [NodeDescription {
                id: self.node.id(),
                public_url: self.public_url.to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            }]
            .into(),
            body_bytes_max: usize::try_from(limits.body_bytes).unwrap_or(usize::MAX),
            write_deadline: WRITE_DEADLINE.min(limits.request_timeout),
        };
        Ok(Router::new()
            .merge(public::routes(PublicState::new(iam.clone(), rates, self.clock.clone())))
            .merge(admin::routes(admin))
            .fallback(|| async { Problem::not_found() })
            .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
            .layer(serve::Guard::new(front)))
    }
}

/// The wanted port, or any if another node has it.
async fn bind_management(wanted: SocketAddr) -> anyhow::Result<Listener> {
    match Listener::bind(wanted).await {
        Err(error) if error.cause.kind() == std::io::ErrorKind::AddrInUse => {
            Ok(Listener::bind(SocketAddr::new(wanted.ip(), 0)).await?)
        }
        bound => Ok(bound?),
    }
}

/// The origin that browsers see, without a slash at the end.
fn public_url(config: &Config, listens: SocketAddr) -> String {
    if let Some(origin) = &config.public_origin {
        return origin.as_str().trim_end_matches('/').to_owned();
    }
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let unspecified = match listens.ip() {
        IpAddr::V4(address) => address.is_unspecified(),
        IpAddr::V6(address) => address.is_unspecified(),
    };
    if unspecified {
        format!("{scheme}://localhost:{}", listens.port())
    } else {
        format!("{scheme}://{listens}")
    }
}

/// Makes and moves signing keys as their tenants' settings ask.
async fn drive_keys(iam: Iam) {
    let mut round = tokio::time::interval(KEY_ROUND);
    round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        round.tick().await;
        if let Err(error) = iam.drive_all_keys().await {
            tracing::warn!(%error, "signing keys could not be driven; the next round resumes");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_url_is_what_a_browser_can_open() {
        let address = |text: &str| text.parse().unwrap();
        let mut config = Config::default();
        assert_eq!(public_url(&config, address("127.0.0.1:8080")), "http://127.0.0.1:8080");
        assert_eq!(public_url(&config, address("[::]:8080")), "http://localhost:8080");
        config.public_origin = Some("https://id.example.org".parse().unwrap());
        assert_eq!(public_url(&config, address("0.0.0.0:8443")), "https://id.example.org");
    }
}
