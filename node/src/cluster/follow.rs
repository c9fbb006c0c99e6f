//! Two things that a node does as long as it runs: it tells the directory where it is reached, and takes
//! over from the directory whom it trusts and where the others are.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domicile_iam::model::NodeAddresses;
use domicile_raft::NodeId;

use super::directory::Directory;
use super::peers::PeerSide;

const LOOK: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_secs(2);

/// Tells the directory once that this node started; again until it is heard.
pub(crate) async fn announce(directory: Directory, node: NodeId, boots: u64, addresses: NodeAddresses) {
    while let Err(error) = directory.announce(node, boots, addresses.clone()).await {
        tracing::debug!(%error, "the directory was not told of this start yet");
        tokio::time::sleep(AGAIN).await;
    }
}

/// Until the task is dropped.
pub(crate) async fn trust(directory: Directory, root: PathBuf, cluster: String, peers: Arc<PeerSide>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let followed = match directory.catalog().await {
            Ok(catalog) => peers.follow(&root, &cluster, &catalog).map_err(|error| error.to_string()),
            Err(reason) => Err(reason),
        };
        match followed {
            Ok(true) => tracing::info!("regions or nodes changed"),
            Ok(false) => {}
            Err(reason) => tracing::warn!(reason, "what the directory says of peers was not taken over"),
        }
    }
}
