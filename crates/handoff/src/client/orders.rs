//! Carrying out the coordinator's orders.

use gibbon_media::{Description, GroupId, NodeId};

use super::{Action, Hand, Hands, Note, Probation, Start, Why};
use crate::{FromClient, OrderId, Reason, ToClient};

impl Hands {
    pub(super) fn take_order(&mut self, order: ToClient, next: GroupId, out: &mut Vec<Action>) {
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
        self.wait_for_goaway();
        self.supersede(&order, out);
        match order {
            ToClient::Attach { order, description, from, to, start } => {
                self.forget_leaving(&to);
                let leg = self.hand(description).leg.clone();
                if leg.as_ref() == Some(&to) {
                    self.confirm(description, order);
                } else if leg.as_ref() == Some(&from) || self.hand(description).idle {
                    let start = Start::At(start.max(next));
                    self.attach(description, to, start, Why::Attach { order, from }, out);
                } else {
                    self.undo(description, order, Reason::Elsewhere, out);
                }
            }
            ToClient::Return { order, description, to } => {
                self.forget_leaving(&to);
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

    /// Ends what an older order or the hand itself began and `order` does not go on with, so that one
    /// description at most is in transit.
    fn supersede(&mut self, order: &ToClient, out: &mut Vec<Action>) {
        for description in Description::BOTH {
            let goes_on = matches!(order,
                ToClient::Attach { description: d, to, .. }
                | ToClient::Return { description: d, to, .. }
                    if *d == description
                        && self.attaching(*d).is_some_and(|(edge, _)| to == edge));
            self.end_search(description, out);
            if !goes_on {
                self.cancel_attach(description, out);
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

    /// Notes that an order is over and undone.
    pub(super) fn undo(
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
    pub(super) fn answer(&mut self, answer: FromClient) {
        if self.newest.as_ref().map(ToClient::order) == Some(answer.order()) {
            self.answer = Some(answer);
        }
    }
}
