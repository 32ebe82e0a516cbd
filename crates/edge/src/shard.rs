//! Shards: an edge serves its viewers on several threads, each with a runtime, an endpoint and a copy of the
//! cache of its own. What is pulled, and what is known of sessions, it has once.

use std::{io, sync::Arc, thread};

use gibbon_net::{
    MAX_SHARDS,
    cache::Beat,
    publish::{Pump, Sent},
};
use gibbon_relay::Readers;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::edge::Edge;

/// One shard.
pub struct Shard {
    /// Those it serves, as relays see them.
    pub readers: Readers,
    pub sent: Arc<Sent>,
}

impl Shard {
    /// On `runtime`, where its beat begins.
    pub fn on(runtime: Handle) -> io::Result<Self> {
        let beat = Beat::begin(&runtime)?;
        Ok(Self { readers: Readers { runtime, beat }, sent: Arc::default() })
    }
}

/// One connection being served.
#[derive(Clone)]
pub struct Visit {
    pub edge: Arc<Edge>,
    /// The index of its shard.
    pub shard: usize,
    pub pump: Pump,
}

impl Visit {
    pub fn new(edge: Arc<Edge>, shard: usize, connection: quinn::Connection) -> Self {
        let pump = Pump::new(connection, edge.shards[shard].sent.clone());
        Self { edge, shard, pump }
    }
}

/// One for each core.
pub fn usual() -> u8 {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    u8::try_from(cores).unwrap_or(MAX_SHARDS).min(MAX_SHARDS)
}

/// A runtime for each of `count` shards, of one thread.
pub fn runtimes(count: u8) -> std::io::Result<Vec<Runtime>> {
    let runtime = |index: u8| {
        let name = format!("shard-{index}");
        Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build()
    };
    (0..count).map(runtime).collect()
}
