//! What one client has told.

use std::time::Duration;

use gibbon_control::telemetry::{
    ClientTelemetry, MAX_PATHS, MotionPoint, MotionReport, PathReport,
};
use gibbon_handoff::watch::TIGHT_DIVISOR;
use gibbon_media::{MediaTime, NodeId};
use gibbon_placement::{
    Position,
    foresight::{Ahead, K, STEPS, Sample, Whereabouts},
    predict::{Errors, Fix, Motion, Predicted, Unlikely},
};

use super::{Rate, Reason, Refused, Source};

/// A position that is older than this says nothing of where a client is.
pub const POSITION_HOLDS: Duration = Duration::from_secs(60);
/// Round-trip times that slack loses on a path, as the costs of paths have it.
const WAYS: f64 = 1.5;
/// A path on which nothing was delivered yet is known less well, in ms.
const UNDELIVERED_MS: f64 = 20.0;
/// Playout delays beyond this are absurd, in ms.
const LONGEST_DELAY_MS: u64 = 60_000;
/// What coding takes of a playout delay, in ms.
const CODING_MS: f64 = 100.0;
/// Whoever says of itself that it will go faster than this, in m/s, is not heard: an airliner with the wind.
const FASTEST: f64 = 350.0;
/// Whoever says that it will be within this distance, in metres, for as long as it says, stays where it is.
const STAYS_WITHIN: f64 = 100.0;

/// What can be true of what a client told.
#[derive(Debug, Default)]
pub struct Heard {
    /// Of its paths: slack above what the client keeps in reserve.
    pub samples: Vec<Measured>,
    /// Where it is and will be, if it told that.
    pub whereabouts: Option<Whereabouts>,
    /// Slack above that reserve of a frame that comes as soon as it is published, in ms, if it told that.
    pub most_slack_ms: Option<f64>,
}

/// What was measured of the path from an edge.
#[derive(Debug)]
pub struct Measured {
    /// The edge.
    pub edge: NodeId,
    /// Whose frames it was measured with: by how much these lag already is in the slack.
    pub with: NodeId,
    /// What was measured.
    pub sample: Sample,
}

impl Heard {
    /// With a third of its playout delay left a client may do without a description: that much of its slack it does not
    /// have.
    fn keep_reserve(&mut self, playout_delay_ms: f64) {
        let reserve_ms = playout_delay_ms / f64::from(TIGHT_DIVISOR);
        self.samples.iter_mut().for_each(|measured| measured.sample.slack_ms -= reserve_ms);
        self.most_slack_ms = Some(playout_delay_ms - CODING_MS - reserve_ms);
    }
}

/// What one client has told.
#[derive(Debug, Default)]
pub(super) struct Said {
    last: Option<(ClientTelemetry, MediaTime)>,
    rate: Rate,
    /// The coordinator's own estimate.
    motion: Option<Motion>,
    own: Option<Whereabouts>,
}

impl Said {
    /// `None`: the same came over another connection, or too much comes.
    pub fn hear(
        &mut self,
        now: MediaTime,
        told: &ClientTelemetry,
        refused: &mut Refused,
    ) -> Option<Heard> {
        if self.last.as_ref().is_some_and(|(last, _)| last == told) {
            return None;
        }
        if !self.rate.allows(now) {
            refused.count(Source::Client, Reason::TooOften);
            return None;
        }
        if told.paths.len() > MAX_PATHS {
            refused.count(Source::Client, Reason::TooMuch);
        }
        self.last = Some((told.clone().bounded(), now));
        let samples = samples(now, &told.paths[..told.paths.len().min(MAX_PATHS)], refused);
        let whereabouts = told.motion.as_ref().and_then(|motion| {
            let heard = self.hear_motion(now, motion);
            heard.map_err(|reason| refused.count(Source::Client, reason)).ok()
        });
        let mut heard = Heard { samples, whereabouts, most_slack_ms: None };
        match told.playout_delay_ms {
            Some(delay) if delay > LONGEST_DELAY_MS => {
                refused.count(Source::Client, Reason::OutOfBounds);
            }
            Some(delay) => heard.keep_reserve(delay as f64),
            None => {}
        }
        Some(heard)
    }

    fn hear_motion(&mut self, now: MediaTime, told: &MotionReport) -> Result<Whereabouts, Reason> {
        told.check()?;
        match told {
            MotionReport::At { latitude, longitude, accuracy_m, age_ms } => {
                let age = Duration::from_millis(*age_ms);
                if age > POSITION_HOLDS {
                    return Err(Reason::Old);
                }
                let position = Position::new(*latitude, *longitude);
                self.fix(Fix { at: now.back(age), position, accuracy: *accuracy_m })?;
            }
            MotionReport::Estimate { points, .. } => {
                let [first, ..] = &points[..] else { return Err(Reason::OutOfBounds) };
                if points.windows(2).any(|pair| speed(pair) > FASTEST) {
                    return Err(Reason::Unlikely);
                }
                // Where it is now must be possible; what it makes of that is its own affair.
                let accuracy = first.uncertainty_m;
                self.fix(Fix { at: now, position: position(first), accuracy })?;
                let own = expects(now, points);
                self.own = Some(own.clone());
                return Ok(own);
            }
        }
        let estimated = self.motion.as_ref().map(|motion| Whereabouts::of_motion(motion, now));
        Ok(Whereabouts::choose(self.own.clone(), estimated.unwrap_or_default(), now))
    }

    fn fix(&mut self, fix: Fix) -> Result<(), Reason> {
        let heard = match &mut self.motion {
            Some(motion) => motion.update(fix),
            None => Motion::begin(fix).map(|motion| self.motion = Some(motion)),
        };
        heard.map_err(|unlikely| match unlikely {
            Unlikely::Old => Reason::Old,
            Unlikely::Inaccurate => Reason::OutOfBounds,
            Unlikely::TooFar => Reason::Unlikely,
        })
    }

    pub fn heard(&self) -> Option<MediaTime> {
        self.last.as_ref().map(|(_, at)| *at)
    }

    pub fn errors(&self) -> Option<Errors> {
        self.motion.as_ref().map(Motion::errors)
    }
}

/// What was measured of each path. One on which nothing was delivered is as much worse than one on which something was,
/// as it is longer.
fn samples(now: MediaTime, paths: &[PathReport], refused: &mut Refused) -> Vec<Measured> {
    let check = |path: &&PathReport| match path.check() {
        Ok(()) => true,
        Err(absurd) => {
            refused.count(Source::Client, absurd.into());
            false
        }
    };
    let paths: Vec<_> = paths.iter().filter(check).collect();
    let delivered = paths.iter().find_map(|path| Some((path, path.slack?)));
    let sample = |path: &&PathReport| {
        let (with, slack_ms, deviation_ms, missed) = match (path.slack, delivered) {
            (Some(slack), _) => (*path, slack.mean_ms, slack.deviation_ms, slack.missed),
            (None, Some((delivered, slack))) => {
                let further = WAYS * (path.rtt_ms - delivered.rtt_ms);
                let deviation_ms = slack.deviation_ms.hypot(UNDELIVERED_MS);
                (*delivered, slack.mean_ms - further, deviation_ms, 0.0)
            }
            (None, None) => return None,
        };
        let sample = Sample { at: now, slack_ms, deviation_ms, missed };
        Some(Measured { edge: path.edge.clone(), with: with.edge.clone(), sample })
    };
    paths.iter().filter_map(sample).collect()
}

fn position(point: &MotionPoint) -> Position {
    Position::new(point.latitude, point.longitude)
}

/// In m/s, beyond what the two places may be off by.
fn speed(pair: &[MotionPoint]) -> f64 {
    let [from, to] = pair else { return 0.0 };
    let metres = position(from).distance(position(to)).metres();
    let seconds = to.in_ms.saturating_sub(from.in_ms) as f64 / 1000.0;
    (metres - from.uncertainty_m - to.uncertainty_m).max(0.0) / seconds.max(1e-3)
}

/// Its own word, at each step of the horizon: between points by a straight line, after the last it is there, or not
/// far.
fn expects(now: MediaTime, points: &[MotionPoint]) -> Whereabouts {
    let [first, .., last] = points else {
        return points.first().map_or(Whereabouts::Unknown, |at| Whereabouts::Still(position(at)));
    };
    let furthest = points.iter().map(|to| position(first).distance(position(to)).metres());
    if furthest.fold(0.0, f64::max) < STAYS_WITHIN {
        return Whereabouts::Still(position(first));
    }
    let at: [Predicted; K] = STEPS.map(|step| {
        let ms = step.as_millis() as u64;
        let next = points.partition_point(|point| point.in_ms <= ms);
        let (Some(from), Some(to)) = (points.get(next.wrapping_sub(1)), points.get(next)) else {
            let end = if next == 0 { first } else { last };
            let late = ms.saturating_sub(end.in_ms) as f64 / 10_000.0;
            let uncertainty = end.uncertainty_m * (1.0 + late);
            return Predicted { position: position(end), uncertainty };
        };
        let part = (ms - from.in_ms) as f64 / (to.in_ms - from.in_ms).max(1) as f64;
        let way = position(from).towards(position(to)).map(|metres| metres * part);
        let uncertainty = from.uncertainty_m + part * (to.uncertainty_m - from.uncertainty_m);
        Predicted { position: position(from).moved(way), uncertainty }
    });
    Whereabouts::Moving(Box::new(Ahead { said: now, at, own: true }))
}
