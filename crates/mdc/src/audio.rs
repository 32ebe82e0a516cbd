//! Sound: each packet once, in order of time; what is missing is a gap.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gibbon_media::{AudioTrack, Frame, MediaTime};

use crate::{Admission, ChainKey, copies::Copies, stats::AudioStats};

/// The shortest packet of Opus (RFC 6716 §2.1.4): none is taken to be shorter.
const SHORTEST_PACKET: Duration = Duration::from_micros(2500);
/// The longest packet taken: Opus' longest is 1275 bytes per 20 ms (RFC 6716 §3.2.1).
const MAX_PACKET_BYTES: usize = 8 << 10;
/// Most packets held: with `MAX_PACKET_BYTES`, at most 32 MiB.
const MAX_PACKETS: usize = 4096;
/// What a decoder has to hear before its output is right (RFC 7845 §4.6).
const PRIMING: Duration = Duration::from_millis(80);

/// Sound whose deadline has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sound {
    /// A packet to decode.
    Packet {
        /// The packet.
        frame: Frame,
        /// When it was due, since session start.
        deadline: Duration,
        /// It only prepares the decoder and is not to be heard: part of the first 80 ms.
        priming: bool,
    },
    /// A packet that is not there.
    Gap {
        /// The media time at which it is missing.
        time: MediaTime,
        /// When it was due, since session start.
        deadline: Duration,
        /// How long it is.
        length: Duration,
    },
}

impl Sound {
    /// Its media time.
    pub fn time(&self) -> MediaTime {
        match self {
            Sound::Packet { frame, .. } => frame.time,
            Sound::Gap { time, .. } => *time,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Audio {
    packet: Duration,
    copies: Copies<BTreeSet<u32>>,
    /// What arrived before it was due, by media time.
    packets: BTreeMap<MediaTime, Frame>,
    /// Nothing before this has a use any more.
    from: MediaTime,
    /// The next packet is expected at `from`.
    started: bool,
    /// The first sample that is heard.
    heard_from: MediaTime,
    /// In packets.
    expected: u64,
    gaps: u64,
}

impl Audio {
    pub fn new(track: &AudioTrack) -> Self {
        Self {
            packet: Duration::from_micros(track.packet_us.into()).max(SHORTEST_PACKET),
            copies: Copies::default(),
            packets: BTreeMap::new(),
            from: MediaTime(0),
            started: false,
            heard_from: MediaTime(0),
            expected: 0,
            gaps: 0,
        }
    }

    /// Nothing before `position` will be played.
    pub fn begin(&mut self, position: MediaTime) {
        self.from = position;
    }

    /// Takes in a packet; `due` is its deadline. The first to arrive of a media time is played.
    pub fn insert(
        &mut self,
        now: Duration,
        due: Duration,
        key: ChainKey,
        index: u32,
        frame: Frame,
    ) -> Admission {
        if frame.payload.len() > MAX_PACKET_BYTES || self.packets.len() >= MAX_PACKETS {
            return Admission::Refused;
        }
        let Some(seen) = self.copies.begin(key) else { return Admission::Refused };
        if !seen.insert(index) {
            return Admission::Duplicate;
        }
        if due < now || frame.time < self.earliest() {
            return Admission::Late;
        }
        self.packets.entry(frame.time).or_insert(frame);
        Admission::New
    }

    /// A restarted encoder may be off the old one's grid by half a packet either way.
    fn earliest(&self) -> MediaTime {
        if self.started { self.from.back(self.packet / 2) } else { self.from }
    }

    /// The media time of the next packet or gap.
    pub fn next_time(&self) -> Option<MediaTime> {
        if self.started { Some(self.from) } else { self.packets.keys().next().copied() }
    }

    /// Decides the sound of `next_time`, whose `deadline` has come. `None`: nothing is played yet.
    pub fn decide(&mut self, deadline: Duration) -> Option<Sound> {
        let slot = self.next_time()?;
        let frame = match self.packets.first_entry() {
            Some(entry) if *entry.key() < slot + self.packet / 2 => Some(entry.remove()),
            _ => None,
        };
        if frame.is_some() && !self.started {
            self.started = true;
            self.heard_from = slot + PRIMING;
        }
        let priming = slot < self.heard_from;
        self.from = frame.as_ref().map_or(slot, |frame| frame.time) + self.packet;
        // A hole while the decoder is being primed: begin again behind it.
        self.started &= frame.is_some() || !priming;
        while self.packets.first_key_value().is_some_and(|(time, _)| *time < self.earliest()) {
            self.packets.pop_first();
        }
        if !self.started {
            return None;
        }
        self.expected += u64::from(!priming);
        self.gaps += u64::from(frame.is_none());
        Some(match frame {
            Some(frame) => Sound::Packet { frame, deadline, priming },
            None => Sound::Gap { time: slot, deadline, length: self.packet },
        })
    }

    /// Forgets which copies have been seen of groups of which `played` is true.
    pub fn forget(&mut self, played: impl Fn(&ChainKey) -> bool) {
        while self.copies.pop_played(&played).is_some() {}
    }

    pub fn stats(&self) -> AudioStats {
        let ms = |packets: u64| packets.saturating_mul(micros(self.packet)) / 1000;
        AudioStats { expected_ms: ms(self.expected), gap_ms: ms(self.gaps) }
    }
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}
