//! Which coded pictures are to be decoded for the next one: of one or two descriptions, in one or two qualities.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use gibbon_mdc::{Rendition, deal};
use gibbon_media::{
    Catalog, Description, Frame, FrameNumber, FrameRate, GroupGrid, MediaTime, ProducerId, Scheme,
};

use super::raw::Stamp;
use crate::ipc::GroupOf;

/// Copies of groups that are held at once.
const MAX_CHAINS: usize = 64;
/// Bytes of coded pictures that are held at once.
const MAX_HELD: usize = 64 << 20;

/// One copy of a group: ordered by when the group begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainKey {
    start: MediaTime,
    /// Which description it is of.
    pub description: Description,
    producer: ProducerId,
}

/// Coded pictures from a keyframe on.
#[derive(Debug)]
struct Chain {
    /// What has not been handed out yet; the first is at index `taken`.
    frames: VecDeque<(FrameNumber, Frame)>,
    taken: u32,
    primary: bool,
    stamp: Stamp,
    end: MediaTime,
    /// A frame is missing: no later one is of use.
    torn: bool,
}

impl Chain {
    fn next_index(&self) -> u32 {
        self.taken.saturating_add(self.frames.len() as u32)
    }

    fn position(&self, n: FrameNumber) -> Option<usize> {
        self.frames.binary_search_by_key(&n, |(n, _)| *n).ok()
    }
}

/// The next picture, and how to get it.
#[derive(Debug, PartialEq)]
pub struct Step {
    /// Its number.
    pub n: FrameNumber,
    /// The copy that it comes from.
    pub chain: ChainKey,
    /// Its coded frame, after those of the same chain that come before it and have not been decoded yet.
    pub feed: Vec<Frame>,
    /// Whether the first of `feed` is the chain's keyframe.
    pub fresh: bool,
    /// Whether the picture before was the one before it in the same chain.
    pub follows: bool,
    /// Of its group.
    pub stamp: Stamp,
}

/// The pictures of a stream in order, each from the best copy that there is.
#[derive(Debug)]
pub struct Pictures {
    scheme: Scheme,
    rate: FrameRate,
    grids: [GroupGrid; 2],
    chains: BTreeMap<ChainKey, Chain>,
    bytes: usize,
    /// What is to come next; nothing where it begins anew.
    next: Option<FrameNumber>,
    /// Nothing before this is of use.
    from: MediaTime,
    /// The chain that the last picture came from.
    current: Option<ChainKey>,
    /// When a picture last came that was not of a later group than the one waited for, by description.
    progress: [Duration; 2],
    missing: u64,
}

impl Pictures {
    /// Of the stream of `catalog`, if it has any.
    pub fn new(catalog: &Catalog) -> Option<Self> {
        Some(Self {
            scheme: catalog.scheme,
            rate: catalog.video.as_ref()?.rate,
            grids: catalog.grids,
            chains: BTreeMap::new(),
            bytes: 0,
            next: None,
            from: MediaTime(0),
            current: None,
            progress: [Duration::ZERO; 2],
            missing: 0,
        })
    }

    /// Pictures that were not there in time.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Takes in a frame; `idle` is the time spent waiting for frames so far. `false`: it is of no use.
    pub fn push(
        &mut self,
        idle: Duration,
        at: GroupOf,
        stamp: Stamp,
        index: u32,
        frame: Frame,
    ) -> bool {
        let grid = self.grids[at.description.index()];
        let (start, end) = (grid.start_of(at.group), grid.end_of(at.group));
        let awaited = self.next.map_or(self.from, |n| self.rate.time_of(n));
        if start <= awaited {
            self.progress[at.description.index()] = idle;
        }
        let key = ChainKey { start, description: at.description, producer: at.producer };
        if end <= awaited || self.bytes + frame.payload.len() > MAX_HELD {
            return false;
        }
        let known = self.chains.contains_key(&key);
        if !known && (index != 0 || !frame.flags.is_key() || self.chains.len() >= MAX_CHAINS) {
            return false;
        }
        let primary = frame.flags.is_primary();
        let chain = self.chains.entry(key).or_insert_with(|| Chain {
            frames: VecDeque::new(),
            taken: 0,
            primary,
            stamp,
            end,
            torn: false,
        });
        let n = self.rate.frame_at(frame.time);
        let rises = chain.frames.back().is_none_or(|(last, _)| *last < n);
        chain.torn |= index != chain.next_index() || !rises;
        if chain.torn {
            return false;
        }
        self.bytes += frame.payload.len();
        chain.frames.push_back((n, frame));
        true
    }

    /// The next picture, if it is there; in lower quality, or one of a later group, if `newer` says that media
    /// have come that are newer than a media time by more than anyone waits for.
    pub fn next(
        &mut self,
        idle: Duration,
        settle: Duration,
        newer: impl Fn(MediaTime) -> bool,
    ) -> Option<Step> {
        loop {
            let n = match self.next {
                Some(n) => n,
                None => *self.next.insert(self.beginning()?),
            };
            let time = self.rate.time_of(n);
            let lost = newer(time) && self.is_quiet(n, idle, settle);
            if let Some(key) = self.best(n, lost) {
                return Some(self.take(key, n));
            }
            if !lost {
                return None;
            }
            self.give_up(time);
        }
    }

    /// Decoding a step has failed: its chain is of no more use.
    pub fn damaged(&mut self, step: &Step) {
        self.remove(step.chain);
        self.next = Some(step.n);
        self.current = None;
    }

    /// Where to begin: with the first picture of what there is from a keyframe on.
    fn beginning(&self) -> Option<FrameNumber> {
        let untouched = self.chains.values().filter(|chain| chain.taken == 0);
        let first = |chain: &Chain| {
            let mut numbers = chain.frames.iter().map(|(n, _)| *n);
            numbers.find(|n| self.rate.time_of(*n) >= self.from)
        };
        untouched.filter_map(first).min()
    }

    /// Whether the descriptions that carry frame `n` in full quality have been silent.
    fn is_quiet(&self, n: FrameNumber, idle: Duration, settle: Duration) -> bool {
        let shares = deal(self.scheme, self.rate, &self.grids, n);
        let silent = |progress: &Duration| idle.saturating_sub(*progress) >= settle;
        let full = shares
            .iter()
            .zip(&self.progress)
            .filter(|(share, _)| share.is_some_and(|share| share.rendition == Rendition::Primary));
        full.map(|(_, progress)| progress).all(silent)
    }

    /// The chain to take frame `n` from: that of the last picture rather than others.
    fn best(&self, n: FrameNumber, secondary: bool) -> Option<ChainKey> {
        let usable = |chain: &Chain| (chain.primary || secondary) && chain.position(n).is_some();
        let usable = self.chains.iter().filter(|(_, chain)| usable(chain));
        let rank =
            |(key, chain): &(&ChainKey, &Chain)| (!chain.primary, Some(**key) != self.current);
        usable.min_by_key(rank).map(|(key, _)| *key)
    }

    fn take(&mut self, key: ChainKey, n: FrameNumber) -> Step {
        let mut feed = Vec::new();
        let (mut fresh, mut stamp) = (false, Stamp::default());
        if let Some(chain) = self.chains.get_mut(&key) {
            let count = chain.position(n).map_or(0, |at| at + 1);
            fresh = chain.taken == 0;
            stamp = chain.stamp;
            chain.taken = chain.taken.saturating_add(count as u32);
            feed.extend(chain.frames.drain(..count).map(|(_, frame)| frame));
        }
        self.bytes -= feed.iter().map(|frame| frame.payload.len()).sum::<usize>();
        let follows = self.current == Some(key) && feed.len() == 1;
        self.current = Some(key);
        // A decoder serves a description and has gone on: what else it was at cannot be resumed.
        let others = |other: &ChainKey, chain: &Chain| {
            other.description == key.description && *other != key && chain.taken > 0
        };
        let over: Vec<ChainKey> =
            self.chains.iter().filter(|(k, c)| others(k, c)).map(|(k, _)| *k).collect();
        over.into_iter().for_each(|key| self.remove(key));
        self.pass(FrameNumber(n.0.saturating_add(1)));
        Step { n, chain: key, feed, fresh, follows, stamp }
    }

    /// `next` is next: forgets the groups before it.
    fn pass(&mut self, next: FrameNumber) {
        self.next = Some(next);
        self.forget_before(self.rate.time_of(next));
    }

    /// Gives up the group of what is at `time`, and begins anew.
    fn give_up(&mut self, time: MediaTime) {
        let grid = self.grids[0];
        let end = grid.end_of(grid.group_at(time));
        let next = self.rate.first_at_or_after(end);
        self.missing += next.0.saturating_sub(self.rate.frame_at(time).0);
        self.from = end;
        (self.next, self.current) = (None, None);
        self.forget_before(end);
    }

    fn forget_before(&mut self, time: MediaTime) {
        let over: Vec<ChainKey> = self
            .chains
            .iter()
            .filter(|(_, chain)| chain.end <= time)
            .map(|(key, _)| *key)
            .collect();
        over.into_iter().for_each(|key| self.remove(key));
    }

    fn remove(&mut self, key: ChainKey) {
        if let Some(chain) = self.chains.remove(&key) {
            self.bytes -= chain.frames.iter().map(|(_, frame)| frame.payload.len()).sum::<usize>();
        }
    }
}
