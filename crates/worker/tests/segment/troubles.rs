//! Input that is late, lost or damaged.

use bytes::Bytes;
use gibbon_codec::{Coded, psnr};
use gibbon_media::{Description, GroupId, Medium, Scheme};

use crate::support::{FIRST, Segment, Source, chain};

fn is_video_of(coded: &Coded, group: GroupId) -> bool {
    coded.header.medium == Medium::Video && coded.header.group == group
}

/// The description that carries a group in full quality, in `alternating`.
fn primary_of(group: GroupId) -> Description {
    if group.is_even() { Description::Zero } else { Description::One }
}

#[test]
fn where_full_quality_is_missing_the_lower_one_is_taken() {
    let source = Source::clip(Scheme::Alternating);
    let hurt = FIRST.next();
    let mut segment = Segment::new(&source.catalog);
    segment.set(&chain("live/bbb: grayscale"));
    // From the eighth frame on.
    segment.feed(source.coded.iter().filter(|coded| {
        !(is_video_of(coded, hurt) && coded.description == primary_of(hurt) && coded.index >= 8)
    }));
    let out = segment.wait(1, |out| out.is_complete(Description::Zero, Medium::Video, hurt.next()));
    assert!(out.is_complete(Description::Zero, Medium::Video, hurt));
    let group = out.group(Description::Zero, Medium::Video, hurt).unwrap();
    assert_eq!(group.frames.len(), 24);
    let (before, after) = (source.stream().pictures(), out.pictures());
    let quality = |at: u64| {
        let n = gibbon_media::FrameNumber(hurt.0 * 24 + at);
        psnr(&before[&n], &after[&n]).unwrap().y
    };
    assert!(quality(7) > 36.0, "{}", quality(7));
    assert!(quality(8) < quality(7) - 2.0 && quality(8) > 20.0, "{}", quality(8));
}

#[test]
fn a_group_that_is_lost_in_part_is_never_completed_and_the_next_one_is_whole() {
    let source = Source::clip(Scheme::Alternating);
    let hurt = FIRST.next();
    let mut segment = Segment::new(&source.catalog);
    segment.set(&chain("live/bbb: grayscale | mdc"));
    segment.feed(source.coded.iter().filter(|c| !(is_video_of(c, hurt) && c.index >= 8)));
    let out = segment.wait(2, |out| out.is_complete(Description::One, Medium::Video, hurt.next()));
    for description in Description::BOTH {
        let group = out.group(description, Medium::Video, hurt).unwrap();
        assert!(!group.complete && group.frames.len() == 8, "{}", group.frames.len());
        let next = out.group(description, Medium::Video, hurt.next()).unwrap();
        assert_eq!(next.frames.len(), 24);
        assert!(out.is_complete(description, Medium::Audio, hurt), "sound goes on");
    }
    segment.wait_for_status(1, |status| status.input.passed.missing == 16);
}

#[test]
fn a_damaged_frame_is_replaced_by_the_lower_quality() {
    let source = Source::clip(Scheme::Alternating);
    let hurt = FIRST.next();
    let mut coded = source.coded.clone();
    for coded in &mut coded {
        let hit = coded.description == primary_of(hurt) && coded.index == 5;
        if let (true, Some(frame)) = (hit && is_video_of(coded, hurt), &mut coded.frame) {
            frame.payload = Bytes::from_static(b"\0\0\0\x01\x65 this is no picture");
        }
    }
    let mut segment = Segment::new(&source.catalog);
    segment.set(&chain("live/bbb: grayscale"));
    segment.feed(&coded);
    let out = segment.wait(1, |out| out.is_complete(Description::Zero, Medium::Video, hurt.next()));
    let group = out.group(Description::Zero, Medium::Video, hurt).unwrap();
    assert!(group.complete && group.frames.len() == 24, "{}", group.frames.len());
}

#[test]
fn a_lost_description_costs_quality_but_no_picture_no_sound_and_no_cue() {
    let source = Source::clip(Scheme::Alternating);
    let mut segment = Segment::new(&source.catalog);
    segment.set(&chain("live/bbb: grayscale | mono"));
    segment.feed(source.coded.iter().filter(|coded| coded.description == Description::One));
    // Those of the last group in lower quality wait for media that do not come.
    let all = |group| {
        move |out: &crate::support::Published| {
            Medium::ALL.iter().all(|medium| out.is_complete(Description::Zero, *medium, group))
        }
    };
    let out = segment.wait(2, all(FIRST.next()));
    assert!(all(FIRST)(&out));
    assert_eq!(out.group(Description::Zero, Medium::Video, FIRST).unwrap().frames.len(), 24);
}

#[test]
fn groups_of_another_producer_are_not_joined_to_those_of_the_first() {
    let source = Source::clip(Scheme::Plain);
    let hurt = FIRST.next();
    let mut coded = source.coded.clone();
    for coded in &mut coded {
        if is_video_of(coded, hurt) && coded.index >= 8 {
            coded.header.producer = gibbon_media::ProducerId(8);
        }
        if coded.header.group > hurt {
            coded.header.producer = gibbon_media::ProducerId(8);
        }
    }
    let mut segment = Segment::new(&source.catalog);
    segment.set(&chain("live/bbb: grayscale"));
    segment.feed(&coded);
    let out = segment.wait(1, |out| out.is_complete(Description::Zero, Medium::Video, hurt.next()));
    let group = out.group(Description::Zero, Medium::Video, hurt).unwrap();
    assert!(!group.complete && group.frames.len() == 8);
}
