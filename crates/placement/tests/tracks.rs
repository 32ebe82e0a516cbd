//! Where clients will be, on tracks that people have driven and walked.

#![allow(clippy::unwrap_used)]

use std::{path::Path, time::Duration};

use gibbon_media::MediaTime;
use gibbon_placement::{
    Position,
    predict::{Fix, Motion},
};

const AHEAD: Duration = Duration::from_secs(30);
/// Fixes are some seconds apart.
const CLOSE: Duration = Duration::from_secs(5);

/// The fixes of a track. Seconds count from the beginning of its month.
fn track(name: &str) -> Vec<Fix> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../media/tracks").join(name);
    let text = std::fs::read_to_string(file).unwrap();
    let fix = |point: &str| {
        let degrees = |name: &str| {
            point.split(&format!("{name}=\"")).nth(1)?.split('"').next()?.parse::<f64>().ok()
        };
        let time = point.split("<time>").nth(1)?;
        let number = |from: usize| time.get(from..from + 2)?.parse::<u64>().ok();
        let minutes = (number(8)? * 24 + number(11)?) * 60 + number(14)?;
        Some(Fix {
            at: MediaTime((minutes * 60 + number(17)?) * 1_000_000),
            position: Position::new(degrees("lat")?, degrees("lon")?),
            accuracy: 8.0,
        })
    };
    text.split("<trkpt").skip(1).filter_map(fix).collect()
}

#[test]
fn on_real_tracks_half_a_minute_ahead_is_nearer_than_staying_put_and_about_as_near_as_is_said() {
    for (name, fixes, better_than) in [
        ("around-visnjan-with-car.gpx", 100, 0.97),
        ("korita-zbevnica.gpx", 500, 0.6),
        ("cerknicko-jezero.gpx", 290, 0.6),
    ] {
        let track = track(name);
        assert!(track.len() >= fixes, "{name}: {}", track.len());
        let mut motion = Motion::begin(track[0]).unwrap();
        let mut said = Vec::new();
        for fix in &track[1..] {
            let _ = motion.update(*fix);
            said.push((fix.at + AHEAD, motion.predict(fix.at + AHEAD)));
        }
        let errors = motion.errors();
        assert!(errors.compared >= 30, "{name}: {errors:?}");
        assert!(errors.predicted < better_than * errors.naive, "{name}: {errors:?}");
        let off = said.iter().filter_map(|(at, said)| {
            let fix = track.iter().find(|fix| fix.at >= *at && fix.at.since(*at) <= CLOSE)?;
            Some(said.position.distance(fix.position).metres() / said.uncertainty)
        });
        let off: Vec<_> = off.collect();
        let within = off.iter().filter(|off| **off < 3.0).count() as f64 / off.len() as f64;
        assert!(within > 0.8, "{name}: {within} within three standard deviations");
    }
}
