//! Where moving clients go: recorded tracks, laid into each city, and roads that lead into it.

use crate::{
    draw::Draw,
    scenario::Motion,
    world::{Place, ROADS, World},
};

const RECORDED: [&str; 3] = [
    include_str!("../../../media/tracks/around-visnjan-with-car.gpx"),
    include_str!("../../../media/tracks/cerknicko-jezero.gpx"),
    include_str!("../../../media/tracks/korita-zbevnica.gpx"),
];
/// Each recorded track is laid into each city so often.
const LAID: usize = 4;
/// Each road is driven in so many manners.
const MANNERS: usize = 3;
/// Nobody drives slower than this part of the mean speed …
const SLOWEST: f64 = 0.3;
/// … which holds from this far out, in km.
const OPEN_ROAD_KM: f64 = 20.0;
/// How fast a road turns, in radians for the square root of a km.
const WINDING: f64 = 0.25;
/// Share of moving clients on roads; the others are on recorded tracks.
const ON_ROADS: f64 = 0.75;
const DEGREE_KM: f64 = 111.195;

/// A way through a region, second by second.
#[derive(Debug)]
struct Route {
    shape: usize,
    /// Cosine and sine of the angle by which the shape is turned.
    turned: (f32, f32),
    from: Place,
}

#[derive(Debug, Default)]
pub(crate) struct Roads {
    /// A place for each second.
    shapes: Vec<Vec<Place>>,
    routes: Vec<Route>,
    /// Routes of each region: on roads, then on recorded tracks.
    of_region: Vec<[std::ops::Range<usize>; 2]>,
}

impl Roads {
    pub fn build(motion: &Motion, world: &World, seed: u64) -> Self {
        let mut draw = Draw::of(seed, "roads");
        let mut roads = Self {
            shapes: RECORDED.iter().map(|text| recorded(text)).collect(),
            ..Self::default()
        };
        for region in &world.regions {
            let from = roads.routes.len();
            for n in 0..ROADS * MANNERS {
                let shape = road(motion, region.roads[n / MANNERS], &mut draw);
                let (shape, turned) = (roads.add(shape), (1.0, 0.0));
                roads.routes.push(Route { shape, turned, from: Place::default() });
            }
            let between = roads.routes.len();
            for n in 0..RECORDED.len() * LAID {
                let (sine, cosine) = draw.within(0.0, std::f64::consts::TAU).sin_cos();
                let from = Place::new(8.0 * draw.normal(), 8.0 * draw.normal());
                let turned = (cosine as f32, sine as f32);
                roads.routes.push(Route { shape: n % RECORDED.len(), turned, from });
            }
            roads.of_region.push([from..between, between..roads.routes.len()]);
        }
        roads
    }

    fn add(&mut self, shape: Vec<Place>) -> usize {
        self.shapes.push(shape);
        self.shapes.len() - 1
    }

    /// Somewhere on the way: the route, and after how many seconds of it.
    pub fn draw(&self, region: usize, draw: &mut Draw) -> (u32, u32) {
        let kind = usize::from(!draw.chance(ON_ROADS));
        let routes = &self.of_region[region][kind];
        let route = routes.start + draw.index(routes.len());
        (route as u32, draw.index(self.seconds(route as u32) * 2 / 3) as u32)
    }

    /// How long a route takes.
    pub fn seconds(&self, route: u32) -> usize {
        self.shapes[self.routes[route as usize].shape].len()
    }

    /// After so many seconds; at its end, where it ends.
    pub fn place(&self, route: u32, second: u32) -> Place {
        let Route { shape, turned: (cosine, sine), from } = &self.routes[route as usize];
        let shape = &self.shapes[*shape];
        let at = shape[(second as usize).min(shape.len() - 1)];
        Place { x: from.x + at.x * cosine - at.y * sine, y: from.y + at.x * sine + at.y * cosine }
    }
}

/// A road into the city and out of it on the other side, or the other way round.
fn road(motion: &Motion, angle: f64, draw: &mut Draw) -> Vec<Place> {
    let inward = draw.chance(0.5);
    let manner = draw.within(0.8, 1.25);
    let (mut x, mut y) = (0.0f64, 0.0f64);
    let (mut bend, mut way) = (0.0f64, Vec::new());
    while x.hypot(y) < motion.reach_km {
        way.push(Place::new(x, y));
        let slow = (SLOWEST + x.hypot(y) / OPEN_ROAD_KM).min(1.0);
        let km = motion.speed * manner * slow * draw.within(0.8, 1.2) / 1000.0;
        bend = 0.995 * bend + WINDING * km.sqrt() * draw.normal();
        let heading = angle + bend.clamp(-1.0, 1.0);
        (x, y) = (x + km * heading.cos(), y + km * heading.sin());
    }
    if inward {
        way.reverse();
    }
    way
}

/// The track of a GPX file, from its first point on.
fn recorded(text: &str) -> Vec<Place> {
    let points: Vec<_> = text.split("<trkpt").skip(1).filter_map(point).collect();
    let Some((begin, latitude, longitude)) = points.first().copied() else {
        return vec![Place::default()];
    };
    let place = |(_, lat, lon): (f64, f64, f64)| {
        let east = (lon - longitude) * DEGREE_KM * latitude.to_radians().cos();
        Place::new(east, (lat - latitude) * DEGREE_KM)
    };
    let mut way = vec![Place::default()];
    for pair in points.windows(2) {
        let (from, to) = (place(pair[0]), place(pair[1]));
        let till = (pair[1].0 - begin) as usize;
        let seconds = (pair[1].0 - pair[0].0).max(1.0);
        while way.len() <= till {
            let part = ((way.len() as f64 - (pair[0].0 - begin)) / seconds) as f32;
            way.push(Place {
                x: from.x + part * (to.x - from.x),
                y: from.y + part * (to.y - from.y),
            });
        }
    }
    way
}

/// Second of the month, latitude, longitude.
fn point(text: &str) -> Option<(f64, f64, f64)> {
    let degrees = |name: &str| {
        text.split(&format!("{name}=\"")).nth(1)?.split('"').next()?.parse::<f64>().ok()
    };
    let time = text.split("<time>").nth(1)?;
    let number = |from: usize| time.get(from..from + 2)?.parse::<f64>().ok();
    let seconds = ((number(8)? * 24.0 + number(11)?) * 60.0 + number(14)?) * 60.0 + number(17)?;
    Some((seconds, degrees("lat")?, degrees("lon")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_tracks_are_as_long_as_they_were_and_nobody_flies() {
        for (text, minutes) in RECORDED.iter().zip([8.0, 120.0, 220.0]) {
            let way = recorded(text);
            let took = way.len() as f64 / 60.0;
            assert!((0.8..1.3).contains(&(took / minutes)), "{took} min");
            let fastest = way.windows(2).map(|pair| pair[0].distance(pair[1])).fold(0.0, f64::max);
            assert!(fastest < 0.1, "{fastest} km in a second");
        }
    }

    #[test]
    fn roads_lead_from_the_centre_to_where_they_reach_at_about_their_speed() {
        let motion = Motion { share: 0.1, speed: 25.0, reach_km: 50.0 };
        let way = road(&motion, 1.0, &mut Draw::of(1, "test"));
        let far = |n: usize| way[n].distance(Place::default());
        assert!(far(0).min(far(way.len() - 1)) < 1e-6);
        assert!((48.0..51.0).contains(&far(0).max(far(way.len() - 1))));
        let minutes = way.len() as f64 / 60.0;
        assert!((25.0..80.0).contains(&minutes), "{minutes} min for 50 km");
    }
}
