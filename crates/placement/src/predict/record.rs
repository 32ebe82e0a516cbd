//! How far off a predictor was: what it said is kept until it can be compared with what came.

use std::{collections::VecDeque, time::Duration};

use gibbon_media::MediaTime;

/// How far ahead predictors say what is compared with what comes.
pub(super) const COMPARED_AT: Duration = Duration::from_secs(30);
/// Predictions that wait for their time; beyond that the oldest is given up.
const MAX_WAITING: usize = 64;
/// How much the newest error counts in the means.
const SHARE: f64 = 0.05;

/// Predictions of one kind, on their way to be compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Record<T> {
    waiting: VecDeque<(MediaTime, T, T)>,
    errors: Errors,
}

/// Mean absolute errors, in the unit of what was predicted; the newest count most (an exponential mean).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Errors {
    /// Of the predictor.
    pub predicted: f64,
    /// Of the naive one, which says that all stays as it is.
    pub naive: f64,
    /// Comparisons made.
    pub compared: u64,
}

impl<T> Default for Record<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), errors: Errors::default() }
    }
}

impl<T> Record<T> {
    /// `predicted` was said about the time `at`, when things stood as in `naive`.
    pub fn expect(&mut self, at: MediaTime, predicted: T, naive: T) {
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back((at, predicted, naive));
    }

    /// At `now` things stand as in `truth`. `off` says how far a prediction is from it. Compared is what was said
    /// about a time not more than `tolerance` ago; what is older was never seen. Returns what was said, and how far off it
    /// was.
    pub fn compare<Truth>(
        &mut self,
        now: MediaTime,
        truth: &Truth,
        tolerance: Duration,
        off: impl Fn(&T, &Truth) -> f64,
    ) -> Vec<(T, f64)> {
        let mut compared = Vec::new();
        while let Some((at, ..)) = self.waiting.front().filter(|(at, ..)| *at <= now) {
            let in_time = now.since(*at) <= tolerance;
            let Some((_, predicted, naive)) = self.waiting.pop_front() else { break };
            if in_time {
                let how_far = off(&predicted, truth);
                self.errors.note(how_far, off(&naive, truth));
                compared.push((predicted, how_far));
            }
        }
        compared
    }

    /// What was said no longer concerns what comes, as after a jump: it is not compared.
    pub fn forget(&mut self) {
        self.waiting.clear();
    }

    /// How far off it was.
    pub fn errors(&self) -> Errors {
        self.errors
    }
}

impl Errors {
    fn note(&mut self, predicted: f64, naive: f64) {
        self.compared += 1;
        let share = SHARE.max(1.0 / self.compared as f64);
        self.predicted += share * (predicted - self.predicted);
        self.naive += share * (naive - self.naive);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_was_said_is_compared_when_its_time_comes() {
        let mut record = Record::default();
        let mut now = MediaTime(1_000_000_000);
        let off = |a: &f64, b: &f64| (a - b).abs();
        for n in 0..50 {
            let truth = f64::from(n) * 2.0;
            record.compare(now, &truth, SECOND, off);
            record.expect(now + SECOND * 3, truth + 5.0, truth);
            now = now + SECOND;
        }
        let errors = record.errors();
        assert_eq!(errors.compared, 47);
        assert!((errors.predicted - 1.0).abs() < 1e-9, "{errors:?}");
        assert!((errors.naive - 6.0).abs() < 1e-9, "{errors:?}");
    }

    #[test]
    fn what_nobody_saw_is_not_compared_and_what_waits_is_bounded() {
        let mut record = Record::default();
        let start = MediaTime(1_000_000_000);
        for n in 0..200u32 {
            record.expect(start + SECOND * n, 0.0, 0.0);
        }
        record.compare(start + SECOND * 500, &1.0, SECOND, |a, b| a - b);
        assert_eq!(record.errors().compared, 0);
        assert!(record.waiting.is_empty());
    }
}
