//! Planned work that operators have announced: which node goes away when. Kept in the store, for nobody else knows it.

use std::{collections::BTreeMap, time::Duration};

use gibbon_control::portal::MaintenanceRequest;
use gibbon_media::{MediaTime, NodeId};

/// The furthest ahead that is announced: a week.
pub const FURTHEST: Duration = Duration::from_secs(7 * 86_400);
/// Nodes of which it is announced, at once.
pub const MAX_ANNOUNCED: usize = 1024;
/// A node that goes away within this time gets nothing new while there is another: about what a session lasts.
pub const SOON: Duration = Duration::from_secs(900);
/// An announcement is forgotten so long after its time, whether its node came back or not.
const KEPT: Duration = Duration::from_secs(86_400);

/// All announcements.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Maintenance(BTreeMap<NodeId, MediaTime>);

impl Maintenance {
    /// Those that an earlier start of the coordinator kept.
    pub fn kept(announced: BTreeMap<NodeId, u64>) -> Self {
        let times = announced.into_iter().take(MAX_ANNOUNCED);
        Self(times.map(|(node, at_us)| (node, MediaTime(at_us))).collect())
    }

    /// For the store: when each goes away, in µs since the epoch.
    pub fn to_keep(&self) -> BTreeMap<NodeId, u64> {
        self.0.iter().map(|(node, at)| (node.clone(), at.as_micros())).collect()
    }

    /// `node` goes away, as asked for. The newest word holds.
    pub fn announce(
        &mut self,
        now: MediaTime,
        node: &NodeId,
        request: &MaintenanceRequest,
    ) -> Result<(), String> {
        let ahead = Duration::from_millis(request.in_ms);
        if ahead > FURTHEST {
            let days = FURTHEST.as_secs() / 86_400;
            return Err(format!("{} s ahead: announce at most {days} days", ahead.as_secs()));
        }
        if self.0.len() >= MAX_ANNOUNCED && !self.0.contains_key(node) {
            return Err(format!("{MAX_ANNOUNCED} nodes are to go away already"));
        }
        self.0.insert(node.clone(), now + ahead);
        Ok(())
    }

    /// It stays. Whether anything had been announced.
    pub fn cancel(&mut self, node: &NodeId) -> bool {
        self.0.remove(node).is_some()
    }

    /// A node has started (again): what was announced for a time before is done.
    pub fn started(&mut self, now: MediaTime, node: &NodeId) -> bool {
        let done = self.0.get(node).is_some_and(|at| *at <= now);
        done && self.cancel(node)
    }

    /// When `node` goes away.
    pub fn of(&self, node: &NodeId) -> Option<MediaTime> {
        self.0.get(node).copied()
    }

    /// Forgets what is long past. Whether there was any.
    pub fn sweep(&mut self, now: MediaTime) -> bool {
        let before = self.0.len();
        self.0.retain(|_, at| now.since(*at) <= KEPT);
        self.0.len() != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: MediaTime = MediaTime(1_000_000_000_000);

    fn in_ms(in_ms: u64) -> MaintenanceRequest {
        MaintenanceRequest { in_ms }
    }

    #[test]
    fn what_is_announced_holds_until_it_is_taken_back_or_done_and_the_store_keeps_it() {
        let (mut maintenance, edge) = (Maintenance::default(), "edge-a".parse().unwrap());
        maintenance.announce(NOW, &edge, &in_ms(60_000)).unwrap();
        maintenance.announce(NOW, &edge, &in_ms(90_000)).unwrap();
        let at = NOW + Duration::from_secs(90);
        assert_eq!(maintenance.of(&edge), Some(at));
        let kept = Maintenance::kept(maintenance.to_keep());
        assert_eq!(kept, maintenance);
        assert!(!maintenance.started(NOW, &edge), "a start before its time changes nothing");
        assert!(maintenance.started(at, &edge));
        assert_eq!(maintenance.of(&edge), None);
        let mut kept = kept;
        assert!(kept.cancel(&edge) && !kept.cancel(&edge));
    }

    #[test]
    fn announcements_are_bounded_in_number_and_time_and_forgotten_at_last() {
        let mut maintenance = Maintenance::default();
        let node = |n: usize| format!("edge-{n}").parse::<NodeId>().unwrap();
        let week = FURTHEST.as_millis() as u64;
        assert!(maintenance.announce(NOW, &node(0), &in_ms(week + 1)).is_err());
        for n in 0..MAX_ANNOUNCED {
            maintenance.announce(NOW, &node(n), &in_ms(0)).unwrap();
        }
        assert!(maintenance.announce(NOW, &node(MAX_ANNOUNCED), &in_ms(0)).is_err());
        assert!(maintenance.announce(NOW, &node(0), &in_ms(week)).is_ok(), "known ones may change");
        assert!(!maintenance.sweep(NOW + KEPT) && maintenance.sweep(NOW + KEPT * 2));
        assert_eq!(maintenance.to_keep().len(), 1);
    }
}
