//! The input socket of a segment: decodes what anybody in it works on.

use std::{sync::Arc, time::Duration};

use gibbon_codec::{AudioDecoder, Colour, Error, Scaler, VideoDecoder};
use gibbon_control::work::{Passed, SocketReport};
use gibbon_media::{Catalog, Description, FrameNumber, GroupGrid, MediaTime, Scheme, VideoTrack};

use super::{
    intake::Taken,
    pictures::Step,
    raw::{Raw, RawPicture, RawSound},
};

/// Which media anybody works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Pictures are to be decoded.
    pub pictures: bool,
    /// Sound is to be decoded.
    pub sound: bool,
}

/// Decodes.
pub struct InputSocket {
    catalog: Catalog,
    decoders: [Option<VideoDecoder>; 2],
    scaler: Scaler,
    sound: Option<AudioDecoder>,
    passed: Passed,
    /// The picture, packet or text that would follow, and whether its group has been whole so far.
    due: Option<(MediaTime, bool)>,
}

impl InputSocket {
    /// Of the stream of `catalog`.
    pub fn new(catalog: Catalog) -> Self {
        let (width, height) = catalog.video.as_ref().map_or((2, 2), |v| (v.width, v.height));
        Self {
            catalog,
            decoders: [None, None],
            scaler: Scaler::new(width, height),
            sound: None,
            passed: Passed::default(),
            due: None,
        }
    }

    /// For the worker's report; `missing` is what the intake has missed.
    pub fn report(&self, missing: u64) -> SocketReport {
        let decoders = self.decoders.iter().flatten().count() as u32;
        let passed = Passed { missing: self.passed.missing + missing, ..self.passed };
        let coders = decoders + u32::from(self.sound.is_some());
        SocketReport { coders, passed, ..SocketReport::default() }
    }

    /// Decodes what comes next, as far as that is needed. A step that cannot be decoded comes back.
    pub fn take(&mut self, taken: Taken, needs: Needs) -> Result<Option<Raw>, Step> {
        match taken {
            Taken::Picture(step) => self.picture(step, needs.pictures),
            Taken::Sound { time, follows, packet, stamp } => {
                let Some(audio) = &self.catalog.audio else { return Ok(None) };
                let length = Duration::from_micros(audio.packet_us.into());
                if self.catalog.video.is_none() {
                    self.count(time, time + length);
                }
                let samples = if needs.sound { self.decode_sound(&packet, follows) } else { None };
                if !needs.sound {
                    self.sound = None;
                    self.passed.untouched += 1;
                }
                let packet = Some(packet);
                Ok(Some(Raw::Sound(RawSound { time, length, samples, packet, stamp })))
            }
            Taken::Text(text) => {
                if self.catalog.video.is_none() && self.catalog.audio.is_none() {
                    self.passed.groups += 1;
                }
                self.passed.untouched += text.cues.len() as u64;
                Ok(Some(Raw::Text(text)))
            }
        }
    }

    fn picture(&mut self, step: Step, needed: bool) -> Result<Option<Raw>, Step> {
        let Some(VideoTrack { rate, codec, .. }) = self.catalog.video else { return Ok(None) };
        // Two chains at once make no chain.
        let passes = self.catalog.scheme != Scheme::Temporal;
        let slot = &mut self.decoders[step.chain.description.index()];
        if !needed {
            *slot = None;
        } else if step.fresh {
            match slot {
                Some(decoder) => decoder.reset(),
                None => *slot = VideoDecoder::new(codec).ok(),
            }
        }
        let (mut picture, mut colour) = (None, Colour::default());
        if let Some(decoder) = slot {
            for frame in &step.feed {
                match decoder.decode(&frame.payload) {
                    Ok(decoded) => picture = Some(decoded),
                    Err(_) => return Err(step),
                }
                self.passed.pictures += 1;
            }
            colour = decoder.colour();
            picture = match picture.map(|picture| self.scaler.scale(&picture)).transpose() {
                Ok(picture) => picture,
                Err(_) => return Err(step),
            };
        } else {
            self.passed.untouched += 1;
        }
        self.count(rate.time_of(step.n), rate.time_of(FrameNumber(step.n.0 + 1)));
        let Step { n, mut feed, follows, stamp, .. } = step;
        let coded = feed.pop().filter(|_| passes).map(|frame| (frame, follows));
        Ok(Some(Raw::Picture(RawPicture { n, picture, colour, coded, stamp })))
    }

    fn decode_sound(&mut self, packet: &[u8], follows: bool) -> Option<Arc<[f32]>> {
        let track = self.catalog.audio.as_ref()?;
        let decoded = match &mut self.sound {
            Some(decoder) => {
                if !follows {
                    decoder.reset();
                }
                decoder.decode(packet)
            }
            None => AudioDecoder::new(track)
                .and_then(|decoder| self.sound.insert(decoder).decode(packet)),
        };
        let counted = decoded.inspect(|_| self.passed.sounds += 1);
        counted.inspect_err(|_: &Error| self.passed.missing += 1).ok().map(Arc::from)
    }

    /// Counts a group when its last item comes, if all before it came.
    fn count(&mut self, time: MediaTime, next: MediaTime) {
        let grid: GroupGrid = self.catalog.grid(Description::Zero);
        let group = grid.group_at(time);
        let begins = time < grid.start_of(group) + next.since(time);
        let whole = begins || self.due.is_some_and(|(due, whole)| whole && due == time);
        self.passed.groups += u64::from(whole && grid.group_at(next) != group);
        self.due = Some((next, whole));
    }
}
