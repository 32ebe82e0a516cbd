//! Positions on earth and the distance between them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A distance over ground, in km; never negative.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Kilometres(f64);

impl Kilometres {
    /// The distance as a number.
    pub fn as_f64(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Kilometres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} km", self.0)
    }
}

/// A point on earth, in degrees. A value out of range, or that is no number, is brought into range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Position {
    latitude: f64,
    longitude: f64,
}

impl Position {
    /// Mean radius of the earth, in km (IUGG, R₁).
    const EARTH_RADIUS: f64 = 6371.0088;

    /// `latitude` from −90 to 90, `longitude` from −180 to 180.
    pub fn new(latitude: f64, longitude: f64) -> Self {
        let within = |x: f64, bound: f64| if x.is_nan() { 0.0 } else { x.clamp(-bound, bound) };
        Self { latitude: within(latitude, 90.0), longitude: within(longitude, 180.0) }
    }

    /// Great-circle distance by the haversine formula (R. W. Sinnott, "Virtues of the Haversine",
    /// Sky & Telescope 68(2), 1984).
    pub fn distance(self, other: Position) -> Kilometres {
        let half_sine = |a: f64, b: f64| ((a - b).to_radians() / 2.0).sin().powi(2);
        let cosines = self.latitude.to_radians().cos() * other.latitude.to_radians().cos();
        let h = half_sine(self.latitude, other.latitude)
            + cosines * half_sine(self.longitude, other.longitude);
        Kilometres(2.0 * Self::EARTH_RADIUS * h.sqrt().min(1.0).asin())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn anywhere() -> impl Strategy<Value = Position> {
        (-90.0..=90.0, -180.0..=180.0).prop_map(|(a, b)| Position::new(a, b))
    }

    proptest! {
        #[test]
        fn distance_is_symmetric_and_at_most_half_way_round(a in anywhere(), b in anywhere()) {
            let (there, back) = (a.distance(b).as_f64(), b.distance(a).as_f64());
            prop_assert!((there - back).abs() < 1e-6);
            prop_assert!((0.0..=20_016.0).contains(&there));
            prop_assert!(a.distance(a).as_f64() == 0.0);
        }
    }

    #[test]
    fn berlin_is_877_km_from_paris() {
        let (berlin, paris) = (Position::new(52.52, 13.405), Position::new(48.8566, 2.3522));
        assert_eq!(berlin.distance(paris).to_string(), "877 km");
    }

    #[test]
    fn nonsense_is_brought_into_range() {
        let odd = Position::new(f64::NAN, f64::INFINITY);
        assert_eq!(odd, Position::new(0.0, 180.0));
        assert!(odd.distance(Position::new(-1e9, 0.0)).as_f64() <= 20_016.0);
    }
}
