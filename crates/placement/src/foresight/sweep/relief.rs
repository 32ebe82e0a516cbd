//! Relief of a node that will be overloaded, or goes away: who leaves it, and when each has to begin.

use std::collections::VecDeque;

use gibbon_media::MediaTime;

use super::{
    super::{
        NodeIndex,
        budget::{Budget, Class},
        legs::{Count, Room},
        outlook::Relief,
    },
    Awake, Plan, Sweep,
};

/// Of those who could relieve a node so many times more are looked at than are needed.
const LOOKED_AT: usize = 3;

/// A node to be relieved, and who may leave it.
pub(super) struct Leaving {
    need: MediaTime,
    /// How many are still to begin now.
    pub due: usize,
    /// Of these, those who may go where it is crowded.
    must: usize,
    /// Who, the first to go first.
    who: VecDeque<usize>,
}

impl Sweep<'_> {
    /// The nodes to relieve, the most urgent first, and who is to leave them now.
    pub(super) fn to_relieve<Key>(&self, awake: &[Awake<'_, Key>]) -> Vec<Leaving> {
        let mut there: Vec<Vec<usize>> = vec![Vec::new(); self.nodes.len()];
        for (n, Awake { session, .. }) in awake.iter().enumerate() {
            let [a, b] = session.edges;
            there[a.at()].push(n);
            if a != b {
                there[b.at()].push(n);
            }
        }
        let mut reliefs = Vec::new();
        for (n, mut who) in there.into_iter().enumerate() {
            let Some(relief) = self.relief[n] else { continue };
            let node = NodeIndex(n as u32);
            let due = self.due(relief, node, &who, awake);
            let must = self.due(Relief { legs: relief.must, ..relief }, node, &who, awake);
            if due == 0 {
                continue;
            }
            self.in_order_of_leaving(&mut who, relief, awake);
            who.truncate(due.saturating_mul(LOOKED_AT));
            reliefs.push(Leaving { need: relief.need, due, must, who: who.into() });
        }
        reliefs.sort_by_key(|leaving| leaving.need);
        reliefs
    }

    /// Of a node that is overloaded, first who matters least and has moved least; of one that goes away, where all have
    /// to leave, first who matters most.
    fn in_order_of_leaving<Key>(
        &self,
        who: &mut [usize],
        relief: Relief,
        awake: &[Awake<'_, Key>],
    ) {
        who.sort_by_cached_key(|n| {
            let (priority, pace) = (u8::from(awake[*n].session.priority), awake[*n].session.pace());
            let recent = pace.recent(self.policy, self.now).ceil() as u32;
            let order = if relief.legs.is_infinite() {
                (u8::MAX - priority, 0)
            } else {
                (priority, recent)
            };
            (order, pace.last())
        });
    }

    /// Moves as many sessions away from a node as have to begin now.
    pub(super) fn relieve<Key: Copy>(
        &mut self,
        leaving: &mut Leaving,
        awake: &mut [Awake<'_, Key>],
        budget: &mut Budget,
        plan: &mut Plan<Key>,
    ) {
        for _ in 0..leaving.who.len() {
            if leaving.due == 0 || budget.is_spent() {
                break;
            }
            let Some(n) = leaving.who.pop_front() else { break };
            let one = &mut awake[n];
            let class = Class::of(one.session.priority);
            if one.decided {
                continue;
            }
            if !budget.has(class) {
                leaving.who.push_back(n);
                continue;
            }
            plan.weighed += 1;
            let room = if leaving.must > 0 { Room::Fill } else { Room::Target };
            let verdict = self.weigh(one.session, Count::All, true, room);
            if let Some(decision) = self.decide(one, verdict, Count::All) {
                budget.take(class);
                plan.moves.push(decision);
                leaving.due -= 1;
                leaving.must = leaving.must.saturating_sub(1);
            }
        }
    }

    /// How many sessions must begin to leave a node now. What can begin at the next pass and still be in time, can
    /// wait: more will be known then.
    fn due<Key>(
        &self,
        relief: Relief,
        node: NodeIndex,
        there: &[usize],
        awake: &[Awake<'_, Key>],
    ) -> usize {
        let legs = |n: &usize| {
            let session = &awake[*n].session;
            let here = session.edges.iter().filter(|edge| **edge == node).count();
            here as f64 * self.streams[session.stream.at()].weight
        };
        let all: f64 = there.iter().map(legs).sum();
        let each = all / there.len().max(1) as f64;
        let sessions = (relief.legs.min(all) / each.max(1e-9)).ceil().min(there.len() as f64);
        // Where to is not known yet: it may have to fetch the stream first.
        let tries = if relief.legs.is_infinite() { self.policy.tries } else { 1 };
        let lead = (self.policy.lead + self.policy.cold) * tries;
        let wait = relief.need.since(self.now + lead + self.policy.period);
        let later = self.policy.rate * wait.as_secs_f64();
        let at_once = self.policy.rate * self.policy.period.as_secs_f64();
        (sessions - later).min(at_once.max(1.0)).max(0.0).ceil() as usize
    }
}
