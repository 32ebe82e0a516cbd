//! What the end-to-end tests share: runs with a control viewer, and sentences about what a viewer saw.

mod machine;
mod noise;
mod recording;
mod runs;
pub mod scene;

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context, bail, ensure};
use gibbon_control::{
    portal::{NodeInfo, SessionInfo},
    report::Report,
    services::{ServiceInfo, ServiceRequest, ServiceState},
    work::InstanceState,
};
use gibbon_mdc::Verdict;
use gibbon_media::{NodeId, ServiceId, SessionId};
use gibbon_testbed::{Network, Player, WAIT, binary, wait_for};

pub use noise::Pictures;
pub use recording::Recording;
pub use runs::{Run, control, judge, with_control};

/// Ends a player that plays without end, and reads its report.
pub fn end(player: &mut Player) -> anyhow::Result<Report> {
    let status = player.process.stop()?;
    ensure!(status.success(), "{} ended with {status}", player.process.name());
    player.report()
}

/// A node as the portal shows it.
pub fn node(network: &Network, id: &str) -> anyhow::Result<NodeInfo> {
    let nodes = network.portal.nodes()?;
    let found = nodes.into_iter().find(|node| node.id.as_str() == id);
    found.with_context(|| format!("there is no node {id}"))
}

/// What a viewer saw that it should not have, in words; `None` if nothing.
pub fn saw(report: &Report) -> Option<String> {
    let Report { frames, audio, text, display, .. } = report;
    let clean = frames.side == 0
        && frames.frozen == 0
        && audio.gap_ms == 0
        && text.missed == 0
        && display.failed == 0
        && frames.central > 0;
    (!clean).then(|| {
        format!(
            "central {} side {} frozen {} of {}, sound gaps {} ms, cues missed {}, pictures failed {}",
            frames.central, frames.side, frames.frozen, frames.expected, audio.gap_ms, text.missed,
            display.failed
        )
    })
}

/// Fails with what the viewer saw, unless that was nothing.
pub fn saw_nothing(report: &Report) -> anyhow::Result<()> {
    match saw(report) {
        None => Ok(()),
        Some(what) => {
            bail!("the viewer saw {what}; its report: {}", serde_json::to_string(report)?)
        }
    }
}

/// Frames by media time, each with its verdict and hash.
pub type Frames = BTreeMap<u64, (String, String)>;

/// As a map by media time; fails if a time comes twice.
pub fn by_time(frames: Vec<(u64, String, String)>) -> anyhow::Result<Frames> {
    let count = frames.len();
    let map: Frames =
        frames.into_iter().map(|(time, verdict, hash)| (time, (verdict, hash))).collect();
    ensure!(map.len() == count, "{} frames were displayed twice", count - map.len());
    Ok(map)
}

/// Compares two records of the same stream by media time. Returns how many frames both have; fails at the
/// first that differs.
pub fn same_pictures(left: &Frames, right: &Frames) -> anyhow::Result<usize> {
    let mut common = 0;
    for (time, (_, hash)) in left {
        if let Some((_, other)) = right.get(time) {
            ensure!(hash == other, "the pictures at {time} differ: {hash} and {other}");
            common += 1;
        }
    }
    Ok(common)
}

/// Decodes a file with stock ffmpeg; fails if that complains about anything.
pub fn stock_ffmpeg_decodes(file: &Path) -> anyhow::Result<()> {
    let output = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-xerror", "-i"])
        .arg(file)
        .args(["-map", "0:v", "-map", "0:a", "-f", "null", "-"])
        .output()
        .context("ffmpeg is not installed")?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && complaints.is_empty(), "ffmpeg: {complaints}");
    Ok(())
}

/// Runs `gibbonctl` against a network; returns its exit code and what it has printed.
pub fn gibbonctl(network: &Network, arguments: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let mut command = Command::new(binary("gibbonctl")?);
    command.args(["--portal", network.portal_url(), "--token-file"]);
    command.arg(network.certs().join("portal.token")).args(arguments);
    let output = command.output().context("cannot start gibbonctl")?;
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    Ok((output.status.code(), said.concat()))
}

/// Waits until both descriptions of a session are delivered, and by which edges is as `wanted`.
pub fn legs(
    network: &Network,
    session: SessionId,
    wanted: impl Fn(&[NodeId; 2]) -> bool,
) -> anyhow::Result<[NodeId; 2]> {
    wait_for(format!("the legs of session {session}"), WAIT, || {
        let SessionInfo { edges, handoff, .. } = network.session(session)?;
        let [Some(zero), Some(one)] = edges else { return Ok(None) };
        let legs = [zero, one];
        Ok((handoff.is_none() && wanted(&legs)).then_some(legs))
    })
}

/// Both legs on two edges.
pub fn apart(legs: &[NodeId; 2]) -> bool {
    legs[0] != legs[1]
}

/// The longest stretch of this verdict, in ms. Stretches that touch are one.
pub fn longest(report: &Report, verdict: Verdict) -> u64 {
    let (mut longest, mut from, mut until) = (0, 0, 0);
    for span in report.verdicts.iter().filter(|span| span.verdict == verdict) {
        if span.from_ms > until {
            from = span.from_ms;
        }
        until = span.to_ms;
        longest = longest.max(until - from);
    }
    longest
}

/// The same as [`went_on`], and something was seen whole.
pub fn never_froze(report: &Report) -> anyhow::Result<()> {
    went_on(report)?;
    ensure!(
        report.frames.central > 0,
        "nothing was seen whole: {}",
        serde_json::to_string(report)?
    );
    Ok(())
}

/// Fails if anything froze, or the sound had a gap, or the playout delay grew beyond 1.2 times its start.
pub fn went_on(report: &Report) -> anyhow::Result<()> {
    let delay = report.playout_delay_ms;
    ensure!(
        report.frames.frozen == 0 && report.audio.gap_ms == 0 && report.frames.expected > 0,
        "frozen {} of {}, longest freeze {} ms, sound gaps {} ms; report: {}",
        report.frames.frozen,
        report.frames.expected,
        report.freezes.longest_ms,
        report.audio.gap_ms,
        serde_json::to_string(report)?
    );
    ensure!(delay.latest * 10 <= delay.initial * 12, "the playout delay grew: {delay:?}");
    Ok(())
}

/// When a stream began, in µs since the epoch: as its origin keeps it.
pub fn began_us(network: &Network, stream: &str) -> anyhow::Result<u64> {
    let file = format!("{}.created", stream.replace('/', "+"));
    let kept = std::fs::read_to_string(network.folder().join("state").join(file))?;
    Ok(kept.trim().parse()?)
}

/// A request for components on `live/bbb` that stay until they are stopped.
pub fn request(list: &str) -> anyhow::Result<ServiceRequest> {
    Ok(ServiceRequest { keep: true, ..ServiceRequest::new("live/bbb".parse()?, list)? })
}

/// Asks for components on `live/bbb`; `change` makes the request another one.
pub fn ask_for(
    network: &Network,
    list: &str,
    change: impl FnOnce(&mut ServiceRequest),
) -> anyhow::Result<ServiceInfo> {
    let mut request = request(list)?;
    change(&mut request);
    network.portal.start_service(&request)
}

/// Waits until a service runs with all its modules; fails as soon as it cannot.
pub fn running(network: &Network, service: ServiceId) -> anyhow::Result<ServiceInfo> {
    wait_for(format!("service {service} to run"), WAIT, || {
        let info = network.portal.service(service)?;
        if info.state == ServiceState::Failed {
            bail!("service {service} failed: {}", info.why.unwrap_or_default());
        }
        let all = info.modules.iter().all(|module| module.state == InstanceState::Running);
        Ok((info.state == ServiceState::Running && all).then_some(info))
    })
}

/// The worker of a component (its place in the chain from 1 on) of the first replica.
pub fn worker_of(info: &ServiceInfo, number: u32) -> anyhow::Result<&str> {
    let found = info.modules.iter().find(|m| m.number == number && m.replica == 0);
    found.map(|m| m.worker.as_str()).with_context(|| format!("no module {number}: {info:?}"))
}

/// Ends all services and stops everything: workers that run nothing have nothing to move.
pub fn stop(network: Network) -> anyhow::Result<()> {
    for service in network.portal.services()? {
        network.portal.end_service(service.service)?;
    }
    network.stop()
}
