//! What the viewer saw: the report of one session, in the words of `docs/report.md`.

use gibbon_handoff::Cause;
use gibbon_mdc::{AudioStats, ByteStats, DelayStats, FrameStats, FreezeStats, TextStats};
use gibbon_media::{
    Description, HandoffId, NodeId, Placement, Scheme, ServiceId, SessionId, StreamName,
};
use serde::{Deserialize, Serialize};

/// The version of this shape.
pub const SCHEMA: u32 = 1;
/// Stretches of side or frozen frames that a report names.
pub const MAX_SPANS: usize = 4096;

/// Positions (`*_ms`) count from session start, durations are in ms.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What was watched.
    pub stream: StreamName,
    /// The service that makes it, where the player asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    /// By whom.
    pub session: SessionId,
    /// How it was coded.
    pub scheme: Scheme,
    /// How its legs were meant to be placed.
    pub placement: Placement,
    /// When the session started, in µs since the epoch by this machine's clock.
    pub session_start_us: u64,
    /// From session start to its end.
    pub duration_ms: u64,
    /// From process start to the first displayed frame; none if nothing was displayed.
    pub startup_ms: Option<u64>,
    /// The playout delay.
    pub playout_delay_ms: DelayStats,
    /// Deadlines of video frames and what became of them.
    pub frames: FrameStats,
    /// Runs of frozen frames.
    pub freezes: FreezeStats,
    /// Sound.
    pub audio: AudioStats,
    /// Cues.
    pub text: TextStats,
    /// From the origin's publish stamp to display; none if origin and viewer are on different hosts.
    pub latency_ms: Option<Latency>,
    /// Payload received.
    pub bytes: ByteStats,
    /// How well the player itself kept up.
    pub display: Display,
    /// Which edge delivered which description when.
    pub legs: Vec<LegRecord>,
    /// Hand-offs.
    pub handoffs: Vec<HandoffRecord>,
    /// Legs lost and found again without an order.
    pub recoveries: Vec<Recovery>,
    /// When side or frozen frames were shown; the newest [`MAX_SPANS`].
    pub verdicts: Vec<VerdictSpan>,
}

/// Quantiles, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// The median.
    pub p50: u64,
    /// The 99th percentile.
    pub p99: u64,
}

/// Verdicts are by arrival. A player that is starved of CPU shows pictures after their deadlines all the
/// same; this is how many and how late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Display {
    /// Frames displayed more than 100 ms after their deadline.
    pub late: u64,
    /// The longest delay, in ms.
    pub worst_ms: u64,
    /// Frames whose picture could not be decoded in the end.
    pub failed: u64,
}

/// The delivery of one description by one edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegRecord {
    /// The description.
    pub description: Description,
    /// The edge.
    pub edge: NodeId,
    /// From its first frame in time.
    pub from_ms: u64,
    /// Until it was told to end.
    pub to_ms: u64,
}

/// One hand-off, as the client saw it and, where `selected_ms` and its like are given, as the coordinator
/// told afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoffRecord {
    /// Which.
    pub id: HandoffId,
    /// Why.
    pub cause: Option<Cause>,
    /// The first edge.
    pub from: NodeId,
    /// The second edge.
    pub to: NodeId,
    /// `completed`, `rolled_back` or `failed`; `running` if the session ended first.
    pub outcome: String,
    /// Why it was rolled back or failed.
    pub reason: Option<String>,
    /// When the second edge was selected.
    pub selected_ms: Option<u64>,
    /// When it was over.
    pub completed_ms: Option<u64>,
    /// Who sent the prefetch information: `coordinator` or the first edge's name.
    pub prefetch_info_from: Option<String>,
    /// One for each description moved, in order.
    pub steps: Vec<HandoffStep>,
}

/// The crossing of one description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoffStep {
    /// Which.
    pub description: Description,
    /// When prefetch information was sent.
    pub prefetch_sent_ms: Option<u64>,
    /// Whom the second edge fetched it from: the first edge's name or `origin`.
    pub fetched_from: Option<String>,
    /// When the second edge was ready.
    pub prefetch_ready_ms: Option<u64>,
    /// When the second edge delivered in time.
    pub attached_ms: Option<u64>,
    /// When the first edge delivered its last frame.
    pub detached_ms: Option<u64>,
    /// Frames that came from both, all media together.
    pub duplicate_frames: u64,
}

/// A leg lost without warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Which description.
    pub description: Description,
    /// The edge that was lost.
    pub from: NodeId,
    /// The edge that took over; none if there was none.
    pub to: Option<NodeId>,
    /// `starved`, `closed`, `rejected`, `late` or `lossy`; `leaving` if the edge asked to be left.
    pub cause: String,
    /// When the last frame came.
    pub last_frame_ms: Option<u64>,
    /// When the loss was noticed.
    pub detected_ms: u64,
    /// When the new leg was in time.
    pub attached_ms: Option<u64>,
    /// When its first frame came.
    pub first_frame_ms: Option<u64>,
    /// How long side frames were shown from `last_frame_ms` to a playout delay after `attached_ms`.
    pub side_ms: u64,
    /// How long frozen frames were shown in that time.
    pub frozen_ms: u64,
}

/// A stretch of the timeline's third lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictSpan {
    /// What was shown.
    pub verdict: gibbon_mdc::Verdict,
    /// From when.
    pub from_ms: u64,
    /// Until when.
    pub to_ms: u64,
}
