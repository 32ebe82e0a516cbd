//! How well frames get from a node to a client: measured, and where it is not, by distance.
//!
//! *Slack* is the time by which frames come before their deadline. A change of it is found by a two-sided CUSUM
//! (Page, "Continuous Inspection Schemes", Biometrika 41, 1954); what comes since is put on a line by least squares, so
//! that a path that gets worse slowly is seen to, and one that got worse at once is taken for what it is now.

use std::time::Duration;

use gibbon_media::MediaTime;

use crate::{
    Kilometres,
    predict::{Errors, Record},
};

use super::horizon::{K, SECONDS};

/// How much the newest sample counts in the level, and in the baseline that changes are measured from.
const LEVEL_SHARE: f64 = 0.3;
const BASELINE_SHARE: f64 = 0.05;
/// In standard deviations: what is taken for no change, and how much of more adds up to one. At 0.5 and 6 a false
/// alarm comes once in some 2500 samples (Siegmund, "Sequential Analysis", 1985, section 2.5).
const DRIFT: f64 = 0.5;
const ALARM: f64 = 6.0;
/// By so many standard deviations less, a path has got worse at once.
const STEP: f64 = 8.0;
/// Samples that it takes to have a baseline.
const BASELINE_AFTER: u32 = 8;
/// On a line, so many samples back count for a third.
const LINE_MEMORY: f64 = 16.0;
/// A trend goes on for so long, in s.
pub(super) const TREND_LASTS: f64 = 60.0;
/// A slope of less than so many of its standard errors is none.
const SIGNIFICANT: f64 = 2.0;
/// A change is over when it is so many samples old and has no slope.
const SETTLED_AFTER: f64 = 12.0;
/// Slack does not vary by less than this, in ms.
const LEAST_DEVIATION_MS: f64 = 1.0;
/// Slacks beyond this are absurd, in ms.
const MOST_MS: f64 = 60_000.0;
/// A prediction is made so often for the account of errors, and compared so much later.
const COMPARED_AT: Duration = Duration::from_secs(30);
const COMPARED_WITHIN: Duration = Duration::from_secs(10);

/// Round-trip time by distance, as in a region.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PathPrior {
    /// At no distance, in ms.
    pub base_ms: f64,
    /// For each km, in ms: light in fibre and back takes 0.01, roads for fibre are half as long again.
    pub per_km_ms: f64,
    /// Standard deviation at no distance, in ms …
    pub deviation_ms: f64,
    /// … and for each km.
    pub deviation_per_km_ms: f64,
}

impl Default for PathPrior {
    fn default() -> Self {
        Self { base_ms: 10.0, per_km_ms: 0.015, deviation_ms: 15.0, deviation_per_km_ms: 0.005 }
    }
}

impl PathPrior {
    /// Mean round-trip time over this distance, in ms.
    pub fn rtt_ms(&self, distance: Kilometres) -> f64 {
        self.base_ms + self.per_km_ms * distance.as_f64()
    }

    /// Its standard deviation, in ms.
    pub fn deviation_ms(&self, distance: Kilometres) -> f64 {
        self.deviation_ms + self.deviation_per_km_ms * distance.as_f64()
    }
}

/// What a client measured on the path from a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// When.
    pub at: MediaTime,
    /// Mean slack of frames, in ms; below zero they come late. Of the path alone: what the stream lags already where it
    /// comes from ([`Feed`](super::Feed)) is added to what was measured.
    pub slack_ms: f64,
    /// Its standard deviation, in ms.
    pub deviation_ms: f64,
    /// Share of frames, taken for that of groups, that missed for reasons that slack does not show, 0 to 1.
    pub missed: f64,
}

/// A sample that says nothing: no number, absurd, or not newer than the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sample is no number, absurd, or not newer than the last one")]
pub struct Unusable;

/// What is known of the path from one node to one client.
#[derive(Debug, Clone, PartialEq)]
pub struct PathEstimate {
    at: MediaTime,
    samples: u32,
    level: f64,
    baseline: f64,
    /// Of samples around the level, and of frames around their samples, in ms².
    variance: f64,
    missed: f64,
    /// Sums of what is above and below the baseline.
    cusum: [f64; 2],
    /// Since each of them was last zero.
    lines: [Line; 2],
    /// Which of them raised the alarm.
    changed: Option<usize>,
    record: Record<f64>,
    said: MediaTime,
}

/// Least squares, of time in s after `origin` and slack in ms.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Line {
    origin: MediaTime,
    n: f64,
    t: f64,
    y: f64,
    tt: f64,
    ty: f64,
}

impl PathEstimate {
    /// What a first sample says.
    pub fn begin(sample: Sample) -> Result<Self, Unusable> {
        usable(&sample)?;
        Ok(Self {
            at: sample.at,
            samples: 1,
            level: sample.slack_ms,
            baseline: sample.slack_ms,
            variance: sample.deviation_ms.max(LEAST_DEVIATION_MS).powi(2),
            missed: sample.missed,
            cusum: [0.0; 2],
            lines: [Line::default(); 2],
            changed: None,
            record: Record::default(),
            said: sample.at,
        })
    }

    /// Takes in what was measured.
    pub fn update(&mut self, sample: Sample) -> Result<(), Unusable> {
        usable(&sample)?;
        if sample.at <= self.at {
            return Err(Unusable);
        }
        self.account(&sample);
        self.look_for_change(&sample);
        let off = sample.slack_ms - self.level;
        // What has changed beyond all chance is taken for what it is now.
        let share = if off < -STEP * self.deviation_ms() { 1.0 } else { LEVEL_SHARE };
        self.level += share * off;
        self.baseline += self.baseline_share() * (sample.slack_ms - self.baseline);
        let square = sample.deviation_ms.powi(2) + if self.trending() { 0.0 } else { off * off };
        self.variance += 2.0 * BASELINE_SHARE * (square - self.variance);
        self.missed += LEVEL_SHARE * (sample.missed - self.missed);
        self.samples = self.samples.saturating_add(1);
        self.at = sample.at;
        Ok(())
    }

    fn look_for_change(&mut self, sample: &Sample) {
        let standard = (sample.slack_ms - self.baseline) / self.deviation_ms();
        for (side, sign) in [(0, 1.0), (1, -1.0)] {
            let sum = (self.cusum[side] + sign * standard - DRIFT).max(0.0);
            self.cusum[side] = sum.min(2.0 * ALARM);
            match sum {
                0.0 if self.changed != Some(side) => self.lines[side] = Line::default(),
                _ => self.lines[side].note(sample),
            }
            if sum > ALARM && self.changed.is_none() && self.samples >= BASELINE_AFTER {
                self.changed = Some(side);
            }
        }
        let settled = |line: &Line| line.n >= SETTLED_AFTER && self.slope_of(line).is_none();
        if self.changed.is_some_and(|side| settled(&self.lines[side])) {
            self.baseline = self.level;
            (self.changed, self.cusum, self.lines) = (None, [0.0; 2], [Line::default(); 2]);
        }
    }

    /// The baseline is learned at first, and left alone during a change.
    fn baseline_share(&self) -> f64 {
        match self.changed {
            Some(_) => 0.0,
            None => BASELINE_SHARE.max(1.0 / f64::from(self.samples + 1)),
        }
    }

    /// Slope and its standard error, in ms per s, where there is one.
    fn slope_of(&self, line: &Line) -> Option<(f64, f64)> {
        let (slope, spread) = line.slope()?;
        let error = self.deviation_ms() / spread.sqrt();
        (slope.abs() > SIGNIFICANT * error).then_some((slope, error))
    }

    fn slope(&self) -> Option<(f64, f64)> {
        self.changed.and_then(|side| self.slope_of(&self.lines[side]))
    }

    fn trending(&self) -> bool {
        self.slope().is_some()
    }

    fn account(&mut self, sample: &Sample) {
        let off = |said: &f64, truth: &f64| (said - truth).abs();
        self.record.compare(sample.at, &sample.slack_ms, COMPARED_WITHIN, off);
        if sample.at >= self.said + COMPARED_AT {
            self.said = sample.at;
            let [(slack, _)] = self.ahead([COMPARED_AT.as_secs_f64()]);
            self.record.expect(sample.at + COMPARED_AT, slack, self.level);
        }
    }

    /// Slack and its deviation at each step of the horizon, in ms.
    pub fn forecast(&self) -> [(f64, f64); K] {
        self.ahead(SECONDS)
    }

    /// The same so many seconds ahead.
    fn ahead<const N: usize>(&self, seconds: [f64; N]) -> [(f64, f64); N] {
        let deviation = self.deviation_ms();
        match self.changed.zip(self.slope()) {
            None => [(self.level, deviation); N],
            Some((side, (slope, error))) => {
                let now = self.lines[side].at(self.at, slope);
                seconds.map(|seconds| {
                    let time = seconds.min(TREND_LASTS);
                    (now + slope * time, deviation.hypot(error * time))
                })
            }
        }
    }

    /// Whether it neither has changed of late nor is changing.
    pub fn calm(&self) -> bool {
        self.changed.is_none()
    }

    /// Whether it has been measured often enough to tell a change from chance.
    pub fn settled(&self) -> bool {
        self.samples >= BASELINE_AFTER
    }

    /// By how much slack grows each second, in ms; below zero, the path gets worse.
    pub fn trend(&self) -> f64 {
        self.slope().map_or(0.0, |(slope, _)| slope)
    }

    /// Slack now, in ms.
    pub fn level_ms(&self) -> f64 {
        self.level
    }

    /// Slack before it changed, in ms.
    pub fn baseline_ms(&self) -> f64 {
        self.baseline
    }

    /// Standard deviation of slack, in ms.
    pub fn deviation_ms(&self) -> f64 {
        self.variance.sqrt().max(LEAST_DEVIATION_MS)
    }

    /// Share of groups that miss for reasons that slack does not show.
    pub fn missed(&self) -> f64 {
        self.missed
    }

    /// When it was last measured.
    pub fn measured_at(&self) -> MediaTime {
        self.at
    }

    /// How far off predictions of 30 s were, in ms.
    pub fn errors(&self) -> Errors {
        self.record.errors()
    }
}

impl Line {
    fn note(&mut self, sample: &Sample) {
        if self.n == 0.0 {
            self.origin = sample.at;
        }
        let keep = 1.0 - 1.0 / LINE_MEMORY;
        let (t, y) = (sample.at.since(self.origin).as_secs_f64(), sample.slack_ms);
        for (sum, new) in [
            (&mut self.n, 1.0),
            (&mut self.t, t),
            (&mut self.y, y),
            (&mut self.tt, t * t),
            (&mut self.ty, t * y),
        ] {
            *sum = keep * *sum + new;
        }
    }

    /// Where a line of this slope through the middle is at a time.
    fn at(&self, time: MediaTime, slope: f64) -> f64 {
        let n = self.n.max(1.0);
        self.y / n + slope * (time.since(self.origin).as_secs_f64() - self.t / n)
    }

    /// Slope, and sum of squares of the times around their mean.
    fn slope(&self) -> Option<(f64, f64)> {
        let spread = self.tt - self.t * self.t / self.n.max(1.0);
        (self.n >= 3.0 && spread > 1e-9)
            .then(|| ((self.ty - self.t * self.y / self.n) / spread, spread))
    }
}

fn usable(sample: &Sample) -> Result<(), Unusable> {
    let Sample { slack_ms, deviation_ms, missed, .. } = *sample;
    let sensible = slack_ms.abs() <= MOST_MS
        && (0.0..=MOST_MS).contains(&deviation_ms)
        && (0.0..=1.0).contains(&missed);
    if sensible { Ok(()) } else { Err(Unusable) }
}

#[cfg(test)]
mod tests {
    use proptest::{num::f64::ANY, prelude::*};

    use super::*;

    const START: MediaTime = MediaTime(1_000_000_000_000);

    fn noise(n: u64) -> f64 {
        // As in splitmix64.
        let z = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 40) as f64 / f64::from(1 << 24)
            - 0.5
    }

    /// A sample each `every` seconds until `until`.
    fn measured(every: u64, until: u64, slack: impl Fn(f64) -> f64) -> PathEstimate {
        let sample = |second: u64| Sample {
            at: START + Duration::from_secs(second),
            slack_ms: slack(second as f64) + 20.0 * noise(second),
            deviation_ms: 10.0,
            missed: 0.0,
        };
        let mut path = PathEstimate::begin(sample(0)).unwrap();
        (every..=until).step_by(every as usize).for_each(|s| path.update(sample(s)).unwrap());
        path
    }

    #[test]
    fn slack_that_shrinks_slowly_is_foreseen_to_be_gone() {
        for every in [1, 5] {
            let path = measured(every, 300, |t| 700.0 - 4.0 * (t - 200.0).max(0.0));
            assert!((path.trend() + 4.0).abs() < 1.0, "{}", path.trend());
            let (in_a_minute, _) = path.forecast()[8];
            assert!((in_a_minute - 60.0).abs() < 60.0, "{in_a_minute}");
        }
        let steady = measured(1, 900, |t| 2000.0 - 2.0 * t).errors();
        assert!(steady.compared >= 20 && steady.predicted * 2.0 < steady.naive, "{steady:?}");
    }

    #[test]
    fn a_path_that_got_worse_at_once_is_taken_for_what_it_is_now() {
        let path = measured(1, 260, |t| if t < 200.0 { 700.0 } else { 300.0 });
        let (in_a_minute, _) = path.forecast()[8];
        assert!((in_a_minute - 300.0).abs() < 40.0, "{in_a_minute}");
        assert!(path.calm(), "that is how it is now");
    }

    #[test]
    fn noise_is_no_change() {
        let path = measured(1, 3600, |_| 500.0);
        assert!(path.calm() && path.trend() == 0.0);
        assert!((path.level_ms() - 500.0).abs() < 15.0);
    }

    proptest! {
        #[test]
        fn what_is_no_sample_is_refused_and_what_is_foreseen_is_a_number(
            samples in proptest::collection::vec((any::<u64>(), ANY, ANY, ANY), 1..40),
        ) {
            let mut path = measured(1, 20, |_| 500.0);
            for (at, slack_ms, deviation_ms, missed) in samples {
                let sample = Sample { at: MediaTime(at), slack_ms, deviation_ms, missed };
                let before = path.clone();
                if path.update(sample).is_err() {
                    prop_assert_eq!(&before, &path);
                }
                let said = path.forecast();
                prop_assert!(said.iter().all(|(slack, deviation)| slack.is_finite() && *deviation > 0.0));
            }
        }
    }
}
