//! `grayscale`: black and white.

use serde::{Deserialize, Serialize};

use super::{CORES_PER_PIXEL, pictures};
use crate::{Format, Invalid, Step, Work, catalogue::Component};

/// Takes the colour out of pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grayscale {}

impl Component for Grayscale {
    const NAME: &'static str = "grayscale";
    const ABOUT: &'static str = "black and white";
    const PARAMETERS: &'static [(&'static str, &'static str)] = &[];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        pictures(input)?;
        let work = Work::Video { graph: "hue=s=0".to_owned(), assets: Vec::new() };
        let cores = input.pixels_per_second() * CORES_PER_PIXEL;
        Ok(Step { output: input.clone(), work, cores })
    }
}
