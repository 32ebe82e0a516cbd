//! What multiple description coding costs and what it buys, measured on clips: the library part of
//! `gibbon-origin measure`.

use std::{collections::VecDeque, fmt, time::Duration};

use gibbon_mdc::Conceal;
use gibbon_media::{
    Catalog, Description, FrameNumber, MediaTime, ProducerId, Scheme, StreamName, VideoTrack,
};

use crate::{
    CoderConfig, Error, Item, Picture, Programme, ProgrammeOptions, RatePoint, Scaler, Secondary,
    StreamCoder, VideoDecoder, bd_rate, quality::Distortion,
};

/// Where clips are put in media time: at the start of a group whatever its length.
const START: MediaTime = MediaTime(0);

/// What to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasureOptions {
    /// The qualities of the primary rendition at which BD-rate is taken. Default 19, 23, 27, 31.
    pub crfs: [f32; 4],
    /// Which of them the figures other than BD-rate are told for. Default 1: CRF 23.
    pub told: usize,
    /// The secondary renditions of `alternating`. Default: half and full resolution.
    pub secondaries: Vec<Secondary>,
    /// Everything else about the coder.
    pub coder: CoderConfig,
    /// Length of a group. Default 1 s.
    pub group: Duration,
    /// Of each clip at most this much is used. Default 30 s.
    pub duration: Duration,
    /// Size of the pictures; default: the clip's.
    pub size: Option<(u32, u32)>,
}

impl Default for MeasureOptions {
    fn default() -> Self {
        Self {
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

/// A scheme with its settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variant {
    /// The scheme.
    pub scheme: Scheme,
    /// The secondary rendition (`alternating` only).
    pub secondary: Option<Secondary>,
    /// How missing frames are made up (`temporal` only).
    pub conceal: Option<Conceal>,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.scheme)?;
        if let Some(secondary) = self.secondary {
            write!(f, ", secondary at {secondary}")?;
        }
        match self.conceal {
            Some(Conceal::Repeat) => f.write_str(", missing frames repeated"),
            Some(Conceal::Blend) => f.write_str(", missing frames blended"),
            None => Ok(()),
        }
    }
}

/// What was found for one clip and one variant. PSNR is that of all frames as one picture, planes
/// weighted 6:1:1, in dB.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The clip.
    pub clip: String,
    /// How it was coded.
    pub variant: Variant,
    /// BD-rate in percent: the video bit rate of both descriptions at equal central PSNR over that of
    /// a single description with the same closed groups. `None` where the curves share no quality.
    pub overhead: Option<f64>,
    /// Video bit rate of both descriptions at the quality told, in kbit/s.
    pub kbps: f64,
    /// PSNR with both descriptions.
    pub central: f64,
    /// PSNR with description 0 lost, and with description 1 lost.
    pub lost: [f64; 2],
    /// PSNR of those frames alone whose primary was in the lost description. `None` if there are none.
    pub side: Option<f64>,
}

/// All rows: clip by clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Table(pub Vec<Row>);

impl fmt::Display for Table {
    /// As Markdown, with the mean overhead of each variant below.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| clip | scheme | overhead | kbit/s | both | without 0 | without 1 | side frames |"
        )?;
        writeln!(f, "|---|---|---:|---:|---:|---:|---:|---:|")?;
        for Row { clip, variant, overhead, kbps, central, lost: [zero, one], side } in &self.0 {
            writeln!(
                f,
                "| {clip} | {variant} | {} | {kbps:.0} | {central:.1} | {zero:.1} | {one:.1} | {} |",
                told(*overhead, " %", true),
                told(*side, "", false),
            )?;
        }
        let mut variants: Vec<Variant> = Vec::new();
        for row in self.0.iter().filter(|row| row.overhead.is_some()) {
            if !variants.contains(&row.variant) {
                variants.push(row.variant);
            }
        }
        for variant in variants {
            let of_variant = self.0.iter().filter(|row| row.variant == variant);
            let overheads: Vec<f64> = of_variant.filter_map(|row| row.overhead).collect();
            let mean = overheads.iter().sum::<f64>() / overheads.len() as f64;
            writeln!(f, "| mean | {variant} | {} | | | | | |", told(Some(mean), " %", true))?;
        }
        Ok(())
    }
}

fn told(value: Option<f64>, unit: &str, sign: bool) -> String {
    match (value, sign) {
        (None, _) => "–".to_owned(),
        (Some(value), true) => format!("{value:+.1}{unit}"),
        (Some(value), false) => format!("{value:.1}{unit}"),
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

/// Codes each clip (a path) in each scheme at four qualities, decodes it with both descriptions and with
/// each lost, and compares. Takes minutes; pictures only.
pub fn measure(
    clips: &[String],
    options: &MeasureOptions,
    mut progress: impl FnMut(&Progress),
) -> Result<Table, Error> {
    let codings = codings(options);
    let of = clips.len() * codings.len() * options.crfs.len();
    let (mut done, mut rows) = (0, Vec::new());
    for clip in clips {
        let mut single: Vec<RatePoint> = Vec::new();
        for &(scheme, secondary) in &codings {
            let mut runs = Vec::new();
            for crf in options.crfs {
                progress(&Progress { done, of, next: format!("{clip}: {scheme} at CRF {crf}") });
                runs.push(run(clip, scheme, secondary, crf, options)?);
                done += 1;
            }
            if scheme == Scheme::Duplicate {
                // Either of its descriptions is the single description to compare with.
                single = runs.iter().map(|run| run.point(run.kbps[0])).collect();
            }
            rows.extend(rows_of(clip, scheme, secondary, &runs, &single, options.told));
        }
    }
    progress(&Progress { done, of, next: String::new() });
    Ok(Table(rows))
}

/// `duplicate` first, as it yields the reference.
fn codings(options: &MeasureOptions) -> Vec<(Scheme, Option<Secondary>)> {
    let alternating = options.secondaries.iter().map(|s| (Scheme::Alternating, Some(*s)));
    let others = alternating.chain([(Scheme::Temporal, None)]);
    [(Scheme::Duplicate, None)].into_iter().chain(others).collect()
}

fn rows_of(
    clip: &str,
    scheme: Scheme,
    secondary: Option<Secondary>,
    runs: &[Run],
    single: &[RatePoint],
    told: usize,
) -> Vec<Row> {
    let points: Vec<RatePoint> = runs.iter().map(|run| run.point(run.kbps.iter().sum())).collect();
    let overhead = bd_rate(single, &points);
    let conceals: &[Option<Conceal>] = match scheme {
        Scheme::Temporal => &[Some(Conceal::Repeat), Some(Conceal::Blend)],
        _ => &[None],
    };
    let told = &runs[told.min(runs.len() - 1)];
    let row = |conceal: &Option<Conceal>| {
        let outcome = &told.lost[usize::from(*conceal == Some(Conceal::Blend))];
        Row {
            clip: clip.rsplit('/').next().unwrap_or(clip).to_owned(),
            variant: Variant { scheme, secondary, conceal: *conceal },
            overhead,
            kbps: told.kbps.iter().sum(),
            central: told.central.psnr().weighted,
            lost: [0, 1].map(|lost: usize| outcome.whole[lost].psnr().weighted),
            side: outcome.side.map(|side| side.psnr().weighted),
        }
    };
    conceals.iter().map(row).collect()
}

/// One clip, coded and decoded once.
struct Run {
    /// Bit rate by description.
    kbps: [f64; 2],
    central: Distortion,
    /// With missing frames repeated, and blended.
    lost: [Lost; 2],
}

impl Run {
    fn point(&self, kbps: f64) -> RatePoint {
        RatePoint { kbps, psnr: self.central.psnr().weighted }
    }
}

/// With one description lost.
#[derive(Default)]
struct Lost {
    /// By the description that is lost.
    whole: [Distortion; 2],
    /// The frames shown from a secondary or made up, whichever description is lost.
    side: Option<Distortion>,
}

fn run(
    clip: &str,
    scheme: Scheme,
    secondary: Option<Secondary>,
    crf: f32,
    options: &MeasureOptions,
) -> Result<Run, Error> {
    let source =
        ProgrammeOptions { sound: false, size: options.size, ..ProgrammeOptions::default() };
    let mut programme = Programme::open(clip, &source, START)?;
    let Some(video) = programme.video() else { return Err(Error::Empty(clip.to_owned())) };
    let config = CoderConfig {
        crf,
        secondary: secondary.unwrap_or(options.coder.secondary),
        bitrate: None,
        colour: programme.colour(),
        ..options.coder.clone()
    };
    let catalog = catalog(&video, scheme, options.group);
    let mut coder = StreamCoder::new(catalog, &config, ProducerId(0), programme.cues(), START)?;
    let mut viewer = Viewer::new(&video)?;
    // Description 1 of `temporal` begins half a group later: the first group is not counted.
    let begin = video.rate.first_at_or_after(START + options.group);
    let end = video.rate.frame_at(START + options.duration).0;
    let end = end.min(programme.loop_frames().unwrap_or(u64::MAX)).max(begin.0 + 1);
    while let Some(Item::Video(n, picture)) = programme.next_item()? {
        if n.0 >= end {
            break;
        }
        let coded = coder.code(&Item::Video(n, picture.clone()), 0)?;
        let mut decoded = [None, None];
        for coded in coded {
            let Some(frame) = coded.frame else { continue };
            let is_primary = frame.flags.is_primary();
            let description = coded.description.index();
            let picture = viewer.decode(description, frame.flags.is_key(), &frame.payload)?;
            decoded[description] = Some((picture, is_primary));
            if n >= begin {
                viewer.bytes[description] += frame.payload.len() as u64;
            }
        }
        viewer.see(Moment { counts: n >= begin, source: picture, decoded })?;
    }
    viewer.finish(&video, FrameNumber(end - begin.0))
}

fn catalog(video: &VideoTrack, scheme: Scheme, group: Duration) -> Catalog {
    Catalog {
        stream: "measure".parse::<StreamName>().expect("a valid name"),
        scheme,
        created: START,
        grids: Catalog::grids_of(scheme, group),
        video: Some(video.clone()),
        audio: None,
        text: None,
        host: String::new(),
    }
}

/// One frame: what went in and what each description makes of it, primary or not.
struct Moment {
    counts: bool,
    source: Picture,
    decoded: [Option<(Picture, bool)>; 2],
}

impl Moment {
    /// The best picture with both descriptions.
    fn best(&self) -> Option<&Picture> {
        let pictures = || self.decoded.iter().flatten();
        let primary = pictures().find(|(_, is_primary)| *is_primary);
        primary.or(pictures().next()).map(|(picture, _)| picture)
    }

    fn of(&self, description: usize) -> Option<&Picture> {
        self.decoded[description].as_ref().map(|(picture, _)| picture)
    }
}

/// Decodes both descriptions and keeps account of what would be seen. One moment behind, so that the
/// picture after a missing one is known.
struct Viewer {
    decoders: [VideoDecoder; 2],
    scaler: Scaler,
    moments: VecDeque<Moment>,
    bytes: [u64; 2],
    central: Distortion,
    lost: [Lost; 2],
}

impl Viewer {
    fn new(video: &VideoTrack) -> Result<Self, Error> {
        Ok(Self {
            decoders: [VideoDecoder::new(video.codec)?, VideoDecoder::new(video.codec)?],
            scaler: Scaler::new(video.width, video.height),
            moments: VecDeque::new(),
            bytes: [0; 2],
            central: Distortion::default(),
            lost: Default::default(),
        })
    }

    fn decode(&mut self, description: usize, key: bool, payload: &[u8]) -> Result<Picture, Error> {
        let decoder = &mut self.decoders[description];
        if key {
            decoder.reset();
        }
        self.scaler.scale(&decoder.decode(payload)?)
    }

    /// Takes in a moment and judges the one before.
    fn see(&mut self, moment: Moment) -> Result<(), Error> {
        self.moments.push_back(moment);
        if self.moments.len() == 3 {
            self.judge(1)?;
            self.moments.pop_front();
        }
        Ok(())
    }

    fn finish(mut self, video: &VideoTrack, frames: FrameNumber) -> Result<Run, Error> {
        let last = self.moments.len().saturating_sub(1);
        self.judge(last)?;
        let seconds = video.rate.time_of(frames).0 as f64 / 1e6;
        let kbps = self.bytes.map(|bytes| bytes as f64 * 8.0 / 1000.0 / seconds);
        Ok(Run { kbps, central: self.central, lost: self.lost })
    }

    fn judge(&mut self, at: usize) -> Result<(), Error> {
        let Some(moment) = self.moments.get(at).filter(|moment| moment.counts) else {
            return Ok(());
        };
        let source = &moment.source;
        let Some(best) = moment.best() else { return Ok(()) };
        self.central.add(source, best)?;
        for lost in Description::BOTH {
            let left = lost.other().index();
            let near = |at: Option<usize>| at.and_then(|at| self.moments.get(at)?.of(left));
            let (before, after) = (near(at.checked_sub(1)), near(Some(at + 1)));
            for (outcome, conceal) in self.lost.iter_mut().zip([Conceal::Repeat, Conceal::Blend]) {
                let shown = match (moment.of(left), before, after, conceal) {
                    (Some(picture), ..) => picture.clone(),
                    (None, Some(before), Some(after), Conceal::Blend) => before.blend(after)?,
                    (None, Some(near), ..) | (None, None, Some(near), _) => near.clone(),
                    (None, None, None, _) => continue,
                };
                outcome.whole[lost.index()].add(source, &shown)?;
                let is_primary = |(_, is_primary): &(Picture, bool)| *is_primary;
                if !moment.decoded[left].as_ref().is_some_and(is_primary) {
                    outcome.side.get_or_insert_default().add(source, &shown)?;
                }
            }
        }
        Ok(())
    }
}
