//! What becomes of pictures, sound and text.

use std::collections::BTreeMap;

use gibbon_codec::{AudioDecoder, Colour, Picture, VideoFilter, psnr};
use gibbon_control::work::InstanceState;
use gibbon_media::{Cue, Description, FrameNumber, FrameRate, GroupId, Medium, Scheme};

use crate::support::{FIRST, GROUPS, Published, Segment, Source, as_input, chain};

/// Pictures of all whole groups.
const PICTURES: u64 = GROUPS * 24;

fn filtered(pictures: &BTreeMap<FrameNumber, Picture>, graph: &str) -> Vec<Picture> {
    let rate = FrameRate::new(24, 1).unwrap();
    let mut filter = VideoFilter::new(graph, (160, 90), (rate, rate), Colour::default()).unwrap();
    let made = pictures.iter().map(|(n, p)| filter.push(*n, p).unwrap().pop().unwrap().1);
    made.collect()
}

fn assert_like(expected: &[Picture], found: &Published, at_least: f64) {
    let found = found.pictures();
    assert_eq!(found.len(), expected.len());
    for (expected, (n, found)) in expected.iter().zip(&found) {
        let y = psnr(expected, found).unwrap().y;
        assert!(y > at_least, "frame {n:?}: {y} dB");
    }
}

#[test]
fn pictures_pass_from_component_to_component_raw_and_are_coded_once() {
    let source = Source::clip(Scheme::Alternating);
    let mut segment = Segment::new(&source.catalog);
    segment.set(&chain("live/bbb: scale width=128 height=72 | grayscale | mdc"));
    segment.feed(&source.coded);
    let all = [Medium::Video, Medium::Audio, Medium::Text];
    let out = segment.wait(3, |out| out.has_all(Scheme::Alternating, &all));

    let like = filtered(&source.stream().pictures(), "scale=128:72:flags=bicubic,hue=s=0");
    assert_like(&like, &out, 34.0);
    for (key, group) in &out.groups {
        let input = &source.stream().groups[key];
        assert_eq!(group.header.published_us, input.header.published_us, "{key:?}");
        assert_ne!(group.header.producer, input.header.producer);
        if group.complete && key.1 != Medium::Text {
            assert_eq!(group.frames.len(), input.frames.len(), "{key:?}");
        }
    }
    let catalog = segment.catalog_of(3);
    assert_eq!(catalog.scheme, Scheme::Alternating);
    assert_eq!(
        catalog.stream,
        chain("live/bbb: scale width=128 height=72 | grayscale | mdc")[2].stream()
    );
    assert_eq!((catalog.grids, &catalog.host), (source.catalog.grids, &source.catalog.host));

    let [scale, gray, mdc] = [1, 2, 3].map(|instance| segment.status_of(instance));
    let decoded = scale.input.passed.pictures;
    assert!((PICTURES..PICTURES + 5).contains(&decoded), "one decode for each picture: {decoded}");
    assert_eq!(scale.input.passed.groups, GROUPS);
    assert_eq!(scale.input.passed.missing, 0);
    for raw in [&scale.output, &gray.input, &gray.output, &mdc.input] {
        assert_eq!((raw.coders, raw.passed.pictures), (0, 0));
    }
    assert_eq!(mdc.output.coders, 2, "two renditions");
    assert!(mdc.output.passed.pictures >= 2 * PICTURES);
    assert!(mdc.output.delay_ms.is_some() && mdc.cpu_us > 0);
    for status in [scale, gray, mdc] {
        assert_eq!(status.state, InstanceState::Running);
    }
}

#[test]
fn between_two_workers_there_is_one_encode_and_one_decode() {
    let source = Source::clip(Scheme::Alternating);
    let specs = chain("live/bbb: scale width=128 height=72 | grayscale | mdc");
    let mut first = Segment::new(&source.catalog);
    let mut scale = specs[0].clone();
    scale.publish = true;
    first.set(&[scale]);
    first.feed(&source.coded);
    let all = [Medium::Video, Medium::Audio, Medium::Text];
    let between = first.wait(1, |out| out.has_all(Scheme::Plain, &all));
    assert!(between.groups.keys().all(|key| key.0 == Description::Zero));
    let encodes = first.status_of(1).output.passed.pictures;
    assert!((PICTURES..PICTURES + 5).contains(&encodes), "{encodes}");

    let catalog = first.catalog_of(1);
    let mut second = Segment::new(&catalog);
    let mut gray = specs[1].clone();
    gray.input = gibbon_control::work::Input::Stream(catalog.stream.clone());
    second.set(&[gray, specs[2].clone()]);
    second.feed(&as_input(&between));
    let out = second.wait(3, |out| out.has_all(Scheme::Alternating, &all));
    // Beyond the whole groups some pictures may have been on their way in the first, or may be in the second.
    let passed_on = between.frames(Description::Zero, Medium::Video).count() as u64;
    second.wait_for_status(2, |status| status.input.passed.pictures == passed_on);
    let like = filtered(&source.stream().pictures(), "scale=128:72:flags=bicubic,hue=s=0");
    assert_like(&like, &out, 33.0);
    let stamp = |p: &Published| p.group(Description::Zero, Medium::Video, FIRST).unwrap().header;
    assert_eq!(stamp(&out).published_us, stamp(&source.stream()).published_us);
}

#[test]
fn the_first_group_leaves_while_the_second_has_not_come() {
    let source = Source::clip(Scheme::Plain);
    let mut segment = Segment::new(&source.catalog);
    segment.set(&chain("live/bbb: grayscale | mdc"));
    segment.feed(source.coded.iter().filter(|coded| coded.header.group <= FIRST));
    let medium = Medium::Video;
    segment.wait(2, |out| Description::BOTH.iter().all(|d| out.is_complete(*d, medium, FIRST)));
}

#[test]
fn pictures_of_temporal_come_from_both_descriptions_and_can_become_temporal_again() {
    let source = Source::clip(Scheme::Temporal);
    let mut segment = Segment::new(&source.catalog);
    segment.set(&chain("live/bbb: grayscale | mdc scheme=temporal"));
    segment.feed(&source.coded);
    // The last group of description 1 is under way at the end.
    let complete = |out: &Published, description, medium| {
        (0..GROUPS - 1).all(|g| out.is_complete(description, medium, GroupId(FIRST.0 + g)))
    };
    let out = segment.wait(2, |out| {
        Description::BOTH
            .into_iter()
            .all(|d| Medium::ALL.into_iter().all(|medium| complete(out, d, medium)))
    });
    let source = source.stream().pictures();
    let shared: BTreeMap<_, _> = source
        .into_iter()
        .filter(|(n, _)| n.0 >= FIRST.0 * 24 && n.0 < (FIRST.0 + 2) * 24)
        .collect();
    assert_eq!(shared.len(), 48);
    let like = filtered(&shared, "hue=s=0");
    let found = out.pictures();
    for (n, like) in shared.keys().zip(&like).skip(24) {
        let y = psnr(like, &found[n]).unwrap().y;
        assert!(y > 32.0, "frame {n:?}: {y} dB");
    }
}

#[test]
fn sound_that_nobody_touches_passes_as_it_came_into_both_descriptions() {
    let source = Source::clip(Scheme::Alternating);
    let mut segment = Segment::new(&source.catalog);
    segment.set(&chain("live/bbb: grayscale | mdc"));
    segment.feed(&source.coded);
    let out = segment.wait(2, |out| out.has_all(Scheme::Alternating, &[Medium::Audio]));
    for description in Description::BOTH {
        for group in (0..GROUPS).map(|g| GroupId(FIRST.0 + g)) {
            let of =
                |p: &Published| p.group(description, Medium::Audio, group).unwrap().frames.clone();
            assert_eq!(of(&out), of(&source.stream()));
        }
    }
    let input = segment.status_of(1).input;
    assert_eq!(input.passed.sounds, 0, "none is decoded");
    assert!(input.passed.untouched >= 50 * GROUPS);
}

#[test]
fn pictures_that_nobody_touches_pass_as_they_came_to_the_next_worker() {
    let source = Source::clip(Scheme::Alternating);
    let mut segment = Segment::new(&source.catalog);
    segment.set(&chain("live/bbb: mono"));
    segment.feed(&source.coded);
    let out = segment.wait(1, |out| out.has_all(Scheme::Plain, &[Medium::Video]));
    assert!(out.pictures() == source.stream().pictures());
    let status = segment.status_of(1);
    assert_eq!((status.input.passed.pictures, status.output.passed.pictures), (0, 0));
    assert_eq!((status.input.coders, status.output.coders), (1, 1), "those for sound");
}

#[test]
fn sound_that_is_worked_on_is_coded_anew_without_a_gap() {
    for (text, channels) in [("live/bbb: mono", 1), ("live/bbb: level", 2)] {
        let source = Source::clip(Scheme::Alternating).without(Medium::Video);
        let mut segment = Segment::new(&source.catalog);
        segment.set(&chain(&format!("{text} | mdc")));
        segment.feed(&source.coded);
        // The encoder's look-ahead moves the last packets into the group before: the last may lack one.
        let out = segment.wait(2, |out| {
            let complete =
                |g: u64| out.is_complete(Description::One, Medium::Audio, GroupId(FIRST.0 + g));
            complete(0) && complete(1)
        });
        let catalog = segment.catalog_of(2);
        let track = catalog.audio.unwrap();
        assert_eq!((track.channels, catalog.video), (channels, None), "{text}");
        let mut decoder = AudioDecoder::new(&track).unwrap();
        let frames: Vec<_> = out.frames(Description::One, Medium::Audio).collect();
        assert!(frames.windows(2).all(|w| w[0].time.0 + 20_000 == w[1].time.0), "{text}");
        let mut loudest = 0.0_f32;
        for frame in frames {
            let samples = decoder.decode(&frame.payload).unwrap();
            assert_eq!(samples.len(), 960 * usize::from(channels));
            loudest = samples.iter().fold(loudest, |a, b| a.max(b.abs()));
        }
        assert!(loudest > 0.01, "{text}: silence");
        assert_eq!(segment.status_of(1).input.passed.groups, GROUPS);
    }
}

#[test]
fn each_cue_is_rewritten_and_stays_in_its_groups() {
    let source = Source::clip(Scheme::Alternating);
    let mut segment = Segment::new(&source.catalog);
    segment.set(&chain("live/bbb: case to=upper | mdc"));
    segment.feed(&source.coded);
    let out = segment.wait(2, |out| out.has_all(Scheme::Alternating, &[Medium::Text]));
    let groups = source.stream().cues(Description::Zero);
    // Tags stay as they are.
    let upper = |text: &str| text.to_uppercase().replace("<I>", "<i>").replace("</I>", "</i>");
    assert!(groups.values().any(|cues| !cues.is_empty()), "there is something to see");
    for description in Description::BOTH {
        let found = out.cues(description);
        for (group, cues) in groups.iter().filter(|(group, _)| group.0 < FIRST.0 + GROUPS) {
            let cue = |cue: &Cue| Cue { text: upper(&cue.text), ..cue.clone() };
            let expected: Vec<Cue> = cues.iter().map(cue).collect();
            assert_eq!(found.get(group), Some(&expected));
        }
    }
}

#[test]
fn captions_are_drawn_into_the_pictures_that_they_are_shown_with() {
    let source = Source::clip(Scheme::Plain);
    let mut segment = Segment::new(&source.catalog);
    segment.set(&chain("live/bbb: captions | mdc"));
    segment.feed(&source.coded);
    let out = segment.wait(2, |out| out.has_all(Scheme::Alternating, &[Medium::Video]));
    assert_eq!(segment.catalog_of(2).text, None);
    assert!(out.groups.keys().all(|key| key.1 != Medium::Text));
    let cues: Vec<Cue> = source.stream().cues(Description::Zero).into_values().flatten().collect();
    let rate = FrameRate::new(24, 1).unwrap();
    let (before, after) = (source.stream().pictures(), out.pictures());
    let mut seen = [0, 0];
    for (n, before) in &before {
        let Some(after) = after.get(n) else { continue };
        let time = rate.time_of(*n);
        let shown = cues.iter().any(|cue| cue.start <= time && time < cue.end);
        let lower = |p: &Picture| p.planes()[0][160 * 60..].to_vec();
        let differs =
            lower(before).iter().zip(lower(after)).filter(|(a, b)| a.abs_diff(*b) > 64).count();
        assert_eq!(differs > 20, shown, "frame {n:?} differs in {differs} pixels");
        seen[usize::from(shown)] += 1;
    }
    assert!(seen[1] > 10, "{seen:?}");
}

#[test]
fn another_frame_rate_keeps_the_groups() {
    let source = Source::clip(Scheme::Alternating);
    let mut segment = Segment::new(&source.catalog);
    segment.set(&chain("live/bbb: rate fps=12 | mdc"));
    segment.feed(&source.coded);
    let out = segment.wait(2, |out| {
        Description::BOTH
            .into_iter()
            .all(|d| (0..GROUPS).all(|g| out.is_complete(d, Medium::Video, GroupId(FIRST.0 + g))))
    });
    for group in (0..GROUPS).map(|g| GroupId(FIRST.0 + g)) {
        let times: Vec<u64> = out
            .group(Description::Zero, Medium::Video, group)
            .unwrap()
            .frames
            .iter()
            .map(|f| f.time.0)
            .collect();
        let expected: Vec<u64> =
            (0..12u64).map(|i| group.0 * 1_000_000 + (i * 1_000_000 + 6) / 12).collect();
        assert_eq!(times, expected);
    }
}

#[test]
fn every_component_works_on_real_media_and_keeps_all_groups() {
    let source = Source::clip(Scheme::Plain);
    for component in [
        "crop width=80 height=60",
        "rate fps=30",
        "transcode kbps=300",
        "colour saturation=0.5 contrast=1.2",
        "denoise",
        "deinterlace",
        "overlay clock=true",
        "overlay text=\"it's 50%, so: {font} [x]\"",
        "captions",
        "level",
        "mono",
        "resample hertz=16000",
        "case to=lower",
        "mask words=[bird]",
        "shift ms=300",
        "filter video=\"vflip\"",
        "filter audio=\"volume=volume=0.5\"",
    ] {
        let mut segment = Segment::new(&source.catalog);
        segment.set(&chain(&format!("live/bbb: {component} | mdc")));
        segment.feed(&source.coded);
        let out = segment.wait(2, |out| {
            let without_text = &[Medium::Video, Medium::Audio][..];
            let media = if component == "captions" { without_text } else { &Medium::ALL };
            // What holds media back has not let go of the last; what moves text begins with the second.
            Description::BOTH
                .into_iter()
                .all(|d| media.iter().all(|m| out.is_complete(d, *m, FIRST.next())))
        });
        let [sound, pictures] = [Medium::Audio, Medium::Video]
            .map(|medium| out.group(Description::Zero, medium, FIRST.next()).unwrap().frames.len());
        assert_eq!(sound, 50, "{component}");
        assert_eq!(pictures, if component.contains("fps=30") { 30 } else { 24 }, "{component}");
        for instance in [1, 2] {
            assert_eq!(segment.status_of(instance).state, InstanceState::Running, "{component}");
        }
    }
}
