//! Edges as foresight sees them: what each carries, will carry, and until when it is there.

use std::{collections::BTreeMap, time::Duration};

use gibbon_media::{MediaTime, NodeId, Role, StreamName};
use gibbon_placement::{
    Candidate, Position,
    foresight::{Domain, Index, K, NodeIndex, NodeOutlook},
    predict::{Errors, Forecast, Load},
};

use super::{
    Picture,
    distance::Falls,
    rates::{Rates, ahead, flat},
};
use crate::{
    registry::{Expected, FORGET_AFTER, MAX_NODES},
    telemetry,
};

/// Beyond this share of what it has, an edge's viewers may miss something: upkeep relieves it there, too.
pub const LIMIT: f64 = crate::upkeep::HOT;
/// Edges known at once. Those that are gone give way to new ones.
const MAX_KNOWN: usize = 2 * MAX_NODES;
/// What a node says of its processors counts for so long.
const HEALTH_HOLDS: Duration = Duration::from_secs(10);
/// Of a node's losses, each counts half as much after this time.
const LOSSES_HALVE: Duration = Duration::from_secs(300);
/// Until its load has been noted so often, it is taken to stay as it is.
pub const YOUNG: u32 = 20;
/// Losses that are counted.
const MOST_LOSSES: f64 = 20.0;

/// Edges, by index and by name.
pub struct Nodes {
    /// How often their loads are noted: a season of less than 64 times that is not seen.
    pub noted_every: Duration,
    /// As sweeps take them.
    pub outlooks: Vec<NodeOutlook>,
    kept: Vec<Kept>,
    by_name: BTreeMap<NodeId, NodeIndex>,
    domains: BTreeMap<String, Domain>,
    /// How slack falls with distance, from wherever.
    falls: Falls,
    /// What streams take.
    rates: Rates,
}

/// What an edge carries, and what it has, of all that may be scarce. It has 0 of what it does not limit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Carries {
    legs: f64,
    has_legs: f64,
    kbps: f64,
    has_kbps: f64,
    /// Of its processors, as a share of all.
    busy: f64,
    /// What a leg takes anywhere in the mean, in kbit/s.
    leg_kbps: f64,
}

/// What is kept of one edge from pass to pass.
struct Kept {
    /// Legs that it would have if nothing had ever been moved for load.
    crowd: Load,
    /// What they would take of its processors, with whatever else it does.
    work: Load,
    /// What it carries now, as it reports it.
    carries: Carries,
    /// Legs that would be here if nothing had been moved for load, less those that are here because of it.
    moved: f64,
    /// Losses of late, as of `lost`.
    losses: f64,
    lost: MediaTime,
    /// How slack falls with distance from here.
    falls: Falls,
    /// When a hand-off for load, from or to here, was completed last: reports of before do not show it.
    shifted: MediaTime,
    /// How often its load has been noted.
    noted: u32,
    /// When it was last known to the registry.
    seen: MediaTime,
    /// Whether nothing that is decided ahead concerns it: it is being emptied, or lost.
    apart: bool,
}

impl Nodes {
    /// None is known yet.
    pub fn noted_every(noted_every: Duration) -> Self {
        Self {
            noted_every,
            outlooks: Vec::new(),
            kept: Vec::new(),
            by_name: BTreeMap::new(),
            domains: BTreeMap::new(),
            falls: Falls::default(),
            rates: Rates::noted_every(noted_every),
        }
    }

    /// The edge of this name.
    pub fn find(&self, id: &NodeId) -> Option<NodeIndex> {
        self.by_name.get(id).copied()
    }

    /// The name of an edge.
    pub fn name(&self, node: NodeIndex) -> NodeId {
        self.outlooks[node.at()].id.clone()
    }

    /// Whether what happens at an edge is for others to decide: it is being emptied, or lost.
    pub fn is_apart(&self, node: NodeIndex) -> bool {
        self.kept.get(node.at()).is_none_or(|kept| kept.apart)
    }

    /// By position.
    pub fn places(&self) -> Index {
        super::places(&self.outlooks)
    }

    /// The number of a failure domain.
    pub fn domain(&mut self, name: &str) -> Domain {
        let next = Domain(u32::try_from(self.domains.len()).unwrap_or(u32::MAX));
        match self.domains.get(name) {
            Some(domain) => *domain,
            None => {
                // Bounded by what nodes there are, as names are of nodes and of what they declare.
                if self.domains.len() >= 4 * MAX_KNOWN {
                    self.domains.clear();
                }
                self.domains.insert(name.to_owned(), next);
                next
            }
        }
    }

    /// Edges as they are now: new ones are taken in, what has changed is taken over.
    pub fn follow(&mut self, picture: &Picture<'_>) {
        let (now, leg_kbps) = (picture.now, picture.registry.leg_kbps());
        let everywhere = self.falls.prior();
        for candidate in candidates(picture) {
            let Some(node) = self.take_in(now, &candidate.id) else { continue };
            let domain = candidate.domain.as_deref().map(|name| self.domain(&format!("of {name}")));
            let health = picture.telemetry.health(now, &candidate.id);
            let busy = health.filter(|(_, age)| *age <= HEALTH_HOLDS);
            let busy = busy.map_or(0.0, |(health, _)| health.cpu / health.cores);
            let carries = Carries::of(&candidate, busy, leg_kbps);
            let (kept, outlook) = (&mut self.kept[node.at()], &mut self.outlooks[node.at()]);
            (kept.carries, kept.seen) = (carries, now);
            kept.apart = candidate.draining || !candidate.up;
            outlook.position = candidate.position;
            outlook.domain = domain;
            outlook.closed = kept.apart;
            outlook.reported = picture.registry.reported(&candidate.id).unwrap_or_default();
            (outlook.limit, outlook.per_leg) = (LIMIT, carries.per_leg());
            outlook.leaves_at = picture.leaves_at(&candidate.id);
            outlook.queue_ms = picture.telemetry.queue_ms(&candidate.id);
            outlook.prior = kept.falls.prior().or(everywhere);
            outlook.failure =
                kept.losses(now) * std::f64::consts::LN_2 / LOSSES_HALVE.as_secs_f64();
        }
        for (kept, outlook) in self.kept.iter_mut().zip(&mut self.outlooks) {
            if kept.seen != now {
                (kept.apart, outlook.closed) = (true, true);
            }
        }
    }

    /// The index of an edge, known or new.
    fn take_in(&mut self, now: MediaTime, id: &NodeId) -> Option<NodeIndex> {
        if let Some(known) = self.find(id) {
            return Some(known);
        }
        let new = Kept {
            crowd: Load::begin_every(self.noted_every, now),
            work: Load::begin_every(self.noted_every, now),
            carries: Carries::default(),
            moved: 0.0,
            losses: 0.0,
            lost: now,
            shifted: MediaTime::default(),
            noted: 0,
            falls: Falls::default(),
            seen: now,
            apart: false,
        };
        let node = match self.outlooks.len() < MAX_KNOWN {
            true => {
                self.outlooks.push(NodeOutlook::new(id.clone()));
                self.kept.push(new);
                self.outlooks.len() - 1
            }
            false => {
                let gone = |kept: &Kept| now.since(kept.seen) > FORGET_AFTER;
                let free = self.kept.iter().position(gone)?;
                self.by_name.remove(&self.outlooks[free].id);
                self.outlooks[free] = NodeOutlook::new(id.clone());
                self.kept[free] = new;
                free
            }
        };
        let node = NodeIndex(node as u32);
        self.by_name.insert(id.clone(), node);
        Some(node)
    }

    /// Notes what each edge would carry if nothing had been moved for load, and what streams take.
    pub fn note(&mut self, picture: &Picture<'_>) {
        self.follow(picture);
        self.rates.note(picture);
        let mut moving: BTreeMap<NodeIndex, f64> = BTreeMap::new();
        for (from, to) in picture.handoffs.relieved() {
            let (Some(from), Some(to)) = (self.find(from), self.find(to)) else { continue };
            *moving.entry(from).or_default() += 1.0;
            *moving.entry(to).or_default() -= 1.0;
        }
        for (n, (kept, outlook)) in self.kept.iter_mut().zip(&self.outlooks).enumerate() {
            if kept.apart || kept.shifted >= outlook.reported {
                continue;
            }
            let moved = kept.moved + moving.get(&NodeIndex(n as u32)).copied().unwrap_or(0.0);
            let Carries { legs, busy, .. } = kept.carries;
            kept.crowd.update(picture.now, (legs + moved).max(0.0));
            let work = busy + moved * share(busy, legs);
            kept.work.update(picture.now, work.max(0.0));
            kept.noted = kept.noted.saturating_add(1);
        }
    }

    /// What each will carry; `present`: as if all stayed as it is, and nothing were announced.
    pub fn expect(&mut self, picture: &Picture<'_>, present: bool) {
        let Self { kept, outlooks, rates, .. } = self;
        for (kept, outlook) in kept.iter_mut().zip(outlooks) {
            if present {
                outlook.expect_flat(kept.carries.load());
                outlook.leaves_at = outlook.leaves_at.filter(|at| *at <= picture.now);
                outlook.failure = 0.0;
            } else if kept.noted < YOUNG {
                outlook.expect_flat(kept.carries.load());
            } else {
                let kbps = kept.carries.kbps_ahead(&outlook.id, picture, rates);
                outlook.expect_all(kept.ahead(kbps, picture.now));
            }
        }
    }

    /// A client at a known place measured its path from an edge.
    pub fn measured(&mut self, node: NodeIndex, client: Position, slack_ms: f64) {
        let Some(there) = self.outlooks[node.at()].position else { return };
        let km = client.distance(there).as_f64();
        self.kept[node.at()].falls.note(km, slack_ms);
        self.falls.note(km, slack_ms);
    }

    /// An edge is lost.
    pub fn lost(&mut self, now: MediaTime, id: &NodeId) {
        let Some(node) = self.find(id) else { return };
        let kept = &mut self.kept[node.at()];
        (kept.losses, kept.lost) = ((kept.losses(now) + 1.0).min(MOST_LOSSES), now);
    }

    /// Before moved legs are counted anew.
    pub fn forget_moved(&mut self) {
        self.kept.iter_mut().for_each(|kept| kept.moved = 0.0);
    }

    /// A leg has moved from one edge to another for load, now.
    pub fn moves(&mut self, now: MediaTime, from: NodeIndex, to: NodeIndex) {
        self.is_moved(from, to);
        for node in [from, to] {
            self.kept[node.at()].shifted = now;
        }
    }

    /// A leg that belongs to `home` is at `edge`, because of load.
    pub fn is_moved(&mut self, home: NodeIndex, edge: NodeIndex) {
        if home != edge {
            self.kept[home.at()].moved += 1.0;
            self.kept[edge.at()].moved -= 1.0;
        }
    }

    /// How far off predictions of load were: of legs or of processors, whichever were more.
    pub fn errors(&self) -> Errors {
        let of = |kept: &Kept| {
            let (legs, per_leg) = (kept.crowd.errors(), kept.carries.per_leg());
            let (predicted, naive) = (legs.predicted * per_leg, legs.naive * per_leg);
            let (legs, work) = (Errors { predicted, naive, ..legs }, kept.work.errors());
            if legs.predicted > work.predicted { legs } else { work }
        };
        telemetry::mean_errors(self.kept.iter().map(of))
    }
}

impl Kept {
    fn losses(&self, now: MediaTime) -> f64 {
        let halves = now.since(self.lost).as_secs_f64() / LOSSES_HALVE.as_secs_f64();
        self.losses * (-halves).exp2()
    }

    /// Its load at each step, of what will be scarcest then: legs that are here, that come and go, and what they take.
    fn ahead(&self, kbps: [Forecast; K], now: MediaTime) -> [Forecast; K] {
        let carries = self.carries;
        let legs = ahead(&self.crowd, carries.legs, now);
        let busy = ahead(&self.work, carries.busy, now);
        std::array::from_fn(|k| {
            let more_kbps = (legs[k].load - carries.legs) * carries.leg_kbps;
            let off_kbps = kbps[k].deviation.hypot(legs[k].deviation * carries.leg_kbps);
            let all = [
                part(legs[k], carries.has_legs),
                part(
                    Forecast { load: kbps[k].load + more_kbps, deviation: off_kbps, ..kbps[k] },
                    carries.has_kbps,
                ),
                busy[k],
            ];
            all.into_iter().fold(busy[k], |a, b| if b.load > a.load { b } else { a })
        })
    }
}

impl Carries {
    fn of(candidate: &Candidate, busy: f64, leg_kbps: u64) -> Self {
        Self {
            legs: f64::from(candidate.all_legs()),
            has_legs: candidate.capacity.into(),
            kbps: candidate.kbps as f64,
            has_kbps: candidate.capacity_kbps.unwrap_or(0) as f64,
            busy,
            leg_kbps: leg_kbps as f64,
        }
    }

    /// As a share of what it has, of what is scarcest.
    fn load(&self) -> f64 {
        share(self.legs, self.has_legs).max(share(self.kbps, self.has_kbps)).max(self.busy)
    }

    /// What one leg adds to that.
    fn per_leg(&self) -> f64 {
        let by_rate = share(self.leg_kbps, self.has_kbps).max(share(self.busy, self.legs));
        share(1.0, self.has_legs).max(by_rate)
    }

    /// What the legs that it has will take, in kbit/s, by what each stream will.
    fn kbps_ahead(&self, node: &NodeId, picture: &Picture<'_>, rates: &Rates) -> [Forecast; K] {
        // Where bits are not limited, nobody asks.
        if self.has_kbps <= 0.0 {
            return flat(self.kbps);
        }
        let mut watched: BTreeMap<&StreamName, f64> = BTreeMap::new();
        for session in picture.registry.last_report(node).into_iter().flat_map(|r| &r.sessions) {
            *watched.entry(&session.stream).or_default() += session.legs.len() as f64;
        }
        let mut all = flat(0.0);
        let mut known = 0.0;
        for (stream, legs) in watched {
            let Some(leg) = rates.leg(stream, picture.now) else { continue };
            known += legs;
            for (all, leg) in all.iter_mut().zip(leg) {
                all.load += legs * leg.load;
                all.deviation = all.deviation.hypot(legs * leg.deviation);
                all.period = all.period.or(leg.period);
            }
        }
        if known == 0.0 {
            return flat(self.kbps);
        }
        all.iter_mut().for_each(|all| all.load += (self.legs - known).max(0.0) * self.leg_kbps);
        all
    }
}

/// As a share of what there is; 0 of what is not limited.
fn share(used: f64, has: f64) -> f64 {
    if has > 0.0 { used / has } else { 0.0 }
}

/// The same of a forecast.
fn part(used: Forecast, has: f64) -> Forecast {
    let (load, deviation) = (share(used.load.max(0.0), has), share(used.deviation, has));
    Forecast { load, deviation, ..used }
}

/// Edges, with legs that are promised to them and not attached yet; those on their way are told as shifts.
fn candidates(picture: &Picture<'_>) -> Vec<Candidate> {
    let expected = |edge: &NodeId| Expected {
        legs: picture.sessions.tally(edge).placed,
        seconds: 0,
        draining: picture.drains.of(edge).is_some(),
    };
    let mut candidates = picture.registry.candidates(expected);
    candidates.retain(|candidate| candidate.role == Role::Edge);
    candidates
}
