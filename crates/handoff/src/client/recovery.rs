//! Looking for another edge, when one is lost or bad. The candidates are chosen anew at each try, for
//! what is known of an edge changes while others are tried.

use gibbon_media::{Description, NodeId};

use super::{Action, Hand, Hands, Note, Probation, Start, Why};
use crate::{
    Reason,
    timers::{ClientTimer as Timer, MAX_TRIES, RECOVERY_ROUNDS},
};

/// What a hand looks for by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Search {
    pub(super) aim: Aim,
    /// The edges tried so far, each as often as it was; [`MAX_TRIES`] at most.
    pub(super) tried: Vec<NodeId>,
}

/// Why a hand looks for an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Aim {
    /// The session begins.
    Begin,
    /// The edge was lost, or is bad.
    Recover,
    /// The description is done without, and wanted again.
    TakeBack,
    /// The edge wants to be left.
    Leave,
}

impl Aim {
    /// Whether there is nothing good to fall back on.
    pub(super) fn is_need(self) -> bool {
        matches!(self, Aim::Begin | Aim::Recover)
    }
}

impl Hands {
    /// The first leg of a session.
    pub(super) fn begin(&mut self, description: Description, edge: NodeId, out: &mut Vec<Action>) {
        let hand = self.hand(description);
        hand.last = Some(edge.clone());
        hand.search = Some(Search { aim: Aim::Begin, tried: vec![edge.clone()] });
        self.subscribe(description, edge, Start::Live, Why::Search, out);
    }

    pub(super) fn bad(
        &mut self,
        description: Description,
        edge: &NodeId,
        reason: Reason,
        out: &mut Vec<Action>,
    ) {
        let starved = reason == Reason::Starved;
        let hand = self.hand(description);
        if hand.leg.as_ref() != Some(edge) || hand.idle {
            return;
        }
        // A second leg is judged by its timer; while there is one, help is under way. But an edge that is
        // crossed from in good order is given up at once when it falls silent.
        let crossing = hand.aim() == Some(Aim::Leave);
        let helped = hand.attach.is_some() || hand.search.is_some() && !crossing;
        if helped && !(crossing && starved) {
            return;
        }
        self.end_search(description, out);
        self.cancel_attach(description, out);
        if let Some(Probation { order, old, .. }) = self.end_probation(description, out) {
            let why = Why::RollBack { order, reason };
            self.subscribe(description, old, Start::Live, why, out);
        } else {
            // The edge may come back: it is cancelled when another delivers.
            self.recover(description, edge, reason, out);
        }
        if starved {
            self.avoid(description.other(), edge, out);
        }
    }

    /// An edge that has fallen silent for one description is not waited for by the other.
    fn avoid(&mut self, description: Description, edge: &NodeId, out: &mut Vec<Action>) {
        let attach = self.hand(description).attach.as_ref();
        if attach.is_some_and(|attach| attach.why == Why::Search && attach.edge == *edge) {
            out.push(Action::Cancel { description, edge: edge.clone() });
            self.attach_failed(description, Reason::Starved, out);
        }
    }

    /// The legs of `descriptions` at `edge` are no more.
    pub(super) fn drop_legs(
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
        if self.hand(description).aim() == Some(Aim::Leave) {
            self.end_search(description, out);
            self.cancel_attach(description, out);
        }
        let hand = self.hand(description);
        if hand.attach.is_some() || hand.search.is_some() || hand.idle {
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
    pub(super) fn attach_failed(
        &mut self,
        description: Description,
        reason: Reason,
        out: &mut Vec<Action>,
    ) {
        let Some(why) = self.hand(description).attach.as_ref().map(|attach| attach.why.clone())
        else {
            return;
        };
        let Some(edge) = self.stop_attach(description, out) else { return };
        let Hand { leg, idle, .. } = self.hand(description).clone();
        match why {
            Why::Search if self.hand(description).aim() == Some(Aim::Leave) => {}
            Why::Search => out.push(Action::SetTimer(Timer::Reattach { description })),
            Why::Attach { order, .. } | Why::Return { order } => {
                self.undo(description, order, reason, out);
                if leg.is_none() && !idle {
                    self.recover(description, &edge, reason, out);
                }
            }
            Why::RollBack { order, reason } => {
                self.undo(description, order, reason, out);
                self.recover(description, &leg.unwrap_or(edge), reason, out);
            }
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
        let hand = self.hand(description);
        hand.last = Some(lost.clone());
        hand.search = Some(Search { aim: Aim::Recover, tried: Vec::new() });
        out.push(Action::SetTimer(Timer::Reattach { description }));
    }

    /// Tries the next edge, or gives up.
    pub(super) fn try_next(&mut self, description: Description, out: &mut Vec<Action>) {
        let hand = self.hand(description);
        let Some(aim) = hand.aim().filter(|_| hand.attach.is_none()) else { return };
        match self.pick(description) {
            Some(edge) => self.subscribe(description, edge, Start::Live, Why::Search, out),
            None => {
                let hand = self.hand(description);
                hand.search = None;
                hand.idle = true;
                if aim != Aim::TakeBack {
                    out.push(Action::Note(Note::Lost { description }));
                }
            }
        }
    }

    /// The edge to try next: the first candidate of those tried least often.
    pub(super) fn pick(&mut self, description: Description) -> Option<NodeId> {
        let hand = &self.hands[description.index()];
        let other = &self.hands[description.other().index()];
        let Search { aim, tried } = hand.search.as_ref()?;
        let both_lost = aim.is_need() && !other.is_firm();
        let rounds = if both_lost { RECOVERY_ROUNDS } else { 1 };
        let tries = |edge: &&NodeId| tried.iter().filter(|tried| tried == edge).count();
        let best = self.candidates(description, *aim).into_iter().min_by_key(tries)?;
        if tries(&best) >= rounds || tried.len() >= MAX_TRIES {
            return None;
        }
        let best = best.clone();
        self.hand(description).search.as_mut()?.tried.push(best.clone());
        Some(best)
    }

    /// Whom to try for a description, best first: the edge at which it was let go; the other hand's edge, for
    /// its connection is open; the standbys; then the edge that was lost, unless its leg is still there. An edge that
    /// wants to be left is good only in need, and one that is in trouble comes last.
    fn candidates(&self, description: Description, aim: Aim) -> Vec<&NodeId> {
        let hand = &self.hands[description.index()];
        let other = &self.hands[description.other().index()];
        let beside = other.leg.as_ref().or(other.attach.as_ref().map(|attach| &attach.edge));
        let troubled = other.last.as_ref().filter(|_| other.aim() == Some(Aim::Recover));
        let mut all: Vec<&NodeId> = Vec::new();
        let home = hand.home.as_ref();
        for edge in home.into_iter().chain(beside).chain(&self.standbys).chain(&hand.last) {
            let allowed = aim.is_need() || !self.wants_to_be_left(edge);
            if allowed && hand.leg.as_ref() != Some(edge) && !all.contains(&edge) {
                all.push(edge);
            }
        }
        all.sort_by_key(|edge| {
            let in_trouble = [hand.last.as_ref(), troubled].contains(&Some(edge));
            (in_trouble, self.wants_to_be_left(edge))
        });
        all
    }

    /// Looks no further.
    pub(super) fn end_search(&mut self, description: Description, out: &mut Vec<Action>) {
        let hand = self.hand(description);
        let waits = hand.attach.is_none();
        if hand.search.take().is_some_and(|search| search.aim != Aim::Leave) && waits {
            out.push(Action::CancelTimer(Timer::Reattach { description }));
        }
    }
}
