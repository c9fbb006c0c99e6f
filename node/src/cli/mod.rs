//! The command line. Words are those of the API; everything a flag sets has one meaning.

mod access;
mod admin_client;
mod audit;
mod callback;
mod cluster;
mod config_check;
mod device_login;
mod duty;
mod host;
mod issuer;
mod keys;
mod login;
mod logout;
mod node_args;
mod oauth_form;
pub(crate) mod output;
mod patience;
mod resources;
mod shown;
mod sign_ins;
mod site;
mod stored_token;
mod table;
mod token_endpoint;
mod trust;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use access::AdminAccess;
pub use admin_client::{AdminClient, AdminClientError};
pub use issuer::IssuerArgs;
pub use login::LoginArgs;
pub use logout::LogoutArgs;
pub use node_args::{ConfigArgs, DemoArgs, InitArgs, JoinArgs, StartArgs};
pub use output::ended;
pub use shown::status as status_text;

/// Identity and access management on an embedded, replicated store.
#[derive(Debug, Parser)]
#[command(name = "domicile", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start one node for development: seeded, no set-up, on loopback
    Dev(DevArgs),
    /// Start a cluster of processes on this machine, with tenants to try
    Demo(DemoArgs),
    /// Make a new cluster on an empty data directory; `start` then runs its first node
    Init(InitArgs),
    /// Become a node of a cluster on an empty data directory; `start` then runs it
    Join(JoinArgs),
    /// Run the node of a data directory
    Start(StartArgs),
    /// Sign in as operator with a browser; the other commands use the token
    Login(LoginArgs),
    /// Give the token of `login` back and remove it here
    Logout(LogoutArgs),
    /// Show the cluster's nodes and partitions
    Status {
        /// How to reach it.
        #[command(flatten)]
        access: AdminAccess,
    },
    /// Manage the cluster's settings
    Cluster {
        /// How to reach it.
        #[command(flatten)]
        access: AdminAccess,
        /// What to do.
        #[command(subcommand)]
        action: cluster::ClusterAction,
    },
    /// Manage the cluster's nodes
    Node {
        /// How to reach it.
        #[command(flatten)]
        access: AdminAccess,
        /// What to do.
        #[command(subcommand)]
        action: cluster::NodeAction,
    },
    /// Manage the cluster's regions
    Region {
        /// How to reach it.
        #[command(flatten)]
        access: AdminAccess,
        /// What to do.
        #[command(subcommand)]
        action: cluster::RegionAction,
    },
    /// Manage the cluster's partitions
    Partition {
        /// How to reach it.
        #[command(flatten)]
        access: AdminAccess,
        /// What to do.
        #[command(subcommand)]
        action: cluster::PartitionAction,
    },
    /// Manage tokens with which hosts join
    Token {
        /// How to reach it.
        #[command(flatten)]
        access: AdminAccess,
        /// What to do.
        #[command(subcommand)]
        action: cluster::TokenAction,
    },
    /// Manage tenants through the admin API
    Tenant {
        /// How to reach it.
        #[command(flatten)]
        access: AdminAccess,
        /// What to do.
        #[command(subcommand)]
        action: resources::TenantAction,
    },
    /// Manage a tenant's users through the admin API
    User {
        /// How to reach it.
        #[command(flatten)]
        access: AdminAccess,
        /// What to do.
        #[command(subcommand)]
        action: resources::UserAction,
    },
    /// Manage a tenant's clients through the admin API
    Client {
        /// How to reach it.
        #[command(flatten)]
        access: AdminAccess,
        /// What to do.
        #[command(subcommand)]
        action: resources::ClientAction,
    },
    /// Manage a tenant's signing keys through the admin API
    Key {
        /// How to reach it.
        #[command(flatten)]
        access: AdminAccess,
        /// What to do.
        #[command(subcommand)]
        action: keys::KeyAction,
    },
    /// Work with exported audit logs
    Audit {
        /// What to do.
        #[command(subcommand)]
        action: AuditAction,
    },
    /// Work with configuration files
    Config {
        /// What to do.
        #[command(subcommand)]
        action: ConfigAction,
    },
}

/// Flags of `dev`.
#[derive(Clone, Debug, Args)]
pub struct DevArgs {
    /// Where everything is kept; a second start reuses what is there
    #[arg(long, value_name = "DIR", default_value = "./domicile-data")]
    pub data_dir: PathBuf,
    /// Public and admin address; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: std::net::SocketAddr,
    /// Write addresses and credentials to this file once the node serves
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// The origin that browsers see, if it is not the listening address
    #[arg(long, value_name = "URL")]
    pub public_origin: Option<String>,
    /// Certificate chain (PEM) of the public listener
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the public listener
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

/// Actions of `audit`.
#[derive(Debug, Subcommand)]
pub enum AuditAction {
    /// Check an export offline: its hash chain and the signatures of its checkpoints
    Verify {
        /// The export, one JSON object a line
        file: PathBuf,
        /// The tenant's root public key (base64url), noted when the tenant was created
        #[arg(long, value_name = "KEY")]
        root_key: Option<String>,
    },
}

/// Actions of `config`.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Check a file together with the overrides in the environment
    Check {
        /// The file
        #[arg(default_value = "/etc/domicile/domicile.toml")]
        file: PathBuf,
    },
}

impl Cli {
    /// Does it.
    ///
    /// # Errors
    /// What a person should read on standard error.
    pub fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Dev(arguments) => crate::dev::run(&arguments),
            Command::Demo(arguments) => crate::demo::run(&arguments),
            Command::Init(arguments) => crate::cluster::init(&arguments),
            Command::Join(arguments) => crate::cluster::join(&arguments),
            Command::Start(arguments) => crate::cluster::start(&arguments),
            Command::Login(arguments) => login::run(&arguments),
            Command::Logout(arguments) => logout::run(&arguments),
            Command::Status { access } => resources::status(&access),
            Command::Cluster { access, action } => resources::run(&access, &action.request()),
            Command::Node { access, action } => duty::run(&access, &action),
            Command::Region { access, action } => resources::run(&access, &action.request()),
            Command::Partition { access, action } => resources::run(&access, &action.request()),
            Command::Token { access, action } => resources::run(&access, &action.request()),
            Command::Tenant { access, action } => resources::run(&access, &action.request()),
            Command::User { access, action } => resources::run(&access, &action.request()?),
            Command::Client { access, action } => resources::run(&access, &action.request()),
            Command::Key { access, action } => resources::run(&access, &action.request()),
            Command::Audit { action: AuditAction::Verify { file, root_key } } => {
                audit::verify(&file, root_key.as_deref())
            }
            Command::Config { action: ConfigAction::Check { file } } => config_check::run(&file),
        }
    }
}

#[cfg(test)]
mod tests;
