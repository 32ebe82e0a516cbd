//! The components, one file each.

pub mod captions;
pub mod case;
pub mod colour;
pub mod crop;
pub mod deinterlace;
pub mod denoise;
pub mod filter;
pub mod grayscale;
mod lettering;
pub mod level;
pub mod mask;
pub mod mdc;
pub mod mono;
pub mod only;
pub mod overlay;
pub mod rate;
pub mod resample;
pub mod scale;
pub mod shift;
pub mod text;
pub mod transcode;

use crate::{AudioFormat, Format, Invalid, Step, VideoFormat, Work};

/// Cores that a light filter keeps busy per pixel and second (measured with `ffmpeg -benchmark` on x86-64,
/// 640×360, one thread: a bicubic scale, `eq` and `bwdif` take 0.6 to 1.2 × 10⁻⁹).
pub(crate) const CORES_PER_PIXEL: f64 = 1e-9;
/// Cores that a component for sound keeps busy: less than one in a hundred (measured: 0.003).
pub(crate) const CORES_FOR_SOUND: f64 = 0.005;
/// Cores that a component for text keeps busy.
pub(crate) const CORES_FOR_TEXT: f64 = 0.001;

/// The pictures, or why a component that needs some cannot be.
pub(crate) fn pictures(input: &Format) -> Result<VideoFormat, Invalid> {
    input.video.ok_or_else(|| Invalid::new("it needs pictures, and the stream has none here"))
}

/// The sound, or why a component that needs some cannot be.
pub(crate) fn sound(input: &Format) -> Result<AudioFormat, Invalid> {
    input.audio.ok_or_else(|| Invalid::new("it needs sound, and the stream has none here"))
}

/// That there is text, or why a component that needs some cannot be.
pub(crate) fn cues(input: &Format) -> Result<(), Invalid> {
    let has = input.text.is_some();
    has.then_some(()).ok_or_else(|| Invalid::new("it needs text, and the stream has none here"))
}

/// `value`, if it is `least` to `most`.
pub(crate) fn within(name: &str, value: f64, least: f64, most: f64) -> Result<f64, Invalid> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(Invalid::new(format!("{name}={value} is out of bounds: use {least} to {most}")))
}

/// Nothing is to be done: media pass as they are.
pub(crate) fn untouched(input: &Format) -> Step {
    Step { output: input.clone(), work: Work::Code, cores: 0.0 }
}

/// `graph` makes pictures like `output` of those of `input`, at the cost of `light` light filters.
pub(crate) fn drawn(input: &Format, output: VideoFormat, graph: String, light: f64) -> Step {
    let pixels = input.pixels_per_second().max(output.pixels_per_second());
    let output = Format { video: Some(output), ..input.clone() };
    let work = Work::Video { graph, assets: Vec::new() };
    Step { output, work, cores: pixels * CORES_PER_PIXEL * light }
}

/// `graph` makes sound like `output`.
pub(crate) fn heard(input: &Format, output: AudioFormat, graph: String) -> Step {
    let output = Format { audio: Some(output), ..input.clone() };
    Step { output, work: Work::Audio { graph }, cores: CORES_FOR_SOUND }
}

/// Cues are rewritten.
pub(crate) fn rewritten(input: &Format, work: impl crate::TextWork + 'static) -> Step {
    Step { output: input.clone(), work: Work::Text(Box::new(work)), cores: CORES_FOR_TEXT }
}
