//! gibbon-worker: runs media service components on streams, and publishes what they make.

mod child;
mod drain;
mod feeder;
mod links;
mod metrics;
mod orders;
mod outputs;
mod segments;
mod server;
mod state;
mod supervisor;
mod usage;
mod worker;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use gibbon_components::catalogue;
use gibbon_control::{
    Joining,
    drain::End,
    link,
    node::{Draining, FromNode, Location, NodeAddress},
    process::{self, Common},
    vitals::Vitals,
    work::WorkerOffer,
};
use gibbon_media::{NodeId, Role};
use gibbon_monitor::machine;
use gibbon_net::{Certificates, Endpoint, Identity, close};
use gibbon_worker::segment;
use tokio::runtime::Handle;

use crate::worker::{Machine, Worker};

/// Service node: runs media service components, an input and an output socket each.
#[derive(Parser)]
#[command(name = "gibbon-worker", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run components for the network, as the coordinator says
    Run(Box<Run>),
    /// What this program starts for each segment: media over standard input and output
    #[command(hide = true)]
    Segment(Segment),
}

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
struct Run {
    /// Unique name of this worker, as it stands in its certificate
    #[arg(long, env = "GIBBON_ID")]
    id: NodeId,
    /// UDP address to serve edges and other workers on; port 0 picks a free one
    #[arg(long, env = "GIBBON_LISTEN", default_value = "0.0.0.0:4484")]
    listen: SocketAddr,
    #[command(flatten)]
    joining: Joining,
    /// Processor cores that components may keep busy [default: all of the machine]
    #[arg(long, env = "GIBBON_CORES", value_parser = cores)]
    cores: Option<f64>,
    /// Memory that this worker may use, its segments included, in MiB [default: half of the machine's]
    #[arg(long, env = "GIBBON_MEMORY", value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..))]
    memory: Option<u64>,
    /// Address space of one segment, in MiB: what takes more is ended, and started anew
    #[arg(long, env = "GIBBON_SEGMENT_MEMORY", value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(256..))]
    segment_memory: u64,
    /// What this worker can send to other nodes at once, in kbit/s [default: not limited]
    #[arg(long, env = "GIBBON_UPLINK_KBPS")]
    uplink_kbps: Option<u64>,
    /// Components to offer, as scale,overlay,mdc [default: all]
    #[arg(long, env = "GIBBON_COMPONENTS", value_name = "LIST", value_delimiter = ',', value_parser = component)]
    components: Vec<String>,
    /// Folder with files that components may use, such as pictures to overlay
    #[arg(long, env = "GIBBON_ASSETS", default_value = "assets", value_name = "DIR")]
    assets: PathBuf,
    /// Font for text in pictures
    #[arg(
        long,
        env = "GIBBON_FONT",
        default_value = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
        value_name = "FILE"
    )]
    font: PathBuf,
    /// Where this worker stands, as LATITUDE,LONGITUDE in degrees
    #[arg(long, env = "GIBBON_LOCATION", value_name = "LAT,LON", allow_hyphen_values = true)]
    location: Option<Location>,
    /// Workers of one failure domain may fail together: a rack, a site
    #[arg(long, env = "GIBBON_FAILURE_DOMAIN", value_name = "NAME")]
    failure_domain: Option<String>,
    /// After SIGTERM, what still runs here after this many seconds is cut off
    #[arg(long, env = "GIBBON_DRAIN_DEADLINE", default_value_t = 30, value_name = "SECONDS")]
    drain_deadline: u32,
    /// Announces that this worker goes away so long after its start, as 90s, 10m or 2h: what it runs is moved before
    #[arg(long, env = "GIBBON_MAINTENANCE_IN", value_name = "TIME", value_parser = process::span)]
    maintenance_in: Option<Duration>,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args)]
struct Segment {
    /// Address space that it may take, in MiB
    #[arg(long, value_name = "MIB")]
    memory: u64,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "Example:
  gibbon-worker run --id worker-1 --listen 127.0.0.1:4484 --coordinator 127.0.0.1:4481

Processes:
  Components that pass raw frames to each other form a segment, which is a child
  process of its own. One that crashes, or says nothing for 5 s, is started anew
  after 0.2 s, later after up to 10 s; all others go on.

Stopping:
  On SIGTERM or Ctrl-C the worker drains, as on `gibbonctl drain`: it gets no new
  components, and the coordinator moves those it runs to other workers. The exit
  code is 0 when it runs nothing any more, 3 when work was cut off: at the
  deadline, or at a second signal. The log names it.";

/// Exit code when work was cut off.
const WORK_CUT: u8 = 3;
/// Components moved per second when this worker is emptied by a signal.
const DRAIN_RATE: f64 = 20.0;

fn cores(text: &str) -> Result<f64, String> {
    let cores = text.parse().ok().filter(|cores: &f64| cores.is_finite() && *cores > 0.0);
    cores.ok_or_else(|| format!("{text:?} is not a number of cores: use one above 0, as 3 or 1.5"))
}

fn component(text: &str) -> Result<String, String> {
    catalogue::find(text).map(|entry| entry.name.to_owned()).map_err(|e| e.to_string())
}

fn main() -> ExitCode {
    process::conclude("gibbon-worker", start())
}

fn start() -> anyhow::Result<ExitCode> {
    match process::parse::<Cli>()?.command {
        Command::Run(options) => {
            options.common.start_logging()?;
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?
                .block_on(run(*options))
        }
        Command::Segment(options) => {
            options.common.start_logging()?;
            segment::run(options.memory)
        }
    }
}

async fn run(options: Run) -> anyhow::Result<ExitCode> {
    let signals = process::stop_signals();
    let monitor = options.common.monitor().await?;
    let offer = offer(&options)?;
    if !options.font.is_file() {
        let font = options.font.display();
        tracing::warn!(%font, "no such font: components that write into pictures will fail; see --font");
    }
    let identity = Identity { id: options.id.clone(), role: Role::Worker };
    let certificates = Certificates::in_folder(&options.joining.certs);
    let endpoint = Endpoint::node(&certificates, &identity, options.listen)?;
    let bound = endpoint.local_address()?;
    let (machine, cores) = (machine(&options), offer.cores);
    let worker = Worker::new(options.id.clone(), endpoint.clone(), offer.clone(), machine);
    let register = FromNode::Register {
        node: NodeAddress { id: options.id, role: Role::Worker, address: bound },
        location: options.location,
        failure_domain: options.failure_domain,
        capacity_legs: 0,
        capacity_kbps: None,
        worker: Some(offer),
    };
    let registration = options.joining.registration(register);
    let (reporting, links) = (worker.clone(), worker.links.clone());
    let vitals = Vitals::new(cores, options.maintenance_in, links, &[Handle::current()]);
    let report = move || reporting.report_with(&vitals);
    let link = link::start(endpoint.clone(), registration, report);
    worker.start(link.to_coordinator, link.from_coordinator);
    tracing::info!(id = %worker.id, listen = %bound, "worker is up");
    let serving = tokio::spawn(server::run(worker.clone(), endpoint.clone()));
    metrics::show(&monitor, &worker, link.connected);
    let by_signal = Draining {
        within_ms: u64::from(options.drain_deadline) * 1000,
        rate: DRAIN_RATE,
        stay: false,
    };
    let end = drain::run(worker, by_signal, signals).await;
    endpoint.close(close::LEAVING, "the worker is leaving").await;
    serving.await.context("the server task failed")?;
    Ok(match end {
        End::Drained => ExitCode::SUCCESS,
        End::Cut => ExitCode::from(WORK_CUT),
    })
}

fn offer(options: &Run) -> anyhow::Result<WorkerOffer> {
    let all = || catalogue::ALL.iter().map(|entry| entry.name.to_owned()).collect();
    let components = if options.components.is_empty() { all() } else { options.components.clone() };
    let cores = match options.cores {
        Some(cores) => cores,
        None => std::thread::available_parallelism()
            .context("cannot count cores; see --cores")?
            .get() as f64,
    };
    let memory_mib = match options.memory.or_else(|| machine::total_memory_mib().map(|all| all / 2))
    {
        Some(memory) => memory,
        None => bail!("cannot tell how much memory the machine has; use --memory"),
    };
    Ok(WorkerOffer { components, cores, memory_mib, uplink_kbps: options.uplink_kbps })
}

fn machine(options: &Run) -> Machine {
    let format = match options.common.log_format {
        process::LogFormat::Human => "human",
        process::LogFormat::Json => "json",
    };
    let memory = options.segment_memory.to_string();
    let log = &options.common.log;
    let arguments = ["segment", "--memory", &memory, "--log", log, "--log-format", format];
    Machine {
        arguments: arguments.map(str::to_owned).into(),
        assets: options.assets.clone(),
        font: options.font.clone(),
    }
}
