//! Groups follow from media times: whatever is missing, a group is published whole or not ended.

use std::time::Duration;

use gibbon_codec::{Coded, CoderConfig, GroupCoder, PACKET_SAMPLES, PACKET_US, Picture};
use gibbon_media::{
    AudioTrack, Catalog, Codec, Cue, Description, Frame, FrameFlags, FrameNumber, FrameRate,
    GroupId, MediaTime, Medium, ProducerId, Scheme, TextTrack, VideoTrack,
};

/// A group of 10 frames.
const FIRST: u64 = 1_795_132_816;

fn coder(scheme: Scheme) -> GroupCoder {
    let rate = FrameRate::new(10, 1).unwrap();
    let catalog = Catalog {
        stream: "live/a".parse().unwrap(),
        scheme,
        created: MediaTime(0),
        grids: Catalog::grids_of(scheme, Duration::from_secs(1)),
        video: Some(VideoTrack { codec: Codec::H264, rate, width: 32, height: 32 }),
        audio: Some(AudioTrack { sample_rate: 48_000, channels: 1, packet_us: PACKET_US }),
        text: Some(TextTrack { language: "en".to_owned() }),
        host: String::new(),
    };
    GroupCoder::new(catalog, &CoderConfig::default(), ProducerId(1))
}

/// Group (from the first on), frames and whether it has ended, of description 0.
fn groups(coded: &[Coded], medium: Medium) -> Vec<(u64, u32, bool)> {
    let mut groups: Vec<(u64, u32, bool)> = Vec::new();
    let of = |c: &&Coded| c.description == Description::Zero && c.header.medium == medium;
    for coded in coded.iter().filter(of) {
        let group = coded.header.group.0 - FIRST;
        if coded.index == 0 {
            groups.push((group, 0, false));
        }
        let last = groups.last_mut().unwrap();
        assert_eq!((last.0, last.1), (group, coded.index));
        *last = (group, last.1 + 1, coded.group_end);
    }
    groups
}

#[test]
fn pictures_after_a_hole_are_left_out_until_the_next_group() {
    let black = Picture::black(32, 32).unwrap();
    for scheme in Scheme::ALL {
        let mut coder = coder(scheme);
        let mut coded = Vec::new();
        // Begun in the middle of a group; two are missing in the middle of the second whole one.
        for n in (FIRST * 10 - 4..FIRST * 10 + 14).chain(FIRST * 10 + 16..FIRST * 10 + 30) {
            coded.extend(coder.picture(FrameNumber(n), &black, n).unwrap());
        }
        let step = if scheme == Scheme::Temporal { 2 } else { 1 };
        let expected = [(0, 10 / step, true), (1, 4 / step, false), (2, 10 / step, true)];
        assert_eq!(groups(&coded, Medium::Video), expected, "{scheme}");
        let stamps = coded.iter().all(|c| c.header.published_us / 10 <= c.header.group.0 + 1);
        assert!(stamps, "the stamp is that of the group's first");
        let encoders = if matches!(scheme, Scheme::Alternating | Scheme::Temporal) { 2 } else { 1 };
        assert_eq!(coder.coders(), encoders, "{scheme}: none for sound, of which there was none");
        // `duplicate` publishes each twice.
        let copies = if scheme == Scheme::Duplicate { 2 } else { 1 };
        assert_eq!(coder.coded(), (coded.len() as u64 / copies, 0), "{scheme}");
    }
}

#[test]
fn sound_after_a_hole_is_left_out_until_the_next_group_coded_or_as_it_came() {
    let start = MediaTime(FIRST * 1_000_000 + 10_000);
    let time = |packet: u64| start + Duration::from_micros(packet * u64::from(PACKET_US));
    let packets = || (0..70).chain(75..160);
    let (mut coding, mut passing) = (coder(Scheme::Plain), coder(Scheme::Plain));
    let (mut coded, mut passed) = (Vec::new(), Vec::new());
    for packet in packets() {
        coded.extend(coding.sound(time(packet), &[0.1; PACKET_SAMPLES], 5).unwrap());
        let length = Duration::from_micros(PACKET_US.into());
        passed.extend(passing.pass_sound(time(packet), length, &vec![7].into(), 5));
    }
    let expected = [(0, 50, true), (1, 20, false), (2, 50, true), (3, 10, false)];
    assert_eq!(groups(&passed, Medium::Audio), expected);
    assert_eq!(groups(&coded, Medium::Audio), expected);
    assert_eq!((coding.coded(), passing.coded()), ((0, 155), (0, 0)));
}

#[test]
fn coded_pictures_pass_only_in_whole_chains() {
    let mut coder = coder(Scheme::Plain);
    let rate = FrameRate::new(10, 1).unwrap();
    let mut pass = |n: u64, key: bool, follows: bool| {
        let flags = if key { FrameFlags::KEY } else { FrameFlags::NONE };
        let n = FrameNumber(n);
        let frame = Frame { time: rate.time_of(n), flags, payload: vec![n.0 as u8].into() };
        coder.pass_picture(n, &frame, follows, 0).map(|coded| {
            assert!(coded.frame.unwrap().flags.is_primary(), "the best that there is");
            (coded.header.group.0 - FIRST, coded.index)
        })
    };
    let n = FIRST * 10;
    assert_eq!(pass(n, true, false), Some((0, 0)));
    assert_eq!(pass(n + 1, false, true), Some((0, 1)));
    assert_eq!(pass(n + 2, false, false), None, "of another chain");
    assert_eq!(pass(n + 3, false, true), None, "what follows on that");
    assert_eq!(pass(n + 10, false, false), None, "a group begins with a keyframe");
    assert_eq!(pass(n + 20, true, false), Some((2, 0)));
}

#[test]
fn a_text_group_is_published_once_and_whole() {
    let mut coder = coder(Scheme::Alternating);
    let group = GroupId(FIRST);
    let cue = |id| Cue { id, start: MediaTime(1), end: MediaTime(2), text: String::new() };
    let cues = [cue(1), cue(2)];
    let mut coded = coder.text(Description::Zero, group, &cues, 5);
    coded.extend(coder.text(Description::Zero, group, &cues, 5));
    coded.extend(coder.text(Description::Zero, group.next(), &[], 5));
    let seen: Vec<_> = coded.iter().map(|c| (c.index, c.frame.is_some(), c.group_end)).collect();
    assert_eq!(seen, [(0, true, false), (1, true, true), (0, false, true)]);
}
