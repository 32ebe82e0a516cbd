//! `mono`: one channel.

use serde::{Deserialize, Serialize};

use super::{heard, sound, untouched};
use crate::{AudioFormat, Format, Invalid, Step, catalogue::Component};

/// Brings both channels together in one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mono {}

impl Component for Mono {
    const NAME: &'static str = "mono";
    const ABOUT: &'static str = "one channel: the mean of both";
    const PARAMETERS: &'static [(&'static str, &'static str)] = &[];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        if sound(input)?.channels == 1 {
            return Ok(untouched(input));
        }
        // The mean can never be louder than full scale, as the sum could.
        let graph = "pan=mono|c0=0.5*c0+0.5*c1".to_owned();
        Ok(heard(input, AudioFormat { channels: 1 }, graph))
    }
}
