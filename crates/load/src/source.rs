//! `gibbon-load source`: an origin of synthetic streams. Frames of given sizes in the pattern of a scheme,
//! published in real time by the code that origins publish with, each with a [`Stamp`].

mod pattern;
mod server;

use std::{net::SocketAddr, process::ExitCode, sync::Arc, thread, time::Duration};

use anyhow::Context;
use gibbon_control::{
    Joining, link, metrics,
    node::{FromNode, NodeAddress},
    process::{self, Common},
};
use gibbon_media::{
    Frame, FrameRate, GroupGrid, GroupHeader, MediaTime, NodeId, ProducerId, Role, Scheme,
    StreamName,
};
use gibbon_net::{
    Certificates, Endpoint, Identity,
    cache::{Push, Tracks},
    close,
    publish::Subscribers,
};

pub use pattern::{Item, Pattern, Shape};
use server::{Published, Server};

use crate::stamp::Stamp;

/// Longest frame, in bytes.
const MAX_FRAME_BYTES: u64 = 1024 * 1024;

/// Options of `gibbon-load source`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Unique name of this origin, as it stands in its certificate
    #[arg(long, env = "GIBBON_ID")]
    id: NodeId,
    /// UDP address to serve edges on; port 0 picks a free one
    #[arg(long, env = "GIBBON_LISTEN", default_value = "0.0.0.0:4482")]
    listen: SocketAddr,
    #[command(flatten)]
    joining: Joining,
    /// Stream to publish; may be repeated
    #[arg(long, value_name = "NAME", required = true)]
    stream: Vec<StreamName>,
    /// How frames are dealt out: alternating, temporal or duplicate
    #[arg(long, default_value = "alternating")]
    scheme: Scheme,
    /// Pictures per second of each stream
    #[arg(long, default_value = "30")]
    fps: FrameRate,
    /// Bytes of a primary picture
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..=MAX_FRAME_BYTES))]
    frame_bytes: u64,
    /// Bytes of a secondary picture, of alternating [default: a quarter of a primary one]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=MAX_FRAME_BYTES))]
    secondary_bytes: Option<u64>,
    /// With sound: 50 packets/s of 160 bytes in each description
    #[arg(long)]
    sound: bool,
    /// Length of a group, in ms
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..=10_000))]
    group_ms: u64,
    /// Send the frames of all streams at the same moment; else those of several streams are sent at moments
    /// spread evenly over the time between two pictures
    #[arg(long)]
    no_stagger: bool,
}

const EXAMPLES: &str = "Examples:
  gibbon-load source --id origin-1 --stream load/a --fps 15 --frame-bytes 5000
  gibbon-load source --id origin-1 --stream load/a --stream load/b --scheme temporal --sound

Frames shorter than a stamp (32 bytes) are padded to it.";

impl Options {
    fn shape(&self) -> Shape {
        Shape {
            scheme: self.scheme,
            fps: self.fps,
            frame_bytes: self.frame_bytes as usize,
            secondary_bytes: self.secondary_bytes.unwrap_or(self.frame_bytes.div_ceil(4)) as usize,
            sound: self.sound,
            group: Duration::from_millis(self.group_ms),
        }
    }

    /// How long after their media times the frames of stream `n` are sent, as if its encoder took that long.
    fn lag(&self, n: usize) -> Duration {
        let part = if self.no_stagger { 0.0 } else { n as f64 / self.stream.len() as f64 };
        self.fps.interval().mul_f64(part)
    }
}

/// Publishes until told to stop.
pub fn run(options: Options, common: &Common) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?
        .block_on(serve(options, common))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(options: Options, common: &Common) -> anyhow::Result<()> {
    let monitor = common.monitor().await?;
    let identity = Identity { id: options.id.clone(), role: Role::Origin };
    let endpoint = Endpoint::node(
        &Certificates::in_folder(&options.joining.certs),
        &identity,
        options.listen,
    )?;
    let bound = endpoint.local_address()?;
    let shape = options.shape();
    let streams = options.stream.iter().enumerate();
    let streams = streams.map(|(n, stream)| publish(shape, stream, options.lag(n)));
    let streams = streams.collect::<anyhow::Result<_>>()?;
    let (downstreams, sent) = (Subscribers::default(), Arc::default());
    let server = Arc::new(Server { streams, downstreams, sent });
    let register = FromNode::Register {
        node: NodeAddress { id: options.id, role: Role::Origin, address: bound },
        location: None,
        failure_domain: None,
        capacity_legs: 0,
        capacity_kbps: None,
        worker: None,
    };
    let registration = options.joining.registration(register);
    let reporting = server.clone();
    let mut link = link::start(endpoint.clone(), registration, move || reporting.report());
    // What the coordinator tells everybody is read and left.
    tokio::spawn(async move { while link.from_coordinator.recv().await.is_some() {} });
    let (shown, connected) = (server.clone(), link.connected);
    monitor.collect(move |page| {
        metrics::collect(page, &shown.report(), *connected.borrow());
        metrics::published(page, shown.streams.iter().map(|s| (&s.catalog.stream, &s.tracks)));
        metrics::sent(page, std::iter::once(&*shown.sent));
    });
    monitor.ready_unless(|| Ok(()));
    tracing::info!(id = %identity.id, listen = %bound, "origin is up");
    let serving = tokio::spawn(server.run(endpoint.clone()));
    process::stop_signal().await;
    endpoint.close(close::LEAVING, "the source is leaving").await;
    serving.await.context("the server task failed")
}

/// Begins to publish a stream `lag` after its media times, on a thread of its own: timers of the runtime are a
/// millisecond coarse.
fn publish(shape: Shape, stream: &StreamName, lag: Duration) -> anyhow::Result<Published> {
    let catalog = shape.catalog(stream.clone(), process::host_id());
    let tracks = [Arc::<Tracks>::default(), Arc::default()];
    let mut publisher = Publisher {
        tracks: tracks.clone(),
        producer: ProducerId(rand::random()),
        began: [[0; 2]; 2],
    };
    let pattern = Pattern::new(shape, catalog.clone(), process::now());
    let grids = catalog.grids;
    thread::Builder::new().name(format!("source {stream}")).spawn(move || {
        for item in pattern {
            let due = item.time + lag;
            wait_until(due);
            publisher.put(&item, due, grids[item.description.index()]);
        }
    })?;
    Ok(Published { catalog, tracks })
}

struct Publisher {
    tracks: [Arc<Tracks>; 2],
    producer: ProducerId,
    /// When the newest group began to be published, by description and medium.
    began: [[u64; 2]; 2],
}

impl Publisher {
    /// Publishes a frame that is due at `due`.
    fn put(&mut self, item: &Item, due: MediaTime, grid: GroupGrid) {
        let now = process::now();
        let began = &mut self.began[item.description.index()][item.medium.index()];
        if item.index == 0 {
            *began = now.as_micros();
        }
        let header = GroupHeader {
            medium: item.medium,
            group: item.group,
            producer: self.producer,
            published_us: *began,
        };
        let tracks = &self.tracks[item.description.index()];
        let group = match tracks.begin(grid, header) {
            Ok(group) => group,
            Err(why) => return tracing::warn!(group = %item.group, %why, "not published"),
        };
        let stamp = Stamp { intended: due, sent: now, counter: item.counter };
        let payload = stamp.payload(item.bytes);
        let frame = Frame { time: item.time, flags: item.flags, payload };
        if tracks.push(&group, item.index, frame) == Push::Refused {
            tracing::warn!(group = %item.group, "frame not published: the group is full");
        }
        if item.last {
            tracks.complete(&group, item.index + 1);
        }
    }
}

/// Sleeps until the wall clock shows `time`. A source that has fallen behind does not wait.
fn wait_until(time: MediaTime) {
    let ahead = time.since(process::now());
    if !ahead.is_zero() {
        thread::sleep(ahead);
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    /// How late the frames of `streams` streams of 25 pictures a second are sent, in ms.
    fn lags(streams: usize, more: &[&str]) -> Vec<u128> {
        let names = (0..streams).map(|n| format!("--stream=load/{n}"));
        let line = ["source", "--id=origin-1", "--fps=25"].map(str::to_owned).into_iter();
        let line = line.chain(names).chain(more.iter().map(|more| (*more).to_owned()));
        let options = Cli::try_parse_from(line).unwrap().options;
        (0..streams).map(|n| options.lag(n).as_millis()).collect()
    }

    #[test]
    fn streams_are_sent_at_moments_spread_evenly_over_the_time_between_two_pictures() {
        assert_eq!(lags(1, &[]), [0]);
        assert_eq!(lags(4, &[]), [0, 10, 20, 30]);
        assert_eq!(lags(4, &["--no-stagger"]), [0; 4]);
    }
}
