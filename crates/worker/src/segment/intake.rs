//! From frames of one or two descriptions to one sequence of each medium. Pure.
//!
//! What is next is taken as soon as it is there. What is missing is waited for until media have come that are
//! newer by [`PATIENCE`], and nothing of what is waited for has come in [`SETTLE`] of waiting: a segment that is
//! busy gets its input late, and in bursts. Then a picture is taken in lower quality, or the rest of its group is
//! given up; sound and text go on with what comes next.
//!
//! Of text each group is taken as a stretch of time, so that the groups of both descriptions make one sequence
//! whatever their offsets.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use gibbon_media::{Catalog, Cue, Frame, GroupHeader, MediaTime, Medium};

use super::{
    pictures::{Pictures, Step},
    raw::{RawText, Stamp},
    sequence::Sequence,
};
use crate::ipc::{GroupOf, ToSegment};

/// What is missing is waited for until media of this much later are there.
pub const PATIENCE: Duration = Duration::from_millis(400);
/// … and until nothing of it has come in this much time of waiting.
pub const SETTLE: Duration = Duration::from_millis(150);
/// Groups whose headers are remembered.
const MAX_HEADERS: usize = 256;
/// Cues of a group.
const MAX_CUES: usize = 4096;

/// What comes next of one medium.
#[derive(Debug)]
pub enum Taken {
    /// A picture, and how to decode it.
    Picture(Step),
    /// A packet of sound.
    Sound {
        /// When it is heard.
        time: MediaTime,
        /// Whether it goes on where the one before ended.
        follows: bool,
        /// The packet.
        packet: Bytes,
        /// Of its group.
        stamp: Stamp,
    },
    /// Text.
    Text(RawText),
}

/// When something comes, in the segment's own time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moment {
    /// Since it began.
    pub now: Duration,
    /// Of this, how long it has waited for input.
    pub idle: Duration,
}

/// Puts the input in order.
#[derive(Debug)]
pub struct Intake {
    catalog: Catalog,
    packet: Duration,
    headers: BTreeMap<GroupOf, Header>,
    pictures: Option<Pictures>,
    sound: Sequence<(Bytes, Stamp)>,
    text: Sequence<(Vec<Cue>, Stamp)>,
    /// The newest of all media.
    newest: MediaTime,
    /// When sound and text last came that were not later than what was waited for.
    progress: [Duration; 2],
    unused: u64,
}

/// A group of the input that has begun.
#[derive(Debug)]
struct Header {
    stamp: Stamp,
    cues: Vec<Cue>,
}

impl Intake {
    /// Of the stream of `catalog`.
    pub fn new(catalog: Catalog) -> Self {
        let packet_us = catalog.audio.as_ref().map_or(0, |audio| audio.packet_us);
        Self {
            pictures: Pictures::new(&catalog),
            packet: Duration::from_micros(packet_us.into()),
            headers: BTreeMap::new(),
            sound: Sequence::new(u64::from(packet_us) / 2),
            text: Sequence::new(1),
            newest: MediaTime(0),
            progress: [Duration::ZERO; 2],
            unused: 0,
            catalog,
        }
    }

    /// Frames that came too late or not whole, and pictures that did not come in time.
    pub fn missing(&self) -> u64 {
        self.unused + self.pictures.as_ref().map_or(0, Pictures::missing)
    }

    /// Takes in what came of the input.
    pub fn push(&mut self, at: Moment, message: ToSegment) {
        match message {
            ToSegment::Set(_) => {}
            ToSegment::Group { description, header } => {
                let GroupHeader { medium, group, producer, published_us } = header;
                let stamp = Stamp { published_us, arrived: at.now };
                let of = GroupOf { description, medium, group, producer };
                self.headers.entry(of).or_insert(Header { stamp, cues: Vec::new() });
                if self.headers.len() > MAX_HEADERS {
                    self.forget_the_oldest();
                }
            }
            ToSegment::Frame { at: group, index, frame } => self.frame(at, group, index, frame),
            ToSegment::GroupEnd { at: group, .. } => {
                if let Some(header) = self.headers.remove(&group)
                    && group.medium == Medium::Text
                {
                    self.text_group(at, group, header);
                }
            }
        }
    }

    /// What comes next of any medium, if it is there.
    pub fn next(&mut self, at: Moment) -> Option<Taken> {
        let newest = self.newest;
        let newer = |than: MediaTime| newest >= than + PATIENCE;
        let next = self.pictures.as_mut().and_then(|p| p.next(at.idle, SETTLE, newer));
        if let Some(step) = next {
            return Some(Taken::Picture(step));
        }
        let [sound, text] =
            self.progress.map(|progress| at.idle.saturating_sub(progress) >= SETTLE);
        if let Some(next) = self.sound.next(|due| sound && newer(due)) {
            let (packet, stamp) = next.item;
            return Some(Taken::Sound { time: next.from, follows: next.follows, packet, stamp });
        }
        let next = self.text.next(|due| text && newer(due))?;
        let (cues, stamp) = next.item;
        let (from, until, follows) = (next.from, next.until, next.follows);
        Some(Taken::Text(RawText { from, until, follows, cues, stamp }))
    }

    /// Decoding a picture has failed: another copy is taken, if there is one.
    pub fn damaged(&mut self, step: &Step) {
        self.unused += 1;
        if let Some(pictures) = &mut self.pictures {
            pictures.damaged(step);
        }
    }

    fn frame(&mut self, at: Moment, group: GroupOf, index: u32, frame: Frame) {
        let Some(header) = self.headers.get_mut(&group) else { return };
        let (stamp, time) = (header.stamp, frame.time);
        match group.medium {
            Medium::Video => {
                self.newest = self.newest.max(time);
                if let Some(pictures) = &mut self.pictures {
                    pictures.push(at.idle, group, stamp, index, frame);
                }
            }
            Medium::Audio => {
                self.newest = self.newest.max(time);
                let until = time + self.packet;
                if self.sound.due().is_none_or(|due| time <= due) {
                    self.progress[0] = at.idle;
                }
                self.sound.push(time, until, index == 0, (frame.payload, stamp));
            }
            Medium::Text => match serde_json::from_slice(&frame.payload) {
                Ok(cue) if header.cues.len() < MAX_CUES => header.cues.push(cue),
                _ => self.unused += 1,
            },
        }
    }

    fn text_group(&mut self, at: Moment, group: GroupOf, mut header: Header) {
        let grid = self.catalog.grid(group.description);
        let (from, until) = (grid.start_of(group.group), grid.end_of(group.group));
        self.newest = self.newest.max(from);
        if self.text.due().is_none_or(|due| from <= due) {
            self.progress[1] = at.idle;
        }
        header.cues.sort_by_key(|cue| (cue.start, cue.id));
        self.text.push(from, until, true, (header.cues, header.stamp));
    }

    fn forget_the_oldest(&mut self) {
        let oldest = self.headers.keys().min_by_key(|group| group.group).copied();
        if let Some(oldest) = oldest {
            self.headers.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
