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

/// What a decoder of sound has to hear before what it makes is right (RFC 7845, section 4.6). Until then quiet sound
/// comes out four times too loud; there is silence instead. (Were there nothing, outputs would leave out the whole
/// group that begins there.)
const PRIMING: Duration = Duration::from_millis(80);

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
    /// The decoder, and from when on what it makes is right.
    sound: Option<(AudioDecoder, MediaTime)>,
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
                let samples =
                    if needs.sound { self.decode_sound(time, &packet, follows) } else { None };
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

    fn decode_sound(
        &mut self,
        time: MediaTime,
        packet: &[u8],
        follows: bool,
    ) -> Option<Arc<[f32]>> {
        let track = self.catalog.audio.as_ref()?;
        let begins = |decoder| (decoder, time + PRIMING);
        let sound = match self.sound.take() {
            Some(sound) if follows => Ok(sound),
            Some((mut decoder, _)) => {
                decoder.reset();
                Ok(begins(decoder))
            }
            None => AudioDecoder::new(track).map(begins),
        };
        let decoded = sound.and_then(|sound| {
            let (decoder, right_from) = self.sound.insert(sound);
            let mut samples = decoder.decode(packet)?;
            if time < *right_from {
                samples.fill(0.0);
            }
            Ok(samples)
        });
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use gibbon_codec::{AudioEncoder, Bitrate, PACKET_SAMPLES, PACKET_US};
    use gibbon_media::AudioTrack;

    use super::*;

    const PACKET: u64 = PACKET_US as u64;

    fn catalog() -> Catalog {
        Catalog {
            stream: "live/bbb".parse().unwrap(),
            scheme: Scheme::Plain,
            created: MediaTime(0),
            grids: Catalog::grids_of(Scheme::Plain, Duration::from_secs(1)),
            video: None,
            audio: Some(AudioTrack { sample_rate: 48_000, channels: 1, packet_us: PACKET_US }),
            text: None,
            host: String::new(),
        }
    }

    /// Packets of a chord, at most 0.75 loud.
    fn packets(count: usize) -> Vec<Bytes> {
        let mut encoder = AudioEncoder::new(1, Bitrate(96_000)).unwrap();
        let sine = |at: usize, hertz: f32| {
            (at as f32 / 48_000.0 * hertz * std::f32::consts::TAU).sin() / 4.0
        };
        let sample = |at: usize| sine(at, 220.0) + sine(at, 277.0) + sine(at, 330.0);
        let mut code = |n: usize| {
            let first = n * PACKET_SAMPLES;
            let samples: Vec<f32> = (first..first + PACKET_SAMPLES).map(sample).collect();
            encoder.encode(first as i64, &samples).unwrap().0
        };
        (0..count).map(&mut code).collect()
    }

    #[test]
    fn sound_that_is_joined_is_silent_until_the_decoder_is_primed_and_right_from_then_on() {
        let (packets, catalog) = (packets(60), catalog());
        let mut whole = AudioDecoder::new(catalog.audio.as_ref().unwrap()).unwrap();
        let whole: Vec<_> = packets.iter().map(|p| whole.decode(p).unwrap()).collect();
        let mut socket = InputSocket::new(catalog);
        let needs = Needs { pictures: false, sound: true };
        // Joined at 20, with a gap before 40.
        for n in (20..35).chain(40..60) {
            let time = MediaTime(n as u64 * PACKET);
            let (packet, follows) = (packets[n].clone(), n != 20 && n != 40);
            let stamp = Default::default();
            let taken = Taken::Sound { time, follows, packet, stamp };
            let Ok(Some(Raw::Sound(RawSound { samples: Some(samples), .. }))) =
                socket.take(taken, needs)
            else {
                panic!("no sound of {n}");
            };
            let silent = (20..24).contains(&n) || (40..44).contains(&n);
            let off = samples.iter().zip(&whole[n]).map(|(a, b)| (a - b).abs());
            let off = off.fold(0.0, f32::max);
            assert_eq!(samples.iter().all(|s| *s == 0.0), silent, "{n}");
            assert!(silent || off < 0.15, "{n} is off by {off}");
        }
    }
}
