//! A manager among scripted nodes and clients, under a clock that the test moves.

pub mod live;
pub mod workers;

use std::time::Duration;

use gibbon_control::{
    Grant, GrantSigner, GrantVerifier,
    node::{FromNode, NodeAddress, NodeReport, SessionReport, ToNode},
    portal::{Event, HandoffInfo, HandoffOutcome, HandoffRequest, SessionRequest, SessionTicket},
    session::{ClientReport, Complaint},
};
use gibbon_coordinator::{
    catalogue::Catalogue,
    foresee::Settings,
    manager::{Manager, Output, Refusal},
    registry::{LinkId, NodeRefusal},
};
use gibbon_handoff::{Cause, FromClient, FromEdge, Reason, Report, Term, ToClient, ToEdge};
use gibbon_media::{
    Catalog, Codec, Description, FrameRate, GroupId, HandoffId, MediaTime, NodeId, Placement,
    Priority, Role, Scheme, SessionId, TextTrack, VideoTrack,
};
use gibbon_net::Certificates;

/// Moves as (description, from, to), the edges without what all their names begin with.
pub type Moves = Vec<(u8, String, String)>;

pub const SECOND: Duration = Duration::from_secs(1);

pub struct Network {
    pub manager: Manager,
    pub now: MediaTime,
    pub verifier: GrantVerifier,
    /// What was said to nodes and not looked at yet.
    pub said: Vec<(NodeId, ToNode)>,
    pub events: Vec<Event>,
    /// Edges from which too little comes to whoever attaches there: it is rolled back.
    pub starving: Vec<NodeId>,
    ids: u64,
}

pub fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

pub fn address(name: &str) -> NodeAddress {
    let role = match name.split('-').next() {
        Some("edge") => Role::Edge,
        Some("worker") => Role::Worker,
        _ => Role::Origin,
    };
    let port = name.bytes().map(u16::from).sum();
    NodeAddress { id: id(name), role, address: ([127, 0, 0, 1], port).into() }
}

pub fn registration(name: &str) -> FromNode {
    FromNode::Register {
        node: address(name),
        location: None,
        failure_domain: None,
        capacity_legs: 10,
        capacity_kbps: None,
        worker: name.starts_with("worker").then(workers::offer),
    }
}

pub fn catalog(stream: &str) -> Catalog {
    Catalog {
        stream: stream.parse().unwrap(),
        scheme: Scheme::Alternating,
        created: MediaTime(0),
        grids: Catalog::grids_of(Scheme::Alternating, SECOND),
        video: Some(VideoTrack {
            codec: Codec::H264,
            rate: FrameRate::new(24, 1).unwrap(),
            width: 640,
            height: 360,
        }),
        audio: None,
        text: Some(TextTrack { language: "en".into() }),
        host: String::new(),
    }
}

pub fn serves(session: SessionId, legs: &[Description]) -> SessionReport {
    SessionReport {
        session,
        stream: "live/bbb".parse().unwrap(),
        placement: Placement::Together,
        priority: Priority::default(),
        legs: legs.to_vec(),
    }
}

pub fn legs(zero: &str, one: &str) -> [Option<NodeId>; 2] {
    [zero, one].map(|edge| (!edge.is_empty()).then(|| id(edge)))
}

impl Network {
    /// An empty network under a new start of the coordinator.
    pub fn empty(term: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let signer = GrantSigner::load_or_make(&Certificates::in_folder(folder.path())).unwrap();
        Self {
            verifier: signer.verifier(),
            manager: Manager::new(Term(term), signer).offering(Catalogue::built_in().unwrap()),
            now: MediaTime(1_000_000_000),
            said: Vec::new(),
            events: Vec::new(),
            starving: Vec::new(),
            ids: 0,
        }
    }

    /// With the origin `studio` of `live/bbb`, and edges a, b and c.
    pub fn started(term: u64) -> Self {
        let mut network = Self::empty(term);
        network.register("studio");
        network.publish();
        ["edge-a", "edge-b", "edge-c"].iter().for_each(|edge| network.register(edge));
        network
    }

    /// The same, under a coordinator that decides as these settings say.
    pub fn foreseeing(self, settings: Settings) -> Self {
        Self { manager: self.manager.foreseeing(settings), ..self }
    }

    pub fn publish(&mut self) {
        let report = NodeReport { streams: vec![catalog("live/bbb")], ..NodeReport::default() };
        self.report("studio", report).unwrap();
    }

    pub fn register(&mut self, name: &str) {
        let out = self.manager.register(self.now, link(name), registration(name)).unwrap();
        self.take(out);
    }

    pub fn register_with_capacity(&mut self, name: &str, legs: u32) {
        let FromNode::Register { node, location, failure_domain, capacity_kbps, .. } =
            registration(name)
        else {
            unreachable!()
        };
        let register = FromNode::Register {
            node,
            location,
            failure_domain,
            capacity_legs: legs,
            capacity_kbps,
            worker: None,
        };
        let out = self.manager.register(self.now, link(name), register).unwrap();
        self.take(out);
    }

    /// The grants that a session was given anew since this was last asked, none of them twice.
    pub fn renewed(&mut self, session: SessionId) -> Vec<Grant> {
        let mut grants = Vec::new();
        for (_, message) in std::mem::take(&mut self.said) {
            if let ToNode::Renew { session: of, grant, .. } = message
                && of == session
            {
                grants.push(self.verifier.verify(&grant, self.now).unwrap());
            }
        }
        grants.dedup();
        grants
    }

    /// Time passes in one leap, which is nobody's silence.
    pub fn leap(&mut self, time: Duration) {
        self.now = self.now + time;
        let out = self.manager.handle_time(self.now);
        self.take(out);
    }

    pub fn says(&mut self, name: &str, message: FromNode) -> Result<(), NodeRefusal> {
        let out = self.manager.node_says(self.now, &id(name), link(name), message)?;
        self.take(out);
        Ok(())
    }

    pub fn report(&mut self, name: &str, report: NodeReport) -> Result<(), NodeRefusal> {
        self.says(name, FromNode::Report(report))
    }

    pub fn edge_serves(&mut self, name: &str, sessions: Vec<SessionReport>) {
        self.report(name, NodeReport { sessions, ..NodeReport::default() }).unwrap();
    }

    pub fn edge_answers(&mut self, name: &str, session: SessionId, answer: FromEdge) {
        self.says(name, FromNode::Edge { session, answer }).unwrap();
    }

    /// The client says where its legs are and how its newest order stands.
    pub fn client_reports(
        &mut self,
        session: SessionId,
        revision: u64,
        legs: [Option<NodeId>; 2],
        order: Option<ToClient>,
        answer: Option<FromClient>,
    ) {
        let hands = Report { revision, legs, order, answer };
        let report = ClientReport::new(hands);
        self.says("edge-a", FromNode::Client { session, report }).unwrap();
    }

    /// Time passes while every node of `reporting` goes on to report the same.
    pub fn pass(&mut self, time: Duration, reporting: &[&str]) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.now + Duration::from_millis(100);
            for name in reporting {
                let held = self.held(name);
                self.report(name, held).unwrap();
            }
            let out = self.manager.handle_time(self.now);
            self.take(out);
        }
    }

    /// What a node last reported, as the manager's view of sessions and streams tells.
    pub fn held(&self, name: &str) -> NodeReport {
        let nodes = self.manager.nodes(self.now);
        let draining = nodes.iter().find(|node| node.id == id(name)).and_then(|node| node.draining);
        let mut report = NodeReport { draining, ..NodeReport::default() };
        if name == "studio" {
            report.streams.push(catalog("live/bbb"));
        }
        for session in self.manager.sessions() {
            let at = |d: &Description| session.edges[d.index()] == Some(id(name));
            let legs: Vec<_> = Description::BOTH.into_iter().filter(at).collect();
            if !legs.is_empty() {
                report.sessions.push(serves(session.session, &legs));
            }
        }
        report
    }

    pub fn create(&mut self, request: SessionRequest) -> Result<SessionTicket, Refusal> {
        self.ids += 1;
        let session = SessionId(self.ids);
        let (ticket, out) = self.manager.create_session(self.now, session, request)?;
        self.take(out);
        Ok(ticket)
    }

    /// A session whose legs are at `zero` and `one`, as its edges and its client say.
    pub fn watching_at(&mut self, request: SessionRequest, zero: &str, one: &str) -> SessionId {
        let session = self.create(request).unwrap().session;
        self.at(session, zero, one, 1);
        session
    }

    /// The legs of a session are at `zero` and `one` from now on, as its edges and its client say.
    pub fn at(&mut self, session: SessionId, zero: &str, one: &str, revision: u64) {
        self.client_says(session, revision, legs(zero, one), &[]);
        for edge in ["edge-a", "edge-b", "edge-c"] {
            let held = self.held(edge);
            self.report(edge, held).unwrap();
        }
    }

    /// The client says where its legs are, and complains of some, for half a second.
    pub fn client_says(
        &mut self,
        session: SessionId,
        revision: u64,
        legs: [Option<NodeId>; 2],
        bad: &[Description],
    ) {
        let complaint = |d: &Description| Complaint {
            description: *d,
            edge: legs[d.index()].clone().unwrap(),
            reason: Reason::Late,
            for_ms: 500,
        };
        let complaints = bad.iter().map(complaint).collect();
        let hands = Report { revision, legs, order: None, answer: None };
        let report = ClientReport { complaints, ..ClientReport::new(hands) };
        self.says("edge-a", FromNode::Client { session, report }).unwrap();
    }

    /// Edges and clients do at once as they are told, until nobody is told anything any more.
    pub fn carry_out(&mut self) {
        loop {
            let said = std::mem::take(&mut self.said);
            let mut newest = None;
            for (_, message) in said {
                match message {
                    ToNode::Edge {
                        edge,
                        session,
                        order: ToEdge::Prefetch { order, description, .. },
                    } => {
                        let ready = FromEdge::Ready { order, description, group: GroupId(7) };
                        self.edge_answers(edge.id.as_str(), session, ready);
                        let settled = FromEdge::Settled { order, description };
                        self.edge_answers(edge.id.as_str(), session, settled);
                    }
                    // The same order comes through several edges.
                    ToNode::Client { session, order } if newest != Some(order.order.order()) => {
                        newest = Some(order.order.order());
                        self.client_obeys(session, order.order);
                    }
                    _ => {}
                }
            }
            if self.said.is_empty() {
                return;
            }
        }
    }

    fn client_obeys(&mut self, session: SessionId, order: ToClient) {
        let mut legs = self.manager.session(session).unwrap().edges;
        let answer = match order.clone() {
            ToClient::Attach { order, description, to, .. } if self.starving.contains(&to) => {
                FromClient::RolledBack { order, description, reason: Reason::Starved }
            }
            ToClient::Attach { order, description, to, .. }
            | ToClient::Return { order, description, to } => {
                legs[description.index()] = Some(to);
                FromClient::Held { order, description }
            }
            ToClient::Finish { order, edge } => FromClient::Finished { order, edge },
        };
        self.ids += 1;
        let revision = 1_000_000 + self.ids;
        self.client_reports(session, revision, legs, Some(order), Some(answer));
        for edge in ["edge-a", "edge-b", "edge-c"] {
            let held = self.held(edge);
            self.report(edge, held).unwrap();
        }
    }

    /// The hand-offs under way.
    pub fn running(&self) -> Vec<(SessionId, Cause, Moves)> {
        let of = |info: HandoffInfo| {
            let name = |edge: &NodeId| edge.as_str().trim_start_matches("edge-").to_owned();
            let moves = info.moves.iter();
            let moves =
                moves.map(|leg| (u8::from(leg.description), name(&leg.from), name(&leg.to)));
            (info.session, info.cause, moves.collect())
        };
        let all = self.manager.handoffs().into_iter();
        all.filter(|info| info.outcome == HandoffOutcome::Running).map(of).collect()
    }

    /// A session that both descriptions are delivered to by edge a.
    pub fn watching(&mut self) -> SessionId {
        let session = self.create(watch(Some("edge-a"))).unwrap().session;
        self.edge_serves("edge-a", vec![serves(session, &Description::BOTH)]);
        self.client_reports(session, 1, legs("edge-a", "edge-a"), None, None);
        self.said.clear();
        self.events.clear();
        session
    }

    pub fn hand_off(
        &mut self,
        session: SessionId,
        request: HandoffRequest,
    ) -> Result<HandoffInfo, Refusal> {
        self.ids += 1;
        let handoff = HandoffId(self.ids);
        let (info, out) = self.manager.request_handoff(self.now, handoff, session, request)?;
        self.take(out);
        Ok(info)
    }

    /// The edge orders said since, with the node each was said to.
    pub fn edge_orders(&mut self) -> Vec<(NodeId, NodeAddress, ToEdge)> {
        let said = std::mem::take(&mut self.said);
        let order = |(node, message)| match message {
            ToNode::Edge { edge, order, .. } => Some((node, edge, order)),
            _ => None,
        };
        said.into_iter().filter_map(order).collect()
    }

    /// The client orders said since, each with the edges it was said through.
    pub fn client_orders(&mut self) -> Vec<(Vec<String>, ToClient)> {
        let mut orders: Vec<(Vec<String>, ToClient)> = Vec::new();
        for (node, message) in std::mem::take(&mut self.said) {
            let ToNode::Client { order, .. } = message else { continue };
            match orders.last_mut().filter(|(_, last)| *last == order.order) {
                Some((through, _)) => through.push(node.to_string()),
                None => orders.push((vec![node.to_string()], order.order)),
            }
        }
        orders
    }

    /// Edge b carries out what it was told of one description, and the client takes it from there.
    pub fn move_description(
        &mut self,
        session: SessionId,
        description: Description,
        revision: u64,
        after: [Option<NodeId>; 2],
    ) {
        let prefetch = self.edge_orders().remove(0).2.order();
        let group = GroupId(7);
        self.edge_answers(
            "edge-b",
            session,
            FromEdge::Ready { order: prefetch, description, group },
        );
        let (_, attach) = self.client_orders().remove(0);
        let order = attach.order();
        let attached =
            FromClient::Attached { order, description, edge: id("edge-b"), start: group };
        let (newest, at) = (Some(attach), after);
        self.client_reports(session, revision, at.clone(), newest.clone(), Some(attached));
        self.edge_answers("edge-b", session, FromEdge::Settled { order: prefetch, description });
        let held = FromClient::Held { order, description };
        self.client_reports(session, revision + 1, at, newest, Some(held));
    }

    pub fn take(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                // Every report is answered so.
                Output::ToNode { message: ToNode::Registered { .. }, .. } => {}
                Output::ToNode { node, message } => self.said.push((node, message)),
                Output::Event(event) => self.events.push(event),
            }
        }
    }
}

pub fn link(name: &str) -> LinkId {
    LinkId(name.bytes().map(u64::from).sum())
}

pub fn watch(edge: Option<&str>) -> SessionRequest {
    SessionRequest {
        stream: "live/bbb".parse().unwrap(),
        edge: edge.map(id),
        location: None,
        placement: None,
        priority: Priority::default(),
    }
}

/// The same, on two edges.
pub fn watch_diverse() -> SessionRequest {
    SessionRequest { placement: Some(Placement::Diverse), ..watch(None) }
}

/// The same, on one edge that the coordinator selects.
pub fn watch_together() -> SessionRequest {
    SessionRequest { placement: Some(Placement::Together), ..watch(None) }
}

pub fn to(edge: &str) -> HandoffRequest {
    HandoffRequest { to: Some(id(edge)), ..HandoffRequest::default() }
}
