//! What can go wrong, and on which file or codec.

use ffmpeg_next as ffmpeg;

use crate::captions;

/// Why media could not be read, coded, decoded or written. The text says all: the reasons in it are not told
/// again as sources.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or URL cannot be opened, or is not media.
    #[error("cannot open {file}: {reason}")]
    Open {
        /// What was to be opened.
        file: String,
        /// FFmpeg's reason.
        reason: ffmpeg::Error,
    },
    /// The file or URL stopped yielding data for a reason other than its end.
    #[error("cannot go on reading {file}: {reason}")]
    Read {
        /// What was being read.
        file: String,
        /// FFmpeg's reason.
        reason: ffmpeg::Error,
    },
    /// The captions cannot be read.
    #[error("cannot read captions {file}: {reason}")]
    CaptionFile {
        /// The WebVTT file.
        file: String,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// The captions are not WebVTT.
    #[error("{file}: {reason}")]
    Captions {
        /// The WebVTT file.
        file: String,
        /// Line and problem.
        reason: captions::Invalid,
    },
    /// There is nothing in the file to show or play.
    #[error("{0} has neither pictures nor sound")]
    Empty(String),
    /// There is nothing in the file to show.
    #[error("{0} has no pictures")]
    NoPictures(String),
    /// The length of the media is not known: it is live.
    #[error("{0} has no known length: use a file")]
    NoLength(String),
    /// There is, or is to be used, too little of the media.
    #[error("{file}: too short, or too little of it asked for: {needed:?} are needed")]
    TooShort {
        /// The file.
        file: String,
        /// What would do.
        needed: std::time::Duration,
    },
    /// The media cannot be used as it is.
    #[error("{file} is damaged: {problem}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// This FFmpeg cannot decode what is in the file.
    #[error("{file} needs a decoder for {codec}, which this FFmpeg does not have")]
    MissingDecoder {
        /// The file or track.
        file: String,
        /// FFmpeg's name of the codec.
        codec: String,
    },
    /// This FFmpeg cannot encode.
    #[error("this FFmpeg has no encoder {0}: install FFmpeg libraries built with it")]
    MissingEncoder(&'static str),
    /// The length of the file does not fit the frame rate.
    #[error(
        "{file} has {frames} frames at {rate} frames/s, but a loop at this rate is a multiple of \
         {step} frames: choose another rate"
    )]
    Loop {
        /// The file.
        file: String,
        /// Its length in frames at that rate.
        frames: u64,
        /// The rate asked for.
        rate: gibbon_media::FrameRate,
        /// The shortest loop that is also a whole number of audio samples.
        step: u64,
    },
    /// A picture that is too large, empty, or whose sides do not fit.
    #[error("a picture of {width}x{height} cannot be used here: {rule}")]
    Size {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// What would do.
        rule: &'static str,
    },
    /// An encoder refused its settings or its input.
    #[error("encoding {codec}: {reason}")]
    Encode {
        /// The encoder.
        codec: &'static str,
        /// FFmpeg's reason.
        reason: ffmpeg::Error,
    },
    /// A coded frame cannot be decoded.
    #[error("decoding {codec}: {reason}")]
    Decode {
        /// The decoder.
        codec: &'static str,
        /// FFmpeg's reason.
        reason: ffmpeg::Error,
    },
    /// A coded frame was decoded, but not whole.
    #[error("decoding {codec}: {problem}")]
    Incomplete {
        /// The decoder.
        codec: &'static str,
        /// What is missing.
        problem: &'static str,
    },
    /// Scaling or resampling failed.
    #[error("converting: {0}")]
    Convert(ffmpeg::Error),
    /// A filter graph cannot be made, or fails.
    #[error("filter {graph}: {reason}")]
    Filter {
        /// In FFmpeg's syntax.
        graph: String,
        /// FFmpeg's reason.
        reason: ffmpeg::Error,
    },
    /// The recording cannot be written.
    #[error("cannot record to {file}: {reason}")]
    Record {
        /// The recording.
        file: String,
        /// FFmpeg's reason.
        reason: ffmpeg::Error,
    },
    /// The recording was ended before anything came that it could begin with.
    #[error("nothing was recorded to {0}: no picture that decoding can begin with has come")]
    NothingRecorded(String),
}
