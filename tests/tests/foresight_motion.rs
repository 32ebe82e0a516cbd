//! A client that drives from edge to edge along a recorded track (H7): it is handed off before the edge that it leaves is
//! too far away.

use std::time::{Duration, Instant};

use anyhow::Context;
use gibbon_client::{Position, Track};
use gibbon_control::node::Location;
use gibbon_testbed::{Coverage, Network, drive, media_folder};
use gibbon_tests::scene::{Scene, Stage, small, watches};

/// A car: it stands in a village and drives about there, then to the next one, 1 km away. It comes into the scene some
/// time before it leaves, at this point of the track.
const TRACK: &str = "tracks/around-visnjan-with-car.gpx";
const FROM: usize = 14;
const SPEED: f64 = 1.5;
/// Until it is there.
const LASTS: Duration = Duration::from_secs(54);
/// Edges, and how far they reach, in km.
const EDGES: [(&str, Location, f64); 2] = [
    ("edge-a", Location { latitude: 45.27325, longitude: 13.71293 }, 1.0),
    ("edge-b", Location { latitude: 45.27999, longitude: 13.71958 }, 1.2),
];

/// The track without its beginning.
fn track() -> anyhow::Result<String> {
    let all = std::fs::read_to_string(media_folder().join(TRACK))?;
    let points: Vec<&str> = all.split("<trkpt").collect();
    let (head, points) = points.split_first().context("an empty track")?;
    Ok(format!("{head}<trkpt{}", points[FROM..].join("<trkpt")))
}

fn drives(stage: &mut Stage) -> anyhow::Result<()> {
    let (file, gpx) = (stage.network.folder().join("car.gpx"), track()?);
    std::fs::write(&file, &gpx)?;
    let track = Track::from_gpx(&gpx)?.faster(SPEED)?;
    let (file, speed) = (file.display().to_string(), SPEED.to_string());
    let car = watches().at("edge-a").with(&["--track", &file, "--speed", &speed]);
    let car = stage.network.play("car", &car)?;
    car.session()?;
    let begun = Instant::now();
    stage.viewers.push(car);
    let covered = |(edge, at, reach_km): &(&str, Location, f64)| {
        let site = Position::new(at.latitude, at.longitude);
        Ok((Coverage { site, reach_km: *reach_km }, stage.network.access_path(edge)?))
    };
    let edges = EDGES.iter().map(covered).collect::<anyhow::Result<Vec<_>>>()?;
    drive(&track, &edges, LASTS - begun.elapsed());
    Ok(())
}

#[test]
fn a_client_that_drives_away_is_handed_off_before_it_is_too_far_away() -> anyhow::Result<()> {
    let mut setup = small(&["edge-z"]);
    setup.access_paths.push("edge-z".into());
    for (edge, Location { latitude, longitude }, _) in EDGES {
        let location = format!("{latitude},{longitude}");
        setup = setup.edges(&[edge]).node_with(edge, &["--location", &location]);
        setup.access_paths.push(edge.into());
    }
    let scene = Scene {
        setup,
        control: watches().at("edge-z"),
        cast: |_: &Network| Ok(Vec::new()),
        action: drives,
    };
    scene.show(|outcome| outcome.foresight_pays())
}
