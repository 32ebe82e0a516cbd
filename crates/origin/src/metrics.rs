//! What an origin shows of itself.

use std::sync::Arc;

use gibbon_control::metrics;
use gibbon_monitor::Monitor;
use tokio::sync::watch;

use crate::server::Origin;

/// Shows `origin` from now on, which has begun to serve; `connected` says whether the coordinator is there.
pub fn show(monitor: &Monitor, origin: &Arc<Origin>, connected: watch::Receiver<bool>) {
    let shown = origin.clone();
    monitor.collect(move |page| {
        metrics::collect(page, &shown.report(), *connected.borrow());
        metrics::published(page, shown.sources().map(|s| (&s.catalog.stream, &s.tracks)));
        metrics::sent(page, std::iter::once(&*shown.sent));
    });
    monitor.ready_unless(|| Ok(()));
}
