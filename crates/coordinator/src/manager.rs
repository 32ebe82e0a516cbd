//! The manager: all that the coordinator knows and decides, without sockets, tasks or clocks.
//!
//! What comes in carries the time; what is to go out is returned as [`Output`]s, to be sent in order.
//! [`handle_time`](Manager::handle_time) is to be called every few tens of milliseconds.

use std::time::Duration;

use gibbon_control::{
    Grant, GrantSigner,
    node::{Directory, FromNode, NodeAddress, NodeReport, REPORT_EVERY_MS, ToNode},
    portal::{
        ClientInfo, Event, HandoffInfo, HandoffRequest, Health, NodeInfo, SessionInfo,
        SessionRequest, SessionTicket, StreamInfo,
    },
    session::Order,
};
use gibbon_handoff::{
    Cause, FromEdge, InfoSender, Move, Plan, Report, Source, Term, ToClient,
    coordinator::{self, Action, Executor},
};
use gibbon_media::{
    Description, HandoffId, MediaTime, NodeId, Placement, Priority, Role, SessionId, StreamName,
};
use gibbon_placement::{Candidate, NoEdge, Request, Unfit, rank_edges, select_edge};

use crate::{
    adoption::moves_left,
    handoffs::{Effect, Handoffs},
    registry::{LinkId, NodeRefusal, Registry, position},
    sessions::{MAX_SESSIONS, Session, Sessions},
};

/// How long a grant holds.
pub const GRANT_FOR: Duration = Duration::from_secs(12 * 3600);
/// Standbys named in a grant.
pub const MAX_STANDBYS: usize = 4;
/// How often what has fallen silent is looked for.
const SWEEP_EVERY: Duration = Duration::from_millis(REPORT_EVERY_MS / 2);
/// Length of a group where the stream's catalog is not known (yet).
const USUAL_GROUP: Duration = Duration::from_secs(1);

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
    /// The edge asked for cannot be had.
    #[error("{edge} cannot take it: it {why}")]
    Unfit {
        /// The edge.
        edge: NodeId,
        /// Why not.
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
}

/// The manager.
pub struct Manager {
    term: Term,
    signer: GrantSigner,
    registry: Registry,
    sessions: Sessions,
    handoffs: Handoffs,
    /// As the nodes know it.
    directory: Directory,
    swept: MediaTime,
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
            directory: Directory::default(),
            swept: MediaTime::default(),
        }
    }

    // === nodes ===

    /// A node registers over a new connection.
    pub fn register(
        &mut self,
        now: MediaTime,
        link: LinkId,
        register: FromNode,
    ) -> Result<Vec<Output>, NodeRefusal> {
        let id = match &register {
            FromNode::Register { node, .. } => node.id.clone(),
            _ => return Err(NodeRefusal::NotRegistered),
        };
        let came = self.registry.register(now, link, register)?;
        let registered = ToNode::Registered { term: self.term, report_every_ms: REPORT_EVERY_MS };
        let mut out = vec![Output::ToNode { node: id.clone(), message: registered }];
        if came {
            out.push(Output::Event(Event::Node { id: id.clone(), up: true }));
        }
        if !self.spread_directory(&mut out) {
            let message = ToNode::Directory(self.directory.clone());
            out.push(Output::ToNode { node: id, message });
        }
        Ok(out)
    }

    /// A connection of a node has closed.
    pub fn link_closed(&mut self, node: &NodeId, link: LinkId) {
        self.registry.closed(node, link);
    }

    /// A node that has registered says something. Refused if its role does not allow it.
    pub fn node_says(
        &mut self,
        now: MediaTime,
        node: &NodeId,
        link: LinkId,
        message: FromNode,
    ) -> Result<Vec<Output>, NodeRefusal> {
        if !self.registry.is_current(node, link) {
            return Ok(Vec::new());
        }
        let role = self.registry.address(node).map(|address| address.role);
        match message {
            FromNode::Register { .. } => Err(NodeRefusal::NotRegistered),
            FromNode::Report(report) => self.node_reports(now, node, report),
            FromNode::Edge { .. } | FromNode::Client { .. } if role != Some(Role::Edge) => {
                Err(NodeRefusal::Serves(role.unwrap_or(Role::Origin)))
            }
            FromNode::Edge { session, answer } => Ok(self.edge_answers(now, session, answer)),
            FromNode::Client { session, report } => {
                Ok(self.client_reports(now, session, report.hands))
            }
        }
    }

    fn node_reports(
        &mut self,
        now: MediaTime,
        node: &NodeId,
        report: NodeReport,
    ) -> Result<Vec<Output>, NodeRefusal> {
        let (sessions, streams) = (report.sessions.clone(), report.streams.clone());
        let (older, was_lost) = self.registry.report(now, node, report)?;
        let mut out = Vec::new();
        if was_lost {
            out.push(Output::Event(Event::Node { id: node.clone(), up: true }));
        }
        for session in self.sessions.edge_reports(now, node, &older.sessions, &sessions) {
            out.push(Output::Event(Event::Session { session, up: true }));
        }
        if was_lost || older.streams != streams {
            self.spread_directory(&mut out);
        }
        Ok(out)
    }

    fn edge_answers(
        &mut self,
        now: MediaTime,
        session: SessionId,
        answer: FromEdge,
    ) -> Vec<Output> {
        let effects = self.handoffs.handle(now, session, coordinator::Event::Edge(answer));
        self.outputs(now, effects)
    }

    fn client_reports(
        &mut self,
        now: MediaTime,
        session: SessionId,
        report: Report,
    ) -> Vec<Output> {
        if !self.sessions.client_reports(session, &report) {
            return Vec::new();
        }
        let mut effects =
            self.handoffs.handle(now, session, coordinator::Event::Client(report.clone()));
        effects.extend(self.adopt(now, session, &report));
        self.outputs(now, effects)
    }

    /// Time has passed.
    pub fn handle_time(&mut self, now: MediaTime) -> Vec<Output> {
        let mut effects = self.handoffs.handle_time(now);
        let mut out = Vec::new();
        if now.since(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            for (id, older) in self.registry.sweep(now) {
                self.sessions.edge_reports(now, &id, &older.sessions, &[]);
                effects.extend(self.handoffs.node_lost(now, &id));
                out.push(Output::Event(Event::Node { id, up: false }));
            }
            for session in self.sessions.sweep(now) {
                effects.extend(self.session_gone(now, session, &mut out));
            }
            if !out.is_empty() {
                self.spread_directory(&mut out);
            }
        }
        out.extend(self.outputs(now, effects));
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

    /// Tells every node of the others, if something has changed.
    fn spread_directory(&mut self, out: &mut Vec<Output>) -> bool {
        let directory = self.registry.directory();
        if directory == self.directory {
            return false;
        }
        self.directory = directory;
        let message = ToNode::Directory(self.directory.clone());
        out.extend(
            self.directory
                .nodes
                .iter()
                .map(|node| Output::ToNode { node: node.id.clone(), message: message.clone() }),
        );
        true
    }

    // === sessions ===

    /// A client wants to watch; `session` is the id it gets.
    pub fn create_session(
        &mut self,
        now: MediaTime,
        session: SessionId,
        request: SessionRequest,
    ) -> Result<(SessionTicket, Vec<Output>), Refusal> {
        let stream = request.stream;
        if self.registry.stream(&stream).is_none() {
            return Err(Refusal::NoStream(stream));
        }
        let client = request.location.map(position);
        let wanted = Request { legs: 2, client, exclude: &[] };
        let edge = self.edge_for(request.edge, &wanted)?.0;
        let address = self.registry.address(&edge).ok_or(Refusal::NoNode(edge.clone()))?.clone();
        let standbys = self.standbys(&edge, client);
        self.sessions
            .create(now, session, stream.clone(), edge.clone(), request.location)
            .ok_or(Refusal::TooManySessions)?;
        tracing::info!(%session, %stream, %edge, "a session is created");
        let ticket = SessionTicket {
            session,
            edges: [address.clone(), address],
            placement: Placement::Together,
            standbys: self.addresses(&standbys),
            grant: self.grant(now, session, stream, standbys),
        };
        Ok((ticket, vec![Output::Event(Event::Session { session, up: true })]))
    }

    /// Forgets a session.
    pub fn end_session(
        &mut self,
        now: MediaTime,
        session: SessionId,
    ) -> Result<Vec<Output>, Refusal> {
        if !self.sessions.end(now, session) {
            return Err(Refusal::NoSession(session));
        }
        let mut out = Vec::new();
        let effects = self.session_gone(now, session, &mut out);
        out.extend(self.outputs(now, effects));
        Ok(out)
    }

    /// The edge asked for if it is fit, else the best; and why that one.
    fn edge_for(
        &self,
        asked: Option<NodeId>,
        wanted: &Request<'_>,
    ) -> Result<(NodeId, String), Refusal> {
        let candidates = self.candidates();
        let Some(edge) = asked else {
            let selection = select_edge(&candidates, wanted)?;
            return Ok((selection.edge, selection.why));
        };
        let candidate = candidates.iter().find(|candidate| candidate.id == edge);
        let fit = candidate.ok_or(Refusal::NoNode(edge.clone()))?.check(wanted);
        let refused = |why: Unfit| Refusal::Unfit { edge: edge.clone(), why: why.to_string() };
        fit.map_err(refused)?;
        let why = format!("{edge} was asked for");
        Ok((edge, why))
    }

    fn candidates(&self) -> Vec<Candidate> {
        self.registry.candidates(|edge| {
            self.sessions.legs_placed_on(edge) + self.handoffs.legs_coming_to(edge)
        })
    }

    /// Where a client that is served by `edge` is to turn when that is lost.
    fn standbys(&self, edge: &NodeId, client: Option<gibbon_placement::Position>) -> Vec<NodeId> {
        let exclude = [edge.clone()];
        let wanted = Request { legs: 2, client, exclude: &exclude };
        let mut standbys = rank_edges(&self.candidates(), &wanted);
        standbys.truncate(MAX_STANDBYS);
        standbys
    }

    fn addresses(&self, nodes: &[NodeId]) -> Vec<NodeAddress> {
        nodes.iter().filter_map(|node| self.registry.address(node)).cloned().collect()
    }

    fn grant(
        &self,
        now: MediaTime,
        session: SessionId,
        stream: StreamName,
        standbys: Vec<NodeId>,
    ) -> String {
        self.signer.sign(&Grant {
            session,
            stream,
            standbys,
            placement: Placement::Together,
            priority: Priority::default(),
            expires: now + GRANT_FOR,
        })
    }

    // === hand-offs ===

    /// Somebody wants a session handed off; `handoff` is the id it gets.
    pub fn request_handoff(
        &mut self,
        now: MediaTime,
        handoff: HandoffId,
        session: SessionId,
        request: HandoffRequest,
    ) -> Result<(HandoffInfo, Vec<Output>), Refusal> {
        let known = self.sessions.get(session).ok_or(Refusal::NoSession(session))?;
        if let Some(running) = self.handoffs.of_session(session) {
            return Err(Refusal::UnderWay(running));
        }
        let (moves, selection) = self.choose_moves(known, &request)?;
        let plan = Plan {
            handoff,
            session,
            stream: known.stream.clone(),
            term: self.term,
            first_step: self.handoffs.next_step(),
            cause: Cause::Operator,
            prefetch_info: request.prefetch_info.unwrap_or(InfoSender::Coordinator),
            moves,
        };
        let begun =
            Executor::new(plan).map_err(|invalid| Refusal::NothingToMove(invalid.to_string()))?;
        let (info, effects) = self.start(now, begun, selection);
        Ok((info, self.outputs(now, effects)))
    }

    /// Which legs of `session` move where, and why there.
    fn choose_moves(
        &self,
        session: &Session,
        request: &HandoffRequest,
    ) -> Result<(Vec<Move>, String), Refusal> {
        let legs = session.legs();
        let wanted = |(d, edge): &(Description, NodeId)| {
            request.description.is_none_or(|wanted| wanted == *d)
                && request.from.as_ref().is_none_or(|from| from == edge)
        };
        let here = [Description::One, Description::Zero]
            .into_iter()
            .filter_map(|d| Some((d, legs[d.index()].clone()?)));
        let mut moving: Vec<_> = here.filter(wanted).collect();
        if moving.is_empty() {
            return Err(Refusal::NothingToMove(describe(&legs)));
        }
        if let Some(to) = &request.to {
            moving.retain(|(_, edge)| edge != to);
            if moving.is_empty() {
                return Err(Refusal::AlreadyThere(to.clone()));
            }
        }
        let in_use: Vec<_> = legs.into_iter().flatten().collect();
        let wanted = Request {
            legs: moving.len() as u32,
            client: session.location.map(position),
            exclude: if request.to.is_some() { &[] } else { &in_use },
        };
        let (to, why) = self.edge_for(request.to.clone(), &wanted)?;
        let a_move = |(description, from): (Description, NodeId)| {
            let usual = if self.registry.is_up(&from) { Source::FirstEdge } else { Source::Origin };
            let fetch = request.fetch[description.index()].unwrap_or(usual);
            Move { description, from, to: to.clone(), fetch }
        };
        Ok((moving.into_iter().map(a_move).collect(), why))
    }

    /// Carries out what an executor has begun.
    fn start(
        &mut self,
        now: MediaTime,
        begun: (Executor, Vec<Action>),
        selection: String,
    ) -> (HandoffInfo, Vec<Effect>) {
        let plan = begun.0.plan();
        if let Some(session) = self.sessions.get_mut(plan.session) {
            session.handed_off = true;
        }
        let group = self.registry.stream(&plan.stream).map_or(USUAL_GROUP, |(_, catalog)| {
            let [zero, one] = Description::BOTH.map(|d| catalog.grid(d).duration());
            zero.max(one)
        });
        self.handoffs.start(now, begun, selection, group)
    }

    /// Takes up what an earlier start of the coordinator left behind, unless the session has been handed
    /// off since.
    fn adopt(&mut self, now: MediaTime, id: SessionId, report: &Report) -> Vec<Effect> {
        let Some(order) = report.order.as_ref().map(ToClient::order) else { return Vec::new() };
        let Some(session) = self.sessions.get(id) else { return Vec::new() };
        if order.term >= self.term || session.handed_off {
            return Vec::new();
        }
        let moves = moves_left(report);
        if !moves.first().is_some_and(|first| self.registry.is_up(&first.to)) {
            // Nothing is left, or the edge has not come back yet and the client will report again.
            return Vec::new();
        }
        let plan = Plan {
            handoff: order.handoff,
            session: id,
            stream: session.stream.clone(),
            term: self.term,
            first_step: self.handoffs.next_step(),
            // Orders do not carry the cause; somebody had asked for it in the end.
            cause: Cause::Operator,
            prefetch_info: InfoSender::Coordinator,
            moves,
        };
        match Executor::adopt(self.term, plan) {
            Ok(begun) => {
                let why = "taken up after a restart of the coordinator".to_owned();
                self.start(now, begun, why).1
            }
            Err(invalid) => {
                tracing::warn!(session = %id, %invalid, "what a client reports cannot be taken up");
                Vec::new()
            }
        }
    }

    fn outputs(&self, now: MediaTime, effects: Vec<Effect>) -> Vec<Output> {
        effects.into_iter().flat_map(|effect| self.output(now, effect)).collect()
    }

    fn output(&self, now: MediaTime, effect: Effect) -> Vec<Output> {
        match effect {
            Effect::Event(event) => vec![Output::Event(event)],
            Effect::ToEdge { session, edge, via, order } => {
                let Some(edge) = self.known(&edge) else { return Vec::new() };
                let node = via.unwrap_or_else(|| edge.id.clone());
                vec![Output::ToNode { node, message: ToNode::Edge { edge, session, order } }]
            }
            Effect::ToClient { session, order } => self.to_client(now, session, order),
        }
    }

    /// An order to a client, through every edge it may be reached through.
    fn to_client(&self, now: MediaTime, id: SessionId, order: ToClient) -> Vec<Output> {
        let (edge, serves) = match &order {
            ToClient::Attach { to, .. } | ToClient::Return { to, .. } => (to, true),
            ToClient::Finish { edge, .. } => (edge, false),
        };
        let (Some(session), Some(address)) = (self.sessions.get(id), self.known(edge)) else {
            return Vec::new();
        };
        // Standbys are others where the client is served by another edge; the expiry is put off with it.
        let standbys = match serves {
            true => self.standbys(edge, session.location.map(position)),
            false => Vec::new(),
        };
        let addresses = self.addresses(&standbys);
        let grant = serves.then(|| self.grant(now, id, session.stream.clone(), standbys));
        let order = Order { order, edge: address, grant, standbys: addresses };
        let message = ToNode::Client { session: id, order };
        session
            .reached_through()
            .into_iter()
            .map(|node| Output::ToNode { node, message: message.clone() })
            .collect()
    }

    fn known(&self, edge: &NodeId) -> Option<NodeAddress> {
        let address = self.registry.address(edge).cloned();
        if address.is_none() {
            tracing::warn!(%edge, "the address of an edge is not known (yet)");
        }
        address
    }

    // === the portal's view ===

    /// Whether all is well.
    pub fn health(&self) -> Health {
        Health { term: self.term.0, nodes_up: self.directory.nodes.len() as u32 }
    }

    /// All nodes, those lost of late included.
    pub fn nodes(&self, now: MediaTime) -> Vec<NodeInfo> {
        self.registry.nodes_info(now)
    }

    /// All streams.
    pub fn streams(&self) -> Vec<StreamInfo> {
        self.registry.streams_info(|stream| {
            self.sessions.iter().filter(|(_, session)| session.stream == *stream).count() as u32
        })
    }

    /// All sessions.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.sessions.iter().map(|(id, session)| self.session_info(id, session)).collect()
    }

    /// One session.
    pub fn session(&self, id: SessionId) -> Result<SessionInfo, Refusal> {
        let session = self.sessions.get(id).ok_or(Refusal::NoSession(id))?;
        Ok(self.session_info(id, session))
    }

    fn session_info(&self, id: SessionId, session: &Session) -> SessionInfo {
        SessionInfo {
            session: id,
            stream: session.stream.clone(),
            origin: self.registry.stream(&session.stream).map(|(origin, _)| origin.clone()),
            edges: session.legs(),
            placement: Placement::Together,
            priority: Priority::default(),
            client: ClientInfo { connected: session.is_connected(), location: session.location },
            handoff: self.handoffs.of_session(id),
        }
    }

    /// All hand-offs that are remembered, the newest last.
    pub fn handoffs(&self) -> Vec<HandoffInfo> {
        self.handoffs.iter().cloned().collect()
    }

    /// One hand-off.
    pub fn handoff(&self, id: HandoffId) -> Result<HandoffInfo, Refusal> {
        self.handoffs.find(id).cloned().ok_or(Refusal::NoHandoff(id))
    }
}

fn describe(legs: &[Option<NodeId>; 2]) -> String {
    let at = |leg: &Option<NodeId>| match leg {
        Some(edge) => format!("at {edge}"),
        None => "not being served".into(),
    };
    format!("description 0 is {}, description 1 is {}", at(&legs[0]), at(&legs[1]))
}
