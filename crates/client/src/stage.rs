//! What a session is played on.

use std::time::{Duration, Instant};

use gibbon_mdc::{Admission, Merger, Shown, Stats};
use gibbon_media::{Catalog, Cue, Description, Frame, GroupHeader, MediaTime, NodeId};

use crate::happening::Happening;

/// What shows a session, or does with it whatever there is to do. Every method does nothing unless it is
/// written: a stage that only counts is short. None may block, for the session's time goes on.
pub trait Stage {
    /// Whether pictures and sound are wanted at their deadlines. Else payload is only seen as it
    /// [arrives](Self::arrived), and what was due is told some milliseconds later; verdicts are the same.
    fn wants_media(&self) -> bool {
        false
    }

    /// The stream is known; playback begins at `position`. Deadlines count from `started`.
    fn begin(
        &mut self,
        catalog: &Catalog,
        position: MediaTime,
        started: Instant,
    ) -> anyhow::Result<()> {
        let _ = (catalog, position, started);
        Ok(())
    }

    /// A frame of any medium has arrived.
    fn arrived(&mut self, arrival: Arrival<'_>) {
        let _ = arrival;
    }

    /// Something has arrived or was shown: what is due next can be decoded ahead
    /// ([`Merger::best`], [`Merger::coded`]), and what could not be decoded marked.
    fn prepare(&mut self, merger: &mut Merger) {
        let _ = merger;
    }

    /// The deadline of a picture has come.
    fn show(&mut self, merger: &Merger, shown: Shown) {
        let _ = (merger, shown);
    }

    /// The deadline of a packet of sound that is there has come.
    fn hear(&mut self, packet: Frame) {
        let _ = packet;
    }

    /// A cue begins.
    fn caption(&mut self, cue: &Cue) {
        let _ = cue;
    }

    /// Something has happened, `now` after session start.
    fn happened(&mut self, now: Duration, happening: Happening<'_>) {
        let _ = (now, happening);
    }

    /// Whether [`update`](Self::update) is wanted `now` after session start; asked at every tick.
    fn wants_update(&self, now: Duration) -> bool {
        let _ = now;
        false
    }

    /// How the session stands.
    fn update(&mut self, snapshot: &Snapshot) {
        let _ = snapshot;
    }

    /// Whether nobody watches any more.
    fn is_deserted(&self) -> bool {
        false
    }
}

/// Nobody watches, and nothing is decoded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Blind;

impl Stage for Blind {}

/// A frame that has arrived.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// When, since session start.
    pub at: Duration,
    /// The edge that sent it.
    pub edge: &'a NodeId,
    /// In which description.
    pub description: Description,
    /// Its group.
    pub header: &'a GroupHeader,
    /// Its number in the group, from 0.
    pub index: u32,
    /// The frame.
    pub frame: &'a Frame,
    /// What the merger made of it.
    pub admission: Admission,
}

/// How a session stands.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The stream's name.
    pub stream: String,
    /// The session's id.
    pub session: String,
    /// Since session start.
    pub elapsed: Duration,
    /// The edge that delivers each description.
    pub legs: [Option<NodeId>; 2],
    /// The edge that is being attached for each description.
    pub attaching: [Option<NodeId>; 2],
    /// Why a description is done without.
    pub without: [Option<&'static str>; 2],
    /// How long before their deadlines frames come, in ms: the worse description.
    pub buffer_ms: Option<u64>,
    /// From the origin's publish stamp to display, in ms.
    pub latency_ms: Option<u64>,
    /// Counts so far.
    pub stats: Stats,
    /// The text on the screen.
    pub caption: Option<String>,
}
