//! A downlink that cannot carry both descriptions: one is let go, and taken back when there is hope. Pure:
//! time is passed in, since any fixed moment.
//!
//! ```text
//!           both legs tight                 the rest is over              it holds
//!  whole ------------------> at rest ------------------------> on trial ----------> whole
//!                               ^     it does not come: a longer rest |
//!                               +-------------------------------------+
//! ```

use std::time::Duration;

use gibbon_media::Description;

/// The description that is let go.
pub const LET_GO: Description = Description::One;
/// Both legs are short of time for this long before one is let go: a burst must pass.
const SURE_AFTER: Duration = Duration::from_millis(100);
/// The first rest before the description is taken back.
const FIRST_REST: Duration = Duration::from_secs(5);
/// The longest; each failure doubles it.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// Good service for this long makes the next rest a first one.
const GOOD_AFTER: Duration = Duration::from_secs(30);
/// A description that has not come back by then has failed to.
const TRIAL: Duration = Duration::from_secs(3);

/// What is seen of the two legs.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Whether each description is delivered.
    pub held: [bool; 2],
    /// Whether the time of each leg that delivers is getting short.
    pub tight: [bool; 2],
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Let [`LET_GO`] go. Say so with [`Downlink::let_go`] once that is done.
    LetGo,
    /// Take it back.
    TakeBack,
}

/// Decides when one description is let go because of the downlink, and when it is taken back.
#[derive(Debug)]
pub struct Downlink {
    state: State,
    /// The next rest.
    rest: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Both descriptions are wanted: since when, and since when both are short of time.
    Whole {
        since: Duration,
        tight_since: Option<Duration>,
    },
    Resting {
        until: Duration,
    },
    Trying {
        until: Duration,
    },
}

impl Downlink {
    /// Both descriptions are wanted at `now`.
    pub fn new(now: Duration) -> Self {
        Self { state: State::Whole { since: now, tight_since: None }, rest: FIRST_REST }
    }

    /// Whether a description is done without because of the downlink.
    pub fn is_narrow(&self) -> bool {
        !matches!(self.state, State::Whole { .. })
    }

    /// What is to be done; ask often.
    pub fn poll(&mut self, now: Duration, seen: Seen) -> Option<Step> {
        let Seen { held, tight } = seen;
        let whole = held == [true; 2];
        match &mut self.state {
            State::Whole { since, tight_since } => {
                if now.saturating_sub(*since) >= GOOD_AFTER {
                    self.rest = FIRST_REST;
                }
                let both_tight = whole && tight == [true; 2];
                *tight_since = both_tight.then(|| tight_since.unwrap_or(now));
                tight_since.filter(|t| now.saturating_sub(*t) >= SURE_AFTER).map(|_| Step::LetGo)
            }
            // Somebody else has taken it back: the coordinator, or the leg itself has come to life.
            State::Resting { .. } | State::Trying { .. } if whole => {
                self.state = State::Whole { since: now, tight_since: None };
                None
            }
            State::Resting { until } if now >= *until && held[LET_GO.other().index()] => {
                self.state = State::Trying { until: now + TRIAL };
                Some(Step::TakeBack)
            }
            State::Trying { until } if now >= *until => {
                self.let_go(now);
                None
            }
            State::Resting { .. } | State::Trying { .. } => None,
        }
    }

    /// The description was let go, or could not be taken back.
    pub fn let_go(&mut self, now: Duration) {
        self.state = State::Resting { until: now + self.rest };
        self.rest = (self.rest * 2).min(LONGEST_REST);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: Seen = Seen { held: [true; 2], tight: [false; 2] };
    const TIGHT: Seen = Seen { held: [true; 2], tight: [true; 2] };
    const ALONE: Seen = Seen { held: [true, false], tight: [false; 2] };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Polls every 20 ms for `length` or until there is something to do.
    fn until(
        downlink: &mut Downlink,
        now: &mut Duration,
        length: Duration,
        seen: Seen,
    ) -> Option<Step> {
        let end = *now + length;
        while *now < end {
            *now += ms(20);
            let step = downlink.poll(*now, seen);
            if step.is_some() {
                return step;
            }
        }
        None
    }

    /// Lets go at once and measures the rest.
    fn rest(downlink: &mut Downlink, now: &mut Duration) -> Duration {
        assert_eq!(until(downlink, now, ms(200), TIGHT), Some(Step::LetGo));
        downlink.let_go(*now);
        let from = *now;
        assert_eq!(until(downlink, now, ms(70_000), ALONE), Some(Step::TakeBack));
        *now - from
    }

    #[test]
    fn one_leg_that_is_short_of_time_is_not_the_downlink() {
        let (mut downlink, mut now) = (Downlink::new(ms(0)), ms(0));
        for tight in [[true, false], [false, true]] {
            assert_eq!(until(&mut downlink, &mut now, ms(5000), Seen { tight, ..GOOD }), None);
        }
    }

    #[test]
    fn a_burst_that_passes_is_not_either() {
        let (mut downlink, mut now) = (Downlink::new(ms(0)), ms(0));
        for _ in 0..10 {
            assert_eq!(until(&mut downlink, &mut now, ms(80), TIGHT), None);
            assert_eq!(until(&mut downlink, &mut now, ms(20), GOOD), None);
        }
    }

    #[test]
    fn each_failure_doubles_the_rest_up_to_a_minute() {
        let (mut downlink, mut now) = (Downlink::new(ms(0)), ms(0));
        for seconds in [5, 10, 20, 40, 60, 60] {
            assert_eq!(rest(&mut downlink, &mut now), Duration::from_secs(seconds));
            assert_eq!(until(&mut downlink, &mut now, ms(2000), GOOD), None);
        }
    }

    #[test]
    fn half_a_minute_of_good_service_forgives_all_failures() {
        let (mut downlink, mut now) = (Downlink::new(ms(0)), ms(0));
        rest(&mut downlink, &mut now);
        assert_eq!(until(&mut downlink, &mut now, ms(29_000), GOOD), None);
        assert_eq!(rest(&mut downlink, &mut now), Duration::from_secs(10));
        assert_eq!(until(&mut downlink, &mut now, ms(31_000), GOOD), None);
        assert_eq!(rest(&mut downlink, &mut now), Duration::from_secs(5));
    }

    #[test]
    fn a_description_that_does_not_come_back_is_a_failure() {
        let (mut downlink, mut now) = (Downlink::new(ms(0)), ms(0));
        rest(&mut downlink, &mut now);
        let from = now;
        assert_eq!(until(&mut downlink, &mut now, ms(20_000), ALONE), Some(Step::TakeBack));
        assert_eq!(now - from, TRIAL + Duration::from_secs(10));
    }

    #[test]
    fn while_the_other_one_is_being_recovered_nothing_is_taken_back() {
        let (mut downlink, mut now) = (Downlink::new(ms(0)), ms(0));
        assert_eq!(until(&mut downlink, &mut now, ms(200), TIGHT), Some(Step::LetGo));
        downlink.let_go(now);
        let neither = Seen { held: [false; 2], ..GOOD };
        assert_eq!(until(&mut downlink, &mut now, ms(9000), neither), None);
        assert_eq!(until(&mut downlink, &mut now, ms(100), ALONE), Some(Step::TakeBack));
    }

    proptest! {
        #[test]
        fn one_is_let_go_only_while_both_are_held(
            steps in proptest::collection::vec((1u64..4000, any::<[bool; 2]>(), any::<[bool; 2]>()), 1..200),
        ) {
            let (mut downlink, mut now) = (Downlink::new(ms(0)), ms(0));
            for (after, held, tight) in steps {
                now += ms(after);
                let narrow = downlink.is_narrow();
                match downlink.poll(now, Seen { held, tight }) {
                    Some(Step::LetGo) => {
                        prop_assert!(!narrow && held == [true; 2] && tight == [true; 2]);
                        downlink.let_go(now);
                    }
                    Some(Step::TakeBack) => prop_assert!(narrow && held != [true; 2]),
                    None => {}
                }
                prop_assert!((FIRST_REST..=LONGEST_REST).contains(&downlink.rest));
            }
        }
    }
}
