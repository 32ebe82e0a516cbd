//! The client's end: the [`Hands`] hold a session's legs and never let go with both.
//!
//! ```text
//!             order to attach                in time                    probation over
//!  one leg ------------------> a second leg ---------> the new leg, old ----------------> one leg
//!     ^       not in time: cancel it |        end the old one   | bad: the old edge again,
//!     +------------------------------+                          |      then cancel the new one
//!     +---------------------------------------------------------+
//!  edge lost or bad: the other hand's edge, the standbys, the edge itself, one after the other;
//!                    when none is left to try, or when told to let go: idle
//!  idle:             the same again when told to take back
//!  edge leaves:      the same, but from a group on, and without a gap
//! ```
//!
//! A leg is added before another is cancelled, whoever wants it moved. While a description is being
//! recovered, orders are passed over as if they had not arrived: the coordinator repeats them. What else
//! the hands do by themselves gives way to an order.
//!
//! Carrying out orders is in `client/orders.rs`, looking for another edge in `client/recovery.rs`, doing
//! without a description in `client/idle.rs`, and leaving an edge that wants to be left in
//! `client/leaving.rs`.

mod event;
mod idle;
mod leaving;
mod orders;
mod recovery;

use gibbon_media::{Description, GroupId, NodeId};

use crate::{FromClient, OrderId, Reason, Report, ToClient, timers::ClientTimer as Timer};
pub use event::{Action, Event, Note, Start};
use leaving::Leaving;
use recovery::{Aim, Search};

/// The legs of one session, at its client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hands {
    standbys: Vec<NodeId>,
    hands: [Hand; 2],
    /// Edges that want to be left, the newest last.
    leaving: Vec<Leaving>,
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
    /// What the hand looks for by itself.
    search: Option<Search>,
    /// The description is done without: nothing was left to try, or it was let go. A bad leg may still be
    /// there.
    idle: bool,
    /// The edge that was lost, until another delivers.
    last: Option<NodeId>,
    /// The edge at which it was let go, until one delivers: it is well, and gives it back when it can.
    home: Option<NodeId>,
    /// An edge that was left at its own wish, until its last group is over.
    left: Option<NodeId>,
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
    /// The hand's own [`Search`].
    Search,
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
            leaving: Vec::new(),
            newest: None,
            answer: None,
            revision: 0,
        };
        let mut out = Vec::new();
        for (description, edge) in Description::BOTH.into_iter().zip(edges) {
            hands.begin(description, edge, &mut out);
        }
        (hands, out)
    }

    /// The edge that delivers each description; none while it is being recovered, or done without.
    pub fn legs(&self) -> [Option<NodeId>; 2] {
        self.hands.each_ref().map(|hand| hand.leg.clone())
    }

    /// The edge at which a second leg of `description` is being added, and where that leg starts.
    pub fn attaching(&self, description: Description) -> Option<(&NodeId, Start)> {
        self.hands[description.index()].attach.as_ref().map(|a| (&a.edge, a.start))
    }

    /// Whether `description` is done without: it was let go, or no edge was left to try. It is looked for
    /// again at [`Event::TakeBack`]. A bad leg for which there is no better one may still be there, and
    /// counts again when it is [in time](Event::InTime).
    pub fn is_idle(&self, description: Description) -> bool {
        self.hands[description.index()].idle
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

    /// Replaces the standbys by those of a renewed grant. The coordinator vouches for them: one that
    /// wanted to be left is tried again.
    pub fn set_standbys(&mut self, standbys: Vec<NodeId>) {
        standbys.iter().for_each(|edge| self.forget_leaving(edge));
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
            Event::GoAway { edge, next } => self.go_away(edge, next, &mut out),
            Event::Stays { edge } => self.stays(&edge, &mut out),
            Event::LetGo { description } => self.let_go(description, &mut out),
            Event::TakeBack { description } => self.take_back(description, &mut out),
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

    /// The second leg delivers: it takes the place of the first.
    fn in_time(&mut self, description: Description, edge: &NodeId, out: &mut Vec<Action>) {
        let hand = self.hand(description);
        if hand.leg.as_ref() == Some(edge) {
            // It had been given up and has come back.
            hand.idle = false;
        }
        if hand.attach.as_ref().is_none_or(|attach| attach.edge != *edge) {
            return;
        }
        let Some(Attach { edge, start, why }) = hand.attach.take() else { return };
        let aim = hand.search.take().map(|search| search.aim);
        hand.idle = false;
        (hand.last, hand.home) = (None, None);
        let old = hand.leg.replace(edge.clone());
        out.push(Action::CancelTimer(Timer::Attach { description, start }));
        let order = why.order();
        out.push(Action::Note(Note::Attached { description, edge: edge.clone(), order }));
        if let Some(edge) = old.clone() {
            out.push(Action::Note(Note::Detached { description, edge: edge.clone() }));
            out.push(match start {
                Start::At(group) => Action::End { description, edge, last: group.previous() },
                Start::Live => Action::Cancel { description, edge },
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
            (Why::Search, _) => match (aim, old) {
                (Some(Aim::Leave), Some(old)) => self.say_goodbye(description, old, out),
                // It is silent: woken, it must not serve a dead session.
                (_, Some(old)) => self.close_if_unused(old, out),
                (_, None) => {}
            },
        }
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
            Timer::Leave { description } => {
                let left = self.hand(description).left.take();
                left.into_iter().for_each(|edge| self.close_if_unused(edge, out));
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

    /// Takes the second leg down.
    fn cancel_attach(&mut self, description: Description, out: &mut Vec<Action>) {
        let edge = self.stop_attach(description, out);
        out.extend(edge.map(|edge| Action::Cancel { description, edge }));
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

    fn close_if_unused(&self, edge: NodeId, out: &mut Vec<Action>) {
        if !self.hands.iter().any(|hand| hand.needs(&edge)) {
            out.push(Action::CloseConnection { edge });
        }
    }

    fn hand(&mut self, description: Description) -> &mut Hand {
        &mut self.hands[description.index()]
    }
}

impl Hand {
    /// Whether the description looks for an edge because it needs one, or has only a second leg.
    fn is_recovering(&self) -> bool {
        let seeks = self.search.as_ref().is_some_and(|search| search.aim.is_need());
        let rolls_back =
            self.attach.as_ref().is_some_and(|attach| matches!(attach.why, Why::RollBack { .. }));
        !self.idle && (self.leg.is_none() || seeks || rolls_back)
    }

    /// Whether the description is delivered, and nothing is known to be wrong with its leg.
    fn is_firm(&self) -> bool {
        self.leg.is_some() && !self.idle && !self.is_recovering()
    }

    /// Whether the description is on its way at somebody's wish.
    fn is_in_transit(&self) -> bool {
        let leaves = self.aim() == Some(Aim::Leave);
        let moves = self.attach.as_ref().is_some_and(|attach| leaves || attach.why != Why::Search);
        moves || self.probation.is_some()
    }

    fn aim(&self) -> Option<Aim> {
        self.search.as_ref().map(|search| search.aim)
    }

    /// Whether the connection to an edge is to stay open.
    fn needs(&self, edge: &NodeId) -> bool {
        let attach = self.attach.as_ref().map(|attach| &attach.edge);
        let old = self.probation.as_ref().map(|probation| &probation.old);
        [self.leg.as_ref(), attach, old, self.left.as_ref()].contains(&Some(edge))
    }
}

impl Why {
    /// The order that is to be answered.
    fn order(&self) -> Option<OrderId> {
        match self {
            Why::Attach { order, .. } | Why::Return { order } | Why::RollBack { order, .. } => {
                Some(*order)
            }
            Why::Search => None,
        }
    }
}
