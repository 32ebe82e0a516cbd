//! What a component has done to the media.

use std::fmt;

use gibbon_media::{Cue, Scheme};
use serde::{Deserialize, Serialize};

use crate::Format;

/// A component with its parameters, checked against what it is given.
#[derive(Debug)]
pub struct Step {
    /// What it makes of it.
    pub output: Format,
    /// What is to be done.
    pub work: Work,
    /// Processor cores that it keeps busy, roughly: for placement, until it is measured.
    pub cores: f64,
}

/// What a worker is to do. Media that are not named pass as they are.
pub enum Work {
    /// Pictures pass through this graph of libavfilter. Their number changes only where the rate does; a filter
    /// may hold some back until the next ones come.
    Video {
        /// In FFmpeg's syntax, with one input (`[in]` where it has a name) and one output, which has none.
        /// [`graph::fill`](crate::graph::fill) puts the worker's paths in.
        graph: String,
        /// Files of the worker's asset folder that stand in it, by name.
        assets: Vec<String>,
    },
    /// Sound passes through this graph of libavfilter, 48 000 samples per second in and out.
    Audio {
        /// In FFmpeg's syntax, one input and one output.
        graph: String,
    },
    /// Cues are rewritten.
    Text(Box<dyn TextWork>),
    /// The cues shown at a time are drawn into the pictures, by the graph that `draw` gives for their text, a
    /// cue a line or more, the first on top (empty: none is shown); text no longer leaves.
    BurnIn {
        /// From the text to show to a graph as in `Video`, placeholders included. Changes nothing else.
        draw: fn(&str, &Format, &serde_json::Value) -> String,
        /// The component's parameters, passed on to `draw`.
        parameters: serde_json::Value,
    },
    /// Nothing is done to the media: `output.coding` says how they are coded where they leave.
    Code,
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Work::Video { graph, .. } => write!(f, "Video({graph})"),
            Work::Audio { graph } => write!(f, "Audio({graph})"),
            Work::Text(_) => f.write_str("Text"),
            Work::BurnIn { .. } => f.write_str("BurnIn"),
            Work::Code => f.write_str("Code"),
        }
    }
}

/// Rewrites cues.
pub trait TextWork: Send {
    /// What becomes of a cue, its times included. Ids stay; the same cue, met again in a later group, becomes
    /// the same.
    fn rewrite(&self, cue: Cue) -> Cue;

    /// How much later `rewrite` has cues shown than they were, in µs: groups are made up anew if it is not 0.
    fn shift_us(&self) -> i64 {
        0
    }
}

/// How pictures are coded where they leave a worker.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Coding {
    /// How a divided stream is divided.
    pub scheme: Scheme,
    /// Quality: x264's CRF. None: that of [`Coding::BETWEEN`] between workers, 23 to viewers.
    pub crf: Option<f32>,
    /// Mean bit rate of the pictures in kbit/s, instead of a CRF.
    pub kbps: Option<u32>,
}

impl Default for Coding {
    fn default() -> Self {
        Self { scheme: Scheme::Alternating, crf: None, kbps: None }
    }
}

impl Coding {
    /// CRF of what passes between workers: so good that what is coded from it again loses nothing that is seen.
    pub const BETWEEN: f32 = 14.0;
    /// CRF of what viewers get.
    pub const TO_VIEWERS: f32 = 23.0;
}

/// Why a component cannot do what it is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    /// For these reasons.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl Coding {
    /// Whether it is within bounds.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        if self.crf.is_some() && self.kbps.is_some() {
            return Err(Invalid::new("give a CRF or a bit rate, not both"));
        }
        if self.crf.is_some_and(|crf| !(0.0..=51.0).contains(&crf)) {
            return Err(Invalid::new("a CRF is 0 (best) to 51"));
        }
        if self.kbps.is_some_and(|kbps| !(32..=100_000).contains(&kbps)) {
            return Err(Invalid::new("a bit rate is 32 to 100000 kbit/s"));
        }
        Ok(())
    }
}
