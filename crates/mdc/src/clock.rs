//! The playout clock: when each moment of media time is due. It never pauses.

use std::time::Duration;

use gibbon_media::MediaTime;

/// Playback is slowed by at most 1 / 20 = 5 %: while the delay grows, 19 µs of media last 20 µs.
const SLOWED: u32 = 19;
/// The delay grows in steps of this part of the initial delay …
const STEPS_PER_DELAY: u32 = 20;
/// … and by this many steps at most: to 1.2 × the initial delay.
const MAX_STEPS: u32 = 4;

/// Maps media time to local time (since session start). Media time `t` is due at
/// `anchor_local + (t − anchor_media) + delay`. The delay grows only by slowing playback, by ≤ 5 % and
/// up to 1.2 × its initial length; what is due by the time of a request stays due when it was.
#[derive(Debug, Clone)]
pub struct PlayoutClock {
    anchor_local: Duration,
    anchor_media: MediaTime,
    initial: Duration,
    /// Where playback is slowed: in order, apart, each by at least a step, so at most `MAX_STEPS`.
    stretches: Vec<Stretch>,
}

#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: MediaTime,
    growth: Duration,
}

impl Stretch {
    fn end(self) -> MediaTime {
        self.from + self.growth * SLOWED
    }

    fn grown_at(self, t: MediaTime) -> Duration {
        (t.since(self.from) / SLOWED).min(self.growth)
    }
}

impl PlayoutClock {
    /// A clock that at `now` stands `delay` behind `live`, the newest media time published.
    pub fn new(now: Duration, live: MediaTime, delay: Duration) -> Self {
        // Whole µs, as media time has, so that `position` rounds only once; up, so that nothing is due
        // before `now`.
        let anchor_local = whole_micros(now + Duration::from_nanos(999));
        Self {
            anchor_local,
            anchor_media: live,
            initial: whole_micros(delay),
            stretches: Vec::new(),
        }
    }

    /// When `t` is to be shown; session start if that is past. Never earlier for a later `t`.
    pub fn due(&self, t: MediaTime) -> Duration {
        let begin = self.anchor_local + self.initial;
        let ahead = t.since(self.anchor_media);
        (begin + ahead).saturating_sub(self.anchor_media.since(t)) + self.grown_at(t)
    }

    /// How long after it would be due without any delay `t` is at `now`; zero if it is early.
    pub fn lag(&self, now: Duration, t: MediaTime) -> Duration {
        (now + self.anchor_media.since(t))
            .saturating_sub(self.anchor_local + t.since(self.anchor_media))
    }

    /// The latest media time that is due at `now`, to the µs below.
    pub fn position(&self, now: Duration) -> MediaTime {
        let now = whole_micros(now);
        let begin = self.anchor_local + self.initial;
        // Where playback would stand had it never been slowed.
        let unslowed = match now.checked_sub(begin) {
            Some(after) => self.anchor_media + after,
            None => self.anchor_media.back(begin - now),
        };
        let mut grown = Duration::ZERO;
        for stretch in &self.stretches {
            let over = unslowed.back(grown).since(stretch.from);
            if over < stretch.growth * (SLOWED + 1) {
                let slowed_by = over.as_micros().div_ceil(u128::from(SLOWED) + 1);
                return unslowed.back(grown + micros(slowed_by));
            }
            grown += stretch.growth;
        }
        unslowed.back(grown)
    }

    /// Slows playback from `now` on until the delay is at least `to`, as far as the bound allows.
    pub fn request_growth(&mut self, now: Duration, to: Duration) {
        let step = whole_micros(self.initial / STEPS_PER_DELAY);
        if step.is_zero() {
            return;
        }
        let wanted = to.saturating_sub(self.max()).as_nanos().div_ceil(step.as_nanos());
        let left = (self.initial + step * MAX_STEPS - self.max()).as_nanos() / step.as_nanos();
        let steps = u32::try_from(wanted.min(left)).unwrap_or(0);
        if steps > 0 {
            // After the stretch under way, if any: two at once would slow playback twice as much.
            let from = self.stretches.last().map_or(MediaTime(0), |last| last.end());
            self.stretches
                .push(Stretch { from: from.max(self.position(now)), growth: step * steps });
        }
    }

    /// The delay at the start.
    pub fn initial(&self) -> Duration {
        self.initial
    }

    /// The longest delay so far granted, reached or under way; at most 1.2 × the initial one.
    pub fn max(&self) -> Duration {
        self.initial + self.stretches.iter().map(|stretch| stretch.growth).sum::<Duration>()
    }

    /// The delay of what is shown at `now`.
    pub fn delay(&self, now: Duration) -> Duration {
        self.initial + self.grown_at(self.position(now))
    }

    fn grown_at(&self, t: MediaTime) -> Duration {
        self.stretches.iter().map(|stretch| stretch.grown_at(t)).sum()
    }
}

fn whole_micros(d: Duration) -> Duration {
    micros(d.as_micros())
}

fn micros(us: u128) -> Duration {
    Duration::from_micros(u64::try_from(us).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIVE: MediaTime = MediaTime(1_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_live_position_is_due_one_delay_after_the_anchor() {
        let clock = PlayoutClock::new(ms(300), LIVE, SECOND);
        assert_eq!(clock.due(LIVE), ms(1300));
        assert_eq!(clock.due(LIVE.back(SECOND)), ms(300));
        assert_eq!(clock.position(ms(300)), LIVE.back(SECOND));
        assert_eq!(clock.due(MediaTime(0)), Duration::ZERO);
    }

    #[test]
    fn growth_takes_twenty_times_its_length_and_ends() {
        let mut clock = PlayoutClock::new(Duration::ZERO, LIVE, SECOND);
        clock.request_growth(SECOND, ms(1100));
        assert_eq!(clock.max(), ms(1100));
        assert_eq!(clock.delay(SECOND), SECOND);
        assert_eq!(clock.delay(2 * SECOND), ms(1050));
        assert_eq!(clock.delay(3 * SECOND), ms(1100));
        assert_eq!(clock.delay(9 * SECOND), ms(1100));
        assert_eq!(clock.due(LIVE + 9 * SECOND), ms(10_100));
    }

    #[test]
    fn growth_ends_at_a_fifth_of_the_initial_delay() {
        let mut clock = PlayoutClock::new(Duration::ZERO, LIVE, SECOND);
        clock.request_growth(SECOND, ms(1180));
        clock.request_growth(SECOND, ms(5000));
        assert_eq!(clock.max(), ms(1200));
        assert_eq!(clock.initial(), SECOND);
    }

    #[test]
    fn a_clock_without_delay_never_grows() {
        let mut clock = PlayoutClock::new(Duration::ZERO, LIVE, Duration::ZERO);
        clock.request_growth(SECOND, SECOND);
        assert_eq!(clock.max(), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn time_runs_forward_at_95_to_100_percent_and_the_past_stays(
            anchor_ns in 1_000_000_000u64..5_000_000_000,
            delay_us in 0u64..3_000_000,
            requests in proptest::collection::vec((0u64..400_000, 0u64..4_000_000), 0..12),
        ) {
            let anchor = Duration::from_nanos(anchor_ns);
            let delay = Duration::from_micros(delay_us);
            let mut clock = PlayoutClock::new(anchor, LIVE, delay);
            let moments = |upto| (0..upto).map(|i| LIVE.back(SECOND) + ms(10) * i);
            let mut now = anchor;
            for (after, to) in requests {
                now += Duration::from_micros(after);
                let position = clock.position(now);
                let past: Vec<_> = moments(600)
                    .take_while(|t| *t <= position)
                    .map(|t| (t, clock.due(t)))
                    .collect();
                clock.request_growth(now, Duration::from_micros(to));
                for (t, due) in past {
                    prop_assert!(due <= now);
                    prop_assert_eq!(clock.due(t), due);
                }
                prop_assert_eq!(clock.position(now), position);
            }
            prop_assert!(clock.max() <= delay + delay / 5);
            prop_assert!(clock.stretches.len() <= MAX_STEPS as usize);
            for t in moments(1200) {
                let lasts = clock.due(t + ms(10)) - clock.due(t);
                // 10 ms of media, slowed by 5 %, last 10 × 20 / 19 ms; 1 µs for rounding.
                prop_assert!(lasts >= ms(10) && lasts <= Duration::from_micros(10_528), "{lasts:?}");
                let due = clock.due(t);
                let position = clock.position(due);
                prop_assert!(position <= t && t.since(position) <= Duration::from_micros(1));
                prop_assert!(clock.due(position) <= due);
            }
        }
    }
}
