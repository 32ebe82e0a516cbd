//! How good the path is between a client and an edge: the slack of its frames, in ms before their deadline.

use crate::{
    draw::noise,
    scenario::Network,
    world::{Edge, Place},
};

/// Noise that is drawn evenly from −1 to 1 at the corners of squares, and goes evenly from one to the next, has this
/// standard deviation.
const SMOOTH_DEVIATION: f64 = 0.385;
/// Slack beyond so many standard deviations of jitter is no risk that counts.
const SAFE: f64 = 4.5;

impl Network {
    /// Mean slack at this distance, in ms.
    pub(crate) fn slack(&self, km: f64) -> f64 {
        self.playout_ms - self.base_ms - self.per_km_ms * km
    }

    /// What buildings and hills take on the way from this place to this edge, in ms: the same each time one passes.
    pub(crate) fn shadow(&self, edge: Edge, place: Place) -> f64 {
        let scale = 1000.0 / self.shadow_m;
        let (x, y) = (f64::from(place.x) * scale, f64::from(place.y) * scale);
        let corner = |dx: f64, dy: f64| {
            let cell = |at: f64| u64::from((at as i32 as u32) & 0xf_ffff);
            noise((u64::from(edge) << 40) | (cell(x.floor() + dx) << 20) | cell(y.floor() + dy))
        };
        let (fx, fy) = (x - x.floor(), y - y.floor());
        let row = |dy: f64| corner(0.0, dy) * (1.0 - fx) + corner(1.0, dy) * fx;
        (row(0.0) * (1.0 - fy) + row(1.0) * fy) / SMOOTH_DEVIATION * self.shadow_ms
    }

    /// Probability that a second is late at this mean slack: that of a normal distribution below zero, off by less than
    /// 2e-4 (Bowling, Khasawneh, Kaewkuekool, Cho, "A Logistic Approximation to the Cumulative Normal Distribution", 2009).
    pub(crate) fn late(&self, slack_ms: f64) -> f64 {
        let z = slack_ms / self.jitter_ms;
        if z > SAFE { 0.0 } else { 1.0 / (1.0 + (z * (1.5976 + 0.07056 * z * z)).exp()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slack_falls_with_distance_and_without_any_half_of_all_seconds_are_late() {
        let network = Network::default();
        assert!(network.slack(1.0) > network.slack(20.0));
        assert!((network.late(0.0) - 0.5).abs() < 1e-9);
        assert!((network.late(network.jitter_ms) - 0.1587).abs() < 2e-4);
        assert_eq!(network.late(200.0), 0.0);
        assert!(network.late(-200.0) > 0.999);
    }

    #[test]
    fn shadows_are_where_they_are_and_as_deep_as_is_said() {
        let network = Network::default();
        let at = |n: u32| Place::new(f64::from(n) * 0.37, f64::from(n) * 0.11);
        let all: Vec<_> = (0..4000).map(|n| network.shadow(3, at(n))).collect();
        let square = all.iter().map(|x| x * x).sum::<f64>() / all.len() as f64;
        assert!(
            (square.sqrt() - network.shadow_ms).abs() < 0.1 * network.shadow_ms,
            "{}",
            square.sqrt()
        );
        assert_eq!(network.shadow(3, at(7)), network.shadow(3, at(7)));
        let near = Place::new(2.59 + 0.002, 0.77);
        assert!((network.shadow(3, at(7)) - network.shadow(3, near)).abs() < 1.5, "two metres on");
    }
}
