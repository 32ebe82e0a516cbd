//! `mdc`: multiple description coding, the last component of what viewers get.

use gibbon_media::Scheme;
use serde::{Deserialize, Serialize};

use crate::{Coding, Format, Invalid, Step, Work, catalogue::Component};

/// What MD coding takes, in cores per pixel and second: two x264 encoders (measured: 640×360 at 24 per second
/// takes about 20 % of a core).
const CORES_PER_PIXEL: f64 = 4e-8;

/// Divides a stream into two descriptions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mdc {
    #[serde(default = "alternating")]
    scheme: Scheme,
    #[serde(default)]
    crf: Option<f32>,
    #[serde(default)]
    kbps: Option<u32>,
}

fn alternating() -> Scheme {
    Scheme::Alternating
}

impl Component for Mdc {
    const NAME: &'static str = "mdc";
    const ABOUT: &'static str = "multiple description coding: divides the stream for viewers";
    const PARAMETERS: &'static [(&'static str, &'static str)] = &[
        ("scheme", "alternating (default), temporal or duplicate"),
        ("crf", "quality of the pictures: x264's CRF, 0 (best) to 51 [23]"),
        (
            "kbps",
            "mean bit rate of the pictures of both descriptions, 32 to 100000, instead of a CRF",
        ),
    ];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        if self.scheme == Scheme::Plain {
            return Err(Invalid::new(
                "plain does not divide: use alternating, temporal or duplicate",
            ));
        }
        // What is said here counts, and else what was said before.
        let own = Coding { scheme: self.scheme, crf: self.crf, kbps: self.kbps };
        let said = own.crf.is_some() || own.kbps.is_some();
        let coding = if said { own } else { Coding { scheme: self.scheme, ..input.coding } };
        coding.check()?;
        let each = input.pictures_per_group();
        if self.scheme == Scheme::Temporal && input.video.is_some() && each < 2.0 {
            let why = format!("temporal needs two pictures in a group, and there are {each} here");
            return Err(Invalid::new(why));
        }
        let output = Format { divided: true, coding, ..input.clone() };
        let cores = input.pixels_per_second() * CORES_PER_PIXEL;
        Ok(Step { output, work: Work::Code, cores })
    }
}
