//! Sessions as foresight sees them, kept beside the coordinator's own.

use std::{collections::BTreeMap, time::Duration};

use gibbon_handoff::Cause;
use gibbon_media::{MediaTime, SessionId, StreamName};
use gibbon_placement::foresight::{
    NodeIndex, Policy, Sample, Session, StreamIndex, Whereabouts, path::Unusable,
};

use super::{Picture, nodes::Nodes};
use crate::{registry::position, sessions::Session as Watched};

/// Slack of a client whose edge is next to it, as long as it has told nothing: of the usual playout delay of 1 s, what
/// coding leaves, in ms.
const PLAYOUT_MS: f64 = 900.0;
/// Where a client will be is forgotten so long after it was told.
const WHEREABOUTS_HOLD: Duration = Duration::from_secs(120);
/// Stands for edges and streams that are in no table.
const NOWHERE: u32 = u32::MAX;

/// One session.
pub struct Known {
    /// As sweeps take it.
    pub session: Session,
    /// Whether something may be decided for it now: nothing is under way, and nobody else decides.
    pub is_free: bool,
    /// Since when it should have moved by what is measured.
    pub bad_since: Option<MediaTime>,
    /// The newest sample of each path.
    newest: Vec<(NodeIndex, Sample)>,
    /// Where its legs would be if nothing were ever moved for load.
    home: [NodeIndex; 2],
    /// A hand-off for load is under way.
    relieves: bool,
    told: Option<MediaTime>,
}

impl Default for Known {
    /// Nothing is known yet of where its legs are.
    fn default() -> Self {
        let nowhere = [NodeIndex(NOWHERE); 2];
        Self {
            session: Session::new(nowhere, StreamIndex(NOWHERE), PLAYOUT_MS),
            is_free: false,
            bad_since: None,
            newest: Vec::new(),
            home: nowhere,
            relieves: false,
            told: None,
        }
    }
}

impl Known {
    /// The client measured a path.
    pub fn measured(&mut self, node: NodeIndex, sample: Sample) -> Result<(), Unusable> {
        self.session.measured(node, sample)?;
        let paths = self.session.paths();
        self.newest.retain(|(other, _)| *other != node && paths.iter().any(|(n, _)| n == other));
        self.newest.push((node, sample));
        Ok(())
    }

    /// The client told where it is or will be.
    pub fn told(&mut self, now: MediaTime, whereabouts: Whereabouts) {
        self.told = Some(now);
        self.session.moves(whereabouts);
    }

    /// Whether its client is on the move.
    pub fn moves(&self) -> bool {
        self.session.whereabouts().moves()
    }

    /// It is as `watched` says.
    pub fn follow(
        &mut self,
        picture: &Picture<'_>,
        (id, watched): (SessionId, &Watched),
        streams: &BTreeMap<StreamName, u32>,
        nodes: &Nodes,
    ) {
        let now = picture.now;
        self.session.stream = StreamIndex(streams.get(&watched.stream).copied().unwrap_or(NOWHERE));
        self.session.priority = watched.priority;
        self.session.placement = watched.placement.unwrap_or_default();
        let shunned = watched.care.shunned(now);
        self.session.shunned = shunned.iter().filter_map(|edge| nodes.find(edge)).collect();
        if self.told.is_none_or(|at| now.since(at) > WHEREABOUTS_HOLD) {
            let still = watched.location.map(|at| Whereabouts::Still(position(at)));
            self.session.moves(still.unwrap_or_default());
        }
        let legs = watched.legs().map(|leg| leg.and_then(|edge| nodes.find(edge)));
        let under_way = picture.handoffs.of_session(id).is_some();
        self.is_free = false;
        let [Some(zero), Some(one)] = legs else { return };
        if under_way {
            return;
        }
        let edges = [zero, one];
        if self.session.edges != edges {
            // By its own doing, or by a hand-off that has ended without a word.
            self.session.edges = edges;
            self.home = edges;
            self.session.wake();
        }
        self.is_free = watched.report.is_some()
            && watched.is_connected()
            && !watched.is_silent(now)
            && edges.iter().all(|edge| !nodes.is_apart(*edge));
    }

    /// Counts its legs that load has moved.
    pub fn count_moved(&self, nodes: &mut Nodes) {
        for (home, edge) in self.home.into_iter().zip(self.session.edges) {
            if home.0 != NOWHERE && edge.0 != NOWHERE {
                nodes.is_moved(home, edge);
            }
        }
    }

    /// A hand-off to these edges begins.
    pub fn begins(&mut self, to: [NodeIndex; 2], cause: Cause, policy: &Policy, now: MediaTime) {
        self.session.handed_off(to, policy, now);
        (self.is_free, self.bad_since) = (false, None);
        self.relieves = cause == Cause::Load;
    }

    /// Its hand-off is completed.
    pub fn arrives(&mut self, now: MediaTime, edges: [NodeIndex; 2], nodes: &mut Nodes) {
        let before = self.session.edges;
        self.session.edges = edges;
        if self.relieves && before.iter().all(|edge| edge.0 != NOWHERE) {
            // Now, and not at the next pass: the load that it has left is reported by then.
            let moved = before.into_iter().zip(edges).filter(|(from, to)| from != to);
            moved.for_each(|(from, to)| nodes.moves(now, from, to));
        } else {
            self.home = edges;
        }
        self.relieves = false;
        self.session.wake();
    }

    /// Its hand-off has come to nothing.
    pub fn stays(&mut self) {
        self.relieves = false;
        self.session.rolled_back();
    }

    /// Whether its pace lets it go there.
    pub fn may(&self, to: [NodeIndex; 2], policy: &Policy, now: MediaTime) -> bool {
        self.session.pace().may(self.session.edges, to, false, policy, now).is_ok()
    }

    /// The same session, of which nothing is known but how things are in this moment.
    pub fn present(&self, now: MediaTime) -> Session {
        let known = &self.session;
        let mut session = Session::new(known.edges, known.stream, known.playout_ms);
        (session.priority, session.placement) = (known.priority, known.placement);
        session.shunned = known.shunned.clone();
        if let Some(there) = known.whereabouts().at(0, now) {
            session.moves(Whereabouts::Still(there.position));
        }
        for (node, sample) in &self.newest {
            // It was good enough once, and is the first now.
            let _ = session.measured(*node, *sample);
        }
        session
    }
}
