//! The portal: HTTP and JSON, for people and programs that create sessions and move them.

use std::net::SocketAddr;

use gibbon_handoff::{Cause, InfoSender, Source};
use gibbon_media::{Description, HandoffId, NodeId, Role, Scheme, SessionId, StreamName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::node::{Location, NodeAddress, UpstreamReport};

/// Where the portal listens unless told otherwise.
pub const DEFAULT_PORTAL: &str = "127.0.0.1:4480";

/// `POST /v1/sessions`: a client wants to watch.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SessionRequest {
    /// The stream.
    #[schema(value_type = String, example = "live/bbb")]
    pub stream: StreamName,
    /// The edge to begin at; without it the coordinator selects one.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub edge: Option<NodeId>,
    /// Where the client is.
    #[serde(default)]
    pub location: Option<Location>,
}

/// What a client needs to begin.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SessionTicket {
    /// The session.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// To be shown to every edge.
    pub grant: String,
    /// Which edge serves which description, in order of descriptions.
    #[schema(value_type = Vec<EdgeAddress>)]
    pub edges: [NodeAddress; 2],
}

/// For the OpenAPI document: the shape of a [`NodeAddress`].
#[derive(ToSchema)]
#[allow(dead_code)]
pub struct EdgeAddress {
    id: String,
    role: String,
    address: String,
}

/// `GET /v1/nodes`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NodeInfo {
    /// Its id.
    #[schema(value_type = String)]
    pub id: NodeId,
    /// Its role.
    #[schema(value_type = String)]
    pub role: Role,
    /// Where it is reached over QUIC.
    #[schema(value_type = String)]
    pub address: SocketAddr,
    /// Where it stands.
    pub location: Option<Location>,
    /// Nodes of one failure domain may fail together.
    pub failure_domain: Option<String>,
    /// Legs it carries.
    pub legs: u32,
    /// Legs it can carry.
    pub capacity_legs: u32,
    /// Subscriptions that other nodes have to it.
    pub downstreams: u32,
    /// What it pulls.
    pub upstreams: Vec<UpstreamReport>,
    /// Age of its last report, in ms.
    pub report_age_ms: u64,
}

/// `GET /v1/streams`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StreamInfo {
    /// The stream.
    #[schema(value_type = String)]
    pub stream: StreamName,
    /// Who publishes it.
    #[schema(value_type = String)]
    pub origin: NodeId,
    /// How it is coded.
    #[schema(value_type = String)]
    pub scheme: Scheme,
    /// Pictures: width, height and frames per second, as `640x360@24`.
    pub video: Option<String>,
    /// Whether it has sound.
    pub audio: bool,
    /// Language of its text, if it has any.
    pub text: Option<String>,
    /// Sessions that watch it.
    pub sessions: u32,
}

/// `GET /v1/sessions`: who provides, who serves, who watches.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SessionInfo {
    /// The session.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// The stream.
    #[schema(value_type = String)]
    pub stream: StreamName,
    /// Content provider.
    #[schema(value_type = Option<String>)]
    pub origin: Option<NodeId>,
    /// Service provider of each description; none while it is not served.
    #[schema(value_type = Vec<Option<String>>)]
    pub edges: [Option<NodeId>; 2],
    /// Client device.
    pub client: ClientInfo,
    /// The hand-off under way.
    #[schema(value_type = Option<String>)]
    pub handoff: Option<HandoffId>,
}

/// The client of a session.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ClientInfo {
    /// Whether any edge sees it.
    pub connected: bool,
    /// Where it said it is.
    pub location: Option<Location>,
}

/// `POST /v1/sessions/{session}/handoff`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct HandoffRequest {
    /// Move only this description.
    #[schema(value_type = Option<u8>)]
    pub description: Option<Description>,
    /// Move only legs at this edge.
    #[schema(value_type = Option<String>)]
    pub from: Option<NodeId>,
    /// Where to; without it the coordinator selects the edge.
    #[schema(value_type = Option<String>)]
    pub to: Option<NodeId>,
    /// Who sends the prefetch information: `coordinator` (default) or `first_edge`.
    #[schema(value_type = Option<String>)]
    pub prefetch_info: Option<InfoSender>,
    /// Where the second edge fetches description 0 and 1: `first_edge` (default) or `origin`.
    #[schema(value_type = Vec<Option<String>>)]
    pub fetch: [Option<Source>; 2],
}

/// `GET /v1/handoffs`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HandoffInfo {
    /// The hand-off.
    #[schema(value_type = String)]
    pub handoff: HandoffId,
    /// The session moved.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// Why.
    #[schema(value_type = String)]
    pub cause: Cause,
    /// The first edge.
    #[schema(value_type = String)]
    pub from: NodeId,
    /// The second edge.
    #[schema(value_type = String)]
    pub to: NodeId,
    /// Why that edge.
    pub selection: String,
    /// Who sends the prefetch information.
    #[schema(value_type = String)]
    pub prefetch_info: InfoSender,
    /// `running`, `completed`, `rolled_back` or `failed`.
    pub outcome: String,
    /// Why it was rolled back or failed.
    pub reason: Option<String>,
    /// What happened when.
    pub progress: Vec<ProgressInfo>,
}

/// One step of a hand-off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProgressInfo {
    /// `selected`, `prefetch_sent`, `ready`, `attach_sent`, `attached`, `held`, `settled`, `finish_sent`,
    /// `completed`, `rolled_back` or `failed`.
    pub step: String,
    /// The description concerned, if one is.
    #[schema(value_type = Option<u8>)]
    pub description: Option<Description>,
    /// When, in µs since the epoch.
    pub at_us: u64,
}

/// What `GET /v1/events` streams (server-sent events), and `gibbonctl watch` prints.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A node came or went.
    Node {
        /// Which.
        #[schema(value_type = String)]
        id: NodeId,
        /// Whether it is up.
        up: bool,
    },
    /// A session came or went.
    Session {
        /// Which.
        #[schema(value_type = String)]
        session: SessionId,
        /// Whether it is there.
        up: bool,
    },
    /// A step of a hand-off.
    Handoff {
        /// Which.
        #[schema(value_type = String)]
        handoff: HandoffId,
        /// The session moved.
        #[schema(value_type = String)]
        session: SessionId,
        /// The step.
        progress: ProgressInfo,
    },
}

/// Every refusal of the portal.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PortalError {
    /// What was refused and what to do about it.
    pub error: String,
}
