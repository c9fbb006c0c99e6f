//! A snapshot and a cut of the log on order, at everybody but one who is away: what that one lacks is gone
//! from the logs, so that only the whole state brings it up again.

use std::time::Duration;

use futures::future::join_all;
use reqwest::Method;
use serde_json::Value;

use super::{LOOK, Nemesis, Took, names};
use crate::cluster::{AdminRequest, Signal};
use crate::schedule::Who;

/// How long the one that comes back may take to get the state.
const STATE_MAX: Duration = Duration::from_mins(1);

/// What a node said to the order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    /// Its log is cut up to here.
    Cut(u64),
    /// It has no replica.
    NoReplica,
    /// It refused, or nobody knows.
    Failed(String),
}

impl Nemesis {
    /// Kills one that has a replica. The last part is the image of its state.
    pub(super) async fn send_away(&self, who: &Who) -> (Took, String, Vec<usize>, Option<String>) {
        let nobody = |told: &str| (Took::Skipped, told.to_owned(), Vec::new(), None);
        let Some(away) = self.resolve(who).await.first().copied() else {
            return nobody("nobody to send away");
        };
        let Some(image) = self.image(away) else { return nobody("it has no replica") };
        if !self.cluster.processes.signal(away, Signal::Kill) {
            return nobody("it does not run");
        }
        self.cluster.net.set_process(away, None);
        (Took::Unknown, format!("{} is away", names(&[away])), vec![away], Some(image))
    }

    /// Has all others cut their logs, then starts the one that is away: it took if that one got the state.
    pub(super) async fn cut_logs_and_take_back(&self, hit: &[usize], before: Option<&str>) -> (Took, String) {
        let Some(away) = hit.first().copied() else { return (Took::Skipped, String::new()) };
        let others = (0..self.cluster.nodes.len()).filter(|turn| *turn != away);
        let asked = others.map(|turn| async move { (turn, self.cut_log(turn).await) });
        let said = join_all(asked).await;
        let told = told(&said);
        if let Err(error) = self.cluster.start(away) {
            return (Took::Unknown, format!("{told}; {} is not started: {error:#}", names(&[away])));
        }
        if !said.iter().any(|(_, said)| matches!(said, Said::Cut(_))) {
            return (Took::Skipped, told);
        }
        let coming = async {
            while self.image(away).as_deref() == before {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(STATE_MAX, coming).await.is_ok() {
            (Took::Installed, format!("{told}; {} got the state", names(&[away])))
        } else {
            (Took::Unknown, format!("{told}; {} got no state", names(&[away])))
        }
    }

    async fn cut_log(&self, turn: usize) -> Said {
        let path = format!("/v1/partitions/{}/snapshot", self.partition);
        let request =
            AdminRequest { method: Method::POST, path: &path, key: None, consistency: None, body: None };
        match self.cluster.admin(&self.cluster.http, turn, request).await {
            Ok(answer) if answer.is_success() => said(&answer.json()),
            Ok(answer) if answer.status == 404 => Said::NoReplica,
            Ok(answer) => Said::Failed(answer.told()),
            Err(lost) => Said::Failed(lost.to_string()),
        }
    }

    /// Which image of the partition's state a node uses: a snapshot that is installed makes another.
    fn image(&self, turn: usize) -> Option<String> {
        let replica = self.cluster.nodes.get(turn)?.data().join(format!("partitions/{}", self.partition));
        let named = std::fs::read_to_string(replica.join("CURRENT")).ok()?;
        Some(named.trim().to_owned())
    }
}

fn said(answer: &Value) -> Said {
    let purged = answer.get("purged").and_then(Value::as_u64);
    purged.map_or_else(|| Said::Failed("an answer without an index".to_owned()), Said::Cut)
}

fn told(said: &[(usize, Said)]) -> String {
    let told = said.iter().filter_map(|(turn, said)| match said {
        Said::Cut(index) => Some(format!("{} cut its log to {index}", names(&[*turn]))),
        Said::NoReplica => None,
        Said::Failed(why) => Some(format!("{}: {why}", names(&[*turn]))),
    });
    told.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_order_is_told_by_what_each_node_said() {
        let first = said(&json!({"node": 1, "snapshot": 9, "purged": 7}));
        assert_eq!(first, Said::Cut(7));
        let second = said(&json!({"title": "?"}));
        let all = [(0, first), (1, second), (2, Said::NoReplica)];
        assert_eq!(told(&all), "n1 cut its log to 7, n2: an answer without an index");
    }
}
