//! A session as decisions see it.

use gibbon_media::{MediaTime, Placement, Priority};

use super::{
    NodeIndex, StreamIndex,
    pace::Pace,
    path::{PathEstimate, Sample, Unusable},
    policy::Policy,
    whereabouts::Whereabouts,
};

/// Paths of one client that are known; of more, the one measured longest ago is given up.
pub const MAX_PATHS: usize = 8;

/// Within so many metres a client that stands is where it was: positions are never quite the same.
const SAME_PLACE_M: f64 = 200.0;
/// Slack of less than so many standard deviations is worth a look with each sample, and so is a larger share of groups
/// that miss.
const AMPLE: f64 = 4.0;
const MISSES: f64 = 1e-3;

/// One client watching one stream. The caller keeps it as long as the session lasts, and tells it what comes in.
#[derive(Debug, Clone)]
pub struct Session {
    /// The edges that serve it, by description.
    pub edges: [NodeIndex; 2],
    /// What it watches.
    pub stream: StreamIndex,
    /// How much it matters.
    pub priority: Priority,
    /// Where its legs are wanted.
    pub placement: Placement,
    /// Slack that it would have if its edge were next to it, in ms: its playout delay, less what coding takes.
    pub playout_ms: f64,
    /// Nodes at which something went wrong of late: it goes there only if it has to leave and no other will have it.
    pub shunned: Vec<NodeIndex>,
    whereabouts: Whereabouts,
    paths: Vec<(NodeIndex, PathEstimate)>,
    pace: Pace,
    /// Until then nothing of its own makes it worth a look.
    pub(super) calm_until: MediaTime,
}

impl Session {
    /// A session that has just begun.
    pub fn new(edges: [NodeIndex; 2], stream: StreamIndex, playout_ms: f64) -> Self {
        Self {
            edges,
            stream,
            priority: Priority::default(),
            placement: Placement::default(),
            playout_ms,
            shunned: Vec::new(),
            whereabouts: Whereabouts::Unknown,
            paths: Vec::new(),
            pace: Pace::default(),
            calm_until: MediaTime(0),
        }
    }

    /// The client measured its path from a node. A sample that says nothing is refused, and changes nothing.
    pub fn measured(&mut self, node: NodeIndex, sample: Sample) -> Result<(), Unusable> {
        match self.paths.iter_mut().find(|(at, _)| *at == node) {
            Some((_, path)) => path.update(sample)?,
            None => {
                let path = PathEstimate::begin(sample)?;
                if self.paths.len() >= MAX_PATHS {
                    let oldest = (0..MAX_PATHS).min_by_key(|n| self.paths[*n].1.measured_at());
                    self.paths.swap_remove(oldest.unwrap_or(0));
                }
                self.paths.push((node, path));
            }
        }
        let well = |path: &PathEstimate| {
            path.calm() && path.level_ms() > AMPLE * path.deviation_ms() && path.missed() < MISSES
        };
        if !self.path(node).is_some_and(well) {
            self.wake();
        }
        Ok(())
    }

    /// Where the client is and will be has become known, or has changed.
    pub fn moves(&mut self, whereabouts: Whereabouts) {
        match (&self.whereabouts, &whereabouts) {
            (Whereabouts::Still(a), Whereabouts::Still(b))
                if a.distance(*b).metres() < SAME_PLACE_M =>
            {
                return;
            }
            // It is looked at again often enough.
            (Whereabouts::Moving(_), Whereabouts::Moving(_)) => {}
            _ => self.wake(),
        }
        self.whereabouts = whereabouts;
    }

    /// A hand-off of it begins.
    pub fn handed_off(&mut self, to: [NodeIndex; 2], policy: &Policy, now: MediaTime) {
        self.pace.moved(self.edges, to, policy, now);
        self.wake();
    }

    /// A hand-off of it has failed or been rolled back; it is where it was.
    pub fn rolled_back(&mut self) {
        self.pace.stayed(self.edges);
    }

    /// Something else than telemetry has changed for it: look at it at the next sweep.
    pub fn wake(&mut self) {
        self.calm_until = MediaTime(0);
    }

    /// Where the client is and will be.
    pub fn whereabouts(&self) -> &Whereabouts {
        &self.whereabouts
    }

    /// What is known of the path from a node.
    pub fn path(&self, node: NodeIndex) -> Option<&PathEstimate> {
        self.paths.iter().find(|(at, _)| *at == node).map(|(_, path)| path)
    }

    /// All paths that have been measured.
    pub fn paths(&self) -> &[(NodeIndex, PathEstimate)] {
        &self.paths
    }

    /// Its moves.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    pub(super) fn pace_mut(&mut self) -> &mut Pace {
        &mut self.pace
    }

    /// The same session, were it there.
    pub(super) fn moved_to(&self, edges: [NodeIndex; 2]) -> Self {
        Self { edges, ..self.clone() }
    }

    /// Whether a leg of it is there.
    pub fn is_at(&self, node: NodeIndex) -> bool {
        self.edges.contains(&node)
    }
}
