//! Which groups of a description a reader has taken up already.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use gibbon_media::{GroupId, Medium};

use super::{Group, Tracks};

/// Gives a reader each group of some media once.
#[derive(Debug)]
pub struct Unread {
    media: Vec<Medium>,
    taken: BTreeSet<(GroupId, usize)>,
    /// How many groups had begun when it was last looked.
    seen: Option<u64>,
}

impl Unread {
    /// For a reader of `media`.
    pub fn of(media: Vec<Medium>) -> Self {
        Self { media, taken: BTreeSet::new(), seen: None }
    }

    /// The groups in `tracks` that are `wanted` and have not been given before.
    pub fn take(&mut self, tracks: &Tracks, wanted: impl Fn(GroupId) -> bool) -> Vec<Arc<Group>> {
        let begun = tracks.begun.load(Ordering::Acquire);
        if self.seen.replace(begun) == Some(begun) {
            return Vec::new();
        }
        let held = self.media.iter().flat_map(|medium| tracks.ring(*medium).groups());
        let unread = held.filter(|group| {
            let id = group.header.group;
            wanted(id) && self.taken.insert((id, group.header.medium.index()))
        });
        let unread = unread.collect();
        // What the cache no longer holds cannot come again: forget it, so that this set is bounded.
        let spans = self.media.iter().filter_map(|medium| tracks.ring(*medium).span());
        if let Some(oldest) = spans.map(|(oldest, _)| oldest).min() {
            self.taken = self.taken.split_off(&(oldest, 0));
        }
        unread
    }

    /// More may be wanted than before: what is there is gone through anew.
    pub fn look_again(&mut self) {
        self.seen = None;
    }

    /// Whether `group` has been given of each of its media, or was passed over by their producers.
    pub fn is_past(&self, group: GroupId, tracks: &Tracks) -> bool {
        self.media.iter().all(|medium| {
            let span = tracks.ring(*medium).span();
            span.is_some_and(|(_, newest)| newest > group)
                || self.taken.contains(&(group, medium.index()))
        })
    }
}
