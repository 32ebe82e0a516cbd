//! Chance, by a seed and an algorithm that stay: what is drawn depends on nothing else.

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

/// A source of chance. Each part of a world has its own, so that more of one part leaves the others as they are.
pub(crate) struct Draw(Xoshiro256PlusPlus);

impl Draw {
    /// That of the part called `part`.
    pub fn of(seed: u64, part: &str) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(
            part.bytes().fold(seed, |hash, byte| mix(hash ^ u64::from(byte))),
        ))
    }

    /// Evenly from `from` to `to`.
    pub fn within(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.0.random::<f64>()
    }

    /// One of `0..n`; `n` is not 0.
    pub fn index(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    /// True in this share of cases.
    pub fn chance(&mut self, share: f64) -> bool {
        self.0.random::<f64>() < share
    }

    /// Of the standard normal distribution (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.0.random::<f64>()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.0.random::<f64>()).cos()
    }

    /// Of the exponential distribution of this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.0.random::<f64>()).ln()
    }

    /// Of the log-normal distribution of this mean; `spread` is the standard deviation of the logarithm.
    pub fn heavy_tailed(&mut self, mean: f64, spread: f64) -> f64 {
        mean * (spread * self.normal() - spread * spread / 2.0).exp()
    }
}

/// A number whose every bit depends on every bit of `x` (the finaliser of SplitMix64; Steele, Lea, Flood, 2014).
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// From −1 to 1, by `x` alone, about evenly.
pub(crate) fn noise(x: u64) -> f64 {
    (mix(x) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}
