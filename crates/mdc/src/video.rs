//! Pictures: the best that can be shown of each frame, and the verdict on it.

use std::time::Duration;

use gibbon_media::{
    Catalog, Description, Frame, FrameNumber, FrameRate, GroupGrid, MediaTime, Scheme, VideoTrack,
};
use serde::{Deserialize, Serialize};

use crate::{
    Admission, ChainKey, Rendition, chain::Chain, copies::Copies, merger::Conceal, stats::Tally,
};

/// Most payload bytes of pictures held: 6 s at 160 Mbit/s.
const MAX_HELD_BYTES: usize = 128 << 20;

/// What a displayed frame looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Full quality.
    Central,
    /// Lower quality, or concealed from what the other description delivered.
    Side,
    /// Nothing to show, whatever is put on the screen.
    Frozen,
}

/// One decodable picture: decode its chain up to `index` (`Merger::coded`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Picture {
    /// The chain it stands in.
    pub chain: ChainKey,
    /// Its place there, from 0.
    pub index: u32,
    /// Its quality.
    pub rendition: Rendition,
}

/// How a frame can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Candidate {
    /// As it was coded.
    Coded(Picture),
    /// Concealed: an adjacent picture is shown again.
    Repeat(Picture),
    /// Concealed: the pictures before and after it are blended.
    Blend(Picture, Picture),
}

impl Candidate {
    fn verdict(self) -> Verdict {
        match self {
            Candidate::Coded(picture) if picture.rendition == Rendition::Primary => {
                Verdict::Central
            }
            _ => Verdict::Side,
        }
    }
}

/// A frame whose deadline has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Which frame.
    pub number: FrameNumber,
    /// Its media time.
    pub time: MediaTime,
    /// When it was due, since session start.
    pub deadline: Duration,
    /// What it looks like.
    pub verdict: Verdict,
    /// A side frame shown while one description was chosen.
    pub side_chosen: bool,
    /// Where the picture comes from; `None` if and only if it is frozen.
    pub source: Option<Candidate>,
}

#[derive(Debug)]
pub(crate) struct Video {
    rate: FrameRate,
    grids: [GroupGrid; 2],
    /// How missing frames are concealed; `None` where the scheme does not.
    conceal: Option<Conceal>,
    chains: Copies<Chain>,
    held_bytes: usize,
    /// The next frame whose deadline is to come.
    next: FrameNumber,
    /// Something has been shown: every deadline counts.
    started: bool,
    tally: Tally,
}

impl Video {
    pub fn new(catalog: &Catalog, track: &VideoTrack, conceal: Conceal) -> Self {
        Self {
            rate: track.rate,
            grids: catalog.grids,
            conceal: (catalog.scheme == Scheme::Temporal).then_some(conceal),
            chains: Copies::default(),
            held_bytes: 0,
            next: FrameNumber(0),
            started: false,
            tally: Tally::default(),
        }
    }

    /// Nothing before `position` will be shown.
    pub fn begin(&mut self, position: MediaTime) {
        self.next = self.rate.first_at_or_after(position);
    }

    /// Takes in a frame; `due` is its deadline.
    pub fn insert(
        &mut self,
        now: Duration,
        due: Duration,
        key: ChainKey,
        index: u32,
        frame: Frame,
    ) -> Admission {
        let number = self.rate.frame_at(frame.time);
        let group = self.grids[key.description.index()].group_at(self.rate.time_of(number));
        let bytes = frame.payload.len();
        if group != key.group || (index == 0 && !frame.flags.is_key()) {
            return Admission::Refused;
        }
        if self.played(&key) {
            return Admission::Late;
        }
        if self.chains.get(&key).is_some_and(|chain| chain.has(index)) {
            return Admission::Duplicate;
        }
        if self.held_bytes + bytes > MAX_HELD_BYTES {
            return Admission::Refused;
        }
        let Some(chain) = self.chains.begin(key) else { return Admission::Refused };
        if !chain.insert(now, index, number, frame) {
            return Admission::Refused;
        }
        self.held_bytes += bytes;
        if due < now { Admission::Late } else { Admission::New }
    }

    /// Whether no frame to come can need this group. It is kept while the second frame after it has
    /// not been shown: the first may be concealed from its last picture, and is decoded when shown.
    fn played(&self, key: &ChainKey) -> bool {
        let end = self.grids[key.description.index()].end_of(key.group);
        self.rate.first_at_or_after(end).0 + 1 < self.next.0
    }

    /// The media time of the next frame whose deadline is to come.
    pub fn next_time(&self) -> MediaTime {
        self.rate.time_of(self.next)
    }

    /// The best that could be shown of frame `n` at its `deadline`, from what is here.
    pub fn best(&self, n: FrameNumber, deadline: Duration) -> Option<Candidate> {
        self.decodable(n, deadline)
            .map(Candidate::Coded)
            .or_else(|| self.concealed(n, deadline, self.conceal?))
    }

    /// The best coded picture of frame `n`: by quality, then description, then producer.
    fn decodable(&self, n: FrameNumber, deadline: Duration) -> Option<Picture> {
        let time = self.rate.time_of(n);
        Description::BOTH
            .into_iter()
            .flat_map(|description| {
                self.chains.of(description, self.grids[description.index()].group_at(time))
            })
            .filter_map(|(chain, copy)| {
                let (index, rendition) = copy.decodable(n, deadline)?;
                Some(Picture { chain, index, rendition })
            })
            .min_by_key(|picture| picture.rendition)
    }

    fn concealed(&self, n: FrameNumber, deadline: Duration, how: Conceal) -> Option<Candidate> {
        let before = n.0.checked_sub(1).and_then(|n| self.decodable(FrameNumber(n), deadline));
        let after = || self.decodable(FrameNumber(n.0.saturating_add(1)), deadline);
        match (how, before) {
            (Conceal::Repeat, Some(before)) => Some(Candidate::Repeat(before)),
            (Conceal::Blend, Some(before)) => Some(
                after().map_or(Candidate::Repeat(before), |after| Candidate::Blend(before, after)),
            ),
            (_, None) => after().map(Candidate::Repeat),
        }
    }

    /// Decides the next frame, whose `deadline` has come. `None`: nothing is shown yet. The first
    /// frame shown is one of full quality, or with `any` whatever there is.
    pub fn decide(&mut self, deadline: Duration, any: bool, chosen: bool) -> Option<Shown> {
        let number = self.next;
        let source = self.best(number, deadline);
        let verdict = source.map_or(Verdict::Frozen, Candidate::verdict);
        self.next = FrameNumber(number.0 + 1);
        self.forget_played();
        self.started |= verdict == Verdict::Central || (any && verdict == Verdict::Side);
        if !self.started {
            return None;
        }
        self.tally.count(verdict, chosen);
        let side_chosen = chosen && verdict == Verdict::Side;
        let time = self.rate.time_of(number);
        Some(Shown { number, time, deadline, verdict, side_chosen, source })
    }

    fn forget_played(&mut self) {
        let mut chains = std::mem::take(&mut self.chains);
        while let Some(chain) = chains.pop_played(|key| self.played(key)) {
            self.held_bytes -= chain.bytes();
        }
        self.chains = chains;
    }

    pub fn coded(&self, key: &ChainKey, from_index: u32) -> impl Iterator<Item = (u32, Frame)> {
        self.chains.get(key).into_iter().flat_map(move |chain| chain.coded(from_index))
    }

    pub fn mark_undecodable(&mut self, key: &ChainKey, index: u32) {
        if let Some(chain) = self.chains.get_mut(key) {
            chain.mark_undecodable(index);
        }
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    pub fn rate(&self) -> FrameRate {
        self.rate
    }
}
