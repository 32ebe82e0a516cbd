//! What is to be expected of a node over the horizon.

use std::time::Duration;

use gibbon_media::{MediaTime, NodeId};

use crate::{
    Position,
    distortion::normal_below,
    predict::{Forecast, Load},
};

use super::{
    horizon::{Costs, K, SECONDS, STEPS},
    path::PathPrior,
    policy::Policy,
};

/// Nodes of one failure domain may fail together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(pub u32);

/// Loads beyond this are absurd.
const MAX_LOAD: f64 = 100.0;
/// A forecast has its whole deviation from so far ahead on, in s; less before, for the load of now is known …
const UNCERTAIN_AFTER: f64 = 16.0;
/// … to within this.
const LEAST_DEVIATION: f64 = 0.005;
/// A larger deviation says that forecasts are bad, and not that loads are high.
const MOST_DEVIATION: f64 = 0.05;
/// Nothing goes to a node that leaves within this time: about what a session lasts.
const LEAVES_SOON: Duration = Duration::from_secs(900);
/// Of a load of which nothing but its present value is known.
const FLAT_DEVIATION: f64 = 0.05;

/// A node as decisions see it. What is not reported keeps the value of [`NodeOutlook::new`].
#[derive(Debug, Clone, PartialEq)]
pub struct NodeOutlook {
    /// Which.
    pub id: NodeId,
    /// Where it stands, if known.
    pub position: Option<Position>,
    /// Its failure domain; one that declares none is a domain of its own.
    pub domain: Option<Domain>,
    /// Whether it can be reached.
    pub up: bool,
    /// Whether nothing new is to go there, as while it is drained.
    pub closed: bool,
    /// When its last report was made: what has moved since is not in its load.
    pub reported: MediaTime,
    /// Its load at each step of the horizon, 1 being all that it has.
    pub load: [Forecast; K],
    /// The load beyond which what it serves comes late.
    pub limit: f64,
    /// What one leg (one component) adds to its load.
    pub per_leg: f64,
    /// When it will be gone: drained, or in maintenance as announced.
    pub leaves_at: Option<MediaTime>,
    /// Probability that it fails, per second.
    pub failure: f64,
    /// Probability that its whole domain fails, per second; the coordinator tells 0 so far.
    pub domain_failure: f64,
    /// How long what it sends waits in it, in ms.
    pub queue_ms: f64,
    /// Round-trip times around it as learned there, in place of [`Policy::prior`].
    pub prior: Option<PathPrior>,
    /// By how much slack changes each second on the paths to it, in ms, at most 0, as most of its clients see it
    /// ([`hear`](super::witnesses::hear)): for those who have not been there for long enough to see it.
    pub worsens: f64,
    /// What moves that are decided will add to its load.
    shift: f64,
    /// Mean and deviation at each step, as of the last look; none: nothing is known.
    expected: Option<[(f64, f64); K]>,
    /// Probability of being overloaded at each step.
    overload: [f64; K],
    /// The highest mean of the horizon.
    highest: Option<f64>,
}

/// A node that must be relieved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Relief {
    /// From when on it is overloaded, or gone.
    pub need: MediaTime,
    /// Legs that have to leave; infinite where it will be gone.
    pub legs: f64,
    /// Of these, those without which it is below [`Policy::fill`] of its limit.
    pub must: f64,
}

impl NodeOutlook {
    /// A node that is up, idle, and stays.
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            position: None,
            domain: None,
            up: true,
            closed: false,
            reported: MediaTime(0),
            load: [Forecast { load: 0.0, deviation: 0.0, period: None }; K],
            limit: 1.0,
            per_leg: 0.0,
            leaves_at: None,
            failure: 0.0,
            domain_failure: 0.0,
            queue_ms: 0.0,
            prior: None,
            worsens: 0.0,
            shift: 0.0,
            expected: None,
            overload: [0.0; K],
            highest: None,
        }
    }

    /// Its load is `measured`, and nothing is known of how it changes.
    pub fn expect_flat(&mut self, measured: f64) {
        let at =
            |s: f64| Forecast { load: measured, deviation: ramp(s, FLAT_DEVIATION), period: None };
        self.load = SECONDS.map(at);
    }

    /// Its load is foreseen to be this at each step; deviations are those of forecasts from far ahead.
    pub fn expect_all(&mut self, ahead: [Forecast; K]) {
        self.load = std::array::from_fn(|k| {
            let Forecast { deviation, .. } = ahead[k];
            // Nothing has been compared yet where it is infinite.
            let deviation = if deviation.is_finite() { deviation } else { FLAT_DEVIATION };
            Forecast { deviation: ramp(SECONDS[k], deviation), ..ahead[k] }
        });
    }

    /// A decided move adds `legs` (takes them away, below zero).
    pub fn commit(&mut self, legs: f64, policy: &Policy, now: MediaTime) {
        self.shift += legs * finite(self.per_leg);
        self.look(policy, now);
    }

    /// Before a sweep: forgets what was committed.
    pub(super) fn begin(&mut self, policy: &Policy, now: MediaTime) {
        self.shift = 0.0;
        self.look(policy, now);
    }

    /// Computes what is needed often, as of `now`.
    fn look(&mut self, policy: &Policy, now: MediaTime) {
        self.expected = self.expectation(policy.weight(self.age(now)), policy);
        let Some(expected) = self.expected else {
            (self.overload, self.highest) = ([0.0; K], None);
            return;
        };
        self.overload =
            expected.map(|(mean, deviation)| normal_below((mean - self.limit) / deviation));
        self.highest = Some(expected.iter().map(|(mean, _)| *mean).fold(0.0, f64::max));
    }

    /// Mean and deviation of its load at each step; the less weight its report has, the less certain. `None`: nothing is
    /// known.
    fn expectation(&self, weight: f64, policy: &Policy) -> Option<[(f64, f64); K]> {
        let known =
            |Forecast { load, deviation, .. }: &Forecast| load.is_finite() && deviation.is_finite();
        if weight == 0.0 || self.limit.is_nan() || self.limit <= 0.0 || !self.load.iter().all(known)
        {
            return None;
        }
        let stale = policy.stale_deviation * (1.0 - weight);
        Some(self.load.map(|Forecast { load, deviation, .. }| {
            let mean = (load + self.shift).clamp(0.0, MAX_LOAD);
            (mean, deviation.clamp(LEAST_DEVIATION, MOST_DEVIATION).hypot(stale))
        }))
    }

    /// How old its report is.
    pub fn age(&self, now: MediaTime) -> Duration {
        now.since(self.reported)
    }

    /// The highest load that it is expected to have over the horizon, as of the sweep's time; none: nothing is known.
    pub fn highest(&self) -> Option<f64> {
        self.highest
    }

    /// Probability that it is overloaded at a step, as of the sweep's time.
    pub fn overload(&self, k: usize) -> f64 {
        self.overload[k]
    }

    /// Whether it will be gone at a step.
    pub fn gone(&self, k: usize, now: MediaTime) -> bool {
        !self.up || self.leaves_at.is_some_and(|at| at <= now + STEPS[k])
    }

    /// When it will be gone, if that is within the horizon.
    pub fn leaves_within(&self, now: MediaTime) -> Option<MediaTime> {
        let leaves = if self.up { self.leaves_at } else { Some(now) };
        leaves.filter(|at| *at <= now + STEPS[K - 1]).map(|at| at.max(now))
    }

    /// Probability that it fails within a second, its domain not counted.
    pub fn failing(&self) -> f64 {
        finite(self.failure).clamp(0.0, 1.0)
    }

    /// Whether `legs` more may go there: it stays, its report is fresh, and with them it stays below the target.
    pub fn open(&self, legs: f64, policy: &Policy, now: MediaTime) -> bool {
        self.below(policy.target, legs, now)
    }

    /// Whether `legs` more may go there if nothing better is left: with them it stays below [`Policy::fill`] of its limit.
    pub fn has_room(&self, legs: f64, policy: &Policy, now: MediaTime) -> bool {
        self.below(policy.fill, legs, now)
    }

    fn below(&self, share: f64, legs: f64, now: MediaTime) -> bool {
        let most = self.limit * share - legs * finite(self.per_leg);
        self.admits(now) && self.highest.is_some_and(|peak| peak <= most)
    }

    /// Whether it can be gone to at all, if need be.
    pub fn admits(&self, now: MediaTime) -> bool {
        self.up && !self.closed && self.leaves_at.is_none_or(|at| at > now + LEAVES_SOON)
    }

    /// Whether, when and by how much it must be relieved.
    pub fn relief(&self, policy: &Policy, now: MediaTime) -> Option<Relief> {
        if let Some(need) = self.leaves_within(now) {
            return Some(Relief { need, legs: f64::INFINITY, must: f64::INFINITY });
        }
        let loads = cautious(&self.expected?, policy);
        let need = *loads.exceeds(self.limit, now)?.start();
        let excess = loads.most() - self.limit * policy.target;
        let over = loads.most() - self.limit * policy.fill;
        (finite(self.per_leg) > 0.0).then(|| Relief {
            need,
            legs: excess / self.per_leg,
            must: over.max(0.0) / self.per_leg,
        })
    }
}

/// Loads that are not likely to be exceeded.
fn cautious(expected: &[(f64, f64); K], policy: &Policy) -> Costs {
    Costs(expected.map(|(mean, off)| mean + policy.caution * off.min(MOST_DEVIATION)))
}

/// What is `measured` now and changes as `demand` is foreseen to, which has been updated until now: what there would be if
/// nothing had ever been moved. Thus what was moved away is not foreseen to come back, and a peak that was relieved is
/// still seen the next time. (Where newcomers take the room of those who were moved away, demand counts both, and runs
/// away: there, foresee what each stream takes and how many watch it by themselves.)
pub fn changes(demand: &Load, measured: f64, now: MediaTime) -> [Forecast; K] {
    let said = STEPS.map(|step| demand.forecast(now + step));
    said.map(|forecast| Forecast { load: measured + forecast.load - said[0].load, ..forecast })
}

/// A deviation grows with the root of the time ahead.
fn ramp(seconds: f64, deviation: f64) -> f64 {
    deviation * (seconds / UNCERTAIN_AFTER).min(1.0).sqrt()
}

fn finite(x: f64) -> f64 {
    if x.is_finite() { x } else { 0.0 }
}
