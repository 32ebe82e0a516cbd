//! The times that are looked ahead to, and what a place costs at each.

use std::{ops::RangeInclusive, time::Duration};

use gibbon_media::MediaTime;

/// Steps of the horizon.
pub const K: usize = 10;

/// The steps: close ones for when to act, distant ones for whether it is worth it.
pub const STEPS: [Duration; K] = {
    let s = Duration::from_secs;
    [s(0), s(2), s(5), s(10), s(15), s(20), s(30), s(45), s(60), s(90)]
};

/// The same in seconds.
pub(super) const SECONDS: [f64; K] = [0.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0];

/// The end of the horizon.
pub const HORIZON: Duration = STEPS[K - 1];

/// What it costs to be somewhere, per second, at each step: 0 if all is well, 1 if nothing is shown.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Costs(pub [f64; K]);

impl Costs {
    /// Over the whole horizon, in seconds without a picture: by trapezoids.
    pub fn area(&self) -> f64 {
        let Costs(c) = self;
        (1..K).map(|k| (SECONDS[k] - SECONDS[k - 1]) * (c[k] + c[k - 1]) / 2.0).sum()
    }

    /// By how much it is more than `other`, at each step; below zero where it is less.
    pub fn excess(&self, other: &Costs) -> Costs {
        Costs(std::array::from_fn(|k| self.0[k] - other.0[k]))
    }

    /// The most that it costs at any step.
    pub fn most(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f64::max)
    }

    /// When it first is more than `level`, counted from `now`: somewhere between two steps, or at one. It is to be reckoned
    /// with from the first of them on, for it may come at once.
    pub fn exceeds(&self, level: f64, now: MediaTime) -> Option<RangeInclusive<MediaTime>> {
        let k = self.0.iter().position(|cost| *cost > level)?;
        Some(now + STEPS[k.saturating_sub(1)]..=now + STEPS[k])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_the_mean_cost_times_the_time() {
        assert!((Costs([0.5; K]).area() - 45.0).abs() < 1e-9);
        let rises = Costs(SECONDS.map(|s| s / 90.0));
        assert!((rises.area() - 45.0).abs() < 1e-9);
        assert!((rises.excess(&Costs([0.5; K])).area()).abs() < 1e-9);
        assert_eq!(SECONDS, STEPS.map(|s| s.as_secs_f64()));
    }

    #[test]
    fn a_level_is_crossed_between_two_steps_and_at_once_where_it_is_passed_already() {
        let now = MediaTime(1_000_000_000);
        let rises = Costs(SECONDS.map(|s| s / 100.0));
        let crossed = rises.exceeds(0.12, now).unwrap();
        let seconds = [crossed.start(), crossed.end()].map(|at| at.since(now).as_secs_f64());
        assert_eq!(seconds, [10.0, 15.0]);
        assert_eq!(Costs([0.5; K]).exceeds(0.1, now), Some(now..=now));
        assert_eq!(rises.exceeds(0.95, now), None);
    }
}
