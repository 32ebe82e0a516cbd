//! Full edges (H11): newcomers are served with one description at once, and nobody is refused while one
//! description each fits.

use std::time::{Duration, Instant};

use anyhow::ensure;
use gibbon_control::report::Report;
use gibbon_media::Priority;
use gibbon_testbed::{Network, Player, PlayerOptions, Setup, WAIT, wait_for};
use gibbon_tests::{Run, control, end, gibbonctl, never_froze, node, went_on, with_control};

/// Legs that the full edge has room for.
const CAPACITY: usize = 16;
/// Sessions that fill it with two descriptions each, and half as many again.
const FIRST: usize = CAPACITY / 2;
const NEWCOMERS: usize = FIRST / 2;

/// Legs of each session at the full edge, as the portal shows them.
fn served(network: &Network, players: &[Player]) -> anyhow::Result<Vec<usize>> {
    let legs = |player: &Player| {
        let session = network.session(player.session()?)?;
        Ok(session.edges.iter().flatten().count())
    };
    players.iter().map(legs).collect()
}

#[test]
fn at_capacity_with_half_as_many_again_nobody_is_refused_and_the_lowest_priority_goes_first()
-> anyhow::Result<()> {
    with_control(|folder| {
        let capacity = CAPACITY.to_string();
        let setup = Setup::bbb(&["edge-a", "edge-z"])
            .node_with("edge-a", &["--capacity-legs", &capacity])
            .node_with("edge-z", &["--capacity-legs", "2"]);
        let network = Network::start(folder, setup)?;
        let mut still = network.play(
            "control",
            &PlayerOptions::new("live/bbb", 600.0).at("edge-z").priority(Priority::MAX),
        )?;
        still.playing()?;
        let play = |name: String, priority: usize| {
            let options = PlayerOptions::new("live/bbb", 600.0).at("edge-a");
            network.play(&name, &options.with(&["--priority", &priority.to_string()]).no_decode())
        };
        // Priorities 1 to 8.
        let mut players = Vec::new();
        for n in 0..FIRST {
            players.push(play(format!("first-{n}"), n + 1)?);
        }
        players.iter_mut().try_for_each(Player::playing)?;
        wait_for("both descriptions for each", WAIT, || {
            Ok(served(&network, &players)?.iter().all(|legs| *legs == 2).then_some(()))
        })?;
        for n in 0..NEWCOMERS {
            let mut newcomer = play(format!("newcomer-{n}"), 5)?;
            newcomer.playing()?;
            players.push(newcomer);
        }
        // As many legs as fit, one at least for each, and the highest priorities have both.
        let two_each = CAPACITY - players.len();
        wait_for("the capacity to be shared out", WAIT, || {
            let served = served(&network, &players)?;
            let whole = served.iter().filter(|legs| **legs == 2).count();
            let none = served.iter().filter(|legs| **legs == 0).count();
            let highest = served[FIRST - two_each..FIRST].iter().all(|legs| *legs == 2);
            Ok((whole == two_each && none == 0 && highest).then_some(()))
        })?;
        let (code, said) = gibbonctl(&network, &["sessions"])?;
        ensure!(code == Some(0) && said.contains("edge-a"), "{said}");
        // Room returns: the newcomers leave.
        let mut ended: Vec<Report> = Vec::new();
        for newcomer in players.drain(FIRST..).collect::<Vec<_>>().iter_mut() {
            ended.push(end(newcomer)?);
        }
        let room = Instant::now();
        wait_for("second hands to come back", WAIT, || {
            Ok(served(&network, &players)?.iter().all(|legs| *legs == 2).then_some(()))
        })?;
        let took = room.elapsed();
        for player in &mut players {
            ended.push(end(player)?);
        }
        if let Some(why) = gibbon_tests::saw(&end(&mut still)?) {
            return Ok(Run::Void(format!("the control viewer saw {why}")));
        }
        // Beyond five seconds: what the portal needs to hear of it.
        ensure!(took <= Duration::from_millis(5500), "second hands came back after {took:?}");
        let (newcomers, first) = ended.split_at(NEWCOMERS);
        first.iter().try_for_each(never_froze)?;
        // One may have been brought down before its first picture.
        newcomers.iter().try_for_each(went_on)?;
        for report in &ended {
            let frames = report.frames;
            ensure!(frames.side == frames.side_chosen, "{}", serde_json::to_string(report)?);
        }
        let brought_down =
            network.node("edge-a")?.log().with("brought down to one description").count();
        ensure!(brought_down >= NEWCOMERS, "{brought_down} were brought down");
        Ok(Run::Shown)
    })
}

#[test]
fn who_is_refused_is_told_the_next_best_edge() -> anyhow::Result<()> {
    with_control(|folder| {
        let setup = Setup::bbb(&["edge-a", "edge-z"])
            .node_with("edge-a", &["--capacity-legs", "1"])
            .node_with("edge-z", &["--capacity-legs", "2"]);
        let network = Network::start(folder, setup)?;
        let mut still = network.play(
            "control",
            &PlayerOptions::new("live/bbb", 8.0).at("edge-z").priority(Priority::MAX),
        )?;
        still.playing()?;
        let mut one =
            network.play("one", &PlayerOptions::new("live/bbb", 60.0).at("edge-a").no_decode())?;
        one.playing()?;
        wait_for("edge-a to be full", WAIT, || {
            Ok((node(&network, "edge-a")?.legs == 1).then_some(()))
        })?;
        let mut refused = network
            .play("refused", &PlayerOptions::new("live/bbb", 60.0).at("edge-a").no_decode())?;
        let status = refused.process.wait(WAIT)?;
        ensure!(!status.success(), "it was not refused");
        let said = std::fs::read_to_string(folder.join("refused.log"))?;
        ensure!(said.contains("edge-z"), "the refusal names no other edge: {said}");
        if let Some(why) = control(&mut still)? {
            return Ok(Run::Void(why));
        }
        Ok(Run::Shown)
    })
}
