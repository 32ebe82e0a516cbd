//! Leaving an edge that wants to be left, without an order from anybody.
//!
//! One description crosses at a time, from a group on, and each at a [`GoAway`](super::Event::GoAway)
//! with fresh groups: the hands know no clock. When every candidate has been tried in vain, the leg stays
//! until the edge says it again.

use gibbon_media::{Description, GroupId, NodeId};

use super::{Action, Aim, Hands, Note, Start, Why, recovery::Search};
use crate::timers::ClientTimer as Timer;

/// How many edges that want to be left are remembered; the oldest is forgotten.
const MAX_LEAVING: usize = 8;

/// An edge that wants to be left.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Leaving {
    edge: NodeId,
    /// Whether there is still something to try since it last said so.
    open: bool,
}

impl Hands {
    /// Whether legs are still to be moved away from an edge that wants to be left, and
    /// [`GoAway`](super::Event::GoAway) is to be repeated with fresh groups.
    pub fn is_crossing(&self, edge: &NodeId) -> bool {
        self.leaving.iter().any(|leaving| leaving.open && leaving.edge == *edge)
            && self.hands.iter().any(|hand| hand.leg.as_ref() == Some(edge))
    }

    pub(super) fn wants_to_be_left(&self, edge: &NodeId) -> bool {
        self.leaving.iter().any(|leaving| leaving.edge == *edge)
    }

    pub(super) fn forget_leaving(&mut self, edge: &NodeId) {
        self.leaving.retain(|leaving| leaving.edge != *edge);
    }

    /// Moves nothing more of its own accord until an edge says again that it wants to be left: the
    /// coordinator is at it.
    pub(super) fn wait_for_goaway(&mut self) {
        self.leaving.iter_mut().for_each(|leaving| leaving.open = false);
    }

    pub(super) fn go_away(&mut self, edge: NodeId, next: [GroupId; 2], out: &mut Vec<Action>) {
        self.note_leaving(&edge);
        let Some(description) = self.next_to_cross(&edge) else {
            return self.close_if_unused(edge, out);
        };
        match self.pick(description) {
            Some(to) => {
                let (from, start) = (edge, Start::At(next[description.index()]));
                out.push(Action::Note(Note::Crossing { description, from, to: to.clone() }));
                self.subscribe(description, to, start, Why::Search, out);
            }
            None => {
                self.hand(description).search = None;
                let tried = self.leaving.iter_mut().find(|leaving| leaving.edge == edge);
                tried.into_iter().for_each(|leaving| leaving.open = false);
            }
        }
    }

    fn note_leaving(&mut self, edge: &NodeId) {
        self.forget_leaving(edge);
        if self.leaving.len() == MAX_LEAVING {
            self.leaving.remove(0);
        }
        self.leaving.push(Leaving { edge: edge.clone(), open: true });
    }

    /// The description whose turn it is to leave `edge`: one whose last try failed, or else description 1
    /// first, if nothing else is under way.
    fn next_to_cross(&mut self, edge: &NodeId) -> Option<Description> {
        let still = self.hands.iter().all(|hand| {
            let seeks = hand.aim().is_some_and(|aim| aim != Aim::Leave);
            hand.attach.is_none() && hand.probation.is_none() && !seeks
        });
        let here = |d: &Description| self.hands[d.index()].leg.as_ref() == Some(edge);
        let begun = |d: &Description| self.hands[d.index()].search.is_some();
        let [zero, one] = Description::BOTH;
        let mut both = [one, zero].into_iter().filter(here);
        let description = both.clone().find(begun).or_else(|| both.next()).filter(|_| still)?;
        let fresh = || Search { aim: Aim::Leave, tried: Vec::new() };
        self.hand(description).search.get_or_insert_with(fresh);
        Some(description)
    }

    pub(super) fn stays(&mut self, edge: &NodeId, out: &mut Vec<Action>) {
        self.forget_leaving(edge);
        for description in Description::BOTH {
            let hand = self.hand(description);
            if hand.aim() == Some(Aim::Leave) && hand.leg.as_ref() == Some(edge) {
                self.end_search(description, out);
                self.cancel_attach(description, out);
            }
        }
    }

    /// The last group from the old edge may still be on its way: its connection closes when that is over.
    pub(super) fn say_goodbye(
        &mut self,
        description: Description,
        old: NodeId,
        out: &mut Vec<Action>,
    ) {
        self.hand(description).left = Some(old);
        out.push(Action::SetTimer(Timer::Leave { description }));
    }
}
