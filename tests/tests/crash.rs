//! Edges that die without a word (G3, G4): kill -9, with one description on them or both.

use std::time::Duration;

use anyhow::{Context, ensure};
use gibbon_control::report::Report;
use gibbon_mdc::Verdict;
use gibbon_media::{NodeId, Placement};
use gibbon_testbed::{Network, Player, PlayerOptions, Setup, WAIT, wait_for};
use gibbon_tests::{
    Run, apart, control, end, legs, longest, never_froze, node, saw_nothing, with_control,
};

const EDGES: [&str; 4] = ["edge-a", "edge-b", "edge-c", "edge-d"];
/// The control viewer's edge, on which nobody else is placed: it has room for one session.
const APART: &str = "edge-z";

fn setup() -> Setup {
    let edges: Vec<&str> = EDGES.into_iter().chain([APART]).collect();
    Setup::bbb(&edges).domains(&EDGES).node_with(APART, &["--capacity-legs", "2"])
}

fn diverse(seconds: f64) -> PlayerOptions {
    PlayerOptions::new("live/bbb", seconds).placement(Placement::Diverse)
}

/// A side period lasts from the first frame that misses its primary to the last.
fn bars_of_diverse(report: &Report) -> anyhow::Result<()> {
    never_froze(report)?;
    let side = longest(report, Verdict::Side);
    ensure!(side <= 1000, "side for {side} ms: {}", serde_json::to_string(report)?);
    Ok(())
}

#[test]
fn both_edges_of_a_session_die_at_once_and_it_plays_again_on_a_third() -> anyhow::Result<()> {
    with_control(|folder| {
        let network = Network::start(folder, setup())?;
        let mut still = network.play("control", &PlayerOptions::new("live/bbb", 16.0).at(APART))?;
        still.playing()?;
        let mut moved = network.play("moved", &diverse(13.0))?;
        moved.playing()?;
        let session = moved.session()?;
        let before = legs(&network, session, apart)?;
        for edge in &before {
            network.kill(edge.as_str())?;
        }
        let elsewhere = |now: &[NodeId; 2]| now.iter().all(|edge| !before.contains(edge));
        legs(&network, session, elsewhere)?;
        let (status, report) = moved.finish()?;
        if let Some(why) = control(&mut still)? {
            return Ok(Run::Void(why));
        }
        ensure!(status.success(), "{status}");
        // It plays again within two seconds: all that could freeze is what was to be shown until then.
        ensure!(report.freezes.longest_ms <= 2000, "{}", serde_json::to_string(&report)?);
        let last = report.verdicts.iter().map(|span| span.to_ms).max().unwrap_or_default();
        ensure!(last + 2000 < report.duration_ms, "not whole in the end: {:?}", report.verdicts);
        Ok(Run::Shown)
    })
}

#[test]
fn an_edge_dies_while_the_coordinator_and_its_store_are_gone_for_a_minute() -> anyhow::Result<()> {
    with_control(|folder| {
        let network = Network::start(folder, setup())?;
        let mut still = network.play("control", &PlayerOptions::new("live/bbb", 90.0).at(APART))?;
        still.playing()?;
        let mut moved = network.play("moved", &diverse(86.0))?;
        moved.playing()?;
        let session = moved.session()?;
        let before = legs(&network, session, apart)?;
        // One that has nothing to do with the edge that dies.
        let elsewhere = EDGES.into_iter().find(|edge| before.iter().all(|at| at.as_str() != *edge));
        let elsewhere = elsewhere.context("no third edge")?;
        let mut still_there =
            network.play("together", &PlayerOptions::new("live/bbb", 80.0).at(elsewhere))?;
        still_there.playing()?;
        network.kill("coordinator")?;
        network.delete_store()?;
        // What is away does not come back sooner than after a minute.
        let away = std::time::Instant::now();
        network.kill(before[1].as_str())?;
        wait_for("a minute to pass", Duration::from_secs(70), || {
            Ok((away.elapsed() >= Duration::from_secs(60)).then_some(()))
        })?;
        network.restart("coordinator")?;
        // It finds its picture again, and puts the session on two edges.
        legs(&network, session, |now| apart(now) && !now.contains(&before[1]))?;
        let (status, report) = moved.finish()?;
        let (ended, undisturbed) = still_there.finish()?;
        if let Some(why) = control(&mut still)? {
            return Ok(Run::Void(why));
        }
        ensure!(status.success() && ended.success(), "{status}, {ended}");
        bars_of_diverse(&report)?;
        saw_nothing(&undisturbed)?;
        Ok(Run::Shown)
    })
}

#[test]
fn five_edges_in_turn_are_killed_and_who_held_one_description_there_never_freezes()
-> anyhow::Result<()> {
    with_control(|folder| {
        let network = Network::start(folder, setup())?;
        network.supervise(&EDGES, Duration::from_millis(500))?;
        let mut still =
            network.play("control", &PlayerOptions::new("live/bbb", 600.0).at(APART))?;
        still.playing()?;
        let mut players = Vec::new();
        for (n, edge) in EDGES.iter().enumerate() {
            players.push(network.play(&format!("diverse-{n}"), &diverse(600.0).no_decode())?);
            let together = PlayerOptions::new("live/bbb", 600.0).at(edge).no_decode();
            players.push(network.play(&format!("together-{n}"), &together)?);
        }
        players.iter_mut().try_for_each(Player::playing)?;
        for n in 0..5 {
            settled(&network, &players)?;
            let edge = EDGES[n % EDGES.len()];
            let (before, at) = (network.exits(edge).len(), node(&network, edge)?.registered_us);
            network.node(edge)?.kill()?;
            wait_for(format!("{edge} to be up again"), WAIT, || {
                let now = node(&network, edge)?.registered_us;
                Ok((network.exits(edge).len() > before && now > at).then_some(()))
            })?;
        }
        settled(&network, &players)?;
        let mut ended = Vec::new();
        for player in players.iter_mut().chain([&mut still]) {
            ended.push(end(player)?);
        }
        let control = ended.pop().context("no control")?;
        if let Some(why) = gibbon_tests::saw(&control) {
            return Ok(Run::Void(format!("the control viewer saw {why}")));
        }
        let recovered: usize = ended.iter().map(|report| report.recoveries.len()).sum();
        ensure!(recovered >= 5, "only {recovered} recoveries: the kills met nobody");
        for report in &ended {
            match report.placement {
                Placement::Diverse => bars_of_diverse(report)?,
                Placement::Together => {
                    ensure!(
                        report.freezes.longest_ms <= 500,
                        "frozen for {} ms: {}",
                        report.freezes.longest_ms,
                        serde_json::to_string(report)?
                    );
                }
            }
        }
        Ok(Run::Shown)
    })
}

/// Waits until every session has both legs, apart where it is to be, and nothing is under way.
fn settled(network: &Network, players: &[Player]) -> anyhow::Result<()> {
    for player in players {
        let session = player.session()?;
        let placement = network.session(session)?.placement;
        legs(network, session, |now| placement == Placement::Together || apart(now))?;
    }
    Ok(())
}
