//! What components do, alone and in chains.

#![allow(clippy::unwrap_used)]

mod chains;
mod documentation;
mod filters;
mod letters;
mod pictures;
mod sound;
mod support;
