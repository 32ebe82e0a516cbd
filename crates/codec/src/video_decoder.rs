//! Video decoding: a packet in, a picture out.

use ffmpeg_next::{
    Packet, codec,
    codec::{Flags, threading},
    decoder::{self, Check, Conceal},
    frame,
};
use gibbon_media::Codec;

use crate::{Colour, Error, Picture};

const H264: &str = "H.264";

/// Decodes chains of coded frames, each from a keyframe on, without delay and without threads: what
/// comes out depends only on what went in. Between chains use [`reset`](Self::reset).
pub struct VideoDecoder {
    codec: Codec,
    /// `None` after a reset, until the next frame.
    decoder: Option<decoder::Video>,
    colour: Colour,
}

impl VideoDecoder {
    /// Opens a decoder.
    pub fn new(codec: Codec) -> Result<Self, Error> {
        crate::ffmpeg::ready();
        Ok(Self { codec, decoder: Some(open(codec)?), colour: Colour::default() })
    }

    /// Decodes the next frame of the chain. After an error the chain is of no more use. That no frame
    /// is left out (which FFmpeg need not notice) is up to the caller.
    pub fn decode(&mut self, payload: &[u8]) -> Result<Picture, Error> {
        if payload.is_empty() {
            // To FFmpeg an empty packet is the end of the stream.
            return Err(incomplete("an empty frame"));
        }
        let decoder = match self.decoder.take() {
            Some(decoder) => self.decoder.insert(decoder),
            None => self.decoder.insert(open(self.codec)?),
        };
        decoder.send_packet(&Packet::copy(payload)).map_err(decode_error)?;
        let mut frame = frame::Video::empty();
        decoder.receive_frame(&mut frame).map_err(decode_error)?;
        if frame.is_corrupt() || frame.has_decode_errors() {
            return Err(incomplete("part of the picture or a reference is missing"));
        }
        self.colour = Colour {
            space: frame.color_space(),
            range: frame.color_range(),
            primaries: frame.color_primaries(),
            transfer: frame.color_transfer_characteristic(),
        };
        Picture::from_frame(&frame)
    }

    /// What the colours of the last picture mean.
    pub fn colour(&self) -> Colour {
        self.colour
    }

    /// Forgets the chain, ready for the keyframe of another. To be called before each keyframe.
    pub fn reset(&mut self) {
        // Not a flush: after a damaged frame FFmpeg's decoder keeps a state that shows in the pictures.
        self.decoder = None;
    }
}

fn open(codec: Codec) -> Result<decoder::Video, Error> {
    let Codec::H264 = codec;
    let found = decoder::find(codec::Id::H264).ok_or_else(|| Error::MissingDecoder {
        file: "the stream".to_owned(),
        codec: H264.to_owned(),
    })?;
    let mut context = codec::Context::new_with_codec(found);
    context.set_flags(Flags::LOW_DELAY);
    context.set_threading(threading::Config::count(1));
    let mut decoder = context.decoder();
    // Damage is to be told, not smoothed over: the merger has better to show.
    decoder.check(Check::EXPLODE | Check::CAREFUL);
    decoder.conceal(Conceal::empty());
    decoder.video().map_err(decode_error)
}

fn decode_error(reason: ffmpeg_next::Error) -> Error {
    if reason == crate::ffmpeg::AGAIN {
        return incomplete("no picture: the chain does not begin with a keyframe");
    }
    Error::Decode { codec: H264, reason }
}

fn incomplete(problem: &'static str) -> Error {
    Error::Incomplete { codec: H264, problem }
}
