//! Bad input: whatever is thrown at an edge, the origin and the coordinator gets its clear
//! error, and a session on the same edge sees nothing of it.

mod attacker;
mod nodes;
mod upstream;
mod viewers;

use std::path::Path;

use anyhow::{Context, ensure};
use gibbon_net::Certificates;
use gibbon_testbed::{Network, PlayerOptions, Setup};
use gibbon_tests::{Run, control, saw_nothing, with_control};

use crate::attacker::Attacker;

const SECONDS: f64 = 22.0;

#[test]
fn bad_input_gets_a_clear_error_and_no_other_session_sees_anything() -> anyhow::Result<()> {
    with_control(run)
}

fn run(folder: &Path) -> anyhow::Result<Run> {
    let network = Network::start(folder, Setup::bbb(&["edge-a", "edge-z"]))?;
    let mut still =
        network.play("control", &PlayerOptions::new("live/bbb", SECONDS).at("edge-z"))?;
    let mut viewer =
        network.play("viewer", &PlayerOptions::new("live/bbb", SECONDS).at("edge-a"))?;
    still.playing()?;
    viewer.playing()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let _sockets_live_here = runtime.enter();
    let attacker = attacker(&network)?;
    let attacks = runtime.block_on(attack(&attacker));
    let playing = viewer.process.ended()?.is_none();
    let (status, report) = viewer.finish()?;
    if let Some(why) = control(&mut still)? {
        return Ok(Run::Void(why));
    }
    attacks?;
    ensure!(playing, "the attacks took longer than the viewer played");
    ensure!(status.success(), "the viewer ended with {status}");
    saw_nothing(&report)?;
    // Every process is still there, and ends well.
    network.stop()?;
    Ok(Run::Shown)
}

fn attacker(network: &Network) -> anyhow::Result<Attacker> {
    let ready = network.coordinator().log();
    let ready = ready.with("the coordinator is ready").last().and_then(|l| l.text("nodes"));
    let coordinator = ready.context("the coordinator is not ready")?.parse()?;
    let nodes = network.portal.nodes()?;
    let address = |id: &str| {
        let node = nodes.iter().find(|node| node.id.as_str() == id);
        node.map(|node| node.address).with_context(|| format!("there is no node {id}"))
    };
    let certificates = Certificates::in_folder(network.certs());
    Attacker::new(certificates, address("edge-a")?, address("origin-1")?, coordinator)
}

/// All attacks: those that wait for something beside those that follow one another.
async fn attack(attacker: &Attacker) -> anyhow::Result<()> {
    tokio::try_join!(
        viewers::without_a_grant(attacker),
        viewers::that_stops_reading(attacker),
        upstream::of_another_certificate(attacker),
        upstream::that_sends_nonsense(attacker),
        async {
            viewers::garbage(attacker).await?;
            viewers::of_another_protocol(attacker).await?;
            viewers::with_bad_grants(attacker).await?;
            viewers::on_the_wrong_streams(attacker).await?;
            viewers::with_bad_messages(attacker).await?;
            viewers::that_want_what_there_is_not(attacker).await?;
            viewers::with_too_many_streams(attacker).await?;
            nodes::at_an_edge(attacker).await?;
            nodes::at_an_origin(attacker).await?;
            nodes::at_the_coordinator(attacker).await
        },
    )?;
    Ok(())
}
