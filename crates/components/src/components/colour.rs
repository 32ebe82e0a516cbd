//! `colour`: brightness, contrast, saturation, gamma.

use serde::{Deserialize, Serialize};

use super::{drawn, pictures, within};
use crate::{Format, Invalid, Step, catalogue::Component};

/// Corrects the colours of pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Colour {
    #[serde(default)]
    brightness: f64,
    #[serde(default = "as_it_is")]
    contrast: f64,
    #[serde(default = "as_it_is")]
    saturation: f64,
    #[serde(default = "as_it_is")]
    gamma: f64,
}

fn as_it_is() -> f64 {
    1.0
}

impl Component for Colour {
    const NAME: &'static str = "colour";
    const ABOUT: &'static str = "brightness, contrast, saturation and gamma";
    const PARAMETERS: &'static [(&'static str, &'static str)] = &[
        ("brightness", "added: -1 to 1 [0]"),
        ("contrast", "0 (none) to 3 [1: as it is]"),
        ("saturation", "0 (black and white) to 3 [1: as it is]"),
        ("gamma", "0.1 (dark) to 10 (bright) [1: as it is]"),
    ];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        let pictures = pictures(input)?;
        let brightness = within("brightness", self.brightness, -1.0, 1.0)?;
        let contrast = within("contrast", self.contrast, 0.0, 3.0)?;
        let saturation = within("saturation", self.saturation, 0.0, 3.0)?;
        let gamma = within("gamma", self.gamma, 0.1, 10.0)?;
        let graph = format!(
            "eq=brightness={brightness}:contrast={contrast}:saturation={saturation}:gamma={gamma}"
        );
        Ok(drawn(input, pictures, graph, 1.0))
    }
}
