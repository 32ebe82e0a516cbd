//! Why a hand-off was decided, for people: each input with its age and weight, the prediction, and the alternatives.
//! Made only for what is decided.

use std::time::Duration;

use gibbon_media::{MediaTime, NodeId};
use serde::{Deserialize, Serialize};

use super::{
    NodeIndex,
    decide::Cause,
    horizon::{K, STEPS},
    legs::{Count, Room, View},
    policy::halved,
    session::Session,
    sweep::{Decision, Sweep},
    whereabouts::Whereabouts,
};

/// Alternatives that are named.
const MAX_ALTERNATIVES: usize = 8;

/// Why a hand-off was decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// What staying would have suffered from most.
    pub cause: Cause,
    /// What is foreseen, in words.
    pub prediction: String,
    /// When staying first costs more, in ms from the decision.
    pub need_in_ms: u64,
    /// How long the hand-off takes, in ms.
    pub lead_ms: u64,
    /// What it gains over the horizon, in seconds without a picture.
    pub gain_s: f64,
    /// What it was decided from.
    pub inputs: Vec<Input>,
    /// What was weighed: the chosen one first, then staying, then the others, the best first.
    pub alternatives: Vec<Considered>,
}

/// One thing that was known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// What, as in "load of edge-a".
    pub name: String,
    /// Its value …
    pub value: f64,
    /// … in this unit.
    pub unit: String,
    /// Who said so.
    pub source: String,
    /// How long ago, in ms.
    pub age_ms: u64,
    /// How much it counts for its age, 0 to 1.
    pub weight: f64,
}

/// One place that was weighed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Considered {
    /// The edges, by description.
    pub edges: [NodeId; 2],
    /// What it costs over the horizon, in seconds without a picture; none: it was not eligible.
    pub cost: Option<f64>,
    /// Why.
    pub reason: String,
}

impl Sweep<'_> {
    /// Why a session is to be handed off. To be asked before anything that it was decided from changes.
    pub fn why<Key>(&self, session: &Session, decision: &Decision<Key>) -> Why {
        let view = self.view();
        Why {
            cause: decision.cause,
            prediction: view.prediction(session, decision.cause, decision.need),
            need_in_ms: millis(decision.need.since(view.now)),
            lead_ms: millis(decision.lead),
            gain_s: decision.gain,
            inputs: view.inputs(session, decision.to),
            alternatives: view.considered(session, decision),
        }
    }
}

impl View<'_> {
    fn name(&self, node: NodeIndex) -> &NodeId {
        &self.nodes[node.at()].id
    }

    /// What is foreseen for the edge of the session that it concerns most.
    fn prediction(&self, session: &Session, cause: Cause, need: MediaTime) -> String {
        let when = need.since(self.now).as_secs_f64();
        let costs =
            |node: &NodeIndex| self.staying(&session.moved_to([*node; 2]), Count::All).area();
        let [a, b] = session.edges;
        let node = if costs(&a) >= costs(&b) { a } else { b };
        let (name, outlook) = (self.name(node), &self.nodes[node.at()]);
        let what = match cause {
            Cause::Load => {
                let peak = outlook.load.iter().max_by(|a, b| a.load.total_cmp(&b.load));
                let (peak, limit) = (peak.map_or(0.0, |peak| peak.load), outlook.limit);
                let by = match outlook.load.iter().find_map(|forecast| forecast.period) {
                    Some(period) => format!("as every {:.0} s", period.as_secs_f64()),
                    None => "by its trend".to_owned(),
                };
                format!(
                    "the load of {name} will be {:.0} % at its peak, {by}; its limit is {:.0} %",
                    peak * 100.0,
                    limit * 100.0
                )
            }
            Cause::Maintenance => format!("{name} leaves, as announced"),
            Cause::Failure if !outlook.up => format!("{name} is lost"),
            Cause::Failure => format!("{name}, or its failure domain, is likely to fail"),
            Cause::Location => format!("the client moves away from {name}"),
            Cause::Network => match self.worsens_for(session, node) {
                trend if trend < 0.0 => {
                    format!(
                        "the slack of the path from {name} shrinks by {:.0} ms each second",
                        -trend
                    )
                }
                _ => format!("frames come late from {name}"),
            },
        };
        format!("{what}; from {when:.1} s on staying costs more than moving")
    }

    fn inputs(&self, session: &Session, to: [NodeIndex; 2]) -> Vec<Input> {
        let mut nodes: Vec<_> = session.edges.into_iter().chain(to).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let mut inputs = Vec::new();
        for node in nodes {
            inputs.extend(self.inputs_of_node(node));
            inputs.extend(self.inputs_of_feed(session, node));
        }
        inputs.extend(self.inputs_of_client(session));
        let own = |name: &str, value: f64, unit: &str| Input {
            name: name.into(),
            value,
            unit: unit.into(),
            source: "the coordinator".into(),
            age_ms: 0,
            weight: 1.0,
        };
        inputs.push(own("priority of the session", u8::from(session.priority).into(), ""));
        inputs.push(own("recent moves", session.pace().recent(self.policy, self.now), ""));
        inputs
    }

    fn inputs_of_node(&self, node: NodeIndex) -> Vec<Input> {
        let outlook = &self.nodes[node.at()];
        let age = outlook.age(self.now);
        let said = |name: &str, value: f64, unit: &str| Input {
            name: format!("{name} {}", outlook.id),
            value,
            unit: unit.into(),
            source: format!("{}'s report", outlook.id),
            age_ms: millis(age),
            weight: self.policy.weight(age),
        };
        let peak = outlook.load.iter().map(|forecast| forecast.load).fold(0.0, f64::max);
        let mut inputs = vec![
            said("load of", outlook.load[0].load * 100.0, "%"),
            said("predicted peak of", peak * 100.0, "%"),
            said("limit of", outlook.limit * 100.0, "%"),
        ];
        if let Some(at) = outlook.leaves_at {
            inputs.push(said("time left of", at.since(self.now).as_secs_f64(), "s"));
        }
        for (name, value, unit) in [
            ("queue of", outlook.queue_ms, "ms"),
            ("failures of", outlook.failure * 3600.0, "/h"),
            ("failures of the domain of", outlook.domain_failure * 3600.0, "/h"),
        ] {
            inputs.extend((value > 0.0).then(|| said(name, value, unit)));
        }
        inputs.extend((outlook.worsens < 0.0).then(|| Input {
            source: "most of its clients".into(),
            ..said("trend of the paths from", outlook.worsens, "ms/s")
        }));
        inputs
    }

    /// By how much the path from a node gets worse each second, as far as the client has seen it, or most others have.
    fn worsens_for(&self, session: &Session, node: NodeIndex) -> f64 {
        match session.path(node).filter(|path| path.settled()) {
            Some(path) => path.trend(),
            None => self.nodes[node.at()].worsens,
        }
    }

    fn inputs_of_feed(&self, session: &Session, node: NodeIndex) -> Vec<Input> {
        let feed = self.streams[session.stream.at()].feed(node);
        let said = |name: &str, value: f64, unit: &str| Input {
            name: format!("{name} {}", self.name(node)),
            value,
            unit: unit.into(),
            source: "the origin and the links from it".into(),
            age_ms: 0,
            weight: 1.0,
        };
        let ends = feed.ends_at.map(|at| at.since(self.now).as_secs_f64());
        let told = [
            (feed.lag_ms > 0.0).then(|| said("lag of the stream at", feed.lag_ms, "ms")),
            (feed.lag_grows_ms != 0.0).then(|| said("its growth at", feed.lag_grows_ms, "ms/s")),
            (feed.failure > 0.0)
                .then(|| said("failures of what feeds", feed.failure * 3600.0, "/h")),
            ends.map(|seconds| said("time until the stream ends at", seconds, "s")),
            (!feed.holds).then(|| said("copies of the stream at", 0.0, "")),
        ];
        told.into_iter().flatten().collect()
    }

    fn inputs_of_client(&self, session: &Session) -> Vec<Input> {
        let mut inputs = Vec::new();
        for (node, path) in session.paths().iter().filter(|(node, _)| node.at() < self.nodes.len())
        {
            let age = self.now.since(path.measured_at());
            let said = |name: &str, value: f64, unit: &str| Input {
                name: format!("{name} {}", self.name(*node)),
                value,
                unit: unit.into(),
                source: "the client".into(),
                age_ms: millis(age),
                weight: halved(age, self.policy.path_half_life),
            };
            inputs.push(said("slack of the path from", path.level_ms(), "ms"));
            inputs.extend(
                (path.trend() != 0.0).then(|| said("its trend from", path.trend(), "ms/s")),
            );
        }
        if let Whereabouts::Moving(ahead) = session.whereabouts() {
            let age = self.now.since(ahead.said);
            let there = |k| session.whereabouts().at(k, self.now);
            let metres =
                there(0).zip(there(K - 1)).map(|(a, b)| a.position.distance(b.position).metres());
            inputs.push(Input {
                name: format!("way of the client in {} s", STEPS[K - 1].as_secs()),
                value: metres.unwrap_or(0.0),
                unit: "m".into(),
                source: if ahead.own { "the client's own word" } else { "its positions" }.into(),
                age_ms: millis(age),
                weight: 1.0,
            });
        }
        inputs
    }

    /// The chosen pair, staying, and what else might have been.
    fn considered<Key>(&self, session: &Session, decision: &Decision<Key>) -> Vec<Considered> {
        let names = |edges: [NodeIndex; 2]| edges.map(|node| self.name(node).clone());
        let place = |edges, reason: String| {
            let cost = Some(self.staying(&session.moved_to(edges), Count::All).area());
            Considered { edges: names(edges), cost, reason }
        };
        let mut considered = vec![
            place(decision.to, format!("chosen: it gains {:.1} s", decision.gain)),
            place(decision.from, format!("staying: {}", self.trouble(session, decision.from))),
        ];
        let mut others = self.alternatives(
            session,
            Count::All,
            if decision.forced { Room::Any } else { Room::Fill },
        );
        others.retain(|other| other.to != decision.to && other.to[0] == other.to[1]);
        others.sort_by(|a, b| a.costs.area().total_cmp(&b.costs.area()));
        let chosen = considered[0].cost.unwrap_or(0.0);
        considered.extend(others.into_iter().map(|other| {
            let cost = other.costs.area();
            let more = cost - chosen;
            Considered {
                edges: names(other.to),
                cost: Some(cost),
                reason: match more {
                    more if more > self.policy.margin => self.trouble(session, other.to),
                    _ => "as good, but further or busier".to_owned(),
                },
            }
        }));
        considered.extend(self.refused(session));
        considered.truncate(MAX_ALTERNATIVES);
        considered
    }

    /// The near edges that are not eligible, and why not.
    fn refused(&self, session: &Session) -> Vec<Considered> {
        let Some(there) = session.whereabouts().at(0, self.now) else { return Vec::new() };
        let near = self.index.nearest(there.position, self.policy.near);
        let weight = 2.0 * self.streams[session.stream.at()].weight;
        let refused = near.into_iter().filter(|node| {
            !session.is_at(*node) && !self.nodes[node.at()].open(weight, self.policy, self.now)
        });
        let why = |node: NodeIndex| {
            let outlook = &self.nodes[node.at()];
            let reason = match outlook {
                _ if !outlook.up => "it is down",
                _ if outlook.closed => "it is being emptied",
                _ if !outlook.admits(self.now) => "it leaves",
                _ if self.policy.weight(outlook.age(self.now)) == 0.0 => "nothing is known of it",
                _ => "it has no room",
            };
            Considered {
                edges: [self.name(node).clone(), self.name(node).clone()],
                cost: None,
                reason: reason.into(),
            }
        };
        refused.map(why).collect()
    }

    /// What a pair suffers from most, in words.
    fn trouble(&self, session: &Session, edges: [NodeIndex; 2]) -> String {
        let what = match self.cause(&session.moved_to(edges), Count::All) {
            Cause::Load => "it will be overloaded",
            Cause::Maintenance => "it leaves",
            Cause::Failure => "it may fail",
            Cause::Location => "the client moves away from it",
            Cause::Network => "frames will come late or not at all",
        };
        what.to_owned()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
