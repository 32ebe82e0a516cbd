//! Drain: an edge is emptied under its viewers, and they see nothing (G1).

use std::time::{Duration, Instant};

use anyhow::ensure;
use gibbon_media::{NodeId, Placement};
use gibbon_testbed::{Network, Player, PlayerOptions, Setup, WAIT, wait_for};
use gibbon_tests::{Run, apart, control, end, gibbonctl, legs, node, saw_nothing, with_control};

const EDGES: [&str; 3] = ["edge-a", "edge-b", "edge-c"];
const PLAYERS: usize = 12;
const DIVERSE: Placement = Placement::Diverse;

/// Three edges to be drained, and `edge-z` for the control viewer.
fn setup() -> Setup {
    Setup::bbb(&["edge-a", "edge-b", "edge-c", "edge-z"]).domains(&EDGES)
}

fn control_player(network: &Network, seconds: f64) -> anyhow::Result<Player> {
    network.play("control", &PlayerOptions::new("live/bbb", seconds).at("edge-z"))
}

#[test]
fn every_edge_is_drained_and_restarted_in_turn_and_twelve_viewers_see_nothing() -> anyhow::Result<()>
{
    with_control(|folder| {
        let network = Network::start(folder, setup())?;
        network.supervise(&EDGES, Duration::from_millis(200))?;
        let mut still = control_player(&network, 600.0)?;
        let mut players = Vec::new();
        for n in 0..PLAYERS {
            let placed = match n % 2 {
                0 => PlayerOptions::new("live/bbb", 600.0).at(EDGES[n / 2 % 3]),
                _ => PlayerOptions::new("live/bbb", 600.0).placement(DIVERSE),
            };
            // One of each kind decodes what it shows.
            let placed = if n < 2 { placed } else { placed.no_decode() };
            players.push(network.play(&format!("viewer-{n}"), &placed)?);
        }
        players.iter_mut().try_for_each(Player::playing)?;
        let (code, said) = gibbonctl(
            &network,
            &["rolling-restart", "--edges", "edge-a,edge-b,edge-c", "--deadline", "60s"],
        )?;
        let control = end(&mut still)?;
        ensure!(code == Some(0), "rolling-restart ended with {code:?}: {said}");
        for edge in EDGES {
            let exits = network.exits(edge);
            ensure!(exits.len() == 1 && exits[0].success(), "{edge} ended with {exits:?}");
        }
        if let Some(why) = gibbon_tests::saw(&control) {
            return Ok(Run::Void(format!("the control viewer saw {why}")));
        }
        let mut moved = 0;
        for player in &mut players {
            let report = end(player)?;
            saw_nothing(&report)?;
            moved += report.handoffs.iter().filter(|h| h.outcome == "completed").count();
            ensure!(report.recoveries.is_empty(), "{:?}", report.recoveries);
        }
        ensure!(moved >= PLAYERS, "only {moved} hand-offs");
        Ok(Run::Shown)
    })
}

#[test]
fn an_edge_that_is_told_to_end_without_a_coordinator_sends_its_viewers_on() -> anyhow::Result<()> {
    with_control(|folder| {
        let network = Network::start(folder, setup())?;
        let mut still = control_player(&network, 20.0)?;
        let mut moved =
            network.play("moved", &PlayerOptions::new("live/bbb", 17.0).placement(DIVERSE))?;
        moved.playing()?;
        let before = legs(&network, moved.session()?, apart)?;
        network.kill("coordinator")?;
        let leaving = before[0].as_str();
        let status = network.end(leaving)?;
        let (ended, report) = moved.finish()?;
        if let Some(why) = control(&mut still)? {
            return Ok(Run::Void(why));
        }
        ensure!(status.success(), "{leaving} ended with {status}");
        ensure!(ended.success(), "{ended}");
        saw_nothing(&report)?;
        let crossed = report.recoveries.iter().any(|r| r.cause == "leaving");
        ensure!(crossed, "{:?}", report.recoveries);
        Ok(Run::Shown)
    })
}

#[test]
fn a_drain_can_be_taken_back_and_one_with_nowhere_to_go_changes_nothing() -> anyhow::Result<()> {
    with_control(|folder| {
        let network = Network::start(folder, Setup::bbb(&["edge-a", "edge-b"]))?;
        let mut still =
            network.play("control", &PlayerOptions::new("live/bbb", 14.0).at("edge-b"))?;
        let mut kept = network.play("kept", &PlayerOptions::new("live/bbb", 12.0).at("edge-a"))?;
        kept.playing()?;
        still.playing()?;
        let session = kept.session()?;
        let at =
            |edge: &'static str| move |legs: &[NodeId; 2]| legs.iter().all(|e| e.as_str() == edge);
        legs(&network, session, at("edge-a"))?;
        // Drained and, with `--stay`, left running: the session goes to the other edge.
        let (code, said) = gibbonctl(&network, &["drain", "edge-a", "--stay"])?;
        ensure!(code == Some(0), "{code:?}: {said}");
        legs(&network, session, at("edge-b"))?;
        // The only other edge is being drained: nowhere to go.
        let (code, said) = gibbonctl(&network, &["drain", "edge-b", "--deadline", "5s"])?;
        ensure!(code == Some(1), "{code:?}: {said}");
        legs(&network, session, at("edge-b"))?;
        let (code, said) = gibbonctl(&network, &["undrain", "edge-a"])?;
        ensure!(code == Some(0), "{code:?}: {said}");
        wait_for("edge-a to be wanted again", WAIT, || {
            let edge = node(&network, "edge-a")?;
            Ok((edge.up && edge.draining.is_none()).then_some(()))
        })?;
        ensure!(network.node("edge-a")?.ended()?.is_none(), "edge-a has ended");
        let (ended, report) = kept.finish()?;
        if let Some(why) = control(&mut still)? {
            return Ok(Run::Void(why));
        }
        ensure!(ended.success(), "{ended}");
        saw_nothing(&report)?;
        Ok(Run::Shown)
    })
}

#[test]
fn a_drain_ends_at_its_deadline_and_names_what_it_cuts() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut setup = Setup::bbb(&["edge-a", "edge-b"]);
    setup.access_paths.push("edge-b".into());
    let network = Network::start(folder.path(), setup)?;
    let mut cut = network.play("cut", &PlayerOptions::new("live/bbb", 16.0).at("edge-a"))?;
    cut.playing()?;
    // There is another edge, but no way to it.
    network.access_path("edge-b")?.cut(true);
    let begun = Instant::now();
    let (code, said) = gibbonctl(&network, &["drain", "edge-a", "--deadline", "3s"])?;
    ensure!(code == Some(3), "{code:?} after {:?}: {said}", begun.elapsed());
    let status = network.node("edge-a")?.wait(WAIT)?;
    ensure!(status.code() == Some(3), "{status}");
    let log = network.node("edge-a")?.log();
    ensure!(log.with("leg cut at the deadline").count() == 2, "the cut legs are not named");
    // Who was cut off finds the other edge as soon as there is a way.
    network.access_path("edge-b")?.cut(false);
    let (status, report) = cut.finish()?;
    ensure!(status.success(), "{status}");
    let last = report.legs.iter().map(|leg| (leg.to_ms, leg.edge.as_str())).max();
    ensure!(last.is_some_and(|(_, edge)| edge == "edge-b"), "{:?}", report.legs);
    Ok(())
}
