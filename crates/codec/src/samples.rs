//! Sound between FFmpeg's frames and plain floats: interleaved, 48 kHz.

use ffmpeg_next::{
    ChannelLayout,
    format::{Sample, sample},
    frame,
};

use crate::audio::SAMPLE_RATE;

/// Interleaved floats, as FFmpeg calls them.
pub const F32: Sample = Sample::F32(sample::Type::Packed);

/// A frame of interleaved `samples`, of which the first is at `position`.
pub fn framed(position: i64, samples: &[f32], channels: u8) -> frame::Audio {
    let layout = ChannelLayout::default(channels.into());
    let mut frame = frame::Audio::new(F32, samples.len() / usize::from(channels), layout);
    frame.set_rate(SAMPLE_RATE);
    frame.set_pts(Some(position));
    for (to, from) in frame.data_mut(0).chunks_exact_mut(4).zip(samples) {
        to.copy_from_slice(&from.to_ne_bytes());
    }
    frame
}

/// The floats of one plane of `frame`.
pub fn floats(frame: &frame::Audio, plane: usize) -> impl Iterator<Item = f32> + '_ {
    frame.data(plane).chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
}

/// The interleaved samples of an [`F32`] frame.
pub fn interleaved(frame: &frame::Audio, channels: u8) -> impl Iterator<Item = f32> + '_ {
    floats(frame, 0).take(frame.samples() * usize::from(channels))
}
