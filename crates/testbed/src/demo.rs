//! The demonstration: a real clip through two real hand-offs.

use std::{path::Path, process::ExitCode};

use anyhow::Context;
use gibbon_control::{
    portal::{HandoffOutcome, HandoffRequest},
    report::Report,
};
use gibbon_media::{NodeId, SessionId};
use gibbon_testbed::{Network, PlayerOptions, Setup, WAIT, wait_for};

/// One origin, three edges, a player; its session goes from edge-a to edge-b to edge-c.
pub fn run(folder: &Path, seconds: f64) -> anyhow::Result<ExitCode> {
    let network_folder = folder.join("network");
    if network_folder.exists() {
        std::fs::remove_dir_all(&network_folder)
            .with_context(|| format!("cannot clear {}", network_folder.display()))?;
    }
    println!("Starting a coordinator, an origin and three edges …");
    let network = Network::start(&network_folder, Setup::bbb(&["edge-a", "edge-b", "edge-c"]))?;
    println!(
        "Portal: {}  (logs and certificates: {})\n",
        network.portal_url(),
        network_folder.display()
    );
    let options = PlayerOptions::new("live/bbb", seconds).at("edge-a");
    let mut player = network.play_here("player", &options)?;
    let session = wait_for("the player's session", WAIT, || {
        Ok(network.portal.sessions()?.into_iter().next().map(|info| info.session))
    })?;
    settle(&network, session, "edge-a")?;
    let mut completed = true;
    for edge in ["edge-b", "edge-c"] {
        std::thread::sleep(std::time::Duration::from_secs(3));
        let request = HandoffRequest { to: Some(edge.parse()?), ..HandoffRequest::default() };
        let handoff = network.portal.handoff(session, &request)?;
        completed &= network.handoff_over(handoff.handoff)?.outcome == HandoffOutcome::Completed;
    }
    let (status, report) = player.finish()?;
    for file in ["report.json", "timeline.png", "recording.mkv"] {
        std::fs::copy(player.folder.join(file), folder.join(file))
            .with_context(|| format!("the player left no {file}"))?;
    }
    network.stop()?;
    println!("\nWritten: {0}/report.json  {0}/timeline.png  {0}/recording.mkv", folder.display());
    let unseen = saw_nothing(&report);
    if unseen && completed && status.success() {
        println!("Two hand-offs, and the viewer saw nothing.");
        return Ok(ExitCode::SUCCESS);
    }
    println!("The viewer saw something, or a hand-off did not complete; see above.");
    Ok(ExitCode::FAILURE)
}

/// Waits until both descriptions come from `edge`.
fn settle(network: &Network, session: SessionId, edge: &str) -> anyhow::Result<()> {
    wait_for(format!("both descriptions from {edge}"), WAIT, || {
        let edges = network.session(session)?.edges;
        let there = |e: &Option<NodeId>| e.as_ref().is_some_and(|e| e.as_str() == edge);
        Ok(edges.iter().all(there).then_some(()))
    })
}

fn saw_nothing(report: &Report) -> bool {
    report.frames.side == 0 && report.frames.frozen == 0 && report.audio.gap_ms == 0
}
