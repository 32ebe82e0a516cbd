//! What nodes and clients measure and tell, and what of it can be true.
//!
//! A figure that is no number is `null` in JSON, and read as NaN: one bad figure must not cost a connection. Whoever
//! decides by telemetry asks `check` first, which names the figure that cannot be. Ages and times ahead are told as
//! spans, never as times of day, so that nobody's clock matters.

mod client;
mod node;

use std::ops::RangeInclusive;

pub use client::{
    ClientTelemetry, DeviceClass, MAX_PATHS, MAX_POINTS, MAX_ROUTE, MotionPoint, MotionReport,
    PathReport, Slack,
};
pub use node::{LinkReport, NodeHealth, PublishReport};
use serde::{Deserialize, Deserializer};

/// A figure that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{what} cannot be {value}: it is from {least} to {most}")]
pub struct Absurd {
    what: &'static str,
    value: f64,
    least: f64,
    most: f64,
}

impl Absurd {
    /// Whether it is no number at all.
    pub fn is_no_number(&self) -> bool {
        self.value.is_nan()
    }
}

/// Refuses a `value` that is out of range, or no number.
fn within(what: &'static str, value: f64, range: RangeInclusive<f64>) -> Result<(), Absurd> {
    let (least, most) = range.into_inner();
    if (least..=most).contains(&value) { Ok(()) } else { Err(Absurd { what, value, least, most }) }
}

/// The longest span that is believed, of any kind, in ms: ten minutes.
const LONGEST_MS: f64 = 600_000.0;
/// No link or path carries more, in kbit/s: a Tbit/s.
const FASTEST_KBPS: f64 = 1e9;

/// Reads a figure. What was no number, and so was written as `null`, is none again.
fn figure<'de, D: Deserializer<'de>>(json: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(json)?.unwrap_or(f64::NAN))
}

/// Rounded to `parts` of one, for fewer digits on the wire.
pub fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

#[cfg(test)]
mod tests;
