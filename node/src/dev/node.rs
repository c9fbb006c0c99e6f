//! A development node from settings to serving, and back.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use domicile_raft::Clock;

use super::credentials::Credentials;
use super::ready::Ready;
use super::seed::{REDIRECT_URIS, Seeder};
use crate::admin::{self, AdminState, OperatorTokens, SingleNode};
use crate::boot::{self, Node, Services, Serving, Sockets};
use crate::config::Config;
use crate::egress::Fetch;
use crate::serve::Listener;
use crate::telemetry::Metrics;

/// Below the request timeout, so that the caller hears about the outcome.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// A node that serves.
pub(super) struct Started {
    node: Node,
    serving: Serving,
    ready: Ready,
}

/// Opens, seeds and serves. The sockets come first: a busy port is said before data is touched.
pub(super) async fn start(config: Config, clock: Arc<dyn Clock>) -> anyhow::Result<Started> {
    let sockets = Sockets {
        public: Listener::bind(config.listen.public).await?,
        admin: None,
        management: bind_management(config.listen.management).await?,
    };
    let public_url = public_url(&config, sockets.public.address());
    let management_url = format!("http://{}", sockets.management.address());

    let data_dir = config.storage.data_dir.clone();
    boot::make_data_dir(&data_dir)?;
    let mut credentials = Credentials::load_or_make(&data_dir, clock.as_ref())?;
    let kek = boot::development_kek(&data_dir, clock.as_ref())?;
    let node = Node::open(&config.storage, &kek, clock.clone()).await?;
    let seeder = Seeder { iam: &node.iam, clock: &clock, data_dir: &data_dir, public_url: &public_url };
    let tenant = seeder.run(&mut credentials).await?;

    let egress = boot::egress(&config.egress)?;
    let admin = admin_state(&config, &node, &credentials, (&public_url, egress), clock.clone());
    let services = Services {
        admin,
        config,
        clock,
        iam: node.iam.clone(),
        metrics: Arc::new(Metrics::new(node.partition_source())),
        readiness: node.readiness_source(),
        public_url: public_url.clone(),
    };
    let mut serving = services.serve(services.public_routes(), sockets, &|routes| routes)?;
    serving.spawn(node.housekeeper());
    node.sweepers().for_each(|sweeper| serving.spawn(sweeper));
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
    Ok(Started { node, serving, ready })
}

impl Started {
    pub(super) fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Drains the listeners, ends background work, then closes the groups.
    pub(super) async fn stop(self) {
        self.serving.stop().await;
        self.node.shutdown().await;
    }
}

fn admin_state(
    config: &Config,
    node: &Node,
    credentials: &Credentials,
    (public_url, fetch): (&str, Arc<dyn Fetch>),
    clock: Arc<dyn Clock>,
) -> AdminState {
    AdminState {
        fetch,
        iam: node.iam.clone(),
        admin_token_sha256: admin::token_sha256(&credentials.admin_token),
        operators: OperatorTokens::new(node.iam.clone(), clock),
        public_url: public_url.into(),
        cluster: SingleNode::control(node.iam.clone(), node.id(), public_url),
        body_bytes_max: usize::try_from(config.limits.body_bytes).unwrap_or(usize::MAX),
        write_deadline: WRITE_DEADLINE.min(config.limits.request_timeout),
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
