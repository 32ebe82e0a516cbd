//! A recorded way, as GPS devices write it.

use std::{sync::Arc, time::Duration};

use gibbon_placement::Position;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Points of the longest track: a week, second by second.
const MAX_POINTS: usize = 7 * 24 * 3600;
/// How much faster, or slower, than it was recorded a track may be followed.
const FACTORS: std::ops::RangeInclusive<f64> = 0.01..=1000.0;

/// Places in order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Track(Arc<[Waypoint]>);

/// A place, and when one is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Waypoint {
    /// Since the beginning of the track, where it is 0.
    pub after: Duration,
    /// Where.
    pub position: Position,
}

/// Why something is not a track that can be followed.
#[derive(Debug, thiserror::Error)]
pub enum BadTrack {
    /// It is not XML.
    #[error("it is not GPX")]
    Xml(#[from] roxmltree::Error),
    /// There is nothing to follow.
    #[error("it has no track points with a place and a time")]
    Empty,
    /// It is too long.
    #[error("it has more than {MAX_POINTS} points")]
    TooLong,
    /// Nobody is so slow, or so fast.
    #[error("a track is followed 0.01 to 1000 times as fast, not {0} times")]
    Factor(f64),
}

impl Track {
    /// The track points of a GPX document (versions 1.0 and 1.1, topografix.com), of all tracks and segments one after
    /// the other. Those without a time, or with one that is not later than that of the point before, are left out.
    pub fn from_gpx(text: &str) -> Result<Self, BadTrack> {
        let document = roxmltree::Document::parse(text)?;
        let points = document.descendants().filter(|node| node.tag_name().name() == "trkpt");
        let (mut begun, mut track) = (None, Vec::new());
        for (at, position) in points.filter_map(timed) {
            let begun = *begun.get_or_insert(at);
            let Ok(after) = Duration::try_from(at - begun) else { continue };
            if track.last().is_none_or(|last: &Waypoint| last.after < after) {
                track.push(Waypoint { after, position });
            }
            if track.len() > MAX_POINTS {
                return Err(BadTrack::TooLong);
            }
        }
        if track.is_empty() { Err(BadTrack::Empty) } else { Ok(Self(track.into())) }
    }

    /// Places in order of time, of which there is at least one.
    #[cfg(test)]
    pub(crate) fn of(points: Vec<Waypoint>) -> Self {
        Self(points.into())
    }

    /// Somebody stays there.
    pub fn still(position: Position) -> Self {
        Self(Arc::new([Waypoint { after: Duration::ZERO, position }]))
    }

    /// The same way, `factor` times as fast.
    pub fn faster(self, factor: f64) -> Result<Self, BadTrack> {
        if !FACTORS.contains(&factor) {
            return Err(BadTrack::Factor(factor));
        }
        let sooner = |point: &Waypoint| Waypoint { after: point.after.div_f64(factor), ..*point };
        Ok(Self(self.0.iter().map(sooner).collect()))
    }

    /// All of it; never empty.
    pub fn points(&self) -> &[Waypoint] {
        &self.0
    }

    /// Where it begins.
    pub fn start(&self) -> Position {
        self.0[0].position
    }

    /// Whether it leads nowhere.
    pub fn is_still(&self) -> bool {
        self.0.len() == 1
    }

    /// Where one is on it: between two places by a straight line, and at its end from then on.
    pub fn at(&self, after: Duration) -> Position {
        let next = self.0.partition_point(|point| point.after <= after);
        let from = self.0[next.saturating_sub(1)];
        let Some(to) = self.0.get(next).filter(|_| next > 0) else { return from.position };
        let part = (after - from.after).as_secs_f64() / (to.after - from.after).as_secs_f64();
        let way = from.position.towards(to.position).map(|metres| metres * part);
        from.position.moved(way)
    }
}

fn timed(point: roxmltree::Node<'_, '_>) -> Option<(OffsetDateTime, Position)> {
    let degrees = |name, bound: f64| {
        let degrees: f64 = point.attribute(name)?.trim().parse().ok()?;
        (degrees.abs() <= bound).then_some(degrees)
    };
    let position = Position::new(degrees("lat", 90.0)?, degrees("lon", 180.0)?);
    let time = point.children().find(|child| child.tag_name().name() == "time")?.text()?;
    Some((OffsetDateTime::parse(time.trim(), &Rfc3339).ok()?, position))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpx(points: &str) -> String {
        format!(
            "<gpx xmlns='http://www.topografix.com/GPX/1/1'><trk><trkseg>{points}</trkseg></trk></gpx>"
        )
    }

    fn point(latitude: &str, time: &str) -> String {
        format!("<trkpt lat='{latitude}' lon='14.0'><ele>3</ele><time>{time}</time></trkpt>")
    }

    #[test]
    fn the_points_of_a_track_count_from_its_first() {
        let points = [
            point("45.0", "2020-12-31T23:59:50Z"),
            point("45.001", "2021-01-01T01:00:00.5+01:00"),
            "<trkpt lat='45.5' lon='14.0'/>".into(),
            point("99", "2021-01-01T00:00:01Z"),
            point("45.4", "2021-01-01T00:00:00Z"),
            point("45.002", "2021-01-01T00:00:10.5Z"),
        ];
        let track = Track::from_gpx(&gpx(&points.concat())).unwrap();
        let times: Vec<_> = track.points().iter().map(|point| point.after.as_millis()).collect();
        assert_eq!(times, [0, 10_500, 20_500]);
        assert_eq!(track.at(Duration::from_secs(99)).latitude(), 45.002);
        let half = track.at(Duration::from_millis(15_500)).latitude();
        assert!((half - 45.0015).abs() < 1e-6, "{half}");
        let fast = track.faster(10.0).unwrap();
        assert_eq!(fast.points()[2].after, Duration::from_millis(2050));
    }

    #[test]
    fn what_is_no_track_is_refused_in_words() {
        let refused = |text: &str| Track::from_gpx(text).unwrap_err().to_string();
        assert!(refused("42").starts_with("it is not GPX"));
        assert_eq!(refused(&gpx("")), "it has no track points with a place and a time");
        assert!(
            refused(&gpx("<trkpt lat='1' lon='2'><time>noon</time></trkpt>"))
                .contains("no track points")
        );
        let still = Track::still(Position::new(45.0, 14.0));
        for factor in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(still.clone().faster(factor).is_err(), "{factor}");
        }
    }
}
