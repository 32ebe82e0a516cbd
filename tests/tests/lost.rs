//! Nodes and links that are lost and come back (G4): coordinator, origin, edges, and the client's own.

use std::time::Duration;

use anyhow::{Context, ensure};
use gibbon_control::portal::{HandoffRequest, SessionInfo};
use gibbon_media::{NodeId, Placement, SessionId};
use gibbon_testbed::{Direction, Network, Player, PlayerOptions, Setup, WAIT, Whose, wait_for};
use gibbon_tests::{
    Run, apart, control, end, judge, legs, never_froze, node, saw, saw_nothing, scene, with_control,
};

const EDGES: [&str; 4] = ["edge-a", "edge-b", "edge-c", "edge-z"];

fn setup() -> Setup {
    Setup::bbb(&EDGES).domains(&EDGES)
}

fn plays(seconds: f64) -> PlayerOptions {
    PlayerOptions::new("live/bbb", seconds)
}

fn diverse(seconds: f64) -> PlayerOptions {
    plays(seconds).placement(Placement::Diverse)
}

/// Names the step at which the coordinator dies, while it is there.
const FAILPOINT: &str = "failpoint";

/// Every step of a hand-off of two descriptions after which something is sent or waited for.
const STEPS: [&str; 12] = [
    "handoff.selected",
    "handoff.prefetch_sent.1",
    "handoff.ready.1",
    "handoff.attach_sent.1",
    "handoff.attached.1",
    "handoff.held.1",
    "handoff.prefetch_sent.0",
    "handoff.ready.0",
    "handoff.attach_sent.0",
    "handoff.attached.0",
    "handoff.held.0",
    "handoff.finish_sent",
];

/// Has each session handed off, and the coordinator die at `step` of that.
fn die_at(network: &Network, step: &str, sessions: &[SessionId]) -> anyhow::Result<()> {
    let failpoint = network.folder().join(FAILPOINT);
    std::fs::write(&failpoint, step)?;
    wait_for("the coordinator to die", WAIT, || {
        if let Some(status) = network.coordinator().ended()? {
            return Ok(Some(status));
        }
        // Again, where one was rolled back: the machine may be held up for a moment. A coordinator that has lost its store
        // refuses until it has heard of the edges again.
        for session in sessions {
            if network.session(*session)?.handoff.is_none() {
                network.portal.handoff(*session, &HandoffRequest::default())?;
            }
        }
        Ok(None)
    })
    .with_context(|| format!("hand-offs: {:?}", network.portal.handoffs()))?;
    Ok(std::fs::remove_file(&failpoint)?)
}

#[test]
fn the_coordinator_dies_at_every_step_of_a_hand_off_and_its_store_with_it() -> anyhow::Result<()> {
    with_control(|folder| {
        // Small pictures: it takes long, and goes beside another test.
        let mut setup = scene::small(&EDGES).domains(&EDGES);
        let failpoint = folder.join(FAILPOINT).display().to_string();
        setup.coordinator_environment = vec![("GIBBON_FAILPOINT".into(), failpoint)];
        let network = Network::start(folder, setup)?;
        let mut still = network.play("control", &scene::watches().at("edge-z"))?;
        let mut players = [
            network.play("together", &scene::watches().at("edge-a"))?,
            network.play("diverse", &scene::watches().placement(Placement::Diverse))?,
        ];
        players.iter_mut().try_for_each(Player::playing)?;
        let sessions: Vec<_> = players.iter().map(Player::session).collect::<Result<_, _>>()?;
        whole(&network, &sessions)?;
        for (n, step) in STEPS.iter().enumerate() {
            die_at(&network, step, &sessions).with_context(|| {
                format!("the failpoint {step}; built with --features failpoints?")
            })?;
            if n % 2 == 1 {
                network.delete_store()?;
            }
            network.restart("coordinator")?;
            whole(&network, &sessions).with_context(|| format!("after {step}"))?;
        }
        let ended: Vec<_> = players.iter_mut().map(end).collect::<Result<_, _>>()?;
        if let Some(why) = saw(&end(&mut still)?) {
            return Ok(Run::Void(format!("the control viewer saw {why}")));
        }
        for report in &ended {
            saw_nothing(report)?;
        }
        Ok(Run::Shown)
    })
}

/// Waits until the coordinator knows every session with both legs where they should be, and no hand-off of
/// any is under way.
fn whole(network: &Network, sessions: &[SessionId]) -> anyhow::Result<()> {
    for session in sessions {
        let settled = |info: &SessionInfo, legs: &[NodeId; 2]| match info.placement {
            Placement::Together => !apart(legs),
            Placement::Diverse => apart(legs),
        };
        wait_for(format!("session {session} to be whole"), WAIT, || {
            let Ok(info) = network.session(*session) else { return Ok(None) };
            let (Some(zero), Some(one)) = (info.edges[0].clone(), info.edges[1].clone()) else {
                return Ok(None);
            };
            Ok((info.handoff.is_none() && settled(&info, &[zero, one])).then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn an_origin_that_stops_for_half_a_second_moves_no_leg() -> anyhow::Result<()> {
    with_control(|folder| {
        // The control viewer watches a stream of an origin that is not stopped.
        let setup = setup().origin("origin-2", &["live/other"]);
        let network = Network::start(folder, setup)?;
        let mut still =
            network.play("control", &PlayerOptions::new("live/other", 14.0).at("edge-z"))?;
        let mut players = [
            network.play("together", &plays(12.0).at("edge-a"))?,
            network.play("diverse", &diverse(12.0))?,
        ];
        players.iter_mut().try_for_each(Player::playing)?;
        legs(&network, players[1].session()?, apart)?;
        for _ in 0..3 {
            stop_for(&network, "origin-1", Duration::from_millis(500))?;
            pass(Duration::from_secs(1))?;
        }
        judge(&mut still, &mut players, |report| {
            ensure!(report.recoveries.is_empty() && report.handoffs.is_empty(), "{report:?}");
            ensure!(report.legs.len() == 2, "{:?}", report.legs);
            saw_nothing(report)
        })
    })
}

/// Stops a process for a while, as a busy machine would.
fn stop_for(network: &Network, node: &str, length: Duration) -> anyhow::Result<()> {
    network.freeze(node)?;
    let passed = pass(length);
    network.wake(node)?;
    passed
}

/// The length of a fault is part of the test, not a wait for something.
fn pass(length: Duration) -> anyhow::Result<()> {
    let begun = std::time::Instant::now();
    wait_for("time to pass", length + WAIT, || Ok((begun.elapsed() >= length).then_some(())))
}

#[test]
fn an_edge_that_is_frozen_for_five_seconds_is_left_and_is_of_use_again() -> anyhow::Result<()> {
    with_control(|folder| {
        let network = Network::start(folder, setup())?;
        let mut still = network.play("control", &plays(26.0).at("edge-z"))?;
        let mut players = [
            network.play("together", &plays(23.0).at("edge-a"))?,
            network.play("diverse", &diverse(23.0))?,
        ];
        players.iter_mut().try_for_each(Player::playing)?;
        let apart_at = legs(&network, players[1].session()?, apart)?;
        stop_for(&network, apart_at[0].as_str(), Duration::from_secs(5))?;
        wait_for("the edge to be up again", WAIT, || {
            let nodes = network.portal.nodes()?;
            let up = nodes
                .iter()
                .any(|node| node.id == apart_at[0] && node.up && node.report_age_ms < 1000);
            Ok(up.then_some(()))
        })?;
        // Nothing that it holds keeps it from being chosen, or from ending.
        let to = Some(apart_at[0].clone());
        let session = players[0].session()?;
        legs(&network, session, |_| true)?;
        let request = HandoffRequest { to, ..HandoffRequest::default() };
        if let Ok(handoff) = network.portal.handoff(session, &request) {
            network.handoff_over(handoff.handoff)?;
        }
        let ended: Vec<_> = players.iter_mut().map(Player::finish).collect::<Result<_, _>>()?;
        if let Some(why) = control(&mut still)? {
            return Ok(Run::Void(why));
        }
        ensure!(ended.iter().all(|(status, _)| status.success()), "a player failed");
        never_froze(&ended[1].1)?;
        ensure!(ended[0].1.freezes.longest_ms <= 500, "{:?}", ended[0].1);
        network.stop()?;
        Ok(Run::Shown)
    })
}

#[test]
fn an_edge_cut_off_from_the_coordinator_either_way_goes_on_serving() -> anyhow::Result<()> {
    with_control(|folder| {
        let mut setup = setup();
        setup.control_paths = vec!["edge-a".into(), "edge-b".into()];
        let network = Network::start(folder, setup)?;
        let mut still = network.play("control", &plays(30.0).at("edge-z"))?;
        let mut players = [
            network.play("from-it", &plays(27.0).at("edge-a"))?,
            network.play("to-it", &plays(27.0).at("edge-b"))?,
        ];
        players.iter_mut().try_for_each(Player::playing)?;
        // One is not heard, the other does not hear.
        network.control_path("edge-a")?.cut_off(Whose::All, Direction::ToTarget);
        network.control_path("edge-b")?.cut_off(Whose::All, Direction::ToClient);
        let is_up = |edge: &str| anyhow::Ok(node(&network, edge)?.up);
        wait_for("the coordinator to miss edge-a", WAIT, || Ok((!is_up("edge-a")?).then_some(())))?;
        for edge in ["edge-a", "edge-b"] {
            network.control_path(edge)?.mend_all();
        }
        wait_for("both to be back", WAIT, || {
            Ok((is_up("edge-a")? && is_up("edge-b")?).then_some(()))
        })?;
        // What it is told reaches it again.
        let session = players[1].session()?;
        wait_for("a hand-off that completes", WAIT, || {
            let Ok(handoff) = network.portal.handoff(session, &HandoffRequest::default()) else {
                return Ok(None);
            };
            let over = network.handoff_over(handoff.handoff)?;
            Ok((over.outcome == gibbon_control::portal::HandoffOutcome::Completed).then_some(()))
        })?;
        judge(&mut still, &mut players, saw_nothing)
    })
}

#[test]
fn an_edge_cut_off_from_the_origin_is_helped_by_another_edge() -> anyhow::Result<()> {
    with_control(|folder| {
        let mut setup = setup();
        setup.access_paths = vec!["origin-1".into()];
        let network = Network::start(folder, setup)?;
        let mut still = network.play("control", &plays(20.0).at("edge-z"))?;
        let mut players = [
            network.play("together", &plays(17.0).at("edge-a"))?,
            network.play("diverse", &diverse(17.0).at("edge-a"))?,
        ];
        players.iter_mut().try_for_each(Player::playing)?;
        legs(&network, players[1].session()?, apart)?;
        let edge = Whose::Only(network.address("edge-a")?);
        let path = network.access_path("origin-1")?;
        // One way, then both.
        for direction in [Direction::ToClient, Direction::Both] {
            path.cut_off(edge.clone(), direction);
            pass(Duration::from_secs(3))?;
            path.mend(edge.clone(), direction);
            pass(Duration::from_secs(1))?;
        }
        judge(&mut still, &mut players, never_froze)
    })
}

#[test]
fn a_client_may_change_its_address() -> anyhow::Result<()> {
    with_control(|folder| {
        let mut setup = setup();
        setup.access_paths = vec!["edge-a".into()];
        let network = Network::start(folder, setup)?;
        let mut still = network.play("control", &plays(12.0).at("edge-z"))?;
        let mut roaming = network.play("roaming", &plays(10.0).at("edge-a"))?;
        roaming.playing()?;
        for _ in 0..3 {
            network.access_path("edge-a")?.rebind();
            pass(Duration::from_secs(1))?;
        }
        let (status, report) = roaming.finish()?;
        if let Some(why) = control(&mut still)? {
            return Ok(Run::Void(why));
        }
        ensure!(status.success(), "{status}");
        ensure!(report.recoveries.is_empty(), "{:?}", report.recoveries);
        saw_nothing(&report)?;
        Ok(Run::Shown)
    })
}

#[test]
fn a_client_that_is_cut_off_from_every_edge_plays_on_when_it_is_back() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let edges = ["edge-a", "edge-b", "edge-c"];
    let mut setup = Setup::bbb(&edges).domains(&edges);
    setup.access_paths = edges.map(str::to_owned).to_vec();
    let network = Network::start(folder.path(), setup)?;
    let mut cut = network.play("cut", &diverse(40.0))?;
    cut.playing()?;
    legs(&network, cut.session()?, apart)?;
    // First for less than it takes a connection to die, then for longer.
    for length in [4, 13] {
        edges.iter().try_for_each(|edge| network.access_path(edge).map(|path| path.cut(true)))?;
        pass(Duration::from_secs(length))?;
        edges.iter().try_for_each(|edge| network.access_path(edge).map(|path| path.cut(false)))?;
        legs(&network, cut.session()?, apart)?;
    }
    let (status, report) = cut.finish()?;
    ensure!(status.success(), "{status}");
    let last = report.verdicts.iter().map(|span| span.to_ms).max().unwrap_or_default();
    ensure!(last + 3000 < report.duration_ms, "not whole in the end: {:?}", report.verdicts);
    Ok(())
}
