//! A worker whose load climbs (M10): what it runs is on another one before it is at its limit, and those who watch see
//! nothing of it.

use std::{
    ops::Range,
    sync::Mutex,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use gibbon_control::{
    portal::{DecidedBy, DrainRequest},
    services::{MoveStep, MoveWhy, ServiceRequest},
};
use gibbon_media::Priority;
use gibbon_testbed::{Network, Player, PlayerOptions, Setup, Throttle};
use gibbon_tests::{
    Pictures, Run, began_us, node, request, running,
    scene::{Outcome, Scene, Stage, Way, now_us, watches_stream},
};

/// A little noise, and then nothing else: one of these pictures takes two thirds more to decode and to code.
const PICTURES: Pictures = Pictures { size: "256x144", rate: 12, noise: "if(lt(T,84),4,120)" };
const STREAM: &str = "live/climbs";
/// Until what is made of the last pictures that count has been seen.
const ENDS: Duration = Duration::from_secs(96);
/// All that the first worker can give.
const CORES: f64 = 0.25;
/// Until shortly before the noise ever more is asked of it, from one share of its cores to another.
const CLIMB: Range<Duration> = Duration::from_secs(22)..Duration::from_secs(80);
const SHARE: Range<f64> = 0.15..0.86;
/// By what is reserved for each, there is room for no more.
const MOST: u32 = 6;
/// What was asked for shows in what the worker takes so much later.
const SHOWS: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Half of what viewers usually keep, so that what comes late shows.
const PLAYOUT_MS: u64 = 500;

/// A component that was moved: how that was decided, and when it was over, in µs since the epoch.
type Moved = (Way, MoveWhy, u64);

fn watches(stream: &str) -> PlayerOptions {
    watches_stream(stream).at("edge-a").playout_delay(PLAYOUT_MS).no_decode()
}

fn asks(list: &str) -> anyhow::Result<ServiceRequest> {
    Ok(ServiceRequest { stream: STREAM.parse()?, ..request(list)? })
}

/// The component begins at the first worker, for the other is kept free until it runs.
fn cast(network: &Network) -> anyhow::Result<Vec<Player>> {
    let other = "worker-2".parse()?;
    network.portal.drain(&other, &DrainRequest { stay: true, ..DrainRequest::default() })?;
    let service = network.portal.start_service(&asks("grayscale")?)?.service;
    let service = running(network, service)?;
    network.portal.undrain(&other)?;
    Ok(vec![network.play("viewer", &watches(service.stream.as_str()))?])
}

/// What else is asked of the first worker: components that the other does not offer, one after the other, whenever the
/// worker takes less than it is to take by then. What one takes differs by machine, and by who else runs there.
#[derive(Default)]
struct Asked {
    count: u32,
    last: Duration,
}

impl Asked {
    fn more(&mut self, network: &Network, now: Duration) -> anyhow::Result<()> {
        if !CLIMB.contains(&now) || now < self.last + SHOWS || self.count == MOST {
            return Ok(());
        }
        let taken = taken(network)?;
        let one = taken / f64::from(self.count + 1);
        if taken >= share(now) || taken + one > SHARE.end {
            return Ok(());
        }
        (self.last, self.count) = (now, self.count + 1);
        let list = format!("colour brightness={}", f64::from(self.count) / 100.0);
        let request = ServiceRequest { priority: Priority::MAX, ..asks(&list)? };
        network.portal.start_service(&request).map(drop)
    }
}

/// The share of its cores that the first worker is to take by `now`, since the stream began.
fn share(now: Duration) -> f64 {
    let so_far = now.saturating_sub(CLIMB.start).as_secs_f64();
    let part = so_far / (CLIMB.end - CLIMB.start).as_secs_f64();
    SHARE.start + part * (SHARE.end - SHARE.start)
}

/// The share that it takes.
fn taken(network: &Network) -> anyhow::Result<f64> {
    let worker = node(network, "worker-1")?.worker.context("it is no worker")?;
    Ok(worker.busy_cores / CORES)
}

/// The load climbs. Says what was moved meanwhile.
fn climbs(stage: &Stage) -> anyhow::Result<Option<Moved>> {
    let network = &stage.network;
    let began = UNIX_EPOCH + Duration::from_micros(began_us(network, STREAM)?);
    let worker = network.node("worker-1")?.id();
    let _throttle = Throttle::new(worker, CORES)?;
    let service = network.portal.services()?.first().context("no service")?.service;
    let (mut asked, mut moved) = (Asked::default(), None);
    loop {
        let now = SystemTime::now().duration_since(began)?;
        if now >= ENDS {
            return Ok(moved);
        }
        // What it takes without the component says nothing of what it would have taken.
        if moved.is_none() {
            asked.more(network, now)?;
            let moves = network.portal.explain_service(service)?.moves;
            let over = moves.into_iter().find(|why| why.moved.step == MoveStep::Completed);
            moved = over.map(|why| (stage.way, why, now_us()));
        }
        std::thread::sleep(LOOK_EVERY);
    }
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
#[ignore = "it takes two cores for itself: by hand"]
fn what_a_worker_runs_is_elsewhere_before_its_load_has_climbed_to_its_limit() -> anyhow::Result<()>
{
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("climbs.mp4");
    PICTURES.draw(&file, ENDS.as_secs() + 4, "1")?;
    let setup = Setup::default()
        .edges(&["edge-a"])
        .clip("origin-1", STREAM, &file.display().to_string())
        .origin_arguments(&["--preset", "ultrafast"])
        .workers(&["worker-1", "worker-2"])
        .node_with("worker-1", &["--cores", &CORES.to_string()])
        .node_with("worker-2", &["--cores", "2", "--components", "grayscale,mdc"]);
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
