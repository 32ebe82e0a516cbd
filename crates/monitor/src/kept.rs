//! Metrics that are kept because nothing else holds what they say: counts and distributions by label.

use std::{fmt::Display, sync::atomic::AtomicU64};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Metric, Registry},
};

use crate::page::{Labels, split, texts};

/// Registers under a name of the page. Counters are named without their `_total`.
fn register(registry: &mut Registry, name: &str, help: &str, metric: impl Metric) {
    match split(name) {
        (base, Some(unit)) => registry.register_with_unit(base, help, unit, metric),
        (name, None) => registry.register(name, help, metric),
    }
}

/// Counts of one name, by label. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Counts(Family<Labels, Counter<f64, AtomicU64>>);

impl Counts {
    /// Counts `n` more under these labels. Label values come from a small set: each makes a count of its own.
    pub fn add<const N: usize>(&self, labels: [(&'static str, &dyn Display); N], n: f64) {
        self.0.get_or_create(&texts(labels)).inc_by(n);
    }

    /// Shows a 0 under these labels until something happens: of what begins with a 1, a rate misses the first.
    pub fn expect<const N: usize>(&self, labels: [(&'static str, &dyn Display); N]) {
        self.add(labels, 0.0);
    }

    /// Shows it under `name`, without `_total`.
    pub fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        register(registry, name, help, self.0.clone());
    }
}

/// Distributions of durations of one name, by label. Clones are one.
#[derive(Debug, Clone)]
pub struct Durations(Family<Labels, Histogram, Buckets>);

#[derive(Debug, Clone, Copy)]
struct Buckets(&'static [f64]);

impl prometheus_client::metrics::family::MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

impl Durations {
    /// With buckets up to these bounds, in seconds, and one above.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self(Family::new_with_constructor(Buckets(bounds)))
    }

    /// One more, of so many seconds.
    pub fn observe<const N: usize>(&self, labels: [(&'static str, &dyn Display); N], seconds: f64) {
        self.0.get_or_create(&texts(labels)).observe(seconds);
    }

    /// Shows that there has been nothing under these labels, until something happens.
    pub fn expect<const N: usize>(&self, labels: [(&'static str, &dyn Display); N]) {
        drop(self.0.get_or_create(&texts(labels)));
    }

    /// Shows it under `name`, which ends in `_seconds`.
    pub fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        register(registry, name, help, self.0.clone());
    }
}
