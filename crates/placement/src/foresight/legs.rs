//! What it costs a session to have its legs on one pair of edges or another.

use std::{collections::BTreeSet, time::Duration};

use gibbon_media::{MediaTime, Placement};

use crate::distortion::{Misses, Path, Shared};

use super::{
    NodeIndex,
    decide::{Alternative, Cause},
    feed::{Feed, StreamOutlook},
    horizon::{Costs, K, SECONDS, STEPS},
    index::Index,
    outlook::{Domain, NodeOutlook},
    path::{PathPrior, TREND_LASTS},
    policy::{Policy, halved},
    session::Session,
};

/// Round-trip times that slack loses: one way, and what it takes to ask for a lost packet and get it.
const WAYS: f64 = 1.5;
/// Of a path of unknown length, in ms.
const UNKNOWN_RTT_MS: f64 = 20.0;
const UNKNOWN_DEVIATION_MS: f64 = 30.0;
/// Round-trip times beyond this cost no more: slack says the rest.
const MOST_LATENCY_MS: f64 = 500.0;
/// What part of a lack of slack on its only known path is likely to be due to the client, and not to that path.
const LIKELY_ITS_OWN: f64 = 0.5;
/// How far ahead of a moving client nearest edges are looked for: the steps at 0 and 20 s.
const LOOKED_NEAR_AT: [usize; 2] = [0, 5];
/// So much of what comes from a new edge may miss without the hand-off being rolled back: 3 of 64 frames.
const PROBATION: f64 = 3.0 / 64.0;
/// The step by which a hand-off is over: 5 s.
const ARRIVES: usize = 2;

/// What decisions are made from.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Thresholds.
    pub policy: &'a Policy,
    /// Now.
    pub now: MediaTime,
    /// All nodes.
    pub nodes: &'a [NodeOutlook],
    /// All streams.
    pub streams: &'a [StreamOutlook],
    /// Nodes by position.
    pub index: &'a Index,
    /// The least loaded of all, the least first: for where nothing is within reach, or nobody knows where that is.
    pub least_loaded: &'a [NodeIndex],
}

/// How full an edge may be that is gone to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Below the target.
    Target,
    /// Below [`Policy::fill`] of its limit, where none is below the target.
    Fill,
    /// Any, where there is no other.
    Any,
}

/// Whether overload and leaving count: they concern all sessions of a node, and are met by moving some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Only what is a session's own.
    Own,
    /// All.
    All,
}

/// What a session is to expect of one node at each step.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub node: NodeIndex,
    paths: [Path; K],
    /// Probability that the node does not serve: overloaded, gone, failed.
    absent: [f64; K],
    /// Round-trip time and load.
    minor: [f64; K],
    /// Probability that its whole domain fails, and that what feeds it does.
    domain: f64,
    feed: [f64; K],
}

impl Way {
    /// Whether a hand-off there is likely to pass its probation.
    fn arrives(&self) -> bool {
        self.paths[..=ARRIVES].iter().all(|path| path.late() <= PROBATION)
    }
}

impl<'a> View<'a> {
    /// The alternatives of a session: pairs of the best candidates.
    pub fn alternatives(&self, session: &Session, count: Count, room: Room) -> Vec<Alternative> {
        self.pairs(session, count, room, |_| true)
    }

    /// The same of one that is to relieve its node, but not where its hand-off would be rolled back: it would still be
    /// there, where another could have left.
    pub(super) fn relieving(&self, session: &Session, room: Room) -> Vec<Alternative> {
        self.pairs(session, Count::All, room, Way::arrives)
    }

    fn pairs(
        &self,
        session: &Session,
        count: Count,
        room: Room,
        suits: impl Fn(&Way) -> bool,
    ) -> Vec<Alternative> {
        let common = self.common_ms(session);
        let mut ways: Vec<(f64, Way)> = self
            .candidates(session, room)
            .into_iter()
            .map(|node| self.way(session, node, common, count))
            .filter(suits)
            .map(|way| (self.pair(session, [&way, &way]).area(), way))
            .collect();
        ways.sort_by(|(a, x), (b, y)| a.total_cmp(b).then(x.node.cmp(&y.node)));
        if session.placement == Placement::Diverse {
            // Two of one domain are no pair: of each, the best is enough.
            let mut domains = BTreeSet::new();
            ways.retain(|(_, way)| {
                self.domain(way.node).is_none_or(|domain| domains.insert(domain))
            });
        }
        ways.truncate(self.policy.paired);
        let stays =
            session.edges.into_iter().filter(|edge| ways.iter().all(|(_, w)| w.node != *edge));
        let stays: Vec<_> =
            stays.map(|edge| (0.0, self.way(session, edge, common, count))).collect();
        ways.extend(stays);
        let mut alternatives = Vec::with_capacity(ways.len() * ways.len());
        for (_, a) in &ways {
            for (_, b) in &ways {
                let to = [a.node, b.node];
                if to != session.edges && self.suits(session, to) {
                    let costs = self.pair(session, [a, b]);
                    alternatives.push(Alternative { to, costs, lead: self.lead(session, to) });
                }
            }
        }
        alternatives
    }

    /// What staying costs.
    pub fn staying(&self, session: &Session, count: Count) -> Costs {
        self.stays(session, count, Self::pair)
    }

    /// What viewers see of it: what decides only between equals is not in it.
    pub(super) fn suffers(&self, session: &Session, count: Count) -> f64 {
        self.stays(session, count, Self::seen).most()
    }

    fn stays(
        &self,
        session: &Session,
        count: Count,
        costs: impl Fn(&Self, &Session, [&Way; 2]) -> Costs,
    ) -> Costs {
        let common = self.common_ms(session);
        let [a, b] = session.edges;
        let first = self.way(session, a, common, count);
        if a == b {
            return costs(self, session, [&first, &first]);
        }
        costs(self, session, [&first, &self.way(session, b, common, count)])
    }

    /// Edges that it might go to: of those within reach of where the client will be, and of those to which it has
    /// measured its path, the nearest and the least loaded that are open; or where it is forced and none is, any that can
    /// be gone to.
    fn candidates(&self, session: &Session, room: Room) -> Vec<NodeIndex> {
        let legs = 2.0 * self.streams[session.stream.at()].weight;
        let forced = room == Room::Any;
        let reach = self.policy.reach * if room == Room::Target { 1 } else { 2 };
        let open = |node: &NodeIndex| {
            let node = &self.nodes[node.at()];
            match room {
                Room::Fill => node.has_room(legs, self.policy, self.now),
                _ => node.open(legs, self.policy, self.now),
            }
        };
        let mut found: Vec<NodeIndex> = Vec::with_capacity(4 * self.policy.reach);
        let moves = session.whereabouts().moves();
        for k in if moves { &LOOKED_NEAR_AT[..] } else { &LOOKED_NEAR_AT[..1] } {
            let there = session.whereabouts().at(*k, self.now);
            let within = there.map(|there| self.index.nearest(there.position, reach));
            let mut within = within.unwrap_or_default();
            // Where all around are known to be late, one farther away may not be.
            let late = |node: &NodeIndex| self.is_late(session, *node, *k);
            within.sort_by_cached_key(late);
            found.extend(self.nearest_and_idlest(within, &open, late));
        }
        found.extend(session.paths().iter().map(|(node, _)| *node));
        found.retain(|node| node.at() < self.nodes.len());
        let welcome = |node: &NodeIndex| open(node) && !session.shunned.contains(node);
        if !found.iter().any(|node| welcome(node) && !session.is_at(*node)) {
            found.extend(self.least_loaded);
        }
        found.retain(|node| !session.is_at(*node));
        found.sort_unstable();
        found.dedup();
        if !forced || found.iter().any(welcome) {
            found.retain(welcome);
        } else if found.iter().any(&open) {
            found.retain(open);
        } else {
            found.retain(|node| self.nodes[node.at()].admits(self.now));
        }
        found
    }

    /// Whether paths to a node are too long at a step, by their length and what is known of others to it.
    fn is_late(&self, session: &Session, node: NodeIndex, k: usize) -> bool {
        let (slack_ms, deviation_ms, _) = self.expected_ms(session, node, k);
        slack_ms < deviation_ms
    }

    /// Of nodes in order of their distance, the late last, the first that are open, and those of the open with the least
    /// load ahead, late only where no others are: one that was fled from is empty. Where none is open, the first.
    fn nearest_and_idlest(
        &self,
        mut within: Vec<NodeIndex>,
        open: &impl Fn(&NodeIndex) -> bool,
        late: impl Fn(&NodeIndex) -> bool,
    ) -> Vec<NodeIndex> {
        if within.iter().any(open) {
            within.retain(open);
        }
        let Policy { near, least_loaded, .. } = *self.policy;
        let load = |node: &NodeIndex| {
            let outlook = &self.nodes[node.at()];
            outlook.highest().map_or(f64::INFINITY, |load| load / outlook.limit)
        };
        if let Some(farther) = within.get_mut(near..) {
            let from = farther.partition_point(|node| !late(node));
            farther[..from].sort_by(|a, b| load(a).total_cmp(&load(b)).then(a.cmp(b)));
        }
        within.truncate(near + least_loaded);
        within
    }

    /// Whether a pair is what the session was placed for.
    fn suits(&self, session: &Session, [a, b]: [NodeIndex; 2]) -> bool {
        let apart = a != b && (self.domain(a).is_none() || self.domain(a) != self.domain(b));
        apart || session.placement == Placement::Together
    }

    fn domain(&self, node: NodeIndex) -> Option<Domain> {
        self.nodes[node.at()].domain
    }

    /// How long a hand-off to these edges takes.
    fn lead(&self, session: &Session, to: [NodeIndex; 2]) -> Duration {
        let stream = &self.streams[session.stream.at()];
        let cold = to.iter().any(|node| !session.is_at(*node) && !stream.feed(*node).holds);
        self.policy.lead + if cold { self.policy.cold } else { Duration::ZERO }
    }

    /// By how much the client's paths are better than their lengths say, whichever node they come from: of several,
    /// what the best has now. Of one, what it had before it changed: of a lack only the part that is likely to be the
    /// client's own, of more no more than there is now.
    fn common_ms(&self, session: &Session) -> f64 {
        let fresh = session.paths().iter().filter(|(node, path)| {
            let weight = halved(self.now.since(path.measured_at()), self.policy.path_half_life);
            weight > 0.5 && node.at() < self.nodes.len()
        });
        let residual = |node: NodeIndex, slack: f64| slack - self.expected_ms(session, node, 0).0;
        let known: Vec<_> = fresh.collect();
        match known[..] {
            [] => 0.0,
            [(node, path)] => match residual(*node, path.baseline_ms()) {
                lack if lack < 0.0 => LIKELY_ITS_OWN * lack,
                more => more.min(residual(*node, path.level_ms()).max(0.0)),
            },
            _ => known
                .iter()
                .map(|(node, path)| residual(*node, path.forecast()[0].0))
                .fold(f64::NEG_INFINITY, f64::max),
        }
    }

    /// Slack by distance, its deviation, and the round-trip time, at a step, in ms; the stream's own lag not counted.
    fn expected_ms(&self, session: &Session, node: NodeIndex, k: usize) -> (f64, f64, f64) {
        let outlook = &self.nodes[node.at()];
        let prior: &PathPrior = outlook.prior.as_ref().unwrap_or(&self.policy.prior);
        let client = session.whereabouts().at(k, self.now);
        let (rtt, deviation) = match client.zip(outlook.position) {
            None => (UNKNOWN_RTT_MS, UNKNOWN_DEVIATION_MS),
            Some((client, there)) => {
                let distance = client.position.distance(there);
                let blur = prior.per_km_ms * client.uncertainty / 1000.0;
                (prior.rtt_ms(distance), prior.deviation_ms(distance).hypot(blur))
            }
        };
        let queue = if outlook.queue_ms.is_finite() { outlook.queue_ms.max(0.0) } else { 0.0 };
        let late = WAYS * rtt + queue;
        (session.playout_ms - late, WAYS * deviation, rtt)
    }

    fn feed(&self, session: &Session, node: NodeIndex) -> &'a Feed {
        self.streams[session.stream.at()].feed(node)
    }

    /// By how much the path from a node will have got worse at each step, in ms below zero, as far as a path from its
    /// failure domain shows it to a client that stands (what is wrong there is wrong for all its nodes), or others see it.
    fn worsens(&self, session: &Session, node: NodeIndex) -> [f64; K] {
        let (domain, told) = (self.domain(node), self.nodes[node.at()].worsens.min(0.0));
        let told = SECONDS.map(|seconds| told * seconds.min(TREND_LASTS));
        let within = |node: NodeIndex| node.at() < self.nodes.len() && self.domain(node) == domain;
        let paths = session.paths().iter().filter(|(node, _)| domain.is_some() && within(*node));
        paths.fold(told, |worst: [f64; K], (_, path)| {
            let weight = halved(self.now.since(path.measured_at()), self.policy.path_half_life);
            let ahead = path.forecast();
            std::array::from_fn(|k| worst[k].min(weight * (ahead[k].0 - ahead[0].0)))
        })
    }

    /// What a session is to expect of a node.
    pub(super) fn way(&self, session: &Session, node: NodeIndex, common: f64, count: Count) -> Way {
        let outlook = &self.nodes[node.at()];
        let feed = self.feed(session, node);
        let moves = session.whereabouts().moves();
        let first = self.expected_ms(session, node, 0);
        let by_length: [_; K] = std::array::from_fn(|k| match moves && k > 0 {
            true => self.expected_ms(session, node, k),
            false => first,
        });
        let measured = session.path(node).map(|path| {
            let age = self.now.since(path.measured_at());
            (halved(age, self.policy.path_half_life), path.forecast())
        });
        let missed = session.path(node).map_or(0.0, |path| path.missed());
        let worsens = if moves { [0.0; K] } else { self.worsens(session, node) };
        let settled = session.path(node).is_some_and(|path| path.settled());
        let path = |k: usize| {
            let (expected, spread, _) = by_length[k];
            let unmeasured = (expected + common + worsens[k], spread);
            let (slack_ms, deviation_ms) = match &measured {
                None => unmeasured,
                Some((weight, ahead)) => {
                    let (slack, deviation) = ahead[k];
                    let by_trend = slack - ahead[0].0 + if settled { 0.0 } else { worsens[k] };
                    let by_way = expected - first.0;
                    // A path that gets worse because its client moves away does so once.
                    let change = match by_trend < 0.0 && by_way < 0.0 {
                        true => by_trend.min(by_way),
                        false => by_trend + by_way,
                    };
                    blend((ahead[0].0 + change, deviation), unmeasured, *weight)
                }
            };
            let slack_ms = slack_ms - feed.lag_ms_in(SECONDS[k]);
            Path { slack_ms, deviation_ms, failure: missed }
        };
        let all = count == Count::All;
        let absent = |k: usize| {
            let gone = all && outlook.gone(k, self.now) || !outlook.up;
            let overloaded = if all { outlook.overload(k) } else { 0.0 };
            if gone { 1.0 } else { either(overloaded, outlook.failing()) }
        };
        let minor = |k: usize| {
            let load = outlook.load[k].load.clamp(0.0, 1.0);
            let load = if load.is_nan() { 0.0 } else { load };
            let latency = by_length[k].2.min(MOST_LATENCY_MS);
            self.policy.latency * latency + self.policy.load * load * load
        };
        let ended = |k: usize| feed.ends_at.is_some_and(|at| at <= self.now + STEPS[k]);
        Way {
            node,
            paths: std::array::from_fn(path),
            absent: std::array::from_fn(absent),
            minor: std::array::from_fn(minor),
            domain: outlook.domain.map_or(0.0, |_| share(outlook.domain_failure)),
            feed: std::array::from_fn(|k| if ended(k) { 1.0 } else { share(feed.failure) }),
        }
    }

    /// What a pair of ways costs a session.
    pub(super) fn pair(&self, session: &Session, [a, b]: [&Way; 2]) -> Costs {
        let second = if a.node == b.node { 0.0 } else { self.policy.second };
        let seen = self.seen(session, [a, b]);
        Costs(std::array::from_fn(|k| seen.0[k] + (a.minor[k] + b.minor[k]) / 2.0 + second))
    }

    /// What viewers see of it.
    fn seen(&self, session: &Session, [a, b]: [&Way; 2]) -> Costs {
        Costs(std::array::from_fn(|k| {
            let misses = self.misses(session, [a, b], k);
            let table = &self.streams[session.stream.at()].distortions;
            let worst = (table.neither - table.central).max(f64::MIN_POSITIVE);
            let distortion = (misses.expected(table) - table.central) / worst;
            let any = 1.0 - misses.0[0][0];
            let promise = self.policy.promise;
            promise * any + (1.0 - promise) * distortion
        }))
    }

    fn misses(&self, session: &Session, [a, b]: [&Way; 2], k: usize) -> Misses {
        if a.node == b.node {
            let failure = either(either(a.absent[k], a.domain), a.feed[k]);
            return Misses::of([a.paths[k]; 2], Shared { correlation: 1.0, failure });
        }
        let domain = |way: &Way| self.domain(way.node);
        let via = |way: &Way| self.feed(session, way.node).via;
        let one_domain = domain(a).is_some() && domain(a) == domain(b);
        let one_feed = via(a).is_some() && via(a) == via(b);
        let alone = |way: &Way| {
            let domain = if one_domain { 0.0 } else { way.domain };
            let feed = if one_feed { 0.0 } else { way.feed[k] };
            let path = way.paths[k];
            let failure = either(either(path.failure, way.absent[k]), either(domain, feed));
            Path { failure, ..path }
        };
        let together = either(
            if one_domain { a.domain.max(b.domain) } else { 0.0 },
            if one_feed { a.feed[k].max(b.feed[k]) } else { 0.0 },
        );
        // What the stream lags takes slack from both alike.
        let lag = |way: &Way| self.feed(session, way.node).lag_ms_in(SECONDS[k]);
        let alike = (lag(a).min(lag(b)) / session.playout_ms.max(1.0)).clamp(0.0, 1.0);
        let own = self.policy.access_correlation;
        let correlation = own + (1.0 - own) * alike;
        Misses::of([alone(a), alone(b)], Shared { correlation, failure: together })
    }

    /// What staying suffers from most.
    pub fn cause(&self, session: &Session, count: Count) -> Cause {
        let common = self.common_ms(session);
        let reasons = session.edges.into_iter().flat_map(|node| {
            let way = self.way(session, node, common, count);
            (0..K).flat_map(move |k| self.reasons(session, &way, k, count))
        });
        reasons.max_by(|a, b| a.0.total_cmp(&b.0)).map_or(Cause::Network, |(_, cause)| cause)
    }

    /// How likely each cause makes a node useless to a session at a step; what is certain comes before all.
    fn reasons(&self, session: &Session, way: &Way, k: usize, count: Count) -> [(f64, Cause); 6] {
        let outlook = &self.nodes[way.node.at()];
        let all = |yes: bool, weight: f64| if yes && count == Count::All { weight } else { 0.0 };
        let expected = |k| self.expected_ms(session, way.node, k).0;
        let trend = session.path(way.node).map_or(0.0, |path| path.trend() * SECONDS[k]);
        let leaves = session.whereabouts().moves() && expected(k) - expected(0) < trend;
        [
            (if outlook.up { 0.0 } else { 3.0 }, Cause::Failure),
            (all(outlook.gone(k, self.now), 2.0), Cause::Maintenance),
            (all(true, outlook.overload(k)), Cause::Load),
            (way.paths[k].late(), if leaves { Cause::Location } else { Cause::Network }),
            (either(way.paths[k].failure, way.feed[k]), Cause::Network),
            (either(outlook.failing(), way.domain), Cause::Failure),
        ]
    }
}

/// Of two independent reasons, either.
fn either(a: f64, b: f64) -> f64 {
    1.0 - (1.0 - a) * (1.0 - b)
}

/// A probability per second, as that within one group.
fn share(p: f64) -> f64 {
    if p.is_finite() { p.clamp(0.0, 1.0) } else { 0.0 }
}

/// Of what was measured, and what is expected by length, the measured counts by its weight. That they differ makes
/// neither less certain: what was measured is true, until it is old.
fn blend((a, da): (f64, f64), (b, db): (f64, f64), weight: f64) -> (f64, f64) {
    let rest = 1.0 - weight;
    (weight * a + rest * b, (weight * da * da + rest * db * db).sqrt())
}
