//! Bad networks (G2, H8): loss, jitter and narrow links between an edge and its viewers.

use anyhow::ensure;
use gibbon_control::{
    portal::{DrainRequest, HandoffOutcome, HandoffRequest},
    report::Report,
};
use gibbon_handoff::Cause;
use gibbon_media::{NodeId, Placement, Priority};
use gibbon_testbed::{
    Direction, Impairment, Loss, Network, Player, PlayerOptions, Setup, WAIT, wait_for,
};
use gibbon_tests::{Run, apart, control, judge, legs, never_froze, node, with_control};

fn plays(seconds: f64) -> PlayerOptions {
    PlayerOptions::new("live/bbb", seconds)
}

/// Bursts of four datagrams.
fn bursty(mean: f32) -> Impairment {
    Impairment::none().loss(Loss::Bursty { mean, burst: 4.0 })
}

#[test]
fn an_edge_with_loss_or_jitter_does_not_pass_its_probation() -> anyhow::Result<()> {
    with_control(|folder| {
        let edges = ["edge-a", "edge-lossy", "edge-jittery", "edge-z"];
        let mut setup = Setup::bbb(&edges).domains(&edges);
        setup.access_paths = vec!["edge-lossy".into(), "edge-jittery".into()];
        let network = Network::start(folder, setup)?;
        let mut still = network.play("control", &plays(22.0).at("edge-z"))?;
        let cases = [
            ("edge-lossy", Placement::Together),
            ("edge-jittery", Placement::Together),
            ("edge-lossy", Placement::Diverse),
            ("edge-jittery", Placement::Diverse),
        ];
        // Nobody begins at the edges that are to be tried.
        let bad: [NodeId; 2] = ["edge-lossy".parse()?, "edge-jittery".parse()?];
        let stay = DrainRequest { stay: true, ..DrainRequest::default() };
        for edge in &bad {
            network.portal.drain(edge, &stay)?;
        }
        let mut players = Vec::new();
        for (n, (_, placement)) in cases.iter().enumerate() {
            let options = plays(19.0).at("edge-a").placement(*placement);
            players.push(network.play(&format!("moved-{n}"), &options)?);
        }
        players.iter_mut().try_for_each(Player::playing)?;
        for edge in &bad {
            network.portal.undrain(edge)?;
        }
        let lossy = Impairment::none().loss(Loss::Random(0.1));
        let jittery = Impairment::none().jitter(300);
        network.access_path("edge-lossy")?.impair(Direction::ToClient, &lossy);
        network.access_path("edge-jittery")?.impair(Direction::ToClient, &jittery);
        let mut handoffs = Vec::new();
        for (player, (to, _)) in players.iter().zip(cases) {
            let request = HandoffRequest { to: Some(to.parse()?), ..HandoffRequest::default() };
            handoffs.push(network.portal.handoff(player.session()?, &request)?.handoff);
        }
        let over: Vec<_> =
            handoffs.iter().map(|id| network.handoff_over(*id)).collect::<Result<_, _>>()?;
        let ended: Vec<_> = players.iter_mut().map(Player::finish).collect::<Result<_, _>>()?;
        if let Some(why) = control(&mut still)? {
            return Ok(Run::Void(why));
        }
        for (handoff, (status, report)) in over.iter().zip(&ended) {
            ensure!(handoff.outcome == HandoffOutcome::RolledBack, "{handoff:?}");
            ensure!(status.success(), "{status}");
            never_froze(report)?;
        }
        Ok(Run::Shown)
    })
}

#[test]
fn a_bad_path_to_one_of_two_edges_freezes_nothing() -> anyhow::Result<()> {
    with_control(|folder| {
        let bad = [
            ("edge-1", bursty(0.01)),
            ("edge-5", bursty(0.05)),
            ("edge-j", Impairment::none().jitter(30)),
        ];
        let edges = ["edge-1", "edge-5", "edge-j", "edge-z"];
        let mut setup = Setup::bbb(&edges).domains(&edges);
        setup.access_paths = bad.iter().map(|(edge, _)| (*edge).to_owned()).collect();
        let network = Network::start(folder, setup)?;
        let mut still = network.play("control", &plays(24.0).at("edge-z"))?;
        still.playing()?;
        let mut players = Vec::new();
        for (edge, impairment) in &bad {
            network.access_path(edge)?.impair(Direction::Both, impairment);
            let options = plays(20.0).at(edge).placement(Placement::Diverse);
            players.push(network.play(&format!("over-{edge}"), &options)?);
        }
        judge(&mut still, &mut players, never_froze)
    })
}

/// What a session of the test stream takes, in kbit/s, as an edge counts it.
fn stream_kbps(network: &Network, edge: &str) -> anyhow::Result<u64> {
    wait_for(format!("the rate of the stream at {edge}"), WAIT, || {
        let node = node(network, edge)?;
        // The rate is that of some groups: wait until it has been measured.
        Ok((node.legs == 2 && node.kbps > 100).then_some(node.kbps))
    })
}

#[test]
fn a_leg_is_moved_away_from_an_edge_whose_uplink_is_cut_to_half_the_rate() -> anyhow::Result<()> {
    with_control(|folder| {
        let edges = ["edge-a", "edge-b", "edge-c", "edge-z"];
        let mut setup = Setup::bbb(&edges).domains(&edges);
        setup.access_paths = vec!["edge-a".into()];
        let network = Network::start(folder, setup)?;
        let mut still = network.play("control", &plays(32.0).at("edge-z"))?;
        still.playing()?;
        let rate = stream_kbps(&network, "edge-z")?;
        let mut moved =
            network.play("moved", &plays(26.0).at("edge-a").placement(Placement::Diverse))?;
        moved.playing()?;
        let session = moved.session()?;
        legs(&network, session, apart)?;
        // Half of what the leg at this edge takes.
        let half = Impairment::none().rate_kbps(u32::try_from(rate / 4)?);
        network.access_path("edge-a")?.impair(Direction::ToClient, &half);
        legs(&network, session, |now| now.iter().all(|edge| edge.as_str() != "edge-a"))?;
        let handoffs = network.portal.handoffs()?;
        let (status, report) = moved.finish()?;
        if let Some(why) = control(&mut still)? {
            return Ok(Run::Void(why));
        }
        ensure!(status.success(), "{status}");
        never_froze(&report)?;
        let by_coordinator = handoffs.iter().any(|h| h.cause == Cause::Network);
        ensure!(by_coordinator || !report.recoveries.is_empty(), "{handoffs:?}");
        Ok(Run::Shown)
    })
}

#[test]
fn a_downlink_too_narrow_for_both_carries_one_and_then_both_again() -> anyhow::Result<()> {
    with_control(|folder| {
        let mut setup = Setup::bbb(&["edge-a", "edge-z"]);
        setup.access_paths = vec!["edge-a".into()];
        // Nowhere to go: the control viewer's edge has no room.
        setup = setup.node_with("edge-z", &["--capacity-legs", "2"]);
        let network = Network::start(folder, setup)?;
        let mut still =
            network.play("control", &plays(50.0).at("edge-z").priority(Priority::MAX))?;
        still.playing()?;
        let rate = stream_kbps(&network, "edge-z")?;
        let mut narrow =
            network.play("narrow", &plays(45.0).at("edge-a").with(&["--priority", "0"]))?;
        narrow.playing()?;
        let session = narrow.session()?;
        legs(&network, session, |_| true)?;
        let path = network.access_path("edge-a")?;
        path.impair(
            Direction::ToClient,
            &Impairment::none().rate_kbps(u32::try_from(rate * 7 / 10)?),
        );
        wait_for("one description to be let go", WAIT, || {
            let served = network.session(session)?.edges.iter().flatten().count();
            Ok((served == 1).then_some(()))
        })?;
        path.impair(Direction::ToClient, &Impairment::none());
        legs(&network, session, |_| true)?;
        let (status, report) = narrow.finish()?;
        if let Some(why) = control(&mut still)? {
            return Ok(Run::Void(why));
        }
        ensure!(status.success(), "{status}");
        ensure!(report.frames.side_chosen > 0, "{}", serde_json::to_string(&report)?);
        whole_again(&report)?;
        Ok(Run::Shown)
    })
}

/// What was on its way when the link became narrow comes too late for some frames; then one description was
/// whole, and the last two seconds were of full quality.
fn whole_again(report: &Report) -> anyhow::Result<()> {
    let what = serde_json::to_string(report)?;
    let last = report.verdicts.iter().map(|span| span.to_ms).max().unwrap_or_default();
    ensure!(last + 2000 < report.duration_ms, "not whole in the end: {what}");
    ensure!(report.freezes.count <= 1 && report.freezes.longest_ms <= 500, "{what}");
    Ok(())
}
