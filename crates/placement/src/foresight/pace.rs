//! How often one session may move: so that it cannot be sent to and fro, whatever costs say.
//!
//! A token bucket holds [`burst`](super::Policy::burst) moves and gains one each [`refill`](super::Policy::refill); a
//! node that was left is not returned to within [`dwell`](super::Policy::dwell). A session that suffers already where it
//! is may move with an empty bucket, too, if it has stayed there for [`rest`](super::Policy::rest). Only one whose node
//! goes away moves regardless; costs alone never do that.

use gibbon_media::MediaTime;

use super::{NodeIndex, policy::Policy};

/// Nodes left that are remembered. While all were left within the dwell time, nothing moves but what must.
const LEFT: usize = 8;

/// The moves of one session.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pace {
    /// Moves taken out of the bucket, as of `since`.
    taken: f64,
    since: MediaTime,
    moves: u32,
    left: [Option<(NodeIndex, MediaTime)>; LEFT],
    wanted: Option<MediaTime>,
}

/// Why a session does not move now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Held {
    /// It moved too often of late.
    #[error("the session has moved too often of late")]
    TooOften,
    /// It left that node not long ago.
    #[error("the session left that node not long ago")]
    JustLeft,
}

impl Pace {
    /// Whether it may move to these nodes from those, of its own accord; `suffers`: it is bad already where it is.
    pub fn may(
        &self,
        from: [NodeIndex; 2],
        to: [NodeIndex; 2],
        suffers: bool,
        policy: &Policy,
        now: MediaTime,
    ) -> Result<(), Held> {
        let fresh = self.fresh(policy, now);
        let spent = self.recent(policy, now) + 1.0 > f64::from(policy.burst);
        let flees = suffers && now.since(self.since) >= policy.rest;
        if spent && !flees || fresh.clone().count() >= LEFT - 1 {
            return Err(Held::TooOften);
        }
        let returns =
            |node: &NodeIndex| !from.contains(node) && fresh.clone().any(|left| left == *node);
        if to.iter().any(returns) { Err(Held::JustLeft) } else { Ok(()) }
    }

    /// Nodes left within the dwell time.
    fn fresh(&self, policy: &Policy, now: MediaTime) -> impl Iterator<Item = NodeIndex> + Clone {
        let dwell = policy.dwell;
        self.left
            .iter()
            .flatten()
            .filter(move |(_, at)| now.since(*at) < dwell)
            .map(|(node, _)| *node)
    }

    /// Moves of late: those that have not been refilled.
    pub fn recent(&self, policy: &Policy, now: MediaTime) -> f64 {
        let refilled = now.since(self.since).as_secs_f64() / policy.refill.as_secs_f64().max(1e-3);
        (self.taken - refilled).max(0.0)
    }

    /// A move has been decided: its hand-off begins.
    pub fn moved(
        &mut self,
        from: [NodeIndex; 2],
        to: [NodeIndex; 2],
        policy: &Policy,
        now: MediaTime,
    ) {
        self.taken = self.recent(policy, now) + 1.0;
        self.since = now;
        self.moves = self.moves.saturating_add(1);
        self.wanted = None;
        let left = from.iter().filter(|node| !to.contains(node));
        for node in left.take(if from[0] == from[1] { 1 } else { 2 }) {
            let oldest = self.left.iter_mut().min_by_key(|left| left.map(|(_, at)| at));
            if let Some(slot) = oldest {
                *slot = Some((*node, now));
            }
        }
    }

    /// A move has failed, or been rolled back: the session never left.
    pub fn stayed(&mut self, at: [NodeIndex; 2]) {
        for left in &mut self.left {
            *left = left.filter(|(node, _)| !at.contains(node));
        }
    }

    /// Notes whether a move is wanted. Returns since when it has been.
    pub fn wanting(&mut self, wanted: bool, now: MediaTime) -> MediaTime {
        self.wanted = wanted.then(|| self.wanted.unwrap_or(now));
        self.wanted.unwrap_or(now)
    }

    /// Since when a move has been wanted.
    pub fn wanted(&self) -> Option<MediaTime> {
        self.wanted
    }

    /// When it last moved.
    pub fn last(&self) -> Option<MediaTime> {
        (self.moves > 0).then_some(self.since)
    }
}
