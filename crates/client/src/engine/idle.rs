//! Doing without a description: because an edge is full, the downlink is narrow, or no edge can be had.
//! It is taken back as soon as that goes.

use std::time::Duration;

use gibbon_handoff::client::Event as HandEvent;
use gibbon_media::{Description, MediaTime, NodeId};

use super::{Engine, FIRST_LEGS_WITHIN};
use crate::{downlink, happening::Happening, stage::Stage};

/// An idle description is taken back after a time between these, chosen anew each time, so that not all
/// clients of an edge ask at once.
const TAKE_BACK_AFTER: [Duration; 2] = [Duration::from_millis(1500), Duration::from_millis(3500)];
/// The same while no description is delivered, and for the first try after a loss.
const TAKE_BACK_IN_NEED: [Duration; 2] = [Duration::from_millis(400), Duration::from_millis(800)];

/// Why a description is done without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Without {
    /// Edges have no room for it.
    Full,
    /// The downlink does not carry it.
    Downlink,
    /// No edge that has it can be reached.
    Lost,
}

impl Without {
    fn is_choice(self) -> bool {
        self != Without::Lost
    }
}

/// Descriptions that are done without.
#[derive(Debug, Default)]
pub(super) struct Idle {
    without: [Option<Without>; 2],
    take_back_at: [Option<Duration>; 2],
    /// Since when no description is delivered.
    in_need: Option<Duration>,
    /// What the last edge said that refused a leg, and whether any was full since the search began.
    refusal: Option<String>,
    full: [bool; 2],
}

impl Idle {
    /// Another edge is looked for.
    pub fn begin_search(&mut self, description: Description) {
        self.full[description.index()] = false;
    }

    /// An edge refused a leg.
    pub fn refused(&mut self, description: Description, why: String, full: bool) {
        self.refusal = Some(why);
        self.full[description.index()] |= full;
    }

    /// For the screen.
    pub fn words(&self) -> [Option<&'static str>; 2] {
        self.without.map(|without| {
            Some(match without? {
                Without::Full => "let go: edge full",
                Without::Downlink => "let go: the downlink is too narrow",
                Without::Lost => "no edge to be had",
            })
        })
    }
}

fn between([least, most]: [Duration; 2]) -> Duration {
    least + (most - least).mul_f64(rand::random_range(0.0..=1.0))
}

impl<S: Stage> Engine<S> {
    /// Whether a description is delivered by an edge, or to be.
    pub(super) fn is_at(&self, description: Description, edge: &NodeId) -> bool {
        let attaching = self.hands.attaching(description).is_some_and(|(to, _)| to == edge);
        attaching || self.hands.legs()[description.index()].as_ref() == Some(edge)
    }

    /// Lets a description go, if the other one holds.
    pub(super) fn let_go(&mut self, description: Description, why: Without) {
        if self.settings.only.is_some() || self.hands.is_idle(description) {
            return;
        }
        self.tell_hands(HandEvent::LetGo { description });
        if self.hands.is_idle(description) {
            self.do_without(description, why);
        }
    }

    /// No edge was left to try for a description.
    pub(super) fn is_without(&mut self, description: Description) {
        let full = self.idle.full[description.index()];
        self.do_without(description, if full { Without::Full } else { Without::Lost });
    }

    fn do_without(&mut self, description: Description, why: Without) {
        self.idle.without[description.index()] = Some(why);
        self.idle.take_back_at[description.index()] = None;
        if why == Without::Lost {
            let first = self.now() + between(TAKE_BACK_IN_NEED);
            self.idle.take_back_at[description.index()] = Some(first);
        } else {
            let from = self.watching.newest(description);
            self.playing.iter_mut().for_each(|playing| playing.merger.choose_one(from));
        }
        if let Some(why) = self.idle.words()[description.index()] {
            self.happened(Happening::Without { description, why });
        }
    }

    /// The stream's clock has begun: what was done without before that is so from its beginning.
    pub(super) fn begin_without(&mut self) {
        if self.idle.without.into_iter().flatten().any(Without::is_choice) {
            self.playing.iter_mut().for_each(|playing| playing.merger.choose_one(MediaTime(0)));
        }
    }

    /// A description is delivered again, or by another edge.
    pub(super) fn is_back(&mut self, description: Description, edge: &NodeId) {
        let Some(why) = self.idle.without[description.index()].take() else { return };
        let first = self.legs.get(&(description, edge.clone())).and_then(|leg| leg.first);
        if let Some(playing) = self.playing.as_mut().filter(|_| why.is_choice()) {
            let grid = playing.catalog.grid(description);
            let newest = self.watching.newest(description);
            let from = first.map_or(newest, |group| grid.start_of(group));
            playing.merger.choose_both(from);
        }
    }

    /// Takes back what is done without, now and then.
    pub(super) fn take_back(&mut self, now: Duration) {
        let in_need = self.is_in_need();
        if !in_need {
            self.idle.in_need = None;
        } else if self.idle.in_need.is_none() {
            self.idle.in_need = Some(now);
            self.idle.take_back_at = [None; 2];
        }
        for description in Description::BOTH {
            let at = description.index();
            if !self.hands.is_idle(description) {
                self.idle.take_back_at[at] = None;
                self.came_back_by_itself(description);
                continue;
            }
            if !in_need && description == downlink::LET_GO && self.watching.downlink.is_narrow() {
                // It is taken back when there is hope.
                continue;
            }
            let wait = between(if in_need { TAKE_BACK_IN_NEED } else { TAKE_BACK_AFTER });
            let due = *self.idle.take_back_at[at].get_or_insert(now + wait);
            if due <= now {
                self.idle.take_back_at[at] = Some(now + wait);
                self.tell_hands(HandEvent::TakeBack { description });
            }
        }
    }

    /// A leg that had fallen silent delivers again.
    fn came_back_by_itself(&mut self, description: Description) {
        if self.idle.without[description.index()].is_none() {
            return;
        }
        if let Some(edge) = self.hands.legs()[description.index()].clone() {
            let now = self.now();
            self.journal.recovered(now, description, &edge);
            self.happened(Happening::Again { description, edge: &edge });
            self.is_back(description, &edge);
        }
    }

    /// Whether no description that is wanted is delivered, or looked for for the first time.
    fn is_in_need(&self) -> bool {
        let mut wanted = Description::BOTH
            .into_iter()
            .filter(|d| self.settings.only.is_none_or(|only| only == *d));
        wanted.all(|description| self.hands.is_idle(description))
    }

    /// Why the session ends, if no edge could be had for too long.
    pub(super) fn has_given_up(&self) -> Option<String> {
        let since = self.idle.in_need?;
        let (now, patience) = (self.now(), self.settings.give_up_after);
        let why = self.idle.refusal.as_ref().map(|why| format!("; the last said: {why}"));
        let why = why.unwrap_or_default();
        match &self.playing {
            Some(_) if now.saturating_sub(since) >= patience => {
                let length = patience.as_secs_f64();
                Some(format!("no edge could be reached for {length} s (--give-up-after){why}"))
            }
            // What never played is not worth the whole wait.
            None if now >= patience.min(FIRST_LEGS_WITHIN) => {
                Some(format!("no edge could be reached{why}"))
            }
            _ => None,
        }
    }
}
