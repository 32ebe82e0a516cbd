//! A small network: edges in a row, 50 km from one to the next, and sessions on them.

use std::time::Duration;

use gibbon_media::MediaTime;
use gibbon_placement::{Position, distortion::Distortions, foresight::*, predict::Forecast};

pub const START: MediaTime = MediaTime(1_000_000_000_000);
/// As measured for alternating groups: 34 dB, 25 dB, nothing.
pub const TABLE: Distortions = Distortions { central: 26.0, side: [200.0, 200.0], neither: 5000.0 };
pub const PLAYOUT_MS: f64 = 900.0;
/// What edges carry here beside the sessions that a test looks at.
pub const IDLE: f64 = 0.3;

pub fn at(seconds: u64) -> MediaTime {
    START + Duration::from_secs(seconds)
}

/// Where edge `n` stands; between them where it is no whole number.
pub fn place(n: f64) -> Position {
    Position::new(50.0, 10.0).moved([50_000.0 * n, 0.0])
}

pub fn edge(n: u32) -> [NodeIndex; 2] {
    [NodeIndex(n); 2]
}

#[derive(Clone)]
pub struct Scene {
    pub policy: Policy,
    pub now: MediaTime,
    pub nodes: Vec<NodeOutlook>,
    pub streams: Vec<StreamOutlook>,
    pub sessions: Vec<Session>,
    pub shifts: Vec<Shift>,
}

impl Scene {
    /// Idle edges that carry 1000 legs each, and one stream, which all of them hold.
    pub fn new(edges: u32) -> Self {
        let node = |n: u32| {
            let mut node = NodeOutlook::new(format!("edge-{n}").parse().unwrap());
            node.position = Some(place(f64::from(n)));
            (node.limit, node.per_leg, node.reported) = (0.9, 0.001, START);
            node.expect_flat(IDLE);
            node
        };
        Self {
            policy: Policy::default(),
            now: START,
            nodes: (0..edges).map(node).collect(),
            streams: vec![StreamOutlook::new(TABLE)],
            sessions: Vec::new(),
            shifts: Vec::new(),
        }
    }

    /// A session whose client stands where its edge does.
    pub fn session(&mut self, edges: [NodeIndex; 2]) -> &mut Session {
        let mut session = Session::new(edges, StreamIndex(0), PLAYOUT_MS);
        session.moves(Whereabouts::Still(place(f64::from(edges[0].0))));
        self.sessions.push(session);
        self.sessions.last_mut().unwrap()
    }

    /// The load of a node goes along a line to `then` in 60 s, and stays there.
    pub fn climbs(&mut self, node: u32, from: f64, then: f64) {
        let load = STEPS.map(|step| {
            let part = (step.as_secs_f64() / 60.0).min(1.0);
            Forecast { load: from + part * (then - from), deviation: 0.02, period: None }
        });
        self.nodes[node as usize].load = load;
    }

    pub fn sweep<T>(&mut self, look: impl FnOnce(&mut Sweep<'_>, &mut [Session]) -> T) -> T {
        let places = self.nodes.iter().enumerate();
        let index =
            Index::new(places.filter_map(|(n, node)| Some((NodeIndex(n as u32), node.position?))));
        let Self { policy, now, nodes, streams, sessions, shifts } = self;
        look(&mut Sweep::begin(policy, *now, nodes, streams, &index, shifts), sessions)
    }

    pub fn pass(&mut self) -> Plan<usize> {
        let Self { policy, now, nodes, sessions, .. } = self;
        witnesses::hear(nodes, sessions.iter(), policy, *now);
        self.sweep(|sweep, sessions| sweep.pass(sessions.iter_mut().enumerate()))
    }

    /// Where the first session goes at the latest within two looks, which is enough for the trigger; none: it stays.
    pub fn goes(&self) -> Option<[NodeIndex; 2]> {
        self.decided().map(|decision| decision.to)
    }

    pub fn decided(&self) -> Option<Decision<usize>> {
        let mut scene = self.clone();
        let first =
            |plan: Plan<usize>| plan.moves.into_iter().find(|decision| decision.session == 0);
        first(scene.pass()).or_else(|| {
            scene.now = scene.now + Duration::from_secs(3);
            first(scene.pass())
        })
    }

    /// The client of the first session measures its path from a node each second for a minute, until now.
    pub fn measures(&mut self, node: u32, slack_ms: impl Fn(f64) -> f64) {
        self.measures_for(0, 60, node, slack_ms);
    }

    /// That of any session, for so many seconds until now.
    pub fn measures_for(
        &mut self,
        session: usize,
        seconds: u32,
        node: u32,
        slack_ms: impl Fn(f64) -> f64,
    ) {
        for second in 60 - seconds..60 {
            let noise = f64::from((second * 7919) % 11) - 5.0;
            let sample = Sample {
                at: self.now.back(Duration::from_secs(59 - u64::from(second))),
                slack_ms: slack_ms(f64::from(second)) + noise,
                deviation_ms: 15.0,
                missed: 0.0,
            };
            self.sessions[session].measured(NodeIndex(node), sample).unwrap();
        }
    }
}
