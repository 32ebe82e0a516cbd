//! Between a client and an edge, over a session stream that the client opens on every connection.

use gibbon_handoff::{Report, ToClient};
use serde::{Deserialize, Serialize};

use crate::address::NodeAddress;

/// What a client says to an edge.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromViewer {
    /// First: its grant.
    Hello {
        /// As the portal gave it.
        grant: String,
    },
    /// Where its legs are and how it carries out its newest order, for the coordinator. Sent at every
    /// change, on every connection that is alive.
    Report(Report),
    /// It needs nothing more from this edge; the edge says [`ToViewer::Bye`] and the client closes.
    Bye,
}

/// What an edge says to a client.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToViewer {
    /// The grant is good.
    Welcome,
    /// The grant is not good; the connection closes.
    Refused {
        /// Why.
        reason: String,
    },
    /// An order of the coordinator.
    Order(Order),
    /// All the client said has been passed on.
    Bye,
}

/// An order of the coordinator to a client, with what the client needs to carry it out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// What to do.
    pub order: ToClient,
    /// Where the edge it names is reached.
    pub edge: NodeAddress,
    /// A fresh grant, if the old one does not fit any more.
    pub grant: Option<String>,
    /// The standbys that the fresh grant names, and where they are.
    #[serde(default)]
    pub standbys: Vec<NodeAddress>,
}
