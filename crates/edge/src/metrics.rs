//! What an edge shows of itself.

use std::sync::Arc;

use gibbon_control::metrics::{self, KBPS};
use gibbon_media::Description;
use gibbon_monitor::{Counts, Monitor, Page, Sample, prometheus_client::registry::Registry};
use gibbon_net::wire::RejectCode;
use tokio::sync::watch;

use crate::{admission::Capacity, edge::Edge};

/// Legs that were refused, by code.
#[derive(Debug)]
pub struct Refusals(Counts);

impl Default for Refusals {
    fn default() -> Self {
        let refusals = Self(Counts::default());
        RejectCode::ALL.iter().for_each(|code| refusals.0.expect([("code", &code.as_str())]));
        refusals
    }
}

impl Refusals {
    /// One more.
    pub fn count(&self, code: RejectCode) {
        self.0.add([("code", &code.as_str())], 1.0);
    }

    fn register(&self, registry: &mut Registry) {
        self.0.register(registry, "gibbon_edge_refusals", "Legs that were refused");
    }
}

/// Shows `edge` from now on, which has begun to serve; `connected` says whether the coordinator is there.
pub fn show(
    monitor: &Monitor,
    edge: &Arc<Edge>,
    capacity: Capacity,
    connected: watch::Receiver<bool>,
) {
    monitor.register(|registry| edge.refusals.register(registry));
    let shown = edge.clone();
    monitor.collect(move |page| collect(page, &shown, capacity, *connected.borrow()));
    let drain = edge.drain.clone();
    monitor.ready_unless(move || drain.ready());
}

fn collect(page: &mut Page<'_>, edge: &Edge, capacity: Capacity, connected: bool) {
    let report = edge.report();
    metrics::collect(page, &report, connected);
    let legs = Description::BOTH.map(|description| {
        let with = report.sessions.iter().filter(|session| session.legs.contains(&description));
        Sample::new([("description", &description)], with.count())
    });
    page.gauge("gibbon_edge_legs", "Legs that are served.", legs);
    page.counter(
        "gibbon_edge_legs_ended_total",
        "Legs that have ended, however.",
        [edge.sessions.departed()],
    );
    page.gauge(
        "gibbon_edge_sessions",
        "Sessions of which anything is held, be it a prefetch.",
        [edge.sessions.count()],
    );
    page.gauge(
        "gibbon_edge_viewer_connections",
        "Sessions whose client is connected.",
        [report.sessions.len()],
    );
    page.gauge("gibbon_edge_capacity_legs", "Legs that it carries at once.", [capacity.legs]);
    page.gauge(
        "gibbon_edge_sending_bytes",
        "What its legs take per second, by the rates at which their descriptions arrive.",
        [report.kbps * KBPS],
    );
    page.gauge(
        "gibbon_edge_capacity_bytes",
        "What it can send per second, if that is limited.",
        capacity.kbps.map(|kbps| kbps * KBPS),
    );
    page.gauge("gibbon_cache_bytes", "Payload held in caches.", [edge.relays.cached_bytes()]);
    page.gauge(
        "gibbon_cache_groups",
        "Groups held in caches, whole or in part.",
        [edge.relays.cached_groups()],
    );
    metrics::sent(page, edge.shards.iter().map(|shard| &*shard.sent));
}
