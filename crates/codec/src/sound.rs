//! The sound of an input as a continuous stream of samples at 48 kHz.

use std::collections::VecDeque;

use ffmpeg_next::{
    self as ffmpeg, ChannelLayout, decoder, frame, software::resampling::Context as Resampler,
};

use crate::{
    Error, SAMPLE_RATE,
    ffmpeg::AGAIN,
    input::{Input, Kind, Read},
    samples::{F32, interleaved},
};

/// Time stamps that are off by less are a container's rounding, in samples: 50 ms.
const TOLERANCE: i64 = 2400;
/// A gap in the input that is filled with silence is at most this long, in samples: 60 s.
const MAX_GAP: i64 = 60 * SAMPLE_RATE as i64;
/// Packets that cannot be decoded, in a row, before the input is given up as damaged.
const MAX_DAMAGED_IN_A_ROW: u32 = 5000;

/// Decodes sound to interleaved samples; positions count samples per channel from the file's time 0.
pub(crate) struct Sound {
    decoder: decoder::Audio,
    resampler: Option<Resampler>,
    channels: u8,
    /// Decoded and not yet taken, the first at `position`.
    ready: VecDeque<f32>,
    position: i64,
    /// The position that the next decoded frame should have.
    expected: Option<i64>,
    ended: bool,
    damaged_in_a_row: u32,
}

impl Sound {
    /// Opens a decoder; more than two channels are mixed down to two.
    pub(crate) fn open(input: &Input) -> Result<Self, Error> {
        let decoder = open_decoder(input)?;
        let channels = decoder.channels().clamp(1, 2) as u8;
        Ok(Self {
            decoder,
            resampler: None,
            channels,
            ready: VecDeque::new(),
            position: 0,
            expected: None,
            ended: false,
            damaged_in_a_row: 0,
        })
    }

    pub(crate) fn channels(&self) -> u8 {
        self.channels
    }

    /// Appends the samples from `from` (not before that of the last call in this pass) to `to`,
    /// silence where the input has none.
    pub(crate) fn read(
        &mut self,
        input: &mut Input,
        from: i64,
        to: i64,
        out: &mut Vec<f32>,
    ) -> Result<(), Error> {
        let channels = usize::from(self.channels);
        while self.end() < to && !self.ended {
            self.drop_before(from);
            self.decode(input)?;
        }
        self.drop_before(from);
        let silent = (self.position.clamp(from, to) - from) as usize;
        out.resize(out.len() + silent * channels, 0.0);
        let wanted = (to - from) as usize * channels - silent * channels;
        let taken = self.ready.len().min(wanted);
        out.extend(self.ready.drain(..taken));
        self.position += (taken / channels) as i64;
        out.resize(out.len() + wanted - taken, 0.0);
        Ok(())
    }

    /// Whether the input has ended and all of it was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.ended && self.ready.is_empty()
    }

    /// On to the next pass through the input.
    pub(crate) fn next_pass(&mut self, input: &mut Input) -> Result<(), Error> {
        if !self.ended {
            while let Read::Packet(_) = input.next(Kind::Sound)? {}
        }
        self.restart(input)
    }

    /// Forgets what was decoded: the input has been repositioned. A new decoder, as some keep a state
    /// beyond a flush (AAC its noise), which would make loops differ.
    pub(crate) fn restart(&mut self, input: &Input) -> Result<(), Error> {
        self.decoder = open_decoder(input)?;
        self.ready.clear();
        (self.resampler, self.expected, self.ended, self.position) = (None, None, false, 0);
        Ok(())
    }

    fn end(&self) -> i64 {
        self.position + (self.ready.len() / usize::from(self.channels)) as i64
    }

    fn drop_before(&mut self, from: i64) {
        let channels = usize::from(self.channels);
        let early = usize::try_from(from - self.position).unwrap_or(0);
        let early = early.min(self.ready.len() / channels);
        self.ready.drain(..early * channels);
        self.position += early as i64;
    }

    fn decode(&mut self, input: &mut Input) -> Result<(), Error> {
        let mut frame = frame::Audio::empty();
        match self.decoder.receive_frame(&mut frame) {
            Ok(()) => {
                self.damaged_in_a_row = 0;
                let stamp = frame.timestamp().map(|stamp| input.time_of(Kind::Sound, stamp));
                self.align(stamp.map(samples_at));
                let taken = self.resample(&mut frame);
                taken.or_else(|e| self.damage(input, e))
            }
            Err(AGAIN) => {
                let sent = match input.next(Kind::Sound)? {
                    Read::Packet(packet) => self.decoder.send_packet(&packet),
                    Read::End => self.decoder.send_eof(),
                };
                sent.or_else(|e| self.damage(input, e))
            }
            Err(ffmpeg::Error::Eof) => {
                self.ended = true;
                self.flush_resampler();
                Ok(())
            }
            Err(e) => self.damage(input, e),
        }
    }

    /// Makes the next samples come where they belong: after a gap silence is put in, what overlaps
    /// is left out.
    fn align(&mut self, stamp: Option<i64>) {
        let Some(stamp) = stamp else { return };
        match self.expected {
            Some(expected) if (stamp - expected).abs() <= TOLERANCE => {}
            Some(expected) if stamp > expected && stamp - expected <= MAX_GAP => {
                self.flush_resampler();
                let gap = (stamp - self.end()).max(0) as usize * usize::from(self.channels);
                self.ready.resize(self.ready.len() + gap, 0.0);
                self.expected = Some(stamp);
            }
            Some(expected) if stamp < expected && expected - stamp <= MAX_GAP => {
                self.flush_resampler();
                let kept = (stamp - self.position).max(0) as usize * usize::from(self.channels);
                self.ready.truncate(kept);
                self.position = self.position.min(stamp);
                self.expected = Some(stamp);
            }
            // A jump beyond reason: the stamps are not to be believed.
            Some(_) => {}
            None => {
                self.position = stamp;
                self.expected = Some(stamp);
            }
        }
    }

    fn resample(&mut self, frame: &mut frame::Audio) -> Result<(), ffmpeg::Error> {
        if frame.channel_layout().is_empty() {
            frame.set_channel_layout(ChannelLayout::default(frame.channels().into()));
        }
        let rate = frame.rate().max(1);
        let fits = |resampler: &Resampler| {
            let from = resampler.input();
            (from.format, from.rate) == (frame.format(), rate)
                && from.channel_layout == frame.channel_layout()
        };
        if !self.resampler.as_ref().is_some_and(fits) {
            self.flush_resampler();
            self.resampler = Some(Resampler::get(
                frame.format(),
                frame.channel_layout(),
                rate,
                F32,
                ChannelLayout::default(self.channels.into()),
                SAMPLE_RATE,
            )?);
        }
        let samples = frame.samples() as i64 * i64::from(SAMPLE_RATE) / i64::from(rate);
        self.expected = self.expected.map(|expected| expected + samples);
        let mut out = self.room_for(samples);
        if let Some(resampler) = &mut self.resampler {
            resampler.run(frame, &mut out)?;
        }
        self.take(&out);
        Ok(())
    }

    /// Takes what the resampler still holds.
    fn flush_resampler(&mut self) {
        let mut out = self.room_for(0);
        let Some(mut resampler) = self.resampler.take() else { return };
        if resampler.flush(&mut out).is_ok() {
            self.take(&out);
        }
    }

    /// A frame for what the resampler makes of `samples` and of what it holds.
    fn room_for(&self, samples: i64) -> frame::Audio {
        let held = self.resampler.as_ref().and_then(Resampler::delay).map_or(0, |d| d.output);
        // Its rounding is below 64.
        let room = (samples + held).clamp(0, MAX_GAP) as usize + 64;
        frame::Audio::new(F32, room, ChannelLayout::default(self.channels.into()))
    }

    fn take(&mut self, frame: &frame::Audio) {
        self.ready.extend(interleaved(frame, self.channels));
    }

    /// Passes over a damaged packet: the time stamp of the next puts silence in its place.
    fn damage(&mut self, input: &Input, error: ffmpeg::Error) -> Result<(), Error> {
        if self.damaged_in_a_row == 0 {
            tracing::warn!(file = input.file, %error, "damaged sound is passed over");
        }
        self.damaged_in_a_row += 1;
        if self.damaged_in_a_row > MAX_DAMAGED_IN_A_ROW {
            return Err(
                input.damaged(format!("{MAX_DAMAGED_IN_A_ROW} bad packets of sound in a row"))
            );
        }
        Ok(())
    }
}

fn open_decoder(input: &Input) -> Result<decoder::Audio, Error> {
    let (context, codec) = input.decoder(Kind::Sound)?;
    let opened = context.open_as(codec).and_then(|opened| opened.audio());
    opened.map_err(|e| input.damaged(format!("{}: {e}", codec.name())))
}

/// The sample at a file time.
fn samples_at(time: i64) -> i64 {
    let scaled = i128::from(time) * i128::from(SAMPLE_RATE);
    (scaled + 500_000_000).div_euclid(1_000_000_000) as i64
}
