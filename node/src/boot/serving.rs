//! From an open node to listeners that answer, and back.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use domicile_iam::service::Iam;
use domicile_raft::Clock;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use url::Url;

use super::key_driver;
use crate::admin::{self, AdminState};
use crate::backchannel::Backchannel;
use crate::config::{self, Config, Listen, Rates};
use crate::egress::{Egress, Fetch, Reach, TrustError};
use crate::limit::RateLimits;
use crate::problem::Problem;
use crate::public::{self, PublicState};
use crate::serve::{
    self, BindError, Bounds, Front, Guard, Hosts, Listener, ReadinessSource, Server, TlsFiles,
};
use crate::telemetry::Metrics;

/// The sockets of a node, not yet served. They come first: a busy port is said before data is touched.
pub struct Sockets {
    /// OIDC and pages.
    pub public: Listener,
    /// The admin API; `None` where it is on the public listener.
    pub admin: Option<Listener>,
    /// Health and metrics.
    pub management: Listener,
}

impl Sockets {
    /// Listens where the settings say.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(listen: &Listen) -> Result<Self, BindError> {
        let apart = listen.admin != listen.public;
        Ok(Self {
            public: Listener::bind(listen.public).await?,
            admin: if apart { Some(Listener::bind(listen.admin).await?) } else { None },
            management: Listener::bind(listen.management).await?,
        })
    }
}

/// What answers requests.
pub struct Services {
    /// Settings.
    pub config: Config,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// The domain.
    pub iam: Iam,
    /// What the admin API stands on.
    pub admin: AdminState,
    /// Figures.
    pub metrics: Arc<Metrics>,
    /// For `/readyz`.
    pub readiness: ReadinessSource,
    /// The origin that browsers see, without a slash at the end.
    pub public_url: String,
}

/// Puts something around the routes, inside the guard: requests that another node should answer leave
/// here.
pub type Around<'a> = &'a dyn Fn(Router) -> Router;

/// A node that answers.
pub struct Serving {
    servers: Vec<JoinHandle<usize>>,
    draining: watch::Sender<bool>,
    background: JoinSet<()>,
}

/// Requests to addresses that others named, by the settings.
///
/// # Errors
/// [`TrustError`].
pub fn egress(settings: &config::Egress) -> Result<Arc<dyn Fetch>, TrustError> {
    let reach = Reach::new(settings.allow_networks.clone());
    Ok(Arc::new(Egress::new(reach, settings.ca_file.as_deref())?))
}

impl Services {
    /// Serves `sockets`, with `public` as [`Services::public_routes`] gives it: once, since what it remembers
    /// (assertions that were used, how often devices ask) is there once then, whichever way requests come.
    ///
    /// # Errors
    /// Unusable TLS files or origins.
    pub fn serve(&self, public: Router, sockets: Sockets, around: Around<'_>) -> anyhow::Result<Serving> {
        let tls = self.config.tls.clone().map(TlsFiles::open).transpose()?;
        let tls_config = tls.as_ref().map(TlsFiles::server_config).transpose()?;
        let (draining, drained) = watch::channel(false);
        let drain = self.config.limits.drain_timeout;
        let listens = |name, router, tls| Server {
            tls,
            router,
            bounds: Bounds::from(&self.config.limits),
            connections_max: usize::try_from(self.config.limits.connections).unwrap_or(usize::MAX),
            open: self.metrics.http.connections(name),
        };
        let Sockets { public: socket, admin, management } = sockets;
        let operated = || admin::gated(around(self.admin_routes()), self.admin.clone());
        let open = around(public);
        let administers = admin.is_none();
        let open = if administers { open.merge(operated()) } else { open };
        let guarded = self.guarded(open, socket.address(), administers)?;
        let running = listens("public", guarded, tls_config.clone()).run(socket, drained.clone(), drain);
        let mut servers = vec![tokio::spawn(running)];
        if let Some(admin) = admin {
            let guarded = self.guarded(operated(), admin.address(), true)?;
            let running = listens("admin", guarded, tls_config).run(admin, drained.clone(), drain);
            servers.push(tokio::spawn(running));
        }
        let probes = serve::management_routes(self.metrics.clone(), self.readiness.clone());
        servers.push(tokio::spawn(listens("management", probes, None).run(management, drained, drain)));
        let mut background = JoinSet::new();
        background.spawn(key_driver::run(self.iam.clone()));
        let (state, fetch) = (self.public_state(None), self.admin.fetch.clone());
        background.spawn(Backchannel::new(state, fetch, self.metrics.logouts.clone()).run());
        if let Some(files) = tls {
            background.spawn(files.follow());
        }
        Ok(Serving { servers, draining, background })
    }

    /// OIDC and pages, without the guard.
    pub fn public_routes(&self) -> Router {
        public::routes(self.public_state(self.config.limits.rates))
    }

    fn public_state(&self, rates: Option<Rates>) -> PublicState {
        let rates = Arc::new(RateLimits::new(rates, self.clock.clone()));
        PublicState::new(self.iam.clone(), rates, self.clock.clone(), self.admin.fetch.clone())
    }

    /// The admin API, without the guard.
    pub fn admin_routes(&self) -> Router {
        admin::routes(self.admin.clone())
    }

    fn guarded(&self, routes: Router, listens: SocketAddr, administers: bool) -> anyhow::Result<Router> {
        let limits = &self.config.limits;
        let secure = self.public_url.starts_with("https:");
        let front = Front {
            hosts: Arc::new(self.hosts(Hosts::at(listens, administers, secure))?),
            trusted_proxies: self.config.trusted_proxies.clone(),
            forwarded_header: self.config.forwarded_header,
            body_bytes: limits.body_bytes,
            request_timeout: limits.request_timeout,
            secure,
            clock: self.clock.clone(),
            metrics: self.metrics.http.clone(),
        };
        Ok(routes
            .fallback(|| async { Problem::not_found() })
            .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
            .layer(Guard::new(front)))
    }

    /// `hosts` with the public origin and this node's own addresses.
    fn hosts(&self, hosts: Hosts) -> anyhow::Result<Hosts> {
        hosts.serve(&Url::parse(&self.public_url)?);
        let own = [&self.config.advertise.public, &self.config.advertise.admin];
        for origin in self.config.aliases.iter().chain(own.into_iter().flatten()) {
            hosts.serve(origin);
        }
        Ok(hosts)
    }
}

impl Serving {
    /// Runs `task` until the node stops.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.background.spawn(task);
    }

    /// Accepts nothing more from here on; requests in flight go on.
    pub fn refuse_new(&self) {
        self.draining.send_replace(true);
    }

    /// Accepts nothing more, lets requests in flight end.
    pub async fn drain(&mut self) {
        self.draining.send_replace(true);
        for server in self.servers.drain(..) {
            match server.await {
                Ok(0) => {}
                Ok(cut) => tracing::warn!(cut, "connections cut when the drain time was over"),
                Err(error) => tracing::error!(%error, "a listener failed"),
            }
        }
    }

    /// Drains, then ends background work.
    pub async fn stop(mut self) {
        self.drain().await;
        self.background.shutdown().await;
    }
}
