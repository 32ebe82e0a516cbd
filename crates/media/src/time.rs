//! Media time and frame rates.

use std::{fmt, ops::Add, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// Microseconds since the Unix epoch, never negative. Where a stream's clock stands, whoever reads it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MediaTime(pub u64);

impl MediaTime {
    /// µs since the Unix epoch.
    pub fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: MediaTime) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// `self` less `by`, not before the epoch.
    pub fn back(self, by: Duration) -> MediaTime {
        MediaTime(self.0.saturating_sub(micros(by)))
    }
}

impl Add<Duration> for MediaTime {
    type Output = MediaTime;
    fn add(self, by: Duration) -> MediaTime {
        MediaTime(self.0.saturating_add(micros(by)))
    }
}

impl fmt::Display for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

/// The number of a video frame counted from the Unix epoch: `round(media time × rate)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FrameNumber(pub u64);

/// A constant frame rate: `num / den` frames per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u32, u32)", into = "(u32, u32)")]
pub struct FrameRate {
    num: u32,
    den: u32,
}

/// A frame rate outside 1–240 frames per second, or a denominator above 10 000.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("frame rate {0} is not valid: use 1-240 frames per second, as 25 or 30000/1001")]
pub struct InvalidRate(String);

impl FrameRate {
    /// `num / den` frames per second; between 1 and 240, `den` at most 10 000.
    pub fn new(num: u32, den: u32) -> Result<Self, InvalidRate> {
        let sensible = (1..=10_000).contains(&den)
            && u64::from(num) >= u64::from(den)
            && u64::from(num) <= 240 * u64::from(den);
        if sensible { Ok(Self { num, den }) } else { Err(InvalidRate(format!("{num}/{den}"))) }
    }

    /// Numerator: frames per `den` seconds.
    pub fn num(self) -> u32 {
        self.num
    }

    /// Denominator, in seconds.
    pub fn den(self) -> u32 {
        self.den
    }

    /// Frames per second.
    pub fn as_f64(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }

    /// The time one frame is shown, rounded to the microsecond.
    pub fn interval(self) -> Duration {
        Duration::from_micros(self.time_of(FrameNumber(1)).0)
    }

    /// The media time of frame `n`: `round(n / rate)` in µs.
    pub fn time_of(self, n: FrameNumber) -> MediaTime {
        MediaTime(div_round(u128::from(n.0) * u128::from(self.den) * 1_000_000, self.num.into()))
    }

    /// The number of the frame nearest to `t`: `round(t × rate)`.
    pub fn frame_at(self, t: MediaTime) -> FrameNumber {
        FrameNumber(div_round(
            u128::from(t.0) * u128::from(self.num),
            u128::from(self.den) * 1_000_000,
        ))
    }

    /// The first frame whose media time is not before `t`.
    pub fn first_at_or_after(self, t: MediaTime) -> FrameNumber {
        let near = self.frame_at(t);
        if self.time_of(near) < t { FrameNumber(near.0 + 1) } else { near }
    }
}

fn div_round(a: u128, b: u128) -> u64 {
    u64::try_from((a + b / 2) / b).unwrap_or(u64::MAX)
}

impl TryFrom<(u32, u32)> for FrameRate {
    type Error = InvalidRate;
    fn try_from((num, den): (u32, u32)) -> Result<Self, InvalidRate> {
        Self::new(num, den)
    }
}

impl From<FrameRate> for (u32, u32) {
    fn from(r: FrameRate) -> Self {
        (r.num, r.den)
    }
}

impl FromStr for FrameRate {
    type Err = InvalidRate;
    fn from_str(s: &str) -> Result<Self, InvalidRate> {
        let (num, den) = s.split_once('/').unwrap_or((s, "1"));
        let parse = |part: &str| part.parse().map_err(|_| InvalidRate(s.to_owned()));
        Self::new(parse(num)?, parse(den)?)
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.den == 1 {
            write!(f, "{}", self.num)
        } else {
            write!(f, "{}/{}", self.num, self.den)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_frame_is_found_again_by_its_media_time(
            n in 0u64..200_000_000_000,
            (num, den) in prop_oneof![Just((24, 1)), Just((25, 1)), Just((30000, 1001)), Just((60, 1)), Just((240, 1))],
        ) {
            let rate = FrameRate::new(num, den).unwrap();
            prop_assert_eq!(rate.frame_at(rate.time_of(FrameNumber(n))), FrameNumber(n));
            prop_assert_eq!(rate.first_at_or_after(rate.time_of(FrameNumber(n))), FrameNumber(n));
        }
    }

    #[test]
    fn absurd_rates_are_refused() {
        for bad in ["0", "241", "1/2", "24/0", "x", "24/1/1", "240000/10001"] {
            assert!(bad.parse::<FrameRate>().is_err(), "{bad}");
        }
        assert_eq!("30000/1001".parse::<FrameRate>().unwrap().to_string(), "30000/1001");
    }
}
