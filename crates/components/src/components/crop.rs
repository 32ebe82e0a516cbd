//! `crop`: a part of the picture.

use serde::{Deserialize, Serialize};

use super::{drawn, pictures, untouched};
use crate::{Format, Invalid, Step, VideoFormat, catalogue::Component};

/// Cuts a rectangle out of pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Crop {
    width: u32,
    height: u32,
    #[serde(default)]
    x: Option<u32>,
    #[serde(default)]
    y: Option<u32>,
}

impl Component for Crop {
    const NAME: &'static str = "crop";
    const ABOUT: &'static str = "a rectangle out of the picture";
    const PARAMETERS: &'static [(&'static str, &'static str)] = &[
        ("width", "in pixels: even, 16 to that of the input"),
        ("height", "in pixels: even, 16 to that of the input"),
        ("x", "pixels to its left: even [as many as to its right]"),
        ("y", "pixels above it: even [as many as below it]"),
    ];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        let from = pictures(input)?;
        let output = VideoFormat { width: self.width, height: self.height, ..from }.check()?;
        let x = place(self.x, self.width, from.width)
            .ok_or_else(|| outside("x", self.x, "width", self.width, from.width))?;
        let y = place(self.y, self.height, from.height)
            .ok_or_else(|| outside("y", self.y, "height", self.height, from.height))?;
        if output == from {
            return Ok(untouched(input));
        }
        let graph = format!("crop=w={}:h={}:x={x}:y={y}", self.width, self.height);
        Ok(drawn(input, output, graph, 0.1))
    }
}

/// Where `side` begins within `whole`: even, since colours have half the resolution. `None`: nowhere.
fn place(start: Option<u32>, side: u32, whole: u32) -> Option<u32> {
    let free = whole.checked_sub(side)?;
    let start = start.unwrap_or(free / 4 * 2);
    (start <= free && start.is_multiple_of(2)).then_some(start)
}

fn outside(at: &str, start: Option<u32>, of: &str, side: u32, whole: u32) -> Invalid {
    let start = start.map_or(String::new(), |start| format!("{at}={start} "));
    let why = format!("does not lie in pictures of {of} {whole} at an even place");
    Invalid::new(format!("{start}{of}={side} {why}"))
}
