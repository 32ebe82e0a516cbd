//! gibbon-edge: caches and fans out tracks to viewers. Knows nothing of codecs.

mod admission;
mod coordinator;
mod drain;
mod edge;
mod leg;
mod metrics;
mod passing;
mod reports;
mod server;
mod session_stream;
mod sessions;
mod shard;
mod viewer;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use clap::Parser;
use gibbon_control::{
    Joining,
    drain::End,
    link,
    node::{Draining, FromNode, Location, NodeAddress},
    process::{self, Common},
    vitals::{Vitals, available_cores},
};
use gibbon_media::{NodeId, Role};
use gibbon_net::{Certificates, Endpoint, Identity, MAX_SHARDS, close};
use gibbon_relay::Network;
use tokio::{runtime::Handle, task::JoinSet};

use crate::{admission::Capacity, edge::Edge, shard::Shard};

/// Edge proxy: pulls each track once from upstream and serves it to any number of viewers.
#[derive(Parser)]
#[command(name = "gibbon-edge", version, after_help = EXAMPLES)]
struct Options {
    /// Unique name of this edge, as it stands in its certificate
    #[arg(long, env = "GIBBON_ID")]
    id: NodeId,
    /// UDP address to serve viewers and other edges on; port 0 picks a free one
    #[arg(long, env = "GIBBON_LISTEN", default_value = "0.0.0.0:4483")]
    listen: SocketAddr,
    #[command(flatten)]
    joining: Joining,
    /// Origin to pull from when the coordinator names none, as ID@ADDRESS; may be repeated
    #[arg(long, env = "GIBBON_UPSTREAM", value_name = "ID@ADDRESS", value_parser = upstream)]
    upstream: Vec<NodeAddress>,
    /// The coordinator's public key, which grants are checked with [default: grants.pub in --certs]
    #[arg(long, env = "GIBBON_GRANT_KEY", value_name = "FILE")]
    grant_key: Option<PathBuf>,
    /// Where this edge stands, as LATITUDE,LONGITUDE in degrees
    #[arg(long, env = "GIBBON_LOCATION", value_name = "LAT,LON", allow_hyphen_values = true)]
    location: Option<Location>,
    /// Edges of one failure domain may fail together: a rack, a site
    #[arg(long, env = "GIBBON_FAILURE_DOMAIN", value_name = "NAME")]
    failure_domain: Option<String>,
    /// Legs (one description for one viewer) that this edge carries at once
    #[arg(long, env = "GIBBON_CAPACITY_LEGS", default_value_t = 2000)]
    capacity_legs: u32,
    /// What this edge can send to viewers at once, in kbit/s [default: not limited]
    #[arg(long, env = "GIBBON_CAPACITY_KBPS")]
    capacity_kbps: Option<u64>,
    /// Threads to serve viewers on, each with its own share of them [default: one per core, at most 16]
    #[arg(long, env = "GIBBON_SHARDS", default_value_t = shard::usual(), hide_default_value = true)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_SHARDS)))]
    shards: u8,
    /// After SIGTERM, what is still here after this many seconds is cut
    #[arg(long, env = "GIBBON_DRAIN_DEADLINE", default_value_t = 30, value_name = "SECONDS")]
    drain_deadline: u32,
    /// After SIGTERM, at most this many sessions per second are moved
    #[arg(long, env = "GIBBON_DRAIN_RATE", default_value_t = 20.0, value_name = "SESSIONS")]
    drain_rate: f64,
    /// Announces that this edge goes away so long after its start, as 90s, 10m or 2h: what it serves is moved before
    #[arg(long, env = "GIBBON_MAINTENANCE_IN", value_name = "TIME", value_parser = process::span)]
    maintenance_in: Option<Duration>,
    #[command(flatten)]
    common: Common,
}

const STATE_EVERY: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "Example:
  gibbon-edge --id edge-a --listen 127.0.0.1:4483 --coordinator 127.0.0.1:4481

Stopping:
  On SIGTERM or Ctrl-C the edge drains, as on `gibbonctl drain`: it takes no new
  viewers, and the coordinator moves those it has to other edges. If the
  coordinator is away, or moves nobody for 3 s, viewers are asked to go by
  themselves. The exit code is 0 when nobody is left, 3 when legs were cut: at the
  deadline, or at a second signal. The log names them.

At the limit of its capacity:
  A newcomer still gets one of the two descriptions. Viewers that have both are
  brought down to one for it, those of the lowest priority first. Only when one
  each does not fit are newcomers refused.";

/// Exit code when legs were cut.
const LEGS_CUT: u8 = 3;

fn upstream(text: &str) -> Result<NodeAddress, String> {
    let (id, address) =
        text.split_once('@').ok_or("use ID@ADDRESS, as in origin-1@192.0.2.1:4482")?;
    let id = id.parse().map_err(|e| format!("{e}"))?;
    let address = address.parse().map_err(|e| format!("{address:?}: {e}"))?;
    Ok(NodeAddress { id, role: Role::Origin, address })
}

fn main() -> ExitCode {
    process::conclude("gibbon-edge", start())
}

fn start() -> anyhow::Result<ExitCode> {
    let options: Options = process::parse()?;
    options.common.start_logging()?;
    let runtimes = shard::runtimes(options.shards)?;
    let handles = runtimes.iter().map(|runtime| runtime.handle().clone()).collect();
    // The first shard's runtime is also the process's.
    runtimes[0].block_on(run(options, handles))
}

async fn run(options: Options, runtimes: Vec<Handle>) -> anyhow::Result<ExitCode> {
    let signals = process::stop_signals();
    let monitor = options.common.monitor().await?;
    let identity = Identity { id: options.id.clone(), role: Role::Edge };
    let certificates = Certificates::in_folder(&options.joining.certs);
    let endpoints = Endpoint::sharded(&certificates, &identity, options.listen, &runtimes)?;
    let endpoint = endpoints[0].clone();
    // Frames leave on the shards' threads: more cores are of no use.
    let cores = available_cores().min(runtimes.len() as f64);
    let threads = runtimes.clone();
    let shards = runtimes.into_iter().map(Shard::on).collect::<Result<_, _>>()?;
    let bound = endpoint.local_address()?;
    let grant_key = options.grant_key.unwrap_or_else(|| certificates.file("grants.pub"));
    let by_signal = Draining {
        within_ms: u64::from(options.drain_deadline) * 1000,
        rate: options.drain_rate,
        stay: false,
    };
    let capacity = Capacity { legs: options.capacity_legs, kbps: options.capacity_kbps };
    let network = Network::new(options.id.clone(), options.upstream);
    let id = options.id.clone();
    let edge = Edge::new(id, endpoint.clone(), shards, network, capacity, grant_key);
    let register = FromNode::Register {
        node: NodeAddress { id: options.id, role: Role::Edge, address: bound },
        location: options.location,
        failure_domain: options.failure_domain,
        capacity_legs: options.capacity_legs,
        capacity_kbps: options.capacity_kbps,
        worker: None,
    };
    let registration = options.joining.registration(register);
    let (reporting, links) = (edge.clone(), edge.links.clone());
    let vitals = Vitals::new(cores, options.maintenance_in, links, &threads);
    let link = link::start(endpoint, registration, move || reporting.report_with(&vitals));
    tokio::spawn(edge.clone().obey(link.to_coordinator, link.from_coordinator));
    let shards = edge.shards.len();
    tracing::info!(id = %edge.id, listen = %bound, shards, "edge is up");
    tokio::spawn(log_state(edge.clone()));
    let mut serving = JoinSet::new();
    for (index, endpoint) in endpoints.iter().enumerate() {
        let served = server::run(edge.clone(), index, endpoint.clone());
        serving.spawn_on(served, &edge.shards[index].readers.runtime);
    }
    metrics::show(&monitor, &edge, capacity, link.connected.clone());
    let end = drain::run(edge, by_signal, signals, link.connected).await;
    for endpoint in endpoints {
        serving.spawn(async move { endpoint.close(close::LEAVING, "the edge is leaving").await });
    }
    while let Some(ended) = serving.join_next().await {
        ended.context("a server task failed")?;
    }
    Ok(match end {
        End::Drained => ExitCode::SUCCESS,
        End::Cut => ExitCode::from(LEGS_CUT),
    })
}

/// Logs what is held, so that growth shows.
async fn log_state(edge: Arc<Edge>) {
    let mut every = tokio::time::interval(STATE_EVERY);
    loop {
        every.tick().await;
        let tasks =
            edge.shards.iter().map(|shard| shard.readers.runtime.metrics().num_alive_tasks());
        let tasks = tasks.sum::<usize>();
        let (sessions, relays) = (edge.sessions.count(), edge.relays.report().len());
        let cached_bytes = edge.relays.cached_bytes();
        tracing::info!(tasks, sessions, relays, cached_bytes, "state");
    }
}
