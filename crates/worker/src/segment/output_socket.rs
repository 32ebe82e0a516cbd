//! The output socket of an instance: codes and publishes what comes out of it.

use std::{collections::VecDeque, time::Duration};

use gibbon_codec::{Bitrate, Coded, CoderConfig, Error, GroupCoder};
use gibbon_components::{Coding, Format};
use gibbon_control::work::{Passed, SocketReport};
use gibbon_media::{
    AudioTrack, Catalog, Codec, Description, InstanceId, Medium, ProducerId, StreamName, TextTrack,
    VideoTrack,
};

use super::{
    raw::{Raw, RawPicture, RawSound, RawText, Stamp},
    text_groups::TextGroups,
};
use crate::ipc::FromSegment;

/// Groups over which the delay is averaged.
const DELAYS: usize = 8;

/// What an instance publishes, by the catalog of its segment's input and the format that it makes.
pub fn catalog_of(input: &Catalog, format: &Format, stream: StreamName) -> Catalog {
    let grids = match format.divided {
        true => Catalog::grids_of(format.scheme(), input.grids[0].duration()),
        false => [input.grids[0]; 2],
    };
    let video = format.video.map(|video| VideoTrack {
        codec: Codec::H264,
        rate: video.rate,
        width: video.width,
        height: video.height,
    });
    let audio = format
        .audio
        .zip(input.audio.as_ref())
        .map(|(format, track)| AudioTrack { channels: format.channels, ..track.clone() });
    let text = format.text.clone().map(|language| TextTrack { language });
    let (scheme, created, host) = (format.scheme(), input.created, input.host.clone());
    Catalog { stream, scheme, created, grids, video, audio, text, host }
}

/// Whether an output of this format needs pictures decoded, even if nobody has touched them.
pub fn needs_pictures(format: &Format) -> bool {
    let Coding { crf, kbps, .. } = format.coding;
    format.video.is_some() && (format.divided || crf.is_some() || kbps.is_some())
}

/// Codes and publishes.
pub struct OutputSocket {
    instance: InstanceId,
    catalog: Catalog,
    coder: GroupCoder,
    text: [TextGroups; 2],
    /// Pictures are coded even where they could be passed on as they came.
    recodes: bool,
    leading: Medium,
    announced: bool,
    untouched: u64,
    groups: u64,
    delays: VecDeque<Duration>,
}

impl OutputSocket {
    /// Publishes as `catalog` says, coded as `format` says, under a producer id of its own.
    pub fn new(instance: InstanceId, catalog: Catalog, format: &Format) -> Self {
        let usual = if format.divided { Coding::TO_VIEWERS } else { Coding::BETWEEN };
        let config = CoderConfig {
            crf: format.coding.crf.unwrap_or(usual),
            bitrate: format.coding.kbps.map(|kbps| Bitrate(u64::from(kbps) * 1000)),
            ..CoderConfig::default()
        };
        let leading = match &catalog {
            Catalog { video: Some(_), .. } => Medium::Video,
            Catalog { audio: Some(_), .. } => Medium::Audio,
            _ => Medium::Text,
        };
        Self {
            instance,
            coder: GroupCoder::new(catalog.clone(), &config, ProducerId(rand::random())),
            text: catalog.grids.map(TextGroups::new),
            recodes: needs_pictures(format),
            leading,
            announced: false,
            untouched: 0,
            groups: 0,
            delays: VecDeque::new(),
            catalog,
        }
    }

    /// Whether anything has been published.
    pub fn is_published(&self) -> bool {
        self.announced
    }

    /// For the worker's report.
    pub fn report(&self) -> SocketReport {
        let (pictures, sounds) = self.coder.coded();
        let sum: Duration = self.delays.iter().sum();
        let mean = sum.as_secs_f64() * 1000.0 / self.delays.len().max(1) as f64;
        SocketReport {
            coders: self.coder.coders(),
            passed: Passed {
                pictures,
                sounds,
                untouched: self.untouched,
                groups: self.groups,
                missing: 0,
            },
            delay_ms: (!self.delays.is_empty()).then_some(mean),
            ..SocketReport::default()
        }
    }

    /// Takes the next item at `now`, in the segment's own time; what is to be published goes to `out`.
    pub fn process(
        &mut self,
        now: Duration,
        item: Raw,
        out: &mut Vec<FromSegment>,
    ) -> Result<(), Error> {
        let (stamp, coded) = match item {
            Raw::Picture(picture) => (picture.stamp, self.picture(picture)?),
            Raw::Sound(sound) => (sound.stamp, self.sound(sound)?),
            Raw::Text(text) => (text.stamp, self.text(&text)),
        };
        for coded in coded {
            self.publish(now, stamp, coded, out);
        }
        Ok(())
    }

    fn picture(&mut self, item: RawPicture) -> Result<Vec<Coded>, Error> {
        let us = item.stamp.published_us;
        if let (Some((frame, follows)), false) = (&item.coded, self.recodes) {
            let passed = self.coder.pass_picture(item.n, frame, *follows, us);
            self.untouched += u64::from(passed.is_some());
            return Ok(passed.into_iter().collect());
        }
        let Some(picture) = item.picture else { return Ok(Vec::new()) };
        if self.coder.coders() == 0 {
            self.coder.set_colour(item.colour);
        }
        self.coder.picture(item.n, &picture, us)
    }

    fn sound(&mut self, item: RawSound) -> Result<Vec<Coded>, Error> {
        let us = item.stamp.published_us;
        match (item.packet, item.samples) {
            (Some(packet), _) => {
                let passed = self.coder.pass_sound(item.time, item.length, &packet, us);
                self.untouched += u64::from(!passed.is_empty());
                Ok(passed)
            }
            (None, Some(samples)) => self.coder.sound(item.time, &samples, us),
            (None, None) => Ok(Vec::new()),
        }
    }

    fn text(&mut self, item: &RawText) -> Vec<Coded> {
        if self.catalog.text.is_none() {
            return Vec::new();
        }
        let mut coded = Vec::new();
        for &description in self.catalog.scheme.descriptions() {
            for (group, cues) in self.text[description.index()].push(item) {
                let us = item.stamp.published_us;
                coded.extend(self.coder.text(description, group, &cues, us));
            }
        }
        self.untouched += coded.iter().filter(|coded| coded.frame.is_some()).count() as u64;
        coded
    }

    fn publish(&mut self, now: Duration, stamp: Stamp, coded: Coded, out: &mut Vec<FromSegment>) {
        let instance = self.instance;
        if !self.announced {
            self.announced = true;
            out.push(FromSegment::Catalog { instance, catalog: Box::new(self.catalog.clone()) });
        }
        let Coded { description, header, index, frame, group_end } = coded;
        if header.medium == self.leading && description == Description::Zero {
            self.groups += u64::from(group_end);
            if index == 0 {
                self.delays.push_back(now.saturating_sub(stamp.arrived));
                self.delays.drain(..self.delays.len().saturating_sub(DELAYS));
            }
        }
        let frames = index + u32::from(frame.is_some());
        if let Some(frame) = frame {
            out.push(FromSegment::Frame { instance, description, header, index, frame });
        }
        if group_end {
            out.push(FromSegment::GroupEnd { instance, description, header, frames });
        }
    }
}
