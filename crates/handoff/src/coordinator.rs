//! The coordinator's end: one [`Executor`] per hand-off gives the orders, one at a time.
//!
//! ```text
//!  for each move:  Prefetch --ready--> Attach --attached--> Probation --held and settled--+
//!        ^                                                                                |
//!        +------------------------------- the next move ----------------------------------+
//!  then:           Finish (each old edge without a leg) --> Ended(Completed)
//!  on trouble:     Return (what was moved, last first)  --> Ended(RolledBack or Failed)
//! ```
//!
//! The client is the judge of its legs: a node that the coordinator misses only shortens a wait.

use gibbon_media::{Description, GroupId, NodeId};
use serde::{Deserialize, Serialize};

use crate::{
    Cause, FromClient, FromEdge, InfoSender, InvalidPlan, Move, OrderId, Outcome, Plan, Reason,
    Report, Source, Term, ToClient, ToEdge,
    timers::{CoordinatorTimer as Timer, SENDS},
};

/// What the executor is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An edge answered, directly or through the first edge.
    Edge(FromEdge),
    /// The session's client reported.
    Client(Report),
    /// A timer that was set has run out.
    Timer(Timer),
    /// A node is held to be lost.
    NodeLost(NodeId),
    /// The session has ended.
    SessionGone,
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Tell an edge something.
    SendToEdge {
        /// The edge.
        edge: NodeId,
        /// The edge that passes it on, if it does not go directly.
        via: Option<NodeId>,
        /// What to tell it.
        message: ToEdge,
    },
    /// Tell the client something, over any live session stream.
    SendToClient(ToClient),
    /// Arm a timer.
    SetTimer(Timer),
    /// Disarm a timer.
    CancelTimer(Timer),
    /// Tell those who watch.
    Progress(Progress),
    /// The hand-off has ended. Nothing but [`Progress::Legs`] follows.
    Finished(Outcome),
}

/// What happened, for logs and events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Progress {
    /// The new edges are chosen.
    Selected {
        /// Why there is a hand-off.
        cause: Cause,
        /// What moves.
        moves: Vec<Move>,
    },
    /// Prefetch information was sent, perhaps again.
    PrefetchSent {
        /// Which description.
        description: Description,
        /// To which edge.
        edge: NodeId,
        /// Through which edge, if not directly.
        via: Option<NodeId>,
        /// From where it is to be fetched.
        fetch: Source,
    },
    /// The new edge can deliver.
    Ready {
        /// Which description.
        description: Description,
        /// From which group on.
        group: GroupId,
    },
    /// The client takes a description from the new edge, and no longer from the old one.
    Attached {
        /// Which description.
        description: Description,
        /// The new edge.
        edge: NodeId,
        /// From which group on.
        start: GroupId,
    },
    /// Probation is passed.
    Held {
        /// Which description.
        description: Description,
    },
    /// The new edge no longer depends on the old one.
    Settled {
        /// Which description.
        description: Description,
    },
    /// What was moved goes back.
    RollingBack {
        /// Why.
        reason: Reason,
    },
    /// The connection to an old edge is closed.
    Closed {
        /// The old edge.
        edge: NodeId,
    },
    /// The client's legs are known to have changed.
    Legs {
        /// The edge that delivers each description, if any.
        legs: [Option<NodeId>; 2],
    },
}

/// Carries one hand-off out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Executor {
    plan: Plan,
    next_step: u64,
    phase: Phase,
    /// The move under way, as an index into the plan's; all before it are done.
    current: usize,
    /// How many moves the client may have begun to carry out, under this term or an earlier one.
    begun: usize,
    /// The order to prefetch of the move under way.
    prefetch: OrderId,
    /// Whether the new edge has settled for the move under way.
    settled: bool,
    /// How often the phase has sent its order.
    sends: u8,
    /// The newest report's revision and legs.
    revision: Option<u64>,
    legs: [Option<NodeId>; 2],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Phase {
    Prefetch,
    Attach { order: OrderId, start: GroupId },
    Probation { order: OrderId, start: GroupId, held: bool },
    Return { order: OrderId, index: usize, reason: Reason },
    Finish { order: OrderId, edge: NodeId },
    Ended(Outcome),
}

impl Executor {
    /// Begins a hand-off.
    pub fn new(plan: Plan) -> Result<(Self, Vec<Action>), InvalidPlan> {
        plan.check()?;
        let selected = Progress::Selected { cause: plan.cause, moves: plan.moves.clone() };
        let mut executor = Self {
            next_step: plan.first_step,
            phase: Phase::Prefetch,
            current: 0,
            begun: 0,
            prefetch: OrderId { term: plan.term, step: plan.first_step, handoff: plan.handoff },
            settled: false,
            sends: 0,
            revision: None,
            legs: [None, None],
            plan,
        };
        let mut out = vec![Action::Progress(selected)];
        executor.prefetch(0, &mut out);
        Ok((executor, out))
    }

    /// Takes up a hand-off that an earlier start of the coordinator left behind. The plan is the one that
    /// was under way, from the legs, open orders and prefetches that client and edges report. As every
    /// order is idempotent, taking it up is giving the orders again under a newer `term`: what is done is
    /// answered at once, and what cannot be finished is rolled back.
    pub fn adopt(term: Term, plan: Plan) -> Result<(Self, Vec<Action>), InvalidPlan> {
        let (mut executor, out) = Self::new(Plan { term, first_step: 0, ..plan })?;
        executor.begun = executor.plan.moves.len();
        Ok((executor, out))
    }

    /// What is being carried out.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The step that the session's next hand-off begins at.
    pub fn next_step(&self) -> u64 {
        self.next_step
    }

    /// The edge that delivers each description, as far as the client has told.
    pub fn legs(&self) -> &[Option<NodeId>; 2] {
        &self.legs
    }

    /// How the hand-off ended, once it has.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.phase {
            Phase::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Takes an event. Late events are harmless, also after the end; reports keep [`legs`](Self::legs)
    /// up to date even then.
    pub fn handle(&mut self, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        if let Event::Client(report) = &event
            && !self.note_legs(report, &mut out)
        {
            return out;
        }
        if self.outcome().is_some() {
            return out;
        }
        match event {
            Event::Edge(message) => self.edge_says(&message, &mut out),
            Event::Client(report) => self.client_says(report.answer, &mut out),
            Event::Timer(timer) if self.timer() == Some(timer) => self.timed_out(&mut out),
            Event::Timer(_) => {}
            Event::NodeLost(node) => self.node_lost(&node, &mut out),
            Event::SessionGone => {
                self.end(Outcome::Failed { reason: Reason::SessionGone }, &mut out);
            }
        }
        out
    }

    /// Whether the report is no older than the newest known.
    fn note_legs(&mut self, report: &Report, out: &mut Vec<Action>) -> bool {
        if self.revision > Some(report.revision) {
            return false;
        }
        self.revision = Some(report.revision);
        if self.legs != report.legs {
            self.legs = report.legs.clone();
            out.push(Action::Progress(Progress::Legs { legs: report.legs.clone() }));
        }
        true
    }

    fn edge_says(&mut self, message: &FromEdge, out: &mut Vec<Action>) {
        if message.order() != self.prefetch || matches!(self.phase, Phase::Return { .. }) {
            return;
        }
        match *message {
            FromEdge::Ready { description, group, .. } if self.phase == Phase::Prefetch => {
                out.push(Action::Progress(Progress::Ready { description, group }));
                let order = self.next_order();
                self.begun = self.begun.max(self.current + 1);
                self.enter(Phase::Attach { order, start: group }, out);
            }
            FromEdge::Settled { description, .. } if !self.settled => {
                self.settled = true;
                out.push(Action::Progress(Progress::Settled { description }));
                self.next_move_if_done(out);
            }
            FromEdge::Refused { reason, .. } if self.phase == Phase::Prefetch => {
                self.roll_back(reason, out);
            }
            _ => {}
        }
    }

    fn client_says(&mut self, answer: Option<FromClient>, out: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Return { .. }) && self.has_strayed() {
            return self.roll_back(Reason::Strayed, out);
        }
        let Some(answer) = answer else { return };
        if self.open_order() != Some(answer.order()) {
            return;
        }
        match (answer, self.phase.clone()) {
            (FromClient::Attached { start, .. }, Phase::Attach { order, .. }) => {
                self.attach_done(order, start, out);
            }
            // It has passed probation, and was lost after that.
            (FromClient::Held { .. }, Phase::Attach { .. } | Phase::Probation { .. })
                if !self.is_done(self.current_move()) =>
            {
                self.roll_back(Reason::Strayed, out);
            }
            (FromClient::Held { .. }, Phase::Attach { order, start }) => {
                self.attach_done(order, start, out);
                self.probation_passed(out);
            }
            (FromClient::Held { .. }, Phase::Probation { held: false, .. }) => {
                self.probation_passed(out);
            }
            (
                FromClient::RolledBack { reason, .. },
                Phase::Attach { .. } | Phase::Probation { .. },
            ) => {
                // The client has undone it already.
                if self.begun == self.current + 1 {
                    self.begun = self.current;
                }
                self.roll_back(reason, out);
            }
            (
                FromClient::Held { .. } | FromClient::RolledBack { .. },
                Phase::Return { index, reason, .. },
            ) => self.give_back(index, reason, out),
            (FromClient::Finished { edge, .. }, Phase::Finish { .. }) => {
                out.push(Action::Progress(Progress::Closed { edge: edge.clone() }));
                self.finish(Some(&edge), out);
            }
            (FromClient::Kept { .. }, Phase::Finish { .. }) => {
                self.end(Outcome::Failed { reason: Reason::StillHeld }, out);
            }
            _ => {}
        }
    }

    fn attach_done(&mut self, order: OrderId, start: GroupId, out: &mut Vec<Action>) {
        let Move { description, to: edge, .. } = self.current_move().clone();
        out.push(Action::Progress(Progress::Attached { description, edge, start }));
        self.enter(Phase::Probation { order, start, held: false }, out);
    }

    fn probation_passed(&mut self, out: &mut Vec<Action>) {
        let description = self.current_move().description;
        if let Phase::Probation { held, .. } = &mut self.phase {
            *held = true;
            out.push(Action::Progress(Progress::Held { description }));
            self.next_move_if_done(out);
        }
    }

    fn next_move_if_done(&mut self, out: &mut Vec<Action>) {
        if !self.settled || !matches!(self.phase, Phase::Probation { held: true, .. }) {
            return;
        }
        if self.current + 1 < self.plan.moves.len() {
            self.prefetch(self.current + 1, out);
        } else {
            self.finish(None, out);
        }
    }

    fn prefetch(&mut self, index: usize, out: &mut Vec<Action>) {
        self.current = index;
        self.prefetch = self.next_order();
        self.settled = false;
        self.enter(Phase::Prefetch, out);
    }

    /// Closes the next old edge, in order of name, after `done`.
    fn finish(&mut self, done: Option<&NodeId>, out: &mut Vec<Action>) {
        let old = |edge: &NodeId| self.plan.moves.iter().any(|leg| leg.from == *edge);
        let empty = |edge: &NodeId| !self.legs.iter().flatten().any(|leg| leg == edge);
        let next = self.plan.edges().into_iter().find(|e| done < Some(e) && old(e) && empty(e));
        match next {
            Some(edge) => {
                let order = self.next_order();
                self.enter(Phase::Finish { order, edge }, out);
            }
            None => self.end(Outcome::Completed, out),
        }
    }

    /// Gives up: what was begun is undone.
    fn roll_back(&mut self, reason: Reason, out: &mut Vec<Action>) {
        out.push(Action::Progress(Progress::RollingBack { reason }));
        self.give_back(self.begun, reason, out);
    }

    /// Returns the last of the first `count` moves, or ends when there is none.
    fn give_back(&mut self, count: usize, reason: Reason, out: &mut Vec<Action>) {
        if let Some(index) = count.checked_sub(1) {
            let order = self.next_order();
            return self.enter(Phase::Return { order, index, reason }, out);
        }
        let is_back = |leg: &Move| {
            let known = self.legs[leg.description.index()].as_ref();
            // Before the first report nothing has been moved.
            self.revision.is_none() || known == Some(&leg.from)
        };
        let outcome = if self.plan.moves.iter().all(is_back) {
            Outcome::RolledBack { reason }
        } else {
            Outcome::Failed { reason }
        };
        self.end(outcome, out);
    }

    fn end(&mut self, outcome: Outcome, out: &mut Vec<Action>) {
        self.disarm(out);
        for edge in self.plan.edges() {
            let message = ToEdge::Release { order: self.next_order(), session: self.plan.session };
            out.push(Action::SendToEdge { via: self.via(&edge), edge, message });
        }
        self.phase = Phase::Ended(outcome);
        out.push(Action::Finished(outcome));
    }

    fn node_lost(&mut self, node: &NodeId, out: &mut Vec<Action>) {
        let mut was_source = false;
        for leg in self.plan.moves.iter_mut().filter(|leg| leg.from == *node) {
            leg.fetch = Source::Origin;
            was_source = true;
        }
        if was_source {
            // It can pass nothing on any more.
            self.plan.prefetch_info = InfoSender::Coordinator;
        }
        if self.phase != Phase::Prefetch {
            return;
        }
        if was_source {
            self.send(out);
        } else if self.current_move().to == *node && self.via(node).is_none() {
            self.roll_back(Reason::EdgeLost, out);
        }
    }

    fn timed_out(&mut self, out: &mut Vec<Action>) {
        if self.sends < SENDS {
            return self.send(out);
        }
        match self.phase {
            Phase::Prefetch => self.roll_back(Reason::PrefetchTimedOut, out),
            Phase::Attach { .. } | Phase::Probation { held: false, .. } => {
                self.roll_back(Reason::ClientSilent, out);
            }
            Phase::Probation { held: true, .. } => {
                self.roll_back(Reason::NotSettled, out);
            }
            Phase::Return { reason, .. } => self.end(Outcome::Failed { reason }, out),
            Phase::Finish { .. } => {
                self.end(Outcome::Failed { reason: Reason::ClientSilent }, out);
            }
            Phase::Ended(_) => {}
        }
    }

    fn enter(&mut self, phase: Phase, out: &mut Vec<Action>) {
        self.disarm(out);
        self.phase = phase;
        self.sends = 0;
        self.send(out);
    }

    fn disarm(&self, out: &mut Vec<Action>) {
        // Before the first order is sent nothing is armed.
        out.extend(self.timer().filter(|_| self.sends > 0).map(Action::CancelTimer));
    }

    /// Sends what the phase waits for an answer to, and arms its timer.
    fn send(&mut self, out: &mut Vec<Action>) {
        self.sends += 1;
        let again = self.sends > 1;
        match &self.phase {
            Phase::Prefetch => self.send_prefetch(out),
            Phase::Attach { order, start } => self.send_attach(*order, *start, out),
            // The attach and the prefetch are what `Held` and `Settled` answer.
            Phase::Probation { order, start, held } if again => {
                if !held {
                    self.send_attach(*order, *start, out);
                }
                if !self.settled {
                    self.send_prefetch(out);
                }
            }
            Phase::Return { order, index, .. } => {
                let Move { description, from: to, .. } = self.plan.moves[*index].clone();
                let message = ToClient::Return { order: *order, description, to };
                out.push(Action::SendToClient(message));
            }
            Phase::Finish { order, edge } => {
                let message = ToClient::Finish { order: *order, edge: edge.clone() };
                out.push(Action::SendToClient(message));
            }
            Phase::Probation { .. } | Phase::Ended(_) => {}
        }
        out.extend(self.timer().map(Action::SetTimer));
    }

    fn send_prefetch(&self, out: &mut Vec<Action>) {
        let Move { description, from, to: edge, fetch } = self.current_move().clone();
        let message = ToEdge::Prefetch {
            order: self.prefetch,
            session: self.plan.session,
            stream: self.plan.stream.clone(),
            description,
            fetch,
            first_edge: from.clone(),
        };
        let via = (self.plan.prefetch_info == InfoSender::FirstEdge).then_some(from);
        out.push(Action::SendToEdge { edge: edge.clone(), via: via.clone(), message });
        out.push(Action::Progress(Progress::PrefetchSent { description, edge, via, fetch }));
    }

    fn send_attach(&self, order: OrderId, start: GroupId, out: &mut Vec<Action>) {
        let Move { description, from, to, .. } = self.current_move().clone();
        out.push(Action::SendToClient(ToClient::Attach { order, description, from, to, start }));
    }

    /// The edge that passes messages on to `edge`, if any does.
    fn via(&self, edge: &NodeId) -> Option<NodeId> {
        let first = self.plan.moves.iter().find(|leg| leg.to == *edge)?;
        (self.plan.prefetch_info == InfoSender::FirstEdge).then(|| first.from.clone())
    }

    fn timer(&self) -> Option<Timer> {
        match self.phase {
            Phase::Prefetch => Some(Timer::Prefetch),
            Phase::Attach { .. } => Some(Timer::Attach),
            Phase::Probation { .. } => Some(Timer::Probation),
            Phase::Return { .. } => Some(Timer::Return),
            Phase::Finish { .. } => Some(Timer::Finish),
            Phase::Ended(_) => None,
        }
    }

    /// The order that the client's answer is awaited to.
    fn open_order(&self) -> Option<OrderId> {
        match self.phase {
            Phase::Attach { order, .. }
            | Phase::Probation { order, .. }
            | Phase::Return { order, .. }
            | Phase::Finish { order, .. } => Some(order),
            Phase::Prefetch | Phase::Ended(_) => None,
        }
    }

    /// Whether the client has left the new edge of a move that was done.
    fn has_strayed(&self) -> bool {
        let done = match self.phase {
            Phase::Finish { .. } | Phase::Probation { held: true, .. } => self.current + 1,
            _ => self.current,
        };
        !self.plan.moves[..done].iter().all(|leg| self.is_done(leg))
    }

    /// Whether the new edge of a move delivers, as far as the client has told.
    fn is_done(&self, leg: &Move) -> bool {
        self.legs[leg.description.index()].as_ref() == Some(&leg.to)
    }

    fn next_order(&mut self) -> OrderId {
        let step = self.next_step;
        self.next_step += 1;
        OrderId { term: self.plan.term, step, handoff: self.plan.handoff }
    }

    fn current_move(&self) -> &Move {
        &self.plan.moves[self.current]
    }
}
