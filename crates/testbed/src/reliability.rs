//! The reliability run: edges are killed, one after the other, and what each kill meant for each viewer is
//! told in numbers.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use gibbon_control::{portal::SessionInfo, process, report::Report};
use gibbon_media::Placement;
use gibbon_testbed::{Network, Player, PlayerOptions, Setup, seen::Span};

use crate::{
    audience::{Audience, Control, HISTORY, ORIGIN, STREAM, behind, watch},
    samples::{Configuration, Kill, Sample, histogram, samples, summaries, table, void},
};

/// How many, how often.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where logs, reports and reliability.json go; cleared before
    #[arg(long, default_value = "reliability", value_name = "DIR")]
    folder: PathBuf,
    /// Kills (SIGKILL) of an edge
    #[arg(long, default_value_t = 50)]
    kills: usize,
    /// Seconds from one kill to the next, at least
    #[arg(long, default_value_t = 8.0)]
    every: f64,
    /// Players of each of the four configurations
    #[arg(long, default_value_t = 3)]
    players: usize,
    /// How many of all players decode; the others count verdicts by what arrives
    #[arg(long, default_value_t = 2)]
    decoding: usize,
    /// Playout delays in ms; the promise is about the first
    #[arg(long, default_values_t = [1000, 300], value_delimiter = ',')]
    delays: Vec<u64>,
}

const EDGES: [&str; 4] = ["edge-a", "edge-b", "edge-c", "edge-d"];
/// An edge is started again this long after its death: what replaces a lost machine takes longer, and an
/// edge that answers at once would tell its clients that their connection is gone.
const RESTART_AFTER: Duration = Duration::from_secs(2);
/// After a kill all sessions must be whole again within this time.
const SETTLE_WITHIN: Duration = Duration::from_secs(60);

/// Runs it. Exit code 1 if a promise was not kept.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if options.folder.exists() {
        std::fs::remove_dir_all(&options.folder)?;
    }
    let setup = Setup::bbb(&EDGES).domains(&EDGES);
    let network = Network::start(&options.folder, setup)?;
    network.supervise(&EDGES, RESTART_AFTER)?;
    let control = Control::start(&options.folder)?;
    network.await_history(ORIGIN, HISTORY)?;
    let (players, configurations) = start_players(&network, options)?;
    let mut audience = Audience::of(players)?;
    let kills = kill_all(&network, options, &configurations, &mut audience)?;
    let reports = audience.end()?;
    let control = control.end()?;
    let well = conclude(options, &kills, &configurations, &reports, &control)?;
    network.stop()?;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

type Configurations = BTreeMap<String, Configuration>;

fn start_players(
    network: &Network,
    options: &Options,
) -> anyhow::Result<(Vec<Player>, Configurations)> {
    let (mut players, mut configurations) = (Vec::new(), Configurations::new());
    // In turn, so that those that decode are of different configurations.
    for n in 0..options.players {
        for playout_delay_ms in &options.delays {
            for diverse in [true, false] {
                let configuration = Configuration { diverse, playout_delay_ms: *playout_delay_ms };
                let placement = configuration.placement();
                let name = format!("{placement}-{playout_delay_ms}-{n}");
                let play = PlayerOptions::new(STREAM, 0.0)
                    .placement(placement)
                    .playout_delay(*playout_delay_ms);
                let decodes = players.len() < options.decoding;
                let play = if decodes { play } else { play.no_decode() };
                players.push(watch(network, &name, play)?);
                configurations.insert(name, configuration);
            }
        }
    }
    Ok((players, configurations))
}

/// Kills an edge whenever all sessions are whole and the last kill is long enough ago.
fn kill_all(
    network: &Network,
    options: &Options,
    configurations: &Configurations,
    audience: &mut Audience,
) -> anyhow::Result<Vec<Kill>> {
    let every = Duration::from_secs_f64(options.every);
    let mut kills: Vec<Kill> = Vec::new();
    let (mut next, mut last) = (0, Instant::now());
    loop {
        let settled = audience.settle(network, SETTLE_WITHIN);
        let settled = settled.with_context(|| format!("after {} kills", kills.len()))?;
        for (name, session) in &settled {
            let asked = configurations.get(name).map(|c| c.placement());
            ensure!(asked == Some(session.placement), "{name} is {}", session.placement);
        }
        std::thread::sleep(every.saturating_sub(last.elapsed()));
        let now = process::now().0;
        if let Some(kill) = kills.last_mut() {
            kill.window.to_us = now;
        }
        if kills.len() == options.kills {
            return Ok(kills);
        }
        // In turn, without those that serve nobody.
        let turn = (0..EDGES.len()).map(|n| EDGES[(next + n) % EDGES.len()]);
        let victim = turn.into_iter().find(|edge| !with_leg_at(&settled, edge).is_empty());
        let edge = victim.context("no edge serves anybody")?;
        next = EDGES.iter().position(|e| *e == edge).unwrap_or(0) + 1;
        let players = with_leg_at(&settled, edge);
        println!("kill {:>3}: {edge}, which serves {}", kills.len() + 1, players.join(" "));
        let window = Span { from_us: process::now().0, to_us: u64::MAX };
        network.node(edge)?.kill()?;
        last = Instant::now();
        kills.push(Kill { edge: edge.parse()?, window, players });
    }
}

fn with_leg_at(sessions: &BTreeMap<String, SessionInfo>, edge: &str) -> Vec<String> {
    let there = |s: &SessionInfo| s.edges.iter().flatten().any(|e| e.as_str() == edge);
    sessions.iter().filter(|(_, s)| there(s)).map(|(name, _)| name.clone()).collect()
}

fn conclude(
    options: &Options,
    kills: &[Kill],
    configurations: &Configurations,
    reports: &BTreeMap<String, Report>,
    control: &Report,
) -> anyhow::Result<bool> {
    let void = void(kills, control);
    let behind: BTreeMap<&String, String> =
        reports.iter().filter_map(|(name, report)| Some((name, behind(report)?))).collect();
    behind.iter().for_each(|(name, why)| println!("{name} does not count: it was {why}"));
    let all: Vec<Sample> = reports
        .iter()
        .filter(|(name, _)| !behind.contains_key(name))
        .filter_map(|(name, report)| Some((name, *configurations.get(name)?, report)))
        .flat_map(|(name, configuration, report)| samples(kills, name, configuration, report))
        .filter(|sample| !void.contains(&sample.kill))
        .collect();
    let summaries = summaries(&all);
    println!("\n{} kills, of which {} void\n\n{}", kills.len(), void.len(), table(&summaries));
    for summary in &summaries {
        let Configuration { playout_delay_ms, .. } = summary.configuration;
        let placement: Placement = summary.configuration.placement();
        println!("{placement}, {playout_delay_ms} ms: from the last frame until that was noticed");
        println!("{}", histogram(&summary.detection_ms, 20));
        println!(
            "{placement}, {playout_delay_ms} ms: from the last frame to the first of the new leg"
        );
        println!("{}", histogram(&summary.recovery_ms, 20));
    }
    let promised = options.delays.first().copied().unwrap_or_default();
    let grown = grown(reports, promised);
    grown.iter().for_each(|name| println!("{name}: the playout delay grew by more than a fifth"));
    // A way of watching of which nothing is known keeps no promise.
    let all_told = summaries.len() == 2 * options.delays.len();
    let kept = summaries.iter().all(|s| s.keeps_promise(promised));
    let well = all_told && kept && grown.is_empty();
    let json = serde_json::json!({
        "kills": kills, "void": void, "summaries": summaries, "samples": all, "behind": behind,
        "kept": well,
    });
    let file = options.folder.join("reliability.json");
    std::fs::write(&file, serde_json::to_vec_pretty(&json)?)?;
    println!("Written: {}", file.display());
    println!(
        "{}",
        if well { "Every promise is kept." } else { "A promise is not kept: see above." }
    );
    Ok(well)
}

/// Players of this playout delay whose delay ended above 1.2 × its start.
fn grown(reports: &BTreeMap<String, Report>, playout_delay_ms: u64) -> Vec<&String> {
    let grew = |report: &Report| {
        let delay = report.playout_delay_ms;
        delay.initial == playout_delay_ms && delay.latest * 10 > delay.initial * 12
    };
    reports.iter().filter(|(_, report)| grew(report)).map(|(name, _)| name).collect()
}
