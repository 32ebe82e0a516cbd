//! Metrics that edges, origins and workers have alike, read out of what they report to the coordinator.

use std::{
    fmt::Display,
    sync::atomic::{AtomicU64, Ordering},
};

use gibbon_media::NodeId;
use gibbon_monitor::{Page, Sample};
use gibbon_net::publish::Sent;

use crate::node::{NodeReport, UpstreamReport};

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
