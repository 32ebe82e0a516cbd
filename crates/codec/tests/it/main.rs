//! What is coded, recorded and measured, through the real codecs.

#![allow(clippy::unwrap_used)]

mod groups;
mod measuring;
mod programme;
mod recording;
mod stream;
mod support;
