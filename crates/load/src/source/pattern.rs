//! Which frames a synthetic stream consists of: a pure sequence in order of their times.

use std::{collections::VecDeque, time::Duration};

use gibbon_media::{
    AudioTrack, Catalog, Codec, Description, FrameFlags, FrameNumber, FrameRate, GroupId,
    MediaTime, Medium, Scheme, StreamName, VideoTrack,
};

/// Length of a packet of sound.
const PACKET: Duration = Duration::from_millis(20);
/// Bytes of one: Opus at 64 kbit/s.
const PACKET_BYTES: usize = 160;

/// What a synthetic stream looks like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// How frames are dealt out to the descriptions.
    pub scheme: Scheme,
    /// Pictures per second.
    pub fps: FrameRate,
    /// Bytes of a primary picture.
    pub frame_bytes: usize,
    /// Bytes of a secondary picture, which `alternating` has.
    pub secondary_bytes: usize,
    /// Whether there is sound, 50 packets/s in each description.
    pub sound: bool,
    /// Length of a group.
    pub group: Duration,
}

impl Shape {
    /// What viewers are told of a stream of this shape. Its time 0 is the epoch, whenever the source was started.
    pub fn catalog(&self, stream: StreamName, host: String) -> Catalog {
        let audio =
            AudioTrack { sample_rate: 48_000, channels: 2, packet_us: PACKET.as_micros() as u32 };
        Catalog {
            stream,
            scheme: self.scheme,
            created: MediaTime(0),
            grids: Catalog::grids_of(self.scheme, self.group),
            video: Some(VideoTrack { codec: Codec::H264, rate: self.fps, width: 640, height: 360 }),
            audio: self.sound.then_some(audio),
            text: None,
            host,
        }
    }
}

/// One frame to be published.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    /// When: its media time, too.
    pub time: MediaTime,
    /// In which description.
    pub description: Description,
    /// Of which medium.
    pub medium: Medium,
    /// In which group.
    pub group: GroupId,
    /// Frames before it in its group.
    pub index: u32,
    /// Frames before it in its description and medium.
    pub counter: u64,
    /// What it is.
    pub flags: FrameFlags,
    /// Length of its payload.
    pub bytes: usize,
    /// Whether its group ends with it.
    pub last: bool,
}

/// The frames of a stream from the first group of each description that has not begun at some time. Endless.
#[derive(Debug)]
pub struct Pattern {
    shape: Shape,
    catalog: Catalog,
    from: MediaTime,
    /// The next picture and the next packet.
    next: [u64; 2],
    due: VecDeque<Item>,
    /// Group of the newest frame and frames in it, and frames in all, by description and medium.
    tracks: [[(GroupId, u32, u64); 2]; 2],
}

impl Pattern {
    /// Of a stream described by `catalog`, from `now` on.
    pub fn new(shape: Shape, catalog: Catalog, now: MediaTime) -> Self {
        let next = [shape.fps.first_at_or_after(now).0, now.as_micros().div_ceil(packet_us())];
        Self {
            shape,
            catalog,
            from: now,
            next,
            due: VecDeque::new(),
            tracks: [[(GroupId(0), 0, 0); 2]; 2],
        }
    }

    fn time_of(&self, medium: Medium, number: u64) -> MediaTime {
        match medium {
            Medium::Video => self.shape.fps.time_of(FrameNumber(number)),
            Medium::Audio | Medium::Text => MediaTime(number.saturating_mul(packet_us())),
        }
    }

    /// Pictures go by turns to the descriptions of `temporal`; all else goes to each description.
    fn carries(&self, description: Description, medium: Medium, number: u64) -> bool {
        let dealt = self.shape.scheme == Scheme::Temporal && medium == Medium::Video;
        !dealt || number % 2 == description.index() as u64
    }

    fn put(&mut self, description: Description, medium: Medium, number: u64) {
        let (grid, time) = (self.catalog.grid(description), self.time_of(medium, number));
        let group = grid.group_at(time);
        // A producer begins with a whole group.
        if group < grid.first_not_begun(self.from) {
            return;
        }
        let following = (number + 1..).find(|n| self.carries(description, medium, *n));
        let last = following.is_none_or(|n| self.time_of(medium, n) >= grid.end_of(group));
        let track = &mut self.tracks[description.index()][medium.index()];
        let index = if track.0 == group { track.1 } else { 0 };
        let counter = track.2;
        *track = (group, index + 1, counter + 1);
        let (flags, bytes) = self.look(description, medium, group, index);
        let item = Item { time, description, medium, group, index, counter, flags, bytes, last };
        self.due.push_back(item);
    }

    fn look(
        &self,
        description: Description,
        medium: Medium,
        group: GroupId,
        index: u32,
    ) -> (FrameFlags, usize) {
        if medium != Medium::Video {
            return (FrameFlags::NONE, PACKET_BYTES);
        }
        let secondary = self.shape.scheme == Scheme::Alternating
            && group.is_even() != (description == Description::Zero);
        let (quality, bytes) = match secondary {
            true => (FrameFlags::NONE, self.shape.secondary_bytes),
            false => (FrameFlags::PRIMARY, self.shape.frame_bytes),
        };
        let key = if index == 0 { FrameFlags::KEY } else { FrameFlags::NONE };
        (quality | key, bytes)
    }
}

fn packet_us() -> u64 {
    PACKET.as_micros() as u64
}

impl Iterator for Pattern {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        while self.due.is_empty() {
            let [picture, packet] = self.next;
            let sound_first = self.shape.sound
                && self.time_of(Medium::Audio, packet) < self.time_of(Medium::Video, picture);
            let (medium, number) =
                if sound_first { (Medium::Audio, packet) } else { (Medium::Video, picture) };
            self.next[medium.index()] = number + 1;
            for description in self.shape.scheme.descriptions() {
                if self.carries(*description, medium, number) {
                    self.put(*description, medium, number);
                }
            }
        }
        self.due.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(scheme: Scheme) -> Shape {
        Shape {
            scheme,
            fps: FrameRate::new(15, 1).unwrap(),
            frame_bytes: 5000,
            secondary_bytes: 1000,
            sound: true,
            group: Duration::from_secs(1),
        }
    }

    /// The frames of four seconds from 10.3 s on.
    fn frames(scheme: Scheme) -> Vec<Item> {
        let shape = shape(scheme);
        let catalog = shape.catalog("live/x".parse().unwrap(), String::new());
        let pattern = Pattern::new(shape, catalog, MediaTime(10_300_000));
        pattern.take_while(|item| item.time < MediaTime(15_000_000)).collect()
    }

    fn of(items: &[Item], description: Description, medium: Medium) -> Vec<Item> {
        let of = |item: &&Item| item.description == description && item.medium == medium;
        items.iter().filter(of).copied().collect()
    }

    #[test]
    fn frames_come_in_order_in_whole_groups_and_are_counted() {
        for scheme in [Scheme::Alternating, Scheme::Temporal, Scheme::Duplicate] {
            let items = frames(scheme);
            assert!(items.is_sorted_by_key(|item| item.time), "{scheme}");
            for description in Description::BOTH {
                for medium in [Medium::Video, Medium::Audio] {
                    let track = of(&items, description, medium);
                    assert_eq!((track[0].index, track[0].counter), (0, 0), "{scheme}");
                    for pair in track.windows(2) {
                        let [one, next] = pair else { unreachable!() };
                        let expected = if one.last { 0 } else { one.index + 1 };
                        assert_eq!((next.index, next.counter), (expected, one.counter + 1));
                        assert_eq!(one.last, next.group == one.group.next(), "{scheme}");
                    }
                }
            }
        }
    }

    #[test]
    fn alternating_deals_out_whole_groups_and_temporal_single_frames() {
        let items = frames(Scheme::Alternating);
        let zero = of(&items, Description::Zero, Medium::Video);
        assert_eq!((zero[0].group, zero[0].bytes), (GroupId(11), 1000));
        assert_eq!((zero[15].group, zero[15].bytes), (GroupId(12), 5000));
        assert!(zero[15].flags.is_key() && zero[15].flags.is_primary() && !zero[16].flags.is_key());
        assert!(of(&items, Description::One, Medium::Video)[0].flags.is_primary());
        let items = frames(Scheme::Temporal);
        let per_second = |description| {
            let track = of(&items, description, Medium::Video);
            track.iter().filter(|item| item.group == GroupId(12)).count()
        };
        assert_eq!(per_second(Description::Zero) + per_second(Description::One), 15);
    }
}
