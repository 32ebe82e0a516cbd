//! What tests of components begin with.

use std::time::Duration;

use gibbon_media::{Cue, FrameRate, MediaTime};

use crate::{AudioFormat, Coding, Format, VideoFormat};

/// A stream of pictures, sound and text.
pub(crate) fn everything() -> Format {
    let rate = FrameRate::new(24, 1).unwrap();
    Format {
        video: Some(VideoFormat { width: 640, height: 360, rate }),
        audio: Some(AudioFormat { channels: 2 }),
        text: Some("en".to_owned()),
        divided: false,
        coding: Coding::default(),
        group: Duration::from_secs(1),
    }
}

/// A caption.
pub(crate) fn cue(text: &str) -> Cue {
    Cue { id: 7, start: MediaTime(1_000_000), end: MediaTime(2_000_000), text: text.to_owned() }
}
