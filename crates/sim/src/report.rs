//! What came of a scenario under every policy, as JSON.

use std::collections::BTreeMap;

use gibbon_handoff as handoff;
use serde::Serialize;

use crate::{
    Cause, Name, Thresholds,
    run::{INTERVAL_S, Tally},
    scenario::Scenario,
};

/// The layout of the JSON.
pub const SCHEMA: u32 = 1;

/// What came of a scenario. The same scenario and seed give the same report, but for what processor time it took.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The scenario's name.
    pub name: String,
    /// What was played.
    pub scenario: Scenario,
    /// What everything was drawn by.
    pub seed: u64,
    /// What came of each policy.
    pub policies: Vec<Outcome>,
    /// What came of each pair of thresholds that was tried for the reactive policy.
    pub grid: Vec<Tried>,
    /// What is to be shown, and whether it is.
    pub bars: Vec<Bar>,
    /// What it took, if that was measured.
    pub machine: Option<Machine>,
}

/// What came of a policy.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Which.
    pub policy: Name,
    /// Of the reactive policy, its thresholds.
    pub thresholds: Option<Thresholds>,
    /// Session-seconds in which a viewer saw less than everything, by cause.
    pub out_of_target_s: BTreeMap<Cause, f64>,
    /// The same for the causes that can be foreseen …
    pub foreseeable_s: f64,
    /// … and for all others.
    pub others_s: f64,
    /// Hand-offs begun, by what for.
    pub handoffs: BTreeMap<&'static str, u64>,
    /// Of these, completed.
    pub completed: u64,
    /// Rolled back: the new edge would not do.
    pub rolled_back: u64,
    /// Cut: the session ended, or lost an edge, before they did.
    pub cut: u64,
    /// Orders that the edges had no time for.
    pub refused: u64,
    /// Bytes fetched ahead of a client.
    pub prefetched_bytes: u64,
    /// Of these, never served.
    pub wasted_bytes: u64,
    /// Sessions that came.
    pub sessions: u64,
    /// Viewers whom no edge could take.
    pub turned_away: u64,
    /// Seconds that sessions lasted together.
    pub session_seconds: f64,
    /// Clients that lost an edge and found another by themselves.
    pub recoveries: u64,
    /// Events that were played: arrivals, departures, steps of hand-offs, reports of positions, recoveries.
    pub events: u64,
    /// Processor time, in s, if it was measured.
    pub cpu_s: Option<f64>,
    /// Over time.
    pub intervals: Vec<Interval>,
}

/// A stretch of the day.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Interval {
    /// Its beginning, in s.
    pub from_s: u32,
    /// Out-of-target session-seconds within it, for what can be foreseen …
    pub foreseeable_s: f64,
    /// … and for all others.
    pub others_s: f64,
    /// Sessions at its end.
    pub sessions: u32,
    /// Hand-offs begun within it.
    pub handoffs: u64,
}

/// Thresholds that were tried.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Tried {
    /// Which.
    pub thresholds: Thresholds,
    /// Out-of-target session-seconds, of all causes.
    pub out_of_target_s: f64,
    /// Hand-offs begun.
    pub handoffs: u64,
}

/// Something that is to be shown.
#[derive(Debug, Clone, Serialize)]
pub struct Bar {
    /// What.
    pub what: &'static str,
    /// What was found; none where nothing is divided by nothing.
    pub found: Option<f64>,
    /// It is to be at least this …
    pub at_least: Option<f64>,
    /// … or at most this.
    pub at_most: Option<f64>,
    /// Whether it is.
    pub holds: bool,
}

/// What it took to find out.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Machine {
    /// Processor time of everything, in s.
    pub cpu_s: f64,
    /// The most memory that was held, in KiB.
    pub peak_memory_kib: u64,
}

/// Processor time that a whole day may take, in s.
const CPU_S: f64 = 600.0;
/// Memory that it may take, in KiB.
const MEMORY_KIB: f64 = 4.0 * 1024.0 * 1024.0;

impl Outcome {
    pub(crate) fn of(
        policy: Name,
        thresholds: Option<Thresholds>,
        tally: &Tally,
        cpu_s: Option<f64>,
    ) -> Self {
        let out = Cause::ALL.into_iter().zip(tally.out.0);
        let sum = |foreseeable: bool, out: &crate::cause::ByCause| -> f64 {
            let all = Cause::ALL.into_iter().zip(out.0);
            rounded(
                all.filter(|(cause, _)| cause.is_foreseeable() == foreseeable)
                    .map(|(_, s)| s)
                    .sum(),
            )
        };
        let interval =
            |(n, (out, sessions, handoffs)): (usize, &(crate::cause::ByCause, u32, u64))| {
                Interval {
                    from_s: n as u32 * INTERVAL_S,
                    foreseeable_s: sum(true, out),
                    others_s: sum(false, out),
                    sessions: *sessions,
                    handoffs: *handoffs,
                }
            };
        Self {
            policy,
            thresholds,
            out_of_target_s: out.map(|(cause, s)| (cause, rounded(s))).collect(),
            foreseeable_s: sum(true, &tally.out),
            others_s: sum(false, &tally.out),
            handoffs: handoff::Cause::ALL
                .into_iter()
                .zip(tally.handoffs)
                .filter(|(_, n)| *n > 0)
                .map(|(cause, n)| (cause.as_str(), n))
                .collect(),
            completed: tally.completed,
            rolled_back: tally.rolled_back,
            cut: tally.cut,
            refused: tally.refused,
            prefetched_bytes: tally.prefetched as u64,
            wasted_bytes: tally.wasted as u64,
            sessions: tally.sessions,
            turned_away: tally.turned_away,
            session_seconds: tally.session_seconds,
            recoveries: tally.recoveries,
            events: tally.events,
            cpu_s,
            intervals: tally.intervals.iter().enumerate().map(interval).collect(),
        }
    }

    /// Hand-offs begun, whatever for.
    pub fn handoffs_begun(&self) -> u64 {
        self.handoffs.values().sum()
    }

    /// Out-of-target session-seconds of a cause.
    pub fn out_of(&self, cause: Cause) -> f64 {
        self.out_of_target_s.get(&cause).copied().unwrap_or(0.0)
    }
}

impl Report {
    /// What came of a policy, if it was played.
    pub fn outcome(&self, policy: Name) -> Option<&Outcome> {
        self.policies.iter().find(|outcome| outcome.policy == policy)
    }

    /// Holds what was found against what is to be.
    pub(crate) fn measure(&mut self) {
        let (gibbon, reactive) = (self.outcome(Name::Gibbon), self.outcome(Name::Reactive));
        let mut bars = Vec::new();
        if let (Some(gibbon), Some(reactive)) = (gibbon, reactive) {
            let fewer = ratio(reactive.foreseeable_s, gibbon.foreseeable_s);
            bars.push(Bar::at_least(
                "out of target for foreseeable causes: reactive over gibbon",
                fewer,
                10.0,
            ));
            let handoffs = ratio(gibbon.handoffs_begun() as f64, reactive.handoffs_begun() as f64);
            bars.push(Bar::at_most("hand-offs: gibbon over reactive", handoffs, 2.0));
            let others = Cause::ALL.into_iter().filter(|cause| !cause.is_foreseeable());
            let worst =
                others.filter_map(|cause| ratio(gibbon.out_of(cause), reactive.out_of(cause)));
            let worst = worst.max_by(f64::total_cmp);
            bars.push(Bar::at_most(
                "out of target for the worst of the other causes: gibbon over reactive",
                worst,
                1.0,
            ));
        }
        if let (Some(gibbon), Some(oracle)) = (gibbon, self.outcome(Name::Oracle)) {
            let all = |outcome: &Outcome| outcome.foreseeable_s + outcome.others_s;
            for (what, gibbon, oracle) in [
                ("out of target for all causes: gibbon over oracle", all(gibbon), all(oracle)),
                (
                    "out of target for foreseeable causes: gibbon over oracle",
                    gibbon.foreseeable_s,
                    oracle.foreseeable_s,
                ),
            ] {
                bars.push(Bar::at_most(what, ratio(gibbon, oracle), 1.3));
            }
        }
        if let Some(gibbon) = gibbon {
            let wasted = ratio(gibbon.wasted_bytes as f64, gibbon.prefetched_bytes as f64);
            bars.push(Bar::at_most(
                "share of prefetched bytes that nobody was served",
                wasted,
                0.05,
            ));
        }
        let events = self
            .policies
            .iter()
            .map(|outcome| outcome.events as f64 / outcome.sessions.max(1) as f64);
        bars.push(Bar::at_most("events for each session", events.max_by(f64::total_cmp), 300.0));
        self.bars = bars;
    }

    /// Notes what it took, and holds that against what it may.
    pub fn took(&mut self, machine: Machine) {
        self.bars.push(Bar::at_most("processor time, s", Some(machine.cpu_s), CPU_S));
        let memory = machine.peak_memory_kib as f64;
        self.bars.push(Bar::at_most("memory, KiB", Some(memory), MEMORY_KIB));
        self.machine = Some(machine);
    }
}

impl Bar {
    fn at_least(what: &'static str, found: Option<f64>, bound: f64) -> Self {
        Self {
            what,
            found,
            at_least: Some(bound),
            at_most: None,
            holds: found.is_none_or(|found| found >= bound),
        }
    }

    fn at_most(what: &'static str, found: Option<f64>, bound: f64) -> Self {
        Self {
            what,
            found,
            at_least: None,
            at_most: Some(bound),
            holds: found.is_none_or(|found| found <= bound),
        }
    }
}

/// Of less than a second out of a whole scenario nothing can be said: it counts as one. `None` where neither is more.
fn ratio(a: f64, b: f64) -> Option<f64> {
    (a > 1.0 || b > 1.0).then(|| a.max(1.0) / b.max(1.0))
}

/// To milliseconds.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}
