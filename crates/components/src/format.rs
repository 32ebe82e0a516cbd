//! What passes from one component to the next.

use gibbon_media::{Catalog, FrameRate, Scheme};

use crate::Coding;

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
        Self { video, audio, text, divided: false, coding: Coding::default() }
    }

    /// The scheme of a stream of this format.
    pub fn scheme(&self) -> Scheme {
        if self.divided { self.coding.scheme } else { Scheme::Plain }
    }

    /// Pixels per second; 0 without pictures.
    pub fn pixels_per_second(&self) -> f64 {
        self.video.map_or(0.0, |v| f64::from(v.width) * f64::from(v.height) * v.rate.as_f64())
    }
}
