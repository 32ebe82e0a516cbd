//! How good the path from an edge is at a place, and a client that is driven through it.

use std::time::{Duration, Instant};

use gibbon_client::{Position, Track};

use crate::{Direction, Impairment, Loss, Path};

/// By how much the delay grows with each km.
const MS_PER_KM: f64 = 1000.0;
/// Paths of a client that drives are set so often.
pub const SET_EVERY: Duration = Duration::from_millis(100);

/// What an edge covers, as a radio cell does: the delay grows with the distance, as it does in the simulator, and beyond
/// its reach nothing comes through. A model to drive clients with, not a measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coverage {
    /// Where the edge is.
    pub site: Position,
    /// How far it reaches, in km.
    pub reach_km: f64,
}

impl Coverage {
    /// What befalls datagrams from the edge to a client that is there.
    pub fn at(&self, client: Position) -> Impairment {
        let km = client.distance(self.site).as_f64();
        if km < self.reach_km {
            Impairment::none().latency((MS_PER_KM * km).round() as u32)
        } else {
            Impairment::none().loss(Loss::Random(1.0))
        }
    }
}

/// Has a client feel the paths from these edges as on its track, which begins now, until it has been on it for so long.
pub fn drive(track: &Track, edges: &[(Coverage, &Path)], lasts: Duration) {
    over(lasts, SET_EVERY, |after| {
        for (coverage, path) in edges {
            path.impair(Direction::ToClient, &coverage.at(track.at(after)));
        }
    });
}

/// Does something again and again, with the time since the beginning, for as long as that `lasts`.
pub fn over(lasts: Duration, every: Duration, mut act: impl FnMut(Duration)) {
    let begun = Instant::now();
    while begun.elapsed() < lasts {
        act(begun.elapsed());
        std::thread::sleep(every);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge() -> Coverage {
        Coverage { site: Position::new(45.0, 14.0), reach_km: 1.0 }
    }

    /// So many metres northward.
    fn at(metres: f64) -> Impairment {
        edge().at(edge().site.moved([0.0, metres]))
    }

    #[test]
    fn a_path_gets_longer_with_the_distance_and_ends() {
        for (metres, ms) in [(0.0, 0), (500.0, 500), (999.0, 999)] {
            assert_eq!(at(metres), Impairment::none().latency(ms));
        }
        for metres in [1001.0, 90_000.0] {
            assert_eq!(at(metres), Impairment::none().loss(Loss::Random(1.0)));
        }
    }

    #[test]
    fn a_reach_that_is_no_number_is_none() {
        for reach_km in [f64::NAN, 0.0, -1.0] {
            let none = Coverage { reach_km, ..edge() };
            assert_eq!(none.at(none.site.moved([5.0, 0.0])).loss, Loss::Random(1.0), "{reach_km}");
        }
    }
}
