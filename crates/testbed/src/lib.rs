//! A whole Gibbon network of real processes on one machine: started on free ports with directories of
//! their own, watched through the portal and their logs, stopped by process id.
//!
//! Used by `make demo` and by the end-to-end tests.

mod camera;
mod coverage;
mod fault;
mod impairment;
mod log;
mod network;
mod path;
mod player;
mod process;
mod schedule;
pub mod seen;
mod setup;
mod shaper;
mod supervisor;
mod throttle;
mod usage;
mod wait;

pub use camera::Camera;
pub use coverage::{Coverage, SET_EVERY, drive, over};
pub use fault::{Fault, Partition, Party, Which};
pub use impairment::{BUFFER, Direction, Impairment, Loss};
pub use log::{Line, Log};
pub use network::{COORDINATOR, Network};
pub use path::{Path, Whose};
pub use player::{Player, PlayerOptions, read_frames};
pub use process::{Around, Process, binary};
pub use schedule::{CALM, Plan, Step, schedule};
pub use setup::{Setup, Source, media_folder};
pub use shaper::{MAX_UNDER_WAY, Shaper};
pub use throttle::Throttle;
pub use usage::Usage;
pub use wait::{WAIT, wait_for};
