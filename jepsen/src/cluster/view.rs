//! What a node says of its cluster.

use serde_json::Value;

/// The cluster as one node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Nodes that answer that node.
    pub alive: usize,
    /// Partitions.
    pub partitions: Vec<PartitionView>,
    /// Admin URL of each node id.
    doors: Vec<(u64, String)>,
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
    /// Voters.
    pub voters: usize,
    /// Whether every replica has applied what is committed.
    pub caught_up: bool,
}

impl View {
    /// Of `/v1/cluster`.
    pub fn of(document: &Value) -> Self {
        let list = |name: &str| document.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let nodes = list("nodes");
        let alive = nodes.iter().filter(|node| node["alive"] == true).count();
        let door = |node: &Value| Some((node["id"].as_u64()?, node["admin_url"].as_str()?.to_owned()));
        let partitions = list("partitions").iter().map(partition).collect();
        Self { alive, partitions, doors: nodes.iter().filter_map(door).collect() }
    }

    /// A partition.
    pub fn partition(&self, id: u64) -> Option<&PartitionView> {
        self.partitions.iter().find(|partition| partition.id == id)
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
    PartitionView {
        id: document["id"].as_u64().unwrap_or_default(),
        leader: document["leader"].as_u64(),
        term: document["term"].as_u64().unwrap_or_default(),
        available: document["available"] == true,
        members,
        voters: count("voters"),
        caught_up: replicas.len() == members && replicas.iter().all(|one| one["lag"] == 0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_clusters_document_is_read() {
        let view = View::of(&json!({
            "nodes": [{"id": 1, "alive": true, "admin_url": "http://a:1"}, {"id": 2, "alive": false}],
            "partitions": [{"id": 0, "leader": 1, "term": 3, "voters": [1], "learners": [2], "available": true,
                "replicas": [{"lag": 0}, {"lag": 0}]}],
        }));
        assert_eq!(
            (view.alive, view.admin_url(1), view.id_at("http://a:1/")),
            (1, Some("http://a:1"), Some(1))
        );
        let directory = view.partition(0).unwrap();
        assert!(directory.available && directory.caught_up && directory.members == 2);
        assert_eq!((directory.leader, directory.term), (Some(1), 3));
        assert_eq!(View::of(&json!("x")), View::default());
    }
}
