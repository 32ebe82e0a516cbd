//! `scale`: another size.

use serde::{Deserialize, Serialize};

use super::{CORES_PER_PIXEL, pictures};
use crate::{Format, Invalid, Step, VideoFormat, Work, catalogue::Component};

/// Sides of a picture, in pixels.
const SIDES: std::ops::RangeInclusive<u32> = 16..=4096;

/// Brings pictures to another size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    #[serde(default)]
    width: Option<u32>,
    #[serde(default)]
    height: Option<u32>,
}

impl Component for Scale {
    const NAME: &'static str = "scale";
    const ABOUT: &'static str = "another size; with one side given the aspect ratio is kept";
    const PARAMETERS: &'static [(&'static str, &'static str)] =
        &[("width", "in pixels, even, 16 to 4096"), ("height", "in pixels, even, 16 to 4096")];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        let pictures = pictures(input)?;
        let (width, height) = self.size(pictures)?;
        let output = VideoFormat { width, height, ..pictures };
        let output = Format { video: Some(output), ..input.clone() };
        let cores = (input.pixels_per_second() + output.pixels_per_second()) * CORES_PER_PIXEL;
        let graph = format!("scale={width}:{height}:flags=bicubic");
        Ok(Step { output, work: Work::Video { graph, assets: Vec::new() }, cores })
    }
}

impl Scale {
    fn size(&self, from: VideoFormat) -> Result<(u32, u32), Invalid> {
        // To the nearest even number.
        let along = |side: u32, of: u32, to: u32| {
            let exact = f64::from(side) * f64::from(of) / f64::from(to);
            (exact / 2.0).round() as u32 * 2
        };
        let size = match (self.width, self.height) {
            (Some(width), Some(height)) => (width, height),
            (Some(width), None) => (width, along(width, from.height, from.width)),
            (None, Some(height)) => (along(height, from.width, from.height), height),
            (None, None) => return Err(Invalid::new("give width, height or both")),
        };
        let fits = |side: u32| SIDES.contains(&side) && side.is_multiple_of(2);
        if fits(size.0) && fits(size.1) {
            return Ok(size);
        }
        let why = format!("{}x{} is not a size: sides are even, 16 to 4096 pixels", size.0, size.1);
        Err(Invalid::new(why))
    }
}
