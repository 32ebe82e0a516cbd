//! Between a client and an edge, over a session stream that the client opens on every connection.

use gibbon_handoff::{Reason, Report, ToClient};
use gibbon_media::{Description, NodeId};
use serde::{Deserialize, Serialize};

use crate::{address::NodeAddress, viewing::Viewing};

/// What a client says to an edge.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromViewer {
    /// First: its grant.
    Hello {
        /// As the portal gave it.
        grant: String,
    },
    /// How things stand, for the coordinator. Sent at every change, on every connection that is alive.
    Report(ClientReport),
    /// It needs nothing more from this edge; the edge says [`ToViewer::Bye`] and the client closes.
    Bye,
}

/// How things stand at a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientReport {
    /// Where its legs are and how it carries out its newest order.
    #[serde(flatten)]
    pub hands: Report,
    /// Legs past probation that are bad.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub complaints: Vec<Complaint>,
    /// What its viewer has been shown; none before the first frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub viewing: Option<Box<Viewing>>,
}

impl ClientReport {
    /// How the hands stand: with no complaints, and nothing shown yet.
    pub fn new(hands: Report) -> Self {
        Self { hands, complaints: Vec::new(), viewing: None }
    }
}

/// A leg is bad, and its client does not leave it at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// Which description.
    pub description: Description,
    /// Who delivers it.
    pub edge: NodeId,
    /// In what way: late, lossy or starved.
    pub reason: Reason,
    /// For how long, in ms.
    pub for_ms: u64,
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
    /// A renewed grant.
    Renewed {
        /// To be shown from now on.
        grant: String,
        /// The standbys it names, best first, and where they are.
        standbys: Vec<NodeAddress>,
    },
    /// The edge's own upstream is silent: the leg is, too, and the edge is not to blame. Repeated for as
    /// long as it lasts.
    Stalled {
        /// The descriptions that stand still.
        descriptions: Vec<Description>,
    },
    /// What the edge sees of the path to the client. Sent only while packets are being lost.
    Path {
        /// Packets sent on this connection.
        sent: u64,
        /// Of these, taken for lost.
        lost: u64,
        /// Round-trip time, in µs.
        rtt_us: u64,
    },
    /// The edge is full: end this leg if the other description is safe, and take it back later.
    LetGo {
        /// Which description.
        description: Description,
    },
    /// The edge wants to leave: go to other edges, one description at a time. Repeated until the client is
    /// gone.
    GoAway {
        /// The edge ends what is left after this, in ms.
        within_ms: u64,
    },
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
    /// How long ago the hand-off was selected when the order was given, in ms.
    #[serde(default)]
    pub under_way_ms: u64,
}
