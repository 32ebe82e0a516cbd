//! Copies of groups: of each group, what has arrived from which producer in which description.

use std::collections::BTreeMap;

use gibbon_media::{Description, GroupHeader, GroupId, ProducerId};

/// Most producers of one group of one description that are listened to. A restarted producer begins
/// at a group not yet begun, so that more than one is rare.
const MAX_PRODUCERS_PER_GROUP: usize = 4;

/// Most frames of a group: indexes are below it. 10 s at 240 frames per second, and some.
pub(crate) const MAX_FRAMES_PER_GROUP: u32 = 4096;

/// Names one copy of a group: frames of one key are one chain, and are never joined to those of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainKey {
    /// Which interval of media time, on the description's grid.
    pub group: GroupId,
    /// Which description.
    pub description: Description,
    /// Which start of which encoder.
    pub producer: ProducerId,
}

impl ChainKey {
    /// The key of a group that arrived in `description`.
    pub fn new(description: Description, header: &GroupHeader) -> Self {
        Self { group: header.group, description, producer: header.producer }
    }
}

/// What is known of each copy of a group, in order of groups. How far back and ahead it reaches is
/// bounded by the merger.
#[derive(Debug, Default)]
pub(crate) struct Copies<T>(BTreeMap<ChainKey, T>);

impl<T: Default> Copies<T> {
    /// The copy named `key`, begun if it is new; `None` if the group has too many producers.
    pub fn begin(&mut self, key: ChainKey) -> Option<&mut T> {
        let full = self.of(key.description, key.group).count() >= MAX_PRODUCERS_PER_GROUP;
        if full && !self.0.contains_key(&key) {
            return None;
        }
        Some(self.0.entry(key).or_default())
    }

    pub fn get(&self, key: &ChainKey) -> Option<&T> {
        self.0.get(key)
    }

    pub fn get_mut(&mut self, key: &ChainKey) -> Option<&mut T> {
        self.0.get_mut(key)
    }

    /// All copies of one group of one description, by producer.
    pub fn of(
        &self,
        description: Description,
        group: GroupId,
    ) -> impl Iterator<Item = (ChainKey, &T)> {
        let key = |producer| ChainKey { group, description, producer };
        self.0.range(key(ProducerId(0))..=key(ProducerId(u64::MAX))).map(|(key, copy)| (*key, copy))
    }

    /// Takes out the earliest copy if its group has `played`.
    pub fn pop_played(&mut self, played: impl Fn(&ChainKey) -> bool) -> Option<T> {
        let first = self.0.first_entry()?;
        played(first.key()).then(|| first.remove())
    }
}
