//! A programme: normalised media in order of media time, without end if it is looped.

use std::{fs, io, path::PathBuf};

use ffmpeg_next::Rational;
use gibbon_media::{AudioTrack, Codec, FrameNumber, FrameRate, MediaTime, TextTrack, VideoTrack};

use crate::{
    Colour, CueSheet, Error, PACKET_SAMPLES, PACKET_US, Picture, SAMPLE_RATE, captions,
    input::{Input, Kind},
    pictures::Pictures,
    sound::Sound,
    timeline::{Loop, Timeline, time_of_sample},
};

/// The rate by which a programme without pictures is aligned.
const NOMINAL_RATE: (u32, u32) = (25, 1);
/// A decoder that begins somewhere in a file is given this much before what is wanted, in ns.
const PREROLL: i64 = 10_000_000_000;
/// Bytes of a WebVTT file.
const MAX_CAPTION_FILE: u64 = 16 << 20;

/// What to make of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgrammeOptions {
    /// Frame rate; default: the mean rate of the input, if near a common rate then that.
    pub rate: Option<FrameRate>,
    /// Width and height in pixels, even; default: the input's, with square pixels.
    pub size: Option<(u32, u32)>,
    /// Whether to take the sound. Default: yes.
    pub sound: bool,
    /// A WebVTT file with captions; default: none.
    pub captions: Option<PathBuf>,
    /// Their language (BCP 47). Default `en`.
    pub language: String,
}

impl Default for ProgrammeOptions {
    fn default() -> Self {
        Self { rate: None, size: None, sound: true, captions: None, language: "en".to_owned() }
    }
}

/// A picture or a packet's worth of sound.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// Frame `n` of the stream.
    Video(FrameNumber, Picture),
    /// The next sound.
    Audio(SoundBlock),
}

/// The samples of one packet.
#[derive(Debug, Clone, PartialEq)]
pub struct SoundBlock {
    /// The first sample, counted from the stream's creation.
    pub position: u64,
    /// Its media time.
    pub time: MediaTime,
    /// 960 samples for each channel, interleaved.
    pub samples: Vec<f32>,
}

/// A source of pictures at a constant frame rate and continuous sound. Pulled, not paced: the caller
/// keeps the time.
///
/// The file's time 0 is at the frame nearest to the stream's creation. The file is looped; a loop is
/// the longest whole number of frames in it that is a whole number of 48 kHz samples, and sound is cut
/// or padded with silence to it. Pictures are dropped or repeated so that each frame is the nearest in
/// time. The pictures at a media time do not depend on where the programme was started; nor does the
/// sound, but for the noise that some decoders (AAC) make up, and for a fraction of a sample where it
/// is resampled.
///
/// An input of unknown length is taken as live: its time 0 is where the programme is started, and it
/// ends with the input.
pub struct Programme {
    input: Input,
    timeline: Timeline,
    created: MediaTime,
    video: Option<Track<Pictures>>,
    audio: Option<Track<Sound>>,
    size: (u32, u32),
    captions: Vec<captions::Caption>,
    language: Option<String>,
}

/// One medium and how far it has come.
struct Track<T> {
    source: T,
    /// The pass through the input that the source is in.
    pass: u64,
    /// The next frame, or the next sample since creation.
    next: u64,
}

impl Programme {
    /// Opens `file`, a path or URL, as a stream created at `created`, positioned there.
    pub fn open(file: &str, options: &ProgrammeOptions, created: MediaTime) -> Result<Self, Error> {
        let captions = options.captions.as_ref().map_or(Ok(Vec::new()), read_captions)?;
        let input = Input::open(file, options.sound)?;
        let mut size = (0, 0);
        let video = match input.has(Kind::Pictures) {
            true => {
                let (source, given) = Pictures::open(&input, options.size)?;
                size = given;
                Some(Track { source, pass: 0, next: 0 })
            }
            false => None,
        };
        let audio = match input.has(Kind::Sound) {
            true => Some(Track { source: Sound::open(&input)?, pass: 0, next: 0 }),
            false => None,
        };
        let rate = options.rate.unwrap_or_else(|| usual_rate(input.frame_rate()));
        let looped = loop_of(&input, rate)?;
        let timeline = Timeline { rate, first: rate.frame_at(created), looped };
        let created = timeline.created();
        let language = options.captions.is_some().then(|| options.language.clone());
        let mut programme =
            Self { input, timeline, created, video, audio, size, captions, language };
        programme.set_next(created);
        Ok(programme)
    }

    /// When the stream was created: the media time of a frame.
    pub fn created(&self) -> MediaTime {
        self.created
    }

    /// For the catalog: the pictures, if any.
    pub fn video(&self) -> Option<VideoTrack> {
        let (width, height) = self.size;
        let track = VideoTrack { codec: Codec::H264, rate: self.timeline.rate, width, height };
        self.video.is_some().then_some(track)
    }

    /// For the catalog: the sound, if any.
    pub fn audio(&self) -> Option<AudioTrack> {
        let channels = self.audio.as_ref()?.source.channels();
        Some(AudioTrack { sample_rate: SAMPLE_RATE, channels, packet_us: PACKET_US })
    }

    /// For the catalog: the captions, if any.
    pub fn text(&self) -> Option<TextTrack> {
        self.language.clone().map(|language| TextTrack { language })
    }

    /// What the colours of the pictures mean.
    pub fn colour(&self) -> Colour {
        self.video.as_ref().map_or_else(Colour::default, |video| video.source.colour())
    }

    /// The captions of all loops. Of a live input, to be asked for once it has been started.
    pub fn cues(&self) -> CueSheet {
        CueSheet::new(self.timeline, self.captions.clone())
    }

    /// The frames of one loop; `None` if the input is live.
    pub fn loop_frames(&self) -> Option<u64> {
        self.timeline.looped.map(|looped| looped.frames)
    }

    /// Goes to media time `t`: what comes next are the first frame and the first sound (on the grid of
    /// packets that begins at creation) that do not begin before it, and not before creation.
    pub fn start_at(&mut self, t: MediaTime) -> Result<(), Error> {
        self.set_next(t.max(self.created));
        let positions = [
            self.video.as_ref().map(|video| self.timeline.frame_in_file(FrameNumber(video.next))),
            self.audio.as_ref().map(|audio| {
                let (pass, sample) = self.timeline.sample_in_file(audio.next);
                (pass, (i128::from(sample) * 1_000_000_000 / i128::from(SAMPLE_RATE)) as i64)
            }),
        ];
        let (pass, time) = positions.into_iter().flatten().min().unwrap_or((0, 0));
        self.input.seek((time - PREROLL).max(0))?;
        if let Some(video) = &mut self.video {
            video.source.restart(&self.input)?;
            video.pass = pass;
        }
        if let Some(audio) = &mut self.audio {
            audio.source.restart(&self.input)?;
            audio.pass = pass;
        }
        Ok(())
    }

    fn set_next(&mut self, t: MediaTime) {
        let frame = self.timeline.rate.first_at_or_after(t);
        if self.timeline.looped.is_none() {
            self.timeline.first = frame;
        }
        let packets = t.since(self.timeline.created()).as_micros().div_ceil(PACKET_US.into());
        if let Some(video) = &mut self.video {
            video.next = frame.0;
        }
        if let Some(audio) = &mut self.audio {
            audio.next = u64::try_from(packets).unwrap_or(0) * PACKET_SAMPLES as u64;
        }
    }

    /// The next picture or sound in order of media time; `None` at the end of a live input.
    pub fn next_item(&mut self) -> Result<Option<Item>, Error> {
        let picture = self.video.as_ref().map(|v| self.timeline.rate.time_of(FrameNumber(v.next)));
        let sound =
            self.audio.as_ref().map(|a| time_of_sample(self.timeline.created(), a.next as i64));
        match (picture, sound) {
            (Some(picture), Some(sound)) if sound < picture => self.next_sound(),
            (Some(_), _) => self.next_picture(),
            (None, _) => self.next_sound(),
        }
    }

    fn next_picture(&mut self) -> Result<Option<Item>, Error> {
        let Some(video) = &mut self.video else { return Ok(None) };
        let n = FrameNumber(video.next);
        let (pass, time) = self.timeline.frame_in_file(n);
        while video.pass < pass {
            video.source.next_pass(&mut self.input)?;
            video.pass += 1;
        }
        let picture = video.source.at(&mut self.input, time)?;
        let half = self.timeline.rate.interval().as_nanos() as i64 / 2;
        if self.timeline.looped.is_none() && video.source.is_past_end(time - half) {
            return Ok(None);
        }
        video.next += 1;
        Ok(Some(Item::Video(n, picture)))
    }

    fn next_sound(&mut self) -> Result<Option<Item>, Error> {
        let Some(audio) = &mut self.audio else { return Ok(None) };
        let position = audio.next;
        let end = position + PACKET_SAMPLES as u64;
        let mut samples = Vec::with_capacity(PACKET_SAMPLES * 2);
        while audio.next < end {
            // A packet may lie across the seam of two loops.
            let (pass, from) = self.timeline.sample_in_file(audio.next);
            let rest = self.timeline.looped.map_or(u64::MAX, |l| l.samples - from as u64);
            let count = rest.min(end - audio.next);
            while audio.pass < pass {
                audio.source.next_pass(&mut self.input)?;
                audio.pass += 1;
            }
            audio.source.read(&mut self.input, from, from + count as i64, &mut samples)?;
            audio.next += count;
        }
        if self.timeline.looped.is_none() && self.video.is_none() && audio.source.is_empty() {
            return Ok(None);
        }
        let time = time_of_sample(self.timeline.created(), position as i64);
        Ok(Some(Item::Audio(SoundBlock { position, time, samples })))
    }
}

fn read_captions(path: &PathBuf) -> Result<Vec<captions::Caption>, Error> {
    let file = path.display().to_string();
    let too_long = || io::Error::new(io::ErrorKind::FileTooLarge, "more than 16 MiB");
    let read = || match fs::metadata(path)?.len() {
        0..=MAX_CAPTION_FILE => fs::read_to_string(path),
        _ => Err(too_long()),
    };
    let text = read().map_err(|reason| Error::CaptionFile { file: file.clone(), reason })?;
    captions::parse(&text).map_err(|reason| Error::Captions { file, reason })
}

/// How the input is looped at `rate`; not at all if its length is unknown.
fn loop_of(input: &Input, rate: FrameRate) -> Result<Option<Loop>, Error> {
    let Some(duration) = input.duration else { return Ok(None) };
    let per_second = u128::from(rate.den()) * 1_000_000_000;
    let frames = (duration as u128 * u128::from(rate.num()) + per_second / 2) / per_second;
    let frames = u64::try_from(frames).unwrap_or(u64::MAX);
    let step = Loop::step(rate);
    let file = || input.file.clone();
    Loop::of(frames, rate).map(Some).ok_or_else(|| Error::Loop { file: file(), frames, rate, step })
}

/// A common rate within 0.2 % of the mean rate of an input, else the nearest whole number of frames
/// per second: so that loops are whole in samples, too.
fn usual_rate(mean: Option<Rational>) -> FrameRate {
    const COMMON: [(u32, u32); 8] = [
        (24, 1),
        (24_000, 1001),
        (25, 1),
        (30, 1),
        (30_000, 1001),
        (50, 1),
        (60, 1),
        (60_000, 1001),
    ];
    let mean = mean.map_or(f64::from(NOMINAL_RATE.0), f64::from);
    let near = |(num, den): &(u32, u32)| (mean * f64::from(*den) / f64::from(*num) - 1.0).abs();
    let (num, den) = COMMON
        .into_iter()
        .min_by(|a, b| near(a).total_cmp(&near(b)))
        .filter(|rate| near(rate) < 0.002)
        .unwrap_or((mean.round().clamp(1.0, 240.0) as u32, 1));
    FrameRate::new(num, den).expect("one of the above")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_a_common_one_near_the_mean() {
        let cases = [
            ((24, 1), "24"),
            ((24_000, 1001), "24000/1001"),
            ((2997, 100), "30000/1001"),
            ((722_000, 30_083), "24"),
            ((15, 1), "15"),
            ((123_457, 10_000), "12"),
            ((90_000, 1), "240"),
            ((1, 2), "1"),
        ];
        for ((num, den), rate) in cases {
            assert_eq!(usual_rate(Some(Rational(num, den))).to_string(), rate, "{num}/{den}");
        }
        assert_eq!(usual_rate(None).to_string(), "25");
    }
}
