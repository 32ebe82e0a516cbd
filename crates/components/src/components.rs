//! The components, one file each.

pub mod grayscale;
pub mod mdc;
pub mod scale;
pub mod text;

use crate::{Format, Invalid, VideoFormat};

/// Cores that a simple filter keeps busy per pixel and second (measured on x86-64: a bicubic scale of 640×360
/// at 24 per second takes about 2 % of a core).
pub(crate) const CORES_PER_PIXEL: f64 = 4e-9;

/// The pictures, or why a component that needs some cannot be.
pub(crate) fn pictures(input: &Format) -> Result<VideoFormat, Invalid> {
    input.video.ok_or_else(|| Invalid::new("it needs pictures, and the stream has none here"))
}
