//! One copy of a group of pictures: how far it can be decoded, and since when.

use std::{collections::BTreeMap, time::Duration};

use gibbon_media::{Frame, FrameNumber};

use crate::Rendition;

/// Coded pictures from a keyframe on, each of which needs all before it.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// Indexes 0, 1, 2, … as far as they have arrived without a hole.
    coded: Vec<Coded>,
    /// What arrived beyond the first hole.
    waiting: BTreeMap<u32, (FrameNumber, Frame)>,
    /// Of this and later indexes a decoder could make nothing.
    damaged_from: Option<u32>,
    bytes: usize,
}

#[derive(Debug)]
struct Coded {
    number: FrameNumber,
    /// Since when it and all before it are here; never earlier than its predecessor's.
    ready: Duration,
    frame: Frame,
}

impl Chain {
    /// Whether the frame at `index` has arrived.
    pub fn has(&self, index: u32) -> bool {
        index < self.next_index() || self.waiting.contains_key(&index)
    }

    /// Payload bytes that arrived.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in a frame that it has not. `false`: not a continuation of the pictures before it.
    pub fn insert(&mut self, now: Duration, index: u32, number: FrameNumber, frame: Frame) -> bool {
        let bytes = frame.payload.len();
        if index > self.next_index() {
            self.waiting.insert(index, (number, frame));
        } else if !self.push(now, number, frame) {
            return false;
        }
        self.bytes += bytes;
        while let Some((number, frame)) = self.waiting.remove(&self.next_index()) {
            if !self.push(now, number, frame) {
                break;
            }
        }
        true
    }

    /// Frame numbers rise along a chain: there is no reordering, and look-up depends on it.
    fn push(&mut self, ready: Duration, number: FrameNumber, frame: Frame) -> bool {
        let rises = self.coded.last().is_none_or(|last| last.number < number);
        if rises {
            self.coded.push(Coded { number, ready, frame });
        }
        rises
    }

    fn next_index(&self) -> u32 {
        u32::try_from(self.coded.len()).unwrap_or(u32::MAX)
    }

    /// Where frame `n` stands in the chain and in which quality, if it could be decoded at `by`.
    pub fn decodable(&self, n: FrameNumber, by: Duration) -> Option<(u32, Rendition)> {
        let at = self.coded.binary_search_by_key(&n, |coded| coded.number).ok()?;
        let coded = self.coded.get(at)?;
        let index = u32::try_from(at).ok()?;
        let sound = self.damaged_from.is_none_or(|damaged| index < damaged);
        let rendition =
            if coded.frame.flags.is_primary() { Rendition::Primary } else { Rendition::Secondary };
        (sound && coded.ready <= by).then_some((index, rendition))
    }

    /// What to feed a decoder that has had all before `index`, up to the first hole.
    pub fn coded(&self, index: u32) -> impl Iterator<Item = (u32, Frame)> {
        let from = usize::try_from(index).unwrap_or(usize::MAX);
        let coded = self.coded.get(from..).unwrap_or_default();
        (index..).zip(coded.iter().map(|coded| coded.frame.clone()))
    }

    /// Counts nothing from `index` on as decodable any more.
    pub fn mark_undecodable(&mut self, index: u32) {
        let damaged = self.damaged_from.get_or_insert(index);
        *damaged = index.min(*damaged);
    }
}
