//! A viewer's session without the pictures: receives both descriptions of a stream, follows hand-offs,
//! merges, and reports what was seen. What decodes and shows is a [`Stage`]: the player's has FFmpeg, the
//! load harness's only counts, and thousands of such sessions fit into one process.
//!
//! ```text
//!  edges ── events ─▶ engine ─┬─▶ merger (gibbon-mdc): what is shown when
//!    ▲                        ├─▶ hands (gibbon-handoff): which edge delivers what
//!    └── subscribe, end ──────┤
//!                             ├─▶ stage: decodes, shows, tells
//!                             └─▶ journal ─▶ report
//! ```

mod complaints;
mod downlink;
mod ears;
mod edges;
mod engine;
mod gaps;
mod happening;
mod journal;
mod latency;
mod motion;
mod paths;
mod playing;
mod resume;
mod seen;
mod settings;
mod spare;
mod stage;
mod track;

pub use engine::{Engine, Played};
pub use gibbon_control::report;
pub use gibbon_placement::Position;
pub use happening::Happening;
pub use journal::LEAVING;
pub use motion::{Journey, Tells};
pub use seen::Seen;
pub use settings::Settings;
pub use stage::{Arrival, Blind, Snapshot, Stage};
pub use track::{BadTrack, Track, Waypoint};
