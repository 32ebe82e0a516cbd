//! Metrics that edges, origins and workers have alike, read out of what they report to the coordinator.

use std::{
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gibbon_media::{Description, NodeId, StreamName};
use gibbon_monitor::{Page, Sample};
use gibbon_net::{cache::Tracks, publish::Sent};

use crate::{
    node::{NodeReport, UpstreamReport},
    process,
};

/// Bytes per second of a kbit/s.
pub const KBPS: u64 = 1000 / 8;

/// Shows what every node has; `connected` says whether the coordinator is there.
pub fn collect(page: &mut Page<'_>, report: &NodeReport, connected: bool) {
    page.gauge("gibbon_coordinator_connected", "Whether the coordinator is there.", [connected]);
    page.gauge(
        "gibbon_draining",
        "Whether the node is being emptied.",
        [report.draining.is_some()],
    );
    page.gauge(
        "gibbon_downstreams",
        "Subscriptions that other nodes have here.",
        [report.downstreams],
    );
    upstreams(page, &report.upstreams);
}

/// Shows the streams that are published here: their names, and what is held of each description.
pub fn published<'a>(
    page: &mut Page<'_>,
    streams: impl Iterator<Item = (&'a StreamName, &'a [Arc<Tracks>; 2])> + Clone,
) {
    page.gauge("gibbon_streams", "Streams that are published.", [streams.clone().count()]);
    page.gauge(
        "gibbon_origin_lag_seconds",
        "How far the newest media published of a description are behind the clock.",
        streams.clone().flat_map(|(stream, tracks)| lags(stream, tracks)),
    );
    let bytes: usize = streams.flat_map(|(_, tracks)| tracks).map(|tracks| tracks.bytes()).sum();
    page.gauge("gibbon_cache_bytes", "Payload held in caches.", [bytes]);
}

/// How far the newest media published of a description are behind the clock; none before the first.
pub fn lag(tracks: &Tracks) -> Option<Duration> {
    let live = tracks.live();
    (live.as_micros() > 0).then(|| process::now().since(live))
}

fn lags(stream: &StreamName, tracks: &[Arc<Tracks>; 2]) -> impl Iterator<Item = Sample> {
    Description::BOTH.into_iter().filter_map(move |description| {
        let lag = lag(&tracks[description.index()])?;
        let labels: [(_, &dyn Display); 2] = [("stream", stream), ("description", &description)];
        Some(Sample::new(labels, lag.as_secs_f64()))
    })
}

type Count = fn(&Sent) -> &AtomicU64;

/// Shows what has been sent to viewers and nodes, by the shard that sent it.
pub fn sent<'a>(page: &mut Page<'_>, shards: impl Iterator<Item = &'a Sent> + Clone) {
    let each = |of: Count| {
        let read =
            move |(shard, sent)| Sample::new([("shard", &shard)], of(sent).load(Ordering::Relaxed));
        shards.clone().enumerate().map(read)
    };
    page.counter(
        "gibbon_delivered_frames_total",
        "Frames sent to viewers and nodes, of all media.",
        each(|sent| &sent.frames),
    );
    page.counter(
        "gibbon_delivered_bytes_total",
        "Their bytes, heads included.",
        each(|sent| &sent.bytes),
    );
    page.counter(
        "gibbon_delivery_bursts_total",
        "Times that a connection was given all that was due to it.",
        each(|sent| &sent.bursts),
    );
    let reasons: [(&str, Count); 3] = [
        ("outlived", |sent| &sent.outlived),
        ("evicted", |sent| &sent.evicted),
        ("cancelled", |sent| &sent.cancelled),
    ];
    let dropped = reasons.into_iter().flat_map(|(reason, of)| {
        shards.clone().enumerate().map(move |(shard, sent)| {
            let labels: [(_, &dyn Display); 2] = [("shard", &shard), ("reason", &reason)];
            Sample::new(labels, of(sent).load(Ordering::Relaxed))
        })
    });
    page.counter("gibbon_dropped_groups_total", "Groups that were not sent to their end.", dropped);
}

fn upstreams(page: &mut Page<'_>, upstreams: &[UpstreamReport]) {
    let each = || upstreams.iter();
    page.gauge(
        "gibbon_upstreams",
        "Descriptions that are pulled, by whether there is a source to pull from.",
        [true, false].map(|fed| {
            let count = each().filter(|upstream| upstream.source.is_some() == fed).count();
            Sample::new([("state", &if fed { "fed" } else { "looking" })], count)
        }),
    );
    page.gauge(
        "gibbon_upstream_subscribers",
        "Viewers and nodes that a description is pulled for.",
        each().map(|u| {
            let labels: [(_, &dyn Display); 2] =
                [("stream", &u.stream), ("description", &u.description)];
            Sample::new(labels, u.subscribers)
        }),
    );
    let received = each().flat_map(|upstream| {
        upstream.received.iter().map(move |received| (upstream, &received.source, received.bytes))
    });
    page.counter(
        "gibbon_upstream_received_bytes_total",
        "Payload that has come of a description, by the node it came from.",
        received.map(|(upstream, source, bytes): (_, &NodeId, _)| {
            let UpstreamReport { stream, description, .. } = upstream;
            Sample::new(
                [("stream", stream), ("description", description), ("source", source)],
                bytes,
            )
        }),
    );
}
