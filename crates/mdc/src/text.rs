//! Text: each cue once, and what was missed.
//!
//! A cue counts as *missed* (once, by its id) if it was learned of later than `TOLERANCE` after its
//! start was due; it is shown all the same if it has not ended. What was never learned of cannot be
//! counted cue by cue: a group of description 0's grid which no whole text groups of either description
//! cover when it ends counts as one missed cue. Both count only from the first thing shown on: a cue
//! that began before a viewer joined is not missed. A group is whole when its end has been told
//! (`Merger::handle_group_end`) and all its frames are here.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gibbon_media::{Cue, Description, Frame, GroupGrid, GroupId, MediaTime};

use crate::{Admission, ChainKey, PlayoutClock, copies::Copies, stats::TextStats};

/// A cue this much late is as good as in time.
const TOLERANCE: Duration = Duration::from_millis(200);
/// Most cues remembered, and the largest taken: at most 2 MiB.
const MAX_CUES: usize = 256;
const MAX_CUE_BYTES: usize = 8 << 10;

#[derive(Debug)]
pub(crate) struct Text {
    grids: [GroupGrid; 2],
    copies: Copies<TextGroup>,
    /// By id; remembered as long as a group may repeat them.
    cues: BTreeMap<u64, Cue>,
    /// Known and not yet shown: when they appear, and their ids.
    pending: BTreeSet<(MediaTime, u64)>,
    /// Since when cues are expected, and the next group of grid 0 to be judged whole.
    expected: Option<(MediaTime, GroupId)>,
    stats: TextStats,
}

#[derive(Debug, Default)]
struct TextGroup {
    seen: BTreeSet<u32>,
    frames: Option<u32>,
}

impl TextGroup {
    fn is_whole(&self) -> bool {
        self.frames.and_then(|frames| usize::try_from(frames).ok()) == Some(self.seen.len())
    }
}

impl Text {
    pub fn new(grids: [GroupGrid; 2]) -> Self {
        Self {
            grids,
            copies: Copies::default(),
            cues: BTreeMap::new(),
            pending: BTreeSet::new(),
            expected: None,
            stats: TextStats::default(),
        }
    }

    /// Something is shown at `time`: from here on cues are expected. Counts the first time only.
    pub fn begin(&mut self, time: MediaTime) {
        self.expected.get_or_insert((time, self.grids[0].first_not_begun(time)));
    }

    /// Takes in a cue.
    pub fn insert(
        &mut self,
        now: Duration,
        clock: &PlayoutClock,
        key: ChainKey,
        index: u32,
        frame: &Frame,
    ) -> Admission {
        if frame.payload.len() > MAX_CUE_BYTES {
            return Admission::Refused;
        }
        let Some(cue) =
            serde_json::from_slice::<Cue>(&frame.payload).ok().filter(|cue| cue.start < cue.end)
        else {
            return Admission::Refused;
        };
        if !self.cues.contains_key(&cue.id) && self.cues.len() >= MAX_CUES {
            return Admission::Refused;
        }
        let Some(group) = self.copies.begin(key) else { return Admission::Refused };
        if !group.seen.insert(index) {
            return Admission::Duplicate;
        }
        self.learn(now, clock, cue)
    }

    fn learn(&mut self, now: Duration, clock: &PlayoutClock, cue: Cue) -> Admission {
        let late = now > clock.due(cue.start) + TOLERANCE;
        if self.cues.contains_key(&cue.id) {
            return Admission::New;
        }
        let expected = self.expected.is_some_and(|(since, _)| cue.start >= since);
        self.stats.missed += u64::from(late && expected);
        let position = clock.position(now);
        if cue.end > position {
            self.pending.insert((cue.start.max(position), cue.id));
        }
        self.cues.insert(cue.id, cue);
        if late { Admission::Late } else { Admission::New }
    }

    /// The group has `frames` frames.
    pub fn end(&mut self, key: ChainKey, frames: u32) {
        if let Some(group) = self.copies.begin(key) {
            group.frames.get_or_insert(frames);
        }
    }

    /// When the next cue appears, in media time.
    pub fn next_time(&self) -> Option<MediaTime> {
        self.pending.first().map(|(appears, _)| *appears)
    }

    /// Hands out the cue of `next_time`, whose deadline has come.
    pub fn decide(&mut self) -> Option<Cue> {
        let (_, id) = self.pending.pop_first()?;
        let cue = self.cues.get(&id)?.clone();
        self.stats.cues += 1;
        Some(cue)
    }

    /// Judges the groups that have ended at `now`, and forgets what has passed.
    pub fn settle(&mut self, now: Duration, clock: &PlayoutClock) {
        while let Some((since, group)) = self.expected {
            if clock.due(self.grids[0].end_of(group)) > now {
                break;
            }
            self.stats.missed += u64::from(!self.is_covered(group));
            self.expected = Some((since, group.next()));
        }
        self.forget(clock.position(now));
    }

    fn is_covered(&self, group: GroupId) -> bool {
        let whole = |description, group| {
            self.copies.of(description, group).any(|(_, copy)| copy.is_whole())
        };
        let last = self.grids[0].end_of(group).back(Duration::from_micros(1));
        let first = self.grids[1].group_at(self.grids[0].start_of(group)).0;
        let mut others = (first..=self.grids[1].group_at(last).0).map(GroupId);
        whole(Description::Zero, group) || others.all(|other| whole(Description::One, other))
    }

    /// Groups and cues are kept a group longer than they last: the two grids may be half a group apart.
    fn forget(&mut self, position: MediaTime) {
        let grids = self.grids;
        let spare = grids[0].duration();
        let played =
            |key: &ChainKey| grids[key.description.index()].end_of(key.group) + spare <= position;
        if self.copies.pop_played(played).is_some() {
            while self.copies.pop_played(played).is_some() {}
            self.cues.retain(|_, cue| cue.end + spare > position);
        }
    }

    pub fn stats(&self) -> TextStats {
        self.stats
    }
}
