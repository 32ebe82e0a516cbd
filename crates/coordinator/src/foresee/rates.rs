//! What streams take over time, as the nodes tell that pull them: a rate that changes by the programme does so wherever it
//! is watched, and whoever is moved where.

use std::{collections::BTreeMap, time::Duration};

use gibbon_media::{Description, MediaTime, NodeId, StreamName};
use gibbon_placement::{
    foresight::{K, changes},
    predict::{Forecast, Load},
};

use super::{Picture, nodes::YOUNG};

/// Rates are measured over so long at least: a group begins with its largest frame.
const MEASURED_OVER: Duration = Duration::from_secs(1);
/// A stream of which nothing was measured for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// Streams that are followed; of more, what they take is taken to stay as it is.
const MOST: usize = 512;

/// Of every stream that is pulled.
pub struct Rates {
    noted_every: Duration,
    of: BTreeMap<StreamName, Rate>,
    /// What each node had received of each description, and when.
    received: BTreeMap<(NodeId, StreamName, Description), (MediaTime, u64)>,
}

struct Rate {
    /// Of a leg, in kbit/s: half of both descriptions.
    kbps: Load,
    now: f64,
    noted: u32,
    at: MediaTime,
}

impl Rates {
    /// Nothing is known yet.
    pub fn noted_every(noted_every: Duration) -> Self {
        Self { noted_every, of: BTreeMap::new(), received: BTreeMap::new() }
    }

    /// Notes what each takes now.
    pub fn note(&mut self, picture: &Picture<'_>) {
        let now = picture.now;
        // Sum and number of what nodes measured of each description.
        let mut measured: BTreeMap<(&StreamName, Description), (f64, u32)> = BTreeMap::new();
        for (node, report) in picture.registry.reports() {
            let reported = picture.registry.reported(node).unwrap_or_default();
            for upstream in &report.upstreams {
                let bytes = upstream.received.iter().map(|source| source.bytes).sum();
                let key = (node.clone(), upstream.stream.clone(), upstream.description);
                if let Some(kbps) = self.received(key, reported, bytes) {
                    let of = measured.entry((&upstream.stream, upstream.description)).or_default();
                    *of = (of.0 + kbps, of.1 + 1);
                }
            }
        }
        self.received.retain(|_, (at, _)| now.since(*at) < FORGOTTEN_AFTER);
        let mean = |(sum, count): (f64, u32)| sum / f64::from(count);
        for (&(stream, description), of) in &measured {
            let other = measured.get(&(stream, description.other()));
            // Both, once; and neither where only one is pulled.
            if let Some(other) = other.filter(|_| description == Description::Zero) {
                self.take(now, stream, (mean(*of) + mean(*other)) / 2.0);
            }
        }
        self.of.retain(|_, rate| now.since(rate.at) < FORGOTTEN_AFTER);
    }

    /// The rate since a node's report of some time before, in kbit/s.
    fn received(
        &mut self,
        key: (NodeId, StreamName, Description),
        at: MediaTime,
        bytes: u64,
    ) -> Option<f64> {
        if !self.received.contains_key(&key) && self.received.len() >= 2 * MOST {
            return None;
        }
        let before = self.received.entry(key).or_insert((at, bytes));
        let over = at.since(before.0);
        let more = bytes.checked_sub(before.1);
        if more.is_some() && over < MEASURED_OVER {
            return None;
        }
        *before = (at, bytes);
        more.map(|bytes| 8.0 * bytes as f64 / over.as_secs_f64() / 1000.0)
    }

    fn take(&mut self, now: MediaTime, stream: &StreamName, kbps: f64) {
        if !self.of.contains_key(stream) && self.of.len() >= MOST {
            return;
        }
        let new =
            || Rate { kbps: Load::begin_every(self.noted_every, now), now: 0.0, noted: 0, at: now };
        let rate = self.of.entry(stream.clone()).or_insert_with(new);
        rate.kbps.update(now, kbps);
        (rate.now, rate.noted, rate.at) = (kbps, rate.noted.saturating_add(1), now);
    }

    /// What a leg takes at each step, in kbit/s; none: nothing is known of it.
    pub fn leg(&self, stream: &StreamName, now: MediaTime) -> Option<[Forecast; K]> {
        let rate = self.of.get(stream)?;
        Some(if rate.noted < YOUNG { flat(rate.now) } else { ahead(&rate.kbps, rate.now, now) })
    }
}

/// What is `measured` now and changes as `demand` is foreseen to; not below nothing.
pub fn ahead(demand: &Load, measured: f64, now: MediaTime) -> [Forecast; K] {
    changes(demand, measured, now).map(|Forecast { load, deviation, period }| Forecast {
        load: load.max(0.0),
        // Nothing has been compared yet where it is infinite.
        deviation: if deviation.is_finite() { deviation } else { 0.0 },
        period,
    })
}

/// What stays as it is, for all that is known.
pub fn flat(measured: f64) -> [Forecast; K] {
    [Forecast { load: measured, deviation: 0.0, period: None }; K]
}
