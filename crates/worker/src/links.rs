//! Paths to other nodes are kept open, so that they are known before they are used.

use std::{sync::Arc, time::Duration};

use gibbon_control::{
    links::MAX_LINKS,
    node::{Directory, NodeAddress},
};
use gibbon_media::{NodeId, Role};
use gibbon_relay::{Network, Peers};
use tokio::{task::JoinSet, time::interval};

/// How often it is looked whether a path is missing.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Keeps a connection to every origin and every other worker. Never returns.
pub async fn keep(own: NodeId, peers: Arc<Peers>, network: Arc<Network>) {
    let (directory, mut look) = (network.directory(), interval(LOOK_EVERY));
    loop {
        look.tick().await;
        let mut connecting = JoinSet::new();
        for node in others(&own, &directory.borrow()) {
            let peers = peers.clone();
            connecting.spawn(async move {
                if let Err(error) = peers.link(&node).await {
                    tracing::debug!(node = %node.id, %error, "no path");
                }
            });
        }
        while connecting.join_next().await.is_some() {}
    }
}

fn others(own: &NodeId, directory: &Directory) -> Vec<NodeAddress> {
    let wanted = |role| matches!(role, Role::Origin | Role::Worker);
    let others = directory.nodes.iter().filter(|node| wanted(node.role) && node.id != *own);
    others.take(MAX_LINKS).cloned().collect()
}
