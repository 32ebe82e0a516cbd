//! Announced maintenance (M8): whoever is at an edge that goes away at an announced time has left it before.

use std::time::Duration;

use anyhow::{Context, ensure};
use gibbon_handoff::Cause;
use gibbon_testbed::{Direction, Impairment, Network, Player, wait_for};
use gibbon_tests::{
    Run, gibbonctl, node,
    scene::{Outcome, Scene, Stage, small, watches},
};

/// Announced by an operator, and by the edge itself from its start on; in this order they go.
const LEAVING: [&str; 2] = ["edge-a", "edge-b"];
const BY_OPERATOR: &str = "14s";
const BY_ITSELF: &str = "30s";
/// Both times are over by then.
const ALL_GONE: Duration = Duration::from_secs(60);
/// What is in the players' buffers when an edge goes has been shown by then, and what came after.
const AFTER: Duration = Duration::from_secs(3);
/// Viewers from afar who want little delay and keep no spare connection: who has to find another edge by himself misses
/// something.
const AFAR: u32 = 100;
const PLAYOUT_MS: u64 = 500;

fn cast(network: &Network) -> anyhow::Result<Vec<Player>> {
    let watches = |edge: &&str| {
        let options =
            watches().at(edge).playout_delay(PLAYOUT_MS).with(&["--no-spare"]).no_decode();
        network.play(&format!("viewer-of-{edge}"), &options)
    };
    LEAVING.iter().map(watches).collect()
}

/// The time comes, and the edges are gone.
fn maintenance(stage: &mut Stage) -> anyhow::Result<()> {
    let network = &stage.network;
    for path in network.all_paths() {
        path.impair(Direction::Both, &Impairment::none().latency(AFAR));
    }
    let (code, said) = gibbonctl(network, &["maintain", LEAVING[0], "--in", BY_OPERATOR])?;
    ensure!(code == Some(0), "{code:?}: {said}");
    for edge in LEAVING {
        wait_for(format!("the time of {edge}"), ALL_GONE, || {
            let left = node(network, edge)?.maintenance_in_ms;
            Ok((left.with_context(|| format!("{edge} stays"))? == 0).then_some(()))
        })?;
        network.kill(edge)?;
    }
    std::thread::sleep(AFTER);
    Ok(())
}

/// Each viewer has been moved for maintenance, and so early that in the twin it had not missed anything yet.
fn left_in_time(outcome: &Outcome) -> anyhow::Result<()> {
    let completed = outcome.ahead.completed();
    for (name, report) in &outcome.ahead.viewers {
        let own = completed.iter().find(|(info, ..)| info.session == report.session);
        let (info, _, at) = own.with_context(|| format!("{name} was not moved"))?;
        ensure!(info.cause == Cause::Maintenance, "{name}: {info:?}");
        let missed = outcome.never.first_harm_of(name);
        let missed = missed.with_context(|| format!("{name} missed nothing in the twin"))?;
        ensure!(
            *at < missed,
            "{name} was moved {at:?} after the scene began, too late: {missed:?}"
        );
    }
    Ok(())
}

#[test]
fn an_edge_is_empty_before_its_maintenance_begins() -> anyhow::Result<()> {
    let all = ["edge-a", "edge-b", "edge-c"];
    let mut setup = small(&all).node_with(LEAVING[1], &["--maintenance-in", BY_ITSELF]);
    setup.access_paths = all.map(str::to_owned).to_vec();
    let scene = Scene {
        setup,
        control: watches().at("edge-c").playout_delay(PLAYOUT_MS),
        cast,
        action: maintenance,
    };
    scene.show(|outcome| match outcome.foresight_pays()? {
        Run::Shown => left_in_time(outcome).map(|()| Run::Shown),
        void => Ok(void),
    })
}
