//! FFmpeg: demux, decode, normalise, encode, mux.
