//! Where nodes are reached.

use std::net::SocketAddr;

use gibbon_media::{NodeId, Role};
use serde::{Deserialize, Serialize};

/// A node, and where it is reached over QUIC.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeAddress {
    /// Its id.
    pub id: NodeId,
    /// Its role.
    pub role: Role,
    /// Where it listens.
    pub address: SocketAddr,
}

impl NodeAddress {
    /// Whether streams may be pulled from it as from their source.
    pub fn publishes(&self) -> bool {
        matches!(self.role, Role::Origin | Role::Worker)
    }
}
