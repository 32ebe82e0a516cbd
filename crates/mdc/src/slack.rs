//! How long before their deadlines frames arrive, and when the playout delay is to grow.

use std::time::Duration;

use gibbon_media::GroupId;

/// No frame should arrive with less than this part of the delay to spare.
const SPARE_PERCENT: u32 = 15;

/// Deadline less arrival of a description's frames, in µs; negative: too late. First copies only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slack {
    /// The newest group of which a frame has arrived.
    pub group: GroupId,
    /// Of its latest frame.
    pub latest_us: i64,
    /// The least of all its frames.
    pub worst_us: i64,
}

impl Slack {
    /// Whether every frame of the group so far arrived at least `margin` before its deadline.
    pub fn at_least(&self, margin: Duration) -> bool {
        self.worst_us >= micros(margin)
    }
}

/// Watches the arrivals of one description. The delay is to be such that the worst frame of a group
/// has `SPARE_PERCENT` of it to spare. One late group is an event, two in a row are a condition: the
/// lesser of their needs counts, and when a third begins (so something still arrives) it is asked for.
#[derive(Debug, Default)]
pub(crate) struct Punctuality {
    newest: Option<Slack>,
    /// The longest that a frame was under way, in the newest group and in the one before it.
    worst_lag: Duration,
    lag_before: Duration,
}

impl Punctuality {
    /// Notes the arrival of a frame, `lag` after it would have been due without any delay (zero, if it
    /// was sent to catch up). Returns the delay that is needed, as far as is known at a group's first.
    pub fn note(&mut self, group: GroupId, slack_us: i64, lag: Duration) -> Option<Duration> {
        match &mut self.newest {
            Some(newest) if group < newest.group => return None,
            Some(newest) if group == newest.group => {
                newest.latest_us = slack_us;
                newest.worst_us = newest.worst_us.min(slack_us);
                self.worst_lag = self.worst_lag.max(lag);
                return None;
            }
            _ => {}
        }
        let needed = self.worst_lag.min(self.lag_before) * 100 / (100 - SPARE_PERCENT);
        self.newest = Some(Slack { group, latest_us: slack_us, worst_us: slack_us });
        (self.lag_before, self.worst_lag) = (self.worst_lag, lag);
        Some(needed)
    }

    pub fn slack(&self) -> Option<Slack> {
        self.newest
    }
}

/// `deadline − arrival` in µs.
pub(crate) fn between(deadline: Duration, arrival: Duration) -> i64 {
    micros(deadline) - micros(arrival)
}

fn micros(d: Duration) -> i64 {
    i64::try_from(d.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn needs(lags_ms: &[(u64, u64)]) -> Vec<Option<Duration>> {
        let mut punctuality = Punctuality::default();
        let note = |(group, lag): &(u64, u64)| punctuality.note(GroupId(*group), 0, ms(*lag));
        lags_ms.iter().map(note).collect()
    }

    #[test]
    fn the_delay_needed_is_that_of_the_better_of_two_groups_in_a_row() {
        let asked = needs(&[(1, 17), (1, 850), (2, 34), (2, 1700), (3, 17), (4, 17)]);
        let [none, both, late_once] = [0, 1000, 20].map(|delay| Some(ms(delay)));
        assert_eq!(asked, [none, None, none, None, both, late_once]);
    }

    #[test]
    fn slack_is_that_of_the_newest_group() {
        let mut punctuality = Punctuality::default();
        for (group, slack) in [(1, 5), (2, 800_000), (2, 700_000), (1, -9), (2, 750_000)] {
            punctuality.note(GroupId(group), slack, ms(0));
        }
        let slack = punctuality.slack().unwrap();
        let newest = Slack { group: GroupId(2), latest_us: 750_000, worst_us: 700_000 };
        assert_eq!(slack, newest);
        assert!(slack.at_least(ms(700)));
        assert!(!slack.at_least(ms(701)));
    }
}
