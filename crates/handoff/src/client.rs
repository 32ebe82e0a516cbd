//! The client's end: the [`Hands`] hold a session's legs and never let go with both.
//!
//! ```text
//!             order to attach                in time                    probation over
//!  one leg ------------------> a second leg ---------> the new leg, old ----------------> one leg
//!     ^       not in time: cancel it |        end the old one   | bad: the old edge again,
//!     +------------------------------+                          |      then cancel the new one
//!     +---------------------------------------------------------+
//!  edge lost: the other hand's edge, the standbys, the edge itself, one after the other
//! ```
//!
//! A leg is added before another is cancelled, whoever wants it moved. While a description is being
//! recovered, orders are passed over as if they had not arrived: the coordinator repeats them.

use std::collections::VecDeque;

use gibbon_media::{Description, GroupId, NodeId};
use serde::{Deserialize, Serialize};

use crate::{
    FromClient, OrderId, Reason, Report, ToClient,
    timers::{ClientTimer as Timer, RECOVERY_ROUNDS},
};

/// Where a leg begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At the live edge, in the middle of a group if need be.
    Live,
    /// At the beginning of a group.
    At(GroupId),
}

/// What the hands are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An order from the coordinator.
    Order {
        /// The order.
        order: ToClient,
        /// The first group of the order's description that has not begun (any, for
        /// [`ToClient::Finish`]).
        next: GroupId,
    },
    /// An edge's frames of a description, from the start of the leg on, arrive at least half a playout
    /// delay before their deadlines. May be repeated.
    InTime {
        /// Which description.
        description: Description,
        /// The edge.
        edge: NodeId,
    },
    /// An edge's leg is bad. Repeated for as long as it lasts.
    Bad {
        /// Which description.
        description: Description,
        /// The edge.
        edge: NodeId,
        /// In what way: late, lossy or starved.
        reason: Reason,
    },
    /// An edge refused or ended a leg, or could not be reached.
    Rejected {
        /// Which description.
        description: Description,
        /// The edge.
        edge: NodeId,
    },
    /// The connection to an edge was lost, and all legs with it.
    Closed {
        /// The edge.
        edge: NodeId,
    },
    /// A timer that was set has run out.
    Timer(Timer),
}

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Subscribe to a description at an edge, connecting first if need be.
    Subscribe {
        /// Which description.
        description: Description,
        /// The edge.
        edge: NodeId,
        /// From where on.
        start: Start,
    },
    /// Let a leg end with a group (`Update { end }`).
    End {
        /// Which description.
        description: Description,
        /// The edge.
        edge: NodeId,
        /// The last group wanted.
        last: GroupId,
    },
    /// Cancel a leg at once.
    Cancel {
        /// Which description.
        description: Description,
        /// The edge.
        edge: NodeId,
    },
    /// Close the connection to an edge.
    CloseConnection {
        /// The edge.
        edge: NodeId,
    },
    /// Send a report to the coordinator, over any live session stream.
    Report(Report),
    /// Arm a timer.
    SetTimer(Timer),
    /// Disarm a timer.
    CancelTimer(Timer),
    /// Something for the player's report.
    Note(Note),
}

/// What happened, for the player's report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Note {
    /// An edge now delivers a description.
    Attached {
        /// Which description.
        description: Description,
        /// The edge.
        edge: NodeId,
        /// The order it was done on; none for a recovery and at the start of the session.
        order: Option<OrderId>,
    },
    /// An edge no longer delivers a description.
    Detached {
        /// Which description.
        description: Description,
        /// The edge.
        edge: NodeId,
    },
    /// A description stays at or goes back to the edge it had.
    RolledBack {
        /// Which description.
        description: Description,
        /// The order that is undone.
        order: OrderId,
        /// Why.
        reason: Reason,
    },
    /// A description has lost its edge.
    Recovering {
        /// Which description.
        description: Description,
        /// The edge it had.
        from: NodeId,
        /// How it was lost: closed, rejected or starved.
        cause: Reason,
    },
    /// No edge is left to try for a description.
    Lost {
        /// Which description.
        description: Description,
    },
}

/// The legs of one session, at its client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hands {
    standbys: Vec<NodeId>,
    hands: [Hand; 2],
    newest: Option<ToClient>,
    answer: Option<FromClient>,
    revision: u64,
}

/// The leg of one description, and what is being done to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Hand {
    /// The edge that delivers.
    leg: Option<NodeId>,
    /// A second leg, not yet in time.
    attach: Option<Attach>,
    probation: Option<Probation>,
    /// Edges still to be tried, while the description is being recovered.
    recovery: Option<VecDeque<NodeId>>,
    /// Nothing was left to try.
    lost: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Attach {
    edge: NodeId,
    start: Start,
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Why {
    /// An order to attach: probation follows, and `from` is where to go back to.
    Attach { order: OrderId, from: NodeId },
    /// An order to return.
    Return { order: OrderId },
    /// The leg on probation was bad.
    RollBack { order: OrderId, reason: Reason },
    /// The edge was lost, or the session begins.
    Recovery,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Probation {
    order: OrderId,
    start: GroupId,
    old: NodeId,
}

impl Hands {
    /// The hands of a new session: `edges` are to deliver descriptions 0 and 1, `standbys` are the
    /// grant's, in order.
    pub fn new(edges: [NodeId; 2], standbys: Vec<NodeId>) -> (Self, Vec<Action>) {
        let mut hands = Self {
            standbys,
            hands: [Hand::default(), Hand::default()],
            newest: None,
            answer: None,
            revision: 0,
        };
        let mut out = Vec::new();
        for (description, edge) in Description::BOTH.into_iter().zip(edges) {
            hands.hand(description).recovery = Some(hands.candidates(description, Some(&edge)));
            hands.subscribe(description, edge, Start::Live, Why::Recovery, &mut out);
        }
        (hands, out)
    }

    /// The edge that delivers each description; none while it is being recovered.
    pub fn legs(&self) -> [Option<NodeId>; 2] {
        self.hands.each_ref().map(|hand| hand.leg.clone())
    }

    /// The edge at which a second leg of `description` is being added, and where that leg starts.
    pub fn attaching(&self, description: Description) -> Option<(&NodeId, Start)> {
        self.hands[description.index()].attach.as_ref().map(|a| (&a.edge, a.start))
    }

    /// Whether no edge was left to try for `description`.
    pub fn is_lost(&self, description: Description) -> bool {
        self.hands[description.index()].lost
    }

    /// How things stand, for the coordinator.
    pub fn report(&self) -> Report {
        Report {
            revision: self.revision,
            legs: self.legs(),
            order: self.newest.clone(),
            answer: self.answer.clone(),
        }
    }

    /// Replaces the standbys by those of a renewed grant.
    pub fn set_standbys(&mut self, standbys: Vec<NodeId>) {
        self.standbys = standbys;
    }

    /// Takes an event.
    pub fn handle(&mut self, event: Event) -> Vec<Action> {
        let before = self.report();
        let mut out = Vec::new();
        match event {
            Event::Order { order, next } => self.take_order(order, next, &mut out),
            Event::InTime { description, edge } => self.in_time(description, &edge, &mut out),
            Event::Bad { description, edge, reason } => {
                self.bad(description, &edge, reason, &mut out);
            }
            Event::Rejected { description, edge } => {
                self.drop_legs(&[description], &edge, Reason::Rejected, &mut out);
            }
            Event::Closed { edge } => {
                self.drop_legs(&Description::BOTH, &edge, Reason::Closed, &mut out);
            }
            Event::Timer(timer) => self.timed_out(timer, &mut out),
        }
        let now = self.report();
        if now != before {
            self.revision += 1;
        }
        // That an order has been taken is not worth a report of its own.
        if now.legs != before.legs || (now.answer.is_some() && now.answer != before.answer) {
            out.push(Action::Report(self.report()));
        }
        out
    }

    fn take_order(&mut self, order: ToClient, next: GroupId, out: &mut Vec<Action>) {
        let id = order.order();
        let newest = self.newest.as_ref().map(ToClient::order);
        if newest > Some(id) {
            return;
        }
        if newest == Some(id) {
            // The answer was lost, or is still to come.
            if self.answer.is_some() {
                out.push(Action::Report(self.report()));
            }
            return;
        }
        if self.hands.iter().any(Hand::is_recovering) {
            return;
        }
        self.answer = None;
        self.newest = Some(order.clone());
        self.supersede(&order, out);
        match order {
            ToClient::Attach { order, description, from, to, start } => {
                let leg = self.hand(description).leg.clone();
                if leg.as_ref() == Some(&to) {
                    self.confirm(description, order);
                } else if leg.as_ref() == Some(&from) || self.hand(description).lost {
                    let start = Start::At(start.max(next));
                    self.attach(description, to, start, Why::Attach { order, from }, out);
                } else {
                    self.undo(description, order, Reason::Elsewhere, out);
                }
            }
            ToClient::Return { order, description, to } => {
                self.end_probation(description, out);
                if self.hand(description).leg.as_ref() == Some(&to) {
                    self.answer(FromClient::Held { order, description });
                } else {
                    self.attach(description, to, Start::At(next), Why::Return { order }, out);
                }
            }
            ToClient::Finish { order, edge } => self.close(order, edge, out),
        }
    }

    /// Ends what an older order began and `order` does not go on with, so that one description at most
    /// is in transit.
    fn supersede(&mut self, order: &ToClient, out: &mut Vec<Action>) {
        for description in Description::BOTH {
            let Some(attach) = &self.hand(description).attach else { continue };
            let goes_on = matches!(order,
                ToClient::Attach { description: d, to, .. }
                | ToClient::Return { description: d, to, .. }
                    if *d == description && *to == attach.edge);
            if !goes_on {
                let edge = self.stop_attach(description, out);
                out.extend(edge.map(|edge| Action::Cancel { description, edge }));
            }
        }
    }

    /// Adds a second leg, or goes on with one that is being added already.
    fn attach(
        &mut self,
        description: Description,
        edge: NodeId,
        start: Start,
        why: Why,
        out: &mut Vec<Action>,
    ) {
        self.end_probation(description, out);
        match &mut self.hand(description).attach {
            Some(attach) => attach.why = why,
            None => self.subscribe(description, edge, start, why, out),
        }
    }

    /// The leg is where the order wants it already.
    fn confirm(&mut self, description: Description, order: OrderId) {
        let hand = self.hand(description);
        let answer = match &mut hand.probation {
            Some(Probation { order: watched, start, old: _ }) => {
                *watched = order;
                let start = *start;
                hand.leg.clone().map(|edge| FromClient::Attached {
                    order,
                    description,
                    edge,
                    start,
                })
            }
            None => Some(FromClient::Held { order, description }),
        };
        answer.into_iter().for_each(|answer| self.answer(answer));
    }

    fn close(&mut self, order: OrderId, edge: NodeId, out: &mut Vec<Action>) {
        if self.hands.iter().any(|hand| hand.leg.as_ref() == Some(&edge)) {
            self.answer(FromClient::Kept { order, edge });
        } else {
            out.push(Action::CloseConnection { edge: edge.clone() });
            self.answer(FromClient::Finished { order, edge });
        }
    }

    fn in_time(&mut self, description: Description, edge: &NodeId, out: &mut Vec<Action>) {
        let hand = self.hand(description);
        if hand.leg.as_ref() == Some(edge) {
            // It had been given up and has come back.
            hand.lost = false;
        }
        if hand.attach.as_ref().is_none_or(|attach| attach.edge != *edge) {
            return;
        }
        let Some(Attach { edge, start, why }) = hand.attach.take() else { return };
        hand.lost = false;
        hand.recovery = None;
        let old = hand.leg.replace(edge.clone());
        out.push(Action::CancelTimer(Timer::Attach { description, start }));
        let order = why.order();
        out.push(Action::Note(Note::Attached { description, edge: edge.clone(), order }));
        if let Some(old) = old {
            out.push(Action::Note(Note::Detached { description, edge: old.clone() }));
            out.push(match start {
                Start::At(group) => Action::End { description, edge: old, last: group.previous() },
                Start::Live => Action::Cancel { description, edge: old },
            });
        }
        match (why, start) {
            (Why::Attach { order, from }, Start::At(start)) => {
                self.hand(description).probation = Some(Probation { order, start, old: from });
                out.push(Action::SetTimer(Timer::Probation { description }));
                self.answer(FromClient::Attached { order, description, edge, start });
            }
            (Why::Attach { order, .. } | Why::Return { order }, _) => {
                self.answer(FromClient::Held { order, description });
            }
            (Why::RollBack { order, reason }, _) => self.undo(description, order, reason, out),
            (Why::Recovery, _) => {}
        }
    }

    fn bad(
        &mut self,
        description: Description,
        edge: &NodeId,
        reason: Reason,
        out: &mut Vec<Action>,
    ) {
        let hand = self.hand(description);
        // A second leg is judged by its timer; while there is one, help is under way.
        let helpless = hand.attach.is_none() && hand.recovery.is_none() && !hand.lost;
        if hand.leg.as_ref() != Some(edge) || !helpless {
            return;
        }
        if let Some(Probation { order, old, .. }) = self.end_probation(description, out) {
            let why = Why::RollBack { order, reason };
            self.subscribe(description, old, Start::Live, why, out);
        } else if reason == Reason::Starved {
            // The edge may come back: it is cancelled when another delivers.
            self.recover(description, edge, reason, out);
        }
    }

    /// The legs of `descriptions` at `edge` are no more.
    fn drop_legs(
        &mut self,
        descriptions: &[Description],
        edge: &NodeId,
        reason: Reason,
        out: &mut Vec<Action>,
    ) {
        let dropped: Vec<_> = descriptions
            .iter()
            .map(|&description| (description, self.hand(description).leg.take_if(|e| e == edge)))
            .collect();
        for (description, leg) in dropped {
            if let Some(edge) = leg.clone() {
                out.push(Action::Note(Note::Detached { description, edge }));
            }
            let hand = self.hand(description);
            if hand.attach.as_ref().is_some_and(|attach| attach.edge == *edge) {
                self.attach_failed(description, reason, out);
            } else if leg.is_some() {
                self.leg_gone(description, edge, reason, out);
            }
        }
    }

    fn leg_gone(
        &mut self,
        description: Description,
        edge: &NodeId,
        reason: Reason,
        out: &mut Vec<Action>,
    ) {
        let probation = self.end_probation(description, out);
        let hand = self.hand(description);
        if hand.attach.is_some() || hand.recovery.is_some() {
            return;
        }
        match probation {
            Some(Probation { order, old, .. }) => {
                let why = Why::RollBack { order, reason };
                self.subscribe(description, old, Start::Live, why, out);
            }
            None => self.recover(description, edge, reason, out),
        }
    }

    /// The second leg will not deliver.
    fn attach_failed(&mut self, description: Description, reason: Reason, out: &mut Vec<Action>) {
        let Some(why) = self.hand(description).attach.as_ref().map(|attach| attach.why.clone())
        else {
            return;
        };
        let Some(edge) = self.stop_attach(description, out) else { return };
        let reason = match why {
            Why::RollBack { reason, .. } => reason,
            _ => reason,
        };
        if let Some(order) = why.order() {
            self.undo(description, order, reason, out);
        }
        let leg = self.hand(description).leg.clone();
        let silent = matches!(why, Why::RollBack { .. });
        if why == Why::Recovery {
            out.push(Action::SetTimer(Timer::Reattach { description }));
        } else if leg.is_none() || silent {
            self.recover(description, &leg.unwrap_or(edge), reason, out);
        }
    }

    /// Begins to look for another edge, after `lost`.
    fn recover(
        &mut self,
        description: Description,
        lost: &NodeId,
        cause: Reason,
        out: &mut Vec<Action>,
    ) {
        let from = lost.clone();
        out.push(Action::Note(Note::Recovering { description, from, cause }));
        self.hand(description).recovery = Some(self.candidates(description, Some(lost)));
        out.push(Action::SetTimer(Timer::Reattach { description }));
    }

    /// Whom to try for a description: the other hand's edge first, for its connection is open; then the
    /// standbys; at last the edge that was lost, unless its leg is still there.
    fn candidates(&self, description: Description, lost: Option<&NodeId>) -> VecDeque<NodeId> {
        let own = self.hands[description.index()].leg.as_ref();
        let other = self.hands[description.other().index()].leg.as_ref();
        let mut once: Vec<NodeId> = Vec::new();
        for edge in
            other.filter(|edge| Some(*edge) != lost).into_iter().chain(&self.standbys).chain(lost)
        {
            if Some(edge) != own && !once.contains(edge) {
                once.push(edge.clone());
            }
        }
        let rounds = once.len() * RECOVERY_ROUNDS;
        once.into_iter().cycle().take(rounds).collect()
    }

    fn timed_out(&mut self, timer: Timer, out: &mut Vec<Action>) {
        match timer {
            Timer::Attach { description, start } => {
                if let Some((edge, _)) = self.attaching(description).filter(|(_, s)| *s == start) {
                    out.push(Action::Cancel { description, edge: edge.clone() });
                    self.attach_failed(description, Reason::NotInTime, out);
                }
            }
            Timer::Probation { description } => {
                if let Some(Probation { order, .. }) = self.hand(description).probation.take() {
                    self.answer(FromClient::Held { order, description });
                }
            }
            Timer::Reattach { description } => self.try_next(description, out),
        }
    }

    fn try_next(&mut self, description: Description, out: &mut Vec<Action>) {
        let hand = self.hand(description);
        let Some(recovery) = &mut hand.recovery else { return };
        match recovery.pop_front() {
            Some(edge) => self.subscribe(description, edge, Start::Live, Why::Recovery, out),
            None => {
                hand.recovery = None;
                hand.lost = true;
                out.push(Action::Note(Note::Lost { description }));
            }
        }
    }

    fn subscribe(
        &mut self,
        description: Description,
        edge: NodeId,
        start: Start,
        why: Why,
        out: &mut Vec<Action>,
    ) {
        out.push(Action::Subscribe { description, edge: edge.clone(), start });
        out.push(Action::SetTimer(Timer::Attach { description, start }));
        self.hand(description).attach = Some(Attach { edge, start, why });
    }

    /// Forgets the second leg and returns its edge.
    fn stop_attach(&mut self, description: Description, out: &mut Vec<Action>) -> Option<NodeId> {
        let Attach { edge, start, .. } = self.hand(description).attach.take()?;
        out.push(Action::CancelTimer(Timer::Attach { description, start }));
        Some(edge)
    }

    fn end_probation(
        &mut self,
        description: Description,
        out: &mut Vec<Action>,
    ) -> Option<Probation> {
        let probation = self.hand(description).probation.take()?;
        out.push(Action::CancelTimer(Timer::Probation { description }));
        Some(probation)
    }

    /// Notes that an order is over and undone.
    fn undo(
        &mut self,
        description: Description,
        order: OrderId,
        reason: Reason,
        out: &mut Vec<Action>,
    ) {
        out.push(Action::Note(Note::RolledBack { description, order, reason }));
        self.answer(FromClient::RolledBack { order, description, reason });
    }

    /// Only the newest order is answered.
    fn answer(&mut self, answer: FromClient) {
        if self.newest.as_ref().map(ToClient::order) == Some(answer.order()) {
            self.answer = Some(answer);
        }
    }

    fn hand(&mut self, description: Description) -> &mut Hand {
        &mut self.hands[description.index()]
    }
}

impl Hand {
    /// Whether the description looks for an edge on its own account, or has only a second leg.
    fn is_recovering(&self) -> bool {
        let rolls_back =
            self.attach.as_ref().is_some_and(|attach| matches!(attach.why, Why::RollBack { .. }));
        !self.lost && (self.leg.is_none() || self.recovery.is_some() || rolls_back)
    }
}

impl Why {
    /// The order that is to be answered.
    fn order(&self) -> Option<OrderId> {
        match self {
            Why::Attach { order, .. } | Why::Return { order } | Why::RollBack { order, .. } => {
                Some(*order)
            }
            Why::Recovery => None,
        }
    }
}
