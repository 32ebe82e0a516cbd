//! How far an edge or worker is that is being emptied, from one look at it to the next.

use std::time::Duration;

use gibbon_control::{node::REPORT_EVERY_MS, portal::NodeInfo};

/// A node that is not seen for this long will not be: a coordinator that has just started has to hear of it,
/// and one that lost its connection comes back.
const UNSEEN_FOR: Duration = Duration::from_secs(3);
/// One that says that it leaves is down at once; one that is only silent, when its last report is this old.
const SILENT_AFTER_MS: u64 = 4 * REPORT_EVERY_MS;
/// Reports are this old at most: what is left "at" the deadline.
const REPORTS: Duration = Duration::from_secs(1);
/// An edge that is still there so long after its deadline will not leave.
const OVERDUE_AFTER: Duration = Duration::from_secs(20);

/// A node that is to leave, or to be empty and stay.
#[derive(Debug)]
pub struct Leaving {
    registered_us: u64,
    deadline: Duration,
    stays: bool,
    /// What it carried when it was last seen.
    carried: u32,
    /// Since when it has not been seen.
    unseen: Option<Duration>,
}

/// What a node has to get rid of: the legs of an edge, the components of a worker.
pub fn carried_by(node: &NodeInfo) -> u32 {
    node.worker.as_ref().map_or(node.legs, |worker| worker.instances)
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is empty, and stays.
    Empty,
    /// It has left.
    Left {
        /// Legs or components that it cut.
        cut: u32,
    },
    /// It is silent and has not said that it leaves: killed, or cut off from the coordinator.
    Lost {
        /// Legs or components that it carried when it was last heard.
        carried: u32,
    },
    /// Somebody took the drain back.
    TakenBack,
    /// It is there long after its deadline.
    Overdue,
}

impl Leaving {
    /// As the portal answered the request; `stays` if it was told to.
    pub fn new(node: &NodeInfo, deadline: Duration, stays: bool) -> Self {
        let (registered_us, carried) = (node.registered_us, carried_by(node));
        Self { registered_us, deadline, stays, carried, unseen: None }
    }

    /// Looks at it, `elapsed` after the request; `node` is what the portal knows of it.
    pub fn look(&mut self, node: Option<&NodeInfo>, elapsed: Duration) -> Option<End> {
        let Some(node) = node.filter(|node| node.up) else {
            let since = *self.unseen.get_or_insert(elapsed);
            let said_so = node.is_some_and(|node| node.report_age_ms < SILENT_AFTER_MS);
            return match node {
                _ if said_so => Some(self.left(since)),
                _ if elapsed - since < UNSEEN_FOR => None,
                Some(_) => Some(End::Lost { carried: self.carried }),
                None => Some(self.left(since)),
            };
        };
        if node.draining.is_none() {
            return Some(match node.registered_us == self.registered_us {
                true => End::TakenBack,
                // It has been started again already.
                false => self.left(self.unseen.unwrap_or(elapsed)),
            });
        }
        // It may have lost only its connection to the coordinator.
        (self.registered_us, self.carried, self.unseen) =
            (node.registered_us, carried_by(node), None);
        if self.stays && self.carried == 0 && node.downstreams == 0 {
            Some(End::Empty)
        } else {
            (elapsed > self.deadline + OVERDUE_AFTER).then_some(End::Overdue)
        }
    }

    /// A node leaves before its deadline only when it is empty.
    fn left(&self, at: Duration) -> End {
        End::Left { cut: if at + REPORTS < self.deadline { 0 } else { self.carried } }
    }
}

#[cfg(test)]
mod tests {
    use gibbon_control::{node::Draining, portal::WorkerInfo, work::WorkerOffer};
    use gibbon_media::Role;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(60);

    fn seen(registered_us: u64, legs: u32, draining: bool, up: bool) -> NodeInfo {
        let draining = draining.then_some(Draining { within_ms: 60_000, rate: 20.0, stay: false });
        NodeInfo {
            id: "edge-a".parse().unwrap(),
            role: Role::Edge,
            address: ([127, 0, 0, 1], 4500).into(),
            location: None,
            failure_domain: None,
            up,
            registered_us,
            legs,
            legs_by_description: [legs, 0],
            capacity_legs: 200,
            kbps: 0,
            capacity_kbps: None,
            draining,
            maintenance_in_ms: None,
            downstreams: 0,
            upstreams: Vec::new(),
            report_age_ms: 0,
            worker: None,
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn leaving(stays: bool) -> Leaving {
        Leaving::new(&seen(1, 4, true, true), DEADLINE, stays)
    }

    #[test]
    fn an_edge_that_leaves_before_its_deadline_was_empty_and_one_that_leaves_at_it_cuts() {
        for (legs, left, cut) in [(1, 10, 0), (3, 60, 3), (0, 60, 0)] {
            let mut edge = leaving(false);
            assert_eq!(edge.look(Some(&seen(1, legs, true, true)), at(left - 1)), None);
            let gone = edge.look(Some(&seen(1, 0, false, false)), at(left));
            assert_eq!(gone, Some(End::Left { cut }), "{legs} legs, {left} s");
        }
    }

    #[test]
    fn an_edge_that_was_started_again_has_left() {
        let mut edge = leaving(false);
        assert_eq!(edge.look(Some(&seen(2, 0, false, true)), at(5)), Some(End::Left { cut: 0 }));
        let mut edge = leaving(false);
        // Its connection, or the coordinator, is new; it is not.
        assert_eq!(edge.look(None, at(1)), None);
        assert_eq!(edge.look(Some(&seen(2, 4, true, true)), at(2)), None);
        assert_eq!(edge.look(Some(&seen(2, 4, false, true)), at(3)), Some(End::TakenBack));
    }

    #[test]
    fn an_edge_that_falls_silent_has_not_left() {
        let mut edge = leaving(false);
        let silent = NodeInfo { report_age_ms: 2000, ..seen(1, 0, false, false) };
        assert_eq!(edge.look(Some(&silent), at(5)), None);
        assert_eq!(edge.look(Some(&seen(2, 3, true, true)), at(7)), None, "it is back");
        assert_eq!(edge.look(Some(&silent), at(10)), None);
        assert_eq!(edge.look(Some(&silent), at(13)), Some(End::Lost { carried: 3 }));
    }

    #[test]
    fn an_edge_that_nobody_knows_any_more_has_left_after_a_while() {
        let mut edge = leaving(false);
        assert_eq!(edge.look(None, at(10)), None);
        assert_eq!(edge.look(None, at(13)), Some(End::Left { cut: 0 }));
    }

    #[test]
    fn a_worker_is_empty_when_it_runs_no_component() {
        let running = |instances| NodeInfo {
            role: Role::Worker,
            worker: Some(WorkerInfo {
                offer: WorkerOffer {
                    components: Vec::new(),
                    cores: 2.0,
                    memory_mib: 1024,
                    uplink_kbps: None,
                },
                busy_cores: 0.0,
                reserved_cores: 0.0,
                used_mib: 0,
                sent_kbps: 0,
                instances,
                links: Vec::new(),
            }),
            ..seen(1, 0, true, true)
        };
        let mut worker = Leaving::new(&running(2), DEADLINE, true);
        assert_eq!(worker.look(Some(&running(1)), at(1)), None);
        assert_eq!(worker.look(Some(&running(0)), at(2)), Some(End::Empty));
    }

    #[test]
    fn an_edge_that_stays_is_done_when_it_is_empty_and_no_wait_is_without_end() {
        let mut edge = leaving(true);
        assert_eq!(edge.look(Some(&seen(1, 1, true, true)), at(1)), None);
        assert_eq!(edge.look(Some(&seen(1, 0, true, true)), at(2)), Some(End::Empty));
        let mut edge = leaving(false);
        assert_eq!(edge.look(Some(&seen(1, 0, true, true)), at(60)), None, "it is closing");
        assert_eq!(edge.look(Some(&seen(1, 1, true, true)), at(81)), Some(End::Overdue));
    }
}
