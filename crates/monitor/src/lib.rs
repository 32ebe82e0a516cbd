//! What a Gibbon process shows of itself: metrics, health and readiness over HTTP, and the spans of hand-offs to a
//! trace collector. Knows nothing of media.
//!
//! Metrics are read when they are asked for, out of what the process holds anyway: a [`Monitor`] has collectors that
//! fill a [`Page`]. Only what is not held (counts of what has happened, distributions) is registered as a metric of
//! its own.

mod http;
mod kept;
pub mod machine;
mod monitor;
mod options;
pub mod otlp;
mod page;
mod probe;
#[cfg(feature = "testing")]
pub mod testing;

pub use kept::{Counts, Durations};
pub use monitor::Monitor;
pub use options::Options;
pub use page::{Page, Sample};
pub use probe::{Probe, ask};
pub use prometheus_client;
