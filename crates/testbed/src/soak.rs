//! The soak: many sessions for long, hand-offs all the while. What must level off is printed and judged.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use gibbon_control::portal::{HandoffOutcome, HandoffRequest};
use gibbon_media::SessionId;
use gibbon_testbed::{Network, Player, PlayerOptions, Process, Setup};

/// How long and how much.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where logs and reports go
    #[arg(long, default_value = "soak", value_name = "DIR")]
    folder: PathBuf,
    /// Sessions at once
    #[arg(long, default_value_t = 20)]
    sessions: usize,
    /// How many of them decode; the others count verdicts by what arrives
    #[arg(long, default_value_t = 2)]
    decoding: usize,
    /// Minutes of play
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Seconds between two hand-offs
    #[arg(long, default_value_t = 5.0)]
    handoff_every: f64,
}

/// Looks at the processes this often.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// Memory has levelled off if its median over the last third of the run is no more than this above that
/// over the middle third: a part, and some pages.
const MAX_GROWTH: f64 = 0.05;
const MAX_GROWTH_KB: f64 = 2048.0;
/// Tasks likewise; between two samples a hand-off is under way or not.
const MAX_MORE_TASKS: f64 = 40.0;
const EDGES: [&str; 2] = ["edge-a", "edge-b"];

/// Samples of one figure, in order.
type Series = BTreeMap<String, Vec<f64>>;

/// Runs the soak. Exit code 1 if a viewer saw anything or something did not level off.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if options.folder.exists() {
        std::fs::remove_dir_all(&options.folder)?;
    }
    let network = Network::start(&options.folder, Setup::bbb(&EDGES))?;
    let seconds = options.minutes * 60.0;
    let mut players = Vec::new();
    for n in 0..options.sessions {
        let play = PlayerOptions::new("live/bbb", seconds).at(EDGES[n % 2]);
        let play = if n < options.decoding { play } else { play.with(&["--no-decode"]) };
        players.push(network.play(&format!("player-{n}"), &play)?);
    }
    players.iter_mut().try_for_each(Player::playing)?;
    let sessions: Vec<SessionId> = players.iter().map(Player::session).collect::<Result<_, _>>()?;
    let (begun, mut sampled) = (Instant::now(), Instant::now());
    let (mut memory, mut tasks) = (Series::new(), Series::new());
    let (mut handoffs, mut next) = (Vec::new(), 0);
    while begun.elapsed().as_secs_f64() < seconds - 15.0 {
        let turn = Instant::now();
        let session = sessions[next % sessions.len()];
        next += 1;
        match network.portal.handoff(session, &HandoffRequest::default()) {
            Ok(handoff) => handoffs.push(handoff.handoff),
            Err(error) => println!("no hand-off of {session}: {error:#}"),
        }
        while turn.elapsed().as_secs_f64() < options.handoff_every {
            if sampled.elapsed() >= SAMPLE_EVERY {
                sampled = Instant::now();
                sample(&network, &players, &mut memory, &mut tasks)?;
                status(begun.elapsed(), handoffs.len(), &memory, &tasks);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let well = judge(&network, &mut players, &handoffs, &memory, &tasks)?;
    network.stop()?;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn sample(
    network: &Network,
    players: &[Player],
    memory: &mut Series,
    tasks: &mut Series,
) -> anyhow::Result<()> {
    let note = |process: &Process, series: &mut Series| -> anyhow::Result<()> {
        let name = process.name();
        let usage = process.usage().with_context(|| format!("{name} is gone"))?;
        series.entry(name.to_owned()).or_default().push(usage.memory_kib as f64);
        Ok(())
    };
    for node in EDGES.iter().chain(&["origin-1"]) {
        note(&*network.node(node)?, memory)?;
    }
    note(&network.coordinator(), memory)?;
    // Two players stand for all: one that decodes and one that does not.
    for player in players.first().into_iter().chain(players.last()) {
        note(&player.process, memory)?;
    }
    for edge in EDGES {
        let log = network.node(edge)?.log();
        let state = log.with("state").last().context("the edge does not log its state")?;
        let count = state.field("tasks").and_then(|v| v.as_f64()).unwrap_or_default();
        tasks.entry(edge.to_owned()).or_default().push(count);
    }
    Ok(())
}

fn status(elapsed: Duration, handoffs: usize, memory: &Series, tasks: &Series) {
    let last = |series: &Series, unit: f64| {
        let each =
            series.iter().filter_map(|(name, s)| Some(format!("{name} {:.1}", s.last()? / unit)));
        each.collect::<Vec<_>>().join("  ")
    };
    println!(
        "{:>5.0} s  {handoffs} hand-offs  memory (MB): {}  tasks: {}",
        elapsed.as_secs_f64(),
        last(memory, 1024.0),
        last(tasks, 1.0)
    );
}

fn judge(
    network: &Network,
    players: &mut [Player],
    handoffs: &[gibbon_media::HandoffId],
    memory: &Series,
    tasks: &Series,
) -> anyhow::Result<bool> {
    let (mut side, mut frozen, mut expected, mut gaps) = (0, 0, 0, 0);
    for player in players {
        let (status, report) = player.finish()?;
        ensure!(status.success(), "a player ended with {status}");
        side += report.frames.side;
        frozen += report.frames.frozen;
        expected += report.frames.expected;
        gaps += report.audio.gap_ms;
    }
    // The last ones were under way until now.
    let known = network.portal.handoffs()?;
    let completed = known.iter().filter(|h| h.outcome == HandoffOutcome::Completed).count();
    println!("\n{completed} of {} hand-offs completed", handoffs.len());
    println!("{expected} frames: side {side}, frozen {frozen}; gaps in sound {gaps} ms");
    let mut well = side == 0 && frozen == 0 && gaps == 0 && completed == handoffs.len();
    println!("\n| process | memory, middle third (MB) | last third (MB) |\n|---|---:|---:|");
    for (name, series) in memory {
        let (middle, last) = thirds(series);
        println!("| {name} | {:.1} | {:.1} |", middle / 1024.0, last / 1024.0);
        well &= last <= middle * (1.0 + MAX_GROWTH) + MAX_GROWTH_KB;
    }
    for (name, series) in tasks {
        let (middle, last) = thirds(series);
        println!("| {name}, tasks | {middle:.0} | {last:.0} |");
        well &= last <= middle + MAX_MORE_TASKS;
    }
    println!(
        "\n{}",
        if well { "It levels off, and no viewer saw anything." } else { "Not well: see above." }
    );
    Ok(well)
}

/// Medians of the middle and of the last third.
fn thirds(series: &[f64]) -> (f64, f64) {
    let third = series.len() / 3;
    let median = |part: &[f64]| {
        let mut part = part.to_vec();
        part.sort_by(f64::total_cmp);
        part.get(part.len() / 2).copied().unwrap_or_default()
    };
    (median(&series[third..series.len() - third]), median(&series[series.len() - third..]))
}
