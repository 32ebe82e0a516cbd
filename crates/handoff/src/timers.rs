//! Every wait of a hand-off and every bound on a retry, in one table.
//!
//! The machines name a timer; the shell looks its duration up here. A timer that is set while armed
//! starts again.

use std::time::Duration;

use gibbon_media::Description;
use serde::{Deserialize, Serialize};

use crate::client::Start;

/// How often an order is sent before its step is given up.
pub const SENDS: u8 = 3;

/// How often each candidate is tried when a description has lost its edge, and the other one as well.
/// Where the other one goes on once is enough: the shell has it taken back later.
pub const RECOVERY_ROUNDS: usize = 2;

/// How many tries a search for an edge has at most, however many candidates there are.
pub const MAX_TRIES: usize = 12;

/// What the coordinator waits for. One timer at most is armed per hand-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoordinatorTimer {
    /// The new edge's `Ready`.
    Prefetch,
    /// The client's `Attached`.
    Attach,
    /// The client's `Held` and the new edge's `Settled`.
    Probation,
    /// A description back at its old edge.
    Return,
    /// The closing of the connection to the old edge.
    Finish,
}

impl CoordinatorTimer {
    /// How long to wait before the order is repeated, with groups of length `group`.
    pub fn duration(self, group: Duration) -> Duration {
        const ANSWER: Duration = Duration::from_secs(1);
        match self {
            // An upstream that is a continent away answers in well under a second.
            CoordinatorTimer::Prefetch | CoordinatorTimer::Finish => ANSWER,
            // The start is at most one group ahead and the client gives up one group after it.
            CoordinatorTimer::Attach | CoordinatorTimer::Return => 2 * group + ANSWER,
            // Probation is one group; an upstream changes at a group boundary.
            CoordinatorTimer::Probation => 2 * group + ANSWER,
        }
    }
}

/// What a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientTimer {
    /// A new leg in time.
    Attach {
        /// Of which description.
        description: Description,
        /// Where the new leg starts.
        start: Start,
    },
    /// A new leg past probation.
    Probation {
        /// Of which description.
        description: Description,
    },
    /// The next try to recover a description.
    Reattach {
        /// Which description.
        description: Description,
    },
    /// The last group of a description from an edge that wanted to be left: then its connection closes.
    Leave {
        /// Which description.
        description: Description,
    },
}

impl ClientTimer {
    /// How long to wait, with groups of length `group`. [`Attach`](ClientTimer::Attach) counts from the
    /// moment its start begins at the live edge (now, for [`Start::Live`]), so that a description is
    /// never received from two edges for more than a group. A live start is answered out of the edge's
    /// cache and waited for half a second at most, so that a second edge can still fill the playout
    /// buffer. `jitter`, in `0.0..=1.0` and chosen anew each time, keeps the clients of a lost edge from
    /// coming back all at once.
    pub fn duration(self, group: Duration, jitter: f64) -> Duration {
        const REATTACH_SPREAD: Duration = Duration::from_millis(50);
        const LIVE_WITHIN: Duration = Duration::from_millis(500);
        match self {
            ClientTimer::Attach { start: Start::Live, .. } => group.min(LIVE_WITHIN),
            ClientTimer::Attach { start: Start::At(_), .. }
            | ClientTimer::Probation { .. }
            | ClientTimer::Leave { .. } => group,
            ClientTimer::Reattach { .. } => REATTACH_SPREAD.mul_f64(jitter.clamp(0.0, 1.0)),
        }
    }
}

/// How long an edge keeps a prefetch without a viewer, or capacity without a leg, if nobody tells it that
/// the hand-off has ended: longer than any hand-off goes on after that, which is through the probation of
/// the first move, all of the second one, and the return of both.
pub fn holding_ttl(group: Duration) -> Duration {
    use CoordinatorTimer::{Attach, Prefetch, Probation, Return};
    [Probation, Prefetch, Attach, Probation, Return, Return]
        .into_iter()
        .map(|timer| timer.duration(group) * u32::from(SENDS))
        .sum()
}

#[cfg(test)]
mod tests {
    use gibbon_media::GroupId;

    use super::*;

    #[test]
    fn a_live_leg_is_waited_for_half_a_second_and_one_from_a_group_on_a_whole_group() {
        let attach = |start| ClientTimer::Attach { description: Description::One, start };
        let (short, long) = (Duration::from_millis(200), Duration::from_secs(2));
        assert_eq!(attach(Start::Live).duration(long, 0.0), Duration::from_millis(500));
        assert_eq!(attach(Start::Live).duration(short, 0.0), short);
        assert_eq!(attach(Start::At(GroupId(7))).duration(long, 0.0), long);
    }

    #[test]
    fn tries_are_spread_by_jitter_within_bounds() {
        let reattach = ClientTimer::Reattach { description: Description::One };
        let group = Duration::from_secs(1);
        for (jitter, ms) in [(-1.0, 0), (0.0, 0), (0.5, 25), (1.0, 50), (2.0, 50)] {
            assert_eq!(reattach.duration(group, jitter), Duration::from_millis(ms), "{jitter}");
        }
    }
}
