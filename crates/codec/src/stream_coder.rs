//! From media to published frames: codes a programme into two descriptions.

use std::time::Duration;

use bytes::Bytes;
use gibbon_mdc::{Rendition, Share, deal};
use gibbon_media::{
    Catalog, Description, Frame, FrameFlags, FrameNumber, GroupHeader, GroupId, MediaTime, Medium,
    ProducerId, Scheme, VideoTrack,
};

use crate::{
    AudioEncoder, Bitrate, CoderConfig, CueSheet, Error, Item, PACKET_US, Picture, RateControl,
    SAMPLE_RATE, Scaler, SoundBlock, VideoEncoder, VideoSettings,
};

/// The bit rate that CRF may reach, in bits per pixel: a bound, far above what film takes.
const MAX_BITS_PER_PIXEL: f64 = 1.0;

/// What is to be published next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coded {
    /// In which description.
    pub description: Description,
    /// The header of the group; `published_us` is when its first frame was coded.
    pub header: GroupHeader,
    /// The position of the frame in its group, from 0 on. Without a frame: the number of frames.
    pub index: u32,
    /// The frame; `None` only where a group ends without another one: a text group without cues, or
    /// at the end of the programme.
    pub frame: Option<Frame>,
    /// Whether the group ends here.
    pub group_end: bool,
}

/// Codes the items of a programme into the descriptions of a stream.
///
/// Each description begins with its first group that has not begun at `start`; what comes before is
/// left out, so that no group is published in part. Text groups are published as soon as anything at
/// or after their start is coded.
pub struct StreamCoder {
    catalog: Catalog,
    renditions: Option<Renditions>,
    audio: Option<AudioEncoder>,
    cues: CueSheet,
    tracks: [[Groups; 3]; 2],
}

/// The groups of one track: where it begins and what is open.
struct Groups {
    producer: ProducerId,
    medium: Medium,
    first: GroupId,
    open: Option<(GroupHeader, u32)>,
}

impl Groups {
    /// The header and index of the next frame, which is in `group`; `None` if that is left out.
    fn place(&mut self, group: GroupId, starts: bool, now_us: u64) -> Option<(GroupHeader, u32)> {
        let &mut Groups { medium, producer, .. } = self;
        let place = match self.open {
            Some((header, next)) if header.group == group => (header, next),
            _ if group < self.first || !starts => return None,
            _ => (GroupHeader { medium, group, producer, published_us: now_us }, 0),
        };
        self.open = Some((place.0, place.1 + 1));
        Some(place)
    }
}

impl StreamCoder {
    /// A coder of the stream of `catalog`, whose programme is to be started at `start`.
    pub fn new(
        catalog: Catalog,
        config: &CoderConfig,
        producer: ProducerId,
        cues: CueSheet,
        start: MediaTime,
    ) -> Result<Self, Error> {
        let video = catalog.video.as_ref();
        let renditions = video.map(|video| Renditions::new(&catalog, video, config)).transpose()?;
        let audio = catalog.audio.as_ref();
        let audio = audio.map(|audio| AudioEncoder::new(audio.channels, config.audio_bitrate));
        let tracks = Description::BOTH.map(|description| {
            let first = catalog.grid(description).first_not_begun(start);
            Medium::ALL.map(|medium| Groups { producer, medium, first, open: None })
        });
        Ok(Self { catalog, renditions, audio: audio.transpose()?, cues, tracks })
    }

    /// Codes the next item of the programme. `now_us` is the wall-clock time in µs since the epoch.
    pub fn code(&mut self, item: &Item, now_us: u64) -> Result<Vec<Coded>, Error> {
        let mut coded = Vec::new();
        match item {
            Item::Video(n, picture) => {
                if let Some(video) = &self.catalog.video {
                    self.code_text(video.rate.time_of(*n), now_us, &mut coded);
                }
                self.code_video(*n, picture, now_us, &mut coded)?;
            }
            Item::Audio(block) => {
                self.code_text(block.time, now_us, &mut coded);
                self.code_audio(block, now_us, &mut coded)?;
            }
        }
        Ok(coded)
    }

    /// At the end of a live programme: ends the groups that are open.
    pub fn finish(self) -> Vec<Coded> {
        let mut coded = Vec::new();
        for (description, tracks) in Description::BOTH.into_iter().zip(self.tracks) {
            for (header, index) in tracks.into_iter().filter_map(|groups| groups.open) {
                coded.push(Coded { description, header, index, frame: None, group_end: true });
            }
        }
        coded
    }

    fn code_video(
        &mut self,
        n: FrameNumber,
        picture: &Picture,
        now_us: u64,
        out: &mut Vec<Coded>,
    ) -> Result<(), Error> {
        let (Some(video), Some(renditions)) = (&self.catalog.video, &mut self.renditions) else {
            return Ok(());
        };
        let dealt = |n| deal(self.catalog.scheme, video.rate, &self.catalog.grids, n);
        renditions.next_picture();
        for (description, share) in Description::BOTH.into_iter().zip(dealt(n)) {
            let Some(share) = share else { continue };
            let groups = &mut self.tracks[description.index()][Medium::Video.index()];
            let Some((header, index)) = groups.place(share.group, share.key, now_us) else {
                continue;
            };
            let payload = renditions.code(n, picture, description, share)?;
            let key = if share.key { FrameFlags::KEY } else { FrameFlags::NONE };
            let primary = match share.rendition {
                Rendition::Primary => FrameFlags::PRIMARY,
                Rendition::Secondary => FrameFlags::NONE,
            };
            let frame = Frame { time: video.rate.time_of(n), flags: key | primary, payload };
            // A description carries every frame or every second one.
            let next = (1..=2).find_map(|step| dealt(FrameNumber(n.0 + step))[description.index()]);
            let group_end = next.is_none_or(|next| next.key);
            if group_end {
                groups.open = None;
            }
            out.push(Coded { description, header, index, frame: Some(frame), group_end });
        }
        Ok(())
    }

    fn code_audio(
        &mut self,
        block: &SoundBlock,
        now_us: u64,
        out: &mut Vec<Coded>,
    ) -> Result<(), Error> {
        let Some(encoder) = &mut self.audio else { return Ok(()) };
        let position = i64::try_from(block.position).unwrap_or(i64::MAX);
        let (payload, heard) = encoder.encode(position, &block.samples)?;
        // What is heard first went in that much earlier: 6.5 ms, a whole number of µs.
        let lead = u64::try_from(position - heard).unwrap_or(0);
        let time =
            block.time.back(Duration::from_micros(lead * 1_000_000 / u64::from(SAMPLE_RATE)));
        let next = time + Duration::from_micros(PACKET_US.into());
        for &description in self.catalog.scheme.descriptions() {
            let grid = self.catalog.grid(description);
            let group = grid.group_at(time);
            // A group is whole if it holds its very first packet.
            let starts = time.0 < grid.start_of(group).0 + u64::from(PACKET_US);
            let groups = &mut self.tracks[description.index()][Medium::Audio.index()];
            let Some((header, index)) = groups.place(group, starts, now_us) else { continue };
            let group_end = grid.group_at(next) != group;
            if group_end {
                groups.open = None;
            }
            let frame = Frame { time, flags: FrameFlags::NONE, payload: payload.clone() };
            out.push(Coded { description, header, index, frame: Some(frame), group_end });
        }
        Ok(())
    }

    /// Publishes the text groups that have begun by `time`, whole.
    fn code_text(&mut self, time: MediaTime, now_us: u64, out: &mut Vec<Coded>) {
        if self.catalog.text.is_none() {
            return;
        }
        for &description in self.catalog.scheme.descriptions() {
            let grid = self.catalog.grid(description);
            let groups = &mut self.tracks[description.index()][Medium::Text.index()];
            while grid.start_of(groups.first) <= time {
                let group = groups.first;
                groups.first = group.next();
                let &mut Groups { medium, producer, .. } = groups;
                let header = GroupHeader { medium, group, producer, published_us: now_us };
                let cues = self.cues.overlapping(grid.start_of(group), grid.end_of(group));
                let frames: Vec<Frame> = cues.iter().filter_map(text_frame).collect();
                let count = frames.len();
                let coded = |index: usize, frame, group_end| Coded {
                    description,
                    header,
                    index: index as u32,
                    frame,
                    group_end,
                };
                if count == 0 {
                    out.push(coded(0, None, true));
                }
                let frames = frames.into_iter().enumerate();
                out.extend(frames.map(|(i, frame)| coded(i, Some(frame), i + 1 == count)));
            }
        }
    }
}

/// A cue as a frame: JSON.
fn text_frame(cue: &gibbon_media::Cue) -> Option<Frame> {
    let json = serde_json::to_vec(cue).ok()?;
    Some(Frame { time: cue.start, flags: FrameFlags::NONE, payload: Bytes::from(json) })
}

/// The encoders of a stream, one per bitstream that is made.
struct Renditions {
    scheme: Scheme,
    encoders: Vec<(Scaler, VideoEncoder)>,
    /// What each encoder made of the current picture.
    payloads: Vec<Option<Bytes>>,
}

impl Renditions {
    fn new(catalog: &Catalog, video: &VideoTrack, config: &CoderConfig) -> Result<Self, Error> {
        let primary = VideoSettings {
            codec: video.codec,
            width: video.width,
            height: video.height,
            rate: video.rate,
            every: 1,
            preset: config.preset,
            control: RateControl::Mean(Bitrate(0)),
            buffer: catalog.grids[0].duration(),
            colour: config.colour,
        };
        let settings = match catalog.scheme {
            Scheme::Alternating => {
                let (width, height) = config.secondary.size((video.width, video.height));
                let coarser =
                    VideoSettings { width, height, preset: config.secondary_preset, ..primary };
                let part = config.secondary.part();
                let crf = config.crf + config.secondary.crf_offset();
                vec![
                    controlled(primary, config, config.crf, 1.0 - part),
                    controlled(coarser, config, crf, part),
                ]
            }
            Scheme::Temporal => {
                let half = VideoSettings { every: 2, ..primary };
                vec![controlled(half, config, config.crf, 0.5); 2]
            }
            Scheme::Duplicate => vec![controlled(primary, config, config.crf, 0.5)],
            Scheme::Plain => vec![controlled(primary, config, config.crf, 1.0)],
        };
        let open = |settings: &VideoSettings| {
            let scaler = Scaler::new(settings.width, settings.height);
            Ok((scaler, VideoEncoder::new(settings)?))
        };
        let encoders = settings.iter().map(open).collect::<Result<Vec<_>, Error>>()?;
        let payloads = vec![None; encoders.len()];
        Ok(Self { scheme: catalog.scheme, encoders, payloads })
    }

    fn next_picture(&mut self) {
        self.payloads.fill(None);
    }

    /// The bytes of `description`'s share of picture `n`; coded once for both.
    fn code(
        &mut self,
        n: FrameNumber,
        picture: &Picture,
        description: Description,
        share: Share,
    ) -> Result<Bytes, Error> {
        let which = match (self.scheme, share.rendition) {
            (Scheme::Temporal, _) => description.index(),
            (_, Rendition::Primary) => 0,
            (_, Rendition::Secondary) => 1,
        };
        if let Some(payload) = &self.payloads[which] {
            return Ok(payload.clone());
        }
        let (scaler, encoder) = &mut self.encoders[which];
        let payload = encoder.encode(n, &scaler.scale(picture)?, share.key)?;
        self.payloads[which] = Some(payload.clone());
        Ok(payload)
    }
}

/// `settings` at a quality, or at a part of the bit rate asked for. In `alternating` each description
/// carries each rendition half of the time, so that both together carry each once.
fn controlled(settings: VideoSettings, config: &CoderConfig, crf: f32, part: f64) -> VideoSettings {
    let pixels = f64::from(settings.width) * f64::from(settings.height);
    let per_second = settings.rate.as_f64() / f64::from(settings.every);
    let max = Bitrate((pixels * per_second * MAX_BITS_PER_PIXEL) as u64);
    let control = match config.bitrate {
        Some(Bitrate(total)) => RateControl::Mean(Bitrate((total as f64 * part) as u64)),
        None => RateControl::Crf { crf: crf.clamp(0.0, 51.0), max },
    };
    VideoSettings { control, ..settings }
}
