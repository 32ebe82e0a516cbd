//! What multiple description coding costs and what it buys, measured on clips: the library part of
//! `gibbon-origin measure`.

mod table;
mod viewer;

use std::{path::PathBuf, time::Duration};

use gibbon_mdc::Conceal;
use gibbon_media::{
    Catalog, FrameNumber, MediaTime, Medium, ProducerId, Scheme, StreamName, VideoTrack,
};

pub use self::table::{ClipFacts, Row, Table, Variant};
use self::viewer::{Moment, Seen, Viewer};
use crate::{
    Coded, CoderConfig, Error, Item, Programme, ProgrammeOptions, RatePoint, Secondary,
    StreamCoder, bd_rate,
};

/// Where clips are put in media time: at the start of a group whatever its length.
const START: MediaTime = MediaTime(0);

/// What to measure on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// A file.
    pub media: String,
    /// A WebVTT file with its captions.
    pub captions: Option<PathBuf>,
}

impl Clip {
    /// The file without its folders.
    pub fn name(&self) -> &str {
        self.media.rsplit('/').next().unwrap_or(&self.media)
    }

    fn open(&self, options: &MeasureOptions) -> Result<Programme, Error> {
        let source = ProgrammeOptions {
            size: options.size,
            captions: self.captions.clone(),
            ..ProgrammeOptions::default()
        };
        Programme::open(&self.media, &source, START)
    }
}

/// What to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasureOptions {
    /// The schemes to tell of. Default: all.
    pub schemes: Vec<Scheme>,
    /// The qualities of the primary rendition at which BD-rate is taken. Default 19, 23, 27, 31.
    pub crfs: [f32; 4],
    /// Which of them, 0 to 3, the figures other than BD-rate are told for. Default 1: CRF 23.
    pub told: usize,
    /// The secondary renditions of `alternating`. Default: half and full resolution.
    pub secondaries: Vec<Secondary>,
    /// Everything else about the coder.
    pub coder: CoderConfig,
    /// Length of a group. Default 1 s.
    pub group: Duration,
    /// Of each clip at most this much is coded, at least three groups. Default 30 s.
    pub duration: Duration,
    /// Size of the pictures; default: the clip's.
    pub size: Option<(u32, u32)>,
}

impl Default for MeasureOptions {
    fn default() -> Self {
        Self {
            schemes: vec![Scheme::Alternating, Scheme::Temporal, Scheme::Duplicate],
            crfs: [19.0, 23.0, 27.0, 31.0],
            told: 1,
            secondaries: vec![Secondary::HALF, Secondary::FULL],
            coder: CoderConfig::default(),
            group: Duration::from_secs(1),
            duration: Duration::from_secs(30),
            size: None,
        }
    }
}

/// How far a measurement has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Runs done.
    pub done: usize,
    /// Runs in all: clips × schemes and secondaries × qualities.
    pub of: usize,
    /// What is run next.
    pub next: String,
}

/// Codes each clip in each scheme at four qualities, decodes it with both descriptions and with each
/// lost, and compares. Takes minutes. All clips are opened before the first is coded.
pub fn measure(
    clips: &[Clip],
    options: &MeasureOptions,
    mut progress: impl FnMut(&Progress),
) -> Result<Table, Error> {
    for clip in clips {
        Span::of(clip, &clip.open(options)?, options)?;
    }
    let (codings, told) = (codings(options), options.told.min(options.crfs.len() - 1));
    let of = clips.len() * codings.len() * options.crfs.len();
    let mut done = 0;
    let (crfs, told_crf) = (options.crfs, options.crfs[told]);
    let mut table = Table { crfs, told_crf, rows: Vec::new(), clips: Vec::new() };
    for clip in clips {
        let mut single: Vec<RatePoint> = Vec::new();
        for &(scheme, secondary) in &codings {
            let mut runs = Vec::new();
            for crf in options.crfs {
                let next = format!("{}: {scheme} at CRF {crf}", clip.name());
                progress(&Progress { done, of, next });
                runs.push(run(clip, scheme, secondary, crf, options)?);
                done += 1;
            }
            if scheme == Scheme::Duplicate {
                // Either of its descriptions is the single description to compare with.
                single = runs.iter().map(|run| run.point(run.kbps[0][VIDEO])).collect();
                table.clips.push(runs[told].facts(clip));
            }
            if options.schemes.contains(&scheme) {
                table.rows.extend(rows_of(clip, scheme, secondary, &runs, &single, told));
            }
        }
    }
    progress(&Progress { done, of, next: String::new() });
    Ok(table)
}

/// `duplicate` first and always, as it yields the reference.
fn codings(options: &MeasureOptions) -> Vec<(Scheme, Option<Secondary>)> {
    let asked = |scheme| options.schemes.contains(&scheme);
    let mut codings = vec![(Scheme::Duplicate, None)];
    if asked(Scheme::Alternating) {
        codings.extend(options.secondaries.iter().map(|s| (Scheme::Alternating, Some(*s))));
    }
    if asked(Scheme::Temporal) {
        codings.push((Scheme::Temporal, None));
    }
    codings
}

fn rows_of(
    clip: &Clip,
    scheme: Scheme,
    secondary: Option<Secondary>,
    runs: &[Run],
    single: &[RatePoint],
    told: usize,
) -> Vec<Row> {
    let points: Vec<RatePoint> = runs.iter().map(|run| run.point(run.video_kbps())).collect();
    let overhead = bd_rate(single, &points);
    let conceals: &[Option<Conceal>] = match scheme {
        Scheme::Temporal => &[Some(Conceal::Repeat), Some(Conceal::Blend)],
        _ => &[None],
    };
    let told = &runs[told];
    let row = |conceal: &Option<Conceal>| {
        let outcome = &told.seen.lost[usize::from(*conceal == Some(Conceal::Blend))];
        Row {
            clip: clip.name().to_owned(),
            variant: Variant { scheme, secondary, conceal: *conceal },
            overhead,
            points: points.clone(),
            kbps: told.video_kbps(),
            central: told.seen.central.psnr().weighted,
            lost: [0, 1].map(|lost: usize| outcome.whole[lost].psnr().weighted),
            side: outcome.side.map(|side| side.psnr().weighted),
        }
    };
    conceals.iter().map(row).collect()
}

const VIDEO: usize = Medium::Video as usize;

/// The frames of a clip that are judged.
#[derive(Clone, Copy)]
struct Span {
    begin: FrameNumber,
    end: FrameNumber,
}

impl Span {
    /// All but the first group, as description 1 of `temporal` begins half a group later; then an even
    /// number of groups, so that each description carries as many primaries as the other.
    fn of(clip: &Clip, programme: &Programme, options: &MeasureOptions) -> Result<Self, Error> {
        let file = &clip.media;
        let Some(video) = programme.video() else { return Err(Error::NoPictures(file.clone())) };
        let Some(frames) = programme.loop_frames() else {
            return Err(Error::NoLength(file.clone()));
        };
        let length = video.rate.time_of(FrameNumber(frames)).since(START).min(options.duration);
        let groups = length.as_micros() / options.group.as_micros().max(1);
        let judged = u32::try_from(groups.saturating_sub(1) / 2 * 2).unwrap_or(0);
        if judged == 0 {
            return Err(Error::TooShort { file: file.clone(), needed: 3 * options.group });
        }
        let edge = |groups| video.rate.first_at_or_after(START + options.group * groups);
        Ok(Self { begin: edge(1), end: edge(1 + judged) })
    }

    fn contains(self, n: FrameNumber) -> bool {
        (self.begin..self.end).contains(&n)
    }

    fn seconds(self, video: &VideoTrack) -> f64 {
        (self.end.0 - self.begin.0) as f64 / video.rate.as_f64()
    }
}

/// One clip, coded and decoded once.
struct Run {
    video: VideoTrack,
    seconds: f64,
    /// Bit rate by description and medium.
    kbps: [[f64; 3]; 2],
    seen: Seen,
}

impl Run {
    fn video_kbps(&self) -> f64 {
        self.kbps.iter().map(|media| media[VIDEO]).sum()
    }

    fn point(&self, kbps: f64) -> RatePoint {
        RatePoint { kbps, psnr: self.seen.central.psnr().weighted }
    }

    fn facts(&self, clip: &Clip) -> ClipFacts {
        let [single_kbps, audio_kbps, text_kbps] = self.kbps[0];
        ClipFacts {
            clip: clip.name().to_owned(),
            video: self.video.clone(),
            seconds: self.seconds,
            single_kbps,
            audio_kbps,
            text_kbps,
        }
    }
}

fn run(
    clip: &Clip,
    scheme: Scheme,
    secondary: Option<Secondary>,
    crf: f32,
    options: &MeasureOptions,
) -> Result<Run, Error> {
    let mut programme = clip.open(options)?;
    let span = Span::of(clip, &programme, options)?;
    let catalog = catalog(&programme, scheme, options.group);
    let Some(video) = catalog.video.clone() else { return Err(Error::Empty(clip.media.clone())) };
    let config = CoderConfig {
        crf,
        secondary: secondary.unwrap_or(options.coder.secondary),
        bitrate: None,
        colour: programme.colour(),
        ..options.coder.clone()
    };
    let cues = programme.cues();
    let mut coder = StreamCoder::new(catalog.clone(), &config, ProducerId(0), cues, START)?;
    let mut viewer = Viewer::new(&video)?;
    let mut bytes = [[0; 3]; 2];
    while let Some(item) = programme.next_item()? {
        if matches!(item, Item::Video(n, _) if n >= span.end) {
            break;
        }
        let mut decoded = [None, None];
        for Coded { description, header, frame, .. } in coder.code(&item, 0)? {
            let Some(frame) = frame else { continue };
            let index = description.index();
            let counts = match item {
                Item::Video(n, _) if header.medium == Medium::Video => span.contains(n),
                // Sound and text are in whole groups, on the same grid in every scheme but `temporal`.
                _ => {
                    let start = catalog.grid(description).start_of(header.group);
                    span.contains(video.rate.first_at_or_after(start))
                }
            };
            if counts {
                bytes[index][header.medium.index()] += frame.payload.len();
            }
            if header.medium == Medium::Video {
                let picture = viewer.decode(index, frame.flags.is_key(), &frame.payload)?;
                decoded[index] = Some((picture, frame.flags.is_primary()));
            }
        }
        if let Item::Video(n, source) = item {
            viewer.see(Moment { counts: span.contains(n), source, decoded })?;
        }
    }
    let seconds = span.seconds(&video);
    let kbps = bytes.map(|media| media.map(|bytes| bytes as f64 * 8.0 / 1000.0 / seconds));
    Ok(Run { video, seconds, kbps, seen: viewer.finish()? })
}

fn catalog(programme: &Programme, scheme: Scheme, group: Duration) -> Catalog {
    Catalog {
        stream: "measure".parse::<StreamName>().expect("a valid name"),
        scheme,
        created: START,
        grids: Catalog::grids_of(scheme, group),
        video: programme.video(),
        audio: programme.audio(),
        text: programme.text(),
        host: String::new(),
    }
}
