//! The portal: HTTP and JSON, for people and programs that create sessions and move them.

use std::net::SocketAddr;

use gibbon_handoff::{Cause, InfoSender, Move, Reason, Source};
use gibbon_media::{
    Description, GroupId, HandoffId, NodeId, Placement, Priority, Role, Scheme, ServiceId,
    SessionId, StreamName,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    node::{Draining, Location, NodeAddress, UpstreamReport},
    services::{ComponentMove, ServiceState},
    viewing::ViewerGap,
    work::{LinkReport, WorkerOffer},
};

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
    /// `together` on one edge or `diverse` on two; without it `together` where an edge is named, else
    /// `diverse` where there are edges of different failure domains.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub placement: Option<Placement>,
    /// How much it matters where there is not room for all: 0 (least) to 9.
    #[schema(value_type = u8)]
    #[serde(default)]
    pub priority: Priority,
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
    /// Edges to turn to when one is lost, best first: those that the grant names, and where they are.
    #[schema(value_type = Vec<EdgeAddress>)]
    pub standbys: Vec<NodeAddress>,
    /// How the legs are placed.
    #[schema(value_type = String)]
    pub placement: Placement,
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
    /// Whether it is connected and reports. Lost nodes are remembered for some minutes.
    pub up: bool,
    /// When it last registered, in µs since the epoch: anew whenever its process or its connection was.
    pub registered_us: u64,
    /// Legs it carries.
    pub legs: u32,
    /// Of these, by description.
    pub legs_by_description: [u32; 2],
    /// Legs it can carry.
    pub capacity_legs: u32,
    /// What its legs take, in kbit/s.
    pub kbps: u64,
    /// What it can send to clients, in kbit/s, if that is limited.
    pub capacity_kbps: Option<u64>,
    /// Whether it is being emptied.
    pub draining: Option<Draining>,
    /// Planned work has been announced, by an operator or by the node itself: it goes away in so long, in ms; 0 from then
    /// on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_in_ms: Option<u64>,
    /// Subscriptions that other nodes have to it.
    pub downstreams: u32,
    /// What it pulls.
    pub upstreams: Vec<UpstreamReport>,
    /// Age of its last report, in ms.
    pub report_age_ms: u64,
    /// Of a worker: what it offers and does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerInfo>,
}

/// What a worker offers and does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkerInfo {
    /// What it offers.
    #[serde(flatten)]
    pub offer: WorkerOffer,
    /// Cores that it keeps busy, but for what starts.
    pub busy_cores: f64,
    /// Cores that are busy or promised: what is reckoned with when components are assigned.
    pub reserved_cores: f64,
    /// Memory in use, in MiB.
    pub used_mib: u64,
    /// What it sends to other nodes, in kbit/s.
    pub sent_kbps: u64,
    /// Component instances that it runs.
    pub instances: u32,
    /// Its paths to other nodes.
    pub links: Vec<LinkReport>,
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
    /// The stream that it is made of, if services make it.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub source: Option<StreamName>,
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
    /// Content provider: of a service, that of the stream that it begins with.
    #[schema(value_type = Option<String>)]
    pub origin: Option<NodeId>,
    /// The service that makes the stream, if one does: the first that was asked for.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub service: Option<ServiceId>,
    /// The components that the stream passes, in order, and who runs them.
    #[serde(default)]
    pub modules: Vec<SessionModule>,
    /// Service provider of each description; none while it is not served.
    #[schema(value_type = Vec<Option<String>>)]
    pub edges: [Option<NodeId>; 2],
    /// How its legs are meant to be placed.
    #[schema(value_type = String)]
    pub placement: Placement,
    /// How much it matters, 0 to 9.
    #[schema(value_type = u8)]
    pub priority: Priority,
    /// Client device.
    pub client: ClientInfo,
    /// The hand-off under way.
    #[schema(value_type = Option<String>)]
    pub handoff: Option<HandoffId>,
}

/// A component in the path of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionModule {
    /// What it is.
    pub component: String,
    /// Where it runs.
    #[schema(value_type = String)]
    pub worker: NodeId,
    /// 0, or 1 for the warm standby.
    pub replica: u8,
    /// How much it matters.
    #[schema(value_type = u8)]
    pub priority: Priority,
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

/// `POST /v1/nodes/{node}/drain`: an edge is to be emptied.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct DrainRequest {
    /// What is left then is cut, in ms.
    pub deadline_ms: u64,
    /// Sessions begun to be moved per second, at most.
    pub rate: f64,
    /// Whether the process stays when it is empty, until the drain is taken back.
    pub stay: bool,
}

impl Default for DrainRequest {
    fn default() -> Self {
        Self { deadline_ms: 60_000, rate: 20.0, stay: false }
    }
}

/// `POST /v1/nodes/{node}/maintenance`: planned work at an edge or a worker.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct MaintenanceRequest {
    /// The node goes away in so long, in ms: by then nothing is there any more.
    pub in_ms: u64,
}

/// `GET /v1/handoffs/{handoff}/why`: what a hand-off was decided from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HandoffWhy {
    /// The hand-off.
    #[schema(value_type = String)]
    pub handoff: HandoffId,
    /// The session moved.
    #[schema(value_type = String)]
    pub session: SessionId,
    /// Why, in a word.
    #[schema(value_type = String)]
    pub cause: Cause,
    /// The rest.
    #[serde(flatten)]
    pub grounds: Grounds,
}

/// What a hand-off, or a move of components, was decided from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Grounds {
    /// Why, in plain words.
    pub because: String,
    /// What made the decision.
    pub decided_by: DecidedBy,
    /// When, in µs since the epoch.
    pub decided_us: u64,
    /// Of what was foreseen: from when on staying would cost more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreseen: Option<Foreseen>,
    /// What it was decided from.
    pub inputs: Vec<WhyInput>,
    /// What was weighed: the chosen place first, then staying, then the others, the best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<WhyAlternative>,
}

/// What made a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    /// Somebody asked for it.
    Request,
    /// It was foreseen that staying would cost more.
    Foresight,
    /// What was measured had been bad for a while: for comparison with foresight.
    Threshold,
    /// What has already happened: a drain, a loss, a complaint, a full edge.
    Upkeep,
    /// An earlier start of the coordinator, which left it behind.
    EarlierStart,
}

impl DecidedBy {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            DecidedBy::Request => "request",
            DecidedBy::Foresight => "foresight",
            DecidedBy::Threshold => "threshold",
            DecidedBy::Upkeep => "upkeep",
            DecidedBy::EarlierStart => "an earlier start",
        }
    }
}

/// When a hand-off is needed, and what it gains.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Foreseen {
    /// From then on staying costs more than moving, in µs since the epoch.
    pub need_us: u64,
    /// How long a hand-off was taken to last, in ms.
    pub lead_ms: u64,
    /// What it gains over the horizon, in seconds without a picture.
    pub gain_s: f64,
}

/// One thing that was known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhyInput {
    /// What, as in "load of edge-a".
    pub name: String,
    /// Its value …
    pub value: f64,
    /// … in this unit.
    pub unit: String,
    /// Who said so.
    pub source: String,
    /// How long before the decision, in ms.
    pub age_ms: u64,
    /// How much it counted for its age, 0 to 1.
    pub weight: f64,
}

/// A place that was weighed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhyAlternative {
    /// The edges, by description; of components, their worker twice.
    #[schema(value_type = Vec<String>)]
    pub edges: [NodeId; 2],
    /// What it costs over the horizon, in seconds without a picture; none: it could not be had.
    pub cost: Option<f64>,
    /// Why.
    pub reason: String,
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
    /// The first edge: of the first move, if the moves begin at different edges.
    #[schema(value_type = String)]
    pub from: NodeId,
    /// The second edge.
    #[schema(value_type = String)]
    pub to: NodeId,
    /// The legs that move, in order.
    #[schema(value_type = Vec<LegMove>)]
    pub moves: Vec<Move>,
    /// Why that edge.
    pub selection: String,
    /// Who sends the prefetch information.
    #[schema(value_type = String)]
    pub prefetch_info: InfoSender,
    /// How it stands.
    pub outcome: HandoffOutcome,
    /// Why it was rolled back or failed.
    #[schema(value_type = Option<String>)]
    pub reason: Option<Reason>,
    /// What it has cost the viewer, by the client's own account; none before that has come.
    #[serde(default)]
    pub viewer_gap: Option<ViewerGap>,
    /// What happened when.
    pub progress: Vec<ProgressInfo>,
}

/// For the OpenAPI document: the shape of a [`Move`].
#[derive(ToSchema)]
#[allow(dead_code)]
pub struct LegMove {
    description: u8,
    from: String,
    to: String,
    fetch: String,
}

/// How a hand-off stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HandoffOutcome {
    /// It is under way.
    Running,
    /// The legs are at the new edge.
    Completed,
    /// The legs are back where they were.
    RolledBack,
    /// Neither; the session says where its legs are.
    Failed,
}

impl HandoffOutcome {
    /// The word for it in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            HandoffOutcome::Running => "running",
            HandoffOutcome::Completed => "completed",
            HandoffOutcome::RolledBack => "rolled_back",
            HandoffOutcome::Failed => "failed",
        }
    }
}

/// One step of a hand-off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProgressInfo {
    /// `selected`, `prefetch_sent`, `ready`, `attach_sent`, `attached`, `held`, `settled`, `finish_sent`,
    /// `closed`, `rolling_back`, `return_sent`, `completed`, `rolled_back` or `failed`.
    pub step: String,
    /// The description concerned, if one is.
    #[schema(value_type = Option<u8>)]
    pub description: Option<Description>,
    /// The edge concerned, if one is.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub edge: Option<NodeId>,
    /// The group from which on, where it matters.
    #[schema(value_type = Option<u64>)]
    #[serde(default)]
    pub group: Option<GroupId>,
    /// What went wrong, if something did.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub reason: Option<Reason>,
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
    /// A service changed its state, ended, or has components moved.
    Service {
        /// Which.
        #[schema(value_type = String)]
        service: ServiceId,
        /// The stream that it makes.
        #[schema(value_type = String)]
        stream: StreamName,
        /// How it is; none: it has ended.
        state: Option<ServiceState>,
        /// What is amiss, if anything is.
        why: Option<String>,
        /// Where components go, if that is what happens.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        moved: Option<ComponentMove>,
    },
    /// The reader was too slow, and events were left out.
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// `GET /healthz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Rises with each start of the coordinator.
    pub term: u64,
    /// Nodes that are up.
    pub nodes_up: u32,
}

/// Every refusal of the portal.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PortalError {
    /// What was refused and what to do about it.
    pub error: String,
}
