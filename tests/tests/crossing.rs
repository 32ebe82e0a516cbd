//! The crossing: a session handed from edge to edge, and the viewer's pictures identical to those of a
//! viewer who was never moved (H2–H6, G1, G6).

use anyhow::{Context, ensure};
use gibbon_control::{
    portal::{HandoffInfo, HandoffOutcome, HandoffRequest, NodeInfo},
    report::{HandoffRecord, Report},
};
use gibbon_handoff::{InfoSender, Source};
use gibbon_media::{Description, NodeId, SessionId};
use gibbon_testbed::{Network, PlayerOptions, Setup, WAIT, read_frames, wait_for};
use gibbon_tests::{Run, by_time, control, node, same_pictures, saw_nothing, with_control};

/// Frames of one group of one description: 24 pictures, 50 packets of sound, and its cues.
const MAX_DUPLICATES: u64 = 24 + 50 + 6;

/// Each hand-off of the run: where to, who sends the prefetch information, and where the second edge
/// fetches descriptions 0 and 1 from.
const HANDOFFS: [(&str, InfoSender, [Source; 2]); 4] = [
    ("edge-b", InfoSender::Coordinator, [Source::FirstEdge, Source::FirstEdge]),
    ("edge-c", InfoSender::FirstEdge, [Source::Origin, Source::Origin]),
    ("edge-a", InfoSender::Coordinator, [Source::FirstEdge, Source::Origin]),
    ("edge-b", InfoSender::FirstEdge, [Source::Origin, Source::FirstEdge]),
];

#[test]
fn hand_offs_are_invisible_from_every_source_and_by_either_sender() -> anyhow::Result<()> {
    with_control(|folder| {
        let edges = ["edge-a", "edge-b", "edge-c", "edge-z"];
        let network = Network::start(folder, Setup::bbb(&edges))?;
        let mut still =
            network.play("control", &PlayerOptions::new("live/bbb", 30.0).at("edge-z"))?;
        let mut moved =
            network.play("moved", &PlayerOptions::new("live/bbb", 27.0).at("edge-a"))?;
        moved.playing()?;
        let session = moved.session()?;
        let mut sources = Vec::new();
        for (to, prefetch_info, fetch) in HANDOFFS {
            let request = HandoffRequest {
                to: Some(to.parse()?),
                prefetch_info: Some(prefetch_info),
                fetch: fetch.map(Some),
                ..HandoffRequest::default()
            };
            let handoff = network.portal.handoff(session, &request)?;
            let over = network.handoff_over(handoff.handoff)?;
            ensure!(over.outcome == HandoffOutcome::Completed, "{over:?}");
            sources.push(node(&network, to)?);
        }
        let (status, report) = moved.finish()?;
        if let Some(why) = control(&mut still)? {
            return Ok(Run::Void(why));
        }
        ensure!(status.success(), "{status}");
        saw_nothing(&report)?;
        let shown = by_time(moved.frames()?)?;
        let common = same_pictures(&shown, &by_time(still.frames()?)?)?;
        ensure!(common >= 24 * 20, "only {common} frames in common with the control viewer");
        let origin = by_time(read_frames(&network.origin_frames("origin-1"))?)?;
        let common = same_pictures(&shown, &origin)?;
        ensure!(common == shown.len(), "{common} of {} frames are the origin's", shown.len());
        ensure!(report.handoffs.len() == HANDOFFS.len(), "{:?}", report.handoffs);
        for ((record, upstreams), (_, _, fetch)) in
            report.handoffs.iter().zip(&sources).zip(HANDOFFS)
        {
            fetched_as_ordered(record, upstreams, fetch)?;
            duplicates_at_most_a_group(record)?;
        }
        network.stop()?;
        Ok(Run::Shown)
    })
}

fn fetched_as_ordered(
    record: &HandoffRecord,
    edge: &NodeInfo,
    fetch: [Source; 2],
) -> anyhow::Result<()> {
    for description in Description::BOTH {
        let upstream = edge.upstreams.iter().find(|u| u.description == description);
        let received = &upstream.context("the edge pulls nothing")?.received;
        let from = |id: &NodeId| received.iter().any(|r| r.source == *id && r.bytes > 0);
        let by_first_edge = from(&record.from);
        let asked = fetch[description.index()] == Source::FirstEdge;
        ensure!(
            by_first_edge == asked,
            "description {description} of {}: asked for {fetch:?}, received {received:?}",
            edge.id
        );
        ensure!(
            received.iter().any(|r| r.source.as_str() == "origin-1"),
            "never settled: {received:?}"
        );
    }
    Ok(())
}

fn duplicates_at_most_a_group(record: &HandoffRecord) -> anyhow::Result<()> {
    for step in &record.steps {
        ensure!(step.duplicate_frames <= MAX_DUPLICATES, "{step:?}");
    }
    Ok(())
}

#[test]
fn the_steps_come_in_order_and_then_the_first_edge_can_exit() -> anyhow::Result<()> {
    with_control(|folder| {
        let network = Network::start(folder, Setup::bbb(&["edge-a", "edge-b", "edge-z"]))?;
        let mut still =
            network.play("control", &PlayerOptions::new("live/bbb", 15.0).at("edge-z"))?;
        let mut moved =
            network.play("moved", &PlayerOptions::new("live/bbb", 13.0).at("edge-a"))?;
        moved.playing()?;
        let session = moved.session()?;
        let request = HandoffRequest { to: Some("edge-b".parse()?), ..HandoffRequest::default() };
        let handoff = network.portal.handoff(session, &request)?;
        let over = network.handoff_over(handoff.handoff)?;
        ensure!(over.outcome == HandoffOutcome::Completed, "{over:?}");
        wait_for("edge-a to hold nothing of the session", WAIT, || {
            let log = network.node("edge-a")?.log();
            let gone = log.with("nothing of the session is held any more").count();
            let pulls = node(&network, "edge-a")?.upstreams;
            Ok((gone > 0 && pulls.is_empty()).then_some(()))
        })?;
        let status = network.node("edge-a")?.stop()?;
        ensure!(status.success(), "edge-a ended with {status}");
        let (status, report) = moved.finish()?;
        if let Some(why) = control(&mut still)? {
            return Ok(Run::Void(why));
        }
        ensure!(status.success(), "{status}");
        saw_nothing(&report)?;
        steps_in_order(&over)?;
        edges_logs_agree(&network, session)?;
        Ok(Run::Shown)
    })
}

fn steps_in_order(handoff: &HandoffInfo) -> anyhow::Result<()> {
    // A step's place in the record, and when it was: steps of one instant still have an order.
    let at = |step: &str, description: Option<Description>| {
        let wanted = |d: Option<Description>| description.is_none() || d == description;
        let mut steps = handoff.progress.iter().enumerate();
        let found = steps.find(|(_, p)| p.step == step && wanted(p.description));
        found
            .map(|(place, p)| (p.at_us, place))
            .with_context(|| format!("no {step} of {description:?}: {:?}", handoff.progress))
    };
    let (one, zero) = (Some(Description::One), Some(Description::Zero));
    let selected = at("selected", None)?;
    for description in [one, zero] {
        let (sent, ready) = (at("prefetch_sent", description)?, at("ready", description)?);
        ensure!(selected < sent, "{:?}", handoff.progress);
        ensure!(sent <= ready && ready <= at("attached", description)?, "{:?}", handoff.progress);
    }
    ensure!(at("held", one)? <= at("prefetch_sent", zero)?, "both descriptions were in transit");
    ensure!(at("attached", zero)? <= at("closed", None)?, "{:?}", handoff.progress);
    Ok(())
}

/// The same order, as the edges themselves tell it.
fn edges_logs_agree(network: &Network, session: SessionId) -> anyhow::Result<()> {
    let (a, b) = (network.node("edge-a")?.log(), network.node("edge-b")?.log());
    let find = |log: &gibbon_testbed::Log, message: &str, description: Option<u8>| {
        let found = log.with(message).find(|line| {
            line.has("session", session) && description.is_none_or(|d| line.has("description", d))
        });
        found
            .map(|l| l.at().to_owned())
            .with_context(|| format!("no line {message:?} of {description:?}"))
    };
    let told = find(&b, "prefetch information", Some(1))?;
    let first_one = find(&b, "first frame sent", Some(1))?;
    let first_zero = find(&b, "first frame sent", Some(0))?;
    let (ended_one, ended_zero) =
        (find(&a, "leg detached", Some(1))?, find(&a, "leg detached", Some(0))?);
    let closed = find(&a, "client connection closed", None)?;
    ensure!(told < first_one, "description 1 came before the prefetch information");
    ensure!(first_one < ended_one, "edge-a let go of description 1 before edge-b sent it");
    ensure!(ended_one < first_zero, "edge-b sent description 0 before description 1 had crossed");
    ensure!(first_zero < ended_zero, "edge-a let go of description 0 before edge-b sent it");
    ensure!(
        ended_zero < closed,
        "the connection to edge-a closed before its last description had crossed"
    );
    Ok(())
}

#[test]
fn the_first_edge_completes_the_hand_off_when_the_second_has_lost_the_coordinator()
-> anyhow::Result<()> {
    with_control(|folder| {
        let mut setup = Setup::bbb(&["edge-a", "edge-b", "edge-z"]);
        setup.control_paths.push("edge-b".into());
        let network = Network::start(folder, setup)?;
        let mut still =
            network.play("control", &PlayerOptions::new("live/bbb", 15.0).at("edge-z"))?;
        let mut moved =
            network.play("moved", &PlayerOptions::new("live/bbb", 13.0).at("edge-a"))?;
        moved.playing()?;
        let session = moved.session()?;
        // The path is cut before the order can reach edge-b over it, and after it is known to be up.
        network.control_path("edge-b")?.cut(true);
        let request = HandoffRequest {
            to: Some("edge-b".parse()?),
            prefetch_info: Some(InfoSender::FirstEdge),
            ..HandoffRequest::default()
        };
        let handoff = network.portal.handoff(session, &request)?;
        let over = network.handoff_over(handoff.handoff)?;
        let (status, report) = moved.finish()?;
        if let Some(why) = control(&mut still)? {
            return Ok(Run::Void(why));
        }
        ensure!(over.outcome == HandoffOutcome::Completed, "{over:?}");
        ensure!(status.success(), "{status}");
        saw_nothing(&report)?;
        delivered_at_the_end_by(&report, "edge-b")?;
        Ok(Run::Shown)
    })
}

fn delivered_at_the_end_by(report: &Report, edge: &str) -> anyhow::Result<()> {
    for description in Description::BOTH {
        let last = report.legs.iter().rfind(|leg| leg.description == description);
        ensure!(last.is_some_and(|leg| leg.edge.as_str() == edge), "{:?}", report.legs);
    }
    Ok(())
}
