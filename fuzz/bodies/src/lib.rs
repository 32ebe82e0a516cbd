//! What the fuzz targets do with their input: one function for each parser of what comes from outside,
//! and one for the merger. Each must come back from any input, and panics where the parser breaks a
//! promise. `tests/corpus.rs` runs the corpus through the same functions.

mod chain;
mod json;
mod merger;
mod script;
mod wire;

pub use chain::chain;
pub use json::{control, grant, session};
pub use merger::merger;
pub use wire::{answer, frames, group_start, messages, subscribe, varint};

/// What a target does with its input.
pub type Body = fn(&[u8]);

/// Every target, by the name of its file in `fuzz_targets` and of its folder in `corpus`.
pub const TARGETS: [(&str, Body); 11] = [
    ("varint", varint),
    ("messages", messages),
    ("subscribe", subscribe),
    ("answer", answer),
    ("group_start", group_start),
    ("frames", frames),
    ("grant", grant),
    ("session", session),
    ("control", control),
    ("merger", merger),
    ("chain", chain),
];
