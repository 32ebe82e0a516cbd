//! Nodes and streams: who is there, who publishes what. Soft: the nodes' reports say it all again.

use std::{collections::BTreeMap, time::Duration};

use gibbon_control::{
    node::{Directory, FromNode, Location, NodeAddress, NodeReport, REPORT_EVERY_MS, StreamOrigin},
    portal::{NodeInfo, StreamInfo},
};
use gibbon_media::{Catalog, MediaTime, NodeId, Role, StreamName};
use gibbon_placement::{Candidate, Position};

/// Nodes known at once, lost ones included.
pub const MAX_NODES: usize = 4096;
/// Streams that one origin may publish.
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
    #[error("only origins and edges register, not a {0}")]
    Role(Role),
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
    /// Only edges serve sessions.
    #[error("an {0} may not serve sessions; only an edge may")]
    Serves(Role),
    /// It publishes too many streams.
    #[error("an origin may publish {MAX_STREAMS} streams, not {0}")]
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
    /// Its newest report.
    pub report: NodeReport,
    /// By description.
    legs: [u32; 2],
    registered: MediaTime,
    reported: MediaTime,
    /// Its newest connection, while that is open.
    link: Option<LinkId>,
    up: bool,
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
        } = register
        else {
            return Err(NodeRefusal::NotRegistered);
        };
        if address.role == Role::Coordinator {
            return Err(NodeRefusal::Role(address.role));
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
            report,
            legs,
            registered: now,
            reported,
            link,
            up,
        };
        self.nodes.insert(id, node);
        Ok(!was_up)
    }

    /// Whether `link` is the newest connection of `node`.
    pub fn is_current(&self, node: &NodeId, link: LinkId) -> bool {
        self.nodes.get(node).is_some_and(|n| n.link == Some(link))
    }

    /// A connection has closed. The node is held to be up until reports are missed: it comes back.
    pub fn closed(&mut self, node: &NodeId, link: LinkId) {
        if let Some(node) = self.nodes.get_mut(node).filter(|n| n.link == Some(link)) {
            node.link = None;
        }
    }

    /// Takes a report in. Returns the one before and whether the node had been lost.
    pub fn report(
        &mut self,
        now: MediaTime,
        id: &NodeId,
        report: NodeReport,
    ) -> Result<(NodeReport, bool), NodeRefusal> {
        let node = self.nodes.get_mut(id).ok_or(NodeRefusal::NotRegistered)?;
        let role = node.address.role;
        if role != Role::Origin && !report.streams.is_empty() {
            return Err(NodeRefusal::Publishes(role));
        }
        if role != Role::Edge && !report.sessions.is_empty() {
            return Err(NodeRefusal::Serves(role));
        }
        if report.streams.len() > MAX_STREAMS {
            return Err(NodeRefusal::TooManyStreams(report.streams.len()));
        }
        node.legs = [0; 2];
        for description in report.sessions.iter().flat_map(|s| &s.legs) {
            node.legs[description.index()] += 1;
        }
        node.reported = now;
        let was_lost = !std::mem::replace(&mut node.up, true);
        Ok((std::mem::replace(&mut node.report, report), was_lost))
    }

    /// The nodes that are lost from now on, with what they last reported; forgets those lost for long.
    pub fn sweep(&mut self, now: MediaTime) -> Vec<(NodeId, NodeReport)> {
        let mut lost = Vec::new();
        for node in self.nodes.values_mut() {
            if node.up && now.since(node.reported) > LOST_AFTER {
                node.up = false;
                node.legs = [0; 2];
                lost.push((node.address.id.clone(), std::mem::take(&mut node.report)));
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

    fn up(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| node.up)
    }

    /// What every node is to know of the others.
    pub fn directory(&self) -> Directory {
        Directory {
            nodes: self.up().map(|node| node.address.clone()).collect(),
            streams: self
                .streams()
                .map(|(origin, catalog)| StreamOrigin {
                    stream: catalog.stream.clone(),
                    origin: origin.clone(),
                })
                .collect(),
        }
    }

    /// Every stream that is published now, with its origin.
    pub fn streams(&self) -> impl Iterator<Item = (&NodeId, &Catalog)> {
        self.up().flat_map(|n| n.report.streams.iter().map(|catalog| (&n.address.id, catalog)))
    }

    /// Who publishes `stream`, and how it is made up.
    pub fn stream(&self, stream: &StreamName) -> Option<(&NodeId, &Catalog)> {
        self.streams().find(|(_, catalog)| catalog.stream == *stream)
    }

    /// All nodes as candidates for placement; `coming(id)` legs are on their way to a node.
    pub fn candidates(&self, coming: impl Fn(&NodeId) -> u32) -> Vec<Candidate> {
        let candidate = |node: &Node| Candidate {
            id: node.address.id.clone(),
            role: node.address.role,
            up: node.up && node.link.is_some(),
            legs: node.legs.iter().sum::<u32>().saturating_add(coming(&node.address.id)),
            capacity: node.capacity_legs,
            position: node.location.map(position),
        };
        self.nodes.values().map(candidate).collect()
    }

    /// For the portal.
    pub fn nodes_info(&self, now: MediaTime) -> Vec<NodeInfo> {
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
            draining: node.report.draining,
            downstreams: node.report.downstreams,
            upstreams: node.report.upstreams.clone(),
            report_age_ms: now.since(node.reported).as_millis() as u64,
        };
        self.nodes.values().map(info).collect()
    }

    /// For the portal; `watched(stream)` sessions watch a stream.
    pub fn streams_info(&self, watched: impl Fn(&StreamName) -> u32) -> Vec<StreamInfo> {
        self.streams()
            .map(|(origin, catalog)| StreamInfo {
                stream: catalog.stream.clone(),
                origin: origin.clone(),
                scheme: catalog.scheme,
                video: catalog
                    .video
                    .as_ref()
                    .map(|v| format!("{}x{}@{}", v.width, v.height, v.rate)),
                audio: catalog.audio.is_some(),
                text: catalog.text.as_ref().map(|text| text.language.clone()),
                sessions: watched(&catalog.stream),
            })
            .collect()
    }
}

/// A location as placement takes it.
pub fn position(location: Location) -> Position {
    Position::new(location.latitude, location.longitude)
}
