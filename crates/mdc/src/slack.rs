//! How long before their deadlines frames arrive, and when the playout delay is to grow.

use std::time::Duration;

use gibbon_media::GroupId;

/// A group whose worst frame arrives with less than this part of the delay to spare is close.
const CLOSE_PERCENT: u32 = 15;

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

/// Watches the slack of one description. One close group is an event, two in a row are a condition:
/// then, with the first frame of a third (so it still arrives), the delay is to grow.
#[derive(Debug, Default)]
pub(crate) struct Punctuality {
    newest: Option<Slack>,
    /// The newest group counts: it was not sent to catch up.
    live: bool,
    /// The group before the newest was close.
    was_close: bool,
}

impl Punctuality {
    /// Notes the arrival of a frame. Returns by how much the `delay` falls short, if it is to grow.
    pub fn note(
        &mut self,
        group: GroupId,
        slack_us: i64,
        live: bool,
        delay: Duration,
    ) -> Option<Duration> {
        match &mut self.newest {
            Some(newest) if group < newest.group => return None,
            Some(newest) if group == newest.group => {
                newest.latest_us = slack_us;
                newest.worst_us = newest.worst_us.min(slack_us);
                return None;
            }
            _ => {}
        }
        let before = self.newest.replace(Slack { group, latest_us: slack_us, worst_us: slack_us });
        let close_us = micros(delay * CLOSE_PERCENT / 100);
        let short_us = before.map_or(0, |before| close_us.saturating_sub(before.worst_us));
        let close = self.live && short_us > 0;
        let grow = close && self.was_close;
        (self.live, self.was_close) = (live, close);
        grow.then(|| Duration::from_micros(short_us.unsigned_abs()))
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

    const SECOND: Duration = Duration::from_secs(1);

    fn groups(slacks_us: &[(u64, i64)]) -> Vec<Option<Duration>> {
        let mut punctuality = Punctuality::default();
        slacks_us
            .iter()
            .map(|(group, slack)| punctuality.note(GroupId(*group), *slack, true, SECOND))
            .collect()
    }

    #[test]
    fn two_close_groups_in_a_row_ask_for_what_the_second_lacked() {
        let asked = groups(&[(1, 900_000), (1, 100_000), (2, -20_000), (3, 120_000)]);
        assert_eq!(asked, [None, None, None, Some(Duration::from_millis(170))]);
    }

    #[test]
    fn one_close_group_asks_for_nothing() {
        assert_eq!(groups(&[(1, 900_000), (2, 100_000), (3, 900_000), (4, 1)]), [None; 4]);
    }

    #[test]
    fn groups_sent_to_catch_up_ask_for_nothing() {
        let mut punctuality = Punctuality::default();
        for group in 1..4 {
            assert_eq!(punctuality.note(GroupId(group), 0, false, SECOND), None);
        }
    }

    #[test]
    fn slack_is_that_of_the_newest_group() {
        let mut punctuality = Punctuality::default();
        for (group, slack) in [(1, 5), (2, 800_000), (2, 700_000), (1, -9), (2, 750_000)] {
            punctuality.note(GroupId(group), slack, true, SECOND);
        }
        let slack = punctuality.slack().unwrap();
        let newest = Slack { group: GroupId(2), latest_us: 750_000, worst_us: 700_000 };
        assert_eq!(slack, newest);
        assert!(slack.at_least(Duration::from_millis(700)));
        assert!(!slack.at_least(Duration::from_millis(701)));
    }
}
