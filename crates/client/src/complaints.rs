//! Legs that are late or lose frames: the coordinator is told, and given some time to move them. Pure:
//! time is passed in, since session start.

use std::time::Duration;

use gibbon_control::session::Complaint;
use gibbon_handoff::Reason;
use gibbon_media::{Description, NodeId};

/// A leg is bad for this long before there is a complaint: a burst must pass.
const SURE_AFTER: Duration = Duration::from_millis(200);
/// A leg that has been good for this long is no longer complained of.
const GOOD_AFTER: Duration = Duration::from_secs(1);
/// Nobody has moved a leg that was complained of for this long: the client does.
const BORNE_FOR: Duration = Duration::from_secs(2);
/// After that it bears this much before it moves the same description again.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// What is wrong with the legs of a session.
#[derive(Debug, Default)]
pub struct Complaints {
    troubles: [Option<Trouble>; 2],
    moved: [Option<Duration>; 2],
}

#[derive(Debug)]
struct Trouble {
    edge: NodeId,
    reason: Reason,
    since: Duration,
    last: Duration,
    told: bool,
}

impl Complaints {
    /// The leg at `edge` that delivers a description is bad, for `reason`, or it is not. True: the
    /// coordinator is to be told now.
    pub fn note(
        &mut self,
        now: Duration,
        description: Description,
        edge: &NodeId,
        reason: Option<Reason>,
    ) -> bool {
        let trouble = &mut self.troubles[description.index()];
        let told = |trouble: &Option<Trouble>| trouble.as_ref().is_some_and(|t| t.told);
        let before = told(trouble);
        trouble.take_if(|t| t.edge != *edge || now.saturating_sub(t.last) >= GOOD_AFTER);
        if let Some(reason) = reason {
            let (edge, since, last) = (edge.clone(), now, now);
            let fresh = Trouble { edge, reason, since, last, told: false };
            let trouble = trouble.get_or_insert(fresh);
            (trouble.reason, trouble.last) = (reason, now);
            trouble.told |= now.saturating_sub(trouble.since) >= SURE_AFTER;
        }
        told(trouble) != before
    }

    /// Nobody delivers a description, or it is being moved.
    pub fn forget(&mut self, description: Description) -> bool {
        self.troubles[description.index()].take().is_some_and(|trouble| trouble.told)
    }

    /// What the coordinator is to be told.
    pub fn list(&self, now: Duration) -> Vec<Complaint> {
        let told = |description: Description| {
            let trouble = self.troubles[description.index()].as_ref().filter(|t| t.told)?;
            Some(Complaint {
                description,
                edge: trouble.edge.clone(),
                reason: trouble.reason,
                for_ms: now.saturating_sub(trouble.since).as_millis() as u64,
            })
        };
        Description::BOTH.into_iter().filter_map(told).collect()
    }

    /// The leg of a description is bad right now, and has been for so long that the client moves it.
    pub fn is_unbearable(&self, now: Duration, description: Description) -> bool {
        let trouble = self.troubles[description.index()].as_ref();
        let moved = self.moved[description.index()];
        trouble.is_some_and(|t| t.last == now && now.saturating_sub(t.since) >= BORNE_FOR)
            && moved.is_none_or(|moved| now.saturating_sub(moved) >= SETTLED_AFTER)
    }

    /// The client moves the leg of a description.
    pub fn moved(&mut self, now: Duration, description: Description) {
        self.moved[description.index()] = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Description = Description::One;
    const LATE: Option<Reason> = Some(Reason::Late);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn edges() -> [NodeId; 2] {
        ["edge-a", "edge-b"].map(|edge| edge.parse().unwrap())
    }

    /// Late from 0 to `length`, every 20 ms; says when there was something to tell.
    fn late(complaints: &mut Complaints, from: u64, length: u64) -> Vec<u64> {
        let [a, _] = edges();
        let moments = (from..=from + length).step_by(20);
        moments.filter(|at| complaints.note(ms(*at), ONE, &a, LATE)).collect()
    }

    #[test]
    fn a_bad_leg_is_complained_of_once_it_is_sure_and_moved_after_two_seconds() {
        let mut complaints = Complaints::default();
        assert_eq!(late(&mut complaints, 0, 1980), [200]);
        assert!(!complaints.is_unbearable(ms(1980), ONE));
        let list = complaints.list(ms(1980));
        let complaint = Complaint {
            description: ONE,
            edge: edges()[0].clone(),
            reason: Reason::Late,
            for_ms: 1980,
        };
        assert_eq!(list, [complaint]);
        late(&mut complaints, 2000, 0);
        assert!(complaints.is_unbearable(ms(2000), ONE));
    }

    #[test]
    fn a_complaint_ends_when_the_leg_has_been_good_for_a_second_or_is_another() {
        let [a, b] = edges();
        let mut complaints = Complaints::default();
        late(&mut complaints, 0, 400);
        assert!(!complaints.note(ms(1399), ONE, &a, None));
        assert!(complaints.note(ms(1400), ONE, &a, None));
        assert_eq!(complaints.list(ms(1400)), []);
        late(&mut complaints, 2000, 400);
        assert!(complaints.note(ms(2420), ONE, &b, None));
        late(&mut complaints, 3000, 400);
        assert!(complaints.forget(ONE) && complaints.list(ms(3400)).is_empty());
    }

    #[test]
    fn a_burst_is_not_complained_of() {
        let mut complaints = Complaints::default();
        assert!(late(&mut complaints, 0, 180).is_empty());
    }

    #[test]
    fn a_leg_that_is_good_just_now_stays_however_bad_it_was() {
        let [a, _] = edges();
        let mut complaints = Complaints::default();
        late(&mut complaints, 0, 3000);
        complaints.note(ms(3020), ONE, &a, None);
        assert!(!complaints.is_unbearable(ms(3020), ONE));
    }

    #[test]
    fn a_description_is_not_moved_again_at_once() {
        let mut complaints = Complaints::default();
        late(&mut complaints, 0, 2000);
        complaints.moved(ms(2000), ONE);
        late(&mut complaints, 2020, 9960);
        assert!(!complaints.is_unbearable(ms(11_980), ONE));
        late(&mut complaints, 12_000, 0);
        assert!(complaints.is_unbearable(ms(12_000), ONE));
    }
}
