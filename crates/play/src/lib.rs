//! The Gibbon player: a session of `gibbon-client` on a [`theatre`] that decodes and shows it, records it and
//! tells of it on the terminal.
//!
//! ```text
//!  gibbon-client ─▶ theatre ─┬─▶ screen: decode, show, hash
//!                            ├─▶ recording
//!                            └─▶ view
//!                ─▶ report ──▶ timeline
//! ```

pub mod metrics;
mod record;
mod screen;
pub mod service;
pub mod theatre;
pub mod timeline;
pub mod view;

pub use gibbon_control::report;
