//! Who comes, when, where, to see what, and for how long: drawn once, the same for every policy.

use std::f64::consts::TAU;

use crate::{
    draw::Draw,
    placing::REACH_MS,
    programme::{Kind, Programme, Programmes},
    roads::Roads,
    scenario::{FlashCrowd, Scenario, Season},
    world::{CITY_KM, Place, World},
};

/// Standard deviation of the logarithm of how long viewers stay.
const STAY_SPREAD: f64 = 1.2;
/// Share of a live programme's viewers that come before its start …
const EARLY: f64 = 0.7;
/// … within so many seconds; the others come after it, in the mean so many seconds later.
const EARLY_S: f64 = 240.0;
const LATE_S: f64 = 60.0;
/// Share that stays to the end, and leaves within so many seconds in the mean.
const TO_THE_END: f64 = 0.7;
const LEAVES_S: f64 = 30.0;
/// How much the number of its viewers varies from one programme to the next, as a part of it.
const VARIES: f64 = 0.2;
/// A place within reach of fewer edges is drawn again, …
const REACHED_BY: usize = 3;
/// … so often at most.
const DRAWN_AGAIN: u32 = 50;
/// Nobody stays for less, in s.
const SHORTEST_S: f64 = 5.0;

/// A viewer who comes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub at_ms: u32,
    pub stays_ms: u32,
    pub place: Place,
    pub programme: Programme,
    pub region: u8,
    /// With a leg at each of two edges.
    pub diverse: bool,
    /// The route it takes and the second of it at which it comes.
    pub route: Option<(u32, u32)>,
}

/// All of them, by time.
pub(crate) fn draw(
    scenario: &Scenario,
    world: &World,
    programmes: &Programmes,
    roads: &Roads,
    seed: u64,
) -> Vec<Arrival> {
    let mut drawn =
        Drawn { scenario, world, roads, arrivals: Vec::with_capacity(scenario.sessions) };
    if let Some(season) = &scenario.season {
        drawn.season(season, programmes, &mut Draw::of(seed, "season"));
    }
    if let Some(flash) = &scenario.flash_crowd {
        drawn.crowds(flash, programmes, &mut Draw::of(seed, "flash"));
    }
    drawn.others(programmes, &mut Draw::of(seed, "audience"));
    drawn.arrivals.sort_by_key(|arrival| arrival.at_ms);
    drawn.arrivals
}

struct Drawn<'a> {
    scenario: &'a Scenario,
    world: &'a World,
    roads: &'a Roads,
    arrivals: Vec<Arrival>,
}

impl Drawn<'_> {
    fn season(&mut self, season: &Season, programmes: &Programmes, draw: &mut Draw) {
        for region in 0..season.regions {
            let (sine, cosine) = draw.within(0.0, TAU).sin_cos();
            let far = draw.within(0.0, CITY_KM);
            let venue = Place::new(far * cosine, far * sine);
            for start in season.starts(region as u8) {
                let viewers = self.world.regions[region].capacity
                    * season.share
                    * busy(self.scenario.hour(start.into()))
                    * (1.0 + VARIES * draw.within(-1.0, 1.0));
                for _ in 0..viewers as usize {
                    let start_s = f64::from(start);
                    let at = if draw.chance(EARLY) {
                        start_s - draw.within(0.0, EARLY_S)
                    } else {
                        start_s + draw.exponential(LATE_S)
                    };
                    let whole = f64::from(season.end(start)) - at + draw.exponential(LEAVES_S);
                    let stays = if draw.chance(TO_THE_END) {
                        whole
                    } else {
                        whole.max(0.0) * draw.within(0.05, 1.0)
                    };
                    let place = self.place(region, venue, season.spread_km, draw);
                    let programme = programmes.of(Kind::Season(region as u8));
                    self.add(at, stays, region, place, programme, None, draw);
                }
            }
        }
    }

    fn crowds(&mut self, flash: &FlashCrowd, programmes: &Programmes, draw: &mut Draw) {
        for (n, crowd) in programmes.crowds.iter().enumerate() {
            let region = usize::from(crowd.region);
            for _ in 0..(self.world.regions[region].capacity * flash.share) as usize {
                let at = f64::from(crowd.at_s) + draw.within(0.0, f64::from(flash.within_s));
                let stays = draw.exponential(flash.stay_s);
                let place = self.place(region, Place::default(), CITY_KM, draw);
                let programme = programmes.of(Kind::Flash(n as u8));
                self.add(at, stays, region, place, programme, None, draw);
            }
        }
    }

    /// The rest, by the time of day.
    fn others(&mut self, programmes: &Programmes, draw: &mut Draw) {
        let rest = self.scenario.sessions.saturating_sub(self.arrivals.len());
        let duration = f64::from(self.scenario.duration_s);
        let moving = self.scenario.motion.as_ref().map_or(0.0, |motion| motion.share);
        for _ in 0..rest {
            let mut at = draw.within(0.0, duration);
            while !draw.chance(busy(self.scenario.hour(at))) {
                at = draw.within(0.0, duration);
            }
            let stays = draw.heavy_tailed(60.0 * self.scenario.mean_minutes, STAY_SPREAD);
            let region = draw.index(self.world.regions.len());
            let programme = programmes.channel(draw);
            if draw.chance(moving) {
                let (route, second) = self.roads.draw(region, draw);
                let left = self.roads.seconds(route) as f64 - f64::from(second);
                let place = self.roads.place(route, second);
                self.add(
                    at,
                    stays.min(left),
                    region,
                    place,
                    programme,
                    Some((route, second)),
                    draw,
                );
            } else {
                let place = self.place(region, Place::default(), CITY_KM, draw);
                self.add(at, stays, region, place, programme, None, draw);
            }
        }
    }

    /// Around some place, where enough edges are within reach: what nobody can serve says nothing of how well it is done.
    fn place(&self, region: usize, around: Place, spread_km: f64, draw: &mut Draw) -> Place {
        let mut place = around;
        for _ in 0..DRAWN_AGAIN {
            place = Place::new(
                f64::from(around.x) + spread_km * draw.normal(),
                f64::from(around.y) + spread_km * draw.normal(),
            );
            let edges = self.world.regions[region].edges.clone();
            let slack = |edge| self.scenario.network.slack(self.world.distance(edge, place));
            if edges.filter(|edge| slack(*edge) >= REACH_MS).nth(REACHED_BY - 1).is_some() {
                break;
            }
        }
        place
    }

    #[allow(clippy::too_many_arguments)]
    fn add(
        &mut self,
        at: f64,
        stays: f64,
        region: usize,
        place: Place,
        programme: Programme,
        route: Option<(u32, u32)>,
        draw: &mut Draw,
    ) {
        let diverse = draw.chance(self.scenario.diverse);
        if at < 0.0 || at >= f64::from(self.scenario.duration_s) {
            return;
        }
        let (at_ms, stays_ms) =
            ((1000.0 * at) as u32, (1000.0 * stays.clamp(SHORTEST_S, 86_400.0)) as u32);
        self.arrivals.push(Arrival {
            at_ms,
            stays_ms,
            place,
            programme,
            region: region as u8,
            diverse,
            route,
        });
    }
}

/// How busy an hour of the day is, 0 to 1: highest in the evening, with a small rise at noon.
fn busy(hour: f64) -> f64 {
    let around = |at: f64, wide: f64| (-((hour - at) / wide).powi(2)).exp();
    (0.25 + 0.75 * around(20.5, 3.5) + 0.2 * around(13.0, 3.0)).min(1.0)
}
