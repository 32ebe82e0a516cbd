//! Bjøntegaard delta rate: what one way of coding costs over another at equal quality.

/// One way of coding at one setting.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct RatePoint {
    /// Bit rate in kbit/s.
    pub kbps: f64,
    /// Quality in dB.
    #[serde(rename = "psnr_db")]
    pub psnr: f64,
}

/// By how many percent the bit rate of `tested` exceeds that of `reference`, on average over the
/// qualities that both reach. `None` where they share none, or where quality does not grow with rate.
///
/// After G. Bjøntegaard, VCEG-M33 (2001), with the logarithm of the rate interpolated over PSNR by
/// monotone piecewise cubics (PCHIP) as in JCTVC-L1100.
pub fn bd_rate(reference: &[RatePoint], tested: &[RatePoint]) -> Option<f64> {
    let (reference, tested) = (Curve::through(reference)?, Curve::through(tested)?);
    let low = reference.x[0].max(tested.x[0]);
    let high = reference.x[reference.x.len() - 1].min(tested.x[tested.x.len() - 1]);
    if high <= low {
        return None;
    }
    let mean = (tested.integral(low, high) - reference.integral(low, high)) / (high - low);
    Some((mean.exp() - 1.0) * 100.0)
}

/// The logarithm of the rate over quality.
struct Curve {
    x: Vec<f64>,
    y: Vec<f64>,
    /// Slopes at the points.
    slopes: Vec<f64>,
}

impl Curve {
    fn through(points: &[RatePoint]) -> Option<Self> {
        let mut points = points.to_vec();
        points.sort_by(|a, b| a.kbps.total_cmp(&b.kbps));
        let rises = points.windows(2).all(|p| p[0].psnr < p[1].psnr && p[0].kbps < p[1].kbps);
        if points.len() < 2 || !rises || points[0].kbps <= 0.0 {
            return None;
        }
        let x: Vec<f64> = points.iter().map(|point| point.psnr).collect();
        let y: Vec<f64> = points.iter().map(|point| point.kbps.ln()).collect();
        let slopes = pchip_slopes(&x, &y);
        Some(Self { x, y, slopes })
    }

    fn at(&self, segment: usize, x: f64) -> f64 {
        let h = self.x[segment + 1] - self.x[segment];
        let t = (x - self.x[segment]) / h;
        let (y, m) = (&self.y[segment..segment + 2], &self.slopes[segment..segment + 2]);
        // Cubic Hermite basis.
        y[0] * (1.0 + 2.0 * t) * (1.0 - t).powi(2)
            + y[1] * t.powi(2) * (3.0 - 2.0 * t)
            + h * m[0] * t * (1.0 - t).powi(2)
            - h * m[1] * t.powi(2) * (1.0 - t)
    }

    /// From `low` to `high`, both within the curve. Simpson's rule is exact for cubics.
    fn integral(&self, low: f64, high: f64) -> f64 {
        let segments = 0..self.x.len() - 1;
        let parts = segments.map(|i| {
            let (a, b) = (self.x[i].max(low), self.x[i + 1].min(high));
            let simpson = self.at(i, a) + 4.0 * self.at(i, (a + b) / 2.0) + self.at(i, b);
            if b > a { (b - a) / 6.0 * simpson } else { 0.0 }
        });
        parts.sum()
    }
}

/// Slopes that keep the curve monotone between its points: F. N. Fritsch and J. Butland, SIAM J. Sci.
/// Stat. Comput. 5 (1984); at the ends the three-point formula of C. Moler, Numerical Computing with
/// MATLAB, section 3.4.
fn pchip_slopes(x: &[f64], y: &[f64]) -> Vec<f64> {
    let h: Vec<f64> = x.windows(2).map(|x| x[1] - x[0]).collect();
    let d: Vec<f64> = y.windows(2).zip(&h).map(|(y, h)| (y[1] - y[0]) / h).collect();
    let last = d.len() - 1;
    if last == 0 {
        return vec![d[0]; 2];
    }
    let inner = (1..=last).map(|i| {
        if d[i - 1] * d[i] <= 0.0 {
            return 0.0;
        }
        let (w0, w1) = (2.0 * h[i] + h[i - 1], h[i] + 2.0 * h[i - 1]);
        (w0 + w1) / (w0 / d[i - 1] + w1 / d[i])
    });
    let end = |h0: f64, h1: f64, d0: f64, d1: f64| {
        let slope = ((2.0 * h0 + h1) * d0 - h0 * d1) / (h0 + h1);
        if slope * d0 <= 0.0 {
            0.0
        } else if d0 * d1 <= 0.0 && slope.abs() > 3.0 * d0.abs() {
            3.0 * d0
        } else {
            slope
        }
    };
    let first = end(h[0], h[1], d[0], d[1]);
    let final_ = end(h[last], h[last - 1], d[last], d[last - 1]);
    [first].into_iter().chain(inner).chain([final_]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: &[(f64, f64)]) -> Vec<RatePoint> {
        values.iter().map(|&(kbps, psnr)| RatePoint { kbps, psnr }).collect()
    }

    const REFERENCE: [(f64, f64); 4] =
        [(686.76, 40.28), (309.58, 37.18), (157.11, 34.24), (85.95, 31.42)];

    #[test]
    fn a_constant_factor_on_the_rate_is_its_own_bd_rate() {
        let reference = points(&REFERENCE);
        let dearer = points(&REFERENCE.map(|(kbps, psnr)| (kbps * 1.15, psnr)));
        assert!((bd_rate(&reference, &dearer).unwrap() - 15.0).abs() < 1e-9);
        assert!((bd_rate(&dearer, &reference).unwrap() - (100.0 / 1.15 - 100.0)).abs() < 1e-9);
    }

    #[test]
    fn curves_that_cross_agree_with_an_independent_implementation() {
        // `bd_rate(…, method="pchip")` of the Python package bjontegaard 1.3.
        let tested = [(893.34, 40.39), (407.8, 37.21), (204.93, 34.17), (112.75, 31.24)];
        let found = bd_rate(&points(&REFERENCE), &points(&tested)).unwrap();
        assert!((found - 31.379_878_202).abs() < 1e-6, "{found}");
        let tested = [(1000.0, 41.0), (612.5, 38.9), (301.0, 36.2), (90.0, 30.1)];
        let found = bd_rate(&points(&REFERENCE), &points(&tested)).unwrap();
        assert!((found - 25.526_253_096).abs() < 1e-6, "{found}");
    }

    #[test]
    fn curves_that_share_no_quality_or_do_not_rise_have_no_bd_rate() {
        let reference = points(&REFERENCE);
        assert_eq!(bd_rate(&reference, &points(&REFERENCE.map(|(k, p)| (k, p + 20.0)))), None);
        assert_eq!(bd_rate(&reference, &points(&[(100.0, 40.0), (200.0, 30.0)])), None);
        assert_eq!(bd_rate(&reference, &points(&[(100.0, 35.0)])), None);
    }
}
