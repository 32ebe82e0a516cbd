//! Sessions as triples of content provider, service provider and client (M1), and what edges count.

use anyhow::{Context, ensure};
use gibbon_control::portal::{HandoffOutcome, HandoffRequest, SessionInfo};
use gibbon_media::SessionId;
use gibbon_testbed::{Network, PlayerOptions, Setup, WAIT, wait_for};
use gibbon_tests::{Run, control, saw_nothing, with_control};

fn settled(network: &Network, id: SessionId, edge: &str) -> anyhow::Result<SessionInfo> {
    wait_for(format!("session {id} at {edge}"), WAIT, || {
        let info = network.session(id)?;
        let there = info.edges.iter().flatten().filter(|e| e.as_str() == edge).count() == 2;
        Ok(there.then_some(info))
    })
}

#[test]
fn two_origins_three_edges_three_clients_and_moving_one_changes_only_its_own() -> anyhow::Result<()>
{
    with_control(|folder| {
        let setup = Setup::default()
            .origin("origin-1", &["live/one"])
            .origin("origin-2", &["live/two"])
            .edges(&["edge-a", "edge-b", "edge-c"]);
        let network = Network::start(folder, setup)?;
        let plays = [
            ("first", "live/one", "origin-1", "edge-a"),
            ("second", "live/two", "origin-2", "edge-b"),
            ("third", "live/two", "origin-2", "edge-b"),
        ];
        // The third is never moved: it is the control.
        let mut players = Vec::new();
        for (name, stream, _, edge) in plays {
            players.push(network.play(name, &PlayerOptions::new(stream, 16.0).at(edge))?);
        }
        let mut sessions = Vec::new();
        for (player, (_, stream, origin, edge)) in players.iter_mut().zip(plays) {
            player.playing()?;
            let info = settled(&network, player.session()?, edge)?;
            ensure!(info.stream.as_str() == stream && info.client.connected, "{info:?}");
            ensure!(info.origin.as_ref().is_some_and(|o| o.as_str() == origin), "{info:?}");
            sessions.push(info.session);
        }
        for (moved, to) in [(0, "edge-c"), (1, "edge-a")] {
            let before = network.portal.sessions()?;
            let request = HandoffRequest { to: Some(to.parse()?), ..HandoffRequest::default() };
            let handoff = network.portal.handoff(sessions[moved], &request)?;
            let over = network.handoff_over(handoff.handoff)?;
            ensure!(over.outcome == HandoffOutcome::Completed, "{over:?}");
            settled(&network, sessions[moved], to)?;
            for session in before.iter().filter(|s| s.session != sessions[moved]) {
                let after = network.session(session.session)?;
                ensure!(after.edges == session.edges, "{session:?} became {after:?}");
            }
        }
        let mut third = players.pop().context("no control")?;
        let mut reports = Vec::new();
        for mut player in players {
            reports.push(player.finish()?);
        }
        if let Some(why) = control(&mut third)? {
            return Ok(Run::Void(why));
        }
        for (status, report) in reports {
            ensure!(status.success(), "{status}");
            saw_nothing(&report)?;
        }
        network.stop()?;
        Ok(Run::Shown)
    })
}

#[test]
fn an_edge_counts_two_description_streams_per_session_and_pulls_each_track_once()
-> anyhow::Result<()> {
    with_control(|folder| {
        let network = Network::start(folder, Setup::bbb(&["edge-a"]))?;
        let mut players = Vec::new();
        for name in ["first", "second", "third"] {
            players.push(network.play(name, &PlayerOptions::new("live/bbb", 6.0).at("edge-a"))?);
        }
        for player in &mut players {
            player.playing()?;
            settled(&network, player.session()?, "edge-a")?;
        }
        let nodes = network.portal.nodes()?;
        let edge = nodes.iter().find(|node| node.id.as_str() == "edge-a").context("no edge-a")?;
        ensure!(edge.legs == 6, "{} legs for three sessions", edge.legs);
        ensure!(edge.upstreams.len() == 2, "{:?}", edge.upstreams);
        ensure!(edge.upstreams.iter().all(|u| u.subscribers == 3), "{:?}", edge.upstreams);
        for player in &mut players {
            let (status, _) = player.finish()?;
            ensure!(status.success(), "{status}");
        }
        let log = network.node("edge-a")?.log();
        ensure!(log.with("leg attached").count() == 6, "{} legs", log.with("leg attached").count());
        let pulled = network.node("origin-1")?.log().with("subscribed").count();
        ensure!(pulled == 2, "the origin was asked {pulled} times, for two descriptions");
        network.stop()?;
        Ok(Run::Shown)
    })
}
