//! `transcode`: another bit rate.

use serde::{Deserialize, Serialize};

use super::{pictures, untouched};
use crate::{Coding, Format, Invalid, Step, catalogue::Component};

/// Says how pictures are coded wherever they leave a worker from here on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transcode {
    #[serde(default)]
    crf: Option<f32>,
    #[serde(default)]
    kbps: Option<u32>,
}

impl Component for Transcode {
    const NAME: &'static str = "transcode";
    const ABOUT: &'static str = "another bit rate or quality of the pictures, from here on";
    const PARAMETERS: &'static [(&'static str, &'static str)] = &[
        ("crf", "quality: x264's CRF, 0 (best) to 51"),
        ("kbps", "mean bit rate in kbit/s, 32 to 100000, instead of a CRF"),
    ];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        pictures(input)?;
        if self.crf.is_none() && self.kbps.is_none() {
            return Err(Invalid::new("give crf or kbps"));
        }
        let coding = Coding { crf: self.crf, kbps: self.kbps, ..input.coding };
        coding.check()?;
        let step = untouched(input);
        Ok(Step { output: Format { coding, ..step.output }, ..step })
    }
}
