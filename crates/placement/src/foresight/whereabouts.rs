//! Where a client is and will be, by whoever says so.

use std::time::Duration;

use gibbon_media::MediaTime;

use crate::{
    Position,
    predict::{Metres, Motion, Predicted},
};

use super::horizon::{K, STEPS};

/// Whoever moves more slowly than this, in m/s, stays where it is: a walker does not leave an edge's surroundings
/// within a horizon.
const STILL: f64 = 2.0;
/// How certain a declared route is: at its beginning, and growing with each second ahead.
const ROUTE_UNCERTAINTY: Metres = 30.0;
const ROUTE_UNCERTAINTY_GROWS: Metres = 3.0;
/// What a client said of itself is better than an estimate by its positions until it is so old.
const OWN_WORD_HOLDS: Duration = Duration::from_secs(30);

/// Where a client is and will be.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Whereabouts {
    /// Nobody knows.
    #[default]
    Unknown,
    /// There, and it stays.
    Still(Position),
    /// It moves.
    Moving(Box<Ahead>),
}

/// Where a client will be.
#[derive(Debug, Clone, PartialEq)]
pub struct Ahead {
    /// When this was said.
    pub said: MediaTime,
    /// Where it will be so many steps of the horizon later.
    pub at: [Predicted; K],
    /// Whether the client said so itself.
    pub own: bool,
}

impl Whereabouts {
    /// By the coordinator's estimate from positions.
    pub fn of_motion(motion: &Motion, now: MediaTime) -> Self {
        let at = STEPS.map(|step| motion.predict(now + step));
        match motion.speed() < STILL {
            true => Whereabouts::Still(at[0].position),
            false => Whereabouts::Moving(Box::new(Ahead { said: now, at, own: false })),
        }
    }

    /// By positions and times that are known, in order: what a simulator's oracle is told. Before the first and after the
    /// last the client stays.
    pub fn of_route(route: &[(MediaTime, Position)], now: MediaTime) -> Self {
        let at = STEPS.map(|step| {
            Some(Predicted {
                position: along(route, now + step)?,
                uncertainty: ROUTE_UNCERTAINTY + ROUTE_UNCERTAINTY_GROWS * step.as_secs_f64(),
            })
        });
        match at.iter().flatten().next() {
            Some(first) => {
                let at = at.map(|predicted| predicted.unwrap_or(*first));
                Whereabouts::Moving(Box::new(Ahead { said: now, at, own: true }))
            }
            None => Whereabouts::Unknown,
        }
    }

    /// Of what the client says and what is estimated of it: the client's own word, while it is fresh.
    pub fn choose(own: Option<Whereabouts>, estimated: Whereabouts, now: MediaTime) -> Self {
        match own {
            Some(Whereabouts::Moving(ahead)) if now.since(ahead.said) <= OWN_WORD_HOLDS => {
                Whereabouts::Moving(ahead)
            }
            Some(own) if estimated == Whereabouts::Unknown => own,
            _ => estimated,
        }
    }

    /// Where it will be at a step from `now`, if known.
    pub fn at(&self, k: usize, now: MediaTime) -> Option<Predicted> {
        match self {
            Whereabouts::Unknown => None,
            Whereabouts::Still(position) => {
                Some(Predicted { position: *position, uncertainty: 0.0 })
            }
            Whereabouts::Moving(ahead) => Some(ahead.at_time(now.since(ahead.said) + STEPS[k])),
        }
    }

    /// Whether it moves.
    pub fn moves(&self) -> bool {
        matches!(self, Whereabouts::Moving(_))
    }
}

impl Ahead {
    /// So long after it was said: between steps by a straight line; after the last it is there, or nowhere near.
    fn at_time(&self, after: Duration) -> Predicted {
        let k = STEPS.partition_point(|step| *step <= after);
        let from = self.at[k - 1];
        let Some(to) = self.at.get(k) else {
            let late = (after - STEPS[K - 1]).as_secs_f64();
            return Predicted { uncertainty: from.uncertainty * (1.0 + late / 10.0), ..from };
        };
        let part = (after - STEPS[k - 1]).as_secs_f64() / (STEPS[k] - STEPS[k - 1]).as_secs_f64();
        Predicted {
            position: from.position.moved(from.position.towards(to.position).map(|m| m * part)),
            uncertainty: from.uncertainty + part * (to.uncertainty - from.uncertainty),
        }
    }
}

/// Where a route is at a time; `None` of one without points.
fn along(route: &[(MediaTime, Position)], at: MediaTime) -> Option<Position> {
    let next = route.partition_point(|(time, _)| *time <= at);
    let Some((from, start)) = next.checked_sub(1).and_then(|n| route.get(n)) else {
        return route.first().map(|(_, position)| *position);
    };
    let Some((to, end)) = route.get(next) else { return Some(*start) };
    let part = at.since(*from).as_secs_f64() / to.since(*from).as_secs_f64().max(1e-6);
    Some(start.moved(start.towards(*end).map(|metres| metres * part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: MediaTime = MediaTime(1_000_000_000_000);

    fn east(metres: f64) -> Position {
        Position::new(50.0, 10.0).moved([metres, 0.0])
    }

    fn after(seconds: u64) -> MediaTime {
        NOW + Duration::from_secs(seconds)
    }

    #[test]
    fn a_declared_route_is_followed_between_its_points_and_between_what_was_said() {
        let route = [(after(0), east(0.0)), (after(100), east(2000.0))];
        let said = Whereabouts::of_route(&route, NOW);
        for (k, seconds, metres) in [(0, 0, 0.0), (5, 0, 400.0), (0, 33, 660.0), (3, 33, 860.0)] {
            let there = said.at(k, after(seconds)).unwrap();
            let off = there.position.distance(east(metres)).metres();
            assert!(off < 5.0, "step {k} after {seconds} s is off by {off} m");
        }
        assert_eq!(Whereabouts::of_route(&[], NOW), Whereabouts::Unknown);
    }

    #[test]
    fn the_client_s_own_word_comes_first_while_it_is_fresh() {
        let own = Whereabouts::of_route(&[(NOW, east(0.0))], NOW);
        let estimated = Whereabouts::Still(east(500.0));
        let chosen = |now| Whereabouts::choose(Some(own.clone()), estimated.clone(), now);
        assert_eq!((chosen(after(20)), chosen(after(40))), (own.clone(), estimated.clone()));
        assert_eq!(Whereabouts::choose(None, estimated.clone(), NOW), estimated);
    }
}
