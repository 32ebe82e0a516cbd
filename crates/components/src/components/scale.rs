//! `scale`: another size.

use serde::{Deserialize, Serialize};

use super::{drawn, pictures, untouched};
use crate::{Format, Invalid, Step, VideoFormat, catalogue::Component};

/// How much longer a side may become: more makes nothing better.
const MOST_ENLARGED: u32 = 4;

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
    const PARAMETERS: &'static [(&'static str, &'static str)] = &[
        ("width", "in pixels: even, 16 to 4096, at most 4 times that of the input"),
        ("height", "in pixels: even, 16 to 4096, at most 4 times that of the input"),
    ];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        let from = pictures(input)?;
        let (width, height) = self.size(from)?;
        let output = VideoFormat { width, height, ..from }.check()?;
        let enlarged = |to: u32, from: u32| to > from.saturating_mul(MOST_ENLARGED);
        if enlarged(width, from.width) || enlarged(height, from.height) {
            let from = format!("from {}x{}", from.width, from.height);
            let why = "makes a side more than 4 times as long";
            return Err(Invalid::new(format!("{width}x{height} {why}, {from}")));
        }
        if output == from {
            return Ok(untouched(input));
        }
        Ok(drawn(input, output, format!("scale={width}:{height}:flags=bicubic"), 1.0))
    }
}

impl Scale {
    fn size(&self, from: VideoFormat) -> Result<(u32, u32), Invalid> {
        // To the nearest even number.
        let along = |side: u32, of: u32, to: u32| {
            let exact = f64::from(side) * f64::from(of) / f64::from(to.max(1));
            ((exact / 2.0).round().max(1.0) as u32).saturating_mul(2)
        };
        match (self.width, self.height) {
            (Some(width), Some(height)) => Ok((width, height)),
            (Some(width), None) => Ok((width, along(width, from.height, from.width))),
            (None, Some(height)) => Ok((along(height, from.width, from.height), height)),
            (None, None) => Err(Invalid::new("give width, height or both")),
        }
    }
}
