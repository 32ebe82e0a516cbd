//! Multiple description coding: deal out, merge, conceal, continuity verdicts.
//!
//! The encoder's side is one function, [`deal`]: which description carries which frame in which
//! quality. The viewer's side is the [`Merger`]: it takes in what arrives of the two descriptions and
//! says, at each deadline of a [`PlayoutClock`] that never pauses, what is shown and how good that is.
//! Both are pure: no I/O, no clocks, no decoding. The same code plays for one viewer and counts for
//! thousands in the load harness.
//!
//! ```text
//!  frames ─▶ Merger ─┬─ video: chains per (group, description, producer) ─▶ verdict ─▶ Due::Video
//!                    ├─ audio: packets by media time ─▶ packet or gap ────────────────▶ Due::Audio
//!                    ├─ text: cues by id ─────────────────────────────────────────────▶ Due::Cue
//!                    └─ slack: how early frames arrive ─▶ the clock grows a little
//! ```

mod audio;
mod chain;
mod clock;
mod copies;
mod deal;
mod merger;
mod slack;
mod stats;
mod text;
mod video;

pub use audio::Sound;
pub use clock::PlayoutClock;
pub use copies::ChainKey;
pub use deal::{Rendition, Share, deal};
pub use merger::{Admission, Conceal, Config, Due, Merger};
pub use slack::Slack;
pub use stats::{AudioStats, ByteStats, DelayStats, FrameStats, FreezeStats, Stats, TextStats};
pub use video::{Candidate, Picture, Shown, Verdict};
