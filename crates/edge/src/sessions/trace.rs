//! An edge's part of a hand-off as spans of its trace: see `otlp` in `gibbon-monitor`.

use gibbon_handoff::{FromEdge, OrderId, ToEdge};
use gibbon_media::{Description, NodeId, SessionId};
use tracing::{Span, field::Empty, info_span};

/// The spans of one session that are open.
#[derive(Debug, Default)]
pub struct Spans {
    /// A description is fetched ahead of the client, by an order.
    prefetch: [Option<(OrderId, Span)>; 2],
    /// It is moved to its regular upstream.
    settle: [Option<Span>; 2],
    /// Room is kept after a leg that has ended. Of which hand-off is known when the room is to be given up.
    reserved: [Option<Span>; 2],
}

impl Spans {
    /// The coordinator has ordered something.
    pub fn ordered(&mut self, edge: &NodeId, order: &ToEdge) {
        match order {
            ToEdge::Prefetch { order, session, description, fetch, .. } => {
                let prefetch = &mut self.prefetch[description.index()];
                if prefetch.as_ref().is_none_or(|(known, _)| known < order) {
                    let span = info_span!(
                        "prefetch",
                        handoff = %order.handoff, %session, %edge, %description, ?fetch
                    );
                    *prefetch = Some((*order, span));
                }
            }
            ToEdge::Release { order, .. } => {
                for span in self.reserved.iter_mut().filter_map(Option::take) {
                    span.record("handoff", tracing::field::display(order.handoff));
                }
                *self = Self::default();
            }
        }
    }

    /// This edge answers.
    pub fn answers(&mut self, edge: &NodeId, session: SessionId, answer: &FromEdge) {
        match answer {
            FromEdge::Ready { order, description, .. } => {
                let at = description.index();
                let first = self.prefetch[at].take_if(|(known, _)| known == order).is_some();
                self.settle[at] = first.then(|| {
                    info_span!("settle", handoff = %order.handoff, %session, %edge, %description)
                });
            }
            FromEdge::Settled { description, .. } => self.settle[description.index()] = None,
            FromEdge::Refused { order, .. } => {
                for prefetch in &mut self.prefetch {
                    prefetch.take_if(|(known, _)| known == order);
                }
            }
        }
    }

    /// A leg has ended, and its room is kept.
    pub fn reserves(&mut self, edge: &NodeId, session: SessionId, description: Description) {
        let span = info_span!("reserved", handoff = Empty, %session, %edge, leg = %description);
        self.reserved[description.index()] = Some(span);
    }
}
