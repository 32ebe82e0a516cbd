//! Where a client will be: a Kalman filter over its positions.
//!
//! The model is velocity that is disturbed by white-noise acceleration and forgotten with time, for roads turn: an
//! Ornstein-Uhlenbeck process (Bar-Shalom, Li, Kirubarajan, "Estimation with Applications to Tracking and
//! Navigation", 2001, sections 6.2.2 and 8.2). How certain a prediction is, is corrected by how far off earlier ones
//! were, so that a walker's are certain and those of a driver on winding roads are not. The earth is flat around the
//! latest estimate: an axis points east, one north. Both have the same noise, and so one covariance serves both.

use std::time::Duration;

use gibbon_media::MediaTime;

use super::record::{COMPARED_AT, Errors, Record};
use crate::Position;

/// Metres over ground.
pub type Metres = f64;
/// Metres per second.
pub type Speed = f64;

/// Accelerations, as a spectral density in m²/s³: 2 m/s² that last for a second.
const ACCELERATION: f64 = 4.0;
/// How much the newest comparison counts in how certain predictions are, and by how much that is corrected.
const LEARNS: f64 = 0.2;
const CORRECTED: std::ops::RangeInclusive<f64> = 0.2..=6.0;
/// Velocity is forgotten with this time constant, in s: a compromise between walkers and cars, by the tracks in
/// `media/tracks`.
const TURNS_AFTER: f64 = 60.0;
/// A position is no better than this, whatever the device says.
const BEST_ACCURACY: Metres = 3.0;
/// … and no worse: beyond it, it says nothing.
const WORST_ACCURACY: Metres = 50_000.0;
/// How fast anything that watches a stream moves: an airliner with the wind.
const FASTEST: Speed = 350.0;
/// A fix further off than this many standard deviations is taken for an error …
const GATE: f64 = 5.0;
/// … but if so many in a row are, the client is indeed elsewhere.
const BELIEVED_AFTER: u32 = 3;
/// After so long without a fix nothing is known any more.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// How close a fix must come to the time of a prediction, to be compared with it.
const COMPARED_WITHIN: Duration = Duration::from_secs(3);

/// A client says where it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fix {
    /// When.
    pub at: MediaTime,
    /// Where.
    pub position: Position,
    /// Standard deviation along each axis.
    pub accuracy: Metres,
}

/// Where a client will be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Predicted {
    /// Most likely there.
    pub position: Position,
    /// Standard deviation along each axis.
    pub uncertainty: Metres,
}

/// Why a fix is not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unlikely {
    /// It is not newer than what is known.
    #[error("it is not newer than the last one")]
    Old,
    /// Its accuracy is no number, or says nothing.
    #[error("its accuracy says nothing")]
    Inaccurate,
    /// Nobody moves that far in the time.
    #[error("nobody moves that far in the time")]
    TooFar,
}

/// What is known of a client's motion.
#[derive(Debug, Clone, PartialEq)]
pub struct Motion {
    at: MediaTime,
    position: Position,
    /// Eastward and northward.
    velocity: [Speed; 2],
    covariance: Covariance,
    /// How far off predictions were, over how far they should have been: mean square.
    surprise: f64,
    /// Fixes in a row that were not taken in.
    refused: u32,
    record: Record<Predicted>,
}

/// Of position and velocity along one axis.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Covariance {
    position: f64,
    both: f64,
    velocity: f64,
}

impl Motion {
    /// Nothing is known of it but where it is.
    pub fn begin(fix: Fix) -> Result<Self, Unlikely> {
        let accuracy = bounded(fix.accuracy)?;
        Ok(Self {
            at: fix.at,
            position: fix.position,
            velocity: [0.0; 2],
            // It may stand, or be driven: on a motorway two thirds of all go slower than 30 m/s.
            covariance: Covariance {
                position: accuracy.powi(2),
                both: 0.0,
                velocity: 30f64.powi(2),
            },
            surprise: 1.0,
            refused: 0,
            record: Record::default(),
        })
    }

    /// Takes in where the client is now.
    pub fn update(&mut self, fix: Fix) -> Result<(), Unlikely> {
        let accuracy = bounded(fix.accuracy)?;
        if fix.at <= self.at {
            return Err(Unlikely::Old);
        }
        let elapsed = fix.at.since(self.at);
        if elapsed > FORGOTTEN {
            return self.begin_anew(fix);
        }
        let reach =
            FASTEST * elapsed.as_secs_f64() + GATE * (accuracy + self.covariance.position.sqrt());
        let moved = self.position.distance(fix.position).metres();
        let ahead = self.ahead(elapsed);
        let spread = ahead.covariance.position + accuracy.powi(2);
        let [east, north] = ahead.position.towards(fix.position);
        let surprise = (east.hypot(north)) / spread.sqrt();
        if moved > reach || surprise > GATE {
            self.refused += 1;
            if self.refused >= BELIEVED_AFTER {
                return self.begin_anew(fix);
            }
            return Err(Unlikely::TooFar);
        }
        let off = |said: &Predicted, truth: &Position| said.position.distance(*truth).metres();
        for (said, off) in self.record.compare(fix.at, &fix.position, COMPARED_WITHIN, off) {
            // Of two axes, each is off by one standard deviation in the mean.
            let square = (off / said.uncertainty).powi(2) / 2.0;
            self.surprise += LEARNS * (square.min(100.0) - self.surprise);
        }
        let gain = [ahead.covariance.position / spread, ahead.covariance.both / spread];
        self.at = fix.at;
        self.position = ahead.position.moved([gain[0] * east, gain[0] * north]);
        self.velocity = [
            (ahead.velocity[0] + gain[1] * east).clamp(-FASTEST, FASTEST),
            (ahead.velocity[1] + gain[1] * north).clamp(-FASTEST, FASTEST),
        ];
        self.covariance = Covariance {
            position: (1.0 - gain[0]) * ahead.covariance.position,
            both: (1.0 - gain[0]) * ahead.covariance.both,
            velocity: ahead.covariance.velocity - gain[1] * ahead.covariance.both,
        };
        self.refused = 0;
        let then = self.ahead(COMPARED_AT);
        let uncertainty = then.covariance.position.sqrt();
        let stays = Predicted { position: self.position, uncertainty };
        let said = Predicted { position: then.position, uncertainty };
        self.record.expect(self.at + COMPARED_AT, said, stays);
        Ok(())
    }

    fn begin_anew(&mut self, fix: Fix) -> Result<(), Unlikely> {
        let mut record = std::mem::take(&mut self.record);
        // What was said of where it was going there is no error about where it is going here.
        record.forget();
        *self = Self { record, ..Self::begin(fix)? };
        Ok(())
    }

    /// Where the client will be at `at`; where it was last, before that.
    pub fn predict(&self, at: MediaTime) -> Predicted {
        let ahead = self.ahead(at.since(self.at));
        // What is said about now needs no correction, what is said about later all of it.
        let part = (at.since(self.at).as_secs_f64() / COMPARED_AT.as_secs_f64()).min(1.0);
        let corrected = self.surprise.sqrt().clamp(*CORRECTED.start(), *CORRECTED.end()).powf(part);
        let uncertainty = ahead.covariance.position.sqrt() * corrected;
        Predicted { position: ahead.position, uncertainty }
    }

    /// How fast it moves.
    pub fn speed(&self) -> Speed {
        self.velocity[0].hypot(self.velocity[1])
    }

    /// How far off predictions of 30 s were, in metres.
    pub fn errors(&self) -> Errors {
        self.record.errors()
    }

    fn ahead(&self, time: Duration) -> Ahead {
        let (t, c) = (time.as_secs_f64(), self.covariance);
        let (q, tau) = (ACCELERATION, TURNS_AFTER);
        let lasts = (-t / tau).exp();
        // How far one gets with 1 m/s.
        let reach = tau * (1.0 - lasts);
        let spread = t - 2.0 * reach + tau / 2.0 * (1.0 - lasts * lasts);
        Ahead {
            position: self.position.moved(self.velocity.map(|v| v * reach)),
            velocity: self.velocity.map(|v| v * lasts),
            covariance: Covariance {
                position: c.position
                    + 2.0 * reach * c.both
                    + reach * reach * c.velocity
                    + q * tau * tau * spread.max(0.0),
                both: lasts * (c.both + reach * c.velocity) + q / 2.0 * reach * reach,
                velocity: lasts * lasts * c.velocity + q * tau / 2.0 * (1.0 - lasts * lasts),
            },
        }
    }
}

/// What is known of a later time.
struct Ahead {
    position: Position,
    velocity: [Speed; 2],
    covariance: Covariance,
}

fn bounded(accuracy: Metres) -> Result<Metres, Unlikely> {
    match accuracy {
        _ if accuracy.is_nan() || !(0.0..=WORST_ACCURACY).contains(&accuracy) => {
            Err(Unlikely::Inaccurate)
        }
        _ => Ok(accuracy.max(BEST_ACCURACY)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: MediaTime = MediaTime(1_000_000_000_000);
    const MUNICH: (f64, f64) = (48.14, 11.58);

    fn fix(second: u64, position: Position) -> Fix {
        Fix { at: START + Duration::from_secs(second), position, accuracy: 5.0 }
    }

    fn munich() -> Position {
        Position::new(MUNICH.0, MUNICH.1)
    }

    /// Drives for `seconds` with fixes that are off by a few metres.
    fn driven(velocity: [Speed; 2], seconds: u64) -> Motion {
        let at = |second: u64| {
            let noise = |n: u64| ((n * 7919) % 11) as f64 - 5.0;
            let t = second as f64;
            let exact = munich().moved(velocity.map(|v| v * t));
            fix(second, exact.moved([noise(second), noise(second + 3)]))
        };
        let mut motion = Motion::begin(at(0)).unwrap();
        (1..=seconds).for_each(|second| motion.update(at(second)).unwrap());
        motion
    }

    #[test]
    fn a_straight_drive_is_predicted_and_staying_put_is_not_mistaken_for_one() {
        let motion = driven([20.0, -10.0], 120);
        assert!((18.0..23.0).contains(&motion.speed()), "{}", motion.speed());
        let then = motion.predict(START + Duration::from_secs(150));
        let truth = munich().moved([20.0 * 150.0, -10.0 * 150.0]);
        let off = then.position.distance(truth).metres();
        assert!(off < 3.0 * then.uncertainty && off < 250.0, "{off} m, ±{}", then.uncertainty);
        let errors = motion.errors();
        assert!(errors.compared > 60 && errors.predicted * 2.5 < errors.naive, "{errors:?}");
        assert!(driven([0.0, 0.0], 120).speed() < 2.5);
    }

    #[test]
    fn uncertainty_grows_with_the_time_ahead() {
        let motion = driven([20.0, 0.0], 60);
        let at = |s: u64| motion.predict(START + Duration::from_secs(60 + s)).uncertainty;
        let grows: Vec<_> = [0, 5, 10, 30, 60, 120].map(at).to_vec();
        assert!(grows.is_sorted_by(|a, b| a < b), "{grows:?}");
        assert!(grows[0] < 6.0 && grows[5] > 200.0, "{grows:?}");
    }

    #[test]
    fn one_absurd_position_changes_nothing_and_a_real_jump_is_believed_at_last() {
        let mut motion = driven([20.0, 0.0], 60);
        let before = motion.predict(START + Duration::from_secs(90)).position;
        let sydney = Position::new(-33.87, 151.21);
        assert_eq!(motion.update(fix(61, sydney)), Err(Unlikely::TooFar));
        assert_eq!(motion.predict(START + Duration::from_secs(90)).position, before);
        assert_eq!(motion.update(fix(60, munich())), Err(Unlikely::Old));
        let nowhere = Fix { accuracy: f64::NAN, ..fix(62, munich()) };
        assert_eq!(motion.update(nowhere), Err(Unlikely::Inaccurate));
        assert_eq!(motion.update(fix(62, sydney)), Err(Unlikely::TooFar));
        assert_eq!(motion.update(fix(63, sydney)), Ok(()));
        let there = motion.predict(START + Duration::from_secs(63)).position;
        assert!(there.distance(sydney).as_f64() < 1e-6);
    }

    #[test]
    fn what_was_predicted_before_a_jump_is_not_held_against_what_comes_after() {
        let mut motion = driven([20.0, 0.0], 120);
        let before = motion.errors();
        let sydney = |second| fix(second, Position::new(-33.87, 151.21));
        (121..200).for_each(|second| {
            let _ = motion.update(sydney(second));
        });
        let after = motion.errors();
        assert!(after.compared > before.compared, "{after:?}");
        assert!(after.predicted <= before.predicted.max(50.0), "{after:?}, before {before:?}");
    }

    proptest! {
        #[test]
        fn whatever_is_reported_what_is_predicted_is_a_place(
            reports in proptest::collection::vec(
                (0..1000u64, -100.0..100.0f64, -200.0..200.0f64, proptest::num::f64::ANY), 1..50),
        ) {
            let mut motion = Motion::begin(fix(0, munich())).unwrap();
            for (second, latitude, longitude, accuracy) in reports {
                let fix = Fix { accuracy, ..fix(second, Position::new(latitude, longitude)) };
                let _ = motion.update(fix);
                let then = motion.predict(fix.at + Duration::from_secs(60));
                prop_assert!(then.uncertainty.is_finite() && then.uncertainty > 0.0);
                prop_assert!(then.position.distance(munich()).as_f64().is_finite());
            }
        }
    }
}
