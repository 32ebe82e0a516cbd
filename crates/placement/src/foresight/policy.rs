//! All thresholds in one place, so that a simulator can vary them.

use std::time::Duration;

use super::{path::PathPrior, session::Session};

/// What foresight goes by. Costs are per second, from 0 (all is well) to 1 (nothing is shown); gains and prices are
/// such costs over time: seconds without a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// A report's weight halves with so much age …
    pub half_life: Duration,
    /// … and one older than this says nothing.
    pub forgotten: Duration,
    /// By how much an old report's load may be off: added to its deviation as it loses weight.
    pub stale_deviation: f64,

    /// How much of a cost is due to any description that misses, whichever and however little is seen of it: the
    /// rest is due to the distortion. Below ½, so that one lost of two is still better than both.
    pub promise: f64,
    /// Cost of a millisecond of round-trip time above that of the best edge.
    pub latency: f64,
    /// Cost of a load of 1; it grows with the square.
    pub load: f64,
    /// Cost of a second connection.
    pub second: f64,
    /// Correlation of slack on a client's paths to two edges: they share its access.
    pub access_correlation: f64,
    /// Round-trip time by distance, where a node has learned none of its own.
    pub prior: PathPrior,
    /// A measured slack's weight halves with so much age.
    pub path_half_life: Duration,
    /// So many of the nearest nodes are within reach. Candidates are, of those of them that have room, …
    pub reach: usize,
    /// … so many of the nearest …
    pub near: usize,
    /// … and so many of the least loaded.
    pub least_loaded: usize,
    /// Of these the best so many are paired.
    pub paired: usize,

    /// Staying costs more than moving if it costs so much more.
    pub margin: f64,
    /// What a hand-off of both legs must gain at least; it doubles with every recent move of the session.
    pub price: f64,
    /// A hand-off must spare at least this share of what staying costs.
    pub helps: f64,
    /// A session of which staying costs less than this at every step is calm.
    pub calm: f64,
    /// Of a session whose client moves, this part of `margin` and of `calm` is enough: what gets worse then does not do so
    /// by chance.
    pub moving: f64,
    /// For how long a move must have been wanted; not where the session's node leaves or is overloaded.
    pub trigger: Duration,
    /// Where staying costs so much more already, nothing has to be wanted for long.
    pub urgent: f64,
    /// Sessions weighed in one pass because of something of their own.
    pub weighed: usize,
    /// How long a hand-off takes, from its order to the end of probation of the second leg, with room for delay.
    pub lead: Duration,
    /// How much longer where the new edge has yet to fetch the stream.
    pub cold: Duration,
    /// Who has to leave a node begins so early that there is time for so many hand-offs one after the other: of one that
    /// fails, for another.
    pub tries: u32,
    /// Time between sweeps: what is not begun now is begun so much later.
    pub period: Duration,
    /// A calm session whose client moves is looked at again after so long.
    pub look_again: Duration,

    /// Moves of one session in a row …
    pub burst: u32,
    /// … and one more each such time.
    pub refill: Duration,
    /// Where staying costs so much more already (a description is gone, say), it may also move with an empty bucket …
    pub suffers: f64,
    /// … once it has stayed for so long.
    pub rest: Duration,
    /// A node that was left is not returned to for so long.
    pub dwell: Duration,

    /// A node that will be overloaded is relieved down to this share of its limit; nothing moves to one beyond it that
    /// has somewhere else to go.
    pub target: f64,
    /// Where nothing below the target helps, as many go to one below this share of its limit as bring the other there.
    pub fill: f64,
    /// So many standard deviations are added to a predicted load where it is asked whether a node needs relief; of large
    /// deviations, no more than of one of 0.05.
    pub caution: f64,
    /// Hand-offs that may begin at one node each second.
    pub rate: f64,
    /// Hand-offs under way at once.
    pub concurrent: usize,
}

impl Default for Policy {
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            half_life: s(10),
            forgotten: s(60),
            stale_deviation: 0.15,
            promise: 0.3,
            latency: 2e-5,
            load: 2e-3,
            second: 1e-3,
            access_correlation: 0.3,
            prior: PathPrior::default(),
            path_half_life: s(30),
            reach: 24,
            near: 6,
            least_loaded: 4,
            paired: 4,
            margin: 0.002,
            price: 0.1,
            helps: 0.1,
            calm: 0.0005,
            moving: 0.1,
            trigger: s(2),
            lead: s(5),
            cold: s(1),
            tries: 2,
            period: s(5),
            look_again: s(15),
            burst: 3,
            refill: s(120),
            suffers: 0.1,
            rest: s(20),
            dwell: s(180),
            target: 0.9,
            fill: 0.95,
            urgent: 0.003,
            weighed: 20_000,
            caution: 0.5,
            rate: 20.0,
            concurrent: 500,
        }
    }
}

impl Policy {
    /// The weight of what was said so long ago: 1 of what is new, 0 of what is forgotten.
    pub fn weight(&self, age: Duration) -> f64 {
        if age > self.forgotten { 0.0 } else { halved(age, self.half_life) }
    }

    /// What part of `margin` and of `calm` is enough for a session.
    pub(super) fn enough(&self, session: &Session) -> f64 {
        if session.whereabouts().moves() { self.moving } else { 1.0 }
    }
}

/// Halves with every half-life.
pub(super) fn halved(age: Duration, half_life: Duration) -> f64 {
    (-age.as_secs_f64() / half_life.as_secs_f64().max(1e-3)).exp2()
}
