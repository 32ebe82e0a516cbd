//! What passes from one component to the next within a segment.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use gibbon_codec::{Colour, Picture};
use gibbon_components::Format;
use gibbon_media::{Cue, Frame, FrameNumber, MediaTime};

/// What is known of the group that something came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// When the origin published it, in µs since the epoch.
    pub published_us: u64,
    /// When its first frame came to this segment, since the segment began.
    pub arrived: Duration,
}

/// One item. In order of time for each medium; what is missing shows as a jump, and groups follow from the times.
#[derive(Debug, Clone)]
pub enum Raw {
    /// A picture.
    Picture(RawPicture),
    /// A packet's worth of sound.
    Sound(RawSound),
    /// The text of a stretch of time.
    Text(RawText),
}

impl Raw {
    /// Whether it is of a medium that a stream of this format has.
    pub fn is_of(&self, format: &Format) -> bool {
        match self {
            Raw::Picture(_) => format.video.is_some(),
            Raw::Sound(_) => format.audio.is_some(),
            Raw::Text(_) => format.text.is_some(),
        }
    }
}

/// A picture. Decoded where anybody in the segment needs it so, coded for as long as nobody has touched it.
#[derive(Debug, Clone)]
pub struct RawPicture {
    /// Its number.
    pub n: FrameNumber,
    /// The picture.
    pub picture: Option<Picture>,
    /// What its colours mean.
    pub colour: Colour,
    /// As it came, if it can be passed on so; and whether the picture before was the one before it in the same
    /// chain.
    pub coded: Option<(Frame, bool)>,
    /// Of its group.
    pub stamp: Stamp,
}

/// A packet's worth of sound. Decoded and coded as pictures are.
#[derive(Debug, Clone)]
pub struct RawSound {
    /// When its first sample is heard.
    pub time: MediaTime,
    /// How long it is.
    pub length: Duration,
    /// Interleaved samples at 48 kHz.
    pub samples: Option<Arc<[f32]>>,
    /// The packet as it came.
    pub packet: Option<Bytes>,
    /// Of its group.
    pub stamp: Stamp,
}

/// All text that is shown in a stretch of time.
#[derive(Debug, Clone)]
pub struct RawText {
    /// When the stretch begins.
    pub from: MediaTime,
    /// When it ends.
    pub until: MediaTime,
    /// Whether it goes on where the one before ended.
    pub follows: bool,
    /// What is shown in it, in order of start.
    pub cues: Vec<Cue>,
    /// Of its group.
    pub stamp: Stamp,
}

/// Stamps of the last groups, for what comes out later or in other numbers than it went in.
#[derive(Debug, Default)]
pub struct Stamps(std::collections::VecDeque<(MediaTime, Stamp)>);

impl Stamps {
    /// Groups that a component may be behind.
    const KEPT: usize = 8;

    /// Something of `time` went in.
    pub fn note(&mut self, time: MediaTime, stamp: Stamp) {
        if self.0.back().is_none_or(|(_, last)| *last != stamp) {
            self.0.push_back((time, stamp));
        }
        if self.0.len() > Self::KEPT {
            self.0.pop_front();
        }
    }

    /// The stamp for what comes out with `time`.
    pub fn of(&self, time: MediaTime) -> Stamp {
        let begun = self.0.iter().rev().find(|(start, _)| *start <= time);
        begun.or(self.0.front()).map_or(Stamp::default(), |(_, stamp)| *stamp)
    }
}
