//! What lasts for a while, each stretch of media time once and in order: packets of sound, groups of text.

use std::collections::BTreeMap;

use gibbon_media::MediaTime;

/// Stretches that may wait for an earlier one: more than a minute of sound.
const MAX_HELD: usize = 4096;

/// Puts stretches in order of time. Where two cover the same time the first to come is taken.
#[derive(Debug)]
pub struct Sequence<T> {
    /// Until when all is taken; nothing is before the first.
    due: Option<MediaTime>,
    held: BTreeMap<MediaTime, (MediaTime, T)>,
    /// What a stretch must add to what is taken, in µs, and by how much it may be off it.
    least: u64,
}

/// A stretch whose turn it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Next<T> {
    /// When it begins.
    pub from: MediaTime,
    /// When it ends.
    pub until: MediaTime,
    /// Whether it goes on where the one before ended.
    pub follows: bool,
    /// What it is.
    pub item: T,
}

impl<T> Sequence<T> {
    /// Of stretches that add at least `least` µs, at least 1.
    pub fn new(least: u64) -> Self {
        Self { due: None, held: BTreeMap::new(), least: least.max(1) }
    }

    /// What is waited for; nothing before the first.
    pub fn due(&self) -> Option<MediaTime> {
        self.due
    }

    /// Takes in a stretch. The very first must be one that it `may_begin` with. Of no use (`false`): one whose time
    /// is taken already, and one too many.
    pub fn push(&mut self, from: MediaTime, until: MediaTime, may_begin: bool, item: T) -> bool {
        if self.due.is_none() && !may_begin {
            return false;
        }
        let due = *self.due.get_or_insert(from);
        let adds = until.0.saturating_sub(due.0) >= self.least;
        if !adds || self.held.contains_key(&from) || self.held.len() >= MAX_HELD {
            return false;
        }
        self.held.insert(from, (until, item));
        true
    }

    /// The next stretch, if it is there, or if what comes before it is `lost`.
    pub fn next(&mut self, lost: impl Fn(MediaTime) -> bool) -> Option<Next<T>> {
        loop {
            let due = self.due?;
            let entry = self.held.first_entry()?;
            let from = *entry.key();
            let follows = from.0 < due.0.saturating_add(self.least);
            if !follows && !lost(due) {
                return None;
            }
            let (until, item) = entry.remove();
            // Another one may have taken its time meanwhile.
            if until.0.saturating_sub(due.0) >= self.least {
                self.due = Some(until);
                return Some(Next { from, until, follows, item });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PACKET: u64 = 20_000;

    fn push(sequence: &mut Sequence<u64>, from: u64, item: u64) -> bool {
        sequence.push(MediaTime(from), MediaTime(from + PACKET), true, item)
    }

    fn all(sequence: &mut Sequence<u64>, lost: bool) -> Vec<(u64, bool)> {
        std::iter::from_fn(|| sequence.next(|_| lost)).map(|n| (n.item, n.follows)).collect()
    }

    #[test]
    fn a_gap_is_waited_for_until_it_is_lost() {
        let mut sequence = Sequence::new(PACKET / 2);
        assert!(!sequence.push(MediaTime(0), MediaTime(PACKET), false, 0), "not a beginning");
        assert!(push(&mut sequence, 0, 0) && push(&mut sequence, 2 * PACKET, 2));
        assert_eq!(all(&mut sequence, false), [(0, true)]);
        assert!(!push(&mut sequence, 0, 9), "a second copy");
        assert!(push(&mut sequence, PACKET, 1));
        assert_eq!(all(&mut sequence, false), [(1, true), (2, true)]);
        assert!(push(&mut sequence, 5 * PACKET, 5));
        assert_eq!(all(&mut sequence, true), [(5, false)]);
        assert!(!push(&mut sequence, 4 * PACKET, 4), "too late");
    }

    #[test]
    fn an_encoder_that_is_off_by_less_than_half_a_packet_goes_on() {
        let mut sequence = Sequence::new(PACKET / 2);
        push(&mut sequence, 0, 0);
        push(&mut sequence, PACKET - 4_000, 1);
        push(&mut sequence, 2 * PACKET - 14_001, 2);
        assert_eq!(all(&mut sequence, false), [(0, true), (1, true)]);
    }

    proptest! {
        #[test]
        fn whatever_comes_in_whatever_order_is_taken_once_and_in_order(
            order in Just((0..40u64).chain(0..40).collect::<Vec<_>>()).prop_shuffle(),
            dropped in prop::collection::btree_set(1..40u64, 0..10),
        ) {
            let mut sequence = Sequence::new(PACKET / 2);
            push(&mut sequence, 0, 0);
            let mut taken = Vec::new();
            for i in order.into_iter().filter(|i| !dropped.contains(i)) {
                push(&mut sequence, i * PACKET, i);
                taken.extend(all(&mut sequence, false));
            }
            taken.extend(all(&mut sequence, true));
            let expected: Vec<(u64, bool)> = (0..40u64)
                .filter(|i| !dropped.contains(i))
                .map(|i| (i, i == 0 || !dropped.contains(&(i - 1))))
                .collect();
            prop_assert_eq!(taken, expected);
        }
    }
}
