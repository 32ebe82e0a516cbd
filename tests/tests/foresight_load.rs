//! A load that climbs to an edge's limit in every cycle (M7, M9): after two cycles viewers have left before the third
//! peak.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use gibbon_handoff::Cause;
use gibbon_testbed::{Direction, Impairment, Network, Player, PlayerOptions, Setup};
use gibbon_tests::{
    Pictures, Run, began_us,
    scene::{Outcome, Scene, Stage, watches_stream},
};

/// A programme that is nearly still, but for the same 8 s of noise in each cycle.
const PROGRAMME: &str = "live/programme";
const CYCLE: Duration = Duration::from_secs(32);
const PEAK: std::ops::Range<u64> = 22..30;
/// Of its pictures, what is noise: at its peaks, and else.
const NOISE: [f64; 2] = [1.0, 0.02];
const PICTURES: Pictures = Pictures { size: "176x144", rate: 24, noise: "22" };
/// What the edge's link carries, in kbit/s: at a peak, one who watches takes a third of it.
const LINK_KBPS: u32 = 1800;
/// Those who see two peaks, and those who join them before the third.
const WATCH: usize = 2;
const NEWCOMERS: usize = 2;
const THEY_COME: Duration = Duration::from_secs(2 * 32 + 2);
/// What waits to be shown when the peak is over.
const AFTER: Duration = Duration::from_secs(3);
/// Loads are noted as often as it is looked ahead: 64 times in a cycle.
const LOOKS: [&str; 2] = ["--foresight-period", "500ms"];

/// Waits until so long after the programme's first second.
fn wait_until(network: &Network, at: Duration) -> anyhow::Result<()> {
    let due = UNIX_EPOCH + Duration::from_micros(began_us(network, PROGRAMME)?) + at;
    std::thread::sleep(due.duration_since(SystemTime::now()).unwrap_or_default());
    Ok(())
}

fn watches() -> PlayerOptions {
    watches_stream(PROGRAMME).no_decode()
}

fn cast(network: &Network) -> anyhow::Result<Vec<Player>> {
    let limit = Impairment::none().rate_kbps(LINK_KBPS);
    network.access_path("edge-a")?.impair(Direction::ToClient, &limit);
    let watch = |n| network.play(&format!("viewer-{n}"), &watches().at("edge-a"));
    (0..WATCH).map(watch).collect()
}

fn third_peak(stage: &mut Stage) -> anyhow::Result<()> {
    wait_until(&stage.network, THEY_COME)?;
    for n in 0..NEWCOMERS {
        let newcomer = format!("newcomer-{n}");
        stage.viewers.push(stage.network.play(&newcomer, &watches().at("edge-a"))?);
    }
    wait_until(&stage.network, 2 * CYCLE + Duration::from_secs(PEAK.end) + AFTER)
}

/// Whoever was moved was moved because of a load that comes in each cycle.
fn for_the_season(outcome: &Outcome) -> anyhow::Result<()> {
    for (info, why, _) in outcome.ahead.completed() {
        let season = why.grounds.because.contains("as every 32 s");
        ensure!(info.cause == Cause::Load && season, "{info:?} {why:?}");
    }
    Ok(())
}

#[test]
fn a_peak_that_comes_in_each_cycle_is_made_room_for_before_it_comes_a_third_time()
-> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("programme.mp4");
    let ([peak, still], from, to) = (NOISE, PEAK.start, PEAK.end - 1);
    let part = format!("if(between(floor(T),{from},{to}),{peak},{still})");
    PICTURES.draw(&file, CYCLE.as_secs(), &part)?;
    let capacity = LINK_KBPS.to_string();
    let mut setup = Setup::default()
        .edges(&["edge-a", "edge-b"])
        .clip("origin-1", PROGRAMME, &file.display().to_string())
        .node_with("edge-a", &["--capacity-kbps", &capacity]);
    setup.access_paths = ["edge-a", "edge-b"].map(str::to_owned).to_vec();
    setup.coordinator_arguments = LOOKS.map(str::to_owned).to_vec();
    let control = watches().at("edge-b");
    let scene = Scene { setup, control, cast, action: third_peak };
    scene.show(|outcome| match outcome.foresight_pays()? {
        Run::Shown => for_the_season(outcome).map(|()| Run::Shown),
        void => Ok(void),
    })
}
