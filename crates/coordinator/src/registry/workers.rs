//! Workers among the nodes: what they offer and do, as placement and the portal take it.

use std::time::Duration;

use gibbon_control::{
    links::MAX_LINKS, portal::WorkerInfo, telemetry::LinkReport, work::WorkReport,
};
use gibbon_media::{NodeId, StreamName};
use gibbon_placement::assign::{Link, SourceAt, WorkerState};

use super::{Node, Registry, position};

/// What is known of a worker besides its reports.
#[derive(Debug, Clone, Copy, Default)]
pub struct Assigned {
    /// Cores and memory (MiB) that what has been assigned to it is expected to take.
    pub cores: f64,
    /// In MiB.
    pub memory_mib: u64,
    /// What it is to publish and does not yet, in kbit/s.
    pub kbps: u64,
    /// Whether it is being emptied.
    pub draining: bool,
}

impl Registry {
    /// The origins of `stream`, as placement takes them.
    pub fn source(&self, stream: &StreamName) -> SourceAt {
        let published = self.streams().filter(|(_, catalog)| catalog.stream == *stream);
        let nodes: Vec<_> = published.map(|(origin, _)| origin.clone()).collect();
        let first = nodes.first().and_then(|id| self.nodes.get(id));
        SourceAt { position: first.and_then(|node| node.location).map(position), nodes }
    }

    /// Workers that can be given orders: connected, and known by a report since.
    pub fn workers(&self) -> impl Iterator<Item = &NodeId> {
        self.up().filter(|node| node.is_at_work()).map(|node| &node.address.id)
    }

    /// The failure domain that a node declares.
    pub fn domain(&self, id: &NodeId) -> Option<&String> {
        self.nodes.get(id)?.failure_domain.as_ref()
    }

    /// All workers as placement takes them, in order of id; `assigned(id)` is what is not in their reports.
    pub fn worker_states(&self, assigned: impl Fn(&NodeId) -> Assigned) -> Vec<WorkerState> {
        let state = |node: &Node| {
            let offer = node.offer.as_ref()?;
            let assigned = assigned(&node.address.id);
            let idle = WorkReport::default();
            let work = node.report.work.as_ref().unwrap_or(&idle);
            let links = node.report.links.iter().take(MAX_LINKS);
            Some(WorkerState {
                id: node.address.id.clone(),
                up: node.up && node.is_at_work(),
                draining: assigned.draining,
                domain: node.failure_domain.clone(),
                components: offer.components.clone(),
                cores: finite(offer.cores),
                busy_cores: finite(work.busy_cores).max(assigned.cores),
                measured_cores: finite(work.busy_cores),
                memory_mib: offer.memory_mib,
                used_memory_mib: work.memory_mib.max(assigned.memory_mib),
                position: node.location.map(position),
                uplink_kbps: offer.uplink_kbps,
                sent_kbps: work.sent_kbps.saturating_add(assigned.kbps),
                links: links.map(|report| (report.node.clone(), link(report))).collect(),
            })
        };
        self.nodes.values().filter_map(state).collect()
    }
}

impl Node {
    /// Whether it can be given orders.
    fn is_at_work(&self) -> bool {
        self.offer.is_some() && self.link.is_some() && self.known
    }

    /// For the portal.
    pub(super) fn worker_info(&self, assigned: impl FnOnce() -> Assigned) -> Option<WorkerInfo> {
        let offer = self.offer.clone()?;
        let work = self.report.work.clone().unwrap_or_default();
        Some(WorkerInfo {
            offer,
            busy_cores: work.busy_cores,
            reserved_cores: work.busy_cores.max(assigned().cores),
            used_mib: work.memory_mib,
            sent_kbps: work.sent_kbps,
            instances: work.instances.len() as u32,
            links: self.report.links.clone(),
        })
    }
}

fn link(report: &LinkReport) -> Link {
    Link {
        rtt: Duration::from_micros(report.rtt_us),
        loss: finite(report.loss).min(1.0),
        bandwidth_kbps: report.bandwidth_kbps,
        load_kbps: report.load_kbps,
    }
}

/// A worker may report anything.
fn finite(figure: f64) -> f64 {
    if figure.is_finite() { figure.max(0.0) } else { 0.0 }
}
