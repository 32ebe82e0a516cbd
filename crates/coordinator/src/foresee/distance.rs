//! How slack falls with distance: learned from clients whose position is known, so that one that moves is known to be
//! worse served before it is.

use gibbon_placement::foresight::PathPrior;

/// So many samples back count for a third.
const MEMORY: f64 = 500.0;
/// With fewer samples nothing is known …
const LEAST_SAMPLES: f64 = 10.0;
/// … nor with less spread of their distances, in km (standard deviation).
const LEAST_SPREAD: f64 = 0.5;
/// A slope of less than so many of its standard errors is none.
const SIGNIFICANT: f64 = 3.0;
/// Slack that a kilometre takes is no more than this, in ms.
const STEEPEST: f64 = 500.0;
/// Round-trip times that slack loses, as the costs of paths have it.
const WAYS: f64 = 1.5;

/// Least squares of slack in ms over distance in km, the newest samples counting most.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Falls {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    yy: f64,
}

impl Falls {
    /// Somebody so far away has so much slack.
    pub fn note(&mut self, km: f64, slack_ms: f64) {
        if !(km.is_finite() && slack_ms.is_finite()) {
            return;
        }
        let keep = 1.0 - 1.0 / MEMORY;
        for (sum, new) in [
            (&mut self.n, 1.0),
            (&mut self.x, km),
            (&mut self.y, slack_ms),
            (&mut self.xx, km * km),
            (&mut self.xy, km * slack_ms),
            (&mut self.yy, slack_ms * slack_ms),
        ] {
            *sum = keep * *sum + new;
        }
    }

    /// What that means for round-trip times; none: there is nothing to be seen.
    pub fn prior(&self) -> Option<PathPrior> {
        let spread = self.xx - self.x * self.x / self.n;
        if self.n < LEAST_SAMPLES || spread < self.n * LEAST_SPREAD * LEAST_SPREAD {
            return None;
        }
        let both = self.xy - self.x * self.y / self.n;
        let slope = both / spread;
        let rest = (self.yy - self.y * self.y / self.n - slope * both).max(0.0);
        let deviation = (rest / self.n).sqrt();
        let error = deviation / spread.sqrt();
        let usual = PathPrior::default();
        let per_km_ms = -slope.max(-STEEPEST) / WAYS;
        (-slope > SIGNIFICANT * error && per_km_ms > usual.per_km_ms).then(|| PathPrior {
            per_km_ms,
            deviation_ms: (deviation / WAYS).max(usual.deviation_ms),
            ..usual
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(samples: u32, slack: impl Fn(f64) -> f64) -> Option<PathPrior> {
        let mut falls = Falls::default();
        for n in 0..samples {
            let noise = f64::from((n * 7919) % 11) - 5.0;
            let km = f64::from(n % 20);
            falls.note(km, slack(km) + noise);
        }
        falls.note(f64::NAN, f64::INFINITY);
        falls.prior()
    }

    #[test]
    fn what_a_kilometre_takes_is_learned_where_it_takes_something() {
        let prior = learned(200, |km| 800.0 - 30.0 * km).unwrap();
        assert!((prior.per_km_ms - 20.0).abs() < 0.5, "{prior:?}");
        assert_eq!(learned(200, |_| 800.0), None, "noise alone");
        assert_eq!(learned(200, |km| 600.0 + 30.0 * km), None, "it is not better further away");
        assert_eq!(learned(5, |km| 800.0 - 30.0 * km), None, "too little is known");
    }
}
