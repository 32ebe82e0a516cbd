//! The client's part of a hand-off as spans of its trace: see `otlp` in `gibbon-monitor`.

use gibbon_handoff::{FromClient, ToClient, client::Note};
use tracing::info_span;

use super::Engine;
use crate::stage::Stage;

impl<S: Stage> Engine<S> {
    /// An order that is newer than all before.
    pub(super) fn trace_order(&mut self, order: &ToClient) {
        if let ToClient::Attach { order, description, to, .. } = order {
            let (handoff, session) = (order.handoff, self.session);
            let span = info_span!("attach", %handoff, %session, %description, edge = %to);
            self.crossing[description.index()] = Some(span);
        }
    }

    /// The hands have done something.
    pub(super) fn trace_note(&mut self, note: &Note) {
        match note {
            Note::Attached { description, edge, order: Some(order) } => {
                let attached = self.crossing[description.index()].take();
                let (handoff, session) = (order.handoff, self.session);
                self.crossing[description.index()] = attached
                    .map(|_| info_span!("probation", %handoff, %session, %description, %edge));
            }
            Note::RolledBack { description, .. } | Note::Recovering { description, .. } => {
                self.crossing[description.index()] = None;
            }
            _ => {}
        }
    }

    /// How the newest order stands.
    pub(super) fn trace_answer(&mut self, answer: &FromClient) {
        if let FromClient::Held { description, .. } = answer {
            self.crossing[description.index()] = None;
        }
    }
}
