//! Whatever comes in whatever order, what is taken is in order and can be decoded.

use gibbon_mdc::{Rendition, deal};
use gibbon_media::{
    AudioTrack, Codec, Description, FrameFlags, FrameNumber, FrameRate, GroupId, ProducerId,
    Scheme, VideoTrack,
};
use proptest::prelude::*;

use super::*;

/// Frames per second, which is a group.
const RATE: u64 = 10;
/// The first group.
const FIRST: u64 = 100;
const GROUPS: u64 = 3;

fn catalog(scheme: Scheme) -> Catalog {
    let video = VideoTrack {
        codec: Codec::H264,
        rate: FrameRate::new(RATE as u32, 1).unwrap(),
        width: 16,
        height: 16,
    };
    Catalog {
        stream: "live/a".parse().unwrap(),
        scheme,
        created: MediaTime(0),
        grids: Catalog::grids_of(scheme, Duration::from_secs(1)),
        video: Some(video),
        audio: Some(AudioTrack { sample_rate: 48_000, channels: 1, packet_us: 20_000 }),
        text: None,
        host: String::new(),
    }
}

/// One message and what it carries: `index` of a frame, which is its payload, too.
type Sent = (GroupOf, u32, Frame);

/// All frames of a medium of a description from the first group on, group by group. Groups begun before are left
/// out.
fn track(scheme: Scheme, description: Description, medium: Medium) -> Vec<Vec<Sent>> {
    let catalog = catalog(scheme);
    let grid = catalog.grid(description);
    let rate = catalog.video.as_ref().unwrap().rate;
    let mut groups: Vec<Vec<Sent>> = Vec::new();
    let mut put = |group: GroupId, starts: bool, time: MediaTime, flags: FrameFlags| {
        if starts {
            groups.push(Vec::new());
        }
        let Some(last) = groups.last_mut() else { return };
        let at = GroupOf { description, medium, group, producer: ProducerId(1) };
        let index = last.len() as u32;
        let payload = Bytes::from(index.to_be_bytes().to_vec());
        last.push((at, index, Frame { time, flags, payload }));
    };
    if medium == Medium::Video {
        for n in FIRST * RATE..(FIRST + GROUPS) * RATE {
            let shares = deal(scheme, rate, &catalog.grids, FrameNumber(n));
            let Some(share) = shares[description.index()] else { continue };
            let key = if share.key { FrameFlags::KEY } else { FrameFlags::NONE };
            let primary = match share.rendition {
                Rendition::Primary => FrameFlags::PRIMARY,
                Rendition::Secondary => FrameFlags::NONE,
            };
            put(share.group, share.key, rate.time_of(FrameNumber(n)), key | primary);
        }
    } else {
        for packet in 50 * FIRST..50 * (FIRST + GROUPS) {
            let time = MediaTime(packet * 20_000);
            let group = grid.group_at(time);
            put(group, grid.start_of(group) == time, time, FrameFlags::NONE);
        }
    }
    groups
}

/// An intake, and decoders that only count.
struct Bench {
    intake: Intake,
    at: Moment,
    /// What each description's decoder is at: the chain and the next index.
    decoders: [Option<(super::super::pictures::ChainKey, u32)>; 2],
    pictures: Vec<(u64, bool)>,
    sounds: Vec<u64>,
}

impl Bench {
    fn new(scheme: Scheme) -> Self {
        Self {
            intake: Intake::new(catalog(scheme)),
            at: Moment::default(),
            decoders: [None, None],
            pictures: Vec::new(),
            sounds: Vec::new(),
        }
    }

    fn send(&mut self, (at, index, frame): Sent) {
        let GroupOf { description, medium, group, producer } = at;
        if index == 0 {
            let header = GroupHeader { medium, group, producer, published_us: group.0 };
            self.intake.push(self.at, ToSegment::Group { description, header });
        }
        self.intake.push(self.at, ToSegment::Frame { at, index, frame });
        self.take();
    }

    fn wait(&mut self, time: Duration) {
        self.at.idle += time;
        self.at.now += time;
        self.take();
    }

    fn take(&mut self) {
        while let Some(taken) = self.intake.next(self.at) {
            match taken {
                Taken::Picture(step) => self.picture(step),
                Taken::Sound { time, .. } => self.sounds.push(time.0 / 20_000),
                Taken::Text(_) => unreachable!("the stream has no text"),
            }
        }
    }

    /// As a decoder would: a chain from its keyframe on, each frame after the one before it.
    fn picture(&mut self, step: Step) {
        let decoder = &mut self.decoders[step.chain.description.index()];
        if step.fresh {
            *decoder = Some((step.chain, 0));
        }
        let (chain, next) = decoder.as_mut().unwrap();
        assert_eq!(*chain, step.chain);
        for frame in &step.feed {
            assert_eq!(frame.payload[..], next.to_be_bytes(), "a hole in a chain");
            *next += 1;
        }
        let last = step.feed.last().unwrap();
        assert_eq!(last.time.0 * RATE / 1_000_000, step.n.0);
        if self.intake.catalog.scheme != Scheme::Temporal {
            assert_eq!(step.stamp.published_us, step.n.0 / RATE, "stamped as its group");
        }
        self.pictures.push((step.n.0, last.flags.is_primary()));
    }

    fn assert_in_order(&self) {
        assert!(self.pictures.windows(2).all(|w| w[0].0 < w[1].0), "{:?}", self.pictures);
        assert!(self.sounds.windows(2).all(|w| w[0] < w[1]), "{:?}", self.sounds);
    }
}

/// All messages in an order that keeps that of each group: by the choices, which of those that are next.
fn interleave(mut groups: Vec<Vec<Sent>>, choices: &[usize], lookahead: usize) -> Vec<Sent> {
    groups.iter_mut().for_each(|group| group.reverse());
    let mut order = Vec::new();
    let mut choices = choices.iter().cycle();
    while !groups.is_empty() {
        let at = choices.next().unwrap_or(&0) % groups.len().min(lookahead);
        order.extend(groups[at].pop());
        if groups[at].is_empty() {
            groups.remove(at);
        }
    }
    order
}

/// The groups of all tracks of a stream in order of time.
fn everything(scheme: Scheme) -> Vec<Vec<Sent>> {
    let mut groups: Vec<Vec<Sent>> = Vec::new();
    for &description in scheme.descriptions() {
        groups.extend(track(scheme, description, Medium::Video));
        groups.extend(track(scheme, description, Medium::Audio));
    }
    groups.sort_by_key(|group| group[0].2.time);
    groups
}

fn schemes() -> impl Strategy<Value = Scheme> {
    prop::sample::select(vec![Scheme::Alternating, Scheme::Duplicate, Scheme::Plain])
}

proptest! {
    /// A busy segment gets its input in bursts: nothing is given up for that.
    #[test]
    fn all_is_taken_in_full_quality_if_all_comes_however_mixed(
        scheme in schemes(),
        choices in prop::collection::vec(0usize..100, 1..60),
    ) {
        let groups = everything(scheme);
        // Four tracks at most, two groups of each.
        let mut bench = Bench::new(scheme);
        // The first to come must not be one of a later group: a stream begins with what is there.
        let (first, rest) = groups.into_iter().partition(|g| g[0].0.group.0 == FIRST);
        for sent in interleave(first, &choices, 4).into_iter().chain(interleave(rest, &choices, 8)) {
            bench.send(sent);
        }
        bench.assert_in_order();
        let expected: Vec<(u64, bool)> =
            (FIRST * RATE..(FIRST + GROUPS) * RATE).map(|n| (n, true)).collect();
        prop_assert_eq!(&bench.pictures, &expected);
        let expected: Vec<u64> = (50 * FIRST..50 * (FIRST + GROUPS)).collect();
        prop_assert_eq!(&bench.sounds, &expected);
    }

    #[test]
    fn of_a_group_that_is_lost_in_part_all_is_taken_up_to_the_hole_from_the_copy_that_has_most(
        scheme in schemes(),
        cuts in prop::collection::vec(0usize..30, 12),
        lags in prop::collection::vec(0u64..100_000, 12),
    ) {
        let mut groups = everything(scheme);
        let mut order: Vec<(u64, Sent)> = Vec::new();
        // Frames of the longest copy, and of the longest in full quality, by group.
        let mut longest = [(0, 0); GROUPS as usize];
        for ((group, cut), lag) in groups.iter_mut().zip(cuts).zip(lags) {
            // Cut off somewhere, as by a stream that was reset; or not.
            group.truncate(if cut < 10 { cut } else { usize::MAX });
            let Some((at, _, first)) = group.first() else { continue };
            let (all, primary) = &mut longest[(at.group.0 - FIRST) as usize];
            if at.medium == Medium::Video {
                *all = group.len().max(*all);
                let full = if first.flags.is_primary() { group.len() } else { 0 };
                *primary = full.max(*primary);
            }
            order.extend(group.drain(..).map(|sent| (sent.2.time.0 + lag, sent)));
        }
        order.sort_by_key(|(when, _)| *when);
        let newest = order.iter().map(|(_, sent)| sent.2.time.0).max().unwrap_or(0);
        let mut bench = Bench::new(scheme);
        for (_, sent) in order {
            bench.send(sent);
            bench.wait(Duration::from_millis(5));
        }
        bench.wait(SETTLE);
        bench.assert_in_order();
        for (group, (all, primary)) in (FIRST..).zip(longest) {
            let of_group = || bench.pictures.iter().filter(|(n, _)| n / RATE == group);
            // Nothing has come that is newer than its last by enough.
            let open = (group + 1) * 1_000_000 + PATIENCE.as_micros() as u64 > newest;
            if !open {
                let full = of_group().filter(|(_, full)| *full).count();
                prop_assert_eq!((of_group().count(), full), (all, primary), "group {}", group);
            }
        }
    }

    #[test]
    fn garbage_is_passed_over(
        frames in prop::collection::vec((0u64..4, 0usize..2, 0usize..2, 0u64..2, 0u32..4, 0u64..5_000_000, 0u8..4), 0..200),
    ) {
        let mut bench = Bench::new(Scheme::Alternating);
        for (group, description, medium, producer, index, time, flags) in frames {
            let at = GroupOf {
                description: Description::BOTH[description],
                medium: [Medium::Video, Medium::Audio][medium],
                group: GroupId(group),
                producer: ProducerId(producer),
            };
            let (description, header) = (at.description, GroupHeader {
                medium: at.medium, group: at.group, producer: at.producer, published_us: 0,
            });
            bench.intake.push(bench.at, ToSegment::Group { description, header });
            let flags = FrameFlags::from_bits(flags);
            let frame = Frame { time: MediaTime(time), flags, payload: Bytes::new() };
            bench.intake.push(bench.at, ToSegment::Frame { at, index, frame });
            bench.at.idle += Duration::from_millis(100);
            let mut last = None;
            while let Some(taken) = bench.intake.next(bench.at) {
                if let Taken::Picture(step) = taken {
                    prop_assert!(last < Some(step.n));
                    last = Some(step.n);
                }
            }
        }
    }
}

#[test]
fn the_lower_quality_is_taken_once_newer_media_are_there_and_the_other_has_been_silent() {
    let mut bench = Bench::new(Scheme::Alternating);
    let [primary, secondary] =
        Description::BOTH.map(|d| track(Scheme::Alternating, d, Medium::Video).remove(0));
    for at in 0..=8 {
        if at < 3 {
            bench.send(primary[at].clone());
        }
        bench.send(secondary[at].clone());
        if at == 6 {
            assert_eq!(bench.pictures.len(), 3, "the fourth is waited for");
        }
    }
    assert_eq!(bench.pictures.len(), 3, "as long as it may be on its way");
    bench.wait(SETTLE);
    // The newest is 0.8 s into the group: of those up to 0.4 s nobody waits any longer.
    let first = FIRST * RATE;
    let shown: Vec<(u64, bool)> = (0..5).map(|at| (first + at, at < 3)).collect();
    assert_eq!(bench.pictures, shown);
    // It is late, but not too late.
    primary[3..6].iter().cloned().for_each(|sent| bench.send(sent));
    assert_eq!(bench.pictures.last(), Some(&(first + 5, true)));
}

#[test]
fn a_group_that_cannot_go_on_is_given_up_and_the_next_begins_with_its_first() {
    let mut bench = Bench::new(Scheme::Plain);
    let groups = track(Scheme::Plain, Description::Zero, Medium::Video);
    groups[0][..4].iter().cloned().for_each(|sent| bench.send(sent));
    groups[1].iter().cloned().for_each(|sent| bench.send(sent));
    bench.wait(SETTLE);
    let first = FIRST * RATE;
    let numbers: Vec<u64> = bench.pictures.iter().map(|(n, _)| *n).collect();
    let expected: Vec<u64> = (first..first + 4).chain(first + 10..first + 20).collect();
    assert_eq!(numbers, expected);
    assert_eq!(bench.intake.missing(), 6);
}

#[test]
fn temporal_is_merged_by_number_once_both_are_there() {
    let mut bench = Bench::new(Scheme::Temporal);
    everything(Scheme::Temporal).into_iter().flatten().for_each(|sent| bench.send(sent));
    bench.wait(SETTLE);
    // Description 1 begins its first whole group half a group later.
    let whole: Vec<u64> =
        bench.pictures.iter().map(|(n, _)| *n).filter(|n| *n >= (FIRST + 1) * RATE).collect();
    let last = (FIRST + GROUPS) * RATE;
    assert_eq!(whole, ((FIRST + 1) * RATE..last).collect::<Vec<_>>());
}
