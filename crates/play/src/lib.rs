//! The Gibbon player: receives both descriptions of a stream, merges and decodes them, and reports what
//! the viewer saw. A library so that the test bed and the harness read its report with its own types.
//!
//! ```text
//!  edges ── events ─▶ engine ─┬─▶ merger (gibbon-mdc): what is shown when
//!    ▲                        ├─▶ hands (gibbon-handoff): which edge delivers what
//!    └── subscribe, end ──────┤
//!                             ├─▶ screen: decode, show, hash      ├─▶ journal ─▶ report, timeline
//!                             └─▶ recording                       └─▶ view
//! ```

mod complaints;
mod downlink;
mod ears;
mod edges;
pub mod engine;
mod journal;
mod latency;
mod playing;
mod record;
mod resume;
mod screen;
pub mod service;
pub mod settings;
mod spare;
pub mod timeline;
pub mod view;
mod words;

pub use gibbon_control::report;
