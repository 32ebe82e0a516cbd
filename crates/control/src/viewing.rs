//! What a viewer has been shown, as its client tells it while it plays.

use gibbon_mdc::FrameStats;
use gibbon_media::HandoffId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Hand-offs that a client tells the cost of: those that it was told of last.
pub const MAX_GAPS: usize = 4;

/// What a viewer has been shown since its session began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewing {
    /// Deadlines of video frames and what became of them.
    pub frames: FrameStats,
    /// Runs of frozen frames.
    pub freezes: u64,
    /// Sound that was not there, in ms.
    pub audio_gap_ms: u64,
    /// Legs that were lost and found again without an order.
    pub recoveries: u64,
    /// What the latest hand-offs cost, the newest last; at most [`MAX_GAPS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handoffs: Vec<HandoffGap>,
}

/// What a hand-off has cost the viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoffGap {
    /// Which.
    pub handoff: HandoffId,
    /// What it has cost so far.
    #[serde(flatten)]
    pub gap: ViewerGap,
    /// Whether the client has done its part, and all that could suffer from it has been shown.
    pub settled: bool,
}

/// What a viewer was not shown in full from the selection of a hand-off until a playout delay after its end at the
/// client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ViewerGap {
    /// How long side frames were shown, but for those shown while one description was chosen, in ms.
    pub side_ms: u64,
    /// How long frozen frames were shown, in ms.
    pub frozen_ms: u64,
    /// The longest run of frozen frames, in ms.
    pub longest_ms: u64,
}
