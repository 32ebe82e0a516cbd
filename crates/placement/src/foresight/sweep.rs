//! All sessions at once.
//!
//! 1. Nodes that stay below their limit and streams that come as ever are *quiet*; a session whose nodes and stream
//!    are quiet, and which is itself calm, is passed over at once.
//! 2. A node that will be overloaded, or leaves, needs *relief*: of its sessions only so many move as bring it back
//!    below its limit, those first that can best be moved, and so early that all of them are gone by the time of need.
//! 3. A session with a trouble of its own (its path gets worse, its client moves away) is weighed by itself.
//! 4. Each decided move is *committed*: its load is seen at its new node by all who are weighed after it, so that no
//!    sweep sends a herd to one place.

use std::{cmp::Reverse, time::Duration};

use gibbon_media::MediaTime;

use super::{
    NodeIndex,
    budget::{Budget, Class},
    decide::{Cause, Staying, Verdict, weigh},
    feed::StreamOutlook,
    horizon::{K, STEPS},
    index::Index,
    legs::{Count, View},
    outlook::{NodeOutlook, Relief},
    policy::Policy,
    session::Session,
};

/// Least loaded nodes that are kept at hand: the ends of the list fill up during a sweep.
const LEAST_LOADED_KEPT: usize = 16;
/// Of those who could relieve a node so many times more are looked at than are needed.
const LOOKED_AT: usize = 3;
/// A session at a quiet node, that does not move, is looked at again after so many times [`Policy::look_again`].
const STILL_LOOKS: u32 = 20;

/// Legs that are on their way, or have moved of late: node reports do not show them yet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// From where, by description.
    pub from: [NodeIndex; 2],
    /// To where.
    pub to: [NodeIndex; 2],
    /// When the hand-off was completed; none: it is under way.
    pub completed: Option<MediaTime>,
}

/// A hand-off that is to begin now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision<Key> {
    /// Of which session.
    pub session: Key,
    /// Where its legs are, by description.
    pub from: [NodeIndex; 2],
    /// Where they are to be.
    pub to: [NodeIndex; 2],
    /// From when on staying costs more.
    pub need: MediaTime,
    /// How long the hand-off takes.
    pub lead: Duration,
    /// Whether the node it is on goes away.
    pub forced: bool,
    /// What it gains over the horizon, in seconds without a picture.
    pub gain: f64,
    /// Why.
    pub cause: Cause,
}

/// A session that will have to move: what to prefetch to, so that it is there when the client is.
#[derive(Debug, Clone, PartialEq)]
pub struct Preparation<Key> {
    /// Which.
    pub session: Key,
    /// Where to, as things are.
    pub to: [NodeIndex; 2],
    /// From when on staying costs more.
    pub need: MediaTime,
    /// The edges to prefetch to, the likeliest first: one of these will serve, the others are to be released.
    pub around: Vec<NodeIndex>,
}

/// What a pass has come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan<Key> {
    /// To begin now, in this order.
    pub moves: Vec<Decision<Key>>,
    /// Sessions that will have to move.
    pub prepared: Vec<Preparation<Key>>,
    /// Moves that are due but beyond the budget: they are decided anew at the next pass.
    pub waiting: usize,
    /// Sessions that were not passed over.
    pub looked_at: usize,
    /// Sessions whose alternatives were weighed.
    pub weighed: usize,
}

/// One pass, or single looks at one time.
pub struct Sweep<'a> {
    policy: &'a Policy,
    now: MediaTime,
    nodes: &'a mut [NodeOutlook],
    streams: &'a [StreamOutlook],
    index: &'a Index,
    least_loaded: Vec<NodeIndex>,
    relief: Vec<Option<Relief>>,
    quiet_nodes: Vec<bool>,
    quiet_streams: Vec<bool>,
    under_way: usize,
}

impl<'a> Sweep<'a> {
    /// `nodes` are as they are to be expected now; `shifts` are all hand-offs under way, and those that were completed
    /// after the oldest report was made. An index is made anew when a node has come, gone or been moved.
    pub fn begin(
        policy: &'a Policy,
        now: MediaTime,
        nodes: &'a mut [NodeOutlook],
        streams: &'a [StreamOutlook],
        index: &'a Index,
        shifts: &[Shift],
    ) -> Self {
        nodes.iter_mut().for_each(|node| node.begin(policy, now));
        let mut sweep = Self {
            policy,
            now,
            nodes,
            streams,
            index,
            least_loaded: Vec::new(),
            relief: Vec::new(),
            quiet_nodes: Vec::new(),
            quiet_streams: streams.iter().map(|stream| stream.quiet(policy)).collect(),
            under_way: shifts.iter().filter(|shift| shift.completed.is_none()).count(),
        };
        shifts.iter().for_each(|shift| sweep.shift(shift));
        sweep.relief = sweep.nodes.iter().map(|node| node.relief(policy, now)).collect();
        let likely_to_fail =
            |node: &NodeOutlook| node.failing() + node.domain_failure > policy.calm;
        let quiet = sweep.nodes.iter().zip(&sweep.relief);
        sweep.quiet_nodes =
            quiet.map(|(node, relief)| relief.is_none() && !likely_to_fail(node)).collect();
        sweep.least_loaded = least_loaded(sweep.nodes, policy, now);
        sweep
    }

    /// Adds what a report does not show yet.
    fn shift(&mut self, shift: &Shift) {
        let legs = shift.from.into_iter().map(|node| (node, -1.0));
        for (node, legs) in legs.chain(shift.to.into_iter().map(|node| (node, 1.0))) {
            let Some(outlook) = self.nodes.get_mut(node.at()) else { continue };
            if shift.completed.is_none_or(|at| at > outlook.reported) {
                outlook.commit(legs, self.policy, self.now);
            }
        }
    }

    /// What decisions are made from.
    pub fn view(&self) -> View<'_> {
        View {
            policy: self.policy,
            now: self.now,
            nodes: self.nodes,
            streams: self.streams,
            index: self.index,
            least_loaded: &self.least_loaded,
        }
    }

    /// All sessions but those of which a hand-off is under way.
    pub fn pass<'s, Key: Copy>(
        &mut self,
        sessions: impl Iterator<Item = (Key, &'s mut Session)>,
    ) -> Plan<Key> {
        let mut plan =
            Plan { moves: Vec::new(), prepared: Vec::new(), waiting: 0, looked_at: 0, weighed: 0 };
        let mut budget = Budget::new(self.policy.concurrent, self.under_way);
        let mut awake: Vec<(Key, &mut Session)> =
            sessions.filter(|(_, session)| self.is_awake(session)).collect();
        plan.looked_at = awake.len();
        let mut done = vec![false; awake.len()];
        for (node, relief) in self.to_relieve() {
            self.relieve(node, relief, &mut awake, &mut done, &mut budget, &mut plan);
        }
        let troubled = self.troubled(&mut awake, &done);
        self.move_troubled(troubled, &mut awake, &mut budget, &mut plan);
        plan
    }

    /// One session by itself: for when something has just become known of it. A node that must be relieved of some of
    /// its sessions is left to the next pass.
    pub fn one<Key: Copy>(
        &mut self,
        key: Key,
        session: &mut Session,
    ) -> (Verdict, Option<Decision<Key>>) {
        if !self.is_awake(session) {
            return (Verdict::Stay { look_again: self.policy.look_again }, None);
        }
        let forced = self.leaves(session);
        let count = if forced { Count::All } else { Count::Own };
        let verdict = self.weigh(session, count, false);
        let decision = self.decide(key, session, verdict, count);
        (verdict, decision)
    }

    /// Whether a session is worth a look. One whose edges or stream are in no table is not.
    fn is_awake(&self, session: &Session) -> bool {
        let quiet = |node: NodeIndex| self.quiet_nodes.get(node.at()).copied();
        let stream = self.quiet_streams.get(session.stream.at()).copied();
        match (quiet(session.edges[0]), quiet(session.edges[1]), stream) {
            (Some(a), Some(b), Some(stream)) => {
                session.calm_until <= self.now || !(a && b && stream)
            }
            _ => false,
        }
    }

    /// Whether a node that serves it goes away within the horizon.
    fn leaves(&self, session: &Session) -> bool {
        let gone = |relief: &Option<Relief>| relief.is_some_and(|relief| relief.legs.is_infinite());
        session.edges.iter().any(|node| self.relief.get(node.at()).is_some_and(gone))
    }

    /// The nodes to relieve, the most urgent first.
    fn to_relieve(&self) -> Vec<(NodeIndex, Relief)> {
        let nodes = self.relief.iter().enumerate();
        let mut nodes: Vec<_> =
            nodes.filter_map(|(n, relief)| Some((NodeIndex(n as u32), (*relief)?))).collect();
        nodes.sort_by_key(|(node, relief)| (relief.need, *node));
        nodes
    }

    /// Moves so many sessions away from a node as have to begin now.
    fn relieve<Key: Copy>(
        &mut self,
        node: NodeIndex,
        relief: Relief,
        awake: &mut [(Key, &mut Session)],
        done: &mut [bool],
        budget: &mut Budget,
        plan: &mut Plan<Key>,
    ) {
        let mut there: Vec<usize> =
            (0..awake.len()).filter(|n| !done[*n] && awake[*n].1.is_at(node)).collect();
        let due = self.due(relief, &there, awake, node);
        if due == 0 {
            return;
        }
        // Who matters least and has moved least is the first to go; who leaves a node that goes away, the last.
        let spared = |session: &Session| {
            let recent = session.pace().recent(self.policy, self.now).ceil() as u32;
            match relief.legs.is_infinite() {
                true => (u8::MAX - u8::from(session.priority), 0),
                false => (u8::from(session.priority), recent),
            }
        };
        there.sort_by_key(|n| (spared(awake[*n].1), awake[*n].1.pace().last()));
        there.truncate(due.saturating_mul(LOOKED_AT));
        let mut begun = 0;
        for n in there {
            if begun == due {
                break;
            }
            let (key, session) = &mut awake[n];
            plan.weighed += 1;
            let verdict = self.weigh(session, Count::All, true);
            let Verdict::Move(_) = verdict else { continue };
            if budget.is_spent() || !budget.take(Class::of(session.priority)) {
                plan.waiting += 1;
                continue;
            }
            plan.moves.extend(self.decide(*key, session, verdict, Count::All));
            done[n] = true;
            begun += 1;
        }
    }

    /// How many sessions must begin to leave a node now. What can begin at the next pass and still be in time, can
    /// wait: more will be known then.
    fn due<Key>(
        &self,
        relief: Relief,
        there: &[usize],
        awake: &[(Key, &mut Session)],
        node: NodeIndex,
    ) -> usize {
        let legs = |n: &usize| {
            let session = &awake[*n].1;
            let here = session.edges.iter().filter(|edge| **edge == node).count();
            here as f64 * self.streams[session.stream.at()].weight
        };
        let all: f64 = there.iter().map(legs).sum();
        let each = all / there.len().max(1) as f64;
        let sessions = (relief.legs.min(all) / each.max(1e-9)).ceil().min(there.len() as f64);
        let wait = relief.need.since(self.now + self.policy.lead + self.policy.period);
        let later = self.policy.rate * wait.as_secs_f64();
        let at_once = self.policy.rate * self.policy.period.as_secs_f64();
        (sessions - later).min(at_once.max(1.0)).max(0.0).ceil() as usize
    }

    /// Those with a trouble of their own, in the order in which they are served: what cannot stay first, then what
    /// matters most, then who moved least recently. The others are told when to be looked at again.
    fn troubled<Key>(&self, awake: &mut [(Key, &mut Session)], done: &[bool]) -> Vec<usize> {
        let mut troubled = Vec::new();
        for (n, (_, session)) in awake.iter_mut().enumerate().filter(|(n, _)| !done[*n]) {
            let costs = self.view().staying(session, Count::Own);
            if costs.most() > self.policy.calm {
                troubled.push(n);
                continue;
            }
            session.pace_mut().wanting(false, self.now);
            let looks = if session.whereabouts().moves() { 1 } else { STILL_LOOKS };
            session.calm_until = self.now + self.policy.look_again * looks;
        }
        troubled.sort_by_key(|n| {
            let session = &awake[*n].1;
            (Reverse(Class::of(session.priority)), session.pace().last())
        });
        troubled
    }

    /// Weighs those in trouble, each class within its share first, then with what the others have left.
    fn move_troubled<Key: Copy>(
        &mut self,
        mut troubled: Vec<usize>,
        awake: &mut [(Key, &mut Session)],
        budget: &mut Budget,
        plan: &mut Plan<Key>,
    ) {
        for round in 0..2 {
            let mut refused = Vec::new();
            for n in troubled {
                let (key, session) = &mut awake[n];
                let verdict = self.weigh(session, Count::Own, false);
                plan.weighed += 1;
                match verdict {
                    Verdict::Stay { .. } => {}
                    Verdict::Prepare { to, need } if round == 0 => {
                        let step = STEPS.partition_point(|step| self.now + *step < need).min(K - 1);
                        let around = self.view().neighbourhood(session, to, step);
                        plan.prepared.push(Preparation { session: *key, to, need, around });
                    }
                    Verdict::Prepare { .. } => {}
                    Verdict::Move(_) if budget.take(Class::of(session.priority)) => {
                        plan.moves.extend(self.decide(*key, session, verdict, Count::Own));
                    }
                    Verdict::Move(_) => refused.push(n),
                }
            }
            troubled = refused;
            budget.share_out();
        }
        plan.waiting += troubled.len();
    }

    /// Weighs one session, and notes whether it wants to move.
    fn weigh(&self, session: &mut Session, count: Count, picked: bool) -> Verdict {
        let view = self.view();
        let forced = count == Count::All && self.leaves(session);
        let staying =
            Staying { at: session.edges, costs: view.staying(session, count), forced, picked };
        let alternatives = view.alternatives(session, count, forced);
        let wanted = |verdict: &Verdict| !matches!(verdict, Verdict::Stay { .. });
        let verdict = weigh(&staying, &alternatives, session.pace(), self.policy, self.now);
        session.pace_mut().wanting(wanted(&verdict), self.now);
        verdict
    }

    /// Of a verdict to move: commits it.
    fn decide<Key>(
        &mut self,
        key: Key,
        session: &Session,
        verdict: Verdict,
        count: Count,
    ) -> Option<Decision<Key>> {
        let Verdict::Move(decided) = verdict else { return None };
        let cause = self.view().cause(session, count);
        let weight = self.streams[session.stream.at()].weight;
        for (from, to) in session.edges.into_iter().zip(decided.to) {
            if from != to {
                self.nodes[to.at()].commit(weight, self.policy, self.now);
            }
        }
        Some(Decision {
            session: key,
            from: session.edges,
            to: decided.to,
            need: decided.need,
            lead: decided.lead,
            forced: decided.forced,
            gain: decided.gain,
            cause,
        })
    }
}

/// The least loaded nodes that may be gone to, the least first.
fn least_loaded(nodes: &[NodeOutlook], policy: &Policy, now: MediaTime) -> Vec<NodeIndex> {
    let open = nodes.iter().enumerate().filter(|(_, node)| node.open(0.0, policy, now));
    let load = |node: &NodeOutlook| node.load[0].load / node.limit;
    let mut open: Vec<_> = open.map(|(n, node)| (load(node), NodeIndex(n as u32))).collect();
    open.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    open.truncate(LEAST_LOADED_KEPT);
    open.into_iter().map(|(_, node)| node).collect()
}
