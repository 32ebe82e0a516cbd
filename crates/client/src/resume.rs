//! What has arrived of each group, so that a leg can begin where another broke off. Pure.

use std::{collections::BTreeMap, time::Duration};

use gibbon_media::{
    Catalog, Description, GroupHeader, GroupId, MediaTime, Medium, ProducerId, Scheme,
};
use gibbon_net::wire::{Resume, Start};

/// Groups of one description that are remembered, the newest: the longest playout delay in the shortest
/// groups, and some.
const MAX_GROUPS: usize = 128;

/// What has arrived of the groups of both descriptions.
#[derive(Debug)]
pub struct Arrivals {
    catalog: Catalog,
    groups: [BTreeMap<GroupId, Copy>; 2],
}

/// What has arrived of a group, from whatever edges.
#[derive(Debug)]
struct Copy {
    producer: ProducerId,
    /// By medium: how many frames there are from the first on without a hole, and how many there will be,
    /// once that is known.
    frames: [u32; 3],
    total: [Option<u32>; 3],
}

impl Arrivals {
    /// Nothing yet of the stream that `catalog` describes.
    pub fn new(catalog: Catalog) -> Self {
        Self { catalog, groups: Default::default() }
    }

    /// Frame `index` of a group has arrived, and was good.
    pub fn frame(&mut self, description: Description, header: &GroupHeader, index: u32) {
        if let Some(copy) = self.copy(description, header) {
            let frames = &mut copy.frames[header.medium.index()];
            *frames += u32::from(*frames == index);
        }
    }

    /// A group has arrived to its end, which is after `frames` frames.
    pub fn end(&mut self, description: Description, header: &GroupHeader, frames: u32) {
        if let Some(copy) = self.copy(description, header) {
            copy.total[header.medium.index()] = Some(frames);
        }
    }

    /// Of each group the first producer's copy counts: another does not begin before the next group.
    fn copy(&mut self, description: Description, header: &GroupHeader) -> Option<&mut Copy> {
        let groups = &mut self.groups[description.index()];
        let (producer, none) = (header.producer, ([0; 3], [None; 3]));
        let fresh = Copy { producer, frames: none.0, total: none.1 };
        groups.entry(header.group).or_insert(fresh);
        if groups.len() > MAX_GROUPS {
            groups.pop_first();
        }
        groups.get_mut(&header.group).filter(|copy| copy.producer == producer)
    }

    /// Where a leg of `description` is to begin while playback stands at `position`: at the oldest group
    /// that is not complete and can still be played, after what there is of it; or else after the newest
    /// complete one. None if nothing has come that can still be played.
    pub fn start(&self, description: Description, position: MediaTime) -> Option<Start> {
        let groups = &self.groups[description.index()];
        let first = self.catalog.grid(description).group_at(position);
        let (newest, _) = groups.last_key_value().filter(|(newest, _)| **newest >= first)?;
        let useful = (first.0..=newest.0).take(MAX_GROUPS).map(GroupId);
        for group in useful {
            match groups.get(&group) {
                Some(copy) if self.is_complete(copy) => {}
                None => return Some(Start::Group { group, resume: None }),
                Some(Copy { producer, frames, .. }) => {
                    let resume = Some(Resume { producer: *producer, frames: *frames });
                    return Some(Start::Group { group, resume });
                }
            }
        }
        Some(Start::Group { group: newest.next(), resume: None })
    }

    fn is_complete(&self, copy: &Copy) -> bool {
        let Catalog { video, audio, text, .. } = &self.catalog;
        let published = [video.is_some(), audio.is_some(), text.is_some()];
        Medium::ALL.iter().map(|medium| medium.index()).all(|medium| {
            let whole = copy.total[medium].is_some_and(|total| copy.frames[medium] >= total);
            whole || !published[medium]
        })
    }

    /// How many pictures a group of a description has that is whole, going by the frame rate; none in a stream without.
    pub fn pictures_in_group(&self, description: Description) -> u32 {
        let group: Duration = self.catalog.grid(description).duration();
        // In `temporal` each description has every other picture.
        let share = if self.catalog.scheme == Scheme::Temporal { 2 } else { 1 };
        let interval = self.catalog.video.as_ref().map(|video| share * video.rate.interval());
        let frames = interval.map_or(0, |interval| group.as_micros() / interval.as_micros().max(1));
        u32::try_from(frames).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use gibbon_media::{AudioTrack, Codec, FrameRate, VideoTrack};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const ONE: Description = Description::One;
    const OURS: ProducerId = ProducerId(7);

    fn arrivals() -> Arrivals {
        let rate = FrameRate::new(25, 1).unwrap();
        Arrivals::new(Catalog {
            stream: "live/test".parse().unwrap(),
            scheme: Scheme::Alternating,
            created: MediaTime(0),
            grids: Catalog::grids_of(Scheme::Alternating, SECOND),
            video: Some(VideoTrack { codec: Codec::H264, rate, width: 640, height: 360 }),
            audio: Some(AudioTrack { sample_rate: 48_000, channels: 2, packet_us: 20_000 }),
            text: None,
            host: "host".into(),
        })
    }

    fn header(medium: Medium, group: u64, producer: ProducerId) -> GroupHeader {
        GroupHeader { medium, group: GroupId(group), producer, published_us: 0 }
    }

    #[test]
    fn in_temporal_each_description_has_every_other_picture() {
        let alternating = arrivals();
        let grids = Catalog::grids_of(Scheme::Temporal, SECOND);
        let temporal = Catalog { scheme: Scheme::Temporal, grids, ..alternating.catalog.clone() };
        let of = |arrivals: Arrivals| arrivals.pictures_in_group(ONE);
        assert_eq!(of(alternating), 25);
        assert_eq!(of(Arrivals::new(temporal)), 12);
    }

    impl Arrivals {
        /// The first so many pictures and packets; a group of 25 and 50 is complete.
        fn with(mut self, group: u64, pictures: u32, packets: u32) -> Self {
            for (medium, came, all) in [(Medium::Video, pictures, 25), (Medium::Audio, packets, 50)]
            {
                let header = header(medium, group, OURS);
                (0..came).for_each(|index| self.frame(ONE, &header, index));
                if came == all {
                    self.end(ONE, &header, all);
                }
            }
            self
        }
    }

    fn group(group: u64) -> Option<Start> {
        Some(Start::Group { group: GroupId(group), resume: None })
    }

    fn within(group: u64, frames: [u32; 3]) -> Option<Start> {
        let resume = Some(Resume { producer: OURS, frames });
        Some(Start::Group { group: GroupId(group), resume })
    }

    #[test]
    fn a_leg_begins_where_the_one_before_it_broke_off() {
        for (what, arrived, position_ms, start) in [
            ("nothing came", arrivals(), 10_500, None),
            (
                "within a group",
                arrivals().with(11, 25, 50).with(12, 8, 15),
                11_300,
                within(12, [8, 15, 0]),
            ),
            ("the sound is whole", arrivals().with(12, 8, 50), 12_000, within(12, [8, 50, 0])),
            ("between groups", arrivals().with(11, 25, 50).with(12, 25, 50), 11_900, group(13)),
            (
                "two unfinished groups",
                arrivals().with(11, 24, 50).with(12, 1, 0),
                11_300,
                within(11, [24, 50, 0]),
            ),
            (
                "the older one is over",
                arrivals().with(11, 24, 50).with(12, 1, 0),
                12_000,
                within(12, [1, 0, 0]),
            ),
            ("a group never came", arrivals().with(11, 25, 50).with(13, 3, 6), 11_300, group(12)),
            ("all is over", arrivals().with(11, 25, 50).with(12, 25, 50), 13_000, None),
        ] {
            assert_eq!(arrived.start(ONE, MediaTime(position_ms * 1000)), start, "{what}");
            assert_eq!(arrived.start(Description::Zero, MediaTime(position_ms * 1000)), None);
        }
    }

    #[test]
    fn what_lies_beyond_a_hole_is_asked_for_again() {
        let mut arrived = arrivals().with(12, 8, 15);
        let header = header(Medium::Video, 12, OURS);
        (10..25).for_each(|index| arrived.frame(ONE, &header, index));
        arrived.end(ONE, &header, 25);
        assert_eq!(arrived.start(ONE, MediaTime(12_000_000)), within(12, [8, 15, 0]));
    }

    #[test]
    fn two_edges_may_fill_one_group() {
        let mut arrived = arrivals().with(12, 8, 50);
        let header = header(Medium::Video, 12, OURS);
        for index in [8, 8, 9, 9, 7, 10] {
            arrived.frame(ONE, &header, index);
        }
        assert_eq!(arrived.start(ONE, MediaTime(12_000_000)), within(12, [11, 50, 0]));
    }

    #[test]
    fn frames_of_another_producer_are_not_joined() {
        let mut arrived = arrivals().with(12, 8, 15);
        arrived.frame(ONE, &header(Medium::Video, 12, ProducerId(8)), 8);
        assert_eq!(arrived.start(ONE, MediaTime(12_000_000)), within(12, [8, 15, 0]));
    }

    #[test]
    fn memory_is_bounded() {
        let mut arrived = arrivals();
        for group in 0..10_000 {
            arrived.frame(ONE, &header(Medium::Video, group, OURS), 0);
        }
        assert_eq!(arrived.groups[1].len(), MAX_GROUPS);
        assert_eq!(arrived.start(ONE, MediaTime(9_999_000_000)), within(9_999, [1, 0, 0]));
    }
}
