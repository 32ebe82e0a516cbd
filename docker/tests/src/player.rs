//! A player on the host, which reaches the containers over their bridge.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use gibbon_control::{portal::SessionInfo, report::Report};
use gibbon_testbed::{Process, WAIT, wait_for};

use crate::Containers;

/// A running player of `live/bbb`.
#[derive(Debug)]
pub struct Player {
    process: Process,
    report: PathBuf,
}

impl Player {
    /// Starts a player with further arguments, and waits until it plays.
    pub fn start(network: &Containers, name: &str, further: &[&str]) -> anyhow::Result<Self> {
        let report = network.file(&format!("{name}.json"));
        let file = |name: &str| network.file(name).display().to_string();
        let report_to = report.display().to_string();
        let (ca, token) = (file("ca.pem"), file("portal.token"));
        let arguments: Vec<_> = ["live/bbb", "--portal", &network.portal_url, "--ca", &ca]
            .into_iter()
            .chain(["--token-file", &token, "--report", &report_to])
            .chain(further.iter().copied())
            .map(str::to_owned)
            .collect();
        let folder = network.file("");
        let process = Process::start("gibbon-play", name, &folder, &arguments)?;
        let mut player = Self { process, report };
        wait_for(format!("{name} to play"), WAIT, || {
            if player.process.log().with("playing").next().is_some() {
                return Ok(Some(()));
            }
            match player.process.ended()? {
                Some(status) => bail!("it ended with {status}"),
                None => Ok(None),
            }
        })?;
        Ok(player)
    }

    /// Its session as the portal shows it.
    pub fn session(&self, network: &Containers) -> anyhow::Result<SessionInfo> {
        let log = self.process.log();
        let granted = log.with("session granted").last();
        let id = granted.and_then(|line| line.text("session")).context("it has no session")?;
        let all = network.portal.sessions()?;
        all.into_iter().find(|info| info.session.to_string() == id).context("it is forgotten")
    }

    /// Waits until both descriptions are delivered, neither by the edge `not`, and nothing is under way.
    pub fn settled(&self, network: &Containers, not: Option<&str>) -> anyhow::Result<()> {
        wait_for(format!("{} to be settled", self.process.name()), WAIT, || {
            let SessionInfo { edges, handoff, .. } = self.session(network)?;
            let well = |edge: &Option<gibbon_media::NodeId>| {
                edge.as_ref().is_some_and(|edge| Some(edge.as_str()) != not)
            };
            Ok((handoff.is_none() && edges.iter().all(well)).then_some(()))
        })
    }

    /// Ends it, and reads its report.
    pub fn end(mut self) -> anyhow::Result<Report> {
        let name = self.process.name().to_owned();
        let status = self.process.stop()?;
        ensure!(status.success(), "{name} ended with {status}");
        let text = std::fs::read_to_string(&self.report)
            .with_context(|| format!("{name} left no report"))?;
        Ok(serde_json::from_str(&text)?)
    }
}
