//! Players that decode what they receive: real `gibbon-play` processes, a sample of the sessions.

use anyhow::Context;
use gibbon_control::report::Report;
use gibbon_media::SessionId;
use gibbon_testbed::{Process, WAIT, wait_for};
use rustix::process::Signal;

use super::ground::Ground;
use crate::scenario::Sample;

/// All of them.
#[derive(Debug, Default)]
pub struct Players(Vec<Player>);

#[derive(Debug)]
struct Player {
    process: Process,
    session: SessionId,
}

impl Players {
    /// Starts them and waits until their pictures move.
    pub fn start(ground: &Ground, sample: Option<&Sample>) -> anyhow::Result<Self> {
        let Some(sample) = sample else { return Ok(Self::default()) };
        let names = (1..=sample.players).map(|n| format!("sample-{n}"));
        let started: Vec<Process> =
            names.map(|name| ground.play(&name, sample)).collect::<anyhow::Result<_>>()?;
        started.into_iter().map(Player::playing).collect::<anyhow::Result<_>>().map(Self)
    }

    /// Their sessions.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.0.iter().map(|player| player.session)
    }

    /// Their process ids.
    pub fn process_ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().map(|player| player.process.id())
    }

    /// Ends them; their reports, and of those that left none why.
    pub fn end(self, ground: &Ground) -> (Vec<Report>, Vec<String>) {
        for player in &self.0 {
            // One that has ended by itself says so when it is asked for its report.
            let _ = player.process.signal(Signal::TERM);
        }
        let (mut reports, mut failures) = (Vec::new(), Vec::new());
        for player in self.0 {
            match player.report(ground) {
                Ok(report) => reports.push(report),
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        (reports, failures)
    }
}

impl Player {
    fn playing(mut process: Process) -> anyhow::Result<Self> {
        let name = process.name().to_owned();
        let session = wait_for(format!("{name} to play"), WAIT, || {
            if let Some(status) = process.ended()? {
                return Ok(Some(Err(anyhow::anyhow!("{name} ended with {status}; see its log"))));
            }
            let log = process.log();
            let session =
                log.with("session granted").last().and_then(|l| l.text("session")?.parse().ok());
            Ok(session.filter(|_| log.with("playing").next().is_some()).map(Ok))
        })??;
        Ok(Self { process, session })
    }

    fn report(mut self, ground: &Ground) -> anyhow::Result<Report> {
        let name = self.process.name().to_owned();
        let status = self.process.wait(WAIT)?;
        let file = ground.report(&name);
        let text = std::fs::read_to_string(file).with_context(|| {
            format!("{name} ended with {status} and left no report; see its log")
        })?;
        serde_json::from_str(&text).with_context(|| format!("the report of {name}"))
    }
}
