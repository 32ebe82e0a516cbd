//! The FFmpeg libraries, made ready once per process.

use std::sync::Once;

use ffmpeg_next::{self as ffmpeg, error::EAGAIN, format::network, log};

/// To be called before anything else of FFmpeg.
pub(crate) fn ready() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fills in the texts of errors; there is nothing in it that fails.
        let _ = ffmpeg::init();
        network::init();
        // What goes wrong is told by our errors and warnings; x264's greetings by nobody.
        log::set_level(log::Level::Fatal);
    });
}

/// FFmpeg's way of saying "not yet".
pub(crate) const AGAIN: ffmpeg::Error = ffmpeg::Error::Other { errno: EAGAIN };
