//! What a path does to the datagrams that travel over it.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use str0m_netem::{
    Bitrate, DataSize, GilbertElliot, LossModel, NetemConfig, Probability, RandomLoss,
};

/// What a path of limited rate holds, in time at that rate; more is dropped.
pub const BUFFER: Duration = Duration::from_millis(200);
/// A path of limited rate holds at least this many bytes: some full datagrams.
const MIN_BUFFER: u128 = 8 * 1500;

/// One direction of a path, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From whoever uses the path to its target.
    ToTarget,
    /// From its target to whoever uses the path.
    ToClient,
    /// Both.
    Both,
}

impl Direction {
    /// Whether this takes in the direction to the target, or the one back.
    pub(crate) fn includes(self, to_target: bool) -> bool {
        match self {
            Direction::ToTarget => to_target,
            Direction::ToClient => !to_target,
            Direction::Both => true,
        }
    }

    /// The other way round.
    pub fn reversed(self) -> Self {
        match self {
            Direction::ToTarget => Direction::ToClient,
            Direction::ToClient => Direction::ToTarget,
            Direction::Both => Direction::Both,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::ToTarget => "to the target",
            Direction::ToClient => "from the target",
            Direction::Both => "both ways",
        })
    }
}

/// Which datagrams are lost.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each with this probability, 0 to 1.
    Random(f32),
    /// In bursts: Gilbert's model, in whose bad state all is lost (E. N. Gilbert, "Capacity of a
    /// burst-noise channel", 1960).
    Bursty {
        /// Part of all that is lost, 0 to 1.
        mean: f32,
        /// Datagrams lost in a row on average, at least 1.
        burst: f32,
    },
}

impl Loss {
    fn model(self) -> LossModel {
        match self {
            Loss::None => LossModel::None,
            Loss::Random(part) => RandomLoss::new(Probability::new(part.clamp(0.0, 1.0))).into(),
            Loss::Bursty { mean, .. } if mean <= 0.0 => LossModel::None,
            Loss::Bursty { mean, .. } if mean >= 1.0 => RandomLoss::new(Probability::ONE).into(),
            // The part of time in the bad state is burst / (burst + good).
            Loss::Bursty { mean, burst } => {
                let burst = burst.max(1.0);
                let good = burst * (1.0 - mean) / mean;
                GilbertElliot::new().good_duration(good).bad_duration(burst).into()
            }
        }
    }
}

/// What befalls datagrams in one direction.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Impairment {
    /// Delay of each, in ms.
    pub latency_ms: u32,
    /// The delay of each burst (datagrams less than 2 ms apart) differs by up to this much either way, in
    /// ms. Nothing overtakes: a delayed burst holds up what is behind it.
    pub jitter_ms: u32,
    /// What is lost.
    pub loss: Loss,
    /// Every nth datagram overtakes the one before it, if that is still under way; 0 for none.
    pub reorder_every: u32,
    /// Kilobits per second that pass, behind a buffer of [`BUFFER`]; 0 for no limit.
    pub rate_kbps: u32,
}

impl Impairment {
    /// A path that does nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// With this delay.
    pub fn latency(mut self, ms: u32) -> Self {
        self.latency_ms = ms;
        self
    }

    /// With this jitter; the mean delay is at least as long.
    pub fn jitter(mut self, ms: u32) -> Self {
        self.jitter_ms = ms;
        self.latency_ms = self.latency_ms.max(ms);
        self
    }

    /// With this loss.
    pub fn loss(mut self, loss: Loss) -> Self {
        self.loss = loss;
        self
    }

    /// With every nth datagram overtaking one.
    pub fn reorder(mut self, every: u32) -> Self {
        self.reorder_every = every;
        self
    }

    /// With this rate at most.
    pub fn rate_kbps(mut self, kbps: u32) -> Self {
        self.rate_kbps = kbps;
        self
    }

    /// The part of the delay that is the same for all; the rest is drawn.
    fn fixed(&self) -> Duration {
        ms(self.latency_ms.saturating_sub(self.jitter_ms))
    }

    /// The longest delay that is drawn on top of the fixed part.
    pub(crate) fn drawn(&self) -> Duration {
        ms(self.latency_ms.saturating_add(self.jitter_ms)) - self.fixed()
    }

    /// As the emulator takes it. The drawn delay is not its business: it would draw one for each datagram,
    /// and since it keeps them in order, the longest of many would be the delay of all.
    pub(crate) fn config(&self, seed: u64) -> NetemConfig {
        let mut config =
            NetemConfig::new().latency(self.fixed()).loss(self.loss.model()).seed(seed);
        if self.reorder_every > 0 {
            config = config.reorder_gap(self.reorder_every);
        }
        if self.rate_kbps > 0 {
            // What is on its way counts as held.
            let held = (BUFFER + self.fixed()).as_micros();
            let bytes = (u128::from(self.rate_kbps) * held / 8000).max(MIN_BUFFER);
            let buffer = DataSize::bytes(i64::try_from(bytes).unwrap_or(i64::MAX));
            config = config.link(Bitrate::kbps(u64::from(self.rate_kbps)), buffer);
        }
        config
    }
}

fn ms(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms))
}

impl fmt::Display for Impairment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        match (self.latency_ms, self.jitter_ms) {
            (0, 0) => {}
            (latency, 0) => parts.push(format!("{latency} ms")),
            (latency, jitter) => parts.push(format!("{latency} ± {jitter} ms")),
        }
        match self.loss {
            Loss::None => {}
            Loss::Random(part) => parts.push(format!("{:.1} % loss", part * 100.0)),
            Loss::Bursty { mean, burst } => {
                parts.push(format!("{:.1} % loss in bursts of {burst:.0}", mean * 100.0));
            }
        }
        if self.reorder_every > 0 {
            parts.push(format!("one in {} overtakes", self.reorder_every));
        }
        if self.rate_kbps > 0 {
            parts.push(format!("{} kbit/s", self.rate_kbps));
        }
        f.write_str(&if parts.is_empty() { "no impairment".to_owned() } else { parts.join(", ") })
    }
}
