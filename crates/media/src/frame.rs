//! Frames: the smallest thing that is published, cached and delivered.

use std::ops::BitOr;

use bytes::Bytes;

use crate::MediaTime;

/// A coded picture, a packet of sound or a cue. Cloning shares the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When it is to be shown or heard.
    pub time: MediaTime,
    /// What it is.
    pub flags: FrameFlags,
    /// The coded bytes.
    pub payload: Bytes,
}

/// Bits that say what a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FrameFlags(u8);

impl FrameFlags {
    /// Nothing set: a secondary (lower quality) picture that needs its predecessors; sound; a cue.
    pub const NONE: FrameFlags = FrameFlags(0);
    /// Decoding can begin here.
    pub const KEY: FrameFlags = FrameFlags(1);
    /// Full quality; pictures without it are secondary.
    pub const PRIMARY: FrameFlags = FrameFlags(2);

    /// From the wire. Unknown bits are kept, so that a newer publisher's pass through an older edge.
    pub fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// For the wire.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether decoding can begin here.
    pub fn is_key(self) -> bool {
        self.0 & Self::KEY.0 != 0
    }

    /// Whether the picture is of full quality.
    pub fn is_primary(self) -> bool {
        self.0 & Self::PRIMARY.0 != 0
    }
}

impl BitOr for FrameFlags {
    type Output = FrameFlags;
    fn bitor(self, other: FrameFlags) -> FrameFlags {
        FrameFlags(self.0 | other.0)
    }
}
