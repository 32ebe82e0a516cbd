//! The idle connection to another edge, kept so that a lost edge is replaced at once. Pure: time is passed
//! in, since session start.

use std::{collections::BTreeMap, time::Duration};

use gibbon_media::NodeId;

/// An edge that could not be reached, or wants to be left, is not tried again before.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Chooses the edge that an idle connection leads to.
#[derive(Debug, Default)]
pub struct Spare {
    edge: Option<NodeId>,
    /// The standbys it was chosen from.
    standbys: Vec<NodeId>,
    avoided: BTreeMap<NodeId, Duration>,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// Open a connection to this edge.
    Open(NodeId),
    /// Close the connection to this one: nothing needs it any more.
    Close(NodeId),
}

impl Spare {
    /// Keeps a connection to the first of the `standbys` that is of use: not to an edge that is `used`, for
    /// that has one. Once made it stays while these standbys do.
    pub fn choose(&mut self, now: Duration, standbys: &[NodeId], used: &[NodeId]) -> Vec<Change> {
        let stays = self.edge.as_ref().is_some_and(|edge| !used.contains(edge));
        if stays && self.standbys == standbys {
            return Vec::new();
        }
        self.standbys = standbys.to_vec();
        self.avoided.retain(|_, since| now.saturating_sub(*since) < AGAIN_AFTER);
        let wanted = standbys
            .iter()
            .find(|edge| !used.contains(edge) && !self.avoided.contains_key(edge))
            .cloned();
        if wanted == self.edge {
            return Vec::new();
        }
        let old = std::mem::replace(&mut self.edge, wanted.clone());
        let useless = old.filter(|old| !used.contains(old)).map(Change::Close);
        useless.into_iter().chain(wanted.map(Change::Open)).collect()
    }

    /// The connection to an edge cannot be had or is gone, or the edge wants to be left.
    pub fn failed(&mut self, now: Duration, edge: &NodeId) {
        if self.edge.take_if(|spare| spare == edge).is_some() {
            self.avoided.insert(edge.clone(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges<const N: usize>(names: [&str; N]) -> [NodeId; N] {
        names.map(|name| name.parse().unwrap())
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_first_standby_without_a_leg_is_kept_ready() {
        let [a, b, c] = edges(["edge-a", "edge-b", "edge-c"]);
        let mut spare = Spare::default();
        let (standbys, used) = ([b.clone(), c.clone()], [a.clone()]);
        assert_eq!(spare.choose(at(0), &standbys, &used), [Change::Open(b.clone())]);
        assert_eq!(spare.choose(at(1), &standbys, &used), []);
        // A leg is there now: the connection is not idle any more, and stays.
        assert_eq!(spare.choose(at(2), &standbys, &[a.clone(), b]), [Change::Open(c.clone())]);
        // New standbys.
        let change = spare.choose(at(3), &[c.clone(), a.clone()], &[a]);
        assert_eq!(change, []);
        assert_eq!(spare.choose(at(4), &[], &[]), [Change::Close(c)]);
    }

    #[test]
    fn one_that_cannot_be_reached_is_passed_over_for_a_while() {
        let [b, c] = edges(["edge-b", "edge-c"]);
        let mut spare = Spare::default();
        let standbys = [b.clone(), c.clone()];
        spare.choose(at(0), &standbys, &[]);
        spare.failed(at(0), &b);
        assert_eq!(spare.choose(at(0), &standbys, &[]), [Change::Open(c.clone())]);
        spare.failed(at(10), &b);
        assert_eq!(spare.choose(at(9000), &standbys, &[]), [], "what is there stays");
        spare.failed(at(9000), &c);
        assert_eq!(spare.choose(at(9000), &standbys, &[]), [Change::Open(b)]);
    }
}
