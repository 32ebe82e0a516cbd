//! Video encoding: a picture in, a packet out.

use std::time::Duration;

use bytes::Bytes;
use ffmpeg_next::{Dictionary, Packet, Rational, codec, encoder, format::Pixel, picture};
use gibbon_media::{Codec, FrameNumber, FrameRate};

use crate::{Bitrate, Colour, Error, Picture, Preset};

const LIBX264: &str = "libx264";

/// How many bits an encoder may spend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RateControl {
    /// Constant quality up to a bit rate.
    Crf {
        /// x264's constant rate factor.
        crf: f32,
        /// No group takes more than this allows for its length.
        max: Bitrate,
    },
    /// This mean bit rate, group by group.
    Mean(Bitrate),
}

/// What a video encoder is to make.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VideoSettings {
    /// The codec.
    pub codec: Codec,
    /// Width in pixels, even.
    pub width: u32,
    /// Height in pixels, even.
    pub height: u32,
    /// The stream's frame rate, by which pictures are numbered.
    pub rate: FrameRate,
    /// Every how many of the stream's frames this encoder is given: 2 for one half of `temporal`.
    pub every: u32,
    /// x264's preset.
    pub preset: Preset,
    /// Bits to spend …
    pub control: RateControl,
    /// … evened out over this time: the length of a group.
    pub buffer: Duration,
    /// What the colours mean.
    pub colour: Colour,
}

/// One rendition's encoder. Without delay: each picture is a packet at once. Closed groups; keyframes
/// (IDR, with their headers) only where asked for. The same pictures make the same bytes.
pub struct VideoEncoder {
    encoder: encoder::Video,
    size: (u32, u32),
}

impl VideoEncoder {
    /// Opens an encoder.
    pub fn new(settings: &VideoSettings) -> Result<Self, Error> {
        crate::ffmpeg::ready();
        let Codec::H264 = settings.codec;
        let (width, height) = (settings.width, settings.height);
        if !width.is_multiple_of(2) || !height.is_multiple_of(2) {
            return Err(Error::Size { width, height, rule: "H.264 in 4:2:0 needs even sides" });
        }
        let codec = encoder::find_by_name(LIBX264).ok_or(Error::MissingEncoder(LIBX264))?;
        let context = codec::Context::new_with_codec(codec);
        let mut video = context.encoder().video().map_err(encode_error)?;
        video.set_width(width);
        video.set_height(height);
        video.set_format(Pixel::YUV420P);
        video.set_colorspace(settings.colour.space);
        video.set_color_range(settings.colour.range);
        video.set_color_primaries(settings.colour.primaries);
        video.set_color_transfer_characteristic(settings.colour.transfer);
        let (num, den) = (settings.rate.num() as i32, settings.rate.den() as i32);
        video.set_time_base(Rational(den, num));
        video.set_frame_rate(Some(Rational(num, den * settings.every as i32)));
        let encoder = video.open_with(x264_options(settings)).map_err(encode_error)?;
        Ok(Self { encoder, size: (width, height) })
    }

    /// Codes the next picture: frame `n` of the stream, later than any before. Annex B; a keyframe
    /// if `key`.
    pub fn encode(&mut self, n: FrameNumber, picture: &Picture, key: bool) -> Result<Bytes, Error> {
        let (width, height) = (picture.width(), picture.height());
        if (width, height) != self.size {
            return Err(Error::Size { width, height, rule: "not the size of the encoder" });
        }
        let mut frame = picture.to_frame();
        frame.set_pts(i64::try_from(n.0).ok());
        frame.set_kind(if key { picture::Type::I } else { picture::Type::None });
        self.encoder.send_frame(&frame).map_err(encode_error)?;
        let mut packet = Packet::empty();
        self.encoder.receive_packet(&mut packet).map_err(encode_error)?;
        Ok(Bytes::copy_from_slice(packet.data().unwrap_or_default()))
    }
}

fn encode_error(reason: ffmpeg_next::Error) -> Error {
    Error::Encode { codec: LIBX264, reason }
}

/// `tune=zerolatency` would turn on sliced threads; with one thread and one slice the bytes do not
/// depend on the machine. `aud` and `repeat-headers` let a decoder begin at any keyframe.
fn x264_options(settings: &VideoSettings) -> Dictionary<'static> {
    let mut options = Dictionary::new();
    options.set("preset", settings.preset.as_str());
    options.set("tune", "zerolatency");
    options.set("threads", "1");
    options.set("forced-idr", "1");
    options.set(
        "x264-params",
        "sliced-threads=0:slices=1:keyint=infinite:scenecut=0:open-gop=0:repeat-headers=1:aud=1",
    );
    let max = match settings.control {
        RateControl::Crf { crf, max } => {
            options.set("crf", &crf.to_string());
            max
        }
        RateControl::Mean(mean) => {
            options.set("b", &mean.0.to_string());
            mean
        }
    };
    let buffer_bits = max.0 as f64 * settings.buffer.as_secs_f64();
    options.set("maxrate", &max.0.to_string());
    options.set("bufsize", &(buffer_bits as u64).max(1).to_string());
    options
}
