//! Media service components: what there is, which parameters each takes, and what it makes of a stream.
//!
//! Pure: no FFmpeg, no I/O. A component here says what is to be done ([`Work`]); a worker does it. So the
//! coordinator can check a chain of components, tell what comes out of it and what it costs, and a worker
//! runs exactly what was checked.
//!
//! Each component is one file below `components/` and one line in [`catalogue::ALL`].

pub mod catalogue;
mod chain;
mod components;
mod format;
pub mod graph;
mod spec;
#[cfg(test)]
mod testing;
mod work;

pub use chain::{Chain, ChainError, MAX_COMPONENTS, parse};
pub use components::{filter::allowed, text};
pub use format::{AudioFormat, Format, VideoFormat};
pub use spec::{InvalidSpec, Spec};
pub use work::{Coding, Invalid, Step, TextWork, Work};
