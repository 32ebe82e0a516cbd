//! Segments on their way to other workers: the new instances run before the old ones go.

use std::{collections::BTreeMap, time::Duration};

use gibbon_control::services::{ComponentMove, MoveStep};
use gibbon_media::{InstanceId, MediaTime, NodeId, ServiceId};
use gibbon_placement::assign::Excluded;

use super::{Instance, Services, Stand};

/// New instances that do not run by then are withdrawn, and another worker is tried.
pub const RUN_WITHIN: Duration = Duration::from_secs(15);
/// Workers tried before a move is given up.
pub const MAX_TRIES: usize = 4;
/// A segment that could not be moved rests this long before a drain tries again.
pub const REST: Duration = Duration::from_secs(5);

/// A segment on its way.
#[derive(Debug, Clone)]
pub struct Move {
    /// The worker that it leaves.
    pub from: NodeId,
    /// The instances that are to be succeeded, each after what it hangs on.
    pub old: Vec<InstanceId>,
    /// Their successors.
    pub new: Vec<InstanceId>,
    /// Services that use any of them.
    pub services: Vec<ServiceId>,
    /// Workers that are not to be chosen, and why: those tried, or not asked for.
    pub exclude: Vec<Excluded>,
    /// How many have been tried.
    pub tries: usize,
    /// When the newest try began.
    pub begun: MediaTime,
}

/// Moves under way, by the root of the segment that moves.
#[derive(Debug, Default)]
pub struct Moves(BTreeMap<InstanceId, Move>);

impl Moves {
    /// Begins, or begins another try.
    pub fn insert(&mut self, root: InstanceId, a_move: Move) {
        self.0.insert(root, a_move);
    }

    /// Ends a move.
    pub fn remove(&mut self, root: InstanceId) -> Option<Move> {
        self.0.remove(&root)
    }

    /// All of them, by the root of the old segment.
    pub fn iter(&self) -> impl Iterator<Item = (InstanceId, &Move)> {
        self.0.iter().map(|(root, a_move)| (*root, a_move))
    }

    /// The move that an instance is part of, by the root of the old segment.
    pub fn of_instance(&self, instance: InstanceId) -> Option<InstanceId> {
        let part = |m: &Move| m.old.contains(&instance) || m.new.contains(&instance);
        self.0.iter().find(|(_, a_move)| part(a_move)).map(|(root, _)| *root)
    }

    /// How many leave `worker` now.
    pub fn leaving(&self, worker: &NodeId) -> usize {
        self.0.values().filter(|a_move| a_move.from == *worker).count()
    }

    pub(super) fn excuse(&mut self, time: Duration) {
        for a_move in self.0.values_mut() {
            a_move.begun = a_move.begun + time;
        }
    }
}

/// How a move stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The new instances do not run yet.
    Waiting,
    /// The streams may be taken from the new instances.
    Ready,
    /// The new instances will not do: on which worker, and why.
    Stuck(NodeId, String),
}

impl Services {
    /// How a move stands.
    pub fn standing_of(&self, now: MediaTime, a_move: &Move) -> Standing {
        let old = a_move.old.iter().filter_map(|id| self.instance(*id));
        for old in old.filter(|old| !self.used_by(old).is_empty()) {
            let coming = self.standing(&old.stream, old.spec.replica, Stand::Coming);
            let Some(new) = coming else {
                // It went with what it hung on.
                return Standing::Stuck(old.worker.clone(), "has lost a successor".to_owned());
            };
            if !new.is_running() {
                let late = now.since(a_move.begun) > RUN_WITHIN;
                let why = format!("ran nothing within {} s", RUN_WITHIN.as_secs());
                return match late {
                    true => Standing::Stuck(new.worker.clone(), why),
                    false => Standing::Waiting,
                };
            }
        }
        Standing::Ready
    }

    /// The successors take over; their predecessors leave.
    pub fn take_over(&mut self, now: MediaTime, a_move: &Move) {
        for (ids, stand) in [(&a_move.old, Stand::Leaving), (&a_move.new, Stand::Active)] {
            for id in ids {
                if let Some(instance) = self.instance_mut(*id) {
                    (instance.stand, instance.since) = (stand, now);
                }
            }
        }
    }

    /// The successors are withdrawn.
    pub fn withdraw(&mut self, instances: &[InstanceId]) {
        for id in instances {
            self.remove(*id);
        }
    }

    /// For those who watch.
    pub fn describe(&self, a_move: &Move, step: MoveStep) -> ComponentMove {
        let instances = |ids: &[InstanceId]| -> Vec<&Instance> {
            ids.iter().filter_map(|id| self.instance(*id)).collect()
        };
        let components = instances(&a_move.old);
        ComponentMove {
            components: components.iter().map(|i| i.component().to_owned()).collect(),
            from: a_move.from.clone(),
            to: instances(&a_move.new).iter().map(|i| i.worker.clone()).collect(),
            step,
        }
    }
}
