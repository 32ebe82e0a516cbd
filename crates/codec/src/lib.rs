//! FFmpeg for Gibbon: media in ([`Programme`]), coded into descriptions ([`StreamCoder`]), decoded
//! ([`VideoDecoder`], [`AudioDecoder`]) and recorded ([`Recorder`]).
//!
//! ```text
//! file ─▶ Programme ─ pictures, sound ─▶ StreamCoder ─ frames of both descriptions ─▶ …network… ─▶
//!      ─▶ (gibbon-mdc merges) ─▶ VideoDecoder, AudioDecoder ─▶ Picture, samples
//!                             └▶ Recorder
//! ```
//! A service component ([`VideoFilter`], [`AudioFilter`]) stands between decoders and a [`GroupCoder`].
//!
//! Nothing here keeps time or talks to the network (but FFmpeg, if the input is a URL). All of it is
//! deterministic: the same input makes the same bytes and the same pictures, as encoders and decoders
//! run without threads.

mod audio;
mod bd_rate;
pub mod captions;
mod config;
mod error;
mod ffmpeg;
mod filter;
mod group_coder;
mod input;
pub mod measure;
mod picture;
mod pictures;
mod programme;
mod quality;
mod recorder;
mod renditions;
mod samples;
mod scaler;
mod sound;
mod stream_coder;
mod timeline;
mod video_decoder;
mod video_encoder;

pub use audio::{AudioDecoder, AudioEncoder, PACKET_SAMPLES, PACKET_US, SAMPLE_RATE};
pub use bd_rate::{RatePoint, bd_rate};
pub use config::{Bitrate, CoderConfig, Colour, InvalidPreset, Preset, Secondary};
pub use error::Error;
pub use filter::{AudioFilter, VideoFilter};
pub use group_coder::{Coded, GroupCoder};
pub use picture::{MAX_SIDE, Picture};
pub use programme::{Item, Programme, ProgrammeOptions, SoundBlock};
pub use quality::{MAX_PSNR, Psnr, psnr};
pub use recorder::Recorder;
pub use scaler::Scaler;
pub use stream_coder::StreamCoder;
pub use timeline::CueSheet;
pub use video_decoder::VideoDecoder;
pub use video_encoder::{RateControl, VideoEncoder, VideoSettings};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_may_be_moved_to_another_thread() {
        fn moves<T: Send>() {}
        moves::<Programme>();
        moves::<StreamCoder>();
        moves::<(VideoEncoder, VideoDecoder, AudioEncoder, AudioDecoder)>();
        moves::<(Recorder, Scaler, Picture, Error)>();
        moves::<(VideoFilter, AudioFilter)>();
    }
}
