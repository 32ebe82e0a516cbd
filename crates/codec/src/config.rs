//! How a stream is coded: typed options with their defaults.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bitrate(pub u64);

/// How x264 trades time for bits; FFmpeg's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Preset {
    Ultrafast,
    Superfast,
    Veryfast,
    Faster,
    Fast,
    Medium,
    Slow,
    Slower,
    Veryslow,
}

impl Preset {
    const ALL: [(Preset, &'static str); 9] = [
        (Preset::Ultrafast, "ultrafast"),
        (Preset::Superfast, "superfast"),
        (Preset::Veryfast, "veryfast"),
        (Preset::Faster, "faster"),
        (Preset::Fast, "fast"),
        (Preset::Medium, "medium"),
        (Preset::Slow, "slow"),
        (Preset::Slower, "slower"),
        (Preset::Veryslow, "veryslow"),
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not one of x264's presets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a preset: use ultrafast, superfast, veryfast, faster, fast, medium, slow, slower or veryslow"
)]
pub struct InvalidPreset(String);

impl FromStr for Preset {
    type Err = InvalidPreset;
    fn from_str(s: &str) -> Result<Self, InvalidPreset> {
        let found = Self::ALL.into_iter().find(|(_, name)| *name == s);
        found.map(|(preset, _)| preset).ok_or_else(|| InvalidPreset(s.chars().take(32).collect()))
    }
}

/// What the secondary rendition of `alternating` is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Secondary {
    /// Half the width and height.
    HalfResolution {
        /// Added to the primary's CRF.
        crf_offset: f32,
    },
    /// The same size, coarser.
    FullResolution {
        /// Added to the primary's CRF.
        crf_offset: f32,
    },
}

impl Secondary {
    /// Half resolution at CRF + 6.
    pub const HALF: Secondary = Secondary::HalfResolution { crf_offset: 6.0 };
    /// Full resolution at CRF + 12.
    pub const FULL: Secondary = Secondary::FullResolution { crf_offset: 12.0 };

    /// Width and height for a primary of that size; even, as H.264 in 4:2:0 needs.
    pub fn size(self, (width, height): (u32, u32)) -> (u32, u32) {
        let half = |side: u32| (side / 2).next_multiple_of(2);
        match self {
            Secondary::HalfResolution { .. } => (half(width), half(height)),
            Secondary::FullResolution { .. } => (width, height),
        }
    }

    /// Added to the primary's CRF.
    pub fn crf_offset(self) -> f32 {
        let (Secondary::HalfResolution { crf_offset } | Secondary::FullResolution { crf_offset }) =
            self;
        crf_offset
    }

    /// Its part of a total bit rate: about what it takes at the default offsets (measured).
    pub(crate) fn part(self) -> f64 {
        match self {
            Secondary::HalfResolution { .. } => 0.13,
            Secondary::FullResolution { .. } => 0.17,
        }
    }
}

impl fmt::Display for Secondary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = match self {
            Secondary::HalfResolution { .. } => "half",
            Secondary::FullResolution { .. } => "full",
        };
        write!(f, "{size} resolution, CRF {:+}", self.crf_offset())
    }
}

/// How a stream is coded.
#[derive(Debug, Clone, PartialEq)]
pub struct CoderConfig {
    /// Constant rate factor of the primary rendition, 0 (lossless) to 51. Default 23.
    pub crf: f32,
    /// Preset of the primary rendition. Default `veryfast`.
    pub preset: Preset,
    /// What the secondary rendition is. Default [`Secondary::HALF`].
    pub secondary: Secondary,
    /// Preset of the secondary rendition, which is cheap to code. Default `medium`.
    pub secondary_preset: Preset,
    /// Mean video bit rate of both descriptions together, shared out between the renditions; the CRFs
    /// then do not count. Default: none, as many bits as the CRF asks for.
    pub bitrate: Option<Bitrate>,
    /// Bit rate of the sound, which is carried whole in both descriptions. Default 96 kbit/s.
    pub audio_bitrate: Bitrate,
    /// What the colours of the pictures mean (`Programme::colour`). Default: not said.
    pub colour: Colour,
}

impl Default for CoderConfig {
    fn default() -> Self {
        Self {
            crf: 23.0,
            preset: Preset::Veryfast,
            secondary: Secondary::HALF,
            secondary_preset: Preset::Medium,
            bitrate: None,
            audio_bitrate: Bitrate(96_000),
            colour: Colour::default(),
        }
    }
}

/// What the colours of a picture mean, passed on from source to viewer (ITU-T H.273).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    pub(crate) space: ffmpeg_next::color::Space,
    pub(crate) range: ffmpeg_next::color::Range,
    pub(crate) primaries: ffmpeg_next::color::Primaries,
    pub(crate) transfer: ffmpeg_next::color::TransferCharacteristic,
}

impl Default for Colour {
    fn default() -> Self {
        use ffmpeg_next::color;
        Self {
            space: color::Space::Unspecified,
            range: color::Range::Unspecified,
            primaries: color::Primaries::Unspecified,
            transfer: color::TransferCharacteristic::Unspecified,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_read_back_what_they_write() {
        for (preset, name) in Preset::ALL {
            assert_eq!(preset.to_string(), name);
            assert_eq!(name.parse(), Ok(preset));
        }
        assert!("placebo".parse::<Preset>().is_err());
    }

    #[test]
    fn half_resolution_is_even_and_never_nothing() {
        assert_eq!(Secondary::HALF.size((640, 360)), (320, 180));
        assert_eq!(Secondary::HALF.size((1366, 2)), (684, 2));
    }
}
