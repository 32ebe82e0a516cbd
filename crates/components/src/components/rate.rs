//! `rate`: another frame rate.

use gibbon_media::FrameRate;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

use super::{drawn, pictures, untouched};
use crate::{Format, Invalid, Step, VideoFormat, catalogue::Component};

/// Repeats or leaves out pictures, the nearest in time staying.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    #[serde(serialize_with = "write", deserialize_with = "read")]
    fps: FrameRate,
}

impl Component for Rate {
    const NAME: &'static str = "rate";
    const ABOUT: &'static str = "another frame rate: pictures are repeated or left out";
    const PARAMETERS: &'static [(&'static str, &'static str)] =
        &[("fps", "pictures per second: 1 to 120, as 25 or 30000/1001")];

    fn plan(&self, input: &Format) -> Result<Step, Invalid> {
        let from = pictures(input)?;
        let output = VideoFormat { rate: self.fps, ..from }.check()?;
        let group = input.group.as_secs_f64();
        if self.fps.as_f64() * group < 1.0 {
            let why = format!("{} per second leave groups of {group} s without pictures", self.fps);
            return Err(Invalid::new(why));
        }
        if same(self.fps, from.rate) {
            return Ok(untouched(input));
        }
        Ok(drawn(input, output, format!("fps=fps={}:round=near", self.fps), 0.1))
    }
}

fn same(a: FrameRate, b: FrameRate) -> bool {
    u64::from(a.num()) * u64::from(b.den()) == u64::from(b.num()) * u64::from(a.den())
}

/// In lowest terms, so that equal rates are written alike.
fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FrameRate, D::Error> {
    let text = match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        other => other.to_string(),
    };
    let why = || {
        let given: String = text.chars().take(32).collect();
        format!("fps={given} is not a frame rate: use 1 to 120, as 25 or 30000/1001")
    };
    let rate: FrameRate = text.parse().map_err(|_| D::Error::custom(why()))?;
    let divisor = greatest_divisor(rate.num(), rate.den());
    FrameRate::new(rate.num() / divisor, rate.den() / divisor).map_err(D::Error::custom)
}

fn write<S: Serializer>(rate: &FrameRate, serializer: S) -> Result<S::Ok, S::Error> {
    match rate.den() {
        1 => serializer.serialize_u32(rate.num()),
        _ => serializer.collect_str(rate),
    }
}

/// Euclid's.
fn greatest_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a.max(1) } else { greatest_divisor(b, a % b) }
}
