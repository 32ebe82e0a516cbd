//! What nodes, clients, links and origins tell, as far as it can be true, each with when it came.
//!
//! Whoever tells nonsense is not heard, and counted by what was wrong with it; what it told before goes on to lose
//! weight with age. So a liar or a flapping node harms nobody but itself. Times come by the coordinator's own clock:
//! what is told are spans, and no clock but this one matters. All is bounded: nodes by the registry, clients by the
//! sessions there are, and what each may tell, and how often, by constants.

mod client;
mod node;
mod refused;

use std::{collections::BTreeMap, time::Duration};

use gibbon_control::{
    node::NodeReport,
    telemetry::{ClientTelemetry, NodeHealth},
};
use gibbon_media::{MediaTime, NodeId, SessionId, StreamName};
use gibbon_placement::{
    foresight::{Link, Origin, Session},
    predict::Errors,
};

pub use client::{Heard, Measured, POSITION_HOLDS};
pub use refused::{Reason, Refused, Source};

/// What one node or client may tell in a second; more is passed over.
pub const MOST_A_SECOND: u32 = 4;

/// All that has been told.
#[derive(Debug, Default)]
pub struct Telemetry {
    nodes: BTreeMap<NodeId, node::Said>,
    clients: BTreeMap<SessionId, client::Said>,
    refused: Refused,
}

/// How old what was told last is, over all who tell something.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ages {
    /// Who tells something.
    pub sources: usize,
    /// The mean.
    pub mean: Duration,
    /// The oldest.
    pub oldest: Duration,
}

/// How often somebody has told something of late.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Rate {
    since: MediaTime,
    told: u32,
}

impl Rate {
    /// Whether once more is not too often.
    fn allows(&mut self, now: MediaTime) -> bool {
        if now.since(self.since) >= Duration::from_secs(1) {
            *self = Self { since: now, told: 0 };
        }
        self.told += 1;
        self.told <= MOST_A_SECOND
    }
}

impl Telemetry {
    /// A node that has registered reports. One without `health` tells nothing of all this.
    pub fn node(&mut self, now: MediaTime, node: &NodeId, report: &NodeReport) {
        if report.health.is_some() {
            self.nodes.entry(node.clone()).or_default().hear(now, report, &mut self.refused);
        }
    }

    /// The client of a session that is known tells something. Returns what can be true of it.
    pub fn client(
        &mut self,
        now: MediaTime,
        id: SessionId,
        told: &ClientTelemetry,
    ) -> Option<Heard> {
        if told.is_empty() {
            return None;
        }
        self.clients.entry(id).or_default().hear(now, told, &mut self.refused)
    }

    /// What a session measured of its path was refused where it is kept.
    pub fn refuse(&mut self, source: Source, reason: Reason) {
        self.refused.count(source, reason);
    }

    /// Forgets whoever is not there any more.
    pub fn keep(&mut self, node: impl Fn(&NodeId) -> bool, session: impl Fn(SessionId) -> bool) {
        self.nodes.retain(|id, _| node(id));
        self.clients.retain(|id, _| session(*id));
    }

    /// How a node is by its own measure, and how old that is.
    pub fn health(&self, now: MediaTime, node: &NodeId) -> Option<(&NodeHealth, Duration)> {
        let (health, at) = self.nodes.get(node)?.health()?;
        Some((health, now.since(at)))
    }

    /// When a node says that it goes away.
    pub fn maintenance(&self, node: &NodeId) -> Option<MediaTime> {
        self.nodes.get(node)?.maintenance()
    }

    /// How late frames leave a node, in ms; 0 where that is not known.
    pub fn queue_ms(&self, node: &NodeId) -> f64 {
        self.nodes.get(node).map_or(0.0, node::Said::queue_ms)
    }

    /// The path from one node to another, by whichever of them has told of it.
    pub fn link(&self, now: MediaTime, from: &NodeId, to: &NodeId) -> Option<Link> {
        let told = |of: &NodeId, to: &NodeId| self.nodes.get(of)?.link(now, to);
        told(from, to).or_else(|| told(to, from))
    }

    /// How an origin is doing with a stream; one that tells nothing is doing well.
    pub fn origin(&self, now: MediaTime, origin: &NodeId, stream: &StreamName) -> Origin {
        let said = self.nodes.get(origin);
        said.and_then(|said| said.publishes(now, stream)).unwrap_or_default()
    }

    /// What was refused.
    pub fn refused(&self) -> &Refused {
        &self.refused
    }

    /// How old is what is known, by who told it.
    pub fn ages(&self, now: MediaTime) -> [(Source, Ages); 4] {
        let nodes = self.nodes.values();
        let clients = self.clients.values().filter_map(client::Said::heard);
        [
            (Source::Node, ages(now, nodes.clone().filter_map(|said| Some(said.health()?.1)))),
            (Source::Client, ages(now, clients)),
            (Source::Link, ages(now, nodes.clone().flat_map(node::Said::links_at))),
            (Source::Origin, ages(now, nodes.flat_map(node::Said::published_at))),
        ]
    }

    /// How far off the coordinator's own estimates of clients' motion were, in metres: the mean over all comparisons.
    pub fn motion_errors(&self) -> Errors {
        mean_errors(self.clients.values().filter_map(client::Said::errors))
    }
}

/// How far off predictions of the paths of sessions were, in ms.
pub fn path_errors<'a>(sessions: impl Iterator<Item = &'a Session>) -> Errors {
    mean_errors(sessions.flat_map(|session| session.paths().iter().map(|(_, path)| path.errors())))
}

/// Of several predictors, by how much each was compared.
pub fn mean_errors(all: impl Iterator<Item = Errors>) -> Errors {
    let sum = all.fold(Errors::default(), |sum, errors| {
        let weight = errors.compared as f64;
        Errors {
            predicted: sum.predicted + weight * errors.predicted,
            naive: sum.naive + weight * errors.naive,
            compared: sum.compared + errors.compared,
        }
    });
    let compared = (sum.compared as f64).max(1.0);
    Errors { predicted: sum.predicted / compared, naive: sum.naive / compared, ..sum }
}

fn ages(now: MediaTime, times: impl Iterator<Item = MediaTime>) -> Ages {
    let (mut sum, mut ages) = (Duration::ZERO, Ages::default());
    for age in times.map(|at| now.since(at)) {
        sum = sum.saturating_add(age);
        ages.sources += 1;
        ages.oldest = ages.oldest.max(age);
    }
    ages.mean = sum / u32::try_from(ages.sources).unwrap_or(u32::MAX).max(1);
    ages
}
