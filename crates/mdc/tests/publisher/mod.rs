//! A pretended publisher, network and viewer.

#![allow(dead_code, clippy::unwrap_used)] // each test file uses its part

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use gibbon_mdc::{Admission, Due, Merger, Rendition, Shown, Sound, deal};
use gibbon_media::{
    AudioTrack, Catalog, Codec, Cue, Description, Frame, FrameFlags, FrameNumber, FrameRate,
    GroupHeader, GroupId, MediaTime, Medium, ProducerId, Scheme, TextTrack, VideoTrack,
};

pub const SECOND: Duration = Duration::from_secs(1);
/// Where the tests' media begin: the start of group 1000.
pub const ORIGIN: MediaTime = MediaTime(1_000_000_000);
/// When the viewer comes, since session start.
pub const JOINED: Duration = Duration::from_secs(3);

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Video and sound and text, in groups of 1 s and sound in packets of 20 ms.
pub fn catalog(scheme: Scheme, rate: FrameRate) -> Catalog {
    Catalog {
        stream: "live/test".parse().unwrap(),
        scheme,
        created: ORIGIN,
        grids: Catalog::grids_of(scheme, SECOND),
        video: Some(VideoTrack { codec: Codec::H264, rate, width: 640, height: 360 }),
        audio: Some(AudioTrack { sample_rate: 48_000, channels: 2, packet_us: 20_000 }),
        text: Some(TextTrack { language: "en".into() }),
        host: "host".into(),
    }
}

/// A frame on its way, or the end of a group (`frame` is `None`, `index` the number of its frames).
#[derive(Debug, Clone)]
pub struct Parcel {
    pub description: Description,
    pub header: GroupHeader,
    pub index: u32,
    pub frame: Option<Frame>,
}

impl Parcel {
    /// When it is published: its media time, or the start of its group for text.
    pub fn published(&self, catalog: &Catalog) -> MediaTime {
        match &self.frame {
            Some(frame) if self.header.medium != Medium::Text => frame.time,
            _ => catalog.grid(self.description).start_of(self.header.group),
        }
    }
}

pub fn header(medium: Medium, group: GroupId, producer: u64) -> GroupHeader {
    GroupHeader { medium, group, producer: ProducerId(producer), published_us: 0 }
}

/// All pictures of `seconds` from `ORIGIN` on, and of the groups of the 2 s before.
pub fn video(catalog: &Catalog, seconds: u64, producer: u64) -> Vec<Parcel> {
    let rate = catalog.video.as_ref().unwrap().rate;
    let first = rate.first_at_or_after(ORIGIN.back(2 * SECOND)).0;
    let end = rate.first_at_or_after(ORIGIN + ms(seconds * 1000)).0;
    let mut frames_in: BTreeMap<(Description, GroupId), u32> = BTreeMap::new();
    let mut parcels = Vec::new();
    for n in (first..end).map(FrameNumber) {
        for (share, description) in
            deal(catalog.scheme, rate, &catalog.grids, n).into_iter().zip(Description::BOTH)
        {
            let Some(share) = share else { continue };
            let index = frames_in.entry((description, share.group)).or_default();
            let key = if share.key { FrameFlags::KEY } else { FrameFlags::NONE };
            let primary = match share.rendition {
                Rendition::Primary => FrameFlags::PRIMARY,
                Rendition::Secondary => FrameFlags::NONE,
            };
            let payload = Bytes::from(format!("{description} {}", n.0));
            let frame = Frame { time: rate.time_of(n), flags: key | primary, payload };
            let header = header(Medium::Video, share.group, producer);
            parcels.push(Parcel { description, header, index: *index, frame: Some(frame) });
            *index += 1;
        }
    }
    // What was cut off at the beginning is no group.
    let first = ORIGIN.back(2 * SECOND);
    parcels.retain(|p| catalog.grid(p.description).start_of(p.header.group) >= first);
    parcels
}

/// All sound of `seconds` from `ORIGIN` on, in both descriptions.
pub fn audio(catalog: &Catalog, seconds: u64) -> Vec<Parcel> {
    let mut frames_in: BTreeMap<(Description, GroupId), u32> = BTreeMap::new();
    let mut parcels = Vec::new();
    for time in (0..seconds * 50).map(|i| ORIGIN + ms(20 * i)) {
        for description in Description::BOTH {
            let group = catalog.grid(description).group_at(time);
            let index = frames_in.entry((description, group)).or_default();
            let frame =
                Frame { time, flags: FrameFlags::NONE, payload: Bytes::from_static(b"opus") };
            let header = header(Medium::Audio, group, 1);
            parcels.push(Parcel { description, header, index: *index, frame: Some(frame) });
            *index += 1;
        }
    }
    parcels
}

/// A cue from `start` to `end` after `ORIGIN`.
pub fn cue(id: u64, start: Duration, end: Duration) -> Cue {
    Cue { id, start: ORIGIN + start, end: ORIGIN + end, text: format!("cue {id}") }
}

/// All text groups of `seconds` from `ORIGIN` on, in both descriptions, with their ends.
pub fn text(catalog: &Catalog, seconds: u64, cues: &[Cue]) -> Vec<Parcel> {
    let mut parcels = Vec::new();
    for description in Description::BOTH {
        let grid = catalog.grid(description);
        let last = grid.group_at(ORIGIN + (ms(seconds * 1000) - ms(1))).0;
        for group in (grid.group_at(ORIGIN).0..=last).map(GroupId) {
            let header = header(Medium::Text, group, 1);
            let parcel = |index, frame| Parcel { description, header, index, frame };
            let (start, end) = (grid.start_of(group), grid.end_of(group));
            let frames = cues.iter().filter(|cue| cue.start < end && cue.end > start).map(|cue| {
                let payload = serde_json::to_vec(cue).unwrap().into();
                Frame { time: start.max(cue.start), flags: FrameFlags::KEY, payload }
            });
            let frames: Vec<_> = (0..).zip(frames).map(|(i, f)| parcel(i, Some(f))).collect();
            let end = parcel(u32::try_from(frames.len()).unwrap(), None);
            parcels.extend(frames);
            parcels.push(end);
        }
    }
    parcels
}

/// What arrives, and when.
pub type Delivery = (Duration, Parcel);

/// A viewer who joins while `live` is the newest media published.
pub struct Viewer {
    pub merger: Merger,
    catalog: Catalog,
    live: MediaTime,
    pub seen: Vec<Due>,
    pub admissions: Vec<Admission>,
}

impl Viewer {
    /// Joins at `JOINED`, `live` after `ORIGIN`.
    pub fn joins(catalog: &Catalog, config: gibbon_mdc::Config, live: Duration) -> Self {
        let mut merger = Merger::new(catalog.clone(), config);
        let live = ORIGIN + live;
        merger.handle_accepted(JOINED, live);
        let (seen, admissions) = (Vec::new(), Vec::new());
        Self { merger, catalog: catalog.clone(), live, seen, admissions }
    }

    /// When a parcel arrives over a network without delay: on joining, or when it is published.
    pub fn promptly(&self, parcel: &Parcel) -> Duration {
        JOINED + parcel.published(&self.catalog).since(self.live)
    }

    /// Sends everything, each parcel as late as `late` says; `None`: never.
    pub fn send(
        &self,
        parcels: &[Parcel],
        late: impl Fn(&Parcel) -> Option<Duration>,
    ) -> Vec<Delivery> {
        parcels.iter().filter_map(|p| Some((self.promptly(p) + late(p)?, p.clone()))).collect()
    }

    /// Watches until `end`, polling at the deadlines.
    pub fn watch(&mut self, mut deliveries: Vec<Delivery>, end: Duration) {
        deliveries.sort_by_key(|(at, _)| *at);
        let mut deliveries = deliveries.into_iter().peekable();
        loop {
            let deadline = self.merger.next_deadline().filter(|due| *due <= end);
            match deliveries.next_if(|(at, _)| *at <= deadline.unwrap_or(end)) {
                Some((at, parcel)) => self.receive(at, parcel),
                None => match deadline {
                    Some(deadline) => self.poll(deadline),
                    None => return self.poll(end),
                },
            }
        }
    }

    pub fn receive(&mut self, at: Duration, parcel: Parcel) {
        let Parcel { description, header, index, frame } = parcel;
        match frame {
            None => self.merger.handle_group_end(at, description, &header, index),
            Some(frame) => self.admissions.push(self.merger.handle_frame(
                at,
                description,
                &header,
                index,
                frame,
            )),
        }
    }

    pub fn poll(&mut self, now: Duration) {
        while let Some(due) = self.merger.poll(now) {
            self.seen.push(due);
        }
    }

    pub fn shown(&self) -> Vec<Shown> {
        let shown = |due: &Due| match due {
            Due::Video(shown) => Some(*shown),
            _ => None,
        };
        self.seen.iter().filter_map(shown).collect()
    }

    pub fn heard(&self) -> Vec<Sound> {
        let heard = |due: &Due| match due {
            Due::Audio(sound) => Some(sound.clone()),
            _ => None,
        };
        self.seen.iter().filter_map(heard).collect()
    }

    pub fn cues(&self) -> Vec<u64> {
        let cue = |due: &Due| match due {
            Due::Cue(cue) => Some(cue.id),
            _ => None,
        };
        self.seen.iter().filter_map(cue).collect()
    }
}
