//! The catalog: what a stream is made of.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Description, FrameRate, GroupGrid, InvalidName, MediaTime, StreamName};

/// How a stream is coded into two descriptions; an encoder-side choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Whole groups dealt out alternately, primary and secondary rendition. The default.
    Alternating,
    /// Frame n in description n mod 2.
    Temporal,
    /// The same stream twice: a yardstick.
    Duplicate,
    /// Not divided: all of it is description 0. What workers pass on between each other, not for viewers.
    Plain,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Scheme; 4] =
        [Scheme::Alternating, Scheme::Temporal, Scheme::Duplicate, Scheme::Plain];

    /// The descriptions that a stream coded so has.
    pub fn descriptions(self) -> &'static [Description] {
        match self {
            Scheme::Plain => &[Description::Zero],
            Scheme::Alternating | Scheme::Temporal | Scheme::Duplicate => &Description::BOTH,
        }
    }

    /// The word for it in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Alternating => "alternating",
            Scheme::Temporal => "temporal",
            Scheme::Duplicate => "duplicate",
            Scheme::Plain => "plain",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scheme {
    type Err = InvalidName;
    fn from_str(s: &str) -> Result<Self, InvalidName> {
        Scheme::ALL.into_iter().find(|scheme| scheme.as_str() == s).ok_or_else(|| {
            InvalidName::new("scheme", s, "use alternating, temporal, duplicate or plain")
        })
    }
}

/// A video codec that descriptions can be coded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// H.264 in Annex B, headers repeated at each keyframe.
    H264,
}

/// What a stream is made of; the publisher's answer to every accepted subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// The stream.
    pub stream: StreamName,
    /// How it is coded into descriptions.
    pub scheme: Scheme,
    /// When the stream was created: the media time of a file's time 0. Survives restarts of the origin.
    pub created: MediaTime,
    /// Group duration and offset, by description.
    pub grids: [GroupGrid; 2],
    /// Pictures, if any.
    pub video: Option<VideoTrack>,
    /// Sound, if any.
    pub audio: Option<AudioTrack>,
    /// Text, if any.
    pub text: Option<TextTrack>,
    /// Names the host whose clock stamps the groups (a boot id), so that a viewer on the same host can
    /// tell latency.
    pub host: String,
}

impl Catalog {
    /// How `description` divides media time into groups.
    pub fn grid(&self, description: Description) -> GroupGrid {
        self.grids[description.index()]
    }

    /// The grids of `scheme` with groups of `duration`: offset 0, but half a duration for description 1
    /// of `temporal`, so that its keyframes are staggered.
    pub fn grids_of(scheme: Scheme, duration: Duration) -> [GroupGrid; 2] {
        let second = if scheme == Scheme::Temporal { duration / 2 } else { Duration::ZERO };
        [GroupGrid::new(duration, Duration::ZERO), GroupGrid::new(duration, second)]
    }
}

/// The pictures of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoTrack {
    /// The codec.
    pub codec: Codec,
    /// Constant; frame number = round(media time × rate).
    pub rate: FrameRate,
    /// Width of the primary rendition, in pixels.
    pub width: u32,
    /// Height of the primary rendition, in pixels.
    pub height: u32,
}

/// The sound of a stream: Opus packets of a constant duration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioTrack {
    /// Samples per second and channel: 48 000.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Length of a packet, in µs.
    pub packet_us: u32,
}

/// The text of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextTrack {
    /// BCP 47 language tag.
    pub language: String,
}
