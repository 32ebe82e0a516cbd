//! `gibbon-load yardstick compare`: an edge and what it is held against in turns, under the same load.

use std::{
    path::PathBuf,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use gibbon_control::portal::SessionRequest;
use gibbon_media::{Placement, Priority, StreamName};
use gibbon_net::Certificates;
use gibbon_testbed::{Network, Process, Setup, Usage, WAIT, wait_for};
use serde::Serialize;
use tokio::{runtime::Runtime, task::JoinSet};

use super::{MAX_VIEWERS, Pattern, pin, tally::Tally, watch};

/// Of the frames that are due, so many must have come for a measurement to count.
const ENOUGH: f64 = 0.98;
const STREAM: &str = "load/yardstick";

/// Options of `gibbon-load yardstick compare`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Viewers at once
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=MAX_VIEWERS))]
    viewers: u32,
    /// Measurements of each, in turns; the medians count
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=99))]
    pairs: u32,
    /// Length of each measurement, in seconds
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Both legs of a viewer on one edge, or on two (whose costs are added)
    #[arg(long, default_value = "together")]
    placement: Placement,
    /// Shards of each edge; the yardstick has one worker thread
    #[arg(long, default_value_t = 1)]
    shards: u32,
    /// Further argument of the edges; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    edge_arg: Vec<String>,
    /// Let the server run on every core; else it has the first, and who loads it the others
    #[arg(long)]
    no_pin: bool,
    /// What the edge is held against
    #[arg(long, value_enum, default_value_t)]
    against: Base,
    /// Where logs go [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Write the figures here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    pattern: Pattern,
}

const EXAMPLES: &str = "Examples:
  gibbon-load yardstick compare --json cost.json
  gibbon-load yardstick compare --against one-shard --shards 2 --no-pin
  gibbon-load yardstick compare --against nothing --viewers 400 --pairs 1

What is counted is the server's processor time (user and system) over the frames that its
viewers took; memory is what it holds beyond what it held without viewers.";

/// What the edge is held against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Base {
    /// The plainest sender that quinn allows
    #[default]
    Yardstick,
    /// The same edge with one shard
    OneShard,
    /// Nothing: the edge alone is measured
    Nothing,
}

impl Base {
    fn word(self) -> &'static str {
        match self {
            Base::Yardstick => "yardstick",
            Base::OneShard => "one shard",
            Base::Nothing => "nothing",
        }
    }
}

/// One measurement, or the medians of several.
#[derive(Debug, Clone, Copy, Serialize)]
struct Cost {
    /// The server's processor time for each delivered frame, in µs.
    cpu_us_per_frame: f64,
    /// Memory of the server for each viewer, in KiB.
    memory_kib_per_viewer: f64,
    /// Delivery from the intended time of sending, in ms.
    delay_p50_ms: f64,
    /// The same.
    delay_p99_ms: f64,
    /// Part of the frames due that came.
    delivered: f64,
}

/// All measurements.
#[derive(Debug, Serialize)]
struct Comparison {
    viewers: u32,
    seconds: u64,
    placement: Placement,
    shards: u32,
    edge_arguments: Vec<String>,
    against: Base,
    base: Vec<Cost>,
    edge: Vec<Cost>,
    /// Medians.
    base_median: Option<Cost>,
    edge_median: Option<Cost>,
    /// Median of the pairs' ratios of processor time, edge to base.
    ratio: Option<f64>,
}

/// Measures, prints a table, writes the figures.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let temporary = tempfile::tempdir()?;
    let folder = options.folder.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&folder)?;
    let pinned = !options.no_pin && pin::leave_server_core()?;
    let bench = Bench { options, folder, pinned, runtime: super::runtime()? };
    println!(
        "{:>10} {:>12} {:>12} {:>9} {:>9} {:>10}",
        "", "µs/frame", "KiB/viewer", "p50 ms", "p99 ms", "delivered"
    );
    let (mut base, mut edge) = (Vec::new(), Vec::new());
    for round in 0..options.pairs {
        match options.against {
            Base::Yardstick => base.push(bench.yardstick().context("the yardstick")?),
            Base::OneShard => base.push(bench.edge(round, 1).context("the edge with one shard")?),
            Base::Nothing => {}
        }
        show(options.against.word(), base.last());
        edge.push(bench.edge(round, options.shards).context("the edge")?);
        show("edge", edge.last());
    }
    let ratios = edge.iter().zip(&base).map(|(e, b)| e.cpu_us_per_frame / b.cpu_us_per_frame);
    let comparison = Comparison {
        viewers: options.viewers,
        seconds: options.seconds,
        placement: options.placement,
        shards: options.shards,
        edge_arguments: options.edge_arg.clone(),
        against: options.against,
        base_median: medians(&base),
        edge_median: medians(&edge),
        ratio: median(ratios.collect()),
        base,
        edge,
    };
    println!("medians of {}:", options.pairs);
    show(options.against.word(), comparison.base_median.as_ref());
    show("edge", comparison.edge_median.as_ref());
    if let Some(ratio) = comparison.ratio {
        println!("{:>10} {ratio:>12.2}", "ratio");
    }
    if let Some(file) = &options.json {
        std::fs::write(file, serde_json::to_string_pretty(&comparison)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn show(name: &str, cost: Option<&Cost>) {
    if let Some(c) = cost {
        println!(
            "{name:>10} {:>12.2} {:>12.1} {:>9.1} {:>9.1} {:>9.1}%",
            c.cpu_us_per_frame,
            c.memory_kib_per_viewer,
            c.delay_p50_ms,
            c.delay_p99_ms,
            c.delivered * 100.0
        );
    }
}

struct Bench<'a> {
    options: &'a Options,
    folder: PathBuf,
    pinned: bool,
    runtime: Runtime,
}

type Watching = JoinSet<anyhow::Result<()>>;

impl Bench<'_> {
    fn yardstick(&self) -> anyhow::Result<Cost> {
        let certificate = self.folder.join("yardstick.der");
        let log = self.folder.join("yardstick.log");
        let _ = std::fs::remove_file(&log);
        let Pattern { fps, frame_bytes, group_ms } = self.options.pattern;
        let arguments = [
            "yardstick".to_owned(),
            "serve".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            format!("--certificate={}", certificate.display()),
            format!("--fps={fps}"),
            format!("--frame-bytes={frame_bytes}"),
            format!("--group-ms={group_ms}"),
        ];
        let mut server = Process::start("gibbon-load", "yardstick", &self.folder, &arguments)?;
        let address = wait_for("the yardstick to listen", WAIT, || {
            let log = server.log();
            Ok(log.with("yardstick is up").last().and_then(|l| l.text("listen")?.parse().ok()))
        })?;
        self.pin(&server)?;
        let watch = |tally: &Arc<Tally>| {
            let mut watching = Watching::new();
            for _ in 0..self.options.viewers {
                let (certificate, tally) = (certificate.clone(), tally.clone());
                let watch = async move { watch::yardstick(address, &certificate, tally).await };
                watching.spawn_on(watch, self.runtime.handle());
            }
            Ok(watching)
        };
        let cost = self.measure(&|| server.usage().context("the yardstick has ended"), watch)?;
        server.stop()?;
        Ok(cost)
    }

    fn edge(&self, round: u32, shards: u32) -> anyhow::Result<Cost> {
        let folder = self.folder.join(format!("network-{round}-{shards}"));
        let edges: &[&str] = match self.options.placement {
            Placement::Together => &["edge-a"],
            Placement::Diverse => &["edge-a", "edge-b"],
        };
        let network = Network::start(&folder, self.setup(edges, shards))?;
        for edge in edges {
            self.pin(&*network.node(edge)?)?;
        }
        let usage = || {
            let used = network.usage();
            let mut sum = Usage { processor: Duration::ZERO, memory_kib: 0 };
            for edge in edges {
                let edge = used.get(*edge).with_context(|| format!("{edge} has ended"))?;
                sum.processor += edge.processor;
                sum.memory_kib += edge.memory_kib;
            }
            Ok(sum)
        };
        let cost = self.measure(&usage, |tally| self.view(&network, tally))?;
        network.stop()?;
        if self.options.folder.is_none() {
            std::fs::remove_dir_all(&folder)?;
        }
        Ok(cost)
    }

    fn setup(&self, edges: &[&str], shards: u32) -> Setup {
        let Pattern { fps, frame_bytes, group_ms } = self.options.pattern;
        let (fps, bytes, group) = (fps.to_string(), frame_bytes.to_string(), group_ms.to_string());
        let shape = [
            "--fps",
            &fps,
            "--frame-bytes",
            &bytes,
            "--secondary-bytes",
            &bytes,
            "--group-ms",
            &group,
        ];
        let mut setup = Setup::default().source("origin-1", &[STREAM], &shape).edges(edges);
        // Above whatever is asked for: capacity is not what is measured.
        let shards = format!("--shards={shards}");
        let mut arguments = vec!["--capacity-legs=100000", "--log=warn,gibbon_edge=info", &shards];
        arguments.extend(self.options.edge_arg.iter().map(String::as_str));
        for edge in edges {
            setup = setup.node_with(edge, &arguments);
        }
        setup.domains(edges)
    }

    fn view(&self, network: &Network, tally: &Arc<Tally>) -> anyhow::Result<Watching> {
        let stream: StreamName = STREAM.parse()?;
        let authority = Certificates::in_folder(network.certs()).authority()?;
        let request = SessionRequest {
            stream: stream.clone(),
            edge: None,
            location: None,
            placement: Some(self.options.placement),
            priority: Priority::default(),
        };
        let mut watching = Watching::new();
        for _ in 0..self.options.viewers {
            let ticket = network.portal.create_session(&request)?;
            let view = watch::edge(authority.clone(), stream.clone(), ticket, tally.clone());
            watching.spawn_on(view, self.runtime.handle());
        }
        Ok(watching)
    }

    fn pin(&self, server: &Process) -> anyhow::Result<()> {
        if self.pinned { pin::to_server_core(server.id()) } else { Ok(()) }
    }

    /// Has viewers watch, waits until frames come at their rate, and measures.
    fn measure(
        &self,
        usage: &dyn Fn() -> anyhow::Result<Usage>,
        watch: impl FnOnce(&Arc<Tally>) -> anyhow::Result<Watching>,
    ) -> anyhow::Result<Cost> {
        let tally = Tally::new()?;
        let empty = usage()?;
        let mut watching = watch(&tally)?;
        let due = 2.0 * self.options.pattern.fps.as_f64() * f64::from(self.options.viewers);
        self.await_rate(due, &tally)?;
        tally.reset_delays();
        let (begun, before, frames) = (Instant::now(), usage()?, tally.count().frames);
        sleep(Duration::from_secs(self.options.seconds));
        let (after, count) = (usage()?, tally.count());
        let elapsed = begun.elapsed().as_secs_f64();
        if let Some(ended) = watching.try_join_next() {
            ended?.context("a viewer ended")?;
            bail!("a viewer's connection ended");
        }
        let frames = count.frames - frames;
        ensure!(frames > 0, "no frames came");
        let ms = |part| tally.delay(part).as_secs_f64() * 1e3;
        let processor = after.processor - before.processor;
        let grown = after.memory_kib as f64 - empty.memory_kib as f64;
        let cost = Cost {
            cpu_us_per_frame: processor.as_secs_f64() * 1e6 / frames as f64,
            memory_kib_per_viewer: grown / f64::from(self.options.viewers),
            delay_p50_ms: ms(0.5),
            delay_p99_ms: ms(0.99),
            delivered: frames as f64 / (due * elapsed),
        };
        if cost.delivered < ENOUGH {
            tracing::warn!(delivered = cost.delivered, "the machine does not hold the rate");
        }
        Ok(cost)
    }

    /// Waits until frames have come at their rate for a second, then a second more.
    fn await_rate(&self, due: f64, tally: &Tally) -> anyhow::Result<()> {
        let second = Duration::from_secs(1);
        let begun = Instant::now();
        loop {
            let before = tally.count().frames;
            sleep(second);
            let come = (tally.count().frames - before) as f64;
            if come >= ENOUGH * due {
                break sleep(second);
            }
            if begun.elapsed() > WAIT {
                tracing::warn!(come, due, "frames do not come at their rate");
                break;
            }
        }
        Ok(())
    }
}

fn medians(costs: &[Cost]) -> Option<Cost> {
    let of = |field: fn(&Cost) -> f64| median(costs.iter().map(field).collect());
    Some(Cost {
        cpu_us_per_frame: of(|c| c.cpu_us_per_frame)?,
        memory_kib_per_viewer: of(|c| c.memory_kib_per_viewer)?,
        delay_p50_ms: of(|c| c.delay_p50_ms)?,
        delay_p99_ms: of(|c| c.delay_p99_ms)?,
        delivered: of(|c| c.delivered)?,
    })
}

/// The middle one, or the mean of the two middle ones; `None` of nothing.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
