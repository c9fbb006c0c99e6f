//! What a node says of its cluster.

use std::collections::BTreeSet;

use serde_json::Value;

/// The cluster as one node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Nodes that answer that node.
    pub alive: usize,
    /// Partitions.
    pub partitions: Vec<PartitionView>,
    /// Ids of those nodes.
    answering: BTreeSet<u64>,
    /// Admin URL of each node id.
    doors: Vec<(u64, String)>,
    /// Region of each node id.
    regions: Vec<(u64, String)>,
}

/// A partition as one node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionView {
    /// 0 is the directory.
    pub id: u64,
    /// Id of the node that leads.
    pub leader: Option<u64>,
    /// Term.
    pub term: u64,
    /// Whether it answers.
    pub available: bool,
    /// Voters and learners.
    pub members: usize,
    /// Node ids of voters.
    pub voter_ids: BTreeSet<u64>,
    /// Node ids of members, and of whoever says that it has a replica.
    pub holders: BTreeSet<u64>,
    /// Replicas that say that they lead, with their term.
    pub leads: Vec<(u64, u64)>,
    /// Replicas that do not work, and why.
    pub broken: Vec<(u64, String)>,
    /// Voters.
    pub voters: usize,
    /// Last applied index, of the node that was asked if it has a replica.
    pub applied: u64,
    /// Whether every replica has applied what is committed, but for what nodes far from each other tell of different
    /// moments while clients write.
    pub caught_up: bool,
}

impl View {
    /// Of `/v1/cluster`.
    pub fn of(document: &Value) -> Self {
        let list = |name: &str| document.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let nodes = list("nodes");
        let alive = nodes.iter().filter(|node| node["alive"] == true);
        let answering: BTreeSet<u64> = alive.filter_map(|node| node["id"].as_u64()).collect();
        let door = |node: &Value| Some((node["id"].as_u64()?, node["admin_url"].as_str()?.to_owned()));
        let partitions = list("partitions").iter().map(partition).collect();
        let region = |node: &Value| Some((node["id"].as_u64()?, node["region"].as_str()?.to_owned()));
        let regions = nodes.iter().filter_map(region).collect();
        let doors = nodes.iter().filter_map(door).collect();
        Self { alive: answering.len(), partitions, answering, doors, regions }
    }

    /// A partition.
    pub fn partition(&self, id: u64) -> Option<&PartitionView> {
        self.partitions.iter().find(|partition| partition.id == id)
    }

    /// Whether the node behind an admin URL answers.
    pub fn answers(&self, admin_url: &str) -> bool {
        self.id_at(admin_url).is_some_and(|id| self.answering.contains(&id))
    }

    /// Where a node stands.
    pub fn region(&self, node: u64) -> Option<&str> {
        self.regions.iter().find(|(id, _)| *id == node).map(|(_, region)| region.as_str())
    }

    /// Where a node's admin API is.
    pub fn admin_url(&self, node: u64) -> Option<&str> {
        self.doors.iter().find(|(id, _)| *id == node).map(|(_, url)| url.as_str())
    }

    /// The node id behind an admin URL.
    pub fn id_at(&self, admin_url: &str) -> Option<u64> {
        let wanted = admin_url.trim_end_matches('/');
        self.doors.iter().rfind(|(_, url)| url.trim_end_matches('/') == wanted).map(|(id, _)| *id)
    }
}

fn partition(document: &Value) -> PartitionView {
    let count = |name: &str| document[name].as_array().map_or(0, Vec::len);
    let members = count("voters") + count("learners");
    let replicas = document["replicas"].as_array().cloned().unwrap_or_default();
    let ids = |name: &str| document[name].as_array().cloned().unwrap_or_default();
    let told = replicas.iter().map(|one| one["node"].clone());
    let all = ids("voters").into_iter().chain(ids("learners")).chain(told);
    let leads = |one: &Value| {
        let pair = (one["node"].as_u64()?, one["term"].as_u64()?);
        (one["role"] == "leader").then_some(pair)
    };
    let broken = |one: &Value| {
        let health = &one["health"];
        let state = health["state"].as_str()?;
        let why = format!("{state}: {}", health["reason"].as_str().unwrap_or_default());
        (state != "running").then_some((one["node"].as_u64()?, why))
    };
    PartitionView {
        id: document["id"].as_u64().unwrap_or_default(),
        leader: document["leader"].as_u64(),
        term: document["term"].as_u64().unwrap_or_default(),
        available: document["available"] == true,
        members,
        applied: document["applied"].as_u64().unwrap_or_default(),
        holders: all.filter_map(|id| id.as_u64()).collect(),
        leads: replicas.iter().filter_map(leads).collect(),
        broken: replicas.iter().filter_map(broken).collect(),
        voter_ids: ids("voters").iter().filter_map(Value::as_u64).collect(),
        voters: count("voters"),
        caught_up: replicas.len() == members && replicas.iter().all(keeps_up),
    }
}

/// Entries that are committed while a node far away is asked.
const LAG_MAX: u64 = 64;

fn keeps_up(replica: &Value) -> bool {
    replica["lag"].as_u64().is_some_and(|lag| lag <= LAG_MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_clusters_document_is_read() {
        let view = View::of(&json!({
            "nodes": [{"id": 1, "alive": true, "admin_url": "http://a:1"}, {"id": 2, "alive": false, "region": "us"}],
            "partitions": [{"id": 0, "leader": 1, "term": 3, "voters": [1], "learners": [2], "available": true,
                "replicas": [{"node": 1, "lag": 0, "health": {"state": "running"}},
                    {"node": 3, "lag": 0, "health": {"state": "quarantined", "reason": "no vote"}}]}],
        }));
        assert_eq!(
            (view.alive, view.admin_url(1), view.id_at("http://a:1/")),
            (1, Some("http://a:1"), Some(1))
        );
        assert!(view.answers("http://a:1") && !view.answers("http://b:1"));
        let directory = view.partition(0).unwrap();
        assert!(directory.available && directory.caught_up && directory.members == 2);
        assert_eq!((directory.leader, directory.term), (Some(1), 3));
        assert_eq!((directory.holders.len(), directory.broken.len(), view.region(2)), (3, 1, Some("us")));
        assert_eq!(View::of(&json!("x")), View::default());
    }
}
