//! Stay or go: the same for legs between edges and for components between workers. It knows only costs.

use std::time::Duration;

use gibbon_media::MediaTime;

use super::{NodeIndex, horizon::Costs, pace::Pace, policy::Policy};

/// Where something is, and what staying there costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Staying {
    /// The edges by description; a component's worker, twice.
    pub at: [NodeIndex; 2],
    /// What it costs.
    pub costs: Costs,
    /// When its node goes away, if that is within the horizon: it moves whatever its pace says.
    pub leaves_at: Option<MediaTime>,
    /// It has been picked to relieve its node now, because others follow: it is due.
    pub picked: bool,
    /// By how much more than elsewhere staying must cost.
    pub margin: f64,
}

/// Where it might be instead.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alternative {
    /// The edges by description; a worker, twice.
    pub to: [NodeIndex; 2],
    /// What being there costs.
    pub costs: Costs,
    /// How long before the need the hand-off must begin.
    pub lead: Duration,
}

/// A hand-off that is to begin now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Move {
    /// Where to.
    pub to: [NodeIndex; 2],
    /// From when on staying costs more.
    pub need: MediaTime,
    /// How long it takes.
    pub lead: Duration,
    /// Whether the node it is on goes away.
    pub forced: bool,
    /// What it gains over the horizon, in seconds without a picture.
    pub gain: f64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Nothing; look again so much later.
    Stay {
        /// How much later.
        look_again: Duration,
    },
    /// It will have to move; as things are, there.
    Prepare {
        /// Where to.
        to: [NodeIndex; 2],
        /// From when on staying costs more.
        need: MediaTime,
    },
    /// It is to move now.
    Move(Move),
}

/// Why a hand-off: what staying would have suffered from most.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The path gets worse, or what feeds the edge.
    Network,
    /// The node will be overloaded.
    Load,
    /// The client moves away.
    Location,
    /// The node leaves.
    Maintenance,
    /// The node is lost, or likely to fail.
    Failure,
}

impl Alternative {
    /// Legs that move.
    pub fn legs(&self, from: [NodeIndex; 2]) -> u32 {
        from.iter().zip(self.to).map(|(from, to)| u32::from(*from != to)).sum()
    }
}

/// Of the alternatives the one that gains most, if it gains enough, when it is time.
///
/// A move must be allowed by the session's pace, gain more than its price, which doubles with each recent move, and
/// spare a good part of what staying costs; not if it is forced. The *need* is when staying first costs more by the
/// margin; it is acted on when the hand-off, were it begun at the next look, would come too late.
pub fn weigh(
    staying: &Staying,
    alternatives: &[Alternative],
    pace: &Pace,
    policy: &Policy,
    now: MediaTime,
) -> Verdict {
    let price = |alternative: &Alternative| {
        let legs = f64::from(alternative.legs(staying.at)) / 2.0;
        policy.price * legs * pace.recent(policy, now).exp2()
    };
    let forced = staying.leaves_at.is_some();
    let gain = |alternative: &Alternative| staying.costs.excess(&alternative.costs).area();
    let allowed = |alternative: &&Alternative| {
        let suffers = staying.costs.0[0] - alternative.costs.0[0] > policy.suffers;
        forced || pace.may(staying.at, alternative.to, suffers, policy, now).is_ok()
    };
    let net = |alternative: &Alternative| gain(alternative) - price(alternative);
    let best = alternatives.iter().filter(allowed).max_by(|a, b| net(a).total_cmp(&net(b)));
    let stay = Verdict::Stay { look_again: policy.look_again };
    let Some(best) = best else { return stay };
    let Some(need) = need(staying, best, now) else { return stay };
    // Where all is as bad everywhere else, moving does not help.
    let helps = gain(best) > policy.helps * staying.costs.area();
    let worth = if forced { gain(best) > 0.0 } else { helps && net(best) > 0.0 };
    if !worth {
        return stay;
    }
    let tries = if forced { policy.tries } else { 1 };
    let due = need.since(now) <= best.lead * tries + policy.period;
    let wanted_for = pace.wanted().map_or(Duration::ZERO, |since| now.since(since));
    let urgent = staying.costs.0[0] - best.costs.0[0] > policy.urgent;
    if staying.picked || due && (forced || urgent || wanted_for >= policy.trigger) {
        let Alternative { to, lead, .. } = *best;
        return Verdict::Move(Move { to, need, lead, forced, gain: gain(best) });
    }
    Verdict::Prepare { to: best.to, need }
}

/// When staying first costs more by the margin. Where that is because the node goes away, it is when it goes, and not
/// some time between two steps.
fn need(staying: &Staying, best: &Alternative, now: MediaTime) -> Option<MediaTime> {
    let crossed = staying.costs.excess(&best.costs).exceeds(staying.margin, now)?;
    Some(staying.leaves_at.filter(|at| crossed.contains(at)).unwrap_or(*crossed.start()))
}
