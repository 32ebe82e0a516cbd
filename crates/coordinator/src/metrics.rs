//! What the coordinator counts: hand-offs, and what viewers were shown. All else is read off it when it is asked for
//! (`manager/metrics.rs`).

use gibbon_control::{
    portal::{HandoffInfo, HandoffOutcome, ProgressInfo},
    viewing::{ViewerGap, Viewing},
};
use gibbon_handoff::Cause;
use gibbon_monitor::{Counts, Durations, prometheus_client::registry::Registry};

/// Bounds of how long hand-offs take, in seconds.
const DURATIONS: &[f64] = &[0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0];
/// Bounds of how long their steps take, in seconds.
const STEPS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0];
/// Bounds of what viewers lose, in seconds: nothing, a frame, a few, …
const GAPS: &[f64] = &[0.0, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0];
/// What one report may add at most, so that no client can spoil the counts: an hour of frames, and more.
const MAX_ADDED: u64 = 500_000;
/// The first and the last step of what is timed, and what that is called.
const TIMED: [(&str, &str, &str); 5] = [
    ("prefetch", "prefetch_sent", "ready"),
    ("attach", "attach_sent", "attached"),
    ("probation", "attached", "held"),
    ("settle", "prefetch_sent", "settled"),
    ("close", "finish_sent", "closed"),
];

/// Counts and distributions. Clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    handoffs: Counts,
    durations: Durations,
    steps: Durations,
    gaps: Durations,
    frames: Counts,
    freezes: Counts,
    audio_gaps: Counts,
    recoveries: Counts,
    /// Bytes that edges prefetched ahead of clients that move.
    prefetched: Counts,
    /// Answers of the portal.
    answers: Counts,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            handoffs: Counts::default(),
            durations: Durations::new(DURATIONS),
            steps: Durations::new(STEPS),
            gaps: Durations::new(GAPS),
            frames: Counts::default(),
            freezes: Counts::default(),
            audio_gaps: Counts::default(),
            recoveries: Counts::default(),
            prefetched: Counts::default(),
            answers: Counts::default(),
        };
        metrics.expect();
        metrics
    }
}

impl Metrics {
    /// Shows them.
    pub fn register(&self, registry: &mut Registry) {
        let Self { handoffs, durations, steps, gaps, frames, .. } = self;
        handoffs.register(registry, "gibbon_handoffs", "Hand-offs that have ended");
        durations.register(
            registry,
            "gibbon_handoff_duration_seconds",
            "From the selection of a hand-off to its end",
        );
        steps.register(
            registry,
            "gibbon_handoff_step_duration_seconds",
            "How long the steps of hand-offs took",
        );
        gaps.register(
            registry,
            "gibbon_handoff_viewer_gap_seconds",
            "For how long the viewer of a hand-off was shown less than the whole picture, by the viewer's own account",
        );
        frames.register(registry, "gibbon_viewer_frames", "Frames that viewers were shown");
        self.freezes.register(registry, "gibbon_viewer_freezes", "Runs of frozen frames");
        self.audio_gaps.register(
            registry,
            "gibbon_viewer_audio_gap_seconds",
            "Sound that viewers did not hear",
        );
        self.recoveries.register(
            registry,
            "gibbon_viewer_recoveries",
            "Legs that clients lost and found again by themselves",
        );
        self.prefetched.register(
            registry,
            "gibbon_prefetched_bytes",
            "What edges prefetched ahead of clients that move, by whether anybody was served of it",
        );
        self.answers.register(registry, "gibbon_portal_answers", "Answers of the portal");
    }

    /// Begins at nothing.
    fn expect(&self) {
        use HandoffOutcome::{Completed, Failed, RolledBack};
        for cause in Cause::ALL.map(Cause::as_str) {
            for outcome in [Completed, RolledBack, Failed].map(HandoffOutcome::as_str) {
                self.handoffs.expect([("cause", &cause), ("outcome", &outcome)]);
            }
            for verdict in ["side", "frozen"] {
                self.gaps.expect([("cause", &cause), ("verdict", &verdict)]);
            }
        }
        self.viewed(&Viewing::default(), &Viewing::default());
        for used in [true, false] {
            self.prefetched(0, used);
        }
    }

    /// The portal has answered with this HTTP status.
    pub fn answered(&self, status: u16) {
        self.answers.add([("status", &status)], 1.0);
    }

    /// A hand-off has ended.
    pub(crate) fn ended(&self, info: &HandoffInfo) {
        let (cause, outcome) = (info.cause.as_str(), info.outcome.as_str());
        self.handoffs.add([("cause", &cause), ("outcome", &outcome)], 1.0);
        if let [first, .., last] = &info.progress[..] {
            let took = seconds_between(first, last);
            self.durations.observe([("cause", &cause), ("outcome", &outcome)], took);
        }
        for (name, seconds) in steps(&info.progress) {
            self.steps.observe([("step", &name)], seconds);
        }
    }

    /// An edge has prefetched so much ahead of a client.
    pub(crate) fn prefetched(&self, bytes: u64, used: bool) {
        let outcome = if used { "served" } else { "wasted" };
        self.prefetched.add([("outcome", &outcome)], bytes as f64);
    }

    /// All that a hand-off has cost its viewer is known.
    pub(crate) fn cost(&self, cause: Cause, gap: ViewerGap) {
        let cause = cause.as_str();
        for (verdict, ms) in [("side", gap.side_ms), ("frozen", gap.frozen_ms)] {
            self.gaps.observe([("cause", &cause), ("verdict", &verdict)], ms as f64 / 1000.0);
        }
    }

    /// A viewer has been shown more than what it was `before`.
    pub(crate) fn viewed(&self, before: &Viewing, now: &Viewing) {
        type Part = fn(&Viewing) -> u64;
        let added = |of: Part| of(now).saturating_sub(of(before)).min(MAX_ADDED) as f64;
        let frames: [(&str, Part); 4] = [
            ("central", |v| v.frames.central),
            ("side", |v| v.frames.side.saturating_sub(v.frames.side_chosen)),
            ("side_chosen", |v| v.frames.side_chosen),
            ("frozen", |v| v.frames.frozen),
        ];
        for (verdict, of) in frames {
            self.frames.add([("verdict", &verdict)], added(of));
        }
        self.freezes.add([], added(|v| v.freezes));
        self.audio_gaps.add([], added(|v| v.audio_gap_ms) / 1000.0);
        self.recoveries.add([], added(|v| v.recoveries));
    }
}

/// How long each step took that was begun and ended, each time that it was.
fn steps(progress: &[ProgressInfo]) -> Vec<(&'static str, f64)> {
    let mut took = Vec::new();
    for (at, last) in progress.iter().enumerate() {
        for (name, begins, _) in TIMED.iter().filter(|(.., ends)| *ends == last.step) {
            let begins =
                |step: &&ProgressInfo| step.step == *begins && step.description == last.description;
            if let Some(first) = progress[..at].iter().rfind(begins) {
                took.push((*name, seconds_between(first, last)));
            }
        }
    }
    took
}

fn seconds_between(first: &ProgressInfo, last: &ProgressInfo) -> f64 {
    last.at_us.saturating_sub(first.at_us) as f64 / 1e6
}
