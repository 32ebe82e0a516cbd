//! Where the client is and will be, by its own estimate, for the coordinator. Pure: time is passed in, since session
//! start.

use std::{collections::VecDeque, time::Duration};

use gibbon_control::{
    node::Location,
    telemetry::{MAX_ROUTE, MotionPoint, MotionReport, rounded},
};
use gibbon_media::MediaTime;
use gibbon_placement::{
    Position,
    predict::{Fix, Metres, Motion, Speed},
};

use crate::track::Track;

/// How far ahead an estimate tells where the client will be, in s.
const AHEAD: [u64; 8] = [0, 5, 10, 20, 30, 45, 60, 90];
/// What was told is told again after this, though nothing has changed: the coordinator may have been away.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Where the client was so long ago says nothing of where it is.
const OLDEST: Duration = Duration::from_secs(60);
/// A device that stands still goes on to say where this often.
const STANDS_EVERY: Duration = Duration::from_secs(5);
/// How good a position of a track is.
const TRACK_ACCURACY: Metres = 8.0;
/// How good a position is that somebody typed in.
const STATED_ACCURACY: Metres = 1000.0;
/// A place of the route is behind the client once that has been so near.
const PASSED_WITHIN: Metres = 150.0;
/// How fast the client gets on along its route is the mean over about this time, in s.
const PROGRESS_OVER: f64 = 60.0;
/// A velocity is forgotten, and what is made good along the route takes its place, with this time constant, in s: that
/// of [`Motion`].
const TURNS_AFTER: f64 = 60.0;
/// Degrees are told to the 100 000th: a metre.
const DEGREE_PARTS: f64 = 1e5;

/// Where a client goes, and what it tells of that.
#[derive(Debug, Clone, PartialEq)]
pub struct Journey {
    /// The places where it finds itself.
    pub track: Track,
    /// Places that it says it goes to, in order, the last its destination; may be empty.
    pub route: Vec<Position>,
    /// What it tells.
    pub tells: Tells,
}

/// What a client tells of where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tells {
    /// Where it will be, by its own estimate.
    Estimate,
    /// Where it is, and leaves the estimate to the coordinator.
    Positions,
}

impl Journey {
    /// It stays where somebody said it is.
    pub fn still(at: Location) -> Self {
        let position = Position::new(at.latitude, at.longitude);
        Self { track: Track::still(position), route: Vec::new(), tells: Tells::Positions }
    }
}

/// Follows a journey.
#[derive(Debug)]
pub struct Traveller {
    journey: Journey,
    /// Points of the track so far.
    taken: usize,
    last: Option<Fix>,
    motion: Option<Motion>,
    /// Places of the route that are still ahead.
    route: VecDeque<Position>,
    /// How fast it gets nearer to the end of its route.
    progress: Option<Speed>,
    told: Option<Duration>,
    news: bool,
}

impl Traveller {
    /// Begins with the session.
    pub fn new(journey: Journey) -> Self {
        let route = journey.route.iter().take(MAX_ROUTE).copied().collect();
        Self {
            journey,
            taken: 0,
            last: None,
            motion: None,
            route,
            progress: None,
            told: None,
            news: false,
        }
    }

    /// What there is to tell, if it is news, or was told some time ago.
    pub fn tell(&mut self, now: Duration) -> Option<MotionReport> {
        self.go_on(now);
        let again = self.told.is_none_or(|told| now.saturating_sub(told) >= AGAIN_AFTER);
        let known = self.last.is_some_and(|last| time(now).since(last.at) <= OLDEST);
        if !known || !self.news && !again {
            return None;
        }
        (self.told, self.news) = (Some(now), false);
        match (&self.motion, self.journey.tells) {
            (Some(motion), Tells::Estimate) => Some(self.estimate(motion, now)),
            _ => self.last.map(|fix| at(&fix, now)),
        }
    }

    /// Takes in where the client was until `now`.
    fn go_on(&mut self, now: Duration) {
        let points = self.journey.track.clone();
        let ahead = &points.points()[self.taken..];
        for point in ahead.iter().take_while(|point| point.after <= now) {
            (self.taken, self.news) = (self.taken + 1, true);
            self.find(point.after, point.position);
        }
        let stood = self.last.is_some_and(|last| time(now).since(last.at) >= STANDS_EVERY);
        if stood && self.taken == points.points().len() {
            self.find(now, points.at(now));
        }
    }

    fn find(&mut self, after: Duration, position: Position) {
        let stated = self.journey.track.is_still();
        let accuracy = if stated { STATED_ACCURACY } else { TRACK_ACCURACY };
        let fix = Fix { at: time(after), position, accuracy };
        self.get_on(&fix);
        self.last = Some(fix);
        match &mut self.motion {
            // A fix that is unlikely is left out, or believed when others bear it out.
            Some(motion) => drop(motion.update(fix)),
            None => self.motion = Motion::begin(fix).ok(),
        }
    }

    /// How much nearer the client has come to the end of its route.
    fn get_on(&mut self, fix: &Fix) {
        while let [next, _, ..] = self.route.make_contiguous()
            && next.distance(fix.position).metres() < PASSED_WITHIN
        {
            self.route.pop_front();
        }
        let Some(last) = self.last else { return };
        let seconds = fix.at.since(last.at).as_secs_f64();
        if self.route.is_empty() || seconds <= 0.0 {
            return;
        }
        let nearer = self.left(last.position) - self.left(fix.position);
        let progress = self.progress.get_or_insert(nearer / seconds);
        *progress += (1.0 - (-seconds / PROGRESS_OVER).exp()) * (nearer / seconds - *progress);
    }

    /// The way from a place along the route to its end.
    fn left(&self, from: Position) -> Metres {
        let places = std::iter::once(&from).chain(&self.route);
        let ways = places.zip(&self.route).map(|(from, to)| from.distance(*to).metres());
        ways.sum()
    }

    fn estimate(&self, motion: &Motion, now: Duration) -> MotionReport {
        let point = |seconds: &u64| {
            let predicted = motion.predict(time(now + Duration::from_secs(*seconds)));
            let position = self.along_route(predicted.position, *seconds as f64);
            MotionPoint {
                in_ms: seconds * 1000,
                latitude: rounded(position.latitude(), DEGREE_PARTS),
                longitude: rounded(position.longitude(), DEGREE_PARTS),
                uncertainty_m: rounded(predicted.uncertainty, 10.0),
            }
        };
        let route = self.route.iter().map(|place| Location {
            latitude: rounded(place.latitude(), DEGREE_PARTS),
            longitude: rounded(place.longitude(), DEGREE_PARTS),
        });
        MotionReport::Estimate { points: AHEAD.iter().map(point).collect(), route: route.collect() }
    }

    /// As [`Motion`] forgets the velocity, the client goes on along its route as fast as it did in the mean; it does not
    /// go beyond the end.
    fn along_route(&self, mut position: Position, seconds: f64) -> Position {
        let forgotten = seconds - TURNS_AFTER * (1.0 - (-seconds / TURNS_AFTER).exp());
        let mut metres = self.progress.unwrap_or_default().max(0.0) * forgotten;
        for place in &self.route {
            let way = position.distance(*place).metres();
            if metres < way {
                return position.moved(position.towards(*place).map(|m| m * metres / way));
            }
            (position, metres) = (*place, metres - way);
        }
        position
    }
}

/// Session time as the estimator takes it.
fn time(since_start: Duration) -> MediaTime {
    MediaTime(since_start.as_micros() as u64)
}

fn at(fix: &Fix, now: Duration) -> MotionReport {
    MotionReport::At {
        latitude: rounded(fix.position.latitude(), DEGREE_PARTS),
        longitude: rounded(fix.position.longitude(), DEGREE_PARTS),
        accuracy_m: fix.accuracy,
        age_ms: time(now).since(fix.at).as_millis() as u64,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::track::Waypoint;

    const SECOND: Duration = Duration::from_secs(1);
    /// Which of [`AHEAD`].
    const IN_30_S: usize = 4;
    const IN_90_S: usize = 7;
    const TRACKS: [&str; 3] =
        ["around-visnjan-with-car.gpx", "korita-zbevnica.gpx", "cerknicko-jezero.gpx"];

    fn track(name: &str) -> Track {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../media/tracks");
        Track::from_gpx(&std::fs::read_to_string(format!("{folder}/{name}")).unwrap()).unwrap()
    }

    fn journey(track: &Track, route: Vec<Position>, tells: Tells) -> Journey {
        Journey { track: track.clone(), route, tells }
    }

    /// All that is told on the way, second by second.
    fn told(journey: Journey) -> impl Iterator<Item = (Duration, MotionReport)> {
        let end = journey.track.points()[journey.track.points().len() - 1].after;
        let mut traveller = Traveller::new(journey);
        (0..=end.as_secs()).filter_map(move |second| {
            let now = SECOND * second as u32;
            Some((now, traveller.tell(now)?))
        })
    }

    /// How far off a point of estimates is in the mean, where it is not a while since the client was seen; how far off
    /// it would be to say that it stays; and which share is off by three standard deviations at most.
    fn errors(track: &Track, route: Vec<Position>, point: usize) -> (f64, f64, f64) {
        let (mut off, mut naive, mut within, mut count) = (0.0, 0.0, 0.0, 0.0);
        let place = |point: &MotionPoint| Position::new(point.latitude, point.longitude);
        for (now, report) in told(journey(track, route, Tells::Estimate)) {
            assert_eq!(report.check(), Ok(()), "{report:?}");
            let MotionReport::Estimate { points, .. } = report else { panic!("{report:?}") };
            let seen = track.points().iter().rev().find(|point| point.after <= now).unwrap();
            let (first, point) = (&points[0], &points[point]);
            if now - seen.after > SECOND * 20 {
                continue;
            }
            let truth = track.at(now + Duration::from_millis(point.in_ms));
            let metres = place(point).distance(truth).metres();
            off += metres;
            naive += place(first).distance(truth).metres();
            within += f64::from(metres < 3.0 * point.uncertainty_m);
            count += 1.0;
        }
        assert!(count > 50.0, "{count}");
        (off / count, naive / count, within / count)
    }

    #[test]
    fn on_real_tracks_a_declared_route_brings_the_estimate_nearer_and_it_says_how_near_it_is() {
        for name in TRACKS {
            let track = track(name);
            let points = track.points();
            let place = |n: usize| points[points.len() * n / MAX_ROUTE - 1].position;
            let (off, stays, within) = errors(&track, Vec::new(), IN_30_S);
            assert!(off < 0.95 * stays, "{name}: {off} m, {stays} m if it stayed");
            assert!(within > 0.9, "{name}: {within} within three standard deviations");
            let (without, _, within) = errors(&track, Vec::new(), IN_90_S);
            let (with, ..) = errors(&track, (1..=MAX_ROUTE).map(place).collect(), IN_90_S);
            assert!(with < 0.95 * without, "{name}: {with} m, {without} m without a route");
            assert!(within > 0.9, "{name}: {within} within three standard deviations");
        }
    }

    #[test]
    fn who_tells_positions_only_tells_where_it_is_and_when_it_was_there() {
        let track = track(TRACKS[0]);
        let positions: Vec<_> = told(journey(&track, Vec::new(), Tells::Positions)).collect();
        assert!(positions.len() > 50);
        for (now, report) in positions {
            assert_eq!(report.check(), Ok(()));
            let MotionReport::At { latitude, longitude, age_ms, .. } = report else {
                panic!("{report:?}")
            };
            let truth = track.at(now - Duration::from_millis(age_ms));
            let off = truth.distance(Position::new(latitude, longitude)).metres();
            assert!(off < 2.0 || age_ms == 0, "{off} m");
        }
    }

    #[test]
    fn what_is_not_new_is_told_again_only_after_a_while() {
        let munich = Location { latitude: 48.14, longitude: 11.58 };
        let mut traveller = Traveller::new(Journey::still(munich));
        let times = (0..60).filter(|second| traveller.tell(SECOND * *second).is_some());
        assert_eq!(times.collect::<Vec<_>>(), [0, 10, 20, 30, 40, 50]);
        let report = traveller.tell(SECOND * 60).unwrap();
        let MotionReport::At { latitude, accuracy_m, age_ms, .. } = report else {
            panic!("{report:?}")
        };
        assert_eq!((latitude, accuracy_m, age_ms), (48.14, STATED_ACCURACY, 0));
    }

    #[test]
    fn where_it_was_a_while_ago_is_not_told() {
        let at =
            |seconds| Waypoint { after: SECOND * seconds, position: Position::new(45.0, 14.0) };
        let track = Track::of(vec![at(0), at(300)]);
        for tells in [Tells::Positions, Tells::Estimate] {
            let times: Vec<_> =
                told(journey(&track, Vec::new(), tells)).map(|(now, _)| now.as_secs()).collect();
            assert_eq!(times, [0, 10, 20, 30, 40, 50, 60, 300]);
        }
    }

    #[test]
    fn at_the_end_of_its_track_a_client_stays_there() {
        let track = track(TRACKS[0]);
        let end = *track.points().last().unwrap();
        let mut traveller = Traveller::new(journey(&track, vec![end.position], Tells::Estimate));
        (0..end.after.as_secs() + 300)
            .for_each(|second| drop(traveller.tell(SECOND * second as u32)));
        let report = traveller.tell(end.after + SECOND * 310).unwrap();
        let MotionReport::Estimate { points, route } = report else { panic!("{report:?}") };
        assert_eq!(route.len(), 1, "the destination stays one");
        for point in points {
            let off =
                Position::new(point.latitude, point.longitude).distance(end.position).metres();
            assert!(off < 30.0, "{off} m in {} ms", point.in_ms);
        }
    }

    #[test]
    fn a_place_of_the_route_is_no_more_told_once_it_has_been_passed() {
        let track = track(TRACKS[0]);
        let points = track.points();
        let half = points[points.len() / 2];
        let route = vec![half.position, points.last().unwrap().position];
        for (now, report) in told(journey(&track, route, Tells::Estimate)) {
            let MotionReport::Estimate { route, .. } = report else { panic!("{report:?}") };
            assert!(now < half.after || route.len() == 1, "{now:?}: {route:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_track_what_is_told_can_be(
            places in prop::collection::vec((0..700_000u64, -90.0..=90.0f64, -180.0..=180.0f64), 1..30),
            route in prop::collection::vec((-90.0..=90.0f64, -180.0..=180.0f64), 0..30),
        ) {
            let mut after = Duration::ZERO;
            let waypoint = |(ms, latitude, longitude)| {
                after += Duration::from_millis(ms);
                Waypoint { after, position: Position::new(latitude, longitude) }
            };
            let track = Track::of(places.into_iter().map(waypoint).collect());
            let route = route.into_iter().map(|(a, b)| Position::new(a, b)).collect();
            let mut traveller = Traveller::new(journey(&track, route, Tells::Estimate));
            for step in 0..40 {
                if let Some(report) = traveller.tell(after * step / 30) {
                    prop_assert_eq!(report.check(), Ok(()), "{:?}", report);
                }
            }
        }
    }
}
