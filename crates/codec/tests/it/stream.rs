//! A stream coded into descriptions: each decodes alone, both together are the whole stream.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gibbon_codec::{
    AudioDecoder, Bitrate, CoderConfig, Error, Item, Picture, Programme, Scaler, Secondary,
    VideoDecoder, psnr,
};
use gibbon_media::{Codec, Cue, Description, FrameNumber, GroupId, MediaTime, Medium, Scheme};

use crate::support::{CREATED, Stream, clip, code, quick, small};

/// 4 s that begin within a group, around the cut to the bird, which sings.
const PART: (MediaTime, MediaTime) =
    (MediaTime(CREATED.0 + 14_700_000), MediaTime(CREATED.0 + 18_700_000));

fn coded(scheme: Scheme, config: &CoderConfig) -> Stream {
    code(Programme::open(&clip("bbb.mp4"), &small(), CREATED).unwrap(), scheme, config, PART)
}

/// The decoded pictures of a description, by frame number, and which of them are primary.
fn decode(stream: &Stream, description: Description) -> BTreeMap<FrameNumber, (Picture, bool)> {
    let rate = stream.catalog.video.as_ref().unwrap().rate;
    let mut decoder = VideoDecoder::new(Codec::H264).unwrap();
    let frames = stream.frames(description, Medium::Video).into_iter();
    let pictures = frames.map(|(coded, frame)| {
        assert_eq!(frame.flags.is_key(), coded.index == 0);
        if coded.index == 0 {
            decoder.reset();
        }
        let picture = decoder.decode(&frame.payload).unwrap();
        (rate.frame_at(frame.time), (picture, frame.flags.is_primary()))
    });
    pictures.collect()
}

fn assert_like(source: &Picture, decoded: &Picture, at_least: f64) {
    let mut scaler = Scaler::new(source.width(), source.height());
    let y = psnr(source, &scaler.scale(decoded).unwrap()).unwrap().y;
    assert!(y > at_least, "{y} dB");
}

#[test]
fn in_alternating_each_description_is_whole_and_the_primaries_of_both_are_the_stream() {
    let stream = coded(Scheme::Alternating, &quick());
    let both = Description::BOTH.map(|description| decode(&stream, description));
    let first = GroupId(PART.0.0 / 1_000_000 + 1);
    for (n, source) in &stream.pictures {
        let time = stream.catalog.video.as_ref().unwrap().rate.time_of(*n);
        let group = stream.catalog.grids[0].group_at(time);
        if group < first {
            assert!(both.iter().all(|decoded| !decoded.contains_key(n)), "begun before the start");
            continue;
        }
        let [primary, secondary] = if group.is_even() { [0, 1] } else { [1, 0] };
        let (picture, is_primary) = &both[primary][n];
        assert!(is_primary);
        assert_eq!((picture.width(), picture.height()), (160, 90));
        assert_like(source, picture, 33.0);
        let (picture, is_primary) = &both[secondary][n];
        assert!(!is_primary);
        assert_eq!((picture.width(), picture.height()), (80, 46));
        assert_like(source, picture, 22.0);
    }
}

#[test]
fn in_temporal_the_descriptions_share_the_frames_out_with_staggered_keyframes() {
    let stream = coded(Scheme::Temporal, &quick());
    let [even, odd] = Description::BOTH.map(|description| decode(&stream, description));
    assert!(even.keys().all(|n| n.0 % 2 == 0) && odd.keys().all(|n| n.0 % 2 == 1));
    assert!(even.len() >= 36 && odd.len() >= 36, "{} and {}", even.len(), odd.len());
    for (n, source) in &stream.pictures {
        let decoded = even.get(n).or(odd.get(n));
        decoded.into_iter().for_each(|(picture, _)| assert_like(source, picture, 33.0));
    }
    let keys = |description| {
        let frames = stream.frames(description, Medium::Video).into_iter();
        frames.filter(|(_, f)| f.flags.is_key()).map(|(_, f)| f.time.0 % 1_000_000).collect()
    };
    let [zero, one]: [Vec<u64>; 2] = [keys(Description::Zero), keys(Description::One)];
    assert!(zero.iter().all(|t| *t < 84_000) && one.iter().all(|t| (500_000..584_000).contains(t)));
}

#[test]
fn in_duplicate_both_descriptions_are_the_same() {
    let stream = coded(Scheme::Duplicate, &quick());
    let bytes = |description| {
        let frames = stream.frames(description, Medium::Video).into_iter();
        frames.map(|(_, frame)| frame.clone()).collect::<Vec<_>>()
    };
    assert_eq!(bytes(Description::Zero), bytes(Description::One));
    assert!(decode(&stream, Description::Zero).values().all(|(_, is_primary)| *is_primary));
}

#[test]
fn coding_twice_gives_the_same_bytes_and_decoding_twice_the_same_pictures() {
    for scheme in [Scheme::Alternating, Scheme::Temporal] {
        let (once, again) = (coded(scheme, &quick()), coded(scheme, &quick()));
        assert!(once.coded == again.coded, "{scheme}");
        let hashes = |stream: &Stream| -> Vec<u128> {
            decode(stream, Description::One).values().map(|(p, _)| p.hash()).collect()
        };
        assert_eq!(hashes(&once), hashes(&once));
    }
}

#[test]
fn groups_begin_with_a_keyframe_count_their_frames_and_say_where_they_end() {
    for scheme in Scheme::ALL {
        let stream = coded(scheme, &quick());
        for (description, medium) in
            scheme.descriptions().iter().flat_map(|d| Medium::ALL.map(|m| (*d, m)))
        {
            let of = |c: &&gibbon_codec::Coded| {
                c.description == description && c.header.medium == medium
            };
            let grid = stream.catalog.grid(description);
            let mut expected = (grid.first_not_begun(PART.0), 0);
            for coded in stream.coded.iter().filter(of) {
                assert_eq!((coded.header.group, coded.index), expected, "{scheme} {medium}");
                expected.1 += 1;
                if medium != Medium::Text {
                    let time = coded.frame.as_ref().unwrap().time;
                    assert_eq!(grid.group_at(time), coded.header.group);
                    let started = coded.header.published_us;
                    assert!(grid.group_at(MediaTime(started)) == coded.header.group);
                }
                if coded.group_end {
                    let least = match (medium, scheme) {
                        (Medium::Video, Scheme::Temporal) => 12,
                        (Medium::Video, _) => 24,
                        (Medium::Audio, _) => 50,
                        (Medium::Text, _) => 1,
                    };
                    assert!(expected.1 >= least, "{scheme} {medium}: {} frames", expected.1);
                    expected = (coded.header.group.next(), 0);
                }
            }
            assert!(expected.0.0 >= grid.group_at(PART.1).0, "{scheme} {medium}: all groups");
        }
    }
}

#[test]
fn both_descriptions_carry_the_same_sound_in_sync_with_the_pictures() {
    let stream = coded(Scheme::Temporal, &quick());
    let mut programme = Programme::open(&clip("bbb.mp4"), &small(), CREATED).unwrap();
    programme.start_at(MediaTime(PART.0.0 - 100_000)).unwrap();
    let mut source = Vec::new();
    let mut source_start = None;
    while source.len() < 48_000 * 2 * 5 {
        if let Item::Audio(block) = programme.next_item().unwrap().unwrap() {
            source_start.get_or_insert(block.time);
            source.extend(block.samples);
        }
    }
    let sound = Description::BOTH.map(|d| {
        stream.frames(d, Medium::Audio).into_iter().map(|(_, f)| f.clone()).collect::<Vec<_>>()
    });
    let common: Vec<_> = sound[0].iter().filter(|f| sound[1].contains(f)).collect();
    assert!(common.len() > 140, "{} packets in both", common.len());

    let mut decoder = AudioDecoder::new(stream.catalog.audio.as_ref().unwrap()).unwrap();
    let mut decoded = Vec::new();
    for frame in &sound[0] {
        decoded.extend(decoder.decode(&frame.payload).unwrap());
    }
    assert_eq!(decoded.len(), sound[0].len() * 960 * 2);
    // Where the decoded sound best fits the source is where its time stamp says, to the sample.
    let offset = sound[0][0].time.since(source_start.unwrap()).as_micros() as f64 * 0.048;
    let offset = offset.round() as i64;
    let decoded = &decoded[48_000..48_000 + 40_000];
    let product = |lag: i64| -> f64 {
        let from = ((offset + lag) * 2 + 48_000) as usize;
        let pairs = source[from..].iter().zip(decoded);
        pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let best = (-400..400).max_by(|a, b| product(*a).total_cmp(&product(*b))).unwrap();
    assert!(best.abs() <= 1, "{best} samples off");
}

#[test]
fn each_cue_is_in_every_group_it_overlaps_and_groups_without_cues_are_published_too() {
    let part = (CREATED, MediaTime(CREATED.0 + 13_000_000));
    let programme = Programme::open(&clip("bbb.mp4"), &small(), CREATED).unwrap();
    let created = programme.created();
    let stream = code(programme, Scheme::Duplicate, &quick(), part);
    let mut seen: BTreeMap<u64, BTreeSet<GroupId>> = BTreeMap::new();
    let mut groups = BTreeSet::new();
    for coded in &stream.coded {
        if coded.header.medium == Medium::Text && coded.description == Description::One {
            groups.insert(coded.header.group);
            if let Some(frame) = &coded.frame {
                let cue: Cue = serde_json::from_slice(&frame.payload).unwrap();
                assert_eq!(frame.time, cue.start);
                seen.entry(cue.id).or_default().insert(coded.header.group);
            }
        }
    }
    assert!(groups.len() >= 12, "with the groups that are empty");
    // Cue 2 is on from 6.5 s to 11.75 s after creation.
    let grid = stream.catalog.grids[1];
    let at = |ms| grid.group_at(created + Duration::from_millis(ms)).0;
    assert!(seen[&2].iter().map(|g| g.0).eq(at(6500)..=at(11_749)));
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn a_bit_rate_is_shared_out_between_the_renditions_and_kept() {
    let options = gibbon_codec::ProgrammeOptions { size: Some((320, 180)), ..small() };
    for (secondary, scheme) in [
        (Secondary::HALF, Scheme::Alternating),
        (Secondary::FULL, Scheme::Alternating),
        (Secondary::HALF, Scheme::Temporal),
        (Secondary::HALF, Scheme::Duplicate),
    ] {
        let config = CoderConfig { bitrate: Some(Bitrate(400_000)), secondary, ..quick() };
        let programme = Programme::open(&clip("bbb.mp4"), &options, CREATED).unwrap();
        let part = (CREATED + Duration::from_millis(2600), CREATED + Duration::from_millis(8600));
        let stream = code(programme, scheme, &config, part);
        let frames = Description::BOTH.map(|d| stream.frames(d, Medium::Video));
        let bytes: usize = frames.iter().flatten().map(|(_, f)| f.payload.len()).sum();
        let kbps = bytes as f64 * 8.0 / 6.0 / 1000.0;
        assert!((300.0..460.0).contains(&kbps), "{scheme} {secondary}: {kbps} kbit/s");
    }
}

#[test]
fn damage_in_a_chain_is_an_error_and_the_next_chain_decodes() {
    let stream = coded(Scheme::Duplicate, &quick());
    let frames = stream.frames(Description::Zero, Medium::Video);
    let payload = |i: usize| &frames[i].1.payload;
    let mut decoder = VideoDecoder::new(Codec::H264).unwrap();

    assert!(matches!(
        decoder.decode(payload(1)),
        Err(Error::Incomplete { .. } | Error::Decode { .. })
    ));
    assert!(decoder.decode(&[]).is_err());
    assert!(decoder.decode(b"not H.264 at all").is_err());
    decoder.reset();
    decoder.decode(payload(0)).unwrap();
    let mut broken = payload(1).to_vec();
    let middle = broken.len() / 2;
    broken.truncate(middle);
    assert!(decoder.decode(&broken).is_err(), "the second half is missing");

    decoder.reset();
    let after = decoder.decode(payload(24)).unwrap();
    let mut fresh = VideoDecoder::new(Codec::H264).unwrap();
    assert_eq!(after.hash(), fresh.decode(payload(24)).unwrap().hash());

    let mut audio = AudioDecoder::new(stream.catalog.audio.as_ref().unwrap()).unwrap();
    assert!(audio.decode(&[]).is_err());
    assert!(audio.decode(&[0xff; 3]).is_err());
}

#[test]
fn garbage_never_panics_a_decoder() {
    let stream = coded(Scheme::Duplicate, &quick());
    let frames = stream.frames(Description::Zero, Medium::Video);
    let mut decoder = VideoDecoder::new(Codec::H264).unwrap();
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let mut outcomes = [0, 0];
    for round in 0..400 {
        let mut payload = frames[round % 24].1.payload.to_vec();
        for _ in 0..random() % 8 {
            let at = random() as usize % payload.len();
            payload[at] = random() as u8;
        }
        outcomes[usize::from(decoder.decode(&payload).is_ok())] += 1;
    }
    assert!(outcomes[0] > 50 && outcomes[1] > 0, "{outcomes:?}");
}
