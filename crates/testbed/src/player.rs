//! A player of the network.

use std::{path::PathBuf, process::ExitStatus, time::Duration};

use anyhow::{Context, bail};
use gibbon_control::report::Report;
use gibbon_media::{Placement, Priority, SessionId};
use rustix::process::Signal;

use crate::{Process, WAIT, wait_for};

/// How long a player that is dropped has to write its report.
const LEAVES_WITHIN: Duration = Duration::from_secs(10);

/// What a player is to do.
#[derive(Debug, Clone)]
pub struct PlayerOptions {
    /// The stream.
    pub stream: String,
    /// How long to play.
    pub duration: Duration,
    /// The edge to begin at.
    pub edge: Option<String>,
    /// Where its legs are to be; without it, together if the edge is named.
    pub placement: Option<Placement>,
    /// Further options, as on the command line.
    pub arguments: Vec<String>,
}

impl PlayerOptions {
    /// Plays `stream` for `seconds`.
    pub fn new(stream: &str, seconds: f64) -> Self {
        let duration = Duration::from_secs_f64(seconds);
        Self {
            stream: stream.to_owned(),
            duration,
            edge: None,
            placement: None,
            arguments: Vec::new(),
        }
    }

    /// Begins at this edge.
    pub fn at(mut self, edge: &str) -> Self {
        self.edge = Some(edge.to_owned());
        self
    }

    /// On one edge or on two.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = Some(placement);
        self
    }

    /// This many ms behind the live edge.
    pub fn playout_delay(self, ms: u64) -> Self {
        self.with(&["--playout-delay", &ms.to_string()])
    }

    /// Of this importance where there is not room for all.
    pub fn priority(self, priority: Priority) -> Self {
        self.with(&["--priority", &priority.to_string()])
    }

    /// Without decoding: verdicts are counted by what arrives.
    pub fn no_decode(self) -> Self {
        self.with(&["--no-decode"])
    }

    /// With further arguments.
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|a| (*a).to_owned()));
        self
    }
}

/// A running player. Dropped, it leaves its report behind: what it saw counts, whatever becomes of its test.
#[derive(Debug)]
pub struct Player {
    /// Its process.
    pub process: Process,
    /// Where its files are: `report.json`, `framehash`, `recording.mkv`, `timeline.png`.
    pub folder: PathBuf,
    pub(crate) duration: Duration,
}

impl Player {
    /// The session it was granted; waits until it has one.
    pub fn session(&self) -> anyhow::Result<SessionId> {
        wait_for(format!("a session of {}", self.process.name()), WAIT, || {
            let log = self.process.log();
            let granted = log.with("session granted").last();
            Ok(granted.and_then(|line| line.text("session")?.parse().ok()))
        })
    }

    /// Waits until the picture is moving; fails if the player ends before.
    pub fn playing(&mut self) -> anyhow::Result<()> {
        wait_for(format!("{} to play", self.process.name()), WAIT, || {
            if self.process.log().with("playing").next().is_some() {
                return Ok(Some(()));
            }
            match self.process.ended()? {
                Some(status) => bail!("it ended with {status}; see its log"),
                None => Ok(None),
            }
        })
    }

    /// Waits until it has ended by itself, and reads its report.
    pub fn finish(&mut self) -> anyhow::Result<(ExitStatus, Report)> {
        let status = self.process.wait(self.duration + WAIT)?;
        Ok((status, self.report()?))
    }

    /// The report it has written.
    pub fn report(&self) -> anyhow::Result<Report> {
        let file = self.folder.join("report.json");
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("{} left no report; see its log", self.process.name()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a report", file.display()))
    }

    /// What it displayed: media time in µs, verdict, hash.
    pub fn frames(&self) -> anyhow::Result<Vec<(u64, String, String)>> {
        read_frames(&self.folder.join("framehash"))
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        if matches!(self.process.ended(), Ok(None)) && self.process.signal(Signal::TERM).is_ok() {
            let _ = self.process.wait(LEAVES_WITHIN);
        }
    }
}

/// Reads a file of frame hashes.
pub fn read_frames(file: &std::path::Path) -> anyhow::Result<Vec<(u64, String, String)>> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let parse = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        Some((words.next()?.parse().ok()?, words.next()?, words.next()?))
    };
    // The last line may still be being written.
    Ok(text
        .split_inclusive('\n')
        .filter(|l| l.ends_with('\n'))
        .filter_map(|l| parse(l.trim_end()))
        .collect())
}
