//! An edge's part of a hand-off as spans of its trace: see `otlp` in `gibbon-monitor`.

use gibbon_handoff::{FromEdge, OrderId, ToClient, ToEdge};
use gibbon_media::{Description, HandoffId, NodeId, SessionId};
use tracing::{Span, info_span};

/// The spans of one session that are open.
#[derive(Debug, Default)]
pub struct Spans {
    /// A description is fetched ahead of the client, by an order.
    prefetch: [Option<(OrderId, Span)>; 2],
    /// It is moved to its regular upstream.
    settle: [Option<Span>; 2],
    /// The hand-off by which a leg is to leave this edge: its order to the client goes through here.
    leaving: [Option<HandoffId>; 2],
    /// Room is kept after a leg that has left.
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
            ToEdge::Release { .. } => *self = Self::default(),
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

    /// An order to the client.
    pub fn passes_on(&mut self, edge: &NodeId, order: &ToClient) {
        if let ToClient::Attach { order, description, from, .. } = order
            && from == edge
        {
            self.leaving[description.index()] = Some(order.handoff);
        }
    }

    /// A leg has ended, and its room is kept.
    pub fn reserves(&mut self, edge: &NodeId, session: SessionId, description: Description) {
        let handoff = self.leaving[description.index()].take();
        self.reserved[description.index()] = handoff
            .map(|handoff| info_span!("reserved", %handoff, %session, %edge, leg = %description));
    }

    /// The room of a leg is given up.
    pub fn frees(&mut self, description: Description) {
        self.reserved[description.index()] = None;
    }
}
