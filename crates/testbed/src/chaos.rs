//! The chaos run: faults by a seed, and invariants checked throughout.

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitCode, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::Context;
use gibbon_control::{portal::SessionInfo, process, report::Report};
use gibbon_mdc::Verdict;
use gibbon_media::{Description, NodeId, Placement};
use gibbon_testbed::{
    COORDINATOR, Fault, Network, Plan, PlayerOptions, Setup, Step, schedule,
    seen::{Span, on_the_wall, seen, within},
};
use serde::Serialize;

use crate::{
    audience::{Audience, Control, HISTORY, ORIGIN, STREAM, behind, watch},
    outages::{Cause, Outages},
};

/// How long, and which faults.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The schedule of faults depends on this alone: the same seed, the same faults at the same times
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Minutes of faults
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Players, every other one diverse
    #[arg(long, default_value_t = 8)]
    players: usize,
    /// Where logs and reports go; cleared before
    #[arg(long, default_value = "chaos", value_name = "DIR")]
    folder: PathBuf,
    /// Write what happened and what was seen
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print the schedule and do nothing
    #[arg(long)]
    dry_run: bool,
}

const EDGES: [&str; 4] = ["edge-a", "edge-b", "edge-c", "edge-d"];
/// An edge that has been drained is started anew so long after.
const RESTART_AFTER: Duration = Duration::from_millis(500);
/// A session may be without any leg for so long while an edge could serve it.
const LEGLESS: Duration = Duration::from_secs(5);
/// When all is whole again, sessions are within this time.
const SETTLE_WITHIN: Duration = Duration::from_secs(30);
/// After a restart the coordinator's picture is not looked at for so long.
const PICTURE_AFTER: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(250);
const SLEEP: Duration = Duration::from_millis(10);
/// At most this part of all frames may be frozen, even if excused.
const MAX_EXCUSED: f64 = 0.01;
/// A run in which the control viewer froze as well says nothing about Gibbon.
const VOID: u8 = 2;
const ABOUT_US: u64 = 2_000_000;
/// The interval of frames of the clip that is played, in µs.
const FRAME_US: u64 = 1_000_000 / 24;

/// Runs it. Exit code 1 if an invariant does not hold, 2 if that may have been the machine.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let plan = plan(options)?;
    let steps = schedule(options.seed, &plan);
    if options.dry_run {
        steps.iter().for_each(|step| println!("{:>9.3} s  {}", seconds(step.at_ms), step.fault));
        return Ok(ExitCode::SUCCESS);
    }
    if options.folder.exists() {
        std::fs::remove_dir_all(&options.folder)?;
    }
    let mut setup = Setup::bbb(&EDGES).domains(&EDGES).paths();
    setup.seed = options.seed;
    let network = Network::start(&options.folder, setup)?;
    network.supervise(&EDGES, RESTART_AFTER)?;
    let control = Control::start(&options.folder)?;
    network.await_history(ORIGIN, HISTORY)?;
    let players = plan.players.iter().enumerate().map(|(n, name)| {
        let placement = [Placement::Diverse, Placement::Together][n % 2];
        let play = PlayerOptions::new(STREAM, 0.0).placement(placement).no_decode();
        watch(&network, name, play)
    });
    let mut audience = Audience::of(players.collect::<anyhow::Result<_>>()?)?;
    audience.settle(&network, SETTLE_WITHIN)?;
    let mut chaos = Chaos::new(&network, &plan);
    chaos.live_through(&steps, &mut audience)?;
    let outcome = chaos.end(audience)?;
    let stalls = within(&seen(&control.end()?, Verdict::Frozen), outcome.judged);
    conclude(options, Outcome { stalls, ..outcome })
}

fn plan(options: &Options) -> anyhow::Result<Plan> {
    let edges = EDGES.iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
    Ok(Plan {
        edges,
        origin: ORIGIN.parse()?,
        players: (0..options.players).map(|n| format!("player-{n}")).collect(),
        length: Duration::from_secs_f64(options.minutes * 60.0),
    })
}

/// A fault as it happened.
#[derive(Debug, Serialize)]
struct Happened {
    at_us: u64,
    after_ms: u64,
    fault: Fault,
    /// What the coordinator had against it, where it was asked.
    refused: Option<String>,
}

/// Frozen frames in a row.
#[derive(Debug, Serialize)]
struct Freeze {
    player: String,
    span: Span,
    frames: u64,
    excused: u64,
}

/// What came of a run.
#[derive(Debug, Serialize)]
struct Outcome {
    /// From the first fault on.
    judged: Span,
    happened: Vec<Happened>,
    violations: Vec<String>,
    freezes: Vec<Freeze>,
    expected: u64,
    side: u64,
    frozen: u64,
    /// Legs that players lost and found again.
    recoveries: u64,
    /// Hand-offs that players took part in.
    handoffs: u64,
    /// Players that had more time to recover than they asked for.
    behind: BTreeMap<String, String>,
    /// When the control viewer saw frozen frames.
    stalls: Vec<Span>,
}

struct Chaos<'a> {
    network: &'a Network,
    edges: Vec<NodeId>,
    length: Duration,
    outages: Outages,
    happened: Vec<Happened>,
    violations: Vec<String>,
    /// Since when the coordinator's picture can be relied on; not, while it or one of its links is down.
    picture_since: Option<Instant>,
    /// Since when a player is without any leg, as far as the portal knows.
    legless: BTreeMap<String, Instant>,
    looked: Instant,
    begun_us: u64,
}

impl<'a> Chaos<'a> {
    fn new(network: &'a Network, plan: &Plan) -> Self {
        let now = Instant::now();
        Self {
            network,
            edges: plan.edges.clone(),
            length: plan.length,
            outages: Outages::new(&plan.edges),
            happened: Vec::new(),
            violations: Vec::new(),
            picture_since: Some(now),
            legless: BTreeMap::new(),
            looked: now,
            begun_us: process::now().0,
        }
    }

    fn live_through(&mut self, steps: &[Step], audience: &mut Audience) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut steps = steps.iter().peekable();
        while begun.elapsed() < self.length && self.violations.is_empty() {
            if let Some(step) = steps.next_if(|s| begun.elapsed().as_millis() as u64 >= s.at_ms) {
                self.inflict(begun, &step.fault);
            }
            if self.looked.elapsed() >= LOOK_EVERY {
                self.looked = Instant::now();
                self.look(audience)?;
            }
            std::thread::sleep(SLEEP);
        }
        Ok(())
    }

    fn inflict(&mut self, begun: Instant, fault: &Fault) {
        let (at_us, after_ms) = (process::now().0, begun.elapsed().as_millis() as u64);
        let result = self.network.inflict(fault);
        let refused = result.as_ref().err().map(|error| format!("{error:#}"));
        let why = refused.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        println!("{:>9.3} s  {fault}{why}", seconds(after_ms));
        let asked =
            matches!(fault, Fault::HandOff { .. } | Fault::Drain { .. } | Fault::Undrain { .. });
        match (&refused, asked) {
            // It has happened by now, not before: what is excused by it begins late rather than early.
            (None, _) => self.outages.note(process::now().0, fault),
            (Some(_), true) => {}
            (Some(why), false) => self.violations.push(why.clone()),
        }
        self.happened.push(Happened { at_us, after_ms, fault: fault.clone(), refused });
    }

    fn look(&mut self, audience: &mut Audience) -> anyhow::Result<()> {
        if let Err(error) = audience.is_there() {
            self.violations.push(format!("{error:#}"));
        }
        self.look_at_processes()?;
        let coordinator: NodeId = COORDINATOR.parse()?;
        if self.outages.is_out(&coordinator) || !self.outages.all_heard() {
            self.picture_since = None;
            self.legless.clear();
            return Ok(());
        }
        let since = *self.picture_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= PICTURE_AFTER {
            self.look_at_sessions(audience)?;
        }
        self.look_at_drained()
    }

    fn look_at_processes(&mut self) -> anyhow::Result<()> {
        let leaving = self.outages.leaving();
        let nodes = self.edges.iter().map(NodeId::as_str).chain([ORIGIN, COORDINATOR]);
        for node in nodes {
            let id: NodeId = node.parse()?;
            let ended = self.network.node(node)?.ended()?;
            let expected = self.outages.is_out(&id)
                || leaving.contains(&id) && ended.is_none_or(|status| status.success());
            let past = self.network.exits(node).into_iter().find(|status| !may_end(*status));
            if let Some(status) = ended.filter(|_| !expected).or(past) {
                self.violations.push(format!("{node} has ended with {status}"));
            }
        }
        Ok(())
    }

    /// Edges that have been drained and started anew take clients in again.
    fn look_at_drained(&mut self) -> anyhow::Result<()> {
        let leaving = self.outages.leaving();
        if leaving.is_empty() {
            return Ok(());
        }
        for node in self.network.portal.nodes()? {
            let since = self.happened.iter().rfind(
                |happened| matches!(&happened.fault, Fault::Drain { edge, .. } if *edge == node.id),
            );
            let anew = since.is_some_and(|drain| node.registered_us > drain.at_us);
            if node.up && anew && node.draining.is_none() && leaving.contains(&node.id) {
                self.outages.end(process::now().0, &node.id, Cause::Leaving);
            }
        }
        Ok(())
    }

    fn look_at_sessions(&mut self, audience: &Audience) -> anyhow::Result<()> {
        let sessions = audience.sessions(self.network)?;
        let now = Instant::now();
        for (player, session) in sessions {
            if self.outages.able() == 0 || session.edges.iter().any(Option::is_some) {
                self.legless.remove(&player);
                continue;
            }
            let since = *self.legless.entry(player.clone()).or_insert(now);
            if now - since > LEGLESS {
                let what = format!("{player} has been without a leg for more than {LEGLESS:?}");
                self.violations.push(what);
            }
        }
        Ok(())
    }

    /// Everything is made whole; then sessions must become so, and the portal must know where legs are.
    fn end(mut self, mut audience: Audience) -> anyhow::Result<Outcome> {
        self.network.heal_paths();
        for id in self.edges.iter().map(NodeId::as_str).chain([ORIGIN, COORDINATOR]) {
            if self.outages.is_out(&id.parse()?) {
                self.network.wake(id)?;
                if self.network.node(id)?.ended()?.is_some() {
                    self.network.restart(id)?;
                }
            }
        }
        let sessions = audience.settle(self.network, SETTLE_WITHIN);
        let sessions = sessions.map_err(|error| self.violations.push(format!("{error:#}"))).ok();
        let reports = audience.end().context("a player left no report")?;
        for (player, report) in &reports {
            let session = sessions.as_ref().and_then(|sessions| sessions.get(player));
            self.violations.extend(session.and_then(|s| other_legs(player, s, report)));
            self.violations.extend(gap(player, report, &self.outages));
        }
        let behind = reports.iter().filter_map(|(player, r)| Some((player.clone(), behind(r)?)));
        let judged = Span { from_us: self.begun_us, to_us: u64::MAX };
        let freezes: Vec<Freeze> =
            reports.iter().flat_map(|(p, r)| freezes(p, r, judged, &self.outages)).collect();
        let sum = |of: fn(&Report) -> u64| reports.values().map(of).sum();
        Ok(Outcome {
            judged,
            behind: behind.collect(),
            frozen: freezes.iter().map(|freeze| freeze.frames).sum(),
            happened: self.happened,
            violations: self.violations,
            freezes,
            expected: sum(|r| r.frames.expected),
            side: sum(|r| r.frames.side),
            recoveries: sum(|r| r.recoveries.len() as u64),
            handoffs: sum(|r| r.handoffs.len() as u64),
            stalls: Vec::new(),
        })
    }
}

/// Well, or by our own SIGKILL.
fn may_end(status: ExitStatus) -> bool {
    status.success() || status.signal() == Some(9)
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// Says so if the player's report has a leg elsewhere than the portal had it in the end.
fn other_legs(player: &str, session: &SessionInfo, report: &Report) -> Option<String> {
    Description::BOTH.into_iter().find_map(|description| {
        let last = report.legs.iter().rfind(|leg| leg.description == description);
        let (had, has) = (&session.edges[description.index()], last.map(|leg| &leg.edge));
        let what = || {
            format!("the portal had description {description} of {player} at {had:?}, the player at {has:?}")
        };
        (had.as_ref() != has).then(what)
    })
}

/// Says so if the player was without a leg for too long although an edge could have served it.
fn gap(player: &str, report: &Report, outages: &Outages) -> Option<String> {
    let mut legs: Vec<(u64, u64)> = report.legs.iter().map(|l| (l.from_ms, l.to_ms)).collect();
    legs.sort_unstable();
    let mut until = legs.first()?.1;
    for (from, to) in legs {
        let without = Duration::from_millis(from.saturating_sub(until));
        if without > LEGLESS && !outages.excuse(on_the_wall(report, from)) {
            return Some(format!("{player} was without a leg for {without:?}"));
        }
        until = until.max(to);
    }
    None
}

fn freezes(player: &str, report: &Report, judged: Span, outages: &Outages) -> Vec<Freeze> {
    let judge = |span: Span| {
        let deadlines = (span.from_us..span.to_us).step_by(FRAME_US as usize);
        let (frames, excused) = deadlines.fold((0, 0), |(frames, excused), deadline| {
            (frames + 1, excused + u64::from(outages.excuse(deadline)))
        });
        Freeze { player: player.to_owned(), span, frames, excused }
    };
    within(&seen(report, Verdict::Frozen), judged).into_iter().map(judge).collect()
}

fn conclude(options: &Options, mut outcome: Outcome) -> anyhow::Result<ExitCode> {
    println!(
        "\n{} legs lost and found again, {} hand-offs; {} frames, of which side {}, frozen {}",
        outcome.recoveries, outcome.handoffs, outcome.expected, outcome.side, outcome.frozen
    );
    for (player, why) in &outcome.behind {
        println!("{player} was {why}");
    }
    let begun_us = outcome.judged.from_us;
    for freeze in &outcome.freezes {
        let Freeze { player, span, frames, excused } = freeze;
        let at = seconds(span.from_us.saturating_sub(begun_us) / 1000);
        println!(
            "{at:>9.3} s  {player} frozen for {} ms: {excused} of {frames} frames excused",
            span.ms()
        );
        if excused < frames {
            let what = format!("{player} saw {} frozen frames at {at:.3} s", frames - excused);
            outcome.violations.push(what);
        }
    }
    let void = stood_still(&outcome);
    if outcome.frozen as f64 > outcome.expected as f64 * MAX_EXCUSED {
        let Outcome { frozen, expected, .. } = outcome;
        outcome.violations.push(format!("{frozen} of {expected} frames were frozen"));
    }
    if let Some(file) = &options.json {
        let json = serde_json::json!({
            "seed": options.seed, "minutes": options.minutes, "players": options.players,
            "outcome": outcome,
        });
        std::fs::write(file, serde_json::to_vec_pretty(&json)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if outcome.violations.is_empty() {
        println!("Every invariant holds (seed {}).", options.seed);
        return Ok(ExitCode::SUCCESS);
    }
    outcome.violations.iter().for_each(|what| println!("violated: {what}"));
    let Options { seed, minutes, players, .. } = options;
    println!(
        "Again: gibbon-testbed chaos --seed {seed} --minutes {minutes} --players {players}; logs: {}",
        options.folder.display()
    );
    if void {
        println!("Void: the control viewer froze, too, and nothing else was wrong.");
        return Ok(ExitCode::from(VOID));
    }
    Ok(ExitCode::FAILURE)
}

/// Whether freezes are all that is wrong, and the control viewer had one at about the same time as each:
/// nothing befell its network.
fn stood_still(outcome: &Outcome) -> bool {
    let near = |freeze: &Freeze| {
        let Span { from_us, to_us } = freeze.span;
        let around = Span {
            from_us: from_us.saturating_sub(ABOUT_US),
            to_us: to_us.saturating_add(ABOUT_US),
        };
        !within(&outcome.stalls, around).is_empty()
    };
    let bad: Vec<&Freeze> = outcome.freezes.iter().filter(|f| f.excused < f.frames).collect();
    outcome.violations.len() == bad.len() && bad.into_iter().all(near)
}
