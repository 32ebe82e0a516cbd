//! Doing without a description for a while.

use gibbon_media::Description;

use super::{Action, Aim, Hands, Note, Why, recovery::Search};

impl Hands {
    /// Lets a leg go if the other description holds, and no order is being carried out on this one.
    pub(super) fn let_go(&mut self, description: Description, out: &mut Vec<Action>) {
        let safe = self.hand(description.other()).is_firm();
        let hand = self.hand(description);
        let ordered = hand.attach.as_ref().is_some_and(|attach| attach.why != Why::Search);
        let nothing = hand.leg.is_none() && hand.search.is_none();
        if !safe || ordered || hand.probation.is_some() || nothing {
            return;
        }
        self.end_search(description, out);
        self.cancel_attach(description, out);
        let hand = self.hand(description);
        hand.idle = true;
        if let Some(edge) = hand.leg.take() {
            hand.home = Some(edge.clone());
            out.push(Action::Cancel { description, edge: edge.clone() });
            out.push(Action::Note(Note::Detached { description, edge: edge.clone() }));
            out.push(Action::Note(Note::LetGo { description, edge }));
        }
    }

    /// Looks for an edge for an idle description: each candidate once. Not while the other one is on its
    /// way, for one description at most is in transit.
    pub(super) fn take_back(&mut self, description: Description, out: &mut Vec<Action>) {
        let other_moves = self.hand(description.other()).is_in_transit();
        let hand = self.hand(description);
        if !hand.idle || hand.search.is_some() || hand.attach.is_some() || other_moves {
            return;
        }
        hand.search = Some(Search { aim: Aim::TakeBack, tried: Vec::new() });
        self.try_next(description, out);
    }
}
