//! Origins that fall behind (M5): who can have the stream from another one is moved there before anything is late, and
//! nobody is moved where that cannot help.

use std::time::Duration;

use anyhow::ensure;
use gibbon_control::{node::UpstreamReport, portal::WhyInput};
use gibbon_media::NodeId;
use gibbon_testbed::{
    Camera, Direction, Network, Player, PlayerOptions, SET_EVERY, Setup, WAIT, Whose, over,
    wait_for,
};
use gibbon_tests::{
    Run, node,
    scene::{STREAM, Scene, Stage, Way, watches},
};

/// For so long the camera is on time.
const BEFORE: Duration = Duration::from_secs(14);
/// Then it falls behind by 30 ms each second, until frames come after their deadlines.
const BEHIND: Duration = Duration::from_secs(32);
const BEHIND_BY_MS: f64 = 30.0;
/// The control viewer's stream and edge.
const OTHER: &str = "live/other";

/// One camera is for all networks: one of them sees to it, and the others wait.
fn falls_behind(stage: &mut Stage, camera: &Camera) -> anyhow::Result<()> {
    let sees_to_it = stage.way == Way::Ahead;
    over(BEFORE + BEHIND, SET_EVERY, |after| {
        let ms = BEHIND_BY_MS * after.saturating_sub(BEFORE).as_secs_f64();
        if sees_to_it {
            camera.is_late(Duration::from_secs_f64(ms / 1000.0));
        }
    });
    if sees_to_it {
        camera.is_late(Duration::ZERO);
    }
    Ok(())
}

#[test]
fn nobody_is_moved_because_of_an_origin_that_all_have_the_stream_from() -> anyhow::Result<()> {
    let camera = Camera::on()?;
    let setup = Setup::default().shows("studio", STREAM, &camera.url());
    let setup = setup.clip("origin-1", OTHER, "session.mp4").edges(&["edge-a", "edge-b"]);
    let scene = Scene {
        setup,
        control: PlayerOptions::new(OTHER, 600.0).at("edge-b"),
        cast: |network: &Network| Ok(vec![network.play("viewer", &watches().at("edge-a"))?]),
        action: |stage: &mut Stage| falls_behind(stage, &camera),
    };
    scene.show(|outcome| {
        let (ahead, never) = (&outcome.ahead, &outcome.never);
        ensure!(ahead.handoffs.is_empty(), "moved for nothing: {}", ahead.told());
        ensure!(never.harmed() > 0, "the origin is in time: {}", never.told());
        Ok(Run::Shown)
    })
}

/// Each edge reaches one of two origins of the same stream.
const REACHES: [(&str, &str); 2] = [("edge-a", "studio-1"), ("edge-b", "studio-2")];

/// A viewer at each edge.
fn viewers_of_both(network: &Network) -> anyhow::Result<Vec<Player>> {
    for (edge, _) in REACHES {
        let others = REACHES.iter().filter(|(other, _)| *other != edge);
        for (_, origin) in others {
            let whose = Whose::Only(network.address(edge)?);
            network.access_path(origin)?.cut_off(whose, Direction::Both);
        }
    }
    let mut viewers = Vec::new();
    for (edge, origin) in REACHES {
        // An edge asks for each description at another origin first, and waits some seconds for one that does not answer:
        // the viewer comes when that is over, and then the one that came before it leaves.
        let _before = network.play(&format!("before-{edge}"), &watches().at(edge))?;
        wait_for(format!("{edge} to have both descriptions"), WAIT, || {
            let upstreams = node(network, edge)?.upstreams;
            let source = |upstream: &UpstreamReport| upstream.source.clone();
            let there = |source: &NodeId| source.as_str() == origin;
            Ok((upstreams.iter().filter_map(source).filter(there).count() == 2).then_some(()))
        })?;
        let mut viewer = network.play(&format!("viewer-of-{edge}"), &watches().at(edge))?;
        viewer.playing()?;
        viewers.push(viewer);
    }
    Ok(viewers)
}

#[test]
fn who_has_the_stream_from_an_origin_that_falls_behind_is_moved_to_where_another_feeds()
-> anyhow::Result<()> {
    let [late, good] = [Camera::on()?, Camera::on()?];
    let mut setup = Setup::default()
        .shows("studio-1", STREAM, &late.url())
        .shows("studio-2", STREAM, &good.url())
        .edges(&["edge-a", "edge-b"]);
    setup.access_paths = ["studio-1", "studio-2"].map(str::to_owned).to_vec();
    let scene = Scene {
        setup,
        control: watches().at("edge-b"),
        cast: viewers_of_both,
        action: |stage: &mut Stage| falls_behind(stage, &late),
    };
    scene.show(|outcome| {
        for (_, why, _) in outcome.ahead.completed() {
            let said = |input: &WhyInput| input.name == "its growth at edge-a" && input.value > 5.0;
            ensure!(why.grounds.inputs.iter().any(said), "not by the origin's report: {why:?}");
        }
        outcome.foresight_pays()
    })
}
