//! The manager: all that the coordinator knows and decides, without sockets, tasks or clocks.
//!
//! What comes in carries the time; what is to go out is returned as [`Output`]s, to be sent in order.
//! [`handle_time`](Manager::handle_time) is to be called every few tens of milliseconds.

mod assignment;
mod foresee;
mod handoffs;
mod metrics;
mod nodes;
mod services;
mod sessions;
mod transfers;
mod upkeep;
mod views;
mod work;

use std::{collections::BTreeSet, time::Duration};

use gibbon_control::{
    GrantSigner,
    node::{Directory, REPORT_EVERY_MS, ToNode},
    portal::Event,
};
use gibbon_handoff::{Term, coordinator};
use gibbon_media::{HandoffId, MediaTime, NodeId, Role, ServiceId, SessionId, StreamName};
use gibbon_placement::{Candidate, NoEdge};

use crate::{
    builder::BuildError,
    catalogue::Catalogue,
    drain::Drains,
    foresee::{Foresee, Mode, Settings, neighbourhood::Neighbourhoods},
    handoffs::{Effect, Handoffs},
    maintenance::Maintenance,
    metrics::Metrics,
    orders::Orders,
    registry::{Expected, Registry},
    services::{MAX_SERVICES, Services},
    sessions::{MAX_SESSIONS, Sessions},
    telemetry::Telemetry,
};

/// How often what has fallen silent is looked for, and what should be moved.
const SWEEP_EVERY: Duration = Duration::from_millis(REPORT_EVERY_MS / 2);
/// Time handled later than this was slept through: what came meanwhile has not been taken in yet.
const OVERSLEPT: Duration = Duration::from_secs(1);

/// What is to be sent.
#[derive(Debug)]
pub enum Output {
    /// To a node, if it is connected.
    ToNode {
        /// Which.
        node: NodeId,
        /// What.
        message: ToNode,
    },
    /// To those who watch.
    Event(Event),
}

/// Why a request to the portal is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody publishes the stream.
    #[error("nobody publishes {0}; GET /v1/streams lists what there is")]
    NoStream(StreamName),
    /// There is no such session.
    #[error("there is no session {0}; GET /v1/sessions lists them")]
    NoSession(SessionId),
    /// There is no such hand-off.
    #[error("there is no hand-off {0}, or it is long past; GET /v1/handoffs lists them")]
    NoHandoff(HandoffId),
    /// There is no such node.
    #[error("there is no node {0}; GET /v1/nodes lists them")]
    NoNode(NodeId),
    /// The edge or worker asked for cannot be had.
    #[error("{node} cannot take it: it {why}")]
    Unfit {
        /// The node.
        node: NodeId,
        /// Why not, and which node could.
        why: String,
    },
    /// No edge can be had.
    #[error("{0}")]
    NoEdge(#[from] NoEdge),
    /// There are too many sessions.
    #[error("there are {MAX_SESSIONS} sessions already")]
    TooManySessions,
    /// The session is being handed off.
    #[error("hand-off {0} of this session is under way; wait for its end")]
    UnderWay(HandoffId),
    /// No leg is of the kind asked for.
    #[error("nothing to move: {0}")]
    NothingToMove(String),
    /// All that was to move is there.
    #[error("nothing to move: it is at {0} already")]
    AlreadyThere(NodeId),
    /// Only edges and workers are emptied.
    #[error("{0} is an {1}: only an edge or a worker can be emptied")]
    NotToBeEmptied(NodeId, Role),
    /// The node is not there to be emptied.
    #[error("{0} is down: there is nothing to empty")]
    Down(NodeId),
    /// What the edge carries could not be moved anywhere.
    #[error("{edge} carries {legs} legs and there is nowhere to move them: {why}")]
    NowhereToGo {
        /// The edge.
        edge: NodeId,
        /// What it carries.
        legs: u32,
        /// What is wrong with each other edge.
        why: NoEdge,
    },
    /// What the worker runs could not be moved anywhere.
    #[error("{worker} runs {components} and there is nowhere to move it: {why}")]
    NowhereToWork {
        /// The worker.
        worker: NodeId,
        /// What could not be moved.
        components: String,
        /// Why not.
        why: String,
    },
    /// There is no such service.
    #[error("there is no service {0}; GET /v1/services lists them")]
    NoService(ServiceId),
    /// The service cannot be.
    #[error("{0}")]
    Build(#[from] BuildError),
    /// No worker can be had.
    #[error("{0}")]
    NoWorker(String),
    /// There are too many services, or too many share a component.
    #[error("there are {MAX_SERVICES} services, or too many of this kind, already")]
    TooManyServices,
    /// A service makes the stream, and has not published it.
    #[error("{stream} is starting: service {service} has not published it yet")]
    Starting {
        /// The stream.
        stream: StreamName,
        /// The service that makes it.
        service: ServiceId,
    },
    /// The stream is not for viewers.
    #[error("{0} is a plain feed, not divided for viewers; ask for a service on it, as `mdc`")]
    Plain(StreamName),
    /// Components of the service are being moved.
    #[error("components of service {0} are being moved; wait for the end of that")]
    Moving(ServiceId),
    /// The request says something that cannot be.
    #[error("{0}")]
    OutOfBounds(String),
}

/// The manager.
pub struct Manager {
    term: Term,
    signer: GrantSigner,
    registry: Registry,
    sessions: Sessions,
    handoffs: Handoffs,
    drains: Drains,
    maintenance: Maintenance,
    telemetry: Telemetry,
    foresee: Foresee,
    neighbourhoods: Neighbourhoods,
    services: Services,
    orders: Orders,
    catalogue: Catalogue,
    /// Whether something has changed that services depend on.
    work_changed: bool,
    /// Instances and moves begun.
    instances_made: u64,
    /// Edges that carry too much.
    hot: BTreeSet<NodeId>,
    /// As the nodes know it.
    directory: Directory,
    /// When time was first handled, and last.
    started: Option<MediaTime>,
    handled: MediaTime,
    swept: MediaTime,
    /// Hand-offs begun by itself.
    begun: u64,
    metrics: Metrics,
}

impl Manager {
    /// Knows nothing yet. `term` is above that of every earlier start.
    pub fn new(term: Term, signer: GrantSigner) -> Self {
        Self {
            term,
            signer,
            registry: Registry::default(),
            sessions: Sessions::default(),
            handoffs: Handoffs::default(),
            drains: Drains::default(),
            maintenance: Maintenance::default(),
            telemetry: Telemetry::default(),
            foresee: Foresee::new(Settings::of(Mode::Off)),
            neighbourhoods: Neighbourhoods::default(),
            services: Services::default(),
            orders: Orders::new(term),
            catalogue: Catalogue::default(),
            work_changed: false,
            instances_made: 0,
            hot: BTreeSet::new(),
            directory: Directory::default(),
            started: None,
            handled: MediaTime::default(),
            swept: MediaTime::default(),
            begun: 0,
            metrics: Metrics::default(),
        }
    }

    /// The same, with services that have a name.
    pub fn offering(self, catalogue: Catalogue) -> Self {
        Self { catalogue, ..self }
    }

    /// Time has passed.
    pub fn handle_time(&mut self, now: MediaTime) -> Vec<Output> {
        let slept = now.since(self.handled);
        if self.started.is_some() && slept > OVERSLEPT {
            self.registry.excuse(slept);
            self.sessions.excuse(slept);
            self.services.excuse(slept);
        }
        self.handled = now;
        let mut effects = self.handoffs.handle_time(now);
        let mut out = Vec::new();
        let sweep = now.since(self.swept) >= SWEEP_EVERY;
        if sweep {
            self.swept = now;
            for (id, older) in self.registry.sweep(now) {
                effects.extend(self.node_lost(now, id, &older, &mut out));
            }
            for session in self.sessions.sweep(now) {
                effects.extend(self.session_gone(now, session, &mut out));
            }
            if !out.is_empty() {
                self.spread_directory(&mut out);
            }
        }
        out.extend(self.outputs(now, effects));
        out.extend(self.keep_up(now, sweep));
        if sweep {
            self.maintenance.sweep(now);
            out.extend(self.foresee(now));
            out.extend(self.foresee_components(now));
        }
        out.extend(self.keep_services(now, sweep));
        out
    }

    fn session_gone(
        &mut self,
        now: MediaTime,
        session: SessionId,
        out: &mut Vec<Output>,
    ) -> Vec<Effect> {
        out.push(Output::Event(Event::Session { session, up: false }));
        self.handoffs.handle(now, session, coordinator::Event::SessionGone)
    }

    /// All nodes as candidates, with what is promised to them and on its way.
    fn candidates(&self) -> Vec<Candidate> {
        let coming = self.handoffs.legs_coming();
        self.registry.candidates(|edge| {
            let tally = self.sessions.tally(edge);
            let coming = coming.get(edge).copied().unwrap_or_default();
            Expected {
                legs: [0, 1].map(|d: usize| tally.placed[d].saturating_add(coming[d])),
                seconds: tally.seconds,
                draining: self.drains.of(edge).is_some(),
            }
        })
    }
}
