//! What it costs at full size. By hand, in release:
//! `cargo test --release -p gibbon-placement --test foresight -- --ignored --nocapture`

use std::{fs, time::Instant};

use gibbon_placement::{foresight::*, predict::Load};

use crate::scene::{PLAYOUT_MS, START, Scene, at, place};

const SESSIONS: u32 = 100_000;
const EDGES: u32 = 500;

/// Processor time of this thread so far, in ms.
fn cpu_ms() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e6
}

fn full() -> Scene {
    let mut scene = Scene::new(EDGES);
    for node in &mut scene.nodes {
        node.per_leg = 1.0 / 600.0;
        node.expect_flat(400.0 / 600.0);
    }
    for n in 0..SESSIONS {
        let mut session = Session::new([NodeIndex(n % EDGES); 2], StreamIndex(0), PLAYOUT_MS);
        session.moves(Whereabouts::Still(place(f64::from(n % EDGES))));
        let sample = Sample { at: START, slack_ms: 850.0, deviation_ms: 15.0, missed: 0.0 };
        session.measured(NodeIndex(n % EDGES), sample).unwrap();
        scene.sessions.push(session);
    }
    scene
}

/// Prints what a pass takes, and returns that in ms.
fn timed(name: &str, scene: &mut Scene) -> f64 {
    let (cpu, wall) = (cpu_ms(), Instant::now());
    let plan = scene.pass();
    let (cpu, wall) = (cpu_ms() - cpu, wall.elapsed());
    let Plan { moves, waiting, looked_at, weighed, .. } = plan;
    println!(
        "{name}: {cpu:.1} ms of processor time ({wall:.0?}), {looked_at} looked at, {weighed} weighed, \
         {} moves, {waiting} waiting",
        moves.len(),
    );
    cpu
}

#[test]
#[ignore = "a measurement, for release builds"]
fn a_hundred_thousand_sessions_on_five_hundred_edges() {
    let mut scene = full();
    let first = timed("all for the first time", &mut scene);
    let calm = timed("all calm", &mut scene);
    println!("{:.1} ns for each calm session", calm * 1e6 / f64::from(SESSIONS));
    (0..50).for_each(|n| scene.climbs(n * 10, 0.89, 1.0));
    let busy = timed("50 edges will be overloaded", &mut scene);
    (0..10).for_each(|n| scene.nodes[n * 50 + 5].leaves_at = Some(at(10)));
    let leaving = timed("and 10 leave", &mut scene);
    scene.sessions.iter_mut().for_each(Session::wake);
    let awake = timed("and every session has changed", &mut scene);
    for took in [first, calm, busy, leaving, awake] {
        assert!(took < 1000.0, "{took} ms");
    }
}

#[test]
#[ignore = "a measurement, for release builds"]
fn one_changed_session() {
    let mut scene = full();
    scene.pass();
    let looks = 2000;
    for n in 0..looks {
        scene.nodes[n % 100].leaves_at = Some(at(5));
    }
    let took = scene.sweep(|sweep, sessions| {
        let cpu = cpu_ms();
        for (n, session) in sessions.iter_mut().take(looks).enumerate() {
            session.wake();
            sweep.one(n, session);
        }
        (cpu_ms() - cpu) / looks as f64
    });
    println!("one session: {:.1} µs", took * 1000.0);
    let mut load = Load::begin_every(std::time::Duration::from_secs(5), START);
    let cpu = cpu_ms();
    (0..20_000).for_each(|n| load.update(at(5 * n), 0.5 + 0.3 * ((n % 360) as f64 / 60.0).sin()));
    println!("one report of load: {:.2} µs", (cpu_ms() - cpu) * 1000.0 / 20_000.0);
    let cpu = cpu_ms();
    (0..10_000).for_each(|n| scene.nodes[n % 500].expect_all(changes(&load, 0.5, at(100_000))));
    println!("the outlook of one node: {:.2} µs", (cpu_ms() - cpu) / 10.0);
    assert!(took < 1.0, "{took} ms");
}
