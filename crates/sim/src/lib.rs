//! Days of viewers in virtual time: the same arrivals, journeys and misfortunes under one hand-off policy after another,
//! and what viewers saw of each.
//!
//! ```text
//!  scenario, seed ─▶ world, roads, programmes, audience, happenings: drawn once
//!                        │
//!                        ▼        reports, every 5 s                 orders
//!                       run ────────────────────────▶ policy ────────────────────▶ hand-offs, as long as the real
//!                        │                            none, nearest, reactive,      machines take (crossing)
//!                        ▼                            gibbon, oracle
//!                 stage: what is true ──▶ out-of-target session-seconds, by cause
//! ```
//!
//! There are no sockets, tasks or clocks. The hand-offs are timed by the machines of `gibbon_handoff`, the decisions made
//! by the sweep of `gibbon_placement::foresight`: the code that runs in production.

mod audience;
mod cause;
mod crossing;
mod draw;
mod happening;
mod network;
mod placing;
mod policy;
mod programme;
pub mod report;
mod roads;
mod run;
pub mod scenario;
mod stage;
mod world;

use std::time::Duration;

use serde::Serialize;

pub use cause::Cause;
pub use policy::Thresholds;
pub use report::Report;
pub use world::MAX_REGIONS;

use policy::{Foreseen, GRID, Gibbon, Nearest, Policy, Reactive, Still};
use report::{Outcome, SCHEMA, Tried};
use run::{Day, Run, Tally};
use scenario::Scenario;

/// A policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Name {
    /// Nothing is handed off.
    None,
    /// Everybody at the nearest edge that has room.
    Nearest,
    /// Acts on what is measured, with the thresholds that are best on the scenario.
    Reactive,
    /// Gibbon's.
    Gibbon,
    /// Gibbon's, told what will be.
    Oracle,
}

impl Name {
    /// Every one.
    pub const ALL: [Name; 5] =
        [Name::None, Name::Nearest, Name::Reactive, Name::Gibbon, Name::Oracle];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Name::None => "none",
            Name::Nearest => "nearest",
            Name::Reactive => "reactive",
            Name::Gibbon => "gibbon",
            Name::Oracle => "oracle",
        }
    }
}

impl std::str::FromStr for Name {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let named = Name::ALL.into_iter().find(|name| name.as_str() == word);
        let words = || Name::ALL.map(Name::as_str).join(", ");
        named.ok_or_else(|| format!("there is no policy {word}: they are {}", words()))
    }
}

/// How a scenario is played.
pub struct Options<'a> {
    /// What everything is drawn by.
    pub seed: u64,
    /// Which policies.
    pub policies: &'a [Name],
    /// Processor time of this process; without it nothing depends on the machine.
    pub clock: Option<fn() -> Duration>,
    /// Is told what is done now.
    pub progress: &'a mut dyn FnMut(&str),
}

/// Plays a scenario under each policy.
pub fn simulate(name: &str, scenario: &Scenario, options: Options<'_>) -> Report {
    let Options { seed, policies, clock, progress } = options;
    progress("drawing the day");
    let day = Day::draw(scenario, seed);
    let mut played = Played { day: &day, clock, progress, outcomes: Vec::new(), grid: Vec::new() };
    let wanted = |policy: Name| policies.contains(&policy);
    if wanted(Name::None) {
        played.play(Name::None, None, &mut Still);
    }
    if wanted(Name::Nearest) {
        played.play(Name::Nearest, None, &mut Nearest::default());
    }
    if wanted(Name::Reactive) {
        played.reactive();
    }
    if wanted(Name::Gibbon) {
        played.play(Name::Gibbon, None, &mut Gibbon::new(&day, Foreseen::Predicted));
    }
    if wanted(Name::Oracle) {
        played.play(Name::Oracle, None, &mut Gibbon::new(&day, Foreseen::Known));
    }
    let Played { mut outcomes, grid, .. } = played;
    outcomes.sort_by_key(|outcome| outcome.policy);
    let mut report = Report {
        schema: SCHEMA,
        name: name.to_owned(),
        scenario: scenario.clone(),
        seed,
        policies: outcomes,
        grid,
        bars: Vec::new(),
        machine: None,
    };
    report.measure();
    report
}

/// What has been played so far.
struct Played<'a> {
    day: &'a Day,
    clock: Option<fn() -> Duration>,
    progress: &'a mut dyn FnMut(&str),
    outcomes: Vec<Outcome>,
    grid: Vec<Tried>,
}

impl Played<'_> {
    fn timed(&self, policy: &mut dyn Policy) -> (Tally, Option<f64>) {
        let before = self.clock.map(|clock| clock());
        let tally = Run::new(self.day).play(policy);
        let after = self.clock.map(|clock| clock());
        (tally, after.zip(before).map(|(after, before)| (after - before).as_secs_f64()))
    }

    fn play(&mut self, name: Name, thresholds: Option<Thresholds>, policy: &mut dyn Policy) {
        (self.progress)(name.as_str());
        let (tally, cpu_s) = self.timed(policy);
        self.outcomes.push(Outcome::of(name, thresholds, &tally, cpu_s));
    }

    /// With the best of its thresholds: fewest out-of-target seconds, then fewest hand-offs.
    fn reactive(&mut self) {
        let slack_ms = GRID.slacks_ms[0];
        let mut best: Option<(Tried, Tally, Option<f64>)> = None;
        for load in GRID.loads {
            for dwell_s in GRID.dwells_s {
                self.try_out(Thresholds { load: *load, slack_ms, dwell_s: *dwell_s }, &mut best);
            }
        }
        let found = best.as_ref().map(|(tried, ..)| tried.thresholds);
        for slack_ms in &GRID.slacks_ms[1..] {
            found.into_iter().for_each(|found| {
                self.try_out(Thresholds { slack_ms: *slack_ms, ..found }, &mut best);
            });
        }
        if let Some((tried, tally, cpu_s)) = best {
            self.outcomes.push(Outcome::of(Name::Reactive, Some(tried.thresholds), &tally, cpu_s));
        }
    }

    fn try_out(&mut self, thresholds: Thresholds, best: &mut Option<(Tried, Tally, Option<f64>)>) {
        let Thresholds { load, slack_ms, dwell_s } = thresholds;
        (self.progress)(&format!("reactive: load {load}, slack {slack_ms} ms, dwell {dwell_s} s"));
        let mut policy = Reactive::new(thresholds, self.day.world.sites.len());
        let (tally, cpu_s) = self.timed(&mut policy);
        let (out_of_target_s, handoffs) = (tally.out.total(), tally.handoffs.iter().sum());
        let tried = Tried { thresholds, out_of_target_s, handoffs };
        self.grid.push(tried);
        let better =
            |best: &Tried| (out_of_target_s, handoffs) < (best.out_of_target_s, best.handoffs);
        if best.as_ref().is_none_or(|(best, ..)| better(best)) {
            *best = Some((tried, tally, cpu_s));
        }
    }
}
