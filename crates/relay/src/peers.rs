//! Connections that this node opens to other nodes: one to each, shared, opened on first use.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use gibbon_control::{links::Links, node::NodeAddress};
use gibbon_net::{Endpoint, Identity, endpoint::ConnectError, subscribe::Link};
use tokio::sync::Mutex;

type Slot = Arc<Mutex<Option<Arc<Link>>>>;

/// Links to other nodes, by identity and address.
pub struct Peers {
    endpoint: Endpoint,
    noted: Arc<Links>,
    links: Mutex<HashMap<(Identity, SocketAddr), Slot>>,
}

impl Peers {
    /// Connects from `endpoint`, and notes each connection in `noted`.
    pub fn new(endpoint: Endpoint, noted: Arc<Links>) -> Self {
        Self { endpoint, noted, links: Mutex::default() }
    }

    /// A live link to `node`.
    pub async fn link(&self, node: &NodeAddress) -> Result<Arc<Link>, ConnectError> {
        let identity = Identity { id: node.id.clone(), role: node.role };
        let slot = self.slot(&identity, node.address).await;
        // Held while connecting: whoever else wants the same node waits for the same connection.
        let mut slot = slot.lock().await;
        if let Some(link) = slot.as_ref().filter(|l| l.connection().close_reason().is_none()) {
            return Ok(link.clone());
        }
        let link = Link::new(self.endpoint.connect(&identity, node.address).await?);
        self.noted.note(&identity, link.connection());
        *slot = Some(link.clone());
        Ok(link)
    }

    async fn slot(&self, identity: &Identity, address: SocketAddr) -> Slot {
        let mut links = self.links.lock().await;
        // Nodes come and go: forget those whose connection has closed and that nobody waits for.
        links.retain(|_, slot| {
            Arc::strong_count(slot) > 1
                || slot.try_lock().is_ok_and(|s| {
                    s.as_ref().is_some_and(|l| l.connection().close_reason().is_none())
                })
        });
        links.entry((identity.clone(), address)).or_default().clone()
    }
}
