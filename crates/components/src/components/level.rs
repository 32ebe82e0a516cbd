//! `level`: evenly loud, at once.

use serde::{Deserialize, Serialize};

use super::{heard, sound, within};
use crate::{Format, Invalid, Step, catalogue::Component};

/// Brings quiet and loud passages near one level, with what has been heard so far: nothing is held back.
///
/// A compressor 10 : 1 makes a range of 30 dB one of 3, and a fixed gain lifts all of it to the target. A second
/// one, which acts within a sample, keeps the beginning of a loud passage below full scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Level {
    #[serde(default = "target")]
    target: f64,
    #[serde(default = "gain")]
    gain: f64,
}

fn target() -> f64 {
    -20.0
}

fn gain() -> f64 {
    24.0
}

/// How far above target − gain the compressor begins: it follows the peaks of an envelope, which in speech are
/// that much above its mean (measured).
const PEAKS_ABOVE_MEAN_DB: f64 = 3.0;

impl Component for Level {
    const NAME: &'static str = "level";
    const ABOUT: &'static str = "quiet and loud passages near one level, without look-ahead";
    const PARAMETERS: &'static [(&'static str, &'static str)] = &[
        ("target", "mean level of what comes out, in dB of full scale: -30 to -14 [-20]"),
        ("gain", "how much quiet passages are lifted at most, in dB: 6 to 30 [24]"),
    ];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        let sound = sound(input)?;
        let target = within("target", self.target, -30.0, -14.0)?;
        let gain = within("gain", self.gain, 6.0, 30.0)?;
        let threshold = ratio(target - gain + PEAKS_ABOVE_MEAN_DB);
        let gain = ratio(gain);
        let graph = format!(
            "acompressor=threshold={threshold:.6}:ratio=10:makeup={gain:.6}:attack=20:release=1000:link=maximum,\
             acompressor=threshold=0.8:ratio=20:knee=1:attack=0.01:release=50:detection=peak:link=maximum"
        );
        Ok(heard(input, sound, graph))
    }
}

/// Of amplitudes, `db` decibels apart.
fn ratio(db: f64) -> f64 {
    10f64.powf(db / 20.0)
}
