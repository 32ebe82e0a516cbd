//! Groups: the media of one description in one interval of media time.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    MediaTime, Medium,
    names::{self, InvalidName},
};

/// `floor((media time − offset) / group duration)`: derived from media time, never counted, so that
/// every node names the same interval alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupId(pub u64);

impl GroupId {
    /// The group after this one.
    pub fn next(self) -> GroupId {
        GroupId(self.0.saturating_add(1))
    }

    /// The group before this one.
    pub fn previous(self) -> GroupId {
        GroupId(self.0.saturating_sub(1))
    }

    /// Whether this is an even group: whose primary `alternating` deals to description 0.
    pub fn is_even(self) -> bool {
        self.0.is_multiple_of(2)
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

names::hex_id!(
    /// Random for each start of an encoder. Copies of a group under the same producer are interchangeable;
    /// frames of different producers are never joined within a group.
    ProducerId,
    "producer id"
);

/// How one description divides media time into groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireGrid")]
pub struct GroupGrid {
    /// Length of a group in µs, at least 1.
    duration_us: u64,
    /// Start of group 0 in µs after the epoch; below the duration.
    offset_us: u64,
}

/// A grid as it comes from outside.
#[derive(Deserialize)]
struct WireGrid {
    duration_us: u64,
    offset_us: u64,
}

impl TryFrom<WireGrid> for GroupGrid {
    type Error = &'static str;
    fn try_from(wire: WireGrid) -> Result<Self, Self::Error> {
        let WireGrid { duration_us, offset_us } = wire;
        if offset_us < duration_us {
            Ok(Self { duration_us, offset_us })
        } else {
            Err("a group grid needs a duration above its offset")
        }
    }
}

impl GroupGrid {
    /// A grid of groups of `duration` (at least 1 µs) that begins at `offset` after the epoch.
    pub fn new(duration: Duration, offset: Duration) -> Self {
        let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1);
        let offset_us = u64::try_from(offset.as_micros()).unwrap_or(0) % duration_us;
        Self { duration_us, offset_us }
    }

    /// Length of a group.
    pub fn duration(self) -> Duration {
        Duration::from_micros(self.duration_us)
    }

    /// The group that `t` falls in. Times before group 0 count to group 0.
    pub fn group_at(self, t: MediaTime) -> GroupId {
        GroupId(t.0.saturating_sub(self.offset_us) / self.duration_us)
    }

    /// The media time at which `group` begins.
    pub fn start_of(self, group: GroupId) -> MediaTime {
        MediaTime(group.0.saturating_mul(self.duration_us).saturating_add(self.offset_us))
    }

    /// The media time at which `group` ends and the next begins.
    pub fn end_of(self, group: GroupId) -> MediaTime {
        self.start_of(group.next())
    }

    /// The first group that has not yet begun at `t`.
    pub fn first_not_begun(self, t: MediaTime) -> GroupId {
        let current = self.group_at(t);
        if self.start_of(current) >= t { current } else { current.next() }
    }
}

/// What stands before the frames of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GroupHeader {
    /// What the group carries.
    pub medium: Medium,
    /// Which interval of media time.
    pub group: GroupId,
    /// Which start of which encoder made it.
    pub producer: ProducerId,
    /// Wall-clock time at the origin, in µs since the epoch, when it published the group's first frame.
    pub published_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn group_ids_follow_from_media_time() {
        let grid = GroupGrid::new(SECOND, Duration::from_millis(500));
        assert_eq!(grid.group_at(MediaTime(1_499_999)), GroupId(0));
        assert_eq!(grid.group_at(MediaTime(1_500_000)), GroupId(1));
        assert_eq!(grid.start_of(GroupId(1)), MediaTime(1_500_000));
        assert_eq!(grid.end_of(GroupId(1)), MediaTime(2_500_000));
    }

    #[test]
    fn a_grid_without_duration_is_refused() {
        assert!(serde_json::from_str::<GroupGrid>(r#"{"duration_us":0,"offset_us":0}"#).is_err());
        let grid = GroupGrid::new(SECOND, Duration::from_millis(500));
        let json = serde_json::to_string(&grid).unwrap();
        assert_eq!(serde_json::from_str::<GroupGrid>(&json).unwrap(), grid);
    }

    #[test]
    fn a_group_that_begins_right_now_has_not_begun() {
        let grid = GroupGrid::new(SECOND, Duration::ZERO);
        assert_eq!(grid.first_not_begun(MediaTime(2_000_000)), GroupId(2));
        assert_eq!(grid.first_not_begun(MediaTime(2_000_001)), GroupId(3));
    }
}
