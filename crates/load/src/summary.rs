//! What came of a run: reports, counts and samples in, one summary out. Pure.

mod figures;
mod spread;

use std::collections::BTreeMap;

use gibbon_control::report::{HandoffRecord, Recovery, Report};
use gibbon_mdc::{AudioStats, ByteStats, FrameStats, FreezeStats, TextStats};
use serde::Serialize;

pub use figures::known_figures;
pub use spread::{Bucket, GROWTH, Spread};

use crate::{fail_if::Figures, sessions::Count};

/// The version of this shape.
pub const SCHEMA: u32 = 1;
/// Messages of each kind of failure that are told.
const MAX_MESSAGES: usize = 5;

/// All that is known when a run is over.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// What it is for.
    pub description: String,
    /// When it began, in µs since the epoch.
    pub started_us: u64,
    /// How long it took, in seconds.
    pub duration_s: f64,
    /// Whether it was told to end before its time.
    pub interrupted: bool,
    /// What happened.
    pub phases: Vec<PhaseRecord>,
    /// Reports of the sessions that did not decode.
    pub reports: Vec<Report>,
    /// Reports of the players that did.
    pub sampled: Vec<Report>,
    /// Counts of all sessions at the end.
    pub count: Count,
    /// From the intended sending of a frame to its delivery.
    pub latency_ms: Option<Spread>,
    /// What edges added to it.
    pub edge_delay_ms: Option<Spread>,
    /// Measurements throughout.
    pub samples: Vec<Moment>,
    /// Names of the edges among the processes.
    pub edges: Vec<String>,
    /// The most sessions within the bound, where that was searched.
    pub capacity: Option<u32>,
    /// How much later than asked this machine wakes who sleeps, in µs.
    pub machine_late_us: Option<Spread>,
    /// What went wrong: which kind, and how.
    pub failures: Vec<(String, String)>,
}

/// A phase as it happened. Times are in seconds from the beginning.
#[derive(Debug, Serialize)]
pub struct PhaseRecord {
    /// What it is called.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// From …
    pub from_s: f64,
    /// … to.
    pub to_s: f64,
}

/// What there was at one time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Moment {
    /// When, in seconds from the beginning.
    pub at_s: f64,
    /// Counts of all sessions so far.
    pub count: Count,
    /// What each process used.
    pub processes: BTreeMap<String, Used>,
}

/// What a process used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Used {
    /// Processor time so far, in seconds; from 0 again where it was restarted.
    pub cpu_s: f64,
    /// Resident memory, in KiB.
    pub memory_kib: u64,
}

/// The summary: the sums of what viewers saw in the words of their reports, and what it cost.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The scenario's name.
    pub scenario: String,
    /// What it is for.
    pub description: String,
    /// When it began, in µs since the epoch.
    pub started_us: u64,
    /// How long it took, in seconds.
    pub duration_s: f64,
    /// Whether it was told to end before its time.
    pub interrupted: bool,
    /// How many watched.
    pub sessions: Attendance,
    /// What those that did not decode saw.
    #[serde(flatten)]
    pub seen: Seen,
    /// What those that decoded saw.
    pub sampled: Option<Sampled>,
    /// From the intended sending of a frame to its delivery, in ms; from the last phase on that counts anew.
    pub latency_ms: Option<Spread>,
    /// What edges added to it, in ms; likewise.
    pub edge_delay_ms: Option<Spread>,
    /// Processor time of the edges for each frame delivered while nothing happened (phases of kind hold), in µs.
    pub cpu_us_per_frame: Option<f64>,
    /// Memory of the edges for each session at the end of the last such phase, beyond what they held
    /// without sessions, in KiB.
    pub memory_kib_per_session: Option<f64>,
    /// The most sessions within the bound, where that was searched.
    pub capacity: Option<u32>,
    /// How much later than asked this machine wakes who sleeps, in µs. Where that is more than some ms, it is
    /// short of processor time, and what viewers saw may be its doing.
    pub machine_late_us: Option<Spread>,
    /// Names of the edges among the processes.
    pub edges: Vec<String>,
    /// What each process took.
    pub processes: BTreeMap<String, Taken>,
    /// What went wrong, by kind.
    pub failures: BTreeMap<String, Failures>,
    /// Figures that conditions can be put on.
    pub figures: Figures,
    /// What happened when.
    pub phases: Vec<PhaseRecord>,
    /// Measurements throughout.
    pub samples: Vec<Moment>,
}

/// How many sessions there were.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Attendance {
    /// That were to come.
    pub asked: u64,
    /// That left a report.
    pub reported: u64,
    /// That could not be had, or ended before their time.
    pub failed: u64,
}

/// Sums over reports.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Seen {
    /// Deadlines of frames and what became of them.
    pub frames: FrameStats,
    /// Runs of frozen frames; `longest_ms` is that of all sessions.
    pub freezes: FreezeStats,
    /// Sound.
    pub audio: AudioStats,
    /// Cues.
    pub text: TextStats,
    /// Payload.
    pub bytes: ByteStats,
    /// From the beginning of a session to its first frame, in ms.
    pub startup_ms: Option<Spread>,
    /// Hand-offs.
    pub handoffs: Handoffs,
    /// Legs lost and found again.
    pub recoveries: Recoveries,
}

/// What decoding players saw.
#[derive(Debug, Serialize)]
pub struct Sampled {
    /// How many there were.
    pub players: u64,
    /// Frames that could not be decoded in the end.
    pub undecoded: u64,
    /// What they saw.
    #[serde(flatten)]
    pub seen: Seen,
}

/// Hand-offs by outcome.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Outcomes {
    /// Of all outcomes.
    pub total: u64,
    /// To the end.
    pub completed: u64,
    /// The legs are where they were.
    pub rolled_back: u64,
    /// Neither.
    pub failed: u64,
    /// The session ended first.
    pub running: u64,
}

impl Outcomes {
    fn count(&mut self, outcome: &str) {
        self.total += 1;
        *match outcome {
            "completed" => &mut self.completed,
            "rolled_back" => &mut self.rolled_back,
            "running" => &mut self.running,
            _ => &mut self.failed,
        } += 1;
    }
}

/// All hand-offs.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Handoffs {
    /// Of all causes.
    #[serde(flatten)]
    pub all: Outcomes,
    /// By cause.
    pub causes: BTreeMap<String, Outcomes>,
    /// From the selection of the edge to completion, in ms.
    pub duration_ms: Option<Spread>,
    /// Frames that came from both edges, all media together, most in one leg's move.
    pub most_duplicate_frames: u64,
}

/// All recoveries.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Recoveries {
    /// Of all causes.
    pub total: u64,
    /// That found no new edge.
    pub unrecovered: u64,
    /// By cause.
    pub causes: BTreeMap<String, u64>,
    /// From the last frame before to the first one after, in ms.
    pub duration_ms: Option<Spread>,
    /// How long side frames were shown.
    pub side_ms: u64,
    /// How long frozen frames were shown.
    pub frozen_ms: u64,
}

/// What a process took in all.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Taken {
    /// Processor time, in seconds, over all its starts.
    pub cpu_s: f64,
    /// The most memory it held, in KiB.
    pub peak_memory_kib: u64,
}

/// Failures of one kind.
#[derive(Debug, Default, Serialize)]
pub struct Failures {
    /// How many.
    pub count: u64,
    /// Some of them, in words.
    pub messages: Vec<String>,
}

/// A machine of which one in a hundred wakes is later than this is short of processor time, in µs.
const SHORT_OF_TIME_US: f64 = 20_000.0;

impl Summary {
    /// Whether the machine was short of processor time: then it is not told what is Gibbon's doing.
    pub fn is_machine_short(&self) -> bool {
        self.machine_late_us.as_ref().is_some_and(|late| late.p99 > SHORT_OF_TIME_US)
    }

    /// Of a run that is over.
    pub fn of(outcome: Outcome) -> Self {
        let cost = Cost::of(&outcome);
        let sampled = (!outcome.sampled.is_empty()).then(|| Sampled {
            players: outcome.sampled.len() as u64,
            undecoded: outcome.sampled.iter().map(|report| report.display.failed).sum(),
            seen: Seen::of(&outcome.sampled),
        });
        let sessions = Attendance {
            asked: outcome.count.asked,
            reported: outcome.reports.len() as u64,
            failed: outcome.count.failed,
        };
        let mut summary = Self {
            schema: SCHEMA,
            scenario: outcome.scenario,
            description: outcome.description,
            started_us: outcome.started_us,
            duration_s: outcome.duration_s,
            interrupted: outcome.interrupted,
            sessions,
            seen: Seen::of(&outcome.reports),
            sampled,
            latency_ms: outcome.latency_ms,
            edge_delay_ms: outcome.edge_delay_ms,
            cpu_us_per_frame: cost.cpu_us_per_frame,
            memory_kib_per_session: cost.memory_kib_per_session,
            capacity: outcome.capacity,
            machine_late_us: outcome.machine_late_us,
            edges: outcome.edges,
            processes: taken(&outcome.samples),
            failures: by_kind(outcome.failures),
            figures: Figures::new(),
            phases: outcome.phases,
            samples: outcome.samples,
        };
        summary.figures = figures::of(&summary);
        summary
    }
}

impl Seen {
    fn of(reports: &[Report]) -> Self {
        let mut seen = Self::default();
        for report in reports {
            seen.add(report);
        }
        let durations = |report: &Report| -> Vec<u64> {
            let over = report.handoffs.iter().filter(|handoff| handoff.outcome == "completed");
            over.filter_map(|handoff| handoff.completed_ms?.checked_sub(handoff.selected_ms?))
                .collect()
        };
        seen.handoffs.duration_ms = Spread::of(reports.iter().flat_map(durations).collect());
        let recovered = reports.iter().flat_map(|report| &report.recoveries);
        let duration =
            |recovery: &Recovery| recovery.first_frame_ms?.checked_sub(recovery.last_frame_ms?);
        seen.recoveries.duration_ms = Spread::of(recovered.filter_map(duration).collect());
        seen.startup_ms =
            Spread::of(reports.iter().filter_map(|report| report.startup_ms).collect());
        seen
    }

    fn add(&mut self, report: &Report) {
        let (frames, more) = (&mut self.frames, &report.frames);
        frames.expected += more.expected;
        frames.central += more.central;
        frames.side += more.side;
        frames.side_chosen += more.side_chosen;
        frames.frozen += more.frozen;
        self.freezes.count += report.freezes.count;
        self.freezes.total_ms += report.freezes.total_ms;
        self.freezes.longest_ms = self.freezes.longest_ms.max(report.freezes.longest_ms);
        self.audio.expected_ms += report.audio.expected_ms;
        self.audio.gap_ms += report.audio.gap_ms;
        self.text.cues += report.text.cues;
        self.text.missed += report.text.missed;
        self.bytes.media += report.bytes.media;
        self.bytes.duplicate += report.bytes.duplicate;
        report.handoffs.iter().for_each(|handoff| self.handoffs.add(handoff));
        report.recoveries.iter().for_each(|recovery| self.recoveries.add(recovery));
    }
}

impl Handoffs {
    fn add(&mut self, handoff: &HandoffRecord) {
        self.all.count(&handoff.outcome);
        // Only the coordinator knows why.
        let cause = handoff.cause.map_or_else(|| "unknown".into(), |cause| word(&cause));
        self.causes.entry(cause).or_default().count(&handoff.outcome);
        let most = handoff.steps.iter().map(|step| step.duplicate_frames).max().unwrap_or(0);
        self.most_duplicate_frames = self.most_duplicate_frames.max(most);
    }
}

impl Recoveries {
    fn add(&mut self, recovery: &Recovery) {
        self.total += 1;
        self.unrecovered += u64::from(recovery.attached_ms.is_none());
        *self.causes.entry(recovery.cause.clone()).or_default() += 1;
        self.side_ms += recovery.side_ms;
        self.frozen_ms += recovery.frozen_ms;
    }
}

/// The word that a value is in JSON; empty if it is none.
pub(crate) fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn by_kind(failures: Vec<(String, String)>) -> BTreeMap<String, Failures> {
    let mut kinds = BTreeMap::<String, Failures>::new();
    for (kind, message) in failures {
        let kind = kinds.entry(kind).or_default();
        kind.count += 1;
        if kind.messages.len() < MAX_MESSAGES {
            kind.messages.push(message);
        }
    }
    kinds
}

/// Processor time grows within a start of a process, and begins again with the next.
fn grown(before: Option<&Used>, now: &Used) -> f64 {
    let before = before.map_or(0.0, |used| used.cpu_s);
    if now.cpu_s >= before { now.cpu_s - before } else { now.cpu_s }
}

fn taken(samples: &[Moment]) -> BTreeMap<String, Taken> {
    let mut taken = BTreeMap::<String, Taken>::new();
    let mut last = BTreeMap::<&str, Used>::new();
    for sample in samples {
        for (name, used) in &sample.processes {
            let entry = taken.entry(name.clone()).or_default();
            entry.cpu_s += grown(last.get(name.as_str()), used);
            entry.peak_memory_kib = entry.peak_memory_kib.max(used.memory_kib);
            last.insert(name, *used);
        }
    }
    taken
}

/// What sessions cost the edges.
struct Cost {
    cpu_us_per_frame: Option<f64>,
    memory_kib_per_session: Option<f64>,
}

impl Cost {
    fn of(outcome: &Outcome) -> Self {
        let memory = |moment: &Moment| moment.memory_kib(&outcome.edges);
        let (mut cpu_s, mut frames, mut holding) = (0.0, 0, None);
        for pair in outcome.samples.windows(2) {
            let [before, now] = pair else { continue };
            if !outcome.is_calm(before.at_s, now.at_s) || before.count.playing == 0 {
                continue;
            }
            cpu_s += now.cpu_since(before, &outcome.edges);
            frames += now.count.frames - before.count.frames;
            holding = Some(now);
        }
        let empty = outcome.samples.iter().rev().find(|sample| sample.count.asked == 0);
        let per_session = |now: &Moment| {
            let more = memory(now) as f64 - memory(empty?) as f64;
            (now.count.open > 0 && memory(now) > 0).then(|| more / now.count.open as f64)
        };
        Self {
            cpu_us_per_frame: (frames > 0 && cpu_s > 0.0).then(|| cpu_s * 1e6 / frames as f64),
            memory_kib_per_session: holding.and_then(per_session),
        }
    }
}

impl Moment {
    fn of<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = (&'a String, &'a Used)> {
        self.processes.iter().filter(|(name, _)| names.contains(name))
    }

    /// Processor time that the processes of these names have taken since an earlier moment, in seconds.
    pub fn cpu_since(&self, before: &Self, names: &[String]) -> f64 {
        self.of(names).map(|(name, used)| grown(before.processes.get(name), used)).sum()
    }

    /// Memory that they hold, in KiB.
    fn memory_kib(&self, names: &[String]) -> u64 {
        self.of(names).map(|(_, used)| used.memory_kib).sum()
    }
}

impl Outcome {
    /// Whether both times lie within one phase in which nothing happened.
    fn is_calm(&self, from_s: f64, to_s: f64) -> bool {
        let calm = self.phases.iter().filter(|phase| phase.kind == "hold");
        calm.clone().any(|phase| phase.from_s <= from_s && to_s <= phase.to_s)
    }
}

#[cfg(test)]
mod tests;
