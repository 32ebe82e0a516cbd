//! Text as groups of a grid, whatever stretches of time it comes in. Pure.

use std::collections::BTreeMap;

use gibbon_media::{Cue, GroupGrid, GroupId, MediaTime};

use super::raw::RawText;

/// Cues that are remembered.
const MAX_CUES: usize = 4096;
/// Groups that one stretch of text can complete: the longest group holds so many of the shortest.
const MAX_AT_ONCE: usize = 100;

/// Makes the groups of one description. A group is ready once the text of all of it is known.
#[derive(Debug)]
pub struct TextGroups {
    grid: GroupGrid,
    cues: BTreeMap<u64, Cue>,
    next: Option<GroupId>,
}

impl TextGroups {
    /// Groups of `grid`.
    pub fn new(grid: GroupGrid) -> Self {
        Self { grid, cues: BTreeMap::new(), next: None }
    }

    /// Takes in the text of a stretch; the groups that are ready, each with the cues that it overlaps.
    pub fn push(&mut self, text: &RawText) -> Vec<(GroupId, Vec<Cue>)> {
        let first = self.grid.first_not_begun(text.from);
        // After a gap, what was open remains without an end.
        let begins = match self.next {
            Some(next) if text.follows => next,
            Some(next) => next.max(first),
            None => first,
        };
        self.cues.extend(text.cues.iter().map(|cue| (cue.id, cue.clone())));
        while self.cues.len() > MAX_CUES {
            self.cues.pop_first();
        }
        let mut ready = Vec::new();
        let mut next = begins;
        while self.grid.end_of(next) <= text.until && ready.len() < MAX_AT_ONCE {
            ready.push((next, self.overlapping(self.grid.start_of(next), self.grid.end_of(next))));
            next = next.next();
        }
        self.next = Some(next);
        let from = self.grid.start_of(next);
        self.cues.retain(|_, cue| cue.end > from);
        ready
    }

    fn overlapping(&self, start: MediaTime, end: MediaTime) -> Vec<Cue> {
        let overlaps = |cue: &&Cue| cue.start < end && cue.end > start;
        let mut cues: Vec<Cue> = self.cues.values().filter(overlaps).cloned().collect();
        cues.sort_by_key(|cue| (cue.start, cue.id));
        cues
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::segment::raw::Stamp;

    const MS: u64 = 1000;

    fn stretch(from: u64, until: u64, follows: bool, cues: &[(u64, u64, u64)]) -> RawText {
        let cue = |&(id, start, end): &(u64, u64, u64)| Cue {
            id,
            start: MediaTime(start * MS),
            end: MediaTime(end * MS),
            text: String::new(),
        };
        let (from, until) = (MediaTime(from * MS), MediaTime(until * MS));
        let cues = cues.iter().map(cue).collect();
        RawText { from, until, follows, cues, stamp: Stamp::default() }
    }

    fn ids(groups: Vec<(GroupId, Vec<Cue>)>) -> Vec<(u64, Vec<u64>)> {
        let ids = |cues: Vec<Cue>| cues.into_iter().map(|cue| cue.id).collect();
        groups.into_iter().map(|(group, cues)| (group.0, ids(cues))).collect()
    }

    fn groups(offset: u64) -> TextGroups {
        TextGroups::new(GroupGrid::new(Duration::from_secs(1), Duration::from_millis(offset)))
    }

    #[test]
    fn on_its_own_grid_each_group_comes_out_as_it_went_in() {
        let mut groups = groups(0);
        let first = stretch(5000, 6000, true, &[(1, 4000, 7500), (2, 5900, 6100)]);
        assert_eq!(ids(groups.push(&first)), [(5, vec![1, 2])]);
        let second = stretch(6000, 7000, true, &[(1, 4000, 7500), (2, 5900, 6100)]);
        assert_eq!(ids(groups.push(&second)), [(6, vec![1, 2])]);
        assert_eq!(ids(groups.push(&stretch(7000, 8000, true, &[]))), [(7, vec![1])]);
        assert_eq!(ids(groups.push(&stretch(8000, 9000, true, &[]))), [(8, vec![])]);
    }

    #[test]
    fn on_another_grid_a_group_is_ready_once_all_of_it_is_known() {
        let mut groups = groups(500);
        assert_eq!(ids(groups.push(&stretch(5000, 6000, true, &[(1, 5100, 5200)]))), []);
        let second = stretch(6000, 7000, true, &[(2, 6100, 6700)]);
        assert_eq!(ids(groups.push(&second)), [(5, vec![2])], "from 5.5 to 6.5 s");
    }

    #[test]
    fn after_a_gap_the_next_whole_group_is_next() {
        let mut groups = groups(0);
        assert_eq!(ids(groups.push(&stretch(5300, 6300, true, &[]))), [], "shifted by 300 ms");
        assert_eq!(ids(groups.push(&stretch(6300, 7300, true, &[]))), [(6, vec![])]);
        assert_eq!(ids(groups.push(&stretch(9300, 10_300, false, &[]))), []);
        assert_eq!(ids(groups.push(&stretch(10_300, 11_300, true, &[]))), [(10, vec![])]);
    }
}
