//! The runner's own log of which edges could serve when, to hold against what viewers saw.

use std::collections::{BTreeMap, BTreeSet};

use gibbon_media::NodeId;
use gibbon_testbed::{Fault, Partition, Party, seen::Span};

/// A frozen frame is excused if in so much time before its deadline there was a moment without an edge
/// that could serve, in µs.
const EXCUSED_WITHIN_US: u64 = 2_000_000;

/// Why an edge cannot serve clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Its process is dead.
    Down,
    /// Its process is stopped.
    Frozen,
    /// Clients do not reach it, or it does not reach them.
    CutOff,
    /// It takes nobody in: it is being drained.
    Leaving,
}

/// Which edges can serve, and how many could before.
#[derive(Debug)]
pub struct Outages {
    causes: BTreeMap<NodeId, BTreeSet<Cause>>,
    /// Since when nobody could serve, and until when.
    dark: Vec<Span>,
    /// Nodes, of any role, that do not hear the coordinator or are not heard by it.
    unheard: BTreeSet<NodeId>,
    /// Nodes that are dead, or stopped, by our own doing; the coordinator among them.
    out: BTreeSet<NodeId>,
}

impl Outages {
    /// All can serve.
    pub fn new(edges: &[NodeId]) -> Self {
        let causes = edges.iter().map(|edge| (edge.clone(), BTreeSet::new())).collect();
        Self { causes, dark: Vec::new(), unheard: BTreeSet::new(), out: BTreeSet::new() }
    }

    /// Takes note of a fault that has happened.
    pub fn note(&mut self, now_us: u64, fault: &Fault) {
        match fault {
            Fault::Kill { node } => self.gone(now_us, node, Cause::Down),
            Fault::Freeze { node } => self.gone(now_us, node, Cause::Frozen),
            Fault::Wake { node } => self.back(now_us, node, Cause::Frozen),
            Fault::Restart { node } => {
                self.back(now_us, node, Cause::Down);
                self.back(now_us, node, Cause::Leaving);
            }
            Fault::Drain { edge, .. } => self.begin(now_us, edge, Cause::Leaving),
            Fault::Undrain { edge } => self.end(now_us, edge, Cause::Leaving),
            Fault::Partition(Partition { from, to, .. }) => match (from, to) {
                (Party::Clients, Party::Node(node)) | (Party::Node(node), Party::Clients) => {
                    self.begin(now_us, node, Cause::CutOff);
                }
                (Party::Coordinator, Party::Node(node))
                | (Party::Node(node), Party::Coordinator) => {
                    self.unheard.insert(node.clone());
                }
                _ => {}
            },
            Fault::Heal(Partition { from, to, .. }) => match (from, to) {
                (Party::Clients, Party::Node(node)) | (Party::Node(node), Party::Clients) => {
                    self.end(now_us, node, Cause::CutOff);
                }
                (Party::Coordinator, Party::Node(node))
                | (Party::Node(node), Party::Coordinator) => {
                    self.unheard.remove(node);
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn gone(&mut self, now_us: u64, node: &NodeId, cause: Cause) {
        self.out.insert(node.clone());
        self.begin(now_us, node, cause);
    }

    fn back(&mut self, now_us: u64, node: &NodeId, cause: Cause) {
        self.out.remove(node);
        self.end(now_us, node, cause);
    }

    fn begin(&mut self, now_us: u64, edge: &NodeId, cause: Cause) {
        let some_could = self.able() > 0;
        if let Some(causes) = self.causes.get_mut(edge) {
            causes.insert(cause);
            if some_could && self.able() == 0 {
                self.dark.push(Span { from_us: now_us, to_us: u64::MAX });
            }
        }
    }

    /// A cause is no more: of `Leaving`, because the edge has been started anew.
    pub fn end(&mut self, now_us: u64, edge: &NodeId, cause: Cause) {
        let none_could = self.able() == 0;
        if let Some(causes) = self.causes.get_mut(edge) {
            causes.remove(&cause);
            if none_could
                && self.able() > 0
                && let Some(last) = self.dark.last_mut()
            {
                last.to_us = now_us;
            }
        }
    }

    /// Edges that can serve now.
    pub fn able(&self) -> usize {
        self.causes.values().filter(|causes| causes.is_empty()).count()
    }

    /// Edges that are being drained.
    pub fn leaving(&self) -> Vec<NodeId> {
        let leaving = self.causes.iter().filter(|(_, causes)| causes.contains(&Cause::Leaving));
        leaving.map(|(edge, _)| edge.clone()).collect()
    }

    /// Whether a node is dead or stopped by our own doing.
    pub fn is_out(&self, node: &NodeId) -> bool {
        self.out.contains(node)
    }

    /// Whether the coordinator and all nodes hear each other.
    pub fn all_heard(&self) -> bool {
        self.unheard.is_empty()
    }

    /// Whether a frozen frame with this deadline, in µs since the epoch, is excused.
    pub fn excuse(&self, deadline_us: u64) -> bool {
        let before =
            Span { from_us: deadline_us.saturating_sub(EXCUSED_WITHIN_US), to_us: deadline_us };
        self.dark.iter().any(|dark| dark.within(before).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: &str) -> NodeId {
        id.parse().unwrap()
    }

    fn two() -> Outages {
        Outages::new(&[id("edge-a"), id("edge-b")])
    }

    const SECOND: u64 = 1_000_000;

    #[test]
    fn nothing_is_excused_while_one_edge_can_serve() {
        let mut outages = two();
        outages.note(10 * SECOND, &Fault::Kill { node: id("edge-a") });
        outages.note(20 * SECOND, &Fault::Restart { node: id("edge-a") });
        outages.note(20 * SECOND, &Fault::Drain { edge: id("edge-b"), deadline_ms: 0 });
        assert_eq!(outages.able(), 1);
        assert!((5..30).all(|second| !outages.excuse(second * SECOND)));
    }

    #[test]
    fn a_moment_without_any_edge_excuses_the_two_seconds_after_it() {
        let mut outages = two();
        outages.note(10 * SECOND, &Fault::Kill { node: id("edge-a") });
        let partition =
            Partition { from: Party::Clients, to: Party::Node(id("edge-b")), one_way: true };
        outages.note(11 * SECOND, &Fault::Partition(partition.clone()));
        outages.note(12 * SECOND, &Fault::Heal(partition));
        let excused: Vec<u64> = (8..18).filter(|second| outages.excuse(second * SECOND)).collect();
        // A deadline at the very beginning of the dark has nothing of it before it.
        assert_eq!(excused, [12, 13]);
    }

    #[test]
    fn what_does_not_keep_an_edge_from_serving_excuses_nothing() {
        let mut outages = two();
        for edge in ["edge-a", "edge-b"] {
            let (from, to) = (Party::Node(id(edge)), Party::Coordinator);
            outages.note(SECOND, &Fault::Partition(Partition { from, to, one_way: false }));
        }
        outages.note(SECOND, &Fault::Kill { node: id("coordinator") });
        assert_eq!((outages.able(), outages.all_heard()), (2, false));
        assert!(outages.is_out(&id("coordinator")) && !outages.excuse(2 * SECOND));
    }
}
