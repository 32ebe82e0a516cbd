//! Opus.

use bytes::Bytes;
use ffmpeg_next::{
    ChannelLayout, Dictionary, Packet, Rational, codec, decoder, encoder,
    format::{Sample, sample},
    frame,
};
use gibbon_media::AudioTrack;

use crate::{
    Bitrate, Error,
    samples::{F32, floats, framed, interleaved},
};

const LIBOPUS: &str = "libopus";

/// Samples per second and channel, everywhere.
pub const SAMPLE_RATE: u32 = 48_000;
/// Samples per channel in a packet: 20 ms.
pub const PACKET_SAMPLES: usize = 960;
/// Length of a packet, in µs.
pub const PACKET_US: u32 = 20_000;

/// An Opus encoder of 20 ms packets.
pub struct AudioEncoder {
    encoder: encoder::Audio,
    channels: u8,
}

impl AudioEncoder {
    /// Opens an encoder of `bitrate` for 1 or 2 `channels`.
    pub fn new(channels: u8, bitrate: Bitrate) -> Result<Self, Error> {
        crate::ffmpeg::ready();
        let codec = encoder::find_by_name(LIBOPUS).ok_or(Error::MissingEncoder(LIBOPUS))?;
        let context = codec::Context::new_with_codec(codec);
        let mut audio = context.encoder().audio().map_err(encode_error)?;
        audio.set_rate(SAMPLE_RATE as i32);
        audio.set_format(F32);
        audio.set_channel_layout(ChannelLayout::default(channels.into()));
        audio.set_channels(channels.into());
        audio.set_time_base(Rational(1, SAMPLE_RATE as i32));
        audio.set_bit_rate(bitrate.0 as usize);
        let mut options = Dictionary::new();
        options.set("frame_duration", "20");
        options.set("application", "audio");
        let encoder = audio.open_with(options).map_err(encode_error)?;
        Ok(Self { encoder, channels })
    }

    /// Codes the next [`PACKET_SAMPLES`] interleaved samples, of which the first is at `position`.
    ///
    /// Returns the packet and the position of the first sample that a decoder plays for it. That lies
    /// 6.5 ms (the encoder's look-ahead, Opus' "pre-skip") before `position`: a packet that is
    /// labelled so plays in sync with the pictures, and nobody has to know of the pre-skip.
    pub fn encode(&mut self, position: i64, samples: &[f32]) -> Result<(Bytes, i64), Error> {
        if samples.len() != PACKET_SAMPLES * usize::from(self.channels) {
            return Err(encode_error(ffmpeg_next::Error::InvalidData));
        }
        let frame = framed(position, samples, self.channels);
        self.encoder.send_frame(&frame).map_err(encode_error)?;
        let mut packet = Packet::empty();
        self.encoder.receive_packet(&mut packet).map_err(encode_error)?;
        let payload = Bytes::copy_from_slice(packet.data().unwrap_or_default());
        Ok((payload, packet.pts().unwrap_or(position)))
    }
}

fn encode_error(reason: ffmpeg_next::Error) -> Error {
    Error::Encode { codec: LIBOPUS, reason }
}

/// An Opus decoder. To join a stream or go on after a gap, [`reset`](Self::reset) it and decode the
/// 80 ms before (RFC 7845, section 4.6) without playing them.
pub struct AudioDecoder {
    decoder: decoder::Audio,
    channels: u8,
}

impl AudioDecoder {
    /// Opens a decoder for the sound of a stream.
    pub fn new(track: &AudioTrack) -> Result<Self, Error> {
        crate::ffmpeg::ready();
        let found = decoder::find_by_name(LIBOPUS).or_else(|| decoder::find(codec::Id::OPUS));
        let found = found.ok_or_else(|| Error::MissingDecoder {
            file: "the stream".to_owned(),
            codec: "Opus".to_owned(),
        })?;
        let mut template =
            codec::Context::new_with_codec(found).encoder().audio().map_err(decode_error)?;
        template.set_rate(track.sample_rate as i32);
        template.set_channel_layout(ChannelLayout::default(track.channels.into()));
        template.set_channels(track.channels.into());
        let mut context = codec::Context::new_with_codec(found);
        context.set_parameters(codec::Parameters::from(&*template)).map_err(decode_error)?;
        let decoder = context.decoder().open_as(found).map_err(decode_error)?;
        Ok(Self { decoder: decoder.audio().map_err(decode_error)?, channels: track.channels })
    }

    /// The interleaved samples of a packet.
    pub fn decode(&mut self, payload: &[u8]) -> Result<Vec<f32>, Error> {
        if payload.is_empty() {
            return Err(decode_error(ffmpeg_next::Error::InvalidData));
        }
        self.decoder.send_packet(&Packet::copy(payload)).map_err(decode_error)?;
        let mut frame = frame::Audio::empty();
        self.decoder.receive_frame(&mut frame).map_err(decode_error)?;
        floats_of(&frame, self.channels)
    }

    /// Forgets what came before.
    pub fn reset(&mut self) {
        self.decoder.flush();
    }
}

/// Decoders give 16-bit or float samples, interleaved or not.
fn floats_of(frame: &frame::Audio, channels: u8) -> Result<Vec<f32>, Error> {
    use sample::Type::{Packed, Planar};
    if frame.channels() != u16::from(channels) {
        return Err(Error::Incomplete { codec: "Opus", problem: "another number of channels" });
    }
    let count = frame.samples() * usize::from(channels);
    match frame.format() {
        Sample::F32(Packed) => Ok(interleaved(frame, channels).collect()),
        Sample::I16(Packed) => {
            let shorts = frame.data(0).chunks_exact(2).map(|b| i16::from_ne_bytes([b[0], b[1]]));
            Ok(shorts.take(count).map(|s| f32::from(s) / 32768.0).collect())
        }
        Sample::F32(Planar) => {
            let mut samples = vec![0.0; count];
            for channel in 0..usize::from(channels) {
                let slots = samples.iter_mut().skip(channel).step_by(channels.into());
                slots.zip(floats(frame, channel)).for_each(|(to, from)| *to = from);
            }
            Ok(samples)
        }
        _ => Err(Error::Incomplete { codec: "Opus", problem: "an unexpected sample format" }),
    }
}

fn decode_error(reason: ffmpeg_next::Error) -> Error {
    Error::Decode { codec: "Opus", reason }
}
