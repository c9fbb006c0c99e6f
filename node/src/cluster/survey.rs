//! Asks every node how it is.

use std::collections::BTreeSet;
use std::time::Duration;

use domicile_raft::{Clock, NodeId};
use futures::future::join_all;

use super::catalog::Catalog;
use super::links::Links;
use super::messages::{Ask, Reply};
use super::overview::{Asked, Survey};

/// Asks the nodes of `catalog` at once; who does not answer within `wait` is silent.
pub(crate) async fn survey(links: &Links, clock: &dyn Clock, catalog: &Catalog, wait: Duration) -> Survey {
    let own = links.raft.identity().id;
    // This node tells of itself also before the directory knows it.
    let ids: BTreeSet<NodeId> = catalog.members().map(|(id, _)| id).chain([own]).collect();
    let asked = ids.into_iter().map(|id| async move {
        let began = clock.monotonic();
        let told = match links.ask(id, Ask::Report, wait).await {
            Ok(Reply::Report(report)) => {
                Asked::Told { report: *report, round_trip: clock.monotonic().saturating_sub(began) }
            }
            Ok(
                Reply::Domain(_)
                | Reply::Done
                | Reply::PartitionKey(_)
                | Reply::NotLeader(_)
                | Reply::Time { .. }
                | Reply::Refused(_),
            ) => Asked::Silent("it answered something else".to_owned()),
            Err(error) => Asked::Silent(error.to_string()),
        };
        (id, told)
    });
    join_all(asked).await.into_iter().collect()
}
