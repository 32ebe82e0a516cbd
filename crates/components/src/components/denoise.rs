//! `denoise`: less noise.

use serde::{Deserialize, Serialize};

use super::{drawn, pictures, within};
use crate::{Format, Invalid, Step, catalogue::Component};

/// Smooths pictures in space and time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Denoise {
    #[serde(default = "usual")]
    strength: f64,
}

fn usual() -> f64 {
    4.0
}

impl Component for Denoise {
    const NAME: &'static str = "denoise";
    const ABOUT: &'static str = "less noise, smoothed in space and time";
    const PARAMETERS: &'static [(&'static str, &'static str)] =
        &[("strength", "0.5 (weak) to 20 (strong) [4]")];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        let pictures = pictures(input)?;
        let strength = within("strength", self.strength, 0.5, 20.0)?;
        // The strengths for colours and in time follow from this one.
        Ok(drawn(input, pictures, format!("hqdn3d=luma_spatial={strength}"), 5.0))
    }
}
