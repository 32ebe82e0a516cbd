//! What workers have been told to run, and whether they have said that they will.

use std::{collections::BTreeMap, time::Duration};

use gibbon_control::work::{InstanceSpec, WorkOrder};
use gibbon_handoff::Term;
use gibbon_media::{MediaTime, NodeId};

/// A worker that has not acknowledged an order by then is left out.
pub const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(1);
/// Versions of one term: so those of a later term are above them, as the term rises at least with the seconds.
const VERSIONS_PER_TERM: u64 = 1 << 20;

/// The newest order of each worker.
#[derive(Debug)]
pub struct Orders {
    term: Term,
    version: u64,
    sent: BTreeMap<NodeId, Sent>,
}

#[derive(Debug)]
struct Sent {
    version: u64,
    at: MediaTime,
    instances: Vec<InstanceSpec>,
    answered: bool,
}

impl Orders {
    /// None yet.
    pub fn new(term: Term) -> Self {
        let version = term.0.saturating_mul(VERSIONS_PER_TERM);
        Self { term, version, sent: BTreeMap::new() }
    }

    /// Whether a worker that has made `version` so was told it by an earlier start of the coordinator.
    pub fn is_of_an_earlier_term(&self, version: u64) -> bool {
        version < self.term.0.saturating_mul(VERSIONS_PER_TERM)
    }

    /// `worker` is to run these. None if it has been told that already.
    pub fn order(
        &mut self,
        now: MediaTime,
        worker: &NodeId,
        instances: &[&InstanceSpec],
    ) -> Option<WorkOrder> {
        let same = |sent: &Sent| sent.instances.iter().eq(instances.iter().copied());
        if self.sent.get(worker).is_some_and(same) {
            return None;
        }
        let instances: Vec<_> = instances.iter().map(|spec| (*spec).clone()).collect();
        self.version += 1;
        let (term, version) = (self.term, self.version);
        let sent = Sent { version, at: now, instances: instances.clone(), answered: false };
        self.sent.insert(worker.clone(), sent);
        Some(WorkOrder { term, version, instances })
    }

    /// `worker` has answered the order of this version.
    pub fn answered(&mut self, worker: &NodeId, version: u64) {
        if let Some(sent) = self.sent.get_mut(worker) {
            sent.answered |= sent.version <= version;
        }
    }

    /// The version of the newest order to `worker`.
    pub fn version(&self, worker: &NodeId) -> Option<u64> {
        self.sent.get(worker).map(|sent| sent.version)
    }

    /// Whether `worker` owes an answer for too long.
    pub fn is_deaf(&self, now: MediaTime, worker: &NodeId) -> bool {
        let late = |sent: &Sent| !sent.answered && now.since(sent.at) > ACKNOWLEDGE_WITHIN;
        self.sent.get(worker).is_some_and(late)
    }

    /// What `worker` has been told may not have reached it, or be forgotten: it is to be told anew.
    pub fn forget(&mut self, worker: &NodeId) {
        self.sent.remove(worker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: MediaTime = MediaTime(1_000_000_000);

    #[test]
    fn an_order_is_sent_when_it_differs_and_its_version_rises_over_terms() {
        let worker: NodeId = "worker-1".parse().unwrap();
        let mut orders = Orders::new(Term(3));
        let first = orders.order(NOW, &worker, &[]).unwrap();
        assert!(orders.order(NOW, &worker, &[]).is_none());
        orders.forget(&worker);
        let again = orders.order(NOW, &worker, &[]).unwrap();
        assert!(again.version > first.version);
        let later = Orders::new(Term(4));
        assert!(later.is_of_an_earlier_term(again.version));
        assert!(!orders.is_of_an_earlier_term(first.version));
    }

    #[test]
    fn a_worker_is_deaf_until_it_answers_the_newest_order() {
        let worker: NodeId = "worker-1".parse().unwrap();
        let mut orders = Orders::new(Term(1));
        let order = orders.order(NOW, &worker, &[]).unwrap();
        let late = NOW + 2 * ACKNOWLEDGE_WITHIN;
        assert!(!orders.is_deaf(NOW + ACKNOWLEDGE_WITHIN, &worker));
        orders.answered(&worker, order.version - 1);
        assert!(orders.is_deaf(late, &worker), "an older answer");
        orders.answered(&worker, order.version);
        assert!(!orders.is_deaf(late, &worker));
    }
}
