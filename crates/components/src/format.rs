//! What passes from one component to the next, and how large it may be.

use std::{ops::RangeInclusive, time::Duration};

use gibbon_media::{Catalog, Description, FrameRate, Scheme};

use crate::{Coding, Invalid};

/// What a stream is made of at one point of a chain, and how it is to be coded where it leaves a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Format {
    /// Pictures, if any.
    pub video: Option<VideoFormat>,
    /// Sound, if any.
    pub audio: Option<AudioFormat>,
    /// Language of the text, if any.
    pub text: Option<String>,
    /// Whether it is divided into two descriptions; nothing may follow in a chain.
    pub divided: bool,
    /// How pictures are coded from here on, where a component has asked for it.
    pub coding: Coding,
    /// Length of a group. No component changes it.
    pub group: Duration,
}

/// Pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoFormat {
    /// In pixels, even.
    pub width: u32,
    /// In pixels, even.
    pub height: u32,
    /// Constant.
    pub rate: FrameRate,
}

impl VideoFormat {
    /// Sides, in pixels: the secondary rendition of `mdc` is half as large and must still be a picture.
    pub const SIDES: RangeInclusive<u32> = 16..=4096;
    /// Pixels of one picture: what H.264 allows up to level 5.2 (ITU-T H.264, table A-1: 36 864 macroblocks).
    pub const MAX_PIXELS: u64 = 36_864 * 256;
    /// Pixels per second: likewise (2 073 600 macroblocks).
    pub const MAX_PIXELS_PER_SECOND: f64 = 2_073_600.0 * 256.0;
    /// Pictures per second.
    pub const RATES: RangeInclusive<f64> = 1.0..=120.0;

    /// Pixels of one picture.
    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Pixels per second.
    pub fn pixels_per_second(self) -> f64 {
        self.pixels() as f64 * self.rate.as_f64()
    }

    /// Itself, if a component may make such pictures.
    pub(crate) fn check(self) -> Result<Self, Invalid> {
        let Self { width, height, rate } = self;
        let fits = |side: u32| Self::SIDES.contains(&side) && side.is_multiple_of(2);
        if !fits(width) || !fits(height) {
            let why = "is not a size: sides are even, 16 to 4096 pixels";
            return Err(Invalid::new(format!("{width}x{height} {why}")));
        }
        if self.pixels() > Self::MAX_PIXELS {
            let max = Self::MAX_PIXELS;
            let why = format!("{width}x{height} is too large: at most {max} pixels, as 4096x2304");
            return Err(Invalid::new(why));
        }
        if !Self::RATES.contains(&rate.as_f64()) {
            let why = format!("{rate} is not a frame rate: use 1 to 120, as 25 or 30000/1001");
            return Err(Invalid::new(why));
        }
        if self.pixels_per_second() > Self::MAX_PIXELS_PER_SECOND {
            let why = "is more than an H.264 decoder must bear: use a smaller size or rate";
            return Err(Invalid::new(format!("{width}x{height} at {rate} per second {why}")));
        }
        Ok(self)
    }
}

/// Sound, at 48 000 samples per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioFormat {
    /// 1 or 2.
    pub channels: u8,
}

impl Format {
    /// What a stream is made of once it has been received: whether it came divided does not matter then.
    pub fn of(catalog: &Catalog) -> Self {
        let video = catalog.video.as_ref();
        let video = video.map(|v| VideoFormat { width: v.width, height: v.height, rate: v.rate });
        let audio = catalog.audio.as_ref().map(|a| AudioFormat { channels: a.channels });
        let text = catalog.text.as_ref().map(|text| text.language.clone());
        let group = catalog.grid(Description::Zero).duration();
        Self { video, audio, text, divided: false, coding: Coding::default(), group }
    }

    /// The scheme of a stream of this format.
    pub fn scheme(&self) -> Scheme {
        if self.divided { self.coding.scheme } else { Scheme::Plain }
    }

    /// Pixels per second; 0 without pictures.
    pub fn pixels_per_second(&self) -> f64 {
        self.video.map_or(0.0, VideoFormat::pixels_per_second)
    }

    /// Pictures in a group, on average; 0 without pictures.
    pub fn pictures_per_group(&self) -> f64 {
        self.video.map_or(0.0, |v| v.rate.as_f64() * self.group.as_secs_f64())
    }
}
