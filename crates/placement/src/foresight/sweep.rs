//! All sessions at once.
//!
//! 1. Nodes that are unlikely to fail and streams that come as ever are *quiet*; a session whose nodes and stream are
//!    quiet, and which is itself calm, is passed over at once, unless a node of it needs relief.
//! 2. A node that will be overloaded, or leaves, needs *relief*: of its sessions only so many move as bring it back
//!    below [`Policy::target`] of its limit, those first that can best be moved, and so early that all of them are gone
//!    by the time of need.
//! 3. A session with a trouble of its own (its path gets worse, its client moves away) is weighed by itself.
//! 4. Each decided move is *committed*: its load is seen at its new node by all who are weighed after it, so that no
//!    sweep sends a herd to one place.

mod relief;

use std::{cmp::Reverse, time::Duration};

use gibbon_media::MediaTime;

use super::{
    NodeIndex,
    budget::{Budget, Class},
    decide::{Cause, Staying, Verdict, weigh},
    feed::StreamOutlook,
    horizon::{K, STEPS},
    index::Index,
    legs::{Count, Room, View},
    outlook::{NodeOutlook, Relief},
    policy::Policy,
    session::Session,
};

/// Least loaded nodes that are kept at hand: the ends of the list fill up during a sweep.
const LEAST_LOADED_KEPT: usize = 8;
/// A calm session whose client does not move is looked at again after so many times [`Policy::look_again`].
const STILL_LOOKS: u32 = 40;

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

/// A session that is worth a look.
struct Awake<'s, Key> {
    key: Key,
    session: &'s mut Session,
    /// Because of something of its own; else because its node needs relief.
    own: bool,
    /// Whether it has been decided that it moves.
    decided: bool,
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
        let stays = |node: &NodeOutlook| {
            node.failing() + node.domain_failure <= policy.calm && node.worsens >= 0.0
        };
        sweep.quiet_nodes = sweep.nodes.iter().map(stays).collect();
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
        let mut awake: Vec<_> =
            sessions.filter_map(|(key, session)| self.awake(key, session)).collect();
        plan.looked_at = awake.len();
        let mut reliefs = self.to_relieve(&awake);
        let mut troubled = self.troubled(&mut awake);
        // Each class within its share first, then with what the others have left.
        for _ in 0..2 {
            for relief in &mut reliefs {
                self.relieve(relief, &mut awake, &mut budget, &mut plan);
            }
            self.move_troubled(&mut troubled, &mut awake, &mut budget, &mut plan);
            budget.share_out();
        }
        plan.waiting = troubled.len() + reliefs.iter().map(|relief| relief.due).sum::<usize>();
        plan
    }

    /// One session by itself: for when something has just become known of it. A node that must be relieved of some of
    /// its sessions is left to the next pass.
    pub fn one<Key: Copy>(
        &mut self,
        key: Key,
        session: &mut Session,
    ) -> (Verdict, Option<Decision<Key>>) {
        let Some(mut one) = self.awake(key, session) else {
            return (Verdict::Stay { look_again: self.policy.look_again }, None);
        };
        let leaves = self.leaves_at(one.session).is_some();
        let count = if leaves { Count::All } else { Count::Own };
        let verdict = self.weigh(one.session, count, false, Room::Fill);
        let decision = self.decide(&mut one, verdict, count);
        (verdict, decision)
    }

    /// A session, if it is worth a look. One whose edges or stream are in no table is not.
    fn awake<'s, Key>(&self, key: Key, session: &'s mut Session) -> Option<Awake<'s, Key>> {
        let [a, b] = session.edges.map(NodeIndex::at);
        let quiet = *self.quiet_nodes.get(a)? && *self.quiet_nodes.get(b)?;
        let own = !quiet
            || !*self.quiet_streams.get(session.stream.at())?
            || session.calm_until <= self.now;
        let relief = self.relief[a].is_some() || self.relief[b].is_some();
        (own || relief).then_some(Awake { key, session, own, decided: false })
    }

    /// When the first node that serves it goes away, if that is within the horizon.
    fn leaves_at(&self, session: &Session) -> Option<MediaTime> {
        let of = |node: &NodeIndex| self.nodes.get(node.at())?.leaves_within(self.now);
        session.edges.iter().filter_map(of).min()
    }

    /// Those with a trouble of their own, in the order in which they are served: what matters most first, then who moved
    /// least recently. The others are told when to be looked at again.
    fn troubled<Key>(&self, awake: &mut [Awake<'_, Key>]) -> Vec<usize> {
        let mut troubled = Vec::new();
        for (n, Awake { session, .. }) in awake.iter_mut().enumerate().filter(|(_, one)| one.own) {
            let calm = self.policy.calm * self.policy.enough(session);
            if self.view().suffers(session, Count::Own) > calm {
                troubled.push(n);
                continue;
            }
            session.pace_mut().wanting(false, self.now);
            let looks = if session.whereabouts().moves() { 1 } else { STILL_LOOKS };
            session.calm_until = self.now + self.policy.look_again * looks;
        }
        troubled.sort_by_key(|n| {
            let session = &awake[*n].session;
            (Reverse(Class::of(session.priority)), session.pace().last())
        });
        troubled
    }

    /// Weighs those in trouble. Left are those for which the budget had nothing.
    fn move_troubled<Key: Copy>(
        &mut self,
        troubled: &mut Vec<usize>,
        awake: &mut [Awake<'_, Key>],
        budget: &mut Budget,
        plan: &mut Plan<Key>,
    ) {
        troubled.retain(|n| {
            let one = &mut awake[*n];
            let class = Class::of(one.session.priority);
            if one.decided {
                return false;
            }
            if !budget.has(class) || plan.weighed >= self.policy.weighed {
                return true;
            }
            plan.weighed += 1;
            let verdict = self.weigh(one.session, Count::Own, false, Room::Fill);
            if let Verdict::Prepare { to, need } = verdict {
                let step = STEPS.partition_point(|step| self.now + *step < need).min(K - 1);
                let around = self.view().neighbourhood(one.session, to, step);
                plan.prepared.push(Preparation { session: one.key, to, need, around });
            }
            if let Some(decision) = self.decide(one, verdict, Count::Own) {
                budget.take(class);
                plan.moves.push(decision);
            }
            false
        });
    }

    /// Weighs one session, and notes whether it wants to move.
    fn weigh(&self, session: &mut Session, count: Count, picked: bool, room: Room) -> Verdict {
        let view = self.view();
        let leaves_at = self.leaves_at(session).filter(|_| count == Count::All);
        let costs = view.staying(session, count);
        let margin = self.policy.margin * self.policy.enough(session);
        let staying = Staying { at: session.edges, costs, leaves_at, picked, margin };
        let rooms: &[Room] = match room {
            _ if leaves_at.is_some() => &[Room::Any],
            Room::Fill => &[Room::Target, Room::Fill],
            _ => &[Room::Target],
        };
        let wanted = |verdict: &Verdict| !matches!(verdict, Verdict::Stay { .. });
        let mut verdict = Verdict::Stay { look_again: self.policy.look_again };
        for room in rooms {
            let alternatives = if picked && leaves_at.is_none() {
                view.relieving(session, *room)
            } else {
                view.alternatives(session, count, *room)
            };
            verdict = weigh(&staying, &alternatives, session.pace(), self.policy, self.now);
            if wanted(&verdict) {
                break;
            }
        }
        session.pace_mut().wanting(wanted(&verdict), self.now);
        verdict
    }

    /// Of a verdict to move: commits it.
    fn decide<Key: Copy>(
        &mut self,
        one: &mut Awake<'_, Key>,
        verdict: Verdict,
        count: Count,
    ) -> Option<Decision<Key>> {
        let Verdict::Move(decided) = verdict else { return None };
        one.decided = true;
        let session = &*one.session;
        let cause = self.view().cause(session, count);
        let weight = self.streams[session.stream.at()].weight;
        for (from, to) in session.edges.into_iter().zip(decided.to) {
            if from != to {
                self.nodes[to.at()].commit(weight, self.policy, self.now);
            }
        }
        Some(Decision {
            session: one.key,
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
