//! What a demo says once it serves: a file for programs, a table for people.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::layout::Layout;
use crate::private_file;

/// The ready file. Other programs rely on these names.
#[derive(Serialize)]
pub(super) struct Ready {
    nodes: Vec<ReadyNode>,
    tenants: Vec<ReadyTenant>,
    admin_token: String,
}

#[derive(Serialize)]
struct ReadyNode {
    id: u64,
    region: String,
    zone: String,
    public_url: String,
    admin_url: String,
    management_url: String,
    data_dir: String,
    log_file: String,
    /// `domicile start --config` on it brings the node back.
    config_file: String,
    pid: u32,
}

#[derive(Serialize)]
struct ReadyTenant {
    slug: String,
    partition: u64,
    /// As the admin API takes it.
    placement: Value,
    issuer: String,
    username: String,
    password: String,
    client_id: String,
    client_secret: String,
}

/// A tenant as it was made.
pub(super) struct Made {
    pub(super) slug: String,
    pub(super) partition: u64,
    pub(super) issuer: String,
}

impl Ready {
    /// `pids` are in the order of the nodes.
    pub(super) fn new(layout: &Layout, pids: &[u32], made: &[Made]) -> Self {
        let nodes = layout.nodes.iter().zip(pids).map(|(node, pid)| ReadyNode {
            id: node.id.unwrap_or(0),
            region: node.region.clone(),
            zone: node.zone.clone(),
            public_url: node.public_url(),
            admin_url: node.admin_url(),
            management_url: node.management_url(),
            data_dir: layout.data_dir(node).display().to_string(),
            log_file: layout.log_file(node).display().to_string(),
            config_file: layout.config_file(node).display().to_string(),
            pid: *pid,
        });
        let tenants = made.iter().filter_map(|made| {
            let tenant = layout.tenants.iter().find(|tenant| tenant.slug == made.slug)?;
            Some(ReadyTenant {
                slug: made.slug.clone(),
                partition: made.partition,
                placement: tenant.placement(),
                issuer: made.issuer.clone(),
                username: tenant.username.clone(),
                password: tenant.password.clone(),
                client_id: tenant.client_id.clone(),
                client_secret: tenant.client_secret.clone().unwrap_or_default(),
            })
        });
        Self { nodes: nodes.collect(), tenants: tenants.collect(), admin_token: layout.admin_token.clone() }
    }

    /// Writes the file, whole or not at all, mode 0600: it holds credentials.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(private_file::replace(path, &text)?)
    }

    /// What people need to try it.
    pub(super) fn tenants_text(&self) -> String {
        let lines = self.tenants.iter().map(|tenant| {
            let regions = &tenant.placement["regions"];
            let place = regions[0].as_str().or_else(|| regions.as_str()).unwrap_or_default();
            format!(
                "  {}  on partition {} ({})  login {}  password {}\n",
                tenant.issuer, tenant.partition, place, tenant.username, tenant.password
            )
        });
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use domicile_raft::Timestamp;
    use domicile_raft::testing::ManualClock;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn the_ready_file_has_the_members_that_other_programs_rely_on() {
        let root = tempfile::tempdir().unwrap();
        let line = format!("domicile demo --nodes 1 --data-dir {}", root.path().display());
        let Command::Demo(arguments) = Cli::try_parse_from(line.split_whitespace()).unwrap().command else {
            panic!("not demo")
        };
        let layout = Layout::load_or_make(&arguments, &ManualClock::new(Timestamp(0), 1)).unwrap();
        let made = [Made { slug: "global".to_owned(), partition: 1, issuer: "http://i".to_owned() }];
        let path = root.path().join("ready.json");
        Ready::new(&layout, &[7], &made).write(&path).unwrap();
        let found: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let names =
            |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), ["admin_token", "nodes", "tenants"]);
        assert_eq!(
            names(&found["nodes"][0]),
            [
                "admin_url",
                "config_file",
                "data_dir",
                "id",
                "log_file",
                "management_url",
                "pid",
                "public_url",
                "region",
                "zone",
            ]
        );
        assert_eq!(
            names(&found["tenants"][0]),
            [
                "client_id",
                "client_secret",
                "issuer",
                "partition",
                "password",
                "placement",
                "slug",
                "username"
            ]
        );
        assert_eq!(
            found["tenants"][0]["placement"],
            serde_json::json!({"regions": "any", "survive": "zone"})
        );
    }
}
