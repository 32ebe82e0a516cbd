//! What is to be heeded before a session is moved again: one that was moved, or could not be, rests.

use std::time::Duration;

use gibbon_handoff::Cause;
use gibbon_media::{MediaTime, NodeId};

/// How long a session whose hand-off failed rests, doubled with each further failure, up to
/// [`LONGEST_BACK_OFF`].
pub const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
/// The longest rest after a failure.
pub const LONGEST_BACK_OFF: Duration = Duration::from_secs(8);
/// How long a session stays where it was moved to before the network is a reason to move it again; doubled
/// with each such hand-off in a row, up to [`LONGEST_NETWORK_REST`].
pub const NETWORK_REST: Duration = Duration::from_secs(5);
/// The longest of these.
pub const LONGEST_NETWORK_REST: Duration = Duration::from_secs(60);
/// Without a hand-off because of the network for this long, the rest is short again.
pub const NETWORK_FORGIVEN: Duration = Duration::from_secs(120);
/// How long a session stays where it was moved to before load is a reason to move it again.
pub const LOAD_REST: Duration = Duration::from_secs(30);
/// An edge that a hand-off failed at is not chosen for that session again for this long.
pub const SHUN_FAILED: Duration = Duration::from_secs(10);
/// An edge that a client complained of is not chosen for it again for this long.
pub const SHUN_BAD: Duration = Duration::from_secs(60);
/// Edges that one session shuns at once.
const MAX_SHUNNED: usize = 8;

/// What is to be heeded with one session.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Care {
    /// When its last hand-off began.
    moved: Option<MediaTime>,
    /// When its last hand-off failed, and how many have in a row.
    failed: Option<(MediaTime, u32)>,
    /// When its last hand-off because of the network began, and how many have in a row.
    network: Option<(MediaTime, u32)>,
    /// Edges not to be chosen, and until when.
    shunned: Vec<(NodeId, MediaTime)>,
}

impl Care {
    /// Whether the session may be moved now for `cause`.
    pub fn allows(&self, now: MediaTime, cause: Cause) -> bool {
        let rested = |since: Option<MediaTime>, rest| since.is_none_or(|at| now.since(at) >= rest);
        let back_off = self.failed.is_none_or(|(at, times)| {
            now.since(at) >= doubled(FIRST_BACK_OFF, times, LONGEST_BACK_OFF)
        });
        let enough = match cause {
            Cause::Network => rested(self.moved, self.network_rest(now)),
            Cause::Load => rested(self.moved, LOAD_REST),
            _ => true,
        };
        back_off && enough
    }

    /// How long the session rests from one hand-off to the next that is due to the network.
    pub fn network_rest(&self, now: MediaTime) -> Duration {
        match self.network {
            Some((at, times)) if now.since(at) < NETWORK_FORGIVEN => {
                doubled(NETWORK_REST, times, LONGEST_NETWORK_REST)
            }
            _ => NETWORK_REST,
        }
    }

    /// A hand-off of the session begins.
    pub fn begins(&mut self, now: MediaTime, cause: Cause) {
        self.moved = Some(now);
        if cause == Cause::Network {
            let recent = self.network.filter(|(at, _)| now.since(*at) < NETWORK_FORGIVEN);
            self.network = Some((now, recent.map_or(1, |(_, times)| times.saturating_add(1))));
        }
    }

    /// Its hand-off has ended as wanted.
    pub fn succeeds(&mut self) {
        self.failed = None;
    }

    /// Its hand-off has failed, or could not be begun.
    pub fn fails(&mut self, now: MediaTime) {
        let times = self.failed.map_or(0, |(_, times)| times);
        self.failed = Some((now, times.saturating_add(1)));
    }

    /// `edge` is not to be chosen for the session for as long as `time`.
    pub fn shun(&mut self, now: MediaTime, edge: &NodeId, time: Duration) {
        let until = now + time;
        self.shunned.retain(|(known, end)| known != edge && *end > now);
        if self.shunned.len() == MAX_SHUNNED {
            self.shunned.remove(0);
        }
        self.shunned.push((edge.clone(), until));
    }

    /// Edges that are not to be chosen for it now.
    pub fn shunned(&self, now: MediaTime) -> Vec<NodeId> {
        let shunned = self.shunned.iter().filter(|(_, until)| *until > now);
        shunned.map(|(edge, _)| edge.clone()).collect()
    }
}

/// `first` after the first time, twice as long after each further one, at most `longest`.
fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    let factor = 1u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const START: MediaTime = MediaTime(1_000_000_000);

    #[test]
    fn each_failure_doubles_the_rest_up_to_a_bound_and_success_ends_it() {
        let (mut care, mut now) = (Care::default(), START);
        for rest in [1, 2, 4, 8, 8] {
            care.fails(now);
            assert!(!care.allows(now + (SECOND * rest - SECOND / 10), Cause::Drain));
            now = now + SECOND * rest;
            assert!(care.allows(now, Cause::Drain), "after {rest} s");
        }
        care.fails(now);
        care.succeeds();
        assert!(care.allows(now, Cause::Drain));
    }

    #[test]
    fn the_network_is_no_reason_to_move_a_session_to_and_fro() {
        let (mut care, mut now) = (Care::default(), START);
        for rest in [5, 10, 20, 40, 60, 60] {
            assert!(care.allows(now, Cause::Network));
            care.begins(now, Cause::Network);
            assert!(!care.allows(now + (SECOND * rest - SECOND / 10), Cause::Network));
            now = now + SECOND * rest;
        }
        care.begins(now, Cause::Drain);
        assert!(!care.allows(now + SECOND * 4, Cause::Network), "whatever it was moved for");
        assert!(care.allows(now, Cause::Failure) && care.allows(now, Cause::Drain));
        now = now + NETWORK_FORGIVEN;
        assert_eq!(care.network_rest(now), NETWORK_REST);
    }

    #[test]
    fn an_edge_is_shunned_for_a_while() {
        let (mut care, edge) = (Care::default(), "edge-a".parse().unwrap());
        care.shun(START, &edge, SHUN_FAILED);
        assert_eq!(care.shunned(START), [edge]);
        assert_eq!(care.shunned(START + SHUN_FAILED), []);
        for n in 0..20 {
            care.shun(START, &format!("edge-{n}").parse().unwrap(), SHUN_BAD);
        }
        assert_eq!(care.shunned(START).len(), MAX_SHUNNED);
    }
}
