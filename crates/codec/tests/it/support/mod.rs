//! What the tests share: the clip, catalogs, coding a part of it, and stock FFmpeg.

use std::{path::PathBuf, process::Command, time::Duration};

use gibbon_codec::{
    Coded, CoderConfig, Item, Picture, Preset, Programme, ProgrammeOptions, StreamCoder,
};
use gibbon_media::{
    Catalog, Description, Frame, FrameNumber, MediaTime, Medium, ProducerId, Scheme,
};

/// 20 November 2026, in the middle of a group.
pub const CREATED: MediaTime = MediaTime(1_795_132_800_400_000);

pub fn clip(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../media").join(name);
    path.to_str().unwrap().to_owned()
}

/// The clip, small and fast to code.
pub fn small() -> ProgrammeOptions {
    ProgrammeOptions {
        size: Some((160, 90)),
        captions: Some(clip("bbb.vtt").into()),
        ..ProgrammeOptions::default()
    }
}

pub fn quick() -> CoderConfig {
    CoderConfig {
        preset: Preset::Ultrafast,
        secondary_preset: Preset::Ultrafast,
        ..CoderConfig::default()
    }
}

pub fn catalog(programme: &Programme, scheme: Scheme) -> Catalog {
    Catalog {
        stream: "live/bbb".parse().unwrap(),
        scheme,
        created: programme.created(),
        grids: Catalog::grids_of(scheme, Duration::from_secs(1)),
        video: programme.video(),
        audio: programme.audio(),
        text: programme.text(),
        host: "test".to_owned(),
    }
}

/// A part of the clip, coded.
pub struct Stream {
    pub catalog: Catalog,
    pub coded: Vec<Coded>,
    pub pictures: Vec<(FrameNumber, Picture)>,
}

impl Stream {
    pub fn frames(&self, description: Description, medium: Medium) -> Vec<(&Coded, &Frame)> {
        let of = |c: &&Coded| c.description == description && c.header.medium == medium;
        let coded = self.coded.iter().filter(of);
        coded.filter_map(|c| c.frame.as_ref().map(|frame| (c, frame))).collect()
    }
}

/// Codes the items of `programme` from `start` up to `end`.
pub fn code(
    mut programme: Programme,
    scheme: Scheme,
    config: &CoderConfig,
    (start, end): (MediaTime, MediaTime),
) -> Stream {
    programme.start_at(start).unwrap();
    let catalog = catalog(&programme, scheme);
    let mut coder =
        StreamCoder::new(catalog.clone(), config, ProducerId(7), programme.cues(), start).unwrap();
    let (mut coded, mut pictures) = (Vec::new(), Vec::new());
    loop {
        let item = programme.next_item().unwrap().unwrap();
        let time = match &item {
            Item::Video(n, _) => catalog.video.as_ref().unwrap().rate.time_of(*n),
            Item::Audio(block) => block.time,
        };
        if time >= end {
            return Stream { catalog, coded, pictures };
        }
        coded.extend(coder.code(&item, time.0).unwrap());
        if let Item::Video(n, picture) = item {
            pictures.push((n, picture));
        }
    }
}

/// Runs stock `ffmpeg` or `ffprobe`, which must succeed and complain of nothing; its output.
pub fn stock(program: &str, arguments: &[&str]) -> String {
    let run = Command::new(program).args(["-v", "error"]).args(arguments).output().unwrap();
    let complaints = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success() && complaints.is_empty(), "{program} {arguments:?}: {complaints}");
    String::from_utf8(run.stdout).unwrap()
}
