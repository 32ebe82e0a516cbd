//! `resample`: a narrower band.

use serde::{Deserialize, Serialize};

use super::{heard, sound};
use crate::{Format, Invalid, Step, catalogue::Component};

/// Limits sound to what a lower sampling rate can hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resample {
    hertz: u32,
}

impl Component for Resample {
    const NAME: &'static str = "resample";
    const ABOUT: &'static str = "sound as at another sampling rate: the band is limited; it is carried at 48 000 Hz as ever";
    const PARAMETERS: &'static [(&'static str, &'static str)] =
        &[("hertz", "samples per second: 8000 to 48000; half of it is the highest tone left")];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        let sound = sound(input)?;
        if !(8000..=48_000).contains(&self.hertz) {
            let why = format!("hertz={} is out of bounds: use 8000 to 48000", self.hertz);
            return Err(Invalid::new(why));
        }
        // There and back again: Opus, and so every socket, has 48 000.
        let graph = format!("aresample={},aresample=48000", self.hertz);
        Ok(heard(input, sound, graph))
    }
}
