//! Scenario files: what network there is, who watches it, and what befalls it. TOML in, checked values out.

mod phase;
mod shipped;

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context, bail, ensure};
use gibbon_media::{FrameRate, NodeId, Placement, Scheme, StreamName};
use serde::Deserialize;

pub use phase::{Kind, Phase};
pub use shipped::{SHIPPED, Shipped};

use crate::fail_if::Condition;

/// Most sessions of a scenario.
pub const MAX_SESSIONS: u32 = 20_000;
/// Most decoded players.
const MAX_PLAYERS: u32 = 16;
/// Most nodes of one role.
const MAX_NODES: u32 = 64;

/// What gives way most.
const MAX_NICE: u8 = 19;

/// A scenario.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is for, in a line.
    pub description: String,
    /// The network that is started; none where one is there already.
    #[serde(default)]
    pub network: Option<NetworkPlan>,
    /// A network that is there already.
    #[serde(default)]
    pub portal: Option<Existing>,
    /// Who watches.
    pub sessions: Sessions,
    /// Players that decode.
    #[serde(default)]
    pub sample: Option<Sample>,
    /// What happens, one after the other.
    pub phase: Vec<Phase>,
    /// When the run counts as failed, beside what the command line says.
    #[serde(default)]
    pub fail_if: Vec<Condition>,
}

/// A network to be started on this machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkPlan {
    /// How many edges: edge-a, edge-b and so on, each in a failure domain of its own.
    pub edges: u32,
    /// Further arguments of every edge.
    #[serde(default)]
    pub edge_arguments: Vec<String>,
    /// How many workers.
    #[serde(default)]
    pub workers: u32,
    /// Streams with real media: the clip of the repository, coded by a `gibbon-origin`.
    #[serde(default)]
    pub media: Vec<StreamName>,
    /// Synthetic streams, each group of them from a process of its own.
    #[serde(default)]
    pub source: Vec<SourcePlan>,
    /// Whether every node is reached over a path that can be impaired and cut. It costs processor time.
    #[serde(default)]
    pub paths: bool,
    /// Further arguments of the coordinator.
    #[serde(default)]
    pub coordinator_arguments: Vec<String>,
    /// What impairments draw depends on this.
    #[serde(default = "one")]
    pub seed: u64,
}

fn one() -> u64 {
    1
}

/// Synthetic streams of one shape.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcePlan {
    /// Their names.
    pub streams: Vec<StreamName>,
    /// How they are dealt out.
    #[serde(default = "alternating")]
    pub scheme: Scheme,
    /// Pictures per second, as "15" or "30000/1001".
    #[serde(default = "thirty")]
    pub fps: String,
    /// Bytes of a primary picture.
    pub frame_bytes: u64,
    /// Bytes of a secondary one; a quarter by default.
    #[serde(default)]
    pub secondary_bytes: Option<u64>,
    /// Whether there is sound.
    #[serde(default)]
    pub sound: bool,
    /// Length of a group, in ms.
    #[serde(default = "second")]
    pub group_ms: u64,
    /// Whether the frames of several streams are sent at moments spread evenly over the time between two pictures.
    #[serde(default = "yes")]
    pub stagger: bool,
}

fn yes() -> bool {
    true
}

fn alternating() -> Scheme {
    Scheme::Alternating
}

fn thirty() -> String {
    "30".into()
}

fn second() -> u64 {
    1000
}

impl SourcePlan {
    /// Arguments of `gibbon-load source`.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--scheme={}", self.scheme),
            format!("--fps={}", self.fps),
            format!("--frame-bytes={}", self.frame_bytes),
            format!("--group-ms={}", self.group_ms),
        ];
        arguments.extend(self.secondary_bytes.map(|bytes| format!("--secondary-bytes={bytes}")));
        arguments.extend(self.sound.then(|| "--sound".to_owned()));
        arguments.extend((!self.stagger).then(|| "--no-stagger".to_owned()));
        arguments
    }
}

/// A network that is there already.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Existing {
    /// The portal's address, as `http://192.0.2.1:4480`.
    pub url: String,
    /// The file with the portal's token.
    pub token_file: PathBuf,
    /// The certificate of the network's authority.
    pub ca: PathBuf,
}

/// Who watches, without decoding.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    /// What: by turns.
    pub streams: Vec<StreamName>,
    /// Where their legs are to be; without it the coordinator chooses.
    #[serde(default)]
    pub placement: Option<Placement>,
    /// How far behind the live edge they play, in ms.
    #[serde(default = "second")]
    pub playout_delay_ms: u64,
    /// How much the threads that play them, but for probes, give way to others on this machine, as of nice(1): from 0,
    /// not at all, to 19. Where edges share the processor with them, that is as if they had their own.
    #[serde(default)]
    pub nice: u8,
}

/// Players that decode what they receive: real `gibbon-play` processes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// How many.
    pub players: u32,
    /// What: a stream with real media.
    pub stream: StreamName,
    /// Where their legs are to be.
    #[serde(default)]
    pub placement: Option<Placement>,
}

impl Scenario {
    /// Reads the text of a scenario; errors name `file`, the line and the key.
    pub fn parse(text: &str, file: &str) -> anyhow::Result<Self> {
        let scenario: Self = match toml::from_str(text) {
            Ok(scenario) => scenario,
            Err(error) => bail!("{file}, {}", explained(text, &error)),
        };
        scenario.check().with_context(|| file.to_owned())?;
        Ok(scenario)
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.network.is_none() || self.portal.is_none(),
            "a scenario has a [network] that is started or a [portal] that is there, not both"
        );
        ensure!(!self.phase.is_empty(), "there is no [[phase]]");
        ensure!(!self.sessions.streams.is_empty(), "[sessions] names no streams");
        ensure!(self.sessions.nice <= MAX_NICE, "[sessions]: nice is at most {MAX_NICE}");
        if let Some(network) = &self.network {
            network.check(self)?;
        }
        if let Some(sample) = &self.sample {
            ensure!(
                sample.players <= MAX_PLAYERS,
                "[sample]: at most {MAX_PLAYERS} players decode"
            );
        }
        let asked: u64 = self.phase.iter().map(|phase| u64::from(phase.kind.sessions())).sum();
        ensure!(asked <= MAX_SESSIONS.into(), "at most {MAX_SESSIONS} sessions; these are {asked}");
        for (n, phase) in self.phase.iter().enumerate() {
            phase.check(self).with_context(|| format!("phase {}, {}", n + 1, phase.kind.word()))?;
        }
        Ok(())
    }

    /// What becomes of it where it is run against `existing` instead of what it says.
    pub fn against(mut self, existing: Existing) -> anyhow::Result<Self> {
        (self.network, self.portal) = (None, Some(existing));
        self.check()?;
        Ok(self)
    }
}

impl NetworkPlan {
    fn check(&self, scenario: &Scenario) -> anyhow::Result<()> {
        ensure!((1..=MAX_NODES).contains(&self.edges), "[network]: 1 to {MAX_NODES} edges");
        ensure!(self.workers <= MAX_NODES, "[network]: at most {MAX_NODES} workers");
        for source in &self.source {
            let valid = source.fps.parse::<FrameRate>().map(drop);
            valid.context("[[network.source]]: fps")?;
        }
        let made: BTreeSet<_> =
            self.media.iter().chain(self.source.iter().flat_map(|s| &s.streams)).collect();
        let watched =
            scenario.sessions.streams.iter().chain(scenario.sample.iter().map(|s| &s.stream));
        if let Some(unknown) = watched.into_iter().find(|stream| !made.contains(stream)) {
            bail!(
                "nobody publishes {unknown}: it is neither under media nor under [[network.source]]"
            );
        }
        let sample = scenario.sample.as_ref().map(|sample| &sample.stream);
        if let Some(synthetic) = sample.filter(|stream| !self.media.contains(stream)) {
            bail!("[sample]: {synthetic} has no media to decode; name a stream under media");
        }
        Ok(())
    }

    /// Ids of the edges.
    pub fn edge_ids(&self) -> Vec<String> {
        (0..self.edges).map(|n| format!("edge-{}", letters(n))).collect()
    }

    /// Ids of the workers.
    pub fn worker_ids(&self) -> Vec<String> {
        (1..=self.workers).map(|n| format!("worker-{n}")).collect()
    }

    /// Ids of the origins: of the one with media, if there is one, and of the sources.
    pub fn origin_ids(&self) -> Vec<String> {
        let count = usize::from(!self.media.is_empty()) + self.source.len();
        (1..=count).map(|n| format!("origin-{n}")).collect()
    }

    fn has(&self, node: &NodeId) -> bool {
        let ids = [self.edge_ids(), self.worker_ids(), self.origin_ids()];
        ids.iter().flatten().any(|id| id == node.as_str())
    }
}

/// a, b … z, aa, ab …
fn letters(n: u32) -> String {
    let letter = char::from(b'a' + (n % 26) as u8);
    match n / 26 {
        0 => letter.to_string(),
        more => letters(more - 1) + &letter.to_string(),
    }
}

/// The line and the key of an error. Within a phase serde tells the key but not where it stands.
fn explained(text: &str, error: &toml::de::Error) -> String {
    let message = error.message();
    let span = error.span().unwrap_or(0..0);
    let within = text.get(span.start..).unwrap_or_default();
    let key = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
    let at = key.and_then(|key| {
        let mut before = 0;
        for line in within.split_inclusive('\n') {
            if line
                .trim_start()
                .strip_prefix(key)
                .is_some_and(|rest| rest.trim_start().starts_with('='))
            {
                return Some(span.start + before);
            }
            before += line.len();
        }
        None
    });
    let at = at.unwrap_or(span.start).min(text.len());
    let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    format!("line {line}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"description = "a test"
fail_if = ["frozen>0"]
[network]
edges = 2
[[network.source]]
streams = ["load/a"]
frame_bytes = 100
[sessions]
streams = ["load/a"]
[[phase]]
kind = "ramp"
sessions = 5
[[phase]]
kind = "hold"
for_s = 2
"#;

    fn error(text: &str) -> String {
        format!("{:#}", Scenario::parse(text, "test.toml").unwrap_err())
    }

    #[test]
    fn every_shipped_scenario_is_read() {
        for shipped in &SHIPPED {
            Scenario::parse(shipped.text, shipped.name).unwrap();
        }
    }

    #[test]
    fn a_scenario_says_what_it_leaves_open() {
        let scenario = Scenario::parse(SMALL, "test.toml").unwrap();
        let network = scenario.network.unwrap();
        assert_eq!(network.edge_ids(), ["edge-a", "edge-b"]);
        assert_eq!(network.origin_ids(), ["origin-1"]);
        assert_eq!(network.source[0].arguments()[0], "--scheme=alternating");
        assert_eq!(scenario.sessions.playout_delay_ms, 1000);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_wherever_it_stands() {
        for (from, to, line) in [
            ("edges = 2", "edges = 2\negdes = 3", 5),
            ("sessions = 5", "sesions = 5", 12),
            ("for_s = 2", "for_s = 2\nfor_m = 3", 16),
            ("description", "descripton", 1),
        ] {
            let text = SMALL.replacen(from, to, 1);
            let error = error(&text);
            let key = to.rsplit('\n').next().and_then(|l| l.split(' ').next()).unwrap();
            assert!(error.contains(&format!("line {line}: ")) && error.contains(key), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_and_said_why() {
        for (from, to, why) in [
            ("[network]\nedges = 2", "[network]\nedges = 0", "1 to 64 edges"),
            ("[sessions]\nstreams = [\"load/a\"]", "[sessions]\nstreams = [\"load/b\"]", "load/b"),
            ("sessions = 5", "sessions = 50000", "20000"),
            ("for_s = 2", "", "missing field `for_s`"),
            (
                "for_s = 2",
                "for_s = 2\n[[phase]]\nkind = \"kill\"\nnode = \"edge-z\"\nfor_s = 1",
                "edge-z",
            ),
            (
                "for_s = 2",
                "for_s = 2\n[[phase]]\nkind = \"impair\"\nnode = \"edge-a\"\nfor_s = 1",
                "paths",
            ),
            ("\"frozen>0\"", "\"frozen>\"", "frozen>"),
        ] {
            let error = error(&SMALL.replacen(from, to, 1));
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn what_needs_processes_is_refused_on_a_network_that_is_there() {
        let existing = || Existing {
            url: "http://127.0.0.1:1".into(),
            token_file: "token".into(),
            ca: "ca.pem".into(),
        };
        let scenario = Scenario::parse(SMALL, "test.toml").unwrap();
        assert!(scenario.against(existing()).is_ok());
        let kill = "for_s = 2\n[[phase]]\nkind = \"kill\"\nnode = \"edge-a\"\nfor_s = 1";
        let scenario = Scenario::parse(&SMALL.replacen("for_s = 2", kill, 1), "test.toml").unwrap();
        let error = format!("{:#}", scenario.against(existing()).unwrap_err());
        assert!(error.contains("kill") && error.contains("processes"), "{error}");
    }

    #[test]
    fn letters_go_on_after_z() {
        assert_eq!([0, 25, 26, 27].map(letters), ["a", "z", "aa", "ab"]);
    }
}
