//! The shared vocabulary of Gibbon: what a stream, a description, a group and a frame are.
//!
//! No I/O, no clocks. Every other crate speaks in these words.

mod catalog;
mod cue;
mod frame;
mod group;
mod names;
mod placement;
mod time;

pub use catalog::{AudioTrack, Catalog, Codec, Scheme, TextTrack, VideoTrack};
pub use cue::Cue;
pub use frame::{Frame, FrameFlags};
pub use group::{GroupGrid, GroupHeader, GroupId, ProducerId};
pub use names::{
    Description, HandoffId, InstanceId, InvalidName, Medium, NodeId, Role, ServiceId, SessionId,
    StreamName, Track,
};
pub use placement::{Placement, Priority};
pub use time::{FrameNumber, FrameRate, InvalidRate, MediaTime};
