//! What nodes tell of themselves, of their connections to other nodes, and origins of what they publish.

use gibbon_media::{NodeId, StreamName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Absurd, FASTEST_KBPS, LONGEST_MS, figure, within};

/// Processor cores of the largest node that is believed.
const MOST_CORES: f64 = 4096.0;

/// How a node is, by its own measure. Rates are over the time since it told this last, a second or so.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeHealth {
    /// Processor cores that it keeps busy, with all its processes.
    #[serde(deserialize_with = "figure")]
    pub cpu: f64,
    /// Processor cores that it may keep busy.
    #[serde(deserialize_with = "figure")]
    pub cores: f64,
    /// Memory that it holds, with all its processes, in KiB.
    pub memory_kib: u64,
    /// What it sends to viewers and nodes: frames and their heads, without what QUIC and UDP add, in kbit/s.
    pub egress_kbps: u64,
    /// How late frames leave for want of processor time, in ms: how much later than asked for what is due is done on
    /// the threads that send, the mean of the worst of them. Timers count whole ms: below 2 there is no queue.
    #[serde(deserialize_with = "figure")]
    pub queue_ms: f64,
    /// It has been announced that the node goes away in so long, in ms; 0 from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_in_ms: Option<u64>,
}

impl NodeHealth {
    /// Names the first figure that cannot be.
    pub fn check(&self) -> Result<(), Absurd> {
        within("cpu", self.cpu, 0.0..=MOST_CORES)?;
        within("cores", self.cores, f64::MIN_POSITIVE..=MOST_CORES)?;
        within("egress_kbps", self.egress_kbps as f64, 0.0..=FASTEST_KBPS)?;
        within("queue_ms", self.queue_ms, 0.0..=LONGEST_MS)
    }
}

/// A node's path to another one: all connections between the two, by QUIC's own figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LinkReport {
    /// The other node.
    #[schema(value_type = String)]
    pub node: NodeId,
    /// Smoothed round-trip time, in µs: the least of the connections.
    pub rtt_us: u64,
    /// Share of packets lost of those sent of late, 0 to 1.
    #[serde(deserialize_with = "figure")]
    pub loss: f64,
    /// What the path is known to carry from here to there: congestion window by round-trip time, in kbit/s.
    pub bandwidth_kbps: u64,
    /// What goes over it from here to there now, in kbit/s.
    pub load_kbps: u64,
}

impl LinkReport {
    /// Names the first figure that cannot be. What a path is known to carry is no measurement: it is not bounded.
    pub fn check(&self) -> Result<(), Absurd> {
        within("rtt_us", self.rtt_us as f64, 0.0..=LONGEST_MS * 1000.0)?;
        within("loss", self.loss, 0.0..=1.0)?;
        within("load_kbps", self.load_kbps as f64, 0.0..=FASTEST_KBPS)
    }
}

/// How an origin is doing with one stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PublishReport {
    /// The stream.
    #[schema(value_type = String)]
    pub stream: StreamName,
    /// How far the newest media published are behind the clock, in ms: of the description that is further behind. In
    /// good health it is up to a frame and the time to code it.
    pub lag_ms: u64,
    /// Share of the time that the stream's thread reads, decodes and codes, 0 to 1: at 1 it can no longer keep up.
    #[serde(deserialize_with = "figure")]
    pub load: f64,
}

impl PublishReport {
    /// Names the first figure that cannot be.
    pub fn check(&self) -> Result<(), Absurd> {
        within("load", self.load, 0.0..=1.0)
    }
}
