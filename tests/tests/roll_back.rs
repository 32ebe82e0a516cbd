//! The first description is a probe (G2): an edge that turns out bad gets nothing more, and the viewer is
//! whole again at the first edge.

use std::time::Duration;

use anyhow::{Context, ensure};
use gibbon_control::{
    portal::{HandoffInfo, HandoffOutcome, HandoffRequest},
    report::Report,
};
use gibbon_media::{Description, HandoffId};
use gibbon_testbed::{Network, PlayerOptions, Setup, WAIT, wait_for};
use gibbon_tests::{Run, control, with_control};

const ATTACHED: &str = "attached";

/// What happens to the second edge, and once which step has been taken.
struct Trouble {
    after: &'static str,
    cause: fn(&Network) -> anyhow::Result<()>,
}

fn rolled_back(trouble: &Trouble) -> anyhow::Result<()> {
    with_control(|folder| {
        let mut setup = Setup::bbb(&["edge-a", "edge-b", "edge-z"]);
        setup.access_paths.push("edge-b".into());
        let network = Network::start(folder, setup)?;
        let mut still =
            network.play("control", &PlayerOptions::new("live/bbb", 17.0).at("edge-z"))?;
        let mut moved =
            network.play("moved", &PlayerOptions::new("live/bbb", 15.0).at("edge-a"))?;
        moved.playing()?;
        let request = HandoffRequest { to: Some("edge-b".parse()?), ..HandoffRequest::default() };
        let handoff = network.portal.handoff(moved.session()?, &request)?.handoff;
        wait_for(format!("step {}", trouble.after), WAIT, || {
            let taken =
                progress(&network, handoff)?.progress.iter().any(|p| p.step == trouble.after);
            Ok(taken.then_some(()))
        })?;
        (trouble.cause)(&network)?;
        let over = network.handoff_over(handoff)?;
        let (status, report) = moved.finish()?;
        if let Some(why) = control(&mut still)? {
            return Ok(Run::Void(why));
        }
        ensure!(over.outcome == HandoffOutcome::RolledBack, "{over:?}");
        ensure!(status.success(), "{status}");
        whole_at_the_first_edge(&report)?;
        Ok(Run::Shown)
    })
}

fn progress(network: &Network, handoff: HandoffId) -> anyhow::Result<HandoffInfo> {
    let known = network.portal.handoffs()?;
    known.into_iter().find(|h| h.handoff == handoff).context("the hand-off is not known")
}

fn whole_at_the_first_edge(report: &Report) -> anyhow::Result<()> {
    let what = serde_json::to_string(report)?;
    ensure!(report.frames.frozen == 0 && report.audio.gap_ms == 0, "{what}");
    ensure!(report.handoffs.len() == 1 && report.handoffs[0].outcome == "rolled_back", "{what}");
    for description in Description::BOTH {
        let last = report.legs.iter().rfind(|leg| leg.description == description);
        let last = last.with_context(|| format!("no leg of {description}: {what}"))?;
        ensure!(last.edge.as_str() == "edge-a" && last.to_ms + 100 >= report.duration_ms, "{what}");
    }
    // Whole again: the last two seconds were of full quality.
    ensure!(report.frames.side <= 24 * 3, "{what}");
    Ok(())
}

#[test]
fn an_edge_that_stops_sending_after_it_was_attached() -> anyhow::Result<()> {
    let cause = |network: &Network| {
        network.access_path("edge-b")?.cut(true);
        Ok(())
    };
    rolled_back(&Trouble { after: ATTACHED, cause })
}

#[test]
fn an_edge_that_delivers_late_after_it_was_attached() -> anyhow::Result<()> {
    let cause = |network: &Network| {
        network.access_path("edge-b")?.delay(Duration::from_millis(950));
        Ok(())
    };
    rolled_back(&Trouble { after: ATTACHED, cause })
}

#[test]
fn an_edge_that_never_delivers_in_time() -> anyhow::Result<()> {
    let cause = |network: &Network| {
        network.access_path("edge-b")?.delay(Duration::from_millis(700));
        Ok(())
    };
    rolled_back(&Trouble { after: "attach_sent", cause })
}
