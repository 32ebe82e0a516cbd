//! Between a node and the coordinator, over a control stream that the node opens.

use gibbon_handoff::{FromEdge, Term, ToEdge};
use gibbon_media::{Catalog, Description, NodeId, Placement, Priority, SessionId, StreamName};
use serde::{Deserialize, Serialize};

use crate::{
    session::{ClientReport, Order},
    telemetry::{LinkReport, NodeHealth, PublishReport},
    work::{WorkAnswer, WorkOrder, WorkReport, WorkerOffer},
};

pub use crate::address::NodeAddress;

/// How often a node reports unless the coordinator says otherwise, in ms.
pub const REPORT_EVERY_MS: u64 = 500;

/// Where a node stands on earth, in degrees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Location {
    /// −90 to 90.
    pub latitude: f64,
    /// −180 to 180.
    pub longitude: f64,
}

impl std::str::FromStr for Location {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let error = || format!("{s:?} is not a location: use LATITUDE,LONGITUDE in degrees");
        let (latitude, longitude) = s.split_once(',').ok_or_else(error)?;
        let parse = |part: &str, bound: f64| {
            part.trim().parse::<f64>().ok().filter(|x| x.abs() <= bound).ok_or_else(error)
        };
        Ok(Self { latitude: parse(latitude, 90.0)?, longitude: parse(longitude, 180.0)? })
    }
}

/// What a node says to the coordinator.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromNode {
    /// First: who it is. Its certificate must say the same.
    Register {
        /// Id, role and the address others reach it at.
        node: NodeAddress,
        /// Where it stands, if known.
        location: Option<Location>,
        /// Nodes of one failure domain may fail together.
        failure_domain: Option<String>,
        /// Legs it can carry at once.
        capacity_legs: u32,
        /// What it can send to clients at once, in kbit/s, if that is limited.
        #[serde(default)]
        capacity_kbps: Option<u64>,
        /// Of a worker: what it offers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker: Option<WorkerOffer>,
    },
    /// The whole of what it holds; sent every reporting interval and when something changed.
    Report(NodeReport),
    /// An answer within a hand-off.
    Edge {
        /// The session handed off.
        session: SessionId,
        /// The answer.
        answer: FromEdge,
    },
    /// What a client said, passed on.
    Client {
        /// The client's session.
        session: SessionId,
        /// How things stand there.
        report: ClientReport,
    },
    /// A worker's answer to an order.
    Work(WorkAnswer),
}

/// What a node holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Streams that it publishes itself.
    pub streams: Vec<Catalog>,
    /// Sessions with a session stream to it.
    pub sessions: Vec<SessionReport>,
    /// What it pulls from upstream.
    pub upstreams: Vec<UpstreamReport>,
    /// Subscriptions that other nodes have to it.
    pub downstreams: u32,
    /// What its legs take, in kbit/s, by the rates at which their descriptions arrive.
    #[serde(default)]
    pub kbps: u64,
    /// Whether it wants to be emptied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<Draining>,
    /// Of a worker: what it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<WorkReport>,
    /// How it is. Told once a second at most, with `links` and `publishing`: a report without it says nothing of the
    /// three, and what was said of them last holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<NodeHealth>,
    /// Its paths to other nodes, those to edges last; at most [`MAX_LINKS`](crate::links::MAX_LINKS).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkReport>,
    /// Of an origin: how each stream is doing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publishing: Vec<PublishReport>,
}

/// An edge or worker that wants to be emptied.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Draining {
    /// What is left then is cut, in ms.
    pub within_ms: u64,
    /// Sessions (or components) begun to be moved per second, at most.
    pub rate: f64,
    /// Whether the process stays when it is empty, until the drain is taken back.
    pub stay: bool,
}

/// One session at one edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionReport {
    /// The session.
    pub session: SessionId,
    /// What it watches.
    pub stream: StreamName,
    /// How its legs are meant to be placed, by its grant.
    #[serde(default)]
    pub placement: Placement,
    /// How much it matters, by its grant.
    #[serde(default)]
    pub priority: Priority,
    /// Descriptions that the edge serves it.
    pub legs: Vec<Description>,
}

/// One description being pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UpstreamReport {
    /// The stream.
    #[schema(value_type = String)]
    pub stream: StreamName,
    /// The description.
    #[schema(value_type = u8)]
    pub description: Description,
    /// From whom now; none while it looks for a source.
    #[schema(value_type = Option<String>)]
    pub source: Option<NodeId>,
    /// Payload bytes received, by source, since this upstream began.
    pub received: Vec<SourceBytes>,
    /// Viewers and nodes it is pulled for.
    pub subscribers: u32,
}

/// Bytes received from one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SourceBytes {
    /// The node they came from.
    #[schema(value_type = String)]
    pub source: NodeId,
    /// How many.
    pub bytes: u64,
}

/// What the coordinator says to a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToNode {
    /// The answer to a registration, and again to each report: so a node knows that it is heard.
    Registered {
        /// Rises with each start of the coordinator.
        term: Term,
        /// How often to report.
        report_every_ms: u64,
    },
    /// The registration is refused; the connection closes.
    Refused {
        /// Why.
        reason: String,
    },
    /// Who else there is; sent when it changes.
    Directory(Directory),
    /// Prefetch information and other hand-off orders. Where `edge` is not the node itself, the node
    /// passes the order on to it, and its answers back.
    Edge {
        /// The edge it is for.
        edge: NodeAddress,
        /// The session handed off.
        session: SessionId,
        /// The order.
        order: ToEdge,
    },
    /// A renewed grant for a client, in-band.
    Renew {
        /// The client's session.
        session: SessionId,
        /// The grant.
        grant: String,
        /// The standbys it names, best first, and where they are.
        standbys: Vec<NodeAddress>,
    },
    /// The edge or worker is to be emptied.
    Drain(Draining),
    /// The edge or worker is wanted again.
    Undrain,
    /// All that a worker is to run.
    Work(WorkOrder),
    /// An order to a client, in-band.
    Client {
        /// The client's session.
        session: SessionId,
        /// The order.
        order: Order,
    },
}

/// The nodes and streams of the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// All nodes that are up.
    pub nodes: Vec<NodeAddress>,
    /// Which origin or worker publishes which stream; of workers only those that are to be pulled from.
    pub streams: Vec<StreamOrigin>,
}

/// A stream and who publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamOrigin {
    /// The stream.
    pub stream: StreamName,
    /// Its origin, or the worker that makes it.
    pub origin: NodeId,
}

impl Directory {
    /// The node of this id.
    pub fn node(&self, id: &NodeId) -> Option<&NodeAddress> {
        self.nodes.iter().find(|node| node.id == *id)
    }

    /// Who publishes `stream`: origins, or workers in the order in which they are preferred.
    pub fn origins<'a>(&'a self, stream: &'a StreamName) -> impl Iterator<Item = &'a NodeAddress> {
        self.streams
            .iter()
            .filter(move |s| s.stream == *stream)
            .filter_map(|s| self.nodes.iter().find(|n| n.id == s.origin && n.publishes()))
    }
}
