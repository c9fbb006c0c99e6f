//! When all is quiet: what the states of a partition's replicas come to at one log index is the same.
//!
//! Logs go on by themselves, since leaders tidy up and drive keys: nodes are asked again and again, and what one says
//! is compared with what others said of the same index at any time. A digest at an index does not change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::everywhere::everywhere;
use super::ground::Ground;
use crate::cluster::AdminRequest;

const ROUNDS: u32 = 20;
const REST: Duration = Duration::from_millis(300);
/// For all of it: a node that does not answer holds each round up.
const COMPARE_MAX: Duration = Duration::from_mins(1);

/// What comparing digests of replicas came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// Digests that were compared with another node's at the same index.
    pub compared: u64,
    /// Those that differ.
    pub differs: Vec<String>,
    /// Replicas that were compared with no other, and why.
    pub alone: Vec<String>,
}

/// Compares the replicas of each partition, wherever they are.
pub async fn compare_digests(ground: &Ground) -> Digests {
    let mut partitions: BTreeMap<u64, Replicas> = BTreeMap::new();
    let asking = async {
        for _ in 0..ROUNDS {
            if round(ground, &mut partitions).await {
                return;
            }
            tokio::time::sleep(REST).await;
        }
    };
    // What was said by then is judged.
    let _ = tokio::time::timeout(COMPARE_MAX, asking).await;
    judged(&partitions)
}

/// Asks about each partition that has replicas to be compared still; whether there is none.
async fn round(ground: &Ground, partitions: &mut BTreeMap<u64, Replicas>) -> bool {
    let Some(view) = ground.cluster.view(0).await else { return false };
    let nodes: Vec<usize> = (0..ground.cluster.nodes.len()).collect();
    let mut done = true;
    for partition in view.partitions.iter().map(|partition| partition.id) {
        let replicas = partitions.entry(partition).or_default();
        if replicas.are_compared() {
            continue;
        }
        let said = everywhere(&nodes, |turn| ask(ground, turn, partition)).await;
        for (turn, said) in nodes.iter().zip(said) {
            replicas.take(*turn, said);
        }
        done &= replicas.are_compared();
    }
    done
}

async fn ask(ground: &Ground, turn: usize, partition: u64) -> Said {
    let path = format!("/v1/partitions/{partition}/digest");
    let request = AdminRequest { method: Method::GET, path: &path, key: None, consistency: None, body: None };
    match ground.cluster.admin(&ground.patient, turn, request).await {
        Ok(answer) if answer.is_success() => Said::of(&answer.text),
        Ok(answer) if answer.status == 404 => Said::NoReplica,
        Ok(answer) => Said::Nothing(answer.told()),
        Err(lost) => Said::Nothing(lost.to_string()),
    }
}

fn judged(partitions: &BTreeMap<u64, Replicas>) -> Digests {
    let mut out = Digests::default();
    for (partition, replicas) in partitions {
        out.compared += replicas.compared;
        let named = |what: String| format!("partition {partition} {what}");
        out.differs.extend(replicas.differs.iter().cloned().map(named));
        out.alone.extend(replicas.alone().into_iter().map(named));
    }
    if partitions.is_empty() {
        out.alone.push("n1 does not tell what partitions there are".to_owned());
    }
    out
}

/// A node's word on its replica of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    /// What its state comes to.
    Digest(Told),
    /// It has none.
    NoReplica,
    /// Nothing of use, and why.
    Nothing(String),
}

/// What a state comes to, and when.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Told {
    incarnation: u64,
    applied_index: u64,
    applied_term: u64,
    digest: String,
}

impl Said {
    fn of(text: &str) -> Self {
        serde_json::from_str(text).map_or_else(|why| Self::Nothing(why.to_string()), Self::Digest)
    }
}

/// Node, term and digest.
type Word = (usize, u64, String);

/// What was said of one partition's replicas.
#[derive(Debug, Default)]
struct Replicas {
    /// By incarnation and index, as they came.
    at: BTreeMap<(u64, u64), Vec<Word>>,
    /// The last word of each node.
    last: BTreeMap<usize, Said>,
    /// Nodes that spoke of an index of which another did too.
    met: BTreeSet<usize>,
    compared: u64,
    differs: Vec<String>,
}

impl Replicas {
    fn take(&mut self, turn: usize, said: Said) {
        if let Said::Digest(told) = &said {
            self.compare(turn, told);
        }
        self.last.insert(turn, said);
    }

    fn compare(&mut self, turn: usize, told: &Told) {
        let Told { incarnation, applied_index: index, applied_term: term, digest } = told;
        let known = self.at.entry((*incarnation, *index)).or_default();
        let word = (turn, *term, digest.clone());
        if known.contains(&word) {
            return;
        }
        if let Some((first, first_term, first_digest)) = known.first() {
            if *first != turn {
                self.compared += 1;
                self.met.extend([*first, turn]);
            }
            if (first_term, first_digest) != (term, digest) {
                self.differs.push(format!(
                    "of incarnation {incarnation} at index {index}: n{} {first_digest} (term {first_term}), \
                     n{} {digest} (term {term})",
                    first + 1,
                    turn + 1
                ));
            }
        }
        known.push(word);
    }

    /// Whether another round would show nothing more.
    fn are_compared(&self) -> bool {
        !self.differs.is_empty() || (!self.last.is_empty() && self.alone().is_empty())
    }

    fn alone(&self) -> Vec<String> {
        let holders = self.last.values().filter(|said| matches!(said, Said::Digest(_))).count();
        let unmet = self.last.iter().filter(|(turn, _)| !self.met.contains(*turn));
        let told = unmet.filter_map(|(turn, said)| match said {
            Said::NoReplica => None,
            Said::Nothing(why) => Some(format!("at n{}: no digest: {why}", turn + 1)),
            // There is nothing to compare it with.
            Said::Digest(_) if holders < 2 => None,
            Said::Digest(told) => Some(format!(
                "at n{}: no other node told of an index that it told of, last {}",
                turn + 1,
                told.applied_index
            )),
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(index: u64, digest: &str) -> Said {
        Said::of(&format!(
            r#"{{"node":1,"partition":2,"incarnation":1,"applied_index":{index},"applied_term":3,"digest":"{digest}"}}"#
        ))
    }

    /// Rounds of what each node said.
    fn after(rounds: &[&[Said]]) -> Replicas {
        let mut replicas = Replicas::default();
        for said in rounds {
            for (turn, said) in said.iter().enumerate() {
                replicas.take(turn, said.clone());
            }
        }
        replicas
    }

    fn of(replicas: Replicas) -> Digests {
        judged(&BTreeMap::from([(2, replicas)]))
    }

    #[test]
    fn equal_digests_at_one_index_are_compared_and_that_is_all() {
        let replicas = after(&[&[told(512, "aa"), Said::NoReplica, told(512, "aa"), told(512, "aa")]]);
        assert!(replicas.are_compared());
        assert_eq!(of(replicas), Digests { compared: 2, ..Digests::default() });
    }

    #[test]
    fn another_digest_or_term_at_one_index_is_a_difference() {
        let replicas = after(&[&[told(512, "aa"), told(512, "aa"), told(512, "bb")]]);
        assert!(replicas.are_compared(), "another round would show nothing more");
        let found = of(replicas);
        let wanted = "partition 2 of incarnation 1 at index 512: n1 aa (term 3), n3 bb (term 3)";
        assert_eq!((found.compared, found.differs), (2, vec![wanted.to_owned()]));

        let Said::Digest(other) = told(512, "aa") else { panic!("a digest") };
        let other = Said::Digest(Told { applied_term: 4, ..other });
        assert_eq!(of(after(&[&[told(512, "aa"), other]])).differs.len(), 1);
    }

    #[test]
    fn digests_of_different_indexes_wait_for_another_round_and_are_never_a_difference() {
        let first: &[Said] = &[told(512, "aa"), told(511, "bb")];
        let replicas = after(&[first]);
        assert!(!replicas.are_compared());
        let found = of(replicas);
        assert_eq!((found.compared, found.differs.len(), found.alone.len()), (0, 0, 2));
        assert!(found.alone[1].contains("n2") && found.alone[1].contains("511"), "{:?}", found.alone);

        // The second node comes to where the first one was.
        let replicas = after(&[first, &[told(513, "cc"), told(512, "aa")]]);
        assert!(replicas.are_compared());
        assert_eq!(of(replicas), Digests { compared: 1, ..Digests::default() });
    }

    #[test]
    fn indexes_of_different_incarnations_are_not_the_same() {
        let Said::Digest(other) = told(512, "bb") else { panic!("a digest") };
        let other = Said::Digest(Told { incarnation: 2, ..other });
        let found = of(after(&[&[told(512, "aa"), other]]));
        assert_eq!((found.compared, found.differs.len(), found.alone.len()), (0, 0, 2));
    }

    #[test]
    fn a_node_that_changes_its_word_on_an_index_differs_and_is_no_pair() {
        let found = of(after(&[&[told(512, "aa")], &[told(512, "aa")], &[told(512, "bb")]]));
        assert_eq!((found.compared, found.differs.len()), (0, 1));
    }

    #[test]
    fn who_says_nothing_is_asked_again_and_a_lone_replica_is_not() {
        let silent = Said::Nothing("503".to_owned());
        let replicas = after(&[&[told(512, "aa"), silent.clone()]]);
        assert!(!replicas.are_compared());
        assert_eq!(of(replicas).alone, ["partition 2 at n2: no digest: 503"]);
        assert!(after(&[&[told(512, "aa"), Said::NoReplica]]).are_compared());
        // Once was enough.
        assert!(after(&[&[told(512, "aa"), told(512, "aa")], &[told(513, "bb"), silent]]).are_compared());
        assert!(!Replicas::default().are_compared(), "nobody was asked");
        assert!(matches!(Said::of("{}"), Said::Nothing(_)));
        assert_eq!(judged(&BTreeMap::new()).alone.len(), 1);
    }
}
