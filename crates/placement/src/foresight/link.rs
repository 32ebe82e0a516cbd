//! The path between two nodes, as it counts for what goes over it.

use crate::distortion::normal_below;

/// A link's load is known to within this.
const LOAD_DEVIATION: f64 = 0.05;
/// Packets of a frame: one lost holds up the frame.
const PACKETS: i32 = 8;
/// Round-trip times that it takes to ask for a lost packet and get it.
const REPAIR: f64 = 1.5;
/// Loss beyond which QUIC no longer keeps up with a stream …
const BROKEN_LOSS: f64 = 0.3;
/// … and by how much that varies.
const LOSS_DEVIATION: f64 = 0.05;
/// Round-trip times beyond this are absurd, in ms.
const MOST_RTT_MS: f64 = 10_000.0;

/// What is known of the path between two nodes. What is no number says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Link {
    /// Round-trip time, in ms.
    pub rtt_ms: f64,
    /// Share of packets lost, 0 to 1.
    pub loss: f64,
    /// What goes over it, as a share of what it can carry.
    pub load: f64,
}

impl Link {
    /// How late frames come over it, in ms: one way, and where a packet is lost the time to repair it.
    pub fn lag_ms(&self) -> f64 {
        let rtt = if self.rtt_ms.is_nan() { 0.0 } else { self.rtt_ms.clamp(0.0, MOST_RTT_MS) };
        let repaired = 1.0 - (1.0 - self.lost()).powi(PACKETS);
        rtt * (0.5 + REPAIR * repaired)
    }

    /// Probability that a second's media do not come through: it is full, or loses too much.
    pub fn failure(&self) -> f64 {
        let load = if self.load.is_finite() { self.load } else { 0.0 };
        let full = normal_below((load - 1.0) / LOAD_DEVIATION);
        let broken = normal_below((self.lost() - BROKEN_LOSS) / LOSS_DEVIATION);
        1.0 - (1.0 - full) * (1.0 - broken)
    }

    fn lost(&self) -> f64 {
        if self.loss.is_nan() { 0.0 } else { self.loss.clamp(0.0, 1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_makes_frames_late_and_a_full_link_brings_nothing() {
        let good = Link { rtt_ms: 40.0, loss: 0.0, load: 0.3 };
        assert!((good.lag_ms() - 20.0).abs() < 1e-9 && good.failure() < 1e-6);
        let lossy = Link { loss: 0.1, ..good };
        assert!(lossy.lag_ms() > 50.0 && lossy.failure() < 0.01);
        assert!(Link { load: 1.1, ..good }.failure() > 0.9);
        assert!(Link { loss: 0.5, ..good }.failure() > 0.9);
        let odd = Link { rtt_ms: f64::NAN, loss: f64::NAN, load: f64::INFINITY };
        assert_eq!((odd.lag_ms(), odd.failure() < 1e-6), (0.0, true));
    }
}
