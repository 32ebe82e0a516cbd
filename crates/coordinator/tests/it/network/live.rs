//! Edges and clients that tell how they are, second by second, and do at once as they are told.

use std::{collections::BTreeMap, time::Duration};

use gibbon_control::{
    node::{FromNode, Location, NodeReport, SourceBytes, UpstreamReport},
    portal::{HandoffInfo, MaintenanceRequest, SessionRequest},
    session::ClientReport,
    telemetry::{
        ClientTelemetry, LinkReport, MotionReport, NodeHealth, PathReport, PublishReport, Slack,
    },
};
use gibbon_coordinator::foresee::{Mode, Settings};
use gibbon_handoff::Report;
use gibbon_media::{Description, NodeId, SessionId};

use super::{Network, SECOND, address, catalog, id, link, serves, watch};

/// Legs that an edge can carry.
pub const LEGS: u32 = 100;
/// Sessions from here on are those of others: the coordinator knows them from edges alone.
const OTHERS: u64 = 1_000_000;

/// An edge, as it tells of itself.
#[derive(Clone)]
pub struct Edge {
    /// The share of what it can carry that is others than the sessions of the test.
    pub others: f64,
    /// From whom it has the stream, and what the link there loses.
    pub source: &'static str,
    pub loss: f64,
    pub health: NodeHealth,
    pub up: bool,
}

/// A client, as it tells of itself.
#[derive(Clone, Default)]
pub struct Client {
    /// Slack of paths, in ms.
    pub slack: BTreeMap<NodeId, f64>,
    /// Edges that it is connected to without a leg.
    pub idle: Vec<NodeId>,
    pub playout_delay_ms: Option<u64>,
    pub motion: Option<MotionReport>,
}

pub struct Live {
    pub network: Network,
    pub edges: BTreeMap<String, Edge>,
    pub clients: BTreeMap<SessionId, Client>,
    /// How late each origin publishes, in ms.
    pub origins: BTreeMap<&'static str, u64>,
    /// Whether orders are carried out; else they wait.
    pub obeys: bool,
    ticks: u64,
}

/// So far eastward, in km, of a place near the equator, where a degree is 111 km.
pub fn place(km: f64) -> Location {
    Location { latitude: 0.0, longitude: km / 111.195 }
}

impl Live {
    /// Edges a, b and c in a row, 50 km apart, each of which can carry 100 legs; a coordinator that looks ahead each second.
    pub fn new(mode: Mode) -> Self {
        Self::looking_every(SECOND, mode)
    }

    /// The same; it looks ahead so often.
    pub fn looking_every(period: Duration, mode: Mode) -> Self {
        let settings = Settings { period, dwell: 5 * SECOND, ..Settings::of(mode) };
        let mut live = Self {
            network: Network::empty(1).foreseeing(settings),
            edges: BTreeMap::new(),
            clients: BTreeMap::new(),
            origins: BTreeMap::from([("studio", 60)]),
            obeys: true,
            ticks: 0,
        };
        live.network.register("studio");
        for (n, name) in ["edge-a", "edge-b", "edge-c"].into_iter().enumerate() {
            live.add(name, 50.0 * n as f64);
        }
        live.run(5, |_, _| {});
        live
    }

    pub fn add(&mut self, name: &str, km: f64) {
        self.add_at(name, place(km));
    }

    pub fn add_at(&mut self, name: &str, location: Location) {
        let register = FromNode::Register {
            node: address(name),
            location: Some(location),
            failure_domain: None,
            capacity_legs: LEGS,
            capacity_kbps: None,
            worker: None,
        };
        let network = &mut self.network;
        let out = network.manager.register(network.now, link(name), register).unwrap();
        network.take(out);
        let health = NodeHealth {
            cpu: 0.2,
            cores: 2.0,
            memory_kib: 40_000,
            egress_kbps: 0,
            queue_ms: 0.5,
            maintenance_in_ms: None,
        };
        let edge = Edge { others: 0.3, source: "studio", loss: 0.0, health, up: true };
        self.edges.insert(name.to_owned(), edge);
    }

    pub fn edge(&mut self, name: &str) -> &mut Edge {
        self.edges.get_mut(name).unwrap()
    }

    /// A session at these edges, whose client is next to the first, and is served well.
    pub fn session(&mut self, zero: &str, one: &str, request: SessionRequest) -> SessionId {
        let request = SessionRequest { location: request.location.or(Some(place(0.0))), ..request };
        let session = self.network.watching_at(request, zero, one);
        let slack = [(id(zero), 800.0), (id(one), 800.0)].into();
        self.clients.insert(session, Client { slack, ..Client::default() });
        session
    }

    /// The same, both legs at edge a.
    pub fn at_a(&mut self) -> SessionId {
        self.session("edge-a", "edge-a", watch(Some("edge-a")))
    }

    pub fn client(&mut self, session: SessionId) -> &mut Client {
        self.clients.get_mut(&session).unwrap()
    }

    /// Seconds pass; `each` says before each of them what has changed by then.
    pub fn run(&mut self, seconds: u64, mut each: impl FnMut(&mut Self, u64)) {
        for second in 0..seconds {
            each(self, second);
            for tick in 0..10 {
                self.tick(tick);
            }
        }
    }

    /// 100 ms pass.
    fn tick(&mut self, tick: u64) {
        self.ticks += 1;
        self.network.now = self.network.now + Duration::from_millis(100);
        if tick == 0 || tick == 5 {
            self.origins_report(tick == 0);
            let names: Vec<_> = self.edges.keys().cloned().collect();
            names.iter().for_each(|name| self.edge_reports(name, tick == 0));
        }
        if tick == 2 {
            let clients: Vec<_> = self.clients.keys().copied().collect();
            clients.into_iter().for_each(|session| self.client_tells(session));
        }
        let out = self.network.manager.handle_time(self.network.now);
        self.network.take(out);
        if self.obeys {
            self.network.carry_out();
        }
    }

    fn origins_report(&mut self, whole: bool) {
        for (name, lag_ms) in self.origins.clone() {
            let health = self.edges.values().next().map(|edge| edge.health).filter(|_| whole);
            let publishing =
                PublishReport { stream: "live/bbb".parse().unwrap(), lag_ms, load: 0.4 };
            let streams = vec![catalog("live/bbb")];
            let publishing = vec![publishing];
            let report = NodeReport { streams, health, publishing, ..NodeReport::default() };
            self.network.report(name, report).unwrap();
        }
    }

    fn edge_reports(&mut self, name: &str, whole: bool) {
        let edge = self.edges[name].clone();
        if !edge.up {
            return;
        }
        let mut held = self.network.held(name);
        held.sessions.retain(|session| session.session.0 < OTHERS);
        let others = (edge.others * f64::from(LEGS) / 2.0).round() as u64;
        let first = OTHERS + 1000 * u64::from(name.as_bytes()[5]);
        let other = |n| serves(SessionId(first + n), &Description::BOTH);
        held.sessions.extend((0..others).map(other));
        let upstream = |description| UpstreamReport {
            stream: "live/bbb".parse().unwrap(),
            description,
            source: Some(id(edge.source)),
            received: vec![SourceBytes {
                source: id(edge.source),
                bytes: 100_000 * self.ticks / 10,
            }],
            subscribers: 1,
        };
        let path = LinkReport {
            node: id(edge.source),
            rtt_us: 4000,
            loss: edge.loss,
            bandwidth_kbps: 100_000,
            load_kbps: 1000,
        };
        let report = NodeReport {
            kbps: 500 * held.sessions.len() as u64,
            upstreams: Description::BOTH.map(upstream).to_vec(),
            health: whole.then_some(edge.health),
            links: if whole { vec![path] } else { Vec::new() },
            ..held
        };
        self.network.report(name, report).unwrap();
    }

    fn client_tells(&mut self, session: SessionId) {
        let Ok(known) = self.network.manager.session(session) else { return };
        let client = &self.clients[&session];
        // As devices measure: never twice the same.
        let noise = (self.ticks * 7919 % 11) as f64 - 5.0;
        let path = |(edge, slack): (&NodeId, &f64)| PathReport {
            edge: edge.clone(),
            rtt_ms: 20.0,
            loss: 0.0,
            kbps: 500,
            slack: Some(Slack { mean_ms: slack + noise, deviation_ms: 15.0, missed: 0.0 }),
        };
        let idle = client.idle.iter().map(|edge| PathReport { slack: None, ..path((edge, &0.0)) });
        let paths = client.slack.iter().map(path).chain(idle).collect();
        let telemetry = ClientTelemetry {
            paths,
            playout_delay_ms: client.playout_delay_ms,
            motion: client.motion.clone(),
            ..ClientTelemetry::default()
        };
        self.tells(session, known.edges, telemetry);
    }

    /// A client tells something of itself, beside where its legs are.
    pub fn tells(
        &mut self,
        session: SessionId,
        legs: [Option<NodeId>; 2],
        telemetry: ClientTelemetry,
    ) {
        let revision = 1_000_000 + self.network.ids;
        let hands = Report { revision, legs, order: None, answer: None };
        let report = ClientReport::new(hands).with_telemetry(telemetry);
        let through = self.edges.iter().find(|(_, edge)| edge.up).map(|(name, _)| name.clone());
        self.network.says(&through.unwrap(), FromNode::Client { session, report }).unwrap();
    }

    pub fn maintain(&mut self, node: &str, ahead: Duration) {
        let request = MaintenanceRequest { in_ms: ahead.as_millis() as u64 };
        let (_, out) =
            self.network.manager.maintain(self.network.now, &id(node), &request).unwrap();
        self.network.take(out);
    }

    /// The hand-offs of a session, the oldest first.
    pub fn handoffs(&self, session: SessionId) -> Vec<HandoffInfo> {
        let all = self.network.manager.handoffs().into_iter();
        all.filter(|info| info.session == session).collect()
    }

    /// Where a session is.
    pub fn edges_of(&self, session: SessionId) -> [String; 2] {
        let edges = self.network.manager.session(session).unwrap().edges;
        edges.map(|edge| edge.map_or_else(String::new, |edge| edge.to_string()))
    }
}
