//! Recording to Matroska.

use std::collections::VecDeque;

use ffmpeg_next::{
    self as ffmpeg, ChannelLayout, Dictionary, Packet, Rational, codec, decoder, ffi, format,
    media, packet,
};
use gibbon_media::{AudioTrack, Catalog, Cue, Frame, MediaTime, VideoTrack};

use crate::{Error, PACKET_US, captions};

/// What is held until the first keyframe of the pictures says what they are: the oldest goes first.
const MAX_HELD: usize = 1024;
const MICROSECONDS: Rational = Rational(1, 1_000_000);

/// Writes the media of a stream to a Matroska file (or a pipe) that any player plays: H.264 as it
/// comes, Opus, and captions as SubRip.
///
/// The recording begins with the first keyframe of the pictures, or with the first sound if the stream
/// has no pictures, or with the first cue if it has neither; what lies before is left out.
pub struct Recorder {
    file: String,
    output: format::context::Output,
    track: Option<VideoTrack>,
    video: Option<Stream>,
    audio: Option<Stream>,
    text: Option<Stream>,
    /// The media time that is time 0 of the recording, once its header is written.
    start: Option<MediaTime>,
    held: VecDeque<Held>,
}

/// What came before the recording began.
enum Held {
    Audio(Frame),
    Text(Cue),
}

/// A stream of the recording.
#[derive(Clone, Copy)]
struct Stream {
    index: usize,
    /// The latest time stamp, in µs: time does not go back.
    last: Option<i64>,
}

impl Recorder {
    /// Creates the recording `file` (a path or an FFmpeg URL such as `pipe:1`) of a stream.
    pub fn create(file: &str, catalog: &Catalog) -> Result<Self, Error> {
        crate::ffmpeg::ready();
        let record_error = |reason| Error::Record { file: file.to_owned(), reason };
        if file.contains('\0') {
            return Err(record_error(ffmpeg::Error::InvalidData));
        }
        let mut output = format::output_as(file, "matroska").map_err(record_error)?;
        let mut add = |parameters: codec::Parameters| {
            let mut stream = output.add_stream(None::<ffmpeg::Codec>)?;
            stream.set_parameters(parameters);
            stream.set_time_base(MICROSECONDS);
            Ok(Stream { index: stream.index(), last: None })
        };
        let video = catalog.video.as_ref().map(|v| add(video_parameters(v, &[])?));
        let audio = catalog.audio.as_ref().map(|a| add(audio_parameters(a)?));
        let text = catalog.text.as_ref().map(|_| add(text_parameters()));
        Ok(Self {
            file: file.to_owned(),
            track: catalog.video.clone(),
            video: video.transpose().map_err(record_error)?,
            audio: audio.transpose().map_err(record_error)?,
            text: text.transpose().map_err(record_error)?,
            output,
            start: None,
            held: VecDeque::new(),
        })
    }

    /// Records the next picture. To be decodable, a chain must be recorded from its keyframe on.
    /// What is not later than the picture before is left out.
    pub fn video(&mut self, frame: &Frame) -> Result<(), Error> {
        if self.start.is_none() && frame.flags.is_key() {
            self.describe_video(&parameter_sets(&frame.payload))
                .map_err(|e| self.record_error(e))?;
            self.open(frame.time)?;
        }
        let Some(stamp) = self.stamp(frame.time) else { return Ok(()) };
        let Some(index) = advance(&mut self.video, stamp, true) else { return Ok(()) };
        self.write(packet_of(&frame.payload, index, stamp, 0), frame.flags.is_key())
    }

    /// Records the next packet of sound.
    pub fn audio(&mut self, frame: &Frame) -> Result<(), Error> {
        if self.start.is_none() && self.video.is_none() {
            self.open(frame.time)?;
        }
        if self.start.is_none() {
            self.hold(Held::Audio(frame.clone()));
        }
        let Some(stamp) = self.stamp(frame.time) else { return Ok(()) };
        let Some(index) = advance(&mut self.audio, stamp, true) else { return Ok(()) };
        self.write(packet_of(&frame.payload, index, stamp, PACKET_US.into()), true)
    }

    /// Records a cue; each once, in order of their start. One that began before the recording is
    /// shown from its beginning.
    pub fn text(&mut self, cue: &Cue) -> Result<(), Error> {
        if self.start.is_none() && self.video.is_none() && self.audio.is_none() {
            self.open(cue.start)?;
        }
        if self.start.is_none() {
            self.hold(Held::Text(cue.clone()));
        }
        let Some(end) = self.stamp(cue.end).filter(|end| *end > 0) else { return Ok(()) };
        let stamp = self.stamp(cue.start).unwrap_or(0);
        let Some(index) = advance(&mut self.text, stamp, false) else { return Ok(()) };
        let text = captions::to_subrip(&cue.text);
        self.write(packet_of(text.as_bytes(), index, stamp, end - stamp), true)
    }

    /// Completes the recording.
    pub fn finish(mut self) -> Result<(), Error> {
        if self.start.is_none() {
            return Err(Error::NothingRecorded(self.file));
        }
        self.output.write_trailer().map_err(|e| self.record_error(e))
    }

    /// Media time as time in the recording, in µs; `None` before its beginning.
    fn stamp(&self, time: MediaTime) -> Option<i64> {
        time.0.checked_sub(self.start?.0).and_then(|t| i64::try_from(t).ok())
    }

    fn hold(&mut self, held: Held) {
        if self.held.len() == MAX_HELD {
            self.held.pop_front();
        }
        self.held.push_back(held);
    }

    /// Tells the file what the pictures are.
    fn describe_video(&mut self, headers: &[u8]) -> Result<(), ffmpeg::Error> {
        let (Some(track), Some(video)) = (&self.track, self.video) else { return Ok(()) };
        let parameters = video_parameters(track, headers)?;
        let mut stream =
            self.output.stream_mut(video.index).ok_or(ffmpeg::Error::StreamNotFound)?;
        stream.set_parameters(parameters);
        Ok(())
    }

    /// Begins the recording: writes the header, then what was held.
    fn open(&mut self, start: MediaTime) -> Result<(), Error> {
        let mut options = Dictionary::new();
        // Cues are few: do not hold back pictures and sound to wait for them, nor a live pipe.
        options.set("max_interleave_delta", "500000");
        options.set("cluster_time_limit", "250");
        options.set("flush_packets", "1");
        let written = self.output.write_header_with(options).map(drop);
        written.map_err(|e| self.record_error(e))?;
        self.start = Some(start);
        std::mem::take(&mut self.held).into_iter().try_for_each(|held| match held {
            Held::Audio(frame) => self.audio(&frame),
            Held::Text(cue) => self.text(&cue),
        })
    }

    fn write(&mut self, mut packet: Packet, key: bool) -> Result<(), Error> {
        if key {
            packet.set_flags(packet::Flags::KEY);
        }
        let stream = self.output.stream(packet.stream());
        packet.rescale_ts(MICROSECONDS, stream.map_or(MICROSECONDS, |s| s.time_base()));
        packet.write_interleaved(&mut self.output).map_err(|e| self.record_error(e))
    }

    fn record_error(&self, reason: ffmpeg::Error) -> Error {
        Error::Record { file: self.file.clone(), reason }
    }
}

/// The index of the stream if `stamp` (µs) may come next in it. Streams but text must advance.
fn advance(stream: &mut Option<Stream>, stamp: i64, strictly: bool) -> Option<usize> {
    let stream = stream.as_mut()?;
    if stream.last.is_some_and(|last| stamp < last || (strictly && stamp == last)) {
        tracing::debug!(stamp, last = stream.last, "not recorded: it is not later than what was");
        return None;
    }
    stream.last = Some(stamp);
    Some(stream.index)
}

fn packet_of(payload: &[u8], stream: usize, stamp: i64, duration: i64) -> Packet {
    let mut packet = Packet::copy(payload);
    packet.set_stream(stream);
    packet.set_pts(Some(stamp));
    packet.set_dts(Some(stamp));
    packet.set_duration(duration);
    packet
}

fn video_parameters(
    track: &VideoTrack,
    headers: &[u8],
) -> Result<codec::Parameters, ffmpeg::Error> {
    let context = context_of(codec::Id::H264)?;
    let mut video = context.encoder().video()?;
    video.set_width(track.width);
    video.set_height(track.height);
    Ok(with_extradata(codec::Parameters::from(&*video), headers))
}

fn audio_parameters(track: &AudioTrack) -> Result<codec::Parameters, ffmpeg::Error> {
    let mut audio = context_of(codec::Id::OPUS)?.encoder().audio()?;
    audio.set_rate(track.sample_rate as i32);
    audio.set_channel_layout(ChannelLayout::default(track.channels.into()));
    audio.set_channels(track.channels.into());
    Ok(with_extradata(codec::Parameters::from(&*audio), &opus_head(track)))
}

fn text_parameters() -> codec::Parameters {
    let mut parameters = codec::Parameters::new();
    parameters.set_medium(media::Type::Subtitle);
    parameters.set_id(codec::Id::SUBRIP);
    parameters
}

fn context_of(id: codec::Id) -> Result<codec::Context, ffmpeg::Error> {
    decoder::find(id).map(codec::Context::new_with_codec).ok_or(ffmpeg::Error::DecoderNotFound)
}

/// The identification header (RFC 7845, section 5.1). Without pre-skip: packets carry the time at
/// which they are heard.
fn opus_head(track: &AudioTrack) -> Vec<u8> {
    let mut head = b"OpusHead\x01".to_vec();
    head.push(track.channels);
    head.extend(0u16.to_le_bytes());
    head.extend(track.sample_rate.to_le_bytes());
    // No gain; channel mapping family 0.
    head.extend([0, 0, 0]);
    head
}

/// The sequence and picture parameter sets of a keyframe in Annex B, each after a start code.
fn parameter_sets(payload: &[u8]) -> Vec<u8> {
    const START: [u8; 3] = [0, 0, 1];
    let starts = payload.windows(3).enumerate().filter(|(_, window)| *window == START);
    let starts: Vec<usize> = starts.map(|(at, _)| at + 3).collect();
    let ends = starts.iter().skip(1).map(|next| next - 3).chain([payload.len()]);
    let mut sets = Vec::new();
    for unit in starts.iter().zip(ends).filter_map(|(start, end)| payload.get(*start..end)) {
        // The zero before a long start code is not of the unit.
        let unit = unit.strip_suffix(&[0]).unwrap_or(unit);
        let is_parameter_set = unit.first().is_some_and(|first| matches!(first & 31, 7 | 8));
        if is_parameter_set {
            sets.extend([0, 0, 0, 1]);
            sets.extend(unit);
        }
    }
    sets
}

/// `parameters` with out-of-band data for the decoder, which FFmpeg's wrapper cannot set.
#[allow(unsafe_code)]
fn with_extradata(mut parameters: codec::Parameters, data: &[u8]) -> codec::Parameters {
    let padding = ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;
    if data.is_empty() {
        return parameters;
    }
    // SAFETY: `extradata` is owned by the parameters, freed by them with av_free, must come from
    // av_malloc and have AV_INPUT_BUFFER_PADDING_SIZE zeros after its `extradata_size` bytes
    // (libavcodec/codec_par.h). The parameters are ours and have had none so far.
    unsafe {
        let buffer = ffi::av_mallocz(data.len() + padding).cast::<u8>();
        if !buffer.is_null() {
            buffer.copy_from_nonoverlapping(data.as_ptr(), data.len());
            (*parameters.as_mut_ptr()).extradata = buffer;
            (*parameters.as_mut_ptr()).extradata_size = data.len() as i32;
        }
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_sets_are_found_behind_long_and_short_start_codes() {
        let payload =
            [0, 0, 0, 1, 9, 240, 0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 1, 0x65, 4];
        assert_eq!(parameter_sets(&payload), [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3]);
        assert!(parameter_sets(&[0, 0, 1]).is_empty());
        assert!(parameter_sets(&[]).is_empty());
    }
}
