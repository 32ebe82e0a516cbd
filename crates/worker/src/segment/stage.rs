//! What a component does to the media that pass it.

use std::{path::Path, sync::Arc, time::Duration};

use gibbon_codec::{
    AudioFilter, Colour, Error, PACKET_SAMPLES, PACKET_US, SAMPLE_RATE, VideoFilter,
};
use gibbon_components::{AudioFormat, Format, Invalid, Step, TextWork, VideoFormat, Work, graph};
use gibbon_media::{FrameNumber, MediaTime};

use super::{
    burn_in::BurnIn,
    raw::{Raw, RawPicture, RawSound, RawText, Stamps},
};

/// Why a component can work no more.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// FFmpeg refuses.
    #[error(transparent)]
    Codec(#[from] Error),
    /// What comes out is not what the component has announced.
    #[error("made pictures of {0}x{1} where {2}x{3} were announced")]
    Size(u32, u32, u32, u32),
    /// The worker's own paths do not suit.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// One component at work.
pub enum Stage {
    /// All passes as it is.
    Pass,
    /// Pictures are filtered.
    Video(Box<VideoStage>),
    /// Sound is filtered.
    Audio(Box<AudioStage>),
    /// Cues are rewritten.
    Text(Box<dyn TextWork>),
    /// Cues are drawn into the pictures.
    BurnIn(Box<BurnIn>),
}

impl Stage {
    /// For the work of a component whose media come as `input`; with the worker's own files.
    pub fn new(step: Step, input: &Format, font: &Path, assets: &Path) -> Result<Self, Failure> {
        let fill = move |text: &str| graph::fill(text, font, assets);
        Ok(match (step.work, input.video, step.output.video) {
            (Work::Video { graph, .. }, Some(from), Some(to)) => {
                Stage::Video(Box::new(VideoStage::new(fill(&graph)?, from, to)))
            }
            (Work::BurnIn { draw, parameters }, Some(_), _) => {
                let (input, font, assets) = (input.clone(), font.to_owned(), assets.to_owned());
                let graph_of =
                    move |text: &str| graph::fill(&draw(text, &input, &parameters), &font, &assets);
                let video = step.output.video;
                Stage::BurnIn(Box::new(BurnIn::new(Box::new(graph_of), video)))
            }
            (Work::Audio { graph }, ..) => {
                let (input, output) = (input.audio, step.output.audio);
                match input.zip(output) {
                    Some((from, to)) => {
                        Stage::Audio(Box::new(AudioStage::new(fill(&graph)?, from, to)))
                    }
                    None => Stage::Pass,
                }
            }
            (Work::Text(work), ..) => Stage::Text(work),
            (Work::Code | Work::Video { .. } | Work::BurnIn { .. }, ..) => Stage::Pass,
        })
    }

    /// Whether it needs pictures decoded.
    pub fn needs_pictures(&self) -> bool {
        matches!(self, Stage::Video(_) | Stage::BurnIn(_))
    }

    /// Whether it needs sound decoded.
    pub fn needs_sound(&self) -> bool {
        matches!(self, Stage::Audio(_))
    }

    /// Takes the next item; what comes out goes to `out`.
    pub fn process(&mut self, item: Raw, out: &mut Vec<Raw>) -> Result<(), Failure> {
        match (self, item) {
            (Stage::Video(stage), Raw::Picture(picture)) => stage.process(picture, out)?,
            (Stage::Audio(stage), Raw::Sound(sound)) => stage.process(sound, out)?,
            (Stage::Text(work), Raw::Text(text)) => {
                out.push(Raw::Text(rewrite(work.as_ref(), text)))
            }
            (Stage::BurnIn(stage), item) => stage.process(item, out)?,
            (_, item) => out.push(item),
        }
        Ok(())
    }
}

fn rewrite(work: &dyn TextWork, text: RawText) -> RawText {
    let by = work.shift_us();
    let shifted = |time: MediaTime| MediaTime(time.0.saturating_add_signed(by));
    let cues = text.cues.into_iter().map(|cue| work.rewrite(cue)).collect();
    RawText { from: shifted(text.from), until: shifted(text.until), cues, ..text }
}

/// A filter of pictures.
pub struct VideoStage {
    graph: String,
    from: VideoFormat,
    to: VideoFormat,
    filter: Option<(VideoFilter, Colour)>,
    due: Option<FrameNumber>,
    stamps: Stamps,
}

impl VideoStage {
    fn new(graph: String, from: VideoFormat, to: VideoFormat) -> Self {
        Self { graph, from, to, filter: None, due: None, stamps: Stamps::default() }
    }

    fn process(&mut self, item: RawPicture, out: &mut Vec<Raw>) -> Result<(), Failure> {
        let Some(picture) = item.picture else { return Ok(()) };
        self.stamps.note(self.from.rate.time_of(item.n), item.stamp);
        let continues = self.due == Some(item.n);
        self.due = Some(FrameNumber(item.n.0 + 1));
        let (mut filter, colour, mut made) = match self.filter.take() {
            Some((filter, colour)) if continues && colour == item.colour => {
                (filter, colour, Vec::new())
            }
            before => {
                let held = before.map_or(Ok(Vec::new()), |(filter, _)| filter.finish())?;
                let (size, rates) =
                    ((self.from.width, self.from.height), (self.from.rate, self.to.rate));
                (VideoFilter::new(&self.graph, size, rates, item.colour)?, item.colour, held)
            }
        };
        made.extend(filter.push(item.n, &picture)?);
        self.filter = Some((filter, colour));
        for (n, picture) in made {
            let (w, h) = (picture.width(), picture.height());
            if (w, h) != (self.to.width, self.to.height) {
                return Err(Failure::Size(w, h, self.to.width, self.to.height));
            }
            // Another rate may number a picture up to half an interval before it was.
            let time = self.to.rate.time_of(n) + self.to.rate.interval() / 2;
            let stamp = self.stamps.of(time);
            out.push(Raw::Picture(RawPicture {
                n,
                picture: Some(picture),
                colour,
                coded: None,
                stamp,
            }));
        }
        Ok(())
    }
}

/// A filter of sound.
pub struct AudioStage {
    graph: String,
    channels: (u8, u8),
    filter: Option<AudioFilter>,
    /// When the first sample of the filter was.
    base: MediaTime,
    /// Samples that it has been given.
    position: i64,
    stamps: Stamps,
}

impl AudioStage {
    fn new(graph: String, from: AudioFormat, to: AudioFormat) -> Self {
        let channels = (from.channels, to.channels);
        let base = MediaTime(0);
        Self { graph, channels, filter: None, base, position: 0, stamps: Stamps::default() }
    }

    fn process(&mut self, item: RawSound, out: &mut Vec<Raw>) -> Result<(), Failure> {
        let Some(samples) = item.samples else { return Ok(()) };
        self.stamps.note(item.time, item.stamp);
        let due = self.time_of(self.position);
        // Some encoder before may have been off its predecessor's packets by less than half of one.
        let off = item.time.since(due).max(due.since(item.time));
        let mut filter = match self.filter.take() {
            Some(filter) if off < item.length / 2 => filter,
            _ => {
                (self.base, self.position) = (item.time, 0);
                AudioFilter::new(&self.graph, self.channels)?
            }
        };
        let made = filter.push(self.position, &samples)?;
        self.position += (samples.len() / usize::from(self.channels.0.max(1))) as i64;
        self.filter = Some(filter);
        for (position, samples) in made {
            debug_assert_eq!(samples.len(), PACKET_SAMPLES * usize::from(self.channels.1));
            let time = self.time_of(position);
            out.push(Raw::Sound(RawSound {
                time,
                length: Duration::from_micros(PACKET_US.into()),
                samples: Some(Arc::from(samples)),
                packet: None,
                stamp: self.stamps.of(time),
            }));
        }
        Ok(())
    }

    fn time_of(&self, position: i64) -> MediaTime {
        let micros = i128::from(position) * 1_000_000 / i128::from(SAMPLE_RATE);
        MediaTime(self.base.0.saturating_add_signed(i64::try_from(micros).unwrap_or(0)))
    }
}
