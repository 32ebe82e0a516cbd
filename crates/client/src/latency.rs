//! Latency: from the origin's publish stamp to display, where both are read off the same clock.

use std::collections::BTreeMap;

use gibbon_control::process;
use gibbon_mdc::ChainKey;
use gibbon_media::{Catalog, GroupHeader, MediaTime};
use hdrhistogram::Histogram;

use crate::report::Latency;

/// Longest latency that is told apart, in ms.
const MAX_MS: u64 = 60_000;
/// Group copies whose stamps are kept; older ones go first.
const MAX_GROUPS: usize = 32;

/// Latencies of the frames displayed.
#[derive(Debug)]
pub struct Latencies {
    /// Whether the origin is on this host; else its stamps say nothing.
    same_host: bool,
    /// For each group copy: when its first frame was published, and that frame's media time.
    groups: BTreeMap<ChainKey, (u64, MediaTime)>,
    histogram: Option<Histogram<u64>>,
    last_ms: Option<u64>,
}

impl Latencies {
    /// None yet.
    pub fn new(catalog: &Catalog) -> Self {
        Self {
            same_host: !catalog.host.is_empty() && catalog.host == process::host_id(),
            groups: BTreeMap::new(),
            histogram: Histogram::new_with_max(MAX_MS, 2).ok(),
            last_ms: None,
        }
    }

    /// The first frame of a group has come.
    pub fn group(&mut self, chain: ChainKey, header: &GroupHeader, first: MediaTime) {
        if self.groups.len() >= MAX_GROUPS {
            self.groups.pop_first();
        }
        self.groups.entry(chain).or_insert((header.published_us, first));
    }

    /// A frame is displayed at `now` by the wall clock. It was published as long after the first of its
    /// group as its media time is.
    pub fn shown(&mut self, chain: &ChainKey, time: MediaTime, now: MediaTime) {
        let Some((published, first)) = self.groups.get(chain).filter(|_| self.same_host) else {
            return;
        };
        let published = MediaTime(*published) + time.since(*first);
        let ms = now.since(published).as_millis() as u64;
        self.last_ms = Some(ms);
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(ms);
        }
    }

    /// Drops the stamps of groups that are past.
    pub fn forget(&mut self, past: impl Fn(&ChainKey) -> bool) {
        self.groups.retain(|chain, _| !past(chain));
    }

    /// That of the last frame.
    pub fn last_ms(&self) -> Option<u64> {
        self.last_ms
    }

    /// For the report.
    pub fn quantiles(&self) -> Option<Latency> {
        let histogram = self.histogram.as_ref().filter(|h| !h.is_empty())?;
        Some(Latency {
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
        })
    }
}
