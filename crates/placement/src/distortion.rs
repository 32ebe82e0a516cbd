//! What a viewer is to expect of two paths, one for each description: the expected distortion of a group.
//!
//! `D = P00·d0 + P01·d1 + P10·d2 + P11·σ²`, where `Pxy` is the probability that in one group description 0 (x) and
//! description 1 (y) miss their playout deadline (1) or not (0).

use gibbon_media::Description;

/// Squared error of what is shown, by what came in time, on the scale of the scheme's measured table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distortions {
    /// Both descriptions: d0.
    pub central: f64,
    /// One of them alone, by which it is: d1 for description 0, d2 for description 1.
    pub side: [f64; 2],
    /// Neither: σ².
    pub neither: f64,
}

/// One description's way from the source to the client's deadline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Path {
    /// Mean time by which frames come before their deadline, in ms; below zero they come after it.
    pub slack_ms: f64,
    /// Its standard deviation, in ms.
    pub deviation_ms: f64,
    /// Probability that the path fails within one group, for reasons that slack does not show.
    pub failure: f64,
}

/// What two paths have in common.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Shared {
    /// Correlation of their slacks, −1 to 1.
    pub correlation: f64,
    /// Probability that both fail within one group by one cause: an edge, a rack, a site, a link.
    pub failure: f64,
}

/// Probabilities that within one group description 0 (first index) and description 1 (second) miss (1) or not (0).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Misses(pub [[f64; 2]; 2]);

impl Path {
    /// Probability that a group misses its deadline by the path's slack alone: that of a normal distribution below
    /// zero.
    pub(crate) fn late(self) -> f64 {
        normal_below(-self.standard())
    }

    /// Slack in standard deviations. Values that are no numbers count as no slack at all.
    fn standard(self) -> f64 {
        let standard = self.slack_ms / self.deviation_ms.max(0.1);
        if standard.is_nan() { 0.0 } else { standard.clamp(-8.0, 8.0) }
    }
}

impl Misses {
    /// Of two paths that have `shared` in common.
    pub fn of(paths: [Path; 2], shared: Shared) -> Self {
        let [a, b] = paths.map(|path| -path.standard());
        let both = both_below(a, b, shared.correlation);
        let [late0, late1] = paths.map(Path::late);
        let slack = Misses([[1.0 - late0 - late1 + both, late1 - both], [late0 - both, both]]);
        let [f0, f1] = paths.map(|path| probability(path.failure));
        let alone =
            Misses([[(1.0 - f0) * (1.0 - f1), (1.0 - f0) * f1], [f0 * (1.0 - f1), f0 * f1]]);
        let f = probability(shared.failure);
        let together = Misses([[1.0 - f, 0.0], [0.0, f]]);
        slack.or(alone).or(together).tidy()
    }

    /// A description misses if it does for either of two independent reasons.
    fn or(self, other: Self) -> Self {
        let mut out = [[0.0; 2]; 2];
        for (x, y) in PAIRS {
            for (u, v) in PAIRS {
                out[x | u][y | v] += self.0[x][y] * other.0[u][v];
            }
        }
        Misses(out)
    }

    /// Rounding must not make a probability of less than nothing.
    fn tidy(self) -> Self {
        let clamped = self.0.map(|row| row.map(|p| p.max(0.0)));
        let sum: f64 = clamped.iter().flatten().sum();
        Misses(clamped.map(|row| row.map(|p| p / sum)))
    }

    /// Probability that `description` misses.
    pub fn of_one(&self, description: Description) -> f64 {
        let Misses([[_, only1], [only0, both]]) = self;
        both + if description == Description::Zero { only0 } else { only1 }
    }

    /// The expected distortion.
    pub fn expected(&self, of: &Distortions) -> f64 {
        let Misses([[none, only1], [only0, both]]) = self;
        // Where description 1 misses, description 0 is shown alone.
        none * of.central + only1 * of.side[0] + only0 * of.side[1] + both * of.neither
    }
}

const PAIRS: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

fn probability(p: f64) -> f64 {
    if p.is_nan() { 0.0 } else { p.clamp(0.0, 1.0) }
}

/// The standard normal distribution function, by Abramowitz and Stegun, "Handbook of Mathematical Functions",
/// 26.2.17: off by less than 7.5e-8.
pub(crate) fn normal_below(x: f64) -> f64 {
    // Less than the formula is off by.
    const NOTHING_BELOW: f64 = 6.0;
    const B: [f64; 5] =
        [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    if x.abs() > NOTHING_BELOW {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let sum = B.iter().rev().fold(0.0, |sum, b| (sum + b) * t);
    let tail = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum;
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// Probability that two standard normal variables of this correlation are below `a` and `b`: Plackett's identity
/// ("A Reduction Formula for Normal Multivariate Integrals", Biometrika 41, 1954), integrated by Simpson's rule over
/// the angle whose sine is the correlation.
fn both_below(a: f64, b: f64, correlation: f64) -> f64 {
    const STEPS: usize = 32;
    let [below_a, below_b] = [normal_below(a), normal_below(b)];
    let (less, more) = (below_a.min(below_b), below_a.max(below_b));
    if correlation >= 1.0 || less <= 0.0 || more >= 1.0 {
        return less;
    }
    let correlation = if correlation.is_nan() { 0.0 } else { correlation.clamp(-0.999, 0.999) };
    let end = correlation.asin();
    let density = |angle: f64| {
        let (sine, cosine) = angle.sin_cos();
        (-(a * a - 2.0 * sine * a * b + b * b) / (2.0 * cosine * cosine)).exp()
    };
    let step = end / STEPS as f64;
    let inner: f64 =
        (1..STEPS).map(|n| density(step * n as f64) * if n % 2 == 1 { 4.0 } else { 2.0 }).sum();
    let integral = step / 3.0 * (density(0.0) + inner + density(end));
    let both = below_a * below_b + integral / (2.0 * std::f64::consts::PI);
    both.clamp((below_a + below_b - 1.0).max(0.0), less)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TABLE: Distortions = Distortions { central: 4.0, side: [20.0, 25.0], neither: 900.0 };
    const GOOD: Path = Path { slack_ms: 800.0, deviation_ms: 20.0, failure: 0.0 };

    fn late(slack_ms: f64) -> Path {
        Path { slack_ms, deviation_ms: 100.0, failure: 0.0 }
    }

    #[test]
    fn good_paths_show_the_central_picture_and_a_dead_one_the_other_s_side() {
        let expected = |paths| Misses::of(paths, Shared::default()).expected(&TABLE);
        assert!((expected([GOOD, GOOD]) - TABLE.central).abs() < 1e-6);
        let dead = Path { failure: 1.0, ..GOOD };
        assert!((expected([GOOD, dead]) - TABLE.side[0]).abs() < 1e-6, "description 0 alone");
        assert!((expected([dead, GOOD]) - TABLE.side[1]).abs() < 1e-6, "description 1 alone");
        assert!((expected([dead, dead]) - TABLE.neither).abs() < 1e-6);
    }

    #[test]
    fn what_two_paths_share_costs_even_where_each_is_as_good_as_before() {
        let paths = [late(100.0), late(120.0)];
        let at = |correlation| {
            let misses = Misses::of(paths, Shared { correlation, failure: 0.0 });
            (misses.of_one(Description::Zero), misses.expected(&TABLE))
        };
        let costs: Vec<_> = [-0.9, -0.3, 0.0, 0.3, 0.9].map(at).to_vec();
        assert!(costs.is_sorted_by(|a, b| a.1 < b.1), "{costs:?}");
        assert!(costs.iter().all(|(one, _)| (one - costs[0].0).abs() < 1e-6), "{costs:?}");
        let failing = Shared { correlation: 0.0, failure: 0.01 };
        let apart = [Path { failure: 0.01, ..GOOD }; 2];
        let beyond = |misses: Misses| misses.expected(&TABLE) - TABLE.central;
        let together = beyond(Misses::of([GOOD; 2], failing));
        assert!(together > 5.0 * beyond(Misses::of(apart, Shared::default())));
    }

    #[test]
    fn the_normal_distributions_agree_with_known_values() {
        for (x, p) in
            [(0.0, 0.5), (1.0, 0.841_344_746), (-1.96, 0.024_997_895), (3.0, 0.998_650_102)]
        {
            assert!((normal_below(x) - p).abs() < 1e-7, "{x}");
        }
        // P(X<0, Y<0) = 1/4 + asin(ρ)/2π (Sheppard, 1899).
        for correlation in [-0.95, -0.5, 0.0, 0.5, 0.95f64] {
            let exact = 0.25 + correlation.asin() / (2.0 * std::f64::consts::PI);
            assert!((both_below(0.0, 0.0, correlation) - exact).abs() < 1e-6, "{correlation}");
        }
    }

    proptest! {
        #[test]
        fn probabilities_are_probabilities_whatever_is_reported(
            slack in proptest::array::uniform2(proptest::num::f64::ANY),
            deviation in proptest::array::uniform2(proptest::num::f64::ANY),
            failure in proptest::array::uniform3(proptest::num::f64::ANY),
            correlation in proptest::num::f64::ANY,
        ) {
            let path = |n: usize| Path {
                slack_ms: slack[n], deviation_ms: deviation[n], failure: failure[n],
            };
            let shared = Shared { correlation, failure: failure[2] };
            let Misses(p) = Misses::of([path(0), path(1)], shared);
            prop_assert!((p.iter().flatten().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!(p.iter().flatten().all(|p| (0.0..=1.0).contains(p)), "{:?}", p);
        }
    }
}
