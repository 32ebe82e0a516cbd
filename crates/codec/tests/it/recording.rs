//! Recordings play in stock players.

use gibbon_codec::{Error, Programme, Recorder};
use gibbon_media::{Cue, Description, Frame, MediaTime, Medium, Scheme};

use crate::support::{CREATED, Stream, clip, code, quick, small, stock};

const PART: (MediaTime, MediaTime) =
    (MediaTime(CREATED.0 + 16_600_000), MediaTime(CREATED.0 + 21_600_000));

fn coded(scheme: Scheme) -> Stream {
    let programme = Programme::open(&clip("bbb.mp4"), &small(), CREATED).unwrap();
    code(programme, scheme, &quick(), PART)
}

/// Records frames in order of time, as they would be played.
fn record(stream: &Stream, file: &str, wanted: impl Fn(Description, Medium, &Frame) -> bool) {
    let mut recorder = Recorder::create(file, &stream.catalog).unwrap();
    let mut cues: Vec<u64> = Vec::new();
    for coded in &stream.coded {
        let Some(frame) = &coded.frame else { continue };
        if !wanted(coded.description, coded.header.medium, frame) {
            continue;
        }
        match coded.header.medium {
            Medium::Video => recorder.video(frame).unwrap(),
            Medium::Audio => recorder.audio(frame).unwrap(),
            Medium::Text => {
                let cue: Cue = serde_json::from_slice(&frame.payload).unwrap();
                if !cues.contains(&cue.id) {
                    cues.push(cue.id);
                    recorder.text(&cue).unwrap();
                }
            }
        }
    }
    recorder.finish().unwrap();
}

/// Time stamps of the frames of one kind, in ms.
fn stamps(file: &str, kind: &str) -> Vec<i64> {
    let show =
        ["-select_streams", kind, "-show_entries", "packet=pts_time", "-of", "csv=p=0", file];
    let seconds = |line: &str| line.trim_end_matches(',').parse::<f64>().unwrap();
    stock("ffprobe", &show).lines().map(|line| (seconds(line) * 1000.0).round() as i64).collect()
}

#[test]
fn each_description_alone_and_the_primaries_of_both_play_without_a_complaint() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let alternating = coded(Scheme::Alternating);
    let temporal = coded(Scheme::Temporal);
    // From 17 s to 21.6 s after creation in media time: the last group is cut off.
    let cases: [(&Stream, &str, Option<Description>, usize); 4] = [
        (&alternating, "zero.mkv", Some(Description::Zero), 110),
        (&alternating, "one.mkv", Some(Description::One), 110),
        (&temporal, "half.mkv", Some(Description::One), 49),
        (&alternating, "whole.mkv", None, 110),
    ];
    for (stream, name, only, at_least) in cases {
        let file = path(name);
        record(stream, &file, |description, medium, frame| match (only, medium) {
            (Some(only), _) => description == only,
            (None, Medium::Video) => frame.flags.is_primary(),
            (None, _) => description == Description::Zero,
        });
        stock("ffmpeg", &["-i", &file, "-map", "0:v", "-map", "0:a", "-f", "null", "-"]);
        let count = stock(
            "ffprobe",
            &[
                "-count_frames",
                "-select_streams",
                "v",
                "-show_entries",
                "stream=nb_read_frames",
                "-of",
                "csv=p=0",
                &file,
            ],
        );
        let count: usize = count.trim().trim_end_matches(',').parse().unwrap();
        assert!(count >= at_least && count == stamps(&file, "v").len(), "{name}: {count} frames");
    }
}

#[test]
fn time_stamps_and_captions_are_those_of_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.mkv").to_str().unwrap().to_owned();
    let stream = coded(Scheme::Duplicate);
    record(&stream, &file, |description, _, _| description == Description::One);
    let zero = stream.frames(Description::One, Medium::Video)[0].1.time;
    let expected = |medium| -> Vec<i64> {
        let frames = stream.frames(Description::One, medium).into_iter().map(|(_, frame)| frame);
        let stamp = |f: &Frame| (f.time.since(zero).as_secs_f64() * 1000.0).round() as i64;
        frames.filter(|f| f.time >= zero).map(stamp).collect()
    };
    let near = |found: Vec<i64>, expected: Vec<i64>| {
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1), "{found:?}");
    };
    near(stamps(&file, "v"), expected(Medium::Video));
    near(stamps(&file, "a"), expected(Medium::Audio));
    let srt = stock("ffmpeg", &["-i", &file, "-map", "0:s", "-f", "srt", "-"]);
    for text in ["bird on a branch", "brown & hard", "THE PEACH OPEN MOVIE PROJECT"] {
        assert!(srt.contains(text), "{text} in {srt}");
    }
    // "brown & hard" appears 20.25 s after creation.
    let created = stream.catalog.created.since(MediaTime(0)).as_millis() as i64;
    let start = created + 20_250 - zero.0 as i64 / 1000;
    assert!(stamps(&file, "s").iter().any(|t| (t - start).abs() <= 1), "{start} in {srt}");
}

#[test]
fn a_recording_that_cannot_be_written_or_is_empty_names_its_file() {
    let stream = coded(Scheme::Duplicate);
    let error = Recorder::create("/no/such/folder/a.mkv", &stream.catalog).err().unwrap();
    assert!(error.to_string().contains("/no/such/folder/a.mkv"), "{error}");
    let nothing = Recorder::create("/dev/null", &stream.catalog).unwrap().finish().unwrap_err();
    assert!(matches!(&nothing, Error::NothingRecorded(file) if file == "/dev/null"), "{nothing}");
    let mut full = Recorder::create("/dev/full", &stream.catalog).unwrap();
    let frames = stream.frames(Description::Zero, Medium::Video);
    let written: Result<(), _> = frames.iter().try_for_each(|(_, frame)| full.video(frame));
    let error = written.and_then(|()| full.finish()).unwrap_err();
    assert!(error.to_string().contains("/dev/full"), "{error}");
}
