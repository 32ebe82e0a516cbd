//! gibbon-origin: takes media in, codes it into two descriptions, publishes them.

mod measure;
mod metrics;
mod server;
mod source;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand, ValueEnum};
use gibbon_codec::{Bitrate, CoderConfig, Preset, Secondary};
use gibbon_control::{
    Joining, link,
    node::{FromNode, Location, NodeAddress},
    process::{self, Common},
    vitals::{Vitals, available_cores},
};
use gibbon_media::{FrameRate, NodeId, Role, Scheme};
use gibbon_net::{Certificates, Endpoint, Identity, close};
use tokio::runtime::Handle;

use crate::{
    server::Origin,
    source::{Coding, SourceSpec},
};

/// Content provider: codes media into two complementary descriptions and publishes them.
#[derive(Parser)]
#[command(name = "gibbon-origin", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Publish streams to the network's edges
    Serve(Box<Serve>),
    Measure(Box<measure::Measure>),
}

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
struct Serve {
    /// Unique name of this origin, as it stands in its certificate
    #[arg(long, env = "GIBBON_ID")]
    id: NodeId,
    /// UDP address to serve edges on; port 0 picks a free one
    #[arg(long, env = "GIBBON_LISTEN", default_value = "0.0.0.0:4482")]
    listen: SocketAddr,
    #[command(flatten)]
    joining: Joining,
    /// Stream to publish, as NAME=MEDIA[,CAPTIONS.vtt]; MEDIA is any file (looped) or URL that FFmpeg opens; may be repeated
    #[arg(long, env = "GIBBON_STREAM", value_name = "NAME=MEDIA", required = true)]
    stream: Vec<SourceSpec>,
    /// How streams are coded into two descriptions: alternating, temporal or duplicate; or not: plain, for workers to split
    #[arg(long, env = "GIBBON_SCHEME", default_value = "alternating")]
    scheme: Scheme,
    /// Length of a group, in ms: the unit of joining, hand-off and caching
    #[arg(long, env = "GIBBON_GROUP_MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..=10_000))]
    group_ms: u64,
    /// Constant frame rate, as 25 or 30000/1001 [default: the media's own]
    #[arg(long, env = "GIBBON_RATE")]
    rate: Option<FrameRate>,
    /// Width and height in pixels, as 640x360 [default: the media's own]
    #[arg(long, env = "GIBBON_SIZE", value_name = "WxH", value_parser = size)]
    size: Option<(u32, u32)>,
    /// Quality of the primary rendition: x264's CRF, 0 (best) to 51
    #[arg(long, env = "GIBBON_CRF", default_value_t = 23.0)]
    crf: f32,
    /// Mean video bit rate of both descriptions together, in kbit/s, instead of a CRF
    #[arg(long, env = "GIBBON_BITRATE", value_name = "KBIT/S")]
    bitrate: Option<u64>,
    /// x264 preset of the primary rendition
    #[arg(long, env = "GIBBON_PRESET", default_value = "veryfast")]
    preset: Preset,
    /// Secondary rendition of `alternating`
    #[arg(long, env = "GIBBON_SECONDARY", value_enum, default_value = "half")]
    secondary: SecondaryKind,
    /// Folder for what must survive a restart: the streams' times of creation
    #[arg(long, env = "GIBBON_STATE", default_value = "state", value_name = "DIR")]
    state: PathBuf,
    /// Write the hash of each full-quality frame, by media time, as decoded here (one stream only)
    #[arg(long, value_name = "FILE")]
    framehash: Option<PathBuf>,
    /// Where this origin stands, as LATITUDE,LONGITUDE in degrees
    #[arg(long, env = "GIBBON_LOCATION", value_name = "LAT,LON", allow_hyphen_values = true)]
    location: Option<Location>,
    /// Announces that this origin goes away so long after its start, as 90s, 10m or 2h
    #[arg(long, env = "GIBBON_MAINTENANCE_IN", value_name = "TIME", value_parser = process::span)]
    maintenance_in: Option<Duration>,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "Example:
  gibbon-origin serve --id origin-1 --stream live/bbb=media/bbb.mp4,media/bbb.vtt";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SecondaryKind {
    /// Half the width and height
    Half,
    /// The same size, coarser
    Full,
}

impl From<SecondaryKind> for Secondary {
    fn from(kind: SecondaryKind) -> Secondary {
        match kind {
            SecondaryKind::Half => Secondary::HALF,
            SecondaryKind::Full => Secondary::FULL,
        }
    }
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let sides = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    sides.ok_or_else(|| format!("{text:?} is not a size: use WIDTHxHEIGHT, as 640x360"))
}

fn main() -> ExitCode {
    process::conclude("gibbon-origin", start())
}

fn start() -> anyhow::Result<ExitCode> {
    match process::parse::<Cli>()?.command {
        Command::Serve(options) => {
            options.common.start_logging()?;
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?
                .block_on(serve(*options))?;
        }
        Command::Measure(options) => {
            options.common.start_logging()?;
            measure::run(&options)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(options: Serve) -> anyhow::Result<()> {
    if options.framehash.is_some() && options.stream.len() != 1 {
        bail!("--framehash needs exactly one --stream");
    }
    let monitor = options.common.monitor().await?;
    let identity = Identity { id: options.id.clone(), role: Role::Origin };
    let certificates = Certificates::in_folder(&options.joining.certs);
    let endpoint = Endpoint::node(&certificates, &identity, options.listen)?;
    let bound = endpoint.local_address()?;
    let (failed, mut failures) = tokio::sync::mpsc::channel(1);
    let coding = coding(&options);
    let mut sources = Vec::new();
    for spec in options.stream {
        let (coding, hashes) = (coding.clone(), options.framehash.clone());
        sources.push(source::start(spec, coding, &options.state, hashes, failed.clone())?);
    }
    drop(failed);
    let origin = Origin::new(sources);
    let register = FromNode::Register {
        node: NodeAddress { id: options.id, role: Role::Origin, address: bound },
        location: options.location,
        failure_domain: None,
        capacity_legs: 0,
        capacity_kbps: None,
        worker: None,
    };
    let registration = options.joining.registration(register);
    let (reporting, links) = (origin.clone(), origin.links.clone());
    let runtimes = [Handle::current()];
    let vitals = Vitals::new(available_cores(), options.maintenance_in, links, &runtimes);
    let report = move || reporting.report_with(&vitals);
    let mut link = link::start(endpoint.clone(), registration, report);
    // An origin takes no orders: what the coordinator tells everybody is read and left.
    tokio::spawn(async move { while link.from_coordinator.recv().await.is_some() {} });
    tracing::info!(id = %identity.id, listen = %bound, "origin is up");
    metrics::show(&monitor, &origin, link.connected);
    let serving = tokio::spawn(server::run(origin, endpoint.clone()));
    let ended = tokio::select! {
        () = process::stop_signal() => Ok(()),
        Some(error) = failures.recv() => Err(error),
    };
    tracing::info!("stopping");
    endpoint.close(close::LEAVING, "the origin is leaving").await;
    serving.await.context("the server task failed")?;
    ended
}

fn coding(options: &Serve) -> Coding {
    Coding {
        scheme: options.scheme,
        group: Duration::from_millis(options.group_ms),
        rate: options.rate,
        size: options.size,
        coder: CoderConfig {
            crf: options.crf,
            preset: options.preset,
            secondary: options.secondary.into(),
            bitrate: options.bitrate.map(|kilobits| Bitrate(kilobits * 1000)),
            ..CoderConfig::default()
        },
    }
}
