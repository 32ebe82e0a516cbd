//! What this node knows of the network: the coordinator's directory, and upstreams given by hand.

use gibbon_control::node::{Directory, NodeAddress};
use gibbon_media::{Description, NodeId, Role, StreamName};
use tokio::sync::watch;

/// The directory as it stands.
pub struct Network {
    /// This node.
    own: NodeId,
    directory: watch::Sender<Directory>,
    /// Asked for any stream that the directory does not name.
    fixed: Vec<NodeAddress>,
}

impl Network {
    /// As `own` sees it, with upstreams for streams that the directory does not name.
    pub fn new(own: NodeId, fixed: Vec<NodeAddress>) -> Self {
        Self { own, directory: watch::Sender::default(), fixed }
    }

    /// The coordinator says how things stand.
    pub fn update(&self, directory: Directory) {
        self.directory.send_replace(directory);
    }

    /// The directory as it stands, and whenever it changes.
    pub fn directory(&self) -> watch::Receiver<Directory> {
        self.directory.subscribe()
    }

    /// The edge `id`.
    pub fn edge(&self, id: &NodeId) -> Option<NodeAddress> {
        let directory = self.directory.borrow();
        directory.node(id).filter(|node| node.role == Role::Edge).cloned()
    }

    /// The other edges, each edge's list beginning with the next after it by name: so that not all turn to
    /// the same one.
    pub fn other_edges(&self) -> Vec<NodeAddress> {
        let directory = self.directory.borrow();
        let others = directory.nodes.iter();
        let others = others.filter(|node| node.role == Role::Edge && node.id != self.own);
        let mut others: Vec<_> = others.cloned().collect();
        others.sort_by(|a, b| (a.id < self.own, &a.id).cmp(&(b.id < self.own, &b.id)));
        others
    }

    /// Where to pull a description from, best first. Where there are several sources, the two
    /// descriptions begin with different ones.
    pub fn upstreams(&self, stream: &StreamName, description: Description) -> Vec<NodeAddress> {
        let directory = self.directory.borrow();
        let mut sources: Vec<_> = directory.origins(stream).cloned().collect();
        if sources.is_empty() {
            sources.clone_from(&self.fixed);
        }
        if sources.len() > 1 {
            let shift = description.index() % sources.len();
            sources.rotate_left(shift);
        }
        sources
    }
}
