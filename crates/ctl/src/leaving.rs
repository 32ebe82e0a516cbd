//! How far an edge is that is being emptied, from one look at it to the next.

use std::time::Duration;

use gibbon_control::{node::REPORT_EVERY_MS, portal::NodeInfo};

/// An edge that is not seen for this long will not be: a coordinator that has just started has to hear of it,
/// and one that lost its connection comes back.
const UNSEEN_FOR: Duration = Duration::from_secs(3);
/// One that says that it leaves is down at once; one that is only silent, when its last report is this old.
const SILENT_AFTER_MS: u64 = 4 * REPORT_EVERY_MS;
/// Reports are this old at most: what is left "at" the deadline.
const REPORTS: Duration = Duration::from_secs(1);
/// An edge that is still there so long after its deadline will not leave.
const OVERDUE_AFTER: Duration = Duration::from_secs(20);

/// An edge that is to leave, or to be empty and stay.
#[derive(Debug)]
pub struct Leaving {
    registered_us: u64,
    deadline: Duration,
    stays: bool,
    /// Legs it carried when it was last seen.
    legs: u32,
    /// Since when it has not been seen.
    unseen: Option<Duration>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is empty, and stays.
    Empty,
    /// It has left.
    Left {
        /// Legs that it cut.
        cut: u32,
    },
    /// It is silent and has not said that it leaves: killed, or cut off from the coordinator.
    Lost {
        /// Legs it carried when it was last heard.
        legs: u32,
    },
    /// Somebody took the drain back.
    TakenBack,
    /// It is there long after its deadline.
    Overdue,
}

impl Leaving {
    /// As the portal answered the request; `stays` if it was told to.
    pub fn new(node: &NodeInfo, deadline: Duration, stays: bool) -> Self {
        let NodeInfo { registered_us, legs, .. } = *node;
        Self { registered_us, deadline, stays, legs, unseen: None }
    }

    /// Looks at it, `elapsed` after the request; `node` is what the portal knows of it.
    pub fn look(&mut self, node: Option<&NodeInfo>, elapsed: Duration) -> Option<End> {
        let Some(node) = node.filter(|node| node.up) else {
            let since = *self.unseen.get_or_insert(elapsed);
            let said_so = node.is_some_and(|node| node.report_age_ms < SILENT_AFTER_MS);
            return match node {
                _ if said_so => Some(self.left(since)),
                _ if elapsed - since < UNSEEN_FOR => None,
                Some(_) => Some(End::Lost { legs: self.legs }),
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
        (self.registered_us, self.legs, self.unseen) = (node.registered_us, node.legs, None);
        if self.stays && node.legs == 0 && node.downstreams == 0 {
            Some(End::Empty)
        } else {
            (elapsed > self.deadline + OVERDUE_AFTER).then_some(End::Overdue)
        }
    }

    /// An edge leaves before its deadline only when it is empty.
    fn left(&self, at: Duration) -> End {
        End::Left { cut: if at + REPORTS < self.deadline { 0 } else { self.legs } }
    }
}

#[cfg(test)]
mod tests {
    use gibbon_control::node::Draining;
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
        assert_eq!(edge.look(Some(&silent), at(13)), Some(End::Lost { legs: 3 }));
    }

    #[test]
    fn an_edge_that_nobody_knows_any_more_has_left_after_a_while() {
        let mut edge = leaving(false);
        assert_eq!(edge.look(None, at(10)), None);
        assert_eq!(edge.look(None, at(13)), Some(End::Left { cut: 0 }));
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
