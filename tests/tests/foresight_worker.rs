//! A worker whose load climbs (M10): what it runs is on another one before it is at its limit, and those who watch see
//! nothing of it.

use std::{
    sync::Mutex,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use gibbon_control::{
    portal::{DecidedBy, DrainRequest},
    services::{MoveStep, MoveWhy, ServiceRequest},
};
use gibbon_testbed::{Network, Player, PlayerOptions, Setup, Throttle};
use gibbon_tests::{
    Pictures, Run, began_us, request, running,
    scene::{Outcome, Scene, Stage, Way, now_us, watches_stream},
};

/// Pictures of which ever more is noise, which takes more and more to decode and to code: over a minute as much as a worker
/// should be asked for, and then soon far more than it has. (Noise that is too strong for the bit rate is coded away, and
/// takes no more.)
const PICTURES: Pictures = Pictures { size: "640x360", rate: 12, noise: "if(lt(T,84),10,60)" };
const PART: &str = "if(lt(T,84),0.6*max(0,T-24)/60,min(1,0.6+0.1*(T-84)))";
const STREAM: &str = "live/climbs";
/// Until what is made of the last pictures that count has been seen.
const ENDS: Duration = Duration::from_secs(96);
/// All that the first worker can give. Less than half of it is taken at first.
const CORES: f64 = 0.185;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Half of what viewers usually keep, so that what comes late shows.
const PLAYOUT_MS: u64 = 500;

/// A component that was moved: how that was decided, and when it was over, in µs since the epoch.
type Moved = (Way, MoveWhy, u64);

fn watches(stream: &str) -> PlayerOptions {
    watches_stream(stream).at("edge-a").playout_delay(PLAYOUT_MS).no_decode()
}

/// The component begins at the first worker, for the other is kept free until it runs.
fn cast(network: &Network) -> anyhow::Result<Vec<Player>> {
    let other = "worker-2".parse()?;
    network.portal.drain(&other, &DrainRequest { stay: true, ..DrainRequest::default() })?;
    let request = ServiceRequest { stream: STREAM.parse()?, ..request("grayscale")? };
    let service = running(network, network.portal.start_service(&request)?.service)?;
    network.portal.undrain(&other)?;
    Ok(vec![network.play("viewer", &watches(service.stream.as_str()))?])
}

/// The load climbs. Says what was moved meanwhile.
fn climbs(stage: &Stage) -> anyhow::Result<Option<Moved>> {
    let network = &stage.network;
    let ends = UNIX_EPOCH + Duration::from_micros(began_us(network, STREAM)?) + ENDS;
    let worker = network.node("worker-1")?.id();
    let _throttle = Throttle::new(worker, CORES)?;
    let service = network.portal.services()?.first().context("no service")?.service;
    let mut moved = None;
    while SystemTime::now() < ends {
        std::thread::sleep(LOOK_EVERY);
        let moves = network.portal.explain_service(service)?.moves;
        let over = moves.into_iter().find(|why| why.moved.step == MoveStep::Completed);
        moved = moved.or(over.map(|why| (stage.way, why, now_us())));
    }
    Ok(moved)
}

/// Under foresight the component was elsewhere before the load was at its limit, by what was foreseen and by what the
/// viewer of the twin missed; under thresholds, and in the twin, the viewer missed something.
fn moved_in_time(outcome: &Outcome, moved: &[Moved]) -> anyhow::Result<()> {
    let Outcome { ahead, reactive, never } = outcome;
    ahead.is_ahead_of_need()?;
    let by = |way: Way| moved.iter().find(|(of, ..)| *of == way);
    let (_, why, over_us) = by(Way::Ahead).context("nothing was moved ahead")?;
    ensure!(why.grounds.decided_by == DecidedBy::Foresight, "{why:?}");
    let need_us = why.grounds.foreseen.context("no need")?.need_us;
    let [over, need] = [*over_us, need_us].map(|at| ahead.since_begin(at));
    let missed = never.first_harm().context("the twin's viewer missed nothing")?;
    let told = format!("over at {over:?}, needed at {need:?}, missed at {missed:?}: {why:?}");
    eprintln!("{told}");
    ensure!(over < need.min(missed), "too late: {told}; {}", never.told());
    ensure!(
        reactive.harmed() > 0,
        "thresholds were as good: {} {:?}",
        reactive.told(),
        by(Way::Reactive)
    );
    ensure!(by(Way::Never).is_none(), "{moved:?}");
    Ok(())
}

#[test]
#[ignore = "what coding takes differs by machine and by who else runs there: by hand"]
fn what_a_worker_runs_is_elsewhere_before_its_load_has_climbed_to_its_limit() -> anyhow::Result<()>
{
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("climbs.mp4");
    PICTURES.draw(&file, ENDS.as_secs() + 4, PART)?;
    let setup = Setup::default()
        .edges(&["edge-a"])
        .clip("origin-1", STREAM, &file.display().to_string())
        .origin_arguments(&["--preset", "ultrafast"])
        .workers(&["worker-1", "worker-2"])
        .node_with("worker-1", &["--cores", &CORES.to_string()])
        .node_with("worker-2", &["--cores", "2"]);
    let moves = Mutex::new(Vec::new());
    let action = |stage: &mut Stage| {
        let moved = climbs(stage)?;
        moves.lock().map_err(|_| anyhow::anyhow!("a scene panicked"))?.extend(moved);
        Ok(())
    };
    let scene = Scene { setup, control: watches(STREAM), cast, action };
    scene.show(|outcome| {
        let mut moves = moves.lock().map_err(|_| anyhow::anyhow!("a scene panicked"))?;
        // Not those of runs that were void.
        moves.retain(|(.., over_us)| *over_us > outcome.ahead.began_us);
        moved_in_time(outcome, &moves).map(|()| Run::Shown)
    })
}
