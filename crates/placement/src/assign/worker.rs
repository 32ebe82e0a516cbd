//! A worker as placement sees it.

use std::{collections::BTreeMap, time::Duration};

use gibbon_media::{NodeId, Priority};

use crate::Position;

/// Share of a worker that the least important work may fill; the most important may fill [`LIMIT_MOST`].
const LIMIT_LEAST: f64 = 0.80;
/// The rest is for what is not foreseen: components that need more than expected.
const LIMIT_MOST: f64 = 0.98;

/// A worker that may be chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerState {
    /// Which.
    pub id: NodeId,
    /// Whether it can be reached.
    pub up: bool,
    /// Whether it is being emptied.
    pub draining: bool,
    /// Nodes of one failure domain may fail together; one that declares none is a domain of its own.
    pub domain: Option<String>,
    /// The components that it offers, by name.
    pub components: Vec<String>,
    /// Cores that it may keep busy.
    pub cores: f64,
    /// Cores that it keeps busy, those promised to what has been assigned to it included.
    pub busy_cores: f64,
    /// The same as it reports, without what is promised.
    pub measured_cores: f64,
    /// Memory that it may use, in MiB.
    pub memory_mib: u64,
    /// Memory in use, what is promised included, in MiB.
    pub used_memory_mib: u64,
    /// Where it stands, if known.
    pub position: Option<Position>,
    /// What it can send to other nodes at once, in kbit/s, if that is limited.
    pub uplink_kbps: Option<u64>,
    /// What it sends now, what is promised included, in kbit/s.
    pub sent_kbps: u64,
    /// Its paths to other nodes.
    pub links: BTreeMap<NodeId, Link>,
}

/// A path from one node to another, by QUIC's own figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Share of packets lost of those sent of late, 0 to 1.
    pub loss: f64,
    /// What the path is known to carry, in kbit/s: congestion window by round-trip time. Of a path that carries
    /// little this is a lower bound, for the window has not been tried.
    pub bandwidth_kbps: u64,
    /// What goes over it now, in kbit/s.
    pub load_kbps: u64,
}

impl WorkerState {
    /// Cores that may be busy with work of this priority: 80 % at 0, 98 % at 9.
    pub fn limit(&self, priority: Priority) -> f64 {
        let reserve = f64::from(u8::from(priority)) / f64::from(u8::from(Priority::MAX));
        self.cores * (LIMIT_LEAST + (LIMIT_MOST - LIMIT_LEAST) * reserve)
    }

    /// Its load as a share of its cores.
    pub fn load(&self) -> f64 {
        if self.cores > 0.0 { self.busy_cores / self.cores } else { f64::INFINITY }
    }

    /// The path between it and `other`, from there to here or, where only the way back is known, that: its time
    /// and loss are those of both ways, what it carries is not.
    pub(super) fn link_from(&self, other: &WorkerState) -> Option<Path> {
        let forth = other.links.get(&self.id).map(|link| Path { link: *link, measured: true });
        forth.or_else(|| self.link_back_to(&other.id))
    }

    /// The path from `node`, by the figures of the way back.
    pub(super) fn link_back_to(&self, node: &NodeId) -> Option<Path> {
        self.links.get(node).map(|link| Path { link: *link, measured: false })
    }
}

/// A path in the direction in which media go over it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path {
    pub link: Link,
    /// Whether what it carries has been measured in that direction.
    pub measured: bool,
}
