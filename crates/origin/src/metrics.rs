//! What an origin shows of itself.

use std::sync::Arc;

use gibbon_control::{metrics, process};
use gibbon_media::Description;
use gibbon_monitor::{Monitor, Page, Sample};
use tokio::sync::watch;

use crate::{server::Origin, source::Source};

/// Shows `origin` from now on, which has begun to serve; `connected` says whether the coordinator is there.
pub fn show(monitor: &Monitor, origin: &Arc<Origin>, connected: watch::Receiver<bool>) {
    let shown = origin.clone();
    monitor.collect(move |page| {
        metrics::collect(page, &shown.report(), *connected.borrow());
        collect(page, &shown);
        metrics::sent(page, std::iter::once(&*shown.sent));
    });
    monitor.ready_unless(|| Ok(()));
}

fn collect(page: &mut Page<'_>, origin: &Origin) {
    page.gauge("gibbon_streams", "Streams that are published.", [origin.sources().count()]);
    page.gauge(
        "gibbon_origin_lag_seconds",
        "How far the newest media published of a description are behind the clock.",
        origin.sources().flat_map(lags),
    );
    let tracks = || origin.sources().flat_map(|source| &source.tracks);
    let bytes: usize = tracks().map(|tracks| tracks.bytes()).sum();
    page.gauge("gibbon_cache_bytes", "Payload held in caches.", [bytes]);
}

/// Of the descriptions of which something has been published.
fn lags(source: &Source) -> impl Iterator<Item = Sample> {
    let now = process::now();
    Description::BOTH.into_iter().filter_map(move |description| {
        let live = source.tracks[description.index()].live();
        let labels: [(_, &dyn std::fmt::Display); 2] =
            [("stream", &source.catalog.stream), ("description", &description)];
        let lag = now.since(live).as_secs_f64();
        (live.as_micros() > 0).then(|| Sample::new(labels, lag))
    })
}
