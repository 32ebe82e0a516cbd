//! Nodes and streams: who is there, who publishes what. Soft: the nodes' reports say it all again.

mod workers;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gibbon_control::{
    node::{
        Directory, Draining, FromNode, Location, NodeAddress, NodeReport, REPORT_EVERY_MS,
        StreamOrigin,
    },
    portal::{NodeInfo, StreamInfo},
    work::WorkerOffer,
};
use gibbon_media::{Catalog, MediaTime, NodeId, Role, StreamName};
use gibbon_placement::{Candidate, Position};

pub use workers::Assigned;

/// Nodes known at once, lost ones included.
pub const MAX_NODES: usize = 4096;
/// Streams that one origin or worker may publish.
pub const MAX_STREAMS: usize = 256;
/// A node whose last report is older than this is lost: four have been missed.
pub const LOST_AFTER: Duration = Duration::from_millis(4 * REPORT_EVERY_MS);
/// A lost node is remembered this long: others may still reach it, and then its address is needed.
pub const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Names one connection of a node, so that what comes over an older one can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// Why a node is turned away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeRefusal {
    /// The first message is not a registration.
    #[error("a node registers first")]
    NotRegistered,
    /// Certificate and registration differ.
    #[error("the certificate is that of {certificate}, and it registers as {registered}")]
    Impostor {
        /// Role and id by certificate.
        certificate: String,
        /// Role and id by registration.
        registered: String,
    },
    /// Coordinators do not register.
    #[error("only origins, edges and workers register, not a {0}")]
    Role(Role),
    /// A worker says what it offers, and nobody else does.
    #[error("a worker registers with what it offers, and only a worker; this is an {0}")]
    Offer(Role),
    /// The id belongs to a node of another role.
    #[error("the id {id} is taken by a node of role {role}; choose another")]
    Taken {
        /// The id.
        id: NodeId,
        /// Whose it is.
        role: Role,
    },
    /// There are too many nodes.
    #[error("there are {MAX_NODES} nodes already")]
    TooMany,
    /// Only origins publish.
    #[error("an {0} may not publish streams; only an origin may")]
    Publishes(Role),
    /// A worker publishes what its instances make.
    #[error("a worker may publish what its components make, and not {0}")]
    PublishesOther(StreamName),
    /// Only workers run components.
    #[error("an {0} may not run components; only a worker may")]
    Works(Role),
    /// Only edges serve sessions.
    #[error("an {0} may not serve sessions; only an edge may")]
    Serves(Role),
    /// It publishes too many streams.
    #[error("a node may publish {MAX_STREAMS} streams, not {0}")]
    TooManyStreams(usize),
}

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Id, role and address.
    pub address: NodeAddress,
    location: Option<Location>,
    failure_domain: Option<String>,
    capacity_legs: u32,
    capacity_kbps: Option<u64>,
    /// Of a worker.
    offer: Option<WorkerOffer>,
    /// Its newest report.
    pub report: NodeReport,
    /// By description.
    legs: [u32; 2],
    registered: MediaTime,
    reported: MediaTime,
    /// Whether it has reported over its newest connection.
    known: bool,
    /// Its newest connection, while that is open.
    link: Option<LinkId>,
    up: bool,
    /// Since when it has not been up.
    lost: Option<MediaTime>,
}

impl Node {
    /// It is lost: returns what it held.
    fn lose(&mut self, now: MediaTime) -> NodeReport {
        (self.up, self.legs, self.lost) = (false, [0; 2], Some(now));
        std::mem::take(&mut self.report)
    }
}

/// What is known of an edge besides its reports.
#[derive(Debug, Clone, Copy, Default)]
pub struct Expected {
    /// Legs on their way to it or promised to it, by description.
    pub legs: [u32; 2],
    /// Second hands among its legs.
    pub seconds: u32,
    /// Whether it is being emptied.
    pub draining: bool,
}

/// All nodes.
#[derive(Debug, Default)]
pub struct Registry {
    nodes: BTreeMap<NodeId, Node>,
}

impl Registry {
    /// Takes a node in, or back. Whether it was not up before.
    pub fn register(
        &mut self,
        now: MediaTime,
        link: LinkId,
        register: FromNode,
    ) -> Result<bool, NodeRefusal> {
        let FromNode::Register {
            node: address,
            location,
            failure_domain,
            capacity_legs,
            capacity_kbps,
            worker: offer,
        } = register
        else {
            return Err(NodeRefusal::NotRegistered);
        };
        if address.role == Role::Coordinator {
            return Err(NodeRefusal::Role(address.role));
        }
        if offer.is_some() != (address.role == Role::Worker) {
            return Err(NodeRefusal::Offer(address.role));
        }
        let known = self.nodes.get_mut(&address.id);
        if let Some(other) = known.as_ref().filter(|n| n.up && n.address.role != address.role) {
            return Err(NodeRefusal::Taken { id: address.id, role: other.address.role });
        }
        if known.is_none() && self.nodes.len() >= MAX_NODES {
            return Err(NodeRefusal::TooMany);
        }
        // What it held is kept until it reports: it may have lost only its connection.
        let (was_up, report, legs) = match self.nodes.remove(&address.id) {
            Some(node) => (node.up, node.report, node.legs),
            None => (false, NodeReport::default(), [0; 2]),
        };
        let (id, link, up, reported) = (address.id.clone(), Some(link), true, now);
        let node = Node {
            address,
            location,
            failure_domain,
            capacity_legs,
            capacity_kbps,
            offer,
            report,
            legs,
            registered: now,
            reported,
            known: false,
            link,
            up,
            lost: None,
        };
        self.nodes.insert(id, node);
        Ok(!was_up)
    }

    /// Whether `link` is the newest connection of `node`.
    pub fn is_current(&self, node: &NodeId, link: LinkId) -> bool {
        self.nodes.get(node).is_some_and(|n| n.link == Some(link))
    }

    /// A connection has closed. The node is held to be up until reports are missed, for it comes back; but
    /// not an edge or worker that has said that it is `leaving`: what it last reported is returned.
    pub fn closed(
        &mut self,
        now: MediaTime,
        node: &NodeId,
        link: LinkId,
        leaving: bool,
    ) -> Option<NodeReport> {
        let node = self.nodes.get_mut(node).filter(|n| n.link == Some(link))?;
        node.link = None;
        let goes = matches!(node.address.role, Role::Edge | Role::Worker);
        (leaving && node.up && goes).then(|| node.lose(now))
    }

    /// Takes a report in. Returns the one before and whether the node had been lost.
    pub fn report(
        &mut self,
        now: MediaTime,
        id: &NodeId,
        mut report: NodeReport,
    ) -> Result<(NodeReport, bool), NodeRefusal> {
        let node = self.nodes.get_mut(id).ok_or(NodeRefusal::NotRegistered)?;
        let role = node.address.role;
        may_publish(role, &report)?;
        if role != Role::Edge && !report.sessions.is_empty() {
            return Err(NodeRefusal::Serves(role));
        }
        if role != Role::Worker && report.work.is_some() {
            return Err(NodeRefusal::Works(role));
        }
        if report.streams.len() > MAX_STREAMS {
            return Err(NodeRefusal::TooManyStreams(report.streams.len()));
        }
        node.legs = [0; 2];
        for description in report.sessions.iter().flat_map(|s| &s.legs) {
            node.legs[description.index()] += 1;
        }
        (node.reported, node.known) = (now, true);
        node.lost = None;
        let was_lost = !std::mem::replace(&mut node.up, true);
        if report.health.is_none() {
            // Told less often than the rest: what was said last holds.
            let NodeReport { health, links, publishing, .. } = node.report.clone();
            (report.health, report.links, report.publishing) = (health, links, publishing);
        }
        Ok((std::mem::replace(&mut node.report, report), was_lost))
    }

    /// Nobody could be heard for `time`: it does not count as silence.
    pub fn excuse(&mut self, time: Duration) {
        for node in self.nodes.values_mut().filter(|node| node.up) {
            node.reported = node.reported + time;
        }
    }

    /// The nodes that are lost from now on, with what they last reported; forgets those lost for long.
    pub fn sweep(&mut self, now: MediaTime) -> Vec<(NodeId, NodeReport)> {
        let mut lost = Vec::new();
        for node in self.nodes.values_mut() {
            if node.up && now.since(node.reported) > LOST_AFTER {
                lost.push((node.address.id.clone(), node.lose(now)));
            }
        }
        self.nodes.retain(|_, node| node.up || now.since(node.reported) <= FORGET_AFTER);
        lost
    }

    /// Where a node is reached, up or not.
    pub fn address(&self, id: &NodeId) -> Option<&NodeAddress> {
        self.nodes.get(id).map(|node| &node.address)
    }

    /// Whether a node is up.
    pub fn is_up(&self, id: &NodeId) -> bool {
        self.nodes.get(id).is_some_and(|node| node.up)
    }

    /// Edges that have been lost for `time` or more.
    pub fn lost_for(&self, now: MediaTime, time: Duration) -> BTreeSet<NodeId> {
        let long = |node: &&Node| node.lost.is_some_and(|at| now.since(at) >= time);
        let edges = self.nodes.values().filter(|node| node.address.role == Role::Edge);
        edges.filter(long).map(|node| node.address.id.clone()).collect()
    }

    /// What each node that is up reported last.
    pub fn reports(&self) -> impl Iterator<Item = (&NodeId, &NodeReport)> {
        self.up().map(|node| (&node.address.id, &node.report))
    }

    /// What a node reported last.
    pub fn last_report(&self, id: &NodeId) -> Option<&NodeReport> {
        self.nodes.get(id).map(|node| &node.report)
    }

    /// When a node reported last.
    pub fn reported(&self, id: &NodeId) -> Option<MediaTime> {
        self.nodes.get(id).map(|node| node.reported)
    }

    fn up(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| node.up)
    }

    /// What every node is to know of the others; `made` are the streams that workers are to be asked for.
    pub fn directory(&self, made: impl Iterator<Item = StreamOrigin>) -> Directory {
        let origins = self.streams().map(|(origin, catalog)| StreamOrigin {
            stream: catalog.stream.clone(),
            origin: origin.clone(),
        });
        Directory {
            nodes: self.up().map(|node| node.address.clone()).collect(),
            streams: origins.chain(made).collect(),
        }
    }

    /// Every stream that an origin publishes now.
    pub fn streams(&self) -> impl Iterator<Item = (&NodeId, &Catalog)> {
        self.up()
            .filter(|node| node.address.role == Role::Origin)
            .flat_map(|n| n.report.streams.iter().map(|catalog| (&n.address.id, catalog)))
    }

    /// Which origin publishes `stream`, and how it is made up.
    pub fn stream(&self, stream: &StreamName) -> Option<(&NodeId, &Catalog)> {
        self.streams().find(|(_, catalog)| catalog.stream == *stream)
    }

    /// What one leg takes, in kbit/s: the mean of those there are; 0 if there are none.
    pub fn leg_kbps(&self) -> u64 {
        let legs: u64 =
            self.up().map(|node| u64::from(node.legs[0]) + u64::from(node.legs[1])).sum();
        let kbps = self.up().fold(0u64, |sum, node| sum.saturating_add(node.report.kbps));
        kbps.checked_div(legs).unwrap_or(0)
    }

    /// All nodes as candidates for placement, in order of id; `expected(id)` is what is not in a node's
    /// reports.
    pub fn candidates(&self, expected: impl Fn(&NodeId) -> Expected) -> Vec<Candidate> {
        let leg_kbps = self.leg_kbps();
        let candidate = |node: &Node| {
            let Expected { legs, seconds, draining } = expected(&node.address.id);
            let coming = u64::from(legs[0]) + u64::from(legs[1]);
            Candidate {
                id: node.address.id.clone(),
                role: node.address.role,
                up: node.up && node.link.is_some(),
                draining,
                domain: node.failure_domain.clone(),
                legs: [0, 1].map(|d| node.legs[d].saturating_add(legs[d])),
                seconds,
                capacity: node.capacity_legs,
                kbps: node.report.kbps.saturating_add(coming.saturating_mul(leg_kbps)),
                capacity_kbps: node.capacity_kbps,
                position: node.location.map(position),
            }
        };
        self.nodes.values().map(candidate).collect()
    }

    /// For the portal.
    pub fn nodes_info(
        &self,
        now: MediaTime,
        draining: impl Fn(&NodeId) -> Option<Draining>,
        leaves_at: impl Fn(&NodeId) -> Option<MediaTime>,
        assigned: impl Fn(&NodeId) -> Assigned,
    ) -> Vec<NodeInfo> {
        let info = |node: &Node| NodeInfo {
            id: node.address.id.clone(),
            role: node.address.role,
            address: node.address.address,
            location: node.location,
            failure_domain: node.failure_domain.clone(),
            up: node.up,
            registered_us: node.registered.as_micros(),
            legs: node.legs.iter().sum(),
            legs_by_description: node.legs,
            capacity_legs: node.capacity_legs,
            kbps: node.report.kbps,
            capacity_kbps: node.capacity_kbps,
            draining: draining(&node.address.id),
            maintenance_in_ms: leaves_at(&node.address.id)
                .map(|at| at.since(now).as_millis() as u64),
            downstreams: node.report.downstreams,
            upstreams: node.report.upstreams.clone(),
            report_age_ms: now.since(node.reported).as_millis() as u64,
            worker: node.worker_info(|| assigned(&node.address.id)),
        };
        self.nodes.values().map(info).collect()
    }
}

/// Whether a node of this role may publish what it reports: a worker only what instances in the same report
/// make. Others pull from it only what has been assigned to it.
fn may_publish(role: Role, report: &NodeReport) -> Result<(), NodeRefusal> {
    match role {
        Role::Origin => Ok(()),
        Role::Worker => {
            let instances = report.work.iter().flat_map(|work| &work.instances);
            let made: BTreeSet<_> = instances.map(|i| i.spec.stream()).collect();
            let other = report.streams.iter().find(|catalog| !made.contains(&catalog.stream));
            other.map_or(Ok(()), |c| Err(NodeRefusal::PublishesOther(c.stream.clone())))
        }
        _ if report.streams.is_empty() => Ok(()),
        role => Err(NodeRefusal::Publishes(role)),
    }
}

/// For the portal: a stream that `origin` publishes.
pub fn stream_info(origin: &NodeId, catalog: &Catalog, sessions: u32) -> StreamInfo {
    let video = catalog.video.as_ref();
    StreamInfo {
        stream: catalog.stream.clone(),
        origin: origin.clone(),
        source: None,
        scheme: catalog.scheme,
        video: video.map(|v| format!("{}x{}@{}", v.width, v.height, v.rate)),
        audio: catalog.audio.is_some(),
        text: catalog.text.as_ref().map(|text| text.language.clone()),
        sessions,
    }
}

/// A location as placement takes it.
pub fn position(location: Location) -> Position {
    Position::new(location.latitude, location.longitude)
}
