//! A whole Gibbon network of real processes on one machine: started on free ports with directories of
//! their own, watched through the portal and their logs, stopped by process id.
//!
//! Used by `make demo` and by the end-to-end tests.

mod log;
mod network;
mod path;
mod player;
mod process;
mod wait;

pub use log::{Line, Log};
pub use network::{Network, Setup, media_folder};
pub use path::Path;
pub use player::{Player, PlayerOptions, read_frames};
pub use process::{Process, binary};
pub use wait::{WAIT, wait_for};
