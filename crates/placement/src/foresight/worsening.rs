//! Paths that get worse whoever looks: what most clients of a node see of their paths to it, others are to expect.

use std::{collections::HashMap, hash::Hash, time::Duration};

use gibbon_media::MediaTime;

use super::{
    NodeIndex,
    horizon::K,
    outlook::{Domain, NodeOutlook},
    session::Session,
};

/// What fewer clients see may be their own.
const CLIENTS: usize = 3;

/// By how much slack changes until each step, in ms.
type Change = [f64; K];

/// What the clients of one node, or of one failure domain, see.
#[derive(Debug, Default)]
struct Looks {
    clients: usize,
    worse: Vec<Change>,
}

impl Looks {
    fn add(&mut self, change: Option<Change>) {
        self.clients += 1;
        self.worse.extend(change);
    }

    /// What most see, or worse; `None`: too few have looked. No client decides it alone, whatever it says.
    fn most(mut self) -> Option<Change> {
        let by_end = |a: &Change, b: &Change| a[K - 1].total_cmp(&b[K - 1]);
        let middle = self.clients / 2;
        if self.clients < CLIENTS {
            return None;
        }
        if middle >= self.worse.len() {
            return Some([0.0; K]);
        }
        Some(*self.worse.select_nth_unstable_by(middle, by_end).1)
    }
}

/// What has been seen so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    nodes: HashMap<NodeIndex, Looks>,
    domains: HashMap<Domain, Looks>,
}

impl Watch {
    /// Counts what a client measured within so long: one that stands, for another's paths change as it moves.
    pub fn add(
        &mut self,
        session: &Session,
        nodes: &[NodeOutlook],
        now: MediaTime,
        within: Duration,
    ) {
        if session.whereabouts().moves() {
            return;
        }
        let fresh =
            session.paths().iter().filter(|(_, path)| now.since(path.measured_at()) < within);
        for (node, path) in fresh {
            let ahead = (!path.calm() && path.trend() < 0.0).then(|| path.forecast());
            let change = ahead.map(|ahead| ahead.map(|(slack_ms, _)| slack_ms - ahead[0].0));
            self.nodes.entry(*node).or_default().add(change);
            if let Some(domain) = nodes.get(node.at()).and_then(|node| node.domain) {
                self.domains.entry(domain).or_default().add(change);
            }
        }
    }

    /// What it comes to.
    pub fn end(self) -> Worsening {
        fn most<Key: Eq + Hash>(seen: HashMap<Key, Looks>) -> HashMap<Key, Change> {
            seen.into_iter().filter_map(|(key, looks)| Some((key, looks.most()?))).collect()
        }
        Worsening { nodes: most(self.nodes), domains: most(self.domains) }
    }
}

/// How paths to each node, and to those of each failure domain, get worse.
#[derive(Debug, Default)]
pub(super) struct Worsening {
    nodes: HashMap<NodeIndex, Change>,
    domains: HashMap<Domain, Change>,
}

impl Worsening {
    /// By how much paths to a node will have got worse at each step, in ms below zero: by what its own clients see, else by
    /// what those of its failure domain do.
    pub fn of(&self, node: NodeIndex, domain: Option<Domain>) -> Change {
        let shared = || self.domains.get(&domain?);
        self.nodes.get(&node).or_else(shared).copied().unwrap_or_default()
    }
}
