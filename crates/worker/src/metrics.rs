//! What a worker shows of itself.

use std::sync::Arc;

use gibbon_control::{
    metrics::{self, KBPS},
    work::{InstanceState, WorkReport, WorkerOffer},
};
use gibbon_monitor::{Monitor, Page, Sample};
use tokio::sync::watch;

use crate::worker::Worker;

/// Bytes of a MiB.
const MIB: u64 = 1024 * 1024;

/// Shows `worker` from now on, which has begun to serve; `connected` says whether the coordinator is there.
pub fn show(monitor: &Monitor, worker: &Arc<Worker>, connected: watch::Receiver<bool>) {
    let shown = worker.clone();
    monitor.collect(move |page| {
        let report = shown.report();
        metrics::collect(page, &report, *connected.borrow());
        metrics::sent(page, std::iter::once(&*shown.sent));
        shown_offer(page, &shown.offer);
        report.work.iter().for_each(|work| shown_work(page, work));
    });
    let worker = worker.clone();
    monitor.ready_unless(move || worker.drain.ready());
}

fn shown_offer(page: &mut Page<'_>, offer: &WorkerOffer) {
    page.gauge(
        "gibbon_worker_capacity_cores",
        "Cores that components may keep busy.",
        [offer.cores],
    );
    page.gauge(
        "gibbon_worker_capacity_memory_bytes",
        "Memory that it may use, its segments included.",
        [offer.memory_mib * MIB],
    );
}

fn shown_work(page: &mut Page<'_>, work: &WorkReport) {
    type Is = fn(&InstanceState) -> bool;
    let states: [(&str, Is); 4] = [
        ("starting", |state| matches!(state, InstanceState::Starting)),
        ("running", |state| matches!(state, InstanceState::Running)),
        ("restarting", |state| matches!(state, InstanceState::Restarting { .. })),
        ("failed", |state| matches!(state, InstanceState::Failed { .. })),
    ];
    page.gauge(
        "gibbon_worker_instances",
        "Component instances, by how they are.",
        states.map(|(name, is)| {
            let count = work.instances.iter().filter(|instance| is(&instance.state)).count();
            Sample::new([("state", &name)], count)
        }),
    );
    page.counter(
        "gibbon_worker_restarts_total",
        "How often the segment of an instance that is here was started anew.",
        work.instances.iter().map(|instance| {
            Sample::new([("instance", &instance.spec.instance)], instance.restarts)
        }),
    );
    page.gauge(
        "gibbon_worker_busy_cores",
        "Cores kept busy, segments included.",
        [work.busy_cores],
    );
    page.gauge(
        "gibbon_worker_memory_bytes",
        "Memory in use, segments included.",
        [work.memory_mib * MIB],
    );
    page.gauge(
        "gibbon_worker_sending_bytes",
        "What is sent to other nodes per second.",
        [work.sent_kbps * KBPS],
    );
}
