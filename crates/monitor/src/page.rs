//! A page of metrics as it is filled: what a collector writes to.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::{MetricType, exemplar::Exemplar},
    registry::Unit,
};

/// Where a collector writes what it reads. Names are those of the page, with their unit, and `_total` for counters.
#[derive(Debug)]
pub struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
    result: fmt::Result,
}

/// Names of labels, each with its text.
pub(crate) type Labels = Vec<(&'static str, String)>;

pub(crate) fn texts<const N: usize>(labels: [(&'static str, &dyn fmt::Display); N]) -> Labels {
    labels.map(|(name, text)| (name, text.to_string())).into()
}

/// One value, and what tells it from others of its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    labels: Labels,
    value: f64,
}

impl Sample {
    /// A value under labels: their names, each with its text.
    pub fn new<const N: usize>(
        labels: [(&'static str, &dyn fmt::Display); N],
        value: impl Into<Number>,
    ) -> Self {
        Self { labels: texts(labels), value: value.into().0 }
    }
}

impl<T: Into<Number>> From<T> for Sample {
    fn from(value: T) -> Self {
        Sample::new([], value)
    }
}

/// Whatever counts. Beyond 2^53 the last digits are lost, as in all that reads the page.
#[derive(Debug, Clone, Copy)]
pub struct Number(f64);

macro_rules! number {
    ($($from:ty),*) => {$(
        impl From<$from> for Number {
            fn from(value: $from) -> Self {
                Self(value as f64)
            }
        }
    )*};
}

number!(u32, u64, usize, f64);

impl From<bool> for Number {
    fn from(value: bool) -> Self {
        Self(value.into())
    }
}

impl<'a> Page<'a> {
    pub(crate) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self { encoder, result: Ok(()) }
    }

    /// What is so now.
    pub fn gauge<S: Into<Sample>>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = S>,
    ) {
        let gauge = |metric: &mut MetricEncoder<'_>, value: f64| metric.encode_gauge(&value);
        self.family(name, help, MetricType::Gauge, samples, gauge);
    }

    /// What has happened so far; `name` ends in `_total`.
    pub fn counter<S: Into<Sample>>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = S>,
    ) {
        let counter = |metric: &mut MetricEncoder<'_>, value: f64| {
            metric.encode_counter(&value, None::<&Exemplar<NoLabelSet, f64>>)
        };
        let name = name.strip_suffix("_total").unwrap_or(name);
        self.family(name, help, MetricType::Counter, samples, counter);
    }

    fn family<S: Into<Sample>>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl IntoIterator<Item = S>,
        encode: impl Fn(&mut MetricEncoder<'_>, f64) -> fmt::Result,
    ) {
        let (base, unit) = split(name);
        let family = || {
            let mut family = self.encoder.encode_descriptor(base, help, unit.as_ref(), kind)?;
            for sample in samples {
                let Sample { labels, value } = sample.into();
                match labels.is_empty() {
                    true => encode(&mut family, value)?,
                    false => encode(&mut family.encode_family(&labels)?, value)?,
                }
            }
            Ok(())
        };
        let written = family();
        self.result = self.result.and(written);
    }

    pub(crate) fn finish(self) -> fmt::Result {
        self.result
    }
}

/// A name without its unit, and the unit.
pub(crate) fn split(name: &str) -> (&str, Option<Unit>) {
    let ends_in = |unit| name.strip_suffix(unit);
    match (ends_in("_seconds"), ends_in("_bytes")) {
        (Some(base), _) => (base, Some(Unit::Seconds)),
        (_, Some(base)) => (base, Some(Unit::Bytes)),
        _ => (name, None),
    }
}
