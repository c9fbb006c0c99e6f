//! Flags of the commands that make and run nodes.

use std::path::PathBuf;

use clap::Args;

/// Which settings.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// The configuration file; the environment overrides it
    #[arg(long, env = "DOMICILE_CONFIG", value_name = "FILE", default_value = "/etc/domicile/domicile.toml")]
    pub config: PathBuf,
}

/// Flags of `init`.
#[derive(Clone, Debug, Args)]
pub struct InitArgs {
    /// The settings.
    #[command(flatten)]
    pub settings: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `join`.
#[derive(Clone, Debug, Args)]
pub struct JoinArgs {
    /// From `domicile token create`; `-` reads it from standard input
    pub token: String,
    /// The settings.
    #[command(flatten)]
    pub settings: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `start`.
#[derive(Clone, Debug, Args)]
pub struct StartArgs {
    /// The settings.
    #[command(flatten)]
    pub settings: ConfigArgs,
    /// Stop, as on SIGTERM, when standard input ends
    #[arg(long)]
    pub stop_with_stdin: bool,
}

/// Flags of `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// How many nodes, over all regions
    #[arg(long, default_value_t = 3, conflicts_with = "nodes_per_region", value_parser = clap::value_parser!(u32).range(1..=15))]
    pub nodes: u32,
    /// Regions, divided by commas
    #[arg(long, value_delimiter = ',', default_value = "eu-central", value_name = "NAMES")]
    pub regions: Vec<String>,
    /// How many nodes in each region, one a zone
    #[arg(long, value_name = "NODES", value_parser = clap::value_parser!(u32).range(1..=5))]
    pub nodes_per_region: Option<u32>,
    /// Delay messages between regions as over wide areas
    #[arg(long)]
    pub latency: bool,
    /// Where everything is kept; a second start brings the same cluster back
    #[arg(long, value_name = "DIR", default_value = "./domicile-demo")]
    pub data_dir: PathBuf,
    /// Write addresses and credentials to this file once the cluster serves
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}
