//! From pictures, sound and cues to frames in groups: what is published.

use std::time::Duration;

use bytes::Bytes;
use gibbon_mdc::{Rendition, deal};
use gibbon_media::{
    Catalog, Cue, Description, Frame, FrameFlags, FrameNumber, GroupHeader, GroupId, MediaTime,
    Medium, ProducerId,
};

use crate::{
    AudioEncoder, CoderConfig, Colour, Error, PACKET_SAMPLES, PACKET_US, Picture, SAMPLE_RATE,
    renditions::Renditions,
};

/// What is to be published next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coded {
    /// In which description.
    pub description: Description,
    /// The header of the group; `published_us` is what was given with its first frame.
    pub header: GroupHeader,
    /// The position of the frame in its group, from 0 on. Without a frame: the number of frames.
    pub index: u32,
    /// The frame; `None` only where a group ends without another one: a text group without cues, or
    /// at the end of the programme.
    pub frame: Option<Frame>,
    /// Whether the group ends here.
    pub group_end: bool,
}

/// Codes media into the descriptions of a stream. The groups follow from the media times alone, so a stream
/// that has passed a component has the group ids that it had.
///
/// Pictures and sound come in order of time. Where some are missing the group is given up: it does not end,
/// and the next one begins anew. Encoders are opened when they are first needed.
pub struct GroupCoder {
    catalog: Catalog,
    config: CoderConfig,
    renditions: Option<Renditions>,
    sound: Option<SoundCoder>,
    tracks: [[Groups; 3]; 2],
    producer: ProducerId,
    packets_coded: u64,
}

/// The groups of one track.
struct Groups {
    /// The first that may be begun.
    first: GroupId,
    open: Option<Open>,
}

/// A group that has begun.
struct Open {
    header: GroupHeader,
    /// The index of the next frame …
    next: u32,
    /// … and its media time.
    due: MediaTime,
}

/// Where a frame belongs.
struct Place {
    group: GroupId,
    /// Whether it is the first of its group.
    starts: bool,
    /// When it is.
    time: MediaTime,
    /// When the next one of the track is, and in which group.
    next: (MediaTime, GroupId),
}

struct SoundCoder {
    encoder: AudioEncoder,
    /// Samples that went in.
    position: i64,
    /// When the next should be.
    due: MediaTime,
}

impl GroupCoder {
    /// A coder of the stream of `catalog`.
    pub fn new(catalog: Catalog, config: &CoderConfig, producer: ProducerId) -> Self {
        let groups = || Groups { first: GroupId(0), open: None };
        let tracks = [(); 2].map(|()| [(); 3].map(|()| groups()));
        let config = config.clone();
        let (renditions, sound) = (None, None);
        Self { catalog, config, renditions, sound, tracks, producer, packets_coded: 0 }
    }

    /// Leaves out the groups that have begun before `start`.
    pub fn start_at(&mut self, start: MediaTime) {
        for (description, tracks) in Description::BOTH.into_iter().zip(&mut self.tracks) {
            let first = self.catalog.grid(description).first_not_begun(start);
            tracks.iter_mut().for_each(|groups| groups.first = first);
        }
    }

    /// What the colours of pictures mean, if none has been coded yet.
    pub fn set_colour(&mut self, colour: Colour) {
        self.config.colour = colour;
    }

    /// Opens the encoders of the pictures and of the sound that there are, so that what does not suit them
    /// shows at once.
    pub fn open(&mut self) -> Result<(), Error> {
        self.renditions()?;
        self.sound = self.open_sound(MediaTime(0))?;
        Ok(())
    }

    /// Encoders that are open.
    pub fn coders(&self) -> u32 {
        let pictures = self.renditions.as_ref().map_or(0, Renditions::coders);
        pictures + u32::from(self.sound.is_some())
    }

    /// Pictures and packets of sound that encoders have made.
    pub fn coded(&self) -> (u64, u64) {
        (self.renditions.as_ref().map_or(0, Renditions::coded), self.packets_coded)
    }

    /// Codes frame `n`.
    pub fn picture(
        &mut self,
        n: FrameNumber,
        picture: &Picture,
        published_us: u64,
    ) -> Result<Vec<Coded>, Error> {
        let mut coded = Vec::new();
        if let Some(renditions) = self.renditions()? {
            renditions.next_picture();
        }
        for description in Description::BOTH {
            let Some((place, share)) = self.place_of(n, description) else { continue };
            let Some(mut placed) = self.put(description, Medium::Video, &place, published_us)
            else {
                continue;
            };
            let Some(renditions) = &mut self.renditions else { continue };
            let payload = renditions.code(n, picture, description, share)?;
            let key = if share.key { FrameFlags::KEY } else { FrameFlags::NONE };
            let primary = match share.rendition {
                Rendition::Primary => FrameFlags::PRIMARY,
                Rendition::Secondary => FrameFlags::NONE,
            };
            placed.frame = Some(Frame { time: place.time, flags: key | primary, payload });
            coded.push(placed);
        }
        Ok(coded)
    }

    /// Publishes frame `n` of a plain stream as it is: it is coded already, and `follows` says whether the one
    /// passed before was the one before in the same copy of its group.
    pub fn pass_picture(
        &mut self,
        n: FrameNumber,
        frame: &Frame,
        follows: bool,
        published_us: u64,
    ) -> Option<Coded> {
        let (place, share) = self.place_of(n, Description::Zero)?;
        if share.key != frame.flags.is_key() || share.key == follows {
            self.tracks[0][Medium::Video.index()].open = None;
            return None;
        }
        let placed = self.put(Description::Zero, Medium::Video, &place, published_us)?;
        let flags = frame.flags | FrameFlags::PRIMARY;
        let frame = Frame { time: place.time, flags, payload: frame.payload.clone() };
        Some(Coded { frame: Some(frame), ..placed })
    }

    /// Codes the next [`PACKET_SAMPLES`] interleaved samples, of which the first is at `time`.
    pub fn sound(
        &mut self,
        time: MediaTime,
        samples: &[f32],
        published_us: u64,
    ) -> Result<Vec<Coded>, Error> {
        if self.sound.as_ref().is_none_or(|sound| sound.due != time) {
            self.sound = self.open_sound(time)?;
        }
        let Some(sound) = &mut self.sound else { return Ok(Vec::new()) };
        let (payload, heard) = sound.encoder.encode(sound.position, samples)?;
        // What is heard first went in that much earlier: 6.5 ms, a whole number of µs.
        let lead = u64::try_from(sound.position - heard).unwrap_or(0);
        let lead = Duration::from_micros(lead * 1_000_000 / u64::from(SAMPLE_RATE));
        let length = Duration::from_micros(PACKET_US.into());
        sound.position += PACKET_SAMPLES as i64;
        sound.due = time + length;
        self.packets_coded += 1;
        Ok(self.pass_sound(time.back(lead), length, &payload, published_us))
    }

    /// Publishes a packet of sound as it is.
    pub fn pass_sound(
        &mut self,
        time: MediaTime,
        length: Duration,
        payload: &Bytes,
        published_us: u64,
    ) -> Vec<Coded> {
        let mut coded = Vec::new();
        for &description in self.catalog.scheme.descriptions() {
            let grid = self.catalog.grid(description);
            let (group, next) = (grid.group_at(time), time + length);
            // A group is whole if it holds its very first packet.
            let starts = time < grid.start_of(group) + length;
            let place = Place { group, starts, time, next: (next, grid.group_at(next)) };
            if let Some(placed) = self.put(description, Medium::Audio, &place, published_us) {
                let frame = Frame { time, flags: FrameFlags::NONE, payload: payload.clone() };
                coded.push(Coded { frame: Some(frame), ..placed });
            }
        }
        coded
    }

    /// Publishes a text group, whole: each at most once, in order.
    pub fn text(
        &mut self,
        description: Description,
        group: GroupId,
        cues: &[Cue],
        published_us: u64,
    ) -> Vec<Coded> {
        let groups = &mut self.tracks[description.index()][Medium::Text.index()];
        if group < groups.first {
            return Vec::new();
        }
        groups.first = group.next();
        let header =
            GroupHeader { medium: Medium::Text, group, producer: self.producer, published_us };
        let frames: Vec<Frame> = cues.iter().filter_map(text_frame).collect();
        let count = frames.len();
        let coded = |(index, frame): (usize, Option<Frame>)| Coded {
            description,
            header,
            index: index as u32,
            frame,
            group_end: index + 1 >= count,
        };
        match count {
            0 => vec![coded((0, None))],
            _ => frames.into_iter().map(Some).enumerate().map(coded).collect(),
        }
    }

    /// At the end of the media: ends the groups that are open.
    pub fn finish(self) -> Vec<Coded> {
        let mut coded = Vec::new();
        for (description, tracks) in Description::BOTH.into_iter().zip(self.tracks) {
            for open in tracks.into_iter().filter_map(|groups| groups.open) {
                let Open { header, next: index, .. } = open;
                coded.push(Coded { description, header, index, frame: None, group_end: true });
            }
        }
        coded
    }

    /// Where `description` carries frame `n`, and how.
    fn place_of(
        &self,
        n: FrameNumber,
        description: Description,
    ) -> Option<(Place, gibbon_mdc::Share)> {
        let rate = self.catalog.video.as_ref()?.rate;
        let dealt =
            |n| deal(self.catalog.scheme, rate, &self.catalog.grids, n)[description.index()];
        let share = dealt(n)?;
        // A description carries every frame or every second one.
        let later = (1..=2).map(|step| FrameNumber(n.0.saturating_add(step)));
        let next = later.filter_map(|n| Some((rate.time_of(n), dealt(n)?.group))).next()?;
        let time = rate.time_of(n);
        Some((Place { group: share.group, starts: share.key, time, next }, share))
    }

    /// The header and index of a frame, which is to be put in; `None` if it is left out.
    fn put(
        &mut self,
        description: Description,
        medium: Medium,
        place: &Place,
        published_us: u64,
    ) -> Option<Coded> {
        let groups = &mut self.tracks[description.index()][medium.index()];
        let continues = |open: &Open| open.header.group == place.group && open.due == place.time;
        let (header, index) = match groups.open.take().filter(continues) {
            Some(open) => (open.header, open.next),
            None if !place.starts || place.group < groups.first => return None,
            None => {
                groups.first = place.group.next();
                let &Place { group, .. } = place;
                (GroupHeader { medium, group, producer: self.producer, published_us }, 0)
            }
        };
        let group_end = place.next.1 != place.group;
        if !group_end {
            groups.open = Some(Open { header, next: index + 1, due: place.next.0 });
        }
        Some(Coded { description, header, index, frame: None, group_end })
    }

    fn renditions(&mut self) -> Result<Option<&mut Renditions>, Error> {
        if let (None, Some(video)) = (&self.renditions, &self.catalog.video) {
            self.renditions = Some(Renditions::new(&self.catalog, video, &self.config)?);
        }
        Ok(self.renditions.as_mut())
    }

    fn open_sound(&self, due: MediaTime) -> Result<Option<SoundCoder>, Error> {
        let Some(audio) = &self.catalog.audio else { return Ok(None) };
        let encoder = AudioEncoder::new(audio.channels, self.config.audio_bitrate)?;
        Ok(Some(SoundCoder { encoder, position: 0, due }))
    }
}

/// A cue as a frame: JSON.
fn text_frame(cue: &Cue) -> Option<Frame> {
    let json = serde_json::to_vec(cue).ok()?;
    Some(Frame { time: cue.start, flags: FrameFlags::NONE, payload: Bytes::from(json) })
}
