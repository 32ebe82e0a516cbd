//! `grayscale`: black and white.

use serde::{Deserialize, Serialize};

use super::{drawn, pictures};
use crate::{Format, Invalid, Step, catalogue::Component};

/// Takes the colour out of pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grayscale {}

impl Component for Grayscale {
    const NAME: &'static str = "grayscale";
    const ABOUT: &'static str = "black and white";
    const PARAMETERS: &'static [(&'static str, &'static str)] = &[];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        Ok(drawn(input, pictures(input)?, "hue=s=0".to_owned(), 0.5))
    }
}
