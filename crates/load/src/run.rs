//! `gibbon-load run`: plays a scenario, shows how it goes, and says in the end what viewers saw.

mod capacity;
mod ground;
mod phases;
mod players;
mod stop;

use std::{
    cell::{Cell, RefCell},
    path::PathBuf,
    process::ExitCode,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use gibbon_client::Settings;
use gibbon_control::process;
use gibbon_testbed::Usage;

use self::{ground::Ground, phases::Act, players::Players, stop::Stop};
use crate::{
    fail_if::Condition,
    page,
    progress::Progress,
    scenario::{Existing, Scenario, Shipped},
    sessions::{self, Audience, Ended},
    summary::{Moment, Outcome, PhaseRecord, Spread, Summary, Used, known_figures, word},
};

/// The exit code when a condition of `--fail-if` holds.
pub const FAILED: u8 = 4;
/// How often processes and sessions are measured.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);
/// How often it is looked how late this machine wakes who sleeps.
const WAKE_EVERY: Duration = Duration::from_millis(10);
/// Threads for sessions: more would take the cores from whom they load.
const MAX_THREADS: usize = 4;
/// What this process is called among those measured.
const SELF: &str = "gibbon-load";

/// Options of `gibbon-load run`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// A scenario that is shipped (see `gibbon-load scenarios`), or a TOML file
    scenario: String,
    /// Write the summary here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with plots here; it needs nothing else to be shown
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// What must not be, as FIELD OP NUMBER; may be repeated, and adds to what the scenario says
    #[arg(long, value_name = "EXPR")]
    fail_if: Vec<Condition>,
    /// Run against the network of this portal instead of one started here
    #[arg(long, value_name = "URL", requires_all = ["token_file", "ca"])]
    portal: Option<String>,
    /// The file with that portal's token
    #[arg(long, value_name = "FILE", requires = "portal")]
    token_file: Option<PathBuf>,
    /// The certificate of that network's authority
    #[arg(long, value_name = "FILE", requires = "portal")]
    ca: Option<PathBuf>,
    /// Where logs, certificates and reports go; cleared before [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Show nothing while it runs
    #[arg(long)]
    quiet: bool,
}

const EXAMPLES: &str = "Examples:
  gibbon-load run smoke
  gibbon-load run handoff-storm --json storm.json --html storm.html
  gibbon-load run my.toml --fail-if 'frozen>0' --fail-if 'latency_p99_ms>=200'
  gibbon-load run my.toml --portal http://192.0.2.1:4480 --token-file portal.token --ca ca.pem

Figures for --fail-if are those of the summary, by their place in it (handoffs.failed,
edge_delay_ms.p99), with short names for frozen, side, gap_ms (the longest freeze), failures,
latency_p99_ms, edge_delay_p99_ms; a wrong name lists them all. sampled.frozen and its like
are of the players that decode.

Ctrl-C ends the sessions in order, and the report is written; a second one gives up at once.

Exit codes: 0 all is well; 1 it could not be run; 2 wrong options; 4 a condition of --fail-if
holds; 130 given up.";

/// Runs it.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let scenario = options.read()?;
    let mut conditions = scenario.fail_if.clone();
    conditions.extend(options.fail_if.iter().cloned());
    check_names(&conditions)?;
    let stop = Stop::listen()?;
    let temporary = tempfile::tempdir()?;
    let folder = match &options.folder {
        Some(folder) => {
            if folder.exists() {
                std::fs::remove_dir_all(folder)
                    .with_context(|| format!("cannot clear {}", folder.display()))?;
            }
            folder.clone()
        }
        None => temporary.path().join("network"),
    };
    let progress = Progress::new(&options.scenario, scenario.phase.len(), options.quiet);
    let outcome = play(&options.scenario, &scenario, &folder, &stop, &progress)?;
    progress.finish();
    let summary = Summary::of(outcome);
    if let Some(file) = &options.json {
        write(file, &serde_json::to_string_pretty(&summary)?)?;
    }
    let verdicts = judge(&conditions, &summary);
    if let Some(file) = &options.html {
        write(file, &page::render(&summary, &verdicts))?;
    }
    print!("{}", crate::told::told(&summary, &verdicts));
    Ok(if verdicts.iter().any(|verdict| verdict.holds) {
        ExitCode::from(FAILED)
    } else {
        ExitCode::SUCCESS
    })
}

pub(crate) fn write(file: &PathBuf, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// A condition, and whether it holds.
#[derive(Debug)]
pub struct Verdict {
    /// What the figure is and what it must not be; where it cannot be told, why.
    pub told: String,
    /// Whether the run fails by it. One that cannot be told fails.
    pub holds: bool,
}

fn judge(conditions: &[Condition], summary: &Summary) -> Vec<Verdict> {
    let judge = |condition: &Condition| match summary.figures.get(condition.field()) {
        Some(figure) => Verdict { told: condition.told(*figure), holds: condition.holds(*figure) },
        None => {
            let field = condition.field();
            let told = format!("cannot tell whether {condition}: this run has no {field}");
            Verdict { told, holds: true }
        }
    };
    conditions.iter().map(judge).collect()
}

/// A wrong name is told before the run, not after.
fn check_names(conditions: &[Condition]) -> anyhow::Result<()> {
    let known = known_figures();
    conditions.iter().try_for_each(|condition| condition.check(&known)).context("--fail-if")
}

impl Options {
    fn read(&self) -> anyhow::Result<Scenario> {
        let scenario = match Shipped::named(&self.scenario) {
            Some(shipped) => Scenario::parse(shipped.text, shipped.name)?,
            None => {
                let text = std::fs::read_to_string(&self.scenario).with_context(|| {
                    format!("{} is neither a shipped scenario nor a file; gibbon-load scenarios lists them", self.scenario)
                })?;
                Scenario::parse(&text, &self.scenario)?
            }
        };
        match (&self.portal, &self.token_file, &self.ca) {
            (Some(url), Some(token_file), Some(ca)) => scenario.against(Existing {
                url: url.clone(),
                token_file: token_file.clone(),
                ca: ca.clone(),
            }),
            _ => {
                ensure!(
                    scenario.network.is_some() || scenario.portal.is_some(),
                    "{} has no [network] to start: say with --portal which one is to be loaded",
                    self.scenario
                );
                Ok(scenario)
            }
        }
    }
}

fn play(
    name: &str,
    scenario: &Scenario,
    folder: &std::path::Path,
    stop: &Stop,
    progress: &Progress,
) -> anyhow::Result<Outcome> {
    std::fs::create_dir_all(folder)?;
    progress.say("starting the network");
    let ground = Ground::prepare(scenario, folder)?;
    let children = || ground.network.iter().flat_map(|network| network.process_ids());
    stop.mind(children().collect());
    progress.say("starting the players");
    let players = Players::start(&ground, scenario.sample.as_ref())?;
    let audience = audience(scenario, &ground)?;
    let act = Act {
        scenario,
        ground: &ground,
        audience: &audience,
        players: &players,
        stop,
        failures: RefCell::default(),
        capacity: Cell::default(),
        supervised: Cell::default(),
    };
    let (started, started_us) = (Instant::now(), process::now().as_micros());
    let (over, is_over) = mpsc::channel::<()>();
    let players_ids: Vec<u32> = players.process_ids().collect();
    let (phases, (samples, wakes)) = std::thread::scope(|scope| {
        let look = || {
            let moment = moment(started, &ground, &audience);
            progress.show(&moment);
            stop.mind(children().chain(players_ids.iter().copied()).collect());
            moment
        };
        let measuring = scope.spawn(move || measure(&is_over, look));
        let phases = perform(&act, started, progress);
        drop(over);
        (phases, measuring.join().unwrap_or_default())
    });
    let (failures, capacity) = (act.failures.take(), act.capacity.get());
    progress.say("ending the sessions");
    let (sampled, lost) = players.end(&ground);
    let ended = audience.end();
    let mut outcome = Outcome {
        scenario: name.to_owned(),
        description: scenario.description.clone(),
        started_us,
        duration_s: started.elapsed().as_secs_f64(),
        interrupted: stop.is_told(),
        phases,
        sampled,
        samples,
        edges: ground.edges.iter().map(ToString::to_string).collect(),
        capacity,
        machine_late_us: Spread::of(wakes),
        failures,
        ..Outcome::default()
    };
    outcome.failures.extend(lost.into_iter().map(|why| ("sample".to_owned(), why)));
    take_in(&mut outcome, ended);
    if let Some(network) = ground.network
        && let Err(error) = network.stop()
    {
        outcome.failures.push(("network".to_owned(), format!("{error:#}")));
    }
    Ok(outcome)
}

/// Looks again and again until it is over. With what was seen, how much later than asked this thread woke, in µs.
fn measure(is_over: &Receiver<()>, look: impl Fn() -> Moment) -> (Vec<Moment>, Vec<u64>) {
    let (mut samples, mut wakes, mut due) = (Vec::new(), Vec::new(), Instant::now());
    loop {
        if Instant::now() >= due {
            due += SAMPLE_EVERY;
            samples.push(look());
        }
        let slept = Instant::now();
        if is_over.recv_timeout(WAKE_EVERY) != Err(RecvTimeoutError::Timeout) {
            return (samples, wakes);
        }
        wakes.push(slept.elapsed().saturating_sub(WAKE_EVERY).as_micros() as u64);
    }
}

/// What sessions report, and what went wrong with them.
fn take_in(outcome: &mut Outcome, ended: Ended) {
    outcome.count = ended.count;
    outcome.latency_ms = Spread::of_us(&ended.latency);
    outcome.edge_delay_ms = Spread::of_us(&ended.edge_delay);
    for visit in ended.visits {
        if let Some(failure) = visit.failure {
            outcome.failures.push((word(&failure.kind), failure.why));
        }
        outcome.reports.extend(visit.report);
    }
}

fn perform(act: &Act<'_>, started: Instant, progress: &Progress) -> Vec<PhaseRecord> {
    let mut done = Vec::new();
    for phase in &act.scenario.phase {
        if act.stop.is_told() {
            break;
        }
        progress.phase(done.len(), phase.name());
        let from_s = started.elapsed().as_secs_f64();
        act.perform(phase);
        let to_s = started.elapsed().as_secs_f64();
        let (name, kind) = (phase.name().to_owned(), phase.kind.word().to_owned());
        done.push(PhaseRecord { name, kind, from_s, to_s });
    }
    done
}

fn audience(scenario: &Scenario, ground: &Ground) -> anyhow::Result<Audience> {
    let mut settings = Settings::default();
    settings.merger.playout_delay = Duration::from_millis(scenario.sessions.playout_delay_ms);
    let streams = &scenario.sessions.streams;
    let source = streams.iter().find_map(|stream| ground.source(scenario, stream));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    Audience::new(sessions::Options {
        portal: ground.portal.clone(),
        authority: ground.authority()?,
        settings,
        threads,
        nice: scenario.sessions.nice,
        source,
        streams: streams.len(),
    })
}

fn moment(started: Instant, ground: &Ground, audience: &Audience) -> Moment {
    let used =
        |usage: Usage| Used { cpu_s: usage.processor.as_secs_f64(), memory_kib: usage.memory_kib };
    let own = Usage::of(std::process::id()).map(|usage| (SELF.to_owned(), usage));
    let network = ground.network.as_ref().map(|network| network.usage()).unwrap_or_default();
    Moment {
        at_s: started.elapsed().as_secs_f64(),
        count: audience.count(),
        processes: network.into_iter().chain(own).map(|(id, usage)| (id, used(usage))).collect(),
    }
}
