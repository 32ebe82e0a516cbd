//! Text cues.

use serde::{Deserialize, Serialize};

use crate::MediaTime;

/// One caption. Repeated in each group it overlaps and told apart by its id, so that it is shown once
/// whatever group a viewer joins at. The payload of a text frame is a cue as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cue {
    /// Unique within the stream (each loop of a file has its own).
    pub id: u64,
    /// When it appears.
    pub start: MediaTime,
    /// When it disappears.
    pub end: MediaTime,
    /// WebVTT cue text.
    pub text: String,
}
