//! A programme is the same at a media time whenever and wherever it was started, loop after loop.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use gibbon_codec::{Error, Item, PACKET_SAMPLES, Programme, ProgrammeOptions, StreamCoder};
use gibbon_media::{Catalog, FrameNumber, FrameRate, MediaTime, ProducerId, Scheme};

use crate::support::{CREATED, catalog, clip, quick, small, stock};

/// Hashes of pictures by frame number, and sound by position.
type Content = (BTreeMap<FrameNumber, u128>, BTreeMap<u64, Vec<f32>>);

fn take(programme: &mut Programme, pictures: usize) -> Content {
    let (mut video, mut audio) = (BTreeMap::new(), BTreeMap::new());
    while video.len() < pictures {
        match programme.next_item().unwrap().unwrap() {
            Item::Video(n, picture) => drop(video.insert(n, picture.hash())),
            Item::Audio(block) => drop(audio.insert(block.position, block.samples)),
        }
    }
    (video, audio)
}

/// The correlation of two sounds; 1 if they are the same.
fn likeness(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    if a == b { 1.0 } else { dot(a, b) / (dot(a, a) * dot(b, b)).sqrt() }
}

/// The clip, scaled down, with a number of its frames.
fn short_clip(folder: &tempfile::TempDir, arguments: &[&str], name: &str) -> String {
    let file = folder.path().join(name).to_str().unwrap().to_owned();
    let input = clip("bbb.mp4");
    let scale = ["-y", "-i", &input, "-vf", "scale=64:36", "-pix_fmt", "yuv420p"];
    stock("ffmpeg", &[&scale[..], arguments, &[&file]].concat());
    file
}

#[test]
fn frames_and_sound_are_contiguous_and_repeat_exactly_from_loop_to_loop() {
    let folder = tempfile::tempdir().unwrap();
    // AAC at 44.1 kHz has priming, is resampled and does not fill its last packet.
    let file = short_clip(
        &folder,
        &["-ss", "19", "-t", "3.02", "-r", "30000/1001", "-c:a", "aac", "-ar", "44100", "-bf", "2"],
        "clip.mp4",
    );
    let options = ProgrammeOptions { sound: true, ..ProgrammeOptions::default() };
    let mut programme = Programme::open(&file, &options, CREATED).unwrap();
    let rate = programme.video().unwrap().rate;
    assert_eq!(rate, FrameRate::new(30000, 1001).unwrap());
    let frames = programme.loop_frames().unwrap();
    assert_eq!(frames, 90, "3.02 s are 90.5 frames; a loop of whole samples is a multiple of 5");
    let samples = 90 * 1001 * 48 / 30;

    let (video, audio) = take(&mut programme, frames as usize * 3);
    let first = rate.frame_at(CREATED);
    assert!(video.keys().copied().eq((first.0..).take(frames as usize * 3).map(FrameNumber)));
    assert!(audio.keys().copied().eq((0..).step_by(PACKET_SAMPLES).take(audio.len())));
    for (n, hash) in video.range(..FrameNumber(first.0 + 2 * frames)) {
        assert_eq!(video[&FrameNumber(n.0 + frames)], *hash, "frame {} of a loop", n.0 - first.0);
    }
    let sound: Vec<f32> = audio.into_values().flatten().collect();
    assert_eq!(programme.audio().unwrap().channels, 2);
    let one_loop = samples as usize * 2;
    let again = &sound[one_loop..2 * one_loop];
    assert_eq!((0..one_loop).find(|i| sound[*i] != again[*i]), None, "where loops differ");
    assert!(sound[..one_loop].iter().any(|s| s.abs() > 0.01), "not silent");
}

#[test]
fn what_is_at_a_media_time_does_not_depend_on_the_start() {
    let open = || Programme::open(&clip("bbb.mp4"), &small(), CREATED).unwrap();
    let (video, audio) = take(&mut open(), 24 * 32);
    // Within the pre-roll of the beginning, behind it, just before and in the second loop.
    for start_s in [3.02, 21.5, 29.99, 31.0] {
        let start = MediaTime(CREATED.0 + (start_s * 1e6) as u64);
        let mut late = open();
        late.start_at(start).unwrap();
        let rate = late.video().unwrap().rate;
        let (late_video, late_audio) = take(&mut late, 12);
        assert_eq!(*late_video.keys().next().unwrap(), rate.first_at_or_after(start));
        for (n, hash) in late_video {
            assert_eq!(video[&n], hash, "frame {n:?} started at {start_s} s");
        }
        let first = *late_audio.keys().next().unwrap();
        let first = late.created().0 + first * 125 / 6;
        assert!((start.0..start.0 + 20_000).contains(&first));
        for (position, samples) in late_audio {
            let likeness = likeness(&audio[&position], &samples);
            assert!(likeness > 0.99, "{likeness} at sample {position} started at {start_s} s");
        }
    }
}

#[test]
fn pictures_come_at_a_constant_rate_each_the_nearest_in_time() {
    let at = |rate: &str| {
        let rate: FrameRate = rate.parse().unwrap();
        let options = ProgrammeOptions { rate: Some(rate), sound: false, ..small() };
        let mut programme = Programme::open(&clip("bbb.mp4"), &options, MediaTime(0)).unwrap();
        programme.start_at(MediaTime(16_000_000)).unwrap();
        take(&mut programme, rate.num() as usize).0.into_values().collect::<Vec<u128>>()
    };
    let native = at("24");
    let doubled = at("48");
    assert!(native.windows(2).any(|pair| pair[0] != pair[1]), "the bird moves");
    for (n, hash) in native.iter().enumerate() {
        assert_eq!(doubled[2 * n], *hash);
        // Half way between two pictures the earlier one is still shown.
        assert_eq!(doubled[2 * n + 1], *hash);
    }
    assert!(native.iter().step_by(2).eq(at("12").iter()));
}

#[test]
fn sound_that_is_shorter_than_the_pictures_is_padded_and_a_late_start_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = short_clip(
        &folder,
        &["-t", "3", "-af", "atrim=0:1,asetpts=PTS+0.5/TB", "-c:a", "pcm_s16le"],
        "clip.mov",
    );
    let options = ProgrammeOptions::default();
    let mut programme = Programme::open(&file, &options, CREATED).unwrap();
    let (video, audio) = take(&mut programme, 72);
    assert_eq!(video.len(), 72);
    let sound: Vec<f32> = audio.into_values().flatten().collect();
    let is_silent = |from: f64, to: f64| {
        sound[(from * 96_000.0) as usize..(to * 96_000.0) as usize].iter().all(|s| *s == 0.0)
    };
    assert!(is_silent(0.0, 0.499) && !is_silent(0.5, 1.5) && is_silent(1.501, 2.9));
}

#[test]
fn a_programme_of_sound_alone_and_one_of_pictures_alone_work() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sound.ogg").to_str().unwrap().to_owned();
    stock(
        "ffmpeg",
        &["-i", &clip("bbb.mp4"), "-t", "1", "-vn", "-ac", "1", "-c:a", "libopus", &file],
    );
    let mut sound = Programme::open(&file, &ProgrammeOptions::default(), CREATED).unwrap();
    assert_eq!((sound.video(), sound.audio().unwrap().channels), (None, 1));
    for block in 0..120 {
        let Some(Item::Audio(next)) = sound.next_item().unwrap() else { panic!("sound") };
        assert_eq!(next.position, block * PACKET_SAMPLES as u64);
    }
    let options = ProgrammeOptions::default();
    let mut pictures = Programme::open(&clip("session.mp4"), &options, CREATED).unwrap();
    assert_eq!(pictures.audio(), None);
    assert_eq!(take(&mut pictures, 30).0.len(), 30);
}

#[test]
fn an_input_of_unknown_length_is_live_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    // A Matroska file that was cut off while it was written does not say how long it is.
    let live = ["-ss", "20", "-t", "1", "-c:a", "flac", "-f", "matroska", "-live", "1"];
    let file = short_clip(&folder, &live, "live.mkv");
    let options = ProgrammeOptions::default();
    let mut live = Programme::open(&file, &options, CREATED).unwrap();
    assert_eq!(live.loop_frames(), None);
    let start = MediaTime(CREATED.0 + 5_000_000);
    live.start_at(start).unwrap();
    let catalog = catalog(&live, Scheme::Duplicate);
    let rate = live.video().unwrap().rate;
    // Its groups are short, so that description 0 has some whole ones.
    let grids = Catalog::grids_of(Scheme::Duplicate, Duration::from_millis(300));
    let catalog = Catalog { grids, ..catalog };
    let mut coder = StreamCoder::new(catalog, &quick(), ProducerId(1), live.cues(), start).unwrap();
    let (mut frames, mut times) = (Vec::new(), BTreeSet::new());
    while let Some(item) = live.next_item().unwrap() {
        let coded = coder.code(&item, 0).unwrap();
        times.extend(coded.into_iter().filter_map(|coded| coded.frame).map(|frame| frame.time));
        if let Item::Video(n, _) = item {
            frames.push(n);
        }
    }
    let first = rate.first_at_or_after(start);
    assert_eq!(frames, (first.0..first.0 + 24).map(FrameNumber).collect::<Vec<_>>());
    assert!(times.len() > 40 && *times.first().unwrap() >= start);
    assert!(*times.last().unwrap() <= MediaTime(start.0 + 1_050_000), "sound, too");
    let ends = coder.finish();
    assert!(ends.iter().all(|coded| coded.frame.is_none() && coded.group_end) && ends.len() >= 2);
}

#[test]
fn the_cover_of_an_album_is_not_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (cover, album) = (path("cover.png"), path("album.mp3"));
    stock("ffmpeg", &["-ss", "5", "-i", &clip("bbb.mp4"), "-frames:v", "1", &cover]);
    let inputs = ["-t", "1", "-i", &clip("bbb.mp4"), "-i", &cover, "-map", "0:a", "-map", "1:v"];
    let outputs = ["-c:v", "copy", "-disposition:v", "attached_pic", "-c:a", "libmp3lame", &album];
    stock("ffmpeg", &[&inputs[..], &outputs].concat());
    let programme = Programme::open(&album, &ProgrammeOptions::default(), CREATED).unwrap();
    assert!(programme.video().is_none() && programme.audio().is_some());
}

#[test]
fn damage_in_the_middle_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("damaged.mp4");
    let mut bytes = fs::read(clip("bbb.mp4")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40_000].fill(0x5a);
    fs::write(&file, bytes).unwrap();
    let mut damaged = Programme::open(file.to_str().unwrap(), &small(), CREATED).unwrap();
    let mut whole = Programme::open(&clip("bbb.mp4"), &small(), CREATED).unwrap();
    let frames = 24 * 30;
    let (damaged, damaged_sound) = take(&mut damaged, frames);
    let (whole, whole_sound) = take(&mut whole, frames);
    assert!(damaged.keys().eq(whole.keys()) && damaged_sound.keys().eq(whole_sound.keys()));
    let hit = damaged.iter().filter(|(n, hash)| whole[n] != **hash).count();
    assert!((1..300).contains(&hit), "{hit} frames differ");
}

#[test]
fn what_cannot_be_used_is_refused_with_the_name_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let file = folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(&file, bytes).unwrap();
        file
    };
    let clip_bytes = fs::read(clip("bbb.mp4")).unwrap();
    // The index stays, the media are gone.
    let media = clip_bytes.windows(4).position(|name| name == b"mdat").unwrap() + 4;
    let hollow = [&clip_bytes[..media], &vec![0xa5; clip_bytes.len() - media]].concat();
    let text = write("notes.mp4", b"these are notes, not media");
    let hollow = write("hollow.mp4", &hollow);
    let vtt = write("bad.vtt", b"WEBVTT\n\n00:01 --> 00:02\nx\n");

    let open = |file: &str, options: &ProgrammeOptions| {
        let mut programme = Programme::open(file, options, CREATED)?;
        programme.next_item().map(drop)
    };
    let plain = ProgrammeOptions { sound: false, ..ProgrammeOptions::default() };
    let refused = |file: &str, options: &ProgrammeOptions| open(file, options).unwrap_err();

    assert!(matches!(refused("/no/such/clip.mp4", &plain), Error::Open { .. }));
    assert!(matches!(refused(&text, &plain), Error::Open { .. }));
    let error = refused(&hollow, &plain);
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("hollow.mp4"), "{error}");
    let captions = ProgrammeOptions { captions: Some(vtt.into()), ..plain.clone() };
    let error = refused(&clip("bbb.mp4"), &captions).to_string();
    assert!(error.contains("bad.vtt") && error.contains("line 3"), "{error}");
    let rate = Some(FrameRate::new(23_983, 1000).unwrap());
    let error = refused(&clip("bbb.mp4"), &ProgrammeOptions { rate, ..plain });
    assert!(matches!(error, Error::Loop { step: 23_983, .. }), "{error}");
}
