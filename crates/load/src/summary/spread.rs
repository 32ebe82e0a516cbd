//! How values spread: quantiles, and a histogram to draw.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Upper bounds of the buckets drawn grow by this, so that few of them span ms and minutes.
pub const GROWTH: f64 = 1.25;

/// Quantiles of some values, in the unit of the field that holds them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How many values.
    pub count: u64,
    /// The least.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// 90 of 100 are not above it.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p999: f64,
    /// The greatest.
    pub max: f64,
    /// All of them, in buckets; those without values are left out.
    pub buckets: Vec<Bucket>,
}

/// Values between two bounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bucket {
    /// Above this …
    pub from: f64,
    /// … to this.
    pub to: f64,
    /// How many.
    pub count: u64,
}

impl Spread {
    /// Of these values; `None` if there are none.
    pub fn of(mut values: Vec<u64>) -> Option<Self> {
        values.sort_unstable();
        let last = values.len().checked_sub(1)?;
        // The smallest value that so many are not above (nearest rank).
        let at = |part: f64| {
            let rank = (part * values.len() as f64).ceil() as usize;
            values[rank.saturating_sub(1).min(last)] as f64
        };
        Some(Self {
            count: values.len() as u64,
            min: at(0.0),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
            buckets: buckets(values.iter().map(|value| (*value as f64, 1))),
        })
    }

    /// Of a histogram in µs, in ms; `None` if it is empty.
    pub fn of_us(histogram: &Histogram<u64>) -> Option<Self> {
        let ms = |us: u64| us as f64 / 1000.0;
        let at = |part| ms(histogram.value_at_quantile(part));
        let recorded = histogram.iter_recorded();
        let recorded = recorded.map(|v| (ms(v.value_iterated_to()), v.count_at_value()));
        (!histogram.is_empty()).then(|| Self {
            count: histogram.len(),
            min: ms(histogram.min()),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: ms(histogram.max()),
            buckets: buckets(recorded),
        })
    }
}

/// Values in order, into buckets from 0 to 1, to [`GROWTH`], to its square and so on.
fn buckets(values: impl Iterator<Item = (f64, u64)>) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = Vec::new();
    for (value, count) in values {
        match buckets.last_mut() {
            Some(last) if value <= last.to => last.count += count,
            _ => {
                let (mut from, mut to) =
                    buckets.last().map_or((0.0, 1.0), |last| (last.to, last.to * GROWTH));
                while value > to {
                    (from, to) = (to, to * GROWTH);
                }
                buckets.push(Bucket { from, to, count });
            }
        }
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occur() {
        let spread = Spread::of((1..=100).rev().collect()).unwrap();
        assert_eq!(
            (spread.min, spread.p50, spread.p90, spread.p99, spread.max),
            (1.0, 50.0, 90.0, 99.0, 100.0)
        );
        assert_eq!(Spread::of(vec![7]).unwrap().p50, 7.0);
        assert_eq!(Spread::of(vec![]), None);
    }

    #[test]
    fn every_value_is_in_one_bucket() {
        let values: Vec<u64> = vec![0, 1, 2, 2, 50, 5000, 5001, 60_000];
        let spread = Spread::of(values.clone()).unwrap();
        assert_eq!(spread.buckets.iter().map(|b| b.count).sum::<u64>(), values.len() as u64);
        assert!(spread.buckets.windows(2).all(|pair| pair[0].to <= pair[1].from));
        for value in values {
            let value = value as f64;
            let holds = |b: &&Bucket| (b.from < value || b.from == 0.0) && value <= b.to;
            assert_eq!(spread.buckets.iter().filter(holds).count(), 1, "{value}");
        }
    }

    #[test]
    fn a_histogram_in_microseconds_is_told_in_milliseconds() {
        let mut histogram = Histogram::new_with_max(1_000_000, 3).unwrap();
        assert_eq!(Spread::of_us(&histogram), None);
        histogram.record_n(2000, 99).unwrap();
        histogram.record(500_000).unwrap();
        let spread = Spread::of_us(&histogram).unwrap();
        assert!((spread.p50 - 2.0).abs() < 0.01 && (spread.max - 500.0).abs() < 1.0, "{spread:?}");
        assert_eq!(spread.buckets.iter().map(|b| b.count).sum::<u64>(), 100);
    }
}
