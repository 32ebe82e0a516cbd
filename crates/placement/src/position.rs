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

    /// The same in metres.
    pub fn metres(self) -> f64 {
        self.0 * 1000.0
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

    /// Degrees north, −90 to 90.
    pub fn latitude(self) -> f64 {
        self.latitude
    }

    /// Degrees east, −180 to 180.
    pub fn longitude(self) -> f64 {
        self.longitude
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

    /// As a point on a sphere of radius 1.
    pub(crate) fn unit(self) -> [f64; 3] {
        let (latitude, longitude) = (self.latitude.to_radians(), self.longitude.to_radians());
        let flat = latitude.cos();
        [flat * longitude.cos(), flat * longitude.sin(), latitude.sin()]
    }

    /// The way to `other` as metres eastward and northward, on a plane that touches the earth half-way between:
    /// off by less than a thousandth over 100 km away from the poles.
    pub fn towards(self, other: Position) -> [f64; 2] {
        let metres = 1000.0 * Self::EARTH_RADIUS;
        let middle = ((self.latitude + other.latitude) / 2.0).to_radians();
        let turn = (other.longitude - self.longitude + 540.0).rem_euclid(360.0) - 180.0;
        let north = (other.latitude - self.latitude).to_radians();
        [turn.to_radians() * middle.cos() * metres, north * metres]
    }

    /// The place so many metres eastward and northward from here, along the great circle that leaves in that
    /// direction (Ed Williams, "Aviation Formulary", "Lat/lon given radial and distance").
    pub fn moved(self, [east, north]: [f64; 2]) -> Position {
        let angle = east.hypot(north) / (1000.0 * Self::EARTH_RADIUS);
        let (from, bearing) = (self.latitude.to_radians(), east.atan2(north));
        let sine = from.sin() * angle.cos() + from.cos() * angle.sin() * bearing.cos();
        let latitude = sine.clamp(-1.0, 1.0).asin();
        let turn = (bearing.sin() * angle.sin() * from.cos())
            .atan2(angle.cos() - from.sin() * latitude.sin());
        let longitude = (self.longitude + turn.to_degrees() + 540.0).rem_euclid(360.0) - 180.0;
        Position::new(latitude.to_degrees(), longitude)
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

    proptest! {
        #[test]
        fn where_one_gets_to_is_as_far_as_one_went_and_the_way_back_is_the_same(
            latitude in -80.0..80.0f64,
            longitude in -180.0..180.0f64,
            east in -50_000.0..50_000.0f64,
            north in -50_000.0..50_000.0f64,
        ) {
            let from = Position::new(latitude, longitude);
            let there = from.moved([east, north]);
            let went = east.hypot(north);
            prop_assert!((from.distance(there).metres() - went).abs() < 0.01 + went * 1e-6);
            let [e, n] = from.towards(there);
            prop_assert!((e - east).hypot(n - north) <= 1.0 + went * 0.03, "{e} {n}");
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
